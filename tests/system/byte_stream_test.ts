import { assertEquals, assertRejects } from "@std/assert";
import { byteReader, bytesOf, readAll } from "../../src/system/byte_stream.ts";
import { concatBytes } from "../../src/system/concat_bytes.ts";

/** A stream of bytes with these pieces; `onCancel` is told when nobody wants the rest. */
function streamOf(pieces: readonly Uint8Array<ArrayBuffer>[], onCancel = () => {}) {
  const rest = pieces.map((piece) => piece.slice()); // a stream takes them over
  return new ReadableStream({
    type: "bytes",
    pull(controller: ReadableByteStreamController) {
      const next = rest.shift();
      if (next !== undefined) return controller.enqueue(next);
      controller.close();
      controller.byobRequest?.respond(0);
    },
    cancel: onCancel,
  });
}

function filled(length: number): Uint8Array<ArrayBuffer> {
  return Uint8Array.from({ length }, (_, index) => index);
}

Deno.test("bytesOf() gives all that a stream has, whatever the sizes of its pieces", async () => {
  const pieces = [filled(1), filled(4096), filled(10_000), filled(3)];
  const read: Uint8Array[] = [];
  for await (const bytes of bytesOf(streamOf(pieces))) read.push(bytes.slice());
  assertEquals(concatBytes(read), concatBytes(pieces));
  assertEquals(read.every(({ length }) => length <= 4096), true);
});

Deno.test("leaving the loop cancels the rest of the stream", async () => {
  let cancelled = 0;
  const stream = streamOf([filled(10), filled(10)], () => cancelled++);
  for await (const _ of bytesOf(stream)) break;
  assertEquals(cancelled, 1);
});

Deno.test("a reader that is cancelled from outside ends the loop, also one that waits", async () => {
  const silent = new ReadableStream({ type: "bytes" });
  const reader = byteReader(silent);
  const reading = Array.fromAsync(readAll(reader));
  await reader.cancel();
  assertEquals(await reading, []);
});

Deno.test("what a stream fails with is thrown", async () => {
  const failing = new ReadableStream({
    type: "bytes",
    pull: (controller: ReadableByteStreamController) => controller.error(new Error("broken off")),
  });
  await assertRejects(() => Array.fromAsync(bytesOf(failing)), Error, "broken off");
});
