// The service and `check` on a till that was set up carelessly: an unencrypted server, and a spool that
// everybody can reach.

import { assert, assertEquals, assertMatch } from "@std/assert";
import { join } from "@std/path/join";
import { formatChunkName } from "../../src/chunk/chunk_name.ts";
import { AgentProcess, IDS } from "../fixtures/agent_process.ts";
import { until } from "../fixtures/sockets.ts";
import { chunkAt } from "../fixtures/temp_spool.ts";

const MAIN = new URL("../../main.ts", import.meta.url).pathname;

Deno.test("with http:// beyond this machine the service keeps everything, sends nothing and says so; it closes an open spool", async () => {
  const dir = await Deno.makeTempDir({ prefix: "open-till-test-" });
  try {
    const spool = join(dir, "spool");
    const name = formatChunkName(chunkAt(Date.now() - 60_000));
    await Deno.mkdir(join(spool, "outbox"), { recursive: true });
    await Deno.writeTextFile(join(spool, "outbox", name), "sound");
    await Deno.chmod(spool, 0o777);
    const config = {
      ...{ ingest_base_url: "http://ingest.invalid", ingest_token: "a-token", spool_dir: spool },
      ...{ audio_device: "usb:9-9", min_free_gb: 0 },
    };
    const path = join(dir, "check.yaml");
    const lines = Object.entries({ ...IDS, ...config }).map(([key, value]) => `${key}: ${value}\n`);
    await Deno.writeTextFile(path, lines.join(""));
    const { stdout } = await new Deno.Command(Deno.execPath(), {
      args: ["run", "-A", "--no-check", MAIN, "check", "-c", path],
      stdin: "null",
    }).output();
    const text = new TextDecoder().decode(stdout);
    assertMatch(text, /^! spool +other users can reach the recordings: .* has the mode 0777$/m);
    assertMatch(text, /^✘ tls +nothing is sent: ingest_base_url must begin with https:\/\//m);
    assertMatch(text, /dns, connection, api, token, size: fix tls first$/m);

    await using agent = await AgentProcess.start({ dir, config });
    await agent.said("Other users could reach recordings");
    assertEquals(((await Deno.stat(spool)).mode ?? 0) & 0o777, 0o700);
    await agent.said("Health is at");
    let problems: { code: string; message: string }[] = [];
    const look = async () => problems = (await agent.health()).body["problems"] as typeof problems;
    while (!problems.some(({ code }) => code === "upload_misconfigured")) await look();
    const message = problems.find(({ code }) => code === "upload_misconfigured")?.message ?? "";
    assertMatch(message, /must begin with https:\/\/.*allow_insecure_http: true/);
    assert(!agent.log.some(({ message }) => /ingest\.invalid.*(lookup|dns)/i.test(message)));
    assertEquals((await agent.health()).body["queue_size"], 1);
    await until("the chunk waits", () => [...Deno.readDirSync(join(spool, "outbox"))].length === 1);
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
});
