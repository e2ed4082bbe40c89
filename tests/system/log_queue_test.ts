import { assertEquals } from "@std/assert";
import { StderrQueue } from "../../src/system/log.ts";

/** A queue, and what it has written. */
function queueRig(write?: (bytes: Uint8Array) => Promise<number>) {
  let written = "";
  const queue = new StderrQueue(async (bytes) => {
    const count = await (write?.(bytes) ?? Promise.resolve(bytes.length));
    written += new TextDecoder().decode(bytes.subarray(0, count));
    return count;
  });
  const push = (line: string) => queue.push(new TextEncoder().encode(`${line}\n`));
  return { queue, push, written: () => written };
}

Deno.test("the queue of the log writes what comes while it writes, in its order", async () => {
  const { queue, push, written } = queueRig();
  push("first");
  await Promise.resolve();
  push("second");
  await queue.flush(5000);
  push("third");
  await queue.flush(5000);
  assertEquals(written(), "first\nsecond\nthird\n");
});

Deno.test("the queue of the log takes a short write for what it is, and a failed one costs its line", async () => {
  let calls = 0;
  const { queue, push, written } = queueRig((bytes) => {
    if (++calls === 3) return Promise.reject(new Error("Broken pipe (os error 32)"));
    return Promise.resolve(Math.min(4, bytes.length));
  });
  push("abcdef");
  push("lost");
  push("kept");
  await queue.flush(5000);
  assertEquals(written(), "abcdef\nkept\n");
});

Deno.test("flush() of a queue that is empty is over at once", async () => {
  const { queue } = queueRig();
  const startMs = performance.now();
  await queue.flush(60_000);
  assertEquals(performance.now() - startMs < 10_000, true);
});
