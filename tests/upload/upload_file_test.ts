// The file of an upload: the same bytes and the same hash as often as it is read, a change in between, and
// buffers that are used again only when nobody writes into them any more.

import { assert, assertEquals, assertRejects } from "@std/assert";
import {
  FileFailure,
  inMemory,
  type UploadFile,
  UploadFiles,
} from "../../src/upload/upload_file.ts";
import { join } from "@std/path/join";

const never = new AbortController().signal;

async function bytesOf(file: UploadFile): Promise<Uint8Array> {
  const parts: number[] = [];
  for await (const piece of file.pieces()) for (const byte of piece) parts.push(byte);
  return Uint8Array.from(parts);
}

async function withFile(
  size: number,
  test: (path: string, bytes: Uint8Array<ArrayBuffer>) => Promise<void>,
) {
  const dir = await Deno.makeTempDir({ prefix: "upload-file-" });
  try {
    const bytes = new Uint8Array(size).map((_, at) => at * 31 + (at >> 8));
    await Deno.writeFile(join(dir, "chunk"), bytes);
    await test(join(dir, "chunk"), bytes);
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
}

for (const size of [0, 1, 131_072, 131_073, 400_000]) {
  Deno.test(`a file of ${size} bytes has the hash and the bytes that it has in memory, again and again`, async () => {
    await withFile(size, async (path, bytes) => {
      const file = await new UploadFiles().open(path);
      const hash = new Uint8Array(await crypto.subtle.digest("SHA-256", bytes)).toBase64();
      for (const source of [file, inMemory(bytes)]) {
        assertEquals([source.sizeBytes, source.head], [size, bytes.slice(0, 16_384)]);
        for (let turn = 0; turn < 2; turn++) {
          assertEquals(await source.sha256(never), hash);
          assertEquals(await bytesOf(source), bytes);
        }
        source.close();
        source.close();
      }
    });
  });
}

Deno.test("a stop ends the hashing of a large file with the reason of the signal", async () => {
  await withFile(0, async (path) => {
    await Deno.truncate(path, 100_000_000);
    const file = await new UploadFiles().open(path);
    const stop = new AbortController();
    const hashing = file.sha256(stop.signal);
    stop.abort(new Error("stop!"));
    await assertRejects(() => hashing, Error, "stop!");
    file.close();
  });
});

Deno.test("a file that changes, shrinks or grows while it is sent is noticed before its last piece", async () => {
  const changes: ((path: string) => Promise<void>)[] = [
    (path) => Deno.truncate(path, 140_000),
    (path) => Deno.writeFile(path, new Uint8Array(400_000)),
    (path) => Deno.writeFile(path, new Uint8Array(1), { append: true }),
    (path) => Deno.truncate(path, 0),
  ];
  for (const change of changes) {
    await withFile(400_000, async (path) => {
      const file = await new UploadFiles().open(path);
      await Deno.utime(path, 1, 1); // so that a change within a clock tick shows
      const opened = await new UploadFiles().open(path);
      await assertRejects(() => file.sha256(never), FileFailure, "changed");
      file.close();
      let sent = 0;
      await assertRejects(
        async () => {
          for await (const { length } of opened.pieces()) {
            if (sent === 0) await change(path);
            sent += length;
          }
        },
        FileFailure,
        "changed while it was sent",
      );
      assert(sent < 400_000, `${sent}`);
      opened.close();
    });
  }
});

Deno.test("files that are open at the same time do not share a buffer, one after the other they do", async () => {
  await withFile(300_000, async (path, bytes) => {
    const files = new UploadFiles();
    const [first, second] = [await files.open(path), await files.open(path)];
    const [a, b] = [
      first.pieces()[Symbol.asyncIterator](),
      second.pieces()[Symbol.asyncIterator](),
    ];
    const [one, two] = [(await a.next()).value, (await b.next()).value];
    assert(one?.buffer !== two?.buffer);
    // A read that is still under way when the file is closed keeps its buffer until it ends.
    const late = a.next().catch(() => {});
    first.close();
    const third = await files.open(path);
    const [piece] = [(await third.pieces()[Symbol.asyncIterator]().next()).value];
    assertEquals(piece, bytes.slice(0, 131_072));
    await late;
    assertEquals(piece, bytes.slice(0, 131_072));
    for (const file of [second, third]) file.close();
    await Promise.resolve();
  });
});

Deno.test("a file that is gone, or a folder, is an error of the disk", async () => {
  const files = new UploadFiles();
  await assertRejects(() => files.open("/nowhere/chunk"), Deno.errors.NotFound);
  await assertRejects(() => files.open("/tmp"), Error);
});
