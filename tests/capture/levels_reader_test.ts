import { assertEquals } from "@std/assert";
import { join } from "@std/path/join";
import { FfmpegSocket } from "../../src/capture/ffmpeg_socket.ts";
import { LevelsReader } from "../../src/capture/levels_reader.ts";

/** More than a socket of Linux holds: the writer has to wait for the reader. */
const MANY = new Uint8Array(500_000);

/** How long the reader waits for look() in a test that waits for the end of this time, ms. */
const UNASKED_MS = 20;

/**
 * A reader, the number of bytes that it has read, and the end of the socket to which ffmpeg would write.
 */
async function connected(unaskedMs?: number) {
  const dir = await Deno.makeTempDir();
  const socket = FfmpegSocket.listen(join(dir, "levels.sock"));
  if (socket === null) throw new Error("no socket");
  let bytes = 0;
  const reader = new LevelsReader(socket, { push: ({ length }) => bytes += length }, unaskedMs);
  const writer = await Deno.connect({ transport: "unix", path: join(dir, "levels.sock") });
  return {
    reader,
    read: () => bytes,
    write: async (data: Uint8Array) => {
      for (let at = 0; at < data.length;) at += await writer.write(data.subarray(at));
    },
    async [Symbol.asyncDispose]() {
      writer.close();
      await reader.end();
      await Deno.remove(dir, { recursive: true });
    },
  };
}

async function within(ms: number, isSo: () => boolean): Promise<boolean> {
  const endMs = performance.now() + ms;
  while (!isSo() && performance.now() < endMs) await new Promise((wake) => setTimeout(wake, 5));
  return isSo();
}

Deno.test("LevelsReader reads the bytes that have arrived when look() is called, and not before", async () => {
  await using levels = await connected();
  await levels.write(new Uint8Array(1000)); // the first bytes are read at once
  await within(500, () => levels.read() === 1000);
  await levels.write(new Uint8Array(2000));
  assertEquals(await within(300, () => levels.read() > 1000), false);
  levels.reader.look();
  assertEquals(await within(300, () => levels.read() === 3000), true);
});

Deno.test("LevelsReader does not block the writer, even if look() is called once or never", async () => {
  for (const looks of [0, 1, 3]) {
    await using levels = await connected(UNASKED_MS);
    await levels.write(new Uint8Array(1000));
    const written = levels.write(MANY);
    for (let look = 0; look < looks; look++) levels.reader.look();
    assertEquals(await within(4000, () => levels.read() === 1000 + MANY.length), true);
    await written;
  }
});

Deno.test("LevelsReader has read everything that was written when end() resolves", async () => {
  let read: () => number;
  {
    await using levels = await connected();
    read = levels.read;
    await levels.write(new Uint8Array(100_001));
  }
  assertEquals(read(), 100_001);
});
