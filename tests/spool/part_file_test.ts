import { assertEquals, assertRejects, assertThrows } from "@std/assert";
import { join } from "@std/path/join";
import { type Outbox, PartFile } from "../../src/spool/part_file.ts";
import { chunkAt, chunksIn, TempSpool } from "../fixtures/temp_spool.ts";

const NOON = Date.UTC(2026, 5, 15, 12);
const TIMES = chunkAt(NOON);

/** The first `times` calls of `method` fail; then it works. */
function failing<T extends object>(target: T, method: keyof T, times: number): void {
  const works = target[method];
  let failures = 0;
  Object.assign(target, {
    [method](...args: unknown[]) {
      if (failures++ < times) return Promise.reject(new Error(`${String(method)} failed`));
      return typeof works === "function" ? works.apply(target, args) : undefined;
    },
  });
}

/** A chunk that grows in a spool, and its open file. */
async function openPart(temp: TempSpool, outbox: Outbox = temp.spool) {
  const path = join(temp.dir, "recording", "a.part");
  const file = await Deno.open(path, { createNew: true, write: true });
  return { path, file, part: new PartFile(outbox, file, path) };
}

function bytes(length: number, value: number): Uint8Array {
  return new Uint8Array(length).fill(value);
}

/** The next writes fail after three bytes. Returns the real one. */
function failingAfterThree(file: Deno.FsFile, message: string): Deno.FsFile["write"] {
  const write = file.write.bind(file);
  file.write = async (data) => {
    await write(data.subarray(0, 3));
    throw new Error(message);
  };
  return write;
}

Deno.test("an append that fails half-way is written again, and no byte twice", async () => {
  await using temp = await TempSpool.open();
  const { path, file, part } = await openPart(temp);
  await part.append(bytes(10, 1));
  const write = failingAfterThree(file, "No space left on device (os error 28)");
  await assertRejects(() => part.append(bytes(10, 2)), Error, "No space left");
  assertEquals(part.sizeBytes, 10);
  file.write = (data) => write(data.subarray(0, 4)); // short writes are continued
  await part.append(bytes(10, 2));
  await part.append(bytes(5, 3));
  assertEquals([...await Deno.readFile(path)], [
    ...bytes(10, 1),
    ...bytes(10, 2),
    ...bytes(5, 3),
  ]);
  assertEquals(part.sizeBytes, 25);
  part.abandon();
});

Deno.test("seal() syncs the file, renames it, and syncs both directories, in this order", async () => {
  await using temp = await TempSpool.open();
  const { part } = await openPart(temp);
  await part.append(bytes(10, 1));
  const calls: string[] = [];
  const { rename, open } = Deno;
  const { sync } = Deno.FsFile.prototype;
  const directories = new Map<Deno.FsFile, string>();
  try {
    Deno.rename = (from, to) => {
      calls.push("rename");
      return rename(from, to);
    };
    Deno.open = async (path, options) => {
      const file = await open(path, options);
      directories.set(file, String(path).slice(temp.dir.length));
      return file;
    };
    Deno.FsFile.prototype.sync = function () {
      calls.push(`fsync ${directories.get(this) ?? "the chunk"}`);
      return sync.call(this);
    };
    await part.seal(TIMES);
  } finally {
    Object.assign(Deno, { rename, open });
    Deno.FsFile.prototype.sync = sync;
  }
  assertEquals(calls, ["fsync the chunk", "rename", "fsync /outbox", "fsync /recording"]);
});

Deno.test("a seal that fails at any step is tried again and succeeds once", async () => {
  for (const step of ["sync", "admit", "syncAdmitted"] as const) {
    await using temp = await TempSpool.open();
    const { spool } = temp;
    const { file, part } = await openPart(temp);
    await part.append(bytes(10, 1));
    if (step === "sync") failing(file, step, 2);
    else failing(spool, step, 2);
    await assertRejects(() => part.seal(TIMES), Error, `${step} failed`);
    await assertRejects(() => part.seal(TIMES), Error, `${step} failed`);
    const name = await part.seal(TIMES);
    assertEquals(temp.files("outbox"), [name]);
    assertEquals(temp.files("recording"), []);
    assertEquals([spool.tally.outbox.files, spool.tally.outbox.bytes], [1, 10]);
  }
});

Deno.test("a seal whose chunk was delivered before its retry is done", async () => {
  await using temp = await TempSpool.open();
  const { part } = await openPart(temp);
  failing(temp.spool, "syncAdmitted", 1);
  await assertRejects(() => part.seal(TIMES));
  const [name = ""] = chunksIn(temp.spool, "outbox");
  await temp.spool.markUploaded(name);
  assertEquals(await part.seal(TIMES), name);
  assertEquals(temp.spool.tally.outbox.files, 0);
  assertEquals(temp.spool.tally.uploaded.files, 1);
});

Deno.test("seal() returns null if another process has deleted the file", async () => {
  await using temp = await TempSpool.open();
  const { path, part } = await openPart(temp);
  await Deno.remove(path);
  assertEquals(await part.seal(TIMES), null);
  assertEquals(temp.spool.tally.outbox.files, 0);
});

Deno.test("a file that cannot be moved because its directory is missing is not treated as deleted", async () => {
  await using temp = await TempSpool.open();
  const { part } = await openPart(temp);
  await Deno.remove(join(temp.dir, "outbox"));
  await assertRejects(() => part.seal(TIMES), Deno.errors.NotFound);
  await Deno.mkdir(join(temp.dir, "outbox"));
  const name = await part.seal(TIMES);
  assertEquals(temp.files("outbox"), [name]);
});

Deno.test("abandon() leaves the file in place; discard() removes it, or finds it gone", async () => {
  await using temp = await TempSpool.open();
  const abandoned = await temp.spool.create(chunkAt(NOON));
  await abandoned.append(bytes(3, 1));
  abandoned.abandon();
  const [left = ""] = temp.files("recording");
  assertEquals(Deno.statSync(temp.spool.path("recording", left)).size, 3);
  await (await temp.spool.create(chunkAt(NOON))).discard();
  assertEquals(temp.files("recording"), [left]);
  const { path, part } = await openPart(temp);
  await Deno.remove(path);
  await part.discard();
});

Deno.test("the first sync makes the file's name durable too, and is tried again with it", async () => {
  await using temp = await TempSpool.open();
  const { part } = await openPart(temp);
  const { open } = Deno;
  let opened = 0;
  try {
    Deno.open = (path, options) => {
      if (String(path).endsWith(".part")) return open(path, options);
      if (opened++ === 0) return Promise.reject(new Error("the directory failed"));
      return open(path, options);
    };
    await assertRejects(() => part.sync(), Error, "the directory failed");
    for (let again = 0; again < 3; again++) await part.sync();
  } finally {
    Deno.open = open;
  }
  assertEquals(opened, 2, "the directory is synced once");
  part.abandon();
});

Deno.test("however a chunk ends, its file is closed, and a sync that comes later succeeds", async () => {
  type End = (part: PartFile, path: string, outbox: TempSpool["spool"]) => unknown;
  const ends: Record<string, End> = {
    sealed: (part) => part.seal(TIMES),
    "sealed at the second try": async (part, _, outbox) => {
      failing(outbox, "syncAdmitted", 1);
      await assertRejects(() => part.seal(TIMES));
      await part.seal(TIMES);
    },
    "deleted before its seal": async (part, path) => {
      await Deno.remove(path);
      await part.seal(TIMES);
    },
    dropped: (part) => part.discard(),
    "deleted and left": async (part, path) => {
      await Deno.remove(path);
      part.abandon();
    },
  };
  for (const end of Object.values(ends)) {
    await using temp = await TempSpool.open();
    const { path, file, part } = await openPart(temp);
    await part.append(bytes(10, 1));
    await end(part, path, temp.spool);
    assertThrows(() => file.statSync(), Deno.errors.BadResource);
    await part.sync();
  }
});

Deno.test("the start is replaced, again if that failed half-way, and what is appended goes to the end", async () => {
  await using temp = await TempSpool.open();
  const { path, file, part } = await openPart(temp);
  await part.append(bytes(10, 1));
  const write = failingAfterThree(file, "Input/output error (os error 5)");
  await assertRejects(() => part.replaceStart(bytes(6, 2)), Error, "Input/output");
  file.write = (data) => write(data.subarray(0, 4));
  await part.replaceStart(bytes(6, 2));
  await part.append(bytes(5, 3));
  assertEquals([...await Deno.readFile(path)], [...bytes(6, 2), ...bytes(4, 1), ...bytes(5, 3)]);
  assertEquals(part.sizeBytes, 15);
  part.abandon();
});

Deno.test("after a sync that failed, all bytes are written once more before the next, and none is changed", async () => {
  for (const step of ["syncData", "sync"] as const) {
    await using temp = await TempSpool.open();
    const { path, part } = await openPart(temp);
    const { prototype } = Deno.FsFile;
    const { write } = prototype;
    const real = prototype[step];
    const content = new Uint8Array(200_000).map((_, at) => at * 7 + (at >> 8));
    let written = 0;
    const atSync: number[] = [];
    let failures = 2;
    await part.append(content);
    try {
      prototype.write = function (bytes) {
        written += bytes.length;
        return write.call(this, bytes);
      };
      prototype[step] = function () {
        if (!this.statSync().isFile) return real.call(this);
        atSync.push(written);
        written = 0;
        if (failures-- > 0) return Promise.reject(new Error("Input/output error (os error 5)"));
        return real.call(this);
      };
      const run = () => step === "sync" ? part.seal(TIMES) : part.sync();
      for (let attempt = 0; attempt < 2; attempt++) {
        await assertRejects(async () => void await run(), Error, "Input/output error");
      }
      // The start is replaced while the file is written over itself.
      if (step === "syncData") {
        const head = bytes(70_000, 5);
        content.set(head);
        await Promise.all([run(), part.replaceStart(head)]);
      } else assertEquals(await run(), temp.files("outbox")[0]);
    } finally {
      Object.assign(prototype, { write, [step]: real });
    }
    const [name] = temp.files("outbox");
    const file = name === undefined ? path : temp.spool.path("outbox", name);
    assertEquals(await Deno.readFile(file), content);
    assertEquals(atSync.slice(0, 2), [0, 200_000]);
    assertEquals((atSync[2] ?? 0) >= 200_000, true);
    if (step === "syncData") part.abandon();
  }
});

Deno.test("every sync makes the appended bytes durable, and the first one the file's name after them", async () => {
  await using temp = await TempSpool.open();
  const { part } = await openPart(temp);
  const calls: string[] = [];
  const { prototype } = Deno.FsFile;
  const { sync, syncData } = prototype;
  try {
    prototype.sync = function () {
      calls.push("fsync");
      return sync.call(this);
    };
    prototype.syncData = function () {
      calls.push("fdatasync");
      return syncData.call(this);
    };
    await part.append(bytes(10, 1));
    await part.sync();
    await part.append(bytes(10, 1));
    await part.sync();
  } finally {
    Object.assign(prototype, { sync, syncData });
  }
  assertEquals(calls, ["fdatasync", "fsync", "fdatasync"]);
  part.abandon();
});
