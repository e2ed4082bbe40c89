import { assertEquals, assertMatch } from "@std/assert";
import { join } from "@std/path/join";
import { readRollback, reportRollback } from "../../src/status/rollback.ts";
import { systemClock } from "../../src/system/clock.ts";
import { startStatusRig } from "../fixtures/status_rig.ts";
import { capturedLog } from "../fixtures/temp_spool.ts";

async function reported(note: string | null): Promise<readonly string[]> {
  await using rig = startStatusRig();
  const dir = await Deno.makeTempDir();
  const path = join(dir, "rolled-back");
  if (note !== null) await Deno.writeTextFile(path, note);
  await reportRollback({ clock: systemClock, status: rig.status, log: capturedLog().log }, path);
  await Deno.remove(dir, { recursive: true });
  return rig.view().report.problems.map(({ code, message }) => `${code}: ${message}`);
}

Deno.test("an update that was rolled back is reported with version, reason and fix", async () => {
  const [line = "", ...others] = await reported("to=0.3.1\nreason=it ended 3 times\n");
  assertMatch(
    line,
    /^update_rolled_back: The update to 0\.3\.1 was rolled back as it ended 3 times\. Find/,
  );
  assertEquals(others, []);
});

Deno.test("without a rollback nothing is reported", async () => {
  assertEquals(await reported(null), []);
});

Deno.test("a note that is cut off or has control characters is printable", async () => {
  const dir = await Deno.makeTempDir();
  const path = join(dir, "rolled-back");
  await Deno.writeTextFile(path, "reason=a\x1b[2Jb");
  const rollback = await readRollback(path);
  await Deno.remove(dir, { recursive: true });
  assertEquals(rollback?.version, "");
  // deno-lint-ignore no-control-regex
  assertEquals(/[\x00-\x1f]/.test(rollback?.reason ?? ""), false);
});
