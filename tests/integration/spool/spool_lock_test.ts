// The lock of a spool against other processes, and the free space of a real disk.

import { assert, assertEquals, assertRejects } from "@std/assert";
import { Spool } from "../../../src/spool/spool.ts";
import { SpoolLockedError } from "../../../src/spool/spool_lock.ts";
import { TempSpool } from "../../fixtures/temp_spool.ts";

async function holdElsewhere(dir: string) {
  const script = new URL("../../fixtures/hold_spool.ts", import.meta.url).pathname;
  const child = new Deno.Command(Deno.execPath(), {
    args: ["run", "-A", "--quiet", script, dir],
    stdin: "piped",
    stdout: "piped",
  }).spawn();
  const reader = child.stdout.getReader();
  const { value } = await reader.read();
  return {
    said: new TextDecoder().decode(value),
    child,
    async end() {
      await child.stdin.close().catch(() => {}); // a killed process's pipe is broken
      await reader.cancel();
      await child.status;
    },
  };
}

Deno.test("a second process is refused with the process id of the first", async () => {
  await using temp = await TempSpool.open();
  const other = await holdElsewhere(temp.dir);
  await other.end();
  assertEquals(
    other.said.trim(),
    `Error: Cannot use spool_dir ${temp.dir} as another recorder-agent is using it ` +
      `(process ${Deno.pid}): stop that one, or give this one another spool_dir`,
  );
});

Deno.test("the lock of a killed process ends with it", async () => {
  await using temp = await TempSpool.open();
  temp.spool.close();
  const other = await holdElsewhere(temp.dir);
  assertEquals(other.said, "held\n");
  await assertRejects(
    () => Spool.open(temp.dir),
    SpoolLockedError,
    `(process ${other.child.pid})`,
  );
  other.child.kill("SIGKILL");
  await other.end();
  temp.spool = await Spool.open(temp.dir);
});

Deno.test("freeBytes() is the free space of the disk", async () => {
  await using temp = await TempSpool.open();
  const { stdout } = await new Deno.Command("df", {
    args: ["--output=avail", "-B1", temp.dir],
  }).output();
  const avail = Number(new TextDecoder().decode(stdout).split("\n")[1]);
  const free = await temp.spool.freeBytes();
  assert(Math.abs(free - avail) < 0.1 * avail + 1e8, `${free} free, df says ${avail}`);
});
