import { assert, assertEquals } from "@std/assert";
import { takeLock } from "../../src/system/disk.ts";

/** Two open files of one path; flock() treats them as those of two processes. */
async function openTwice() {
  const path = await Deno.makeTempFile({ prefix: "lock-" });
  const open = () => Deno.open(path, { read: true, write: true });
  return { held: await open(), file: await open(), [Symbol.dispose]: () => Deno.removeSync(path) };
}

Deno.test("a lock that another process still holds is taken as soon as that has given it up", async () => {
  using files = await openTwice();
  const { held, file } = files;
  assert(await takeLock(held));
  let attempts = 0;
  const { tryLock } = file;
  file.tryLock = async (isExclusive) => {
    const isTaken = await tryLock.call(file, isExclusive);
    if (++attempts === 2) held.close(); // as at the exec() of a program that is being started
    return isTaken;
  };
  assert(await takeLock(file));
  assertEquals(attempts, 3);
  file.close();
});
