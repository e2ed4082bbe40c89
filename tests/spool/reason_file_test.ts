import { assertEquals, assertRejects } from "@std/assert";
import { join } from "@std/path/join";
import {
  copyReason,
  MAX_REASON_BYTES,
  reasonPath,
  removeOldReason,
  writeReason,
} from "../../src/spool/reason_file.ts";
import { makeMemoryDir } from "../fixtures/memory_dir.ts";

/** A folder with the paths of a chunk and of its next name. */
async function folder() {
  const dir = await makeMemoryDir();
  const files = () => [...Deno.readDirSync(dir)].map(({ name }) => name).sort();
  return {
    ...{ dir, files, chunk: join(dir, "old.ogg"), next: join(dir, "new.ogg") },
    [Symbol.asyncDispose]: () => Deno.remove(dir, { recursive: true }),
  };
}

Deno.test("a reason is JSON beside its chunk, which only its owner can read", async () => {
  await using temp = await folder();
  await writeReason(temp.chunk, { status: 422, reason: "unknown till" });
  assertEquals(temp.files(), ["old.ogg.reason.json"]);
  const text = await Deno.readTextFile(reasonPath(temp.chunk));
  assertEquals(text, '{\n  "status": 422,\n  "reason": "unknown till"\n}\n');
  assertEquals((Deno.statSync(reasonPath(temp.chunk)).mode ?? 0) & 0o777, 0o600);
});

Deno.test("a reason that cannot be written as a whole is not there, and prevents nothing", async () => {
  await using temp = await folder();
  const { prototype } = Deno.FsFile;
  const { write } = prototype;
  try {
    prototype.write = async function (data) {
      await write.call(this, data.subarray(0, 3));
      throw new Error("No space left on device (os error 28)");
    };
    await writeReason(temp.chunk, { reason: "unknown till" });
  } finally {
    prototype.write = write;
  }
  assertEquals(temp.files(), []);
});

Deno.test("a reason is not written through a link", async () => {
  await using temp = await folder();
  const foreign = join(temp.dir, "foreign");
  await Deno.writeTextFile(foreign, "foreign");
  await Deno.symlink(foreign, reasonPath(temp.chunk));
  await writeReason(temp.chunk, { reason: "unknown till" });
  assertEquals(await Deno.readTextFile(foreign), "foreign");
  assertEquals(Deno.lstatSync(reasonPath(temp.chunk)).isFile, true);
});

Deno.test("a reason is copied to the next name of its chunk, up to the size that a reason can have", async () => {
  for (
    const [size, isCopied] of [[10, true], [MAX_REASON_BYTES, true], [MAX_REASON_BYTES + 1, false]]
  ) {
    await using temp = await folder();
    const text = "x".repeat(Number(size));
    await Deno.writeTextFile(reasonPath(temp.chunk), text);
    await copyReason(temp.chunk, temp.next);
    assertEquals(await Deno.readTextFile(reasonPath(temp.chunk)), text);
    assertEquals(
      await Deno.readTextFile(reasonPath(temp.next)).catch(() => null),
      isCopied ? text : null,
    );
  }
});

Deno.test("a chunk without a reason gets none; a reason that cannot be read is an error", async () => {
  await using temp = await folder();
  await copyReason(temp.chunk, temp.next);
  assertEquals(temp.files(), []);
  await Deno.mkdir(reasonPath(temp.chunk));
  await assertRejects(() => copyReason(temp.chunk, temp.next));
  assertEquals(temp.files(), ["old.ogg.reason.json"]);
});

Deno.test("the old reason is removed after the next name is durable, and stays if that fails", async () => {
  await using temp = await folder();
  await writeReason(temp.chunk, { reason: "unknown till" });
  const { prototype } = Deno.FsFile;
  const { sync } = prototype;
  try {
    prototype.sync = () => Promise.reject(new Error("Input/output error (os error 5)"));
    await assertRejects(() => removeOldReason(temp.chunk), Error, "os error 5");
  } finally {
    prototype.sync = sync;
  }
  assertEquals(temp.files(), ["old.ogg.reason.json"]);
  await removeOldReason(temp.chunk);
  assertEquals(temp.files(), []);
});
