import { assert } from "@std/assert";
import { delay } from "@std/async/delay";
import { takeLock } from "../../../src/system/disk.ts";

Deno.test("a lock that was given up is taken again while other programs are being started", async () => {
  const path = await Deno.makeTempFile({ prefix: "lock-" });
  // Each has the lock from its fork() to its exec(), which takes longer in a large process.
  const memory = new Uint8Array(200e6).fill(1);
  let isOver = false;
  const start = async () => {
    while (!isOver) await new Deno.Command("/usr/bin/true").output();
  };
  const starts = [start(), start(), start(), start(), start(), start()];
  try {
    for (let times = 0; times < 400; times++) {
      using file = await Deno.open(path, { write: true });
      assert(await takeLock(file), `${times} times`);
      await delay(times % 3);
    }
  } finally {
    isOver = true;
    await Promise.all(starts);
    await Deno.remove(path);
  }
  assert(memory.length > 0); // until here it was needed
});
