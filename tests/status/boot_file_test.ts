import { assertEquals, assertMatch } from "@std/assert";
import { join } from "@std/path/join";
import { watchBootFile } from "../../src/status/boot_file.ts";
import { startStatusRig } from "../fixtures/status_rig.ts";
import { capturedLog } from "../fixtures/temp_spool.ts";

Deno.test("settings that stay on the boot partition are a problem after a minute, until they are deleted", async () => {
  await using rig = startStatusRig();
  const dir = await Deno.makeTempDir();
  const path = join(dir, "recorder-agent.yaml");
  await Deno.writeTextFile(path, "ingest_token: a-secret-token\n");
  const reported = () =>
    rig.view().report.problems.map(({ code, message }) => `${code}: ${message}`);
  const found: (readonly string[])[] = [];
  const stop = new AbortController();
  let sleptMs = 0;
  const clock = {
    monotonicMs: () => sleptMs,
    async sleep(ms: number) {
      found.push(reported());
      sleptMs += ms;
      if (found.length === 3) await Deno.remove(path);
      if (found.length === 4) stop.abort();
    },
  };
  using captured = capturedLog();
  const { log, lines } = captured;
  await watchBootFile({ clock, status: rig.status, log }, stop.signal, path);
  await Deno.remove(dir, { recursive: true });
  assertEquals(sleptMs, 4 * 60_000);
  const [atStart, afterAMinute, later, whenDeleted] = found;
  assertEquals(atStart, []);
  assertMatch(
    afterAMinute?.join() ?? "",
    /^settings_on_card: Settings are still on the card \(.*recorder-agent\.yaml\)/,
  );
  assertEquals(later, afterAMinute);
  assertEquals(whenDeleted, []);
  assertEquals(lines.length, 2, "its beginning and its end");
});

Deno.test("nothing is reported where there is no boot partition, or none that may be looked into", async () => {
  await using rig = startStatusRig();
  const stop = new AbortController();
  let looks = 0;
  const clock = {
    monotonicMs: () => 0,
    sleep: () => (++looks > 2 && stop.abort(), Promise.resolve()),
  };
  using captured = capturedLog();
  const deps = { clock, status: rig.status, log: captured.log };
  await watchBootFile(deps, stop.signal, `/dev/null/recorder-agent.yaml`);
  assertEquals(rig.view().report.problems, []);
});
