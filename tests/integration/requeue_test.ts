// `recorder-agent requeue` as a person runs it, while the service runs as another process, and after it has
// ended.

import { assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import { join } from "@std/path/join";
import { formatChunkName, parseChunkName } from "../../src/chunk/chunk_name.ts";
import { AgentProcess } from "../fixtures/agent_process.ts";
import { makeCertificates } from "../fixtures/certificates.ts";
import { makeChunk, makeName } from "../fixtures/chunks.ts";
import { IngestServer } from "../fixtures/ingest_server.ts";
import { until } from "../fixtures/temp_spool.ts";

const MAIN = new URL("../../main.ts", import.meta.url).pathname;
const TOKEN = "a-token-that-is-nowhere-else";

async function requeue(dir: string, ...args: string[]) {
  const { code, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
    args: ["run", "-A", "--no-check", MAIN, "requeue", "-c", join(dir, "config.yaml"), ...args],
    stdin: "null",
  }).output();
  const text = new TextDecoder();
  return { code, out: text.decode(stdout), err: text.decode(stderr) };
}

Deno.test("refused chunks can be requeued while an agent runs, which delivers them, and after it has ended", async () => {
  const dir = await Deno.makeTempDir({ prefix: "requeue-test-" });
  try {
    const { caFile, certPem, keyPem } = await makeCertificates(dir);
    await using server = await IngestServer.start({
      tls: { certPem, keyPem },
      token: TOKEN,
    });
    const spool = join(dir, "spool");
    const files = (sub: string) => [...Deno.readDirSync(join(spool, sub))].map(({ name }) => name);
    await Deno.mkdir(join(spool, "outbox"), { recursive: true });
    const startS = Math.floor(Date.now() / 1000) - 600;
    const all = [0, 1, 2, 3, 4, 5].map((minute) =>
      formatChunkName({ ...makeName(), startUnixUs: (startS + minute * 60) * 1e6 })
    );
    for (const name of all) await Deno.writeFile(join(spool, "outbox", name), makeChunk());
    // The server refuses three of them, and accepts the three others.
    const names = all.slice(0, 3);
    const keys = names.map((name) => parseChunkName(name)?.key ?? "");
    const body = `{"error":"unknown register"}`;
    for (const key of keys) server.byKey.set(key, { kind: "status", status: 422, body });

    await using agent = await AgentProcess.start({
      dir,
      config: {
        ingest_base_url: server.url,
        ingest_token: TOKEN,
        tls_ca_file: caFile,
        audio_device: "no-such-microphone",
        spool_dir: spool,
        retry_min_s: 0.1,
        retry_max_s: 1,
        min_free_gb: 0,
        max_clock_wait_s: 0,
      },
    });
    const health = async () => (await agent.health()).body;
    await server.waitForChunks(3, 30_000);
    await until(() => files("rejected").filter((name) => name.endsWith(".ogg")).length === 3);

    // The list of chunks, and an unknown key.
    const shown = await requeue(dir);
    assertEquals([shown.code, shown.err], [0, ""]);
    for (const key of keys) assertStringIncludes(shown.out, key);
    assertMatch(shown.out, / 422 .*unknown register/);
    const wrong = await requeue(dir, "no-such-key");
    assertEquals(wrong.code, 1);
    assertStringIncludes(wrong.out, "rejected/ has no such chunk: no-such-key");
    const usage = await requeue(dir, "--all", "a-key");
    assertEquals(usage.code, 2);

    // Two are requeued while the agent runs, and are delivered under their keys.
    server.byKey.clear();
    const moved = await requeue(dir, keys[0] ?? "", names[2] ?? "");
    assertEquals([moved.code, moved.err], [0, ""]);
    assertStringIncludes(moved.out, "2 chunks moved to outbox/.");
    await server.waitForChunks(5, 15_000);
    assertEquals(server.chunks.slice(3).map(({ key }) => key), [keys[0], keys[2]]);
    await until(() => files("uploaded").length === 5);
    const { queue_size, spool_files, ledger, problems } = await health();
    assertEquals([queue_size, spool_files], [0, 6]);
    assertEquals((ledger as { unaccounted_s: number }).unaccounted_s, 0);
    const codes = (problems as { code: string }[]).map(({ code }) => code);
    assertEquals(codes.includes("chunks_rejected"), true);
    assertEquals(await agent.end("SIGTERM"), 0);

    // The last one is requeued while no agent runs.
    const rest = await requeue(dir, "--all");
    assertStringIncludes(rest.out, "1 chunk moved to outbox/.");
    assertEquals([files("outbox"), files("rejected")], [[names[1]], []]);
    assertEquals((await requeue(dir, "--all")).out, "There are no chunks in rejected/.\n");
    assertEquals(server.violations, []);
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
});
