import { assertEquals, assertRejects } from "@std/assert";
import { byteReader, bytesOf, readAll } from "../../src/system/byte_stream.ts";
import { concatBytes } from "../../src/system/concat_bytes.ts";

/** A stream of bytes with these pieces; `onCancel` is called when the reader cancels the rest. */
function streamOf(pieces: readonly Uint8Array<ArrayBuffer>[], onCancel = () => {}) {
  const rest = pieces.map((piece) => piece.slice()); // a stream takes ownership of them
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

Deno.test("bytesOf() returns all bytes of a stream, whatever the sizes of its pieces", async () => {
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

Deno.test("cancelling the reader from outside ends the loop, even while it waits", async () => {
  const silent = new ReadableStream({ type: "bytes" });
  const reader = byteReader(silent);
  const reading = Array.fromAsync(readAll(reader));
  await reader.cancel();
  assertEquals(await reading, []);
});

Deno.test("the error of a failed stream is thrown", async () => {
  const failing = new ReadableStream({
    type: "bytes",
    pull: (controller: ReadableByteStreamController) => controller.error(new Error("broken off")),
  });
  await assertRejects(() => Array.fromAsync(bytesOf(failing)), Error, "broken off");
});
