import { assert, assertEquals } from "@std/assert";
import { join } from "@std/path/join";
import { END_OF_STREAM, type OggPage, OggPageReader } from "../../src/chunk/ogg.ts";
import { formatPartName, parseChunkName } from "../../src/chunk/chunk_name.ts";
import { readChunkHeader, withTags } from "../../src/chunk/chunk_file.ts";
import { recoverRecordings } from "../../src/spool/recovery.ts";
import { makeSecondChunk } from "../fixtures/second_chunk.ts";
import { makePacket, makeStreamPages } from "../fixtures/ogg_stream.ts";
import { seededRandom } from "../fixtures/random.ts";
import { capturedLog, chunkAt, chunksIn, TempSpool } from "../fixtures/temp_spool.ts";

const NOON = Date.UTC(2026, 5, 15, 12);
const PRE_SKIP = 312;
const PACKETS = 60;

/** The pages of a chunk of 1.2 s: two header pages, then four packets per page. */
function makePages(): Uint8Array[] {
  const random = seededRandom(4);
  const packets = Array.from({ length: PACKETS }, () => makePacket(60, random));
  return makeStreamPages(packets, { perPage: 4, preSkip: PRE_SKIP });
}

function concat(pages: readonly Uint8Array[]): Uint8Array {
  return new Uint8Array(pages.flatMap((page) => [...page]));
}

function readPages(file: Uint8Array): OggPage[] {
  const found = [...new OggPageReader().push(file)];
  const pages = found.filter((page) => page.kind === "page");
  assertEquals(pages.length, found.length, "damage in a recovered file");
  assertEquals(pages.reduce((sum, page) => sum + page.byteLength, 0), file.length);
  return pages;
}

/** A spool with these files left in recording/, after recovery. */
async function recovered(files: Record<string, Uint8Array>) {
  const captured = capturedLog();
  const temp = await TempSpool.open(async (dir) => {
    await Deno.mkdir(join(dir, "recording"), { recursive: true });
    for (const [name, bytes] of Object.entries(files)) {
      await Deno.writeFile(join(dir, "recording", name), bytes);
    }
  });
  const count = await recoverRecordings(temp.spool, captured.log);
  return {
    temp,
    spool: temp.spool,
    count,
    log: captured.log,
    messages: (level: string) => captured.lines.filter((line) => line["level"] === level),
    async [Symbol.asyncDispose]() {
      captured[Symbol.dispose]();
      await temp[Symbol.asyncDispose]();
    },
  };
}

Deno.test("the next chunk continues after the last one, not after an earlier one that could not be sealed", async () => {
  const [stuck, last] = [chunkAt(NOON), chunkAt(NOON + 3_600_000)];
  await using result = await recovered({ [formatPartName(stuck)]: concat(makePages()) });
  assertEquals(result.spool.latest("boot")?.key, stuck.key);
  await Deno.rename(
    result.spool.path("outbox", chunksIn(result.spool, "outbox")[0] ?? ""),
    result.spool.path("recording", formatPartName(stuck)),
  );
  await result.temp.store("outbox", last);
  const spool = await result.temp.reopen();
  assertEquals(await recoverRecordings(spool, result.log), 1);
  assertEquals(spool.latest("boot")?.key, last.key);
});

Deno.test("a recording cut off at any byte is cut to its last whole page, finished and delivered", async () => {
  const pages = makePages();
  const whole = concat(pages);
  const random = seededRandom(5);
  const cuts = [0, 1, whole.length - 1, whole.length];
  for (let at = 0, end = 0; at < pages.length; at++) cuts.push(end += pages[at]?.length ?? 0);
  for (let round = 0; round < 100; round++) cuts.push(Math.floor(random() * whole.length));
  const lengths = new Map(cuts.map((cut) => [chunkAt(NOON + cut), cut]));
  await using result = await recovered(Object.fromEntries(
    [...lengths].map(([name, cut]) => [formatPartName(name), whole.subarray(0, cut)]),
  ));
  let expected = 0;
  for (const [{ key, startUnixUs }, cut] of lengths) {
    const name = chunksIn(result.spool, "outbox").find((file) => file.includes(key));
    let kept = 0;
    let keptBytes = 0;
    while (keptBytes + (pages[kept]?.length ?? Infinity) <= cut) {
      keptBytes += pages[kept++]?.length ?? 0;
    }
    const samples = (kept - 2) * 4 * 960 - PRE_SKIP;
    if (samples <= 0) {
      assertEquals(name, undefined, `${cut} bytes`);
      continue;
    }
    expected++;
    assert(name !== undefined, `${cut} bytes`);
    const durationUs = Math.round(samples / 48_000 * 1e6);
    assertEquals(parseChunkName(name), { key, startUnixUs, durationUs });
    const file = await Deno.readFile(result.spool.path("outbox", name));
    assertEquals(file.length, keptBytes);
    const flags = readPages(file).map((page) => page.flags & END_OF_STREAM);
    assertEquals(flags, [...Array(kept - 1).fill(0), END_OF_STREAM]);
    assertEquals(file.subarray(0, 100), whole.subarray(0, 100));
  }
  assertEquals(result.count, expected);
  assertEquals(result.temp.files("recording"), []);
  assertEquals(result.temp.files("rejected"), []);
  assertEquals(result.spool.tally.outbox.files, expected);
});

Deno.test("a finished recording that was not moved yet is delivered unchanged", async () => {
  const whole = concat(makePages());
  const name = chunkAt(NOON);
  await using result = await recovered({ [formatPartName(name)]: whole });
  const [file = ""] = chunksIn(result.spool, "outbox");
  assertEquals(await Deno.readFile(result.spool.path("outbox", file)), whole);
  const [{ bytes_cut, seconds, chunk } = {}] = result.messages("WARNING");
  assertEquals([bytes_cut, seconds, chunk], [0, 1.1935, file]);
});

Deno.test("damage in the middle ends a recording at the last whole page before it", async () => {
  const pages = makePages();
  const damaged = concat(pages);
  const at = concat(pages.slice(0, 7)).length + 40;
  damaged[at] = (damaged[at] ?? 0) ^ 1;
  await using result = await recovered({ [formatPartName(chunkAt(NOON))]: damaged });
  const [file = ""] = chunksIn(result.spool, "outbox");
  assertEquals(readPages(await Deno.readFile(result.spool.path("outbox", file))).length, 7);
});

Deno.test("a recording whose tags were being replaced keeps all its sound, and its key if they cannot be read", async () => {
  const chunk = makeSecondChunk({ POINT_ID: "p", STREAM_SAMPLE: "47688" });
  const header = withTags(chunk, { POINT_ID: "p", STREAM_SAMPLE: "4768800" });
  assert(header !== null);
  const sizes = Array.from(header, (_, size) => size);
  const tornAt = sizes.find((size) =>
    readChunkHeader(concat([header.subarray(0, size), chunk.subarray(size)])) === null
  );
  assert(tornAt !== undefined);
  const torn = concat([header.subarray(0, tornAt), chunk.subarray(tornAt)]);
  const unreadable = chunk.slice();
  unreadable[new TextDecoder("latin1").decode(chunk).indexOf("OpusTags")] = 0;
  const names = [chunkAt(NOON), chunkAt(NOON + 60_000)] as const;
  await using result = await recovered({
    [formatPartName(names[0])]: torn,
    [formatPartName(names[1])]: unreadable,
  });
  assertEquals(result.count, 2);
  const files = chunksIn(result.spool, "outbox").map((file) =>
    Deno.readFileSync(result.spool.path("outbox", file))
  );
  assertEquals(files.map((file) => file.length), [chunk.length, chunk.length]);
  const [kept, replaced] = files.map((file) => readChunkHeader(file)?.tags);
  assertEquals(kept?.["POINT_ID"], "p");
  assertEquals(replaced, { CHUNK_ID: names[1].key });
  for (const file of files) assertEquals(readPages(file).at(-1)?.flags, END_OF_STREAM);
});

Deno.test("a file without sound is deleted; a file that is not a recording is set aside with its reason", async () => {
  const pages = makePages();
  const part = (offsetMs: number) => formatPartName(chunkAt(NOON + offsetMs));
  const [garbage, oldGarbage] = [part(10), part(20)];
  const random = seededRandom(6);
  await using result = await recovered({
    [part(0)]: new Uint8Array(0),
    [part(1)]: new Uint8Array(5000), // zeros: allocated, never written
    [part(2)]: concat(pages.slice(0, 2)), // header only
    [part(3)]: concat(pages.slice(0, 1)),
    "empty.txt": new Uint8Array(0),
    "a.txt": new Uint8Array(1),
    [garbage]: Uint8Array.from({ length: 5000 }, () => Math.floor(random() * 256)),
    [oldGarbage]: new TextEncoder().encode("this is a text and has never been anything else\n"),
    "holiday.ogg": concat(pages),
    "chunk.part.tmp": concat(pages),
  });
  assertEquals(result.count, 0);
  assertEquals(result.temp.files("outbox"), []);
  assertEquals(result.temp.files("recording"), []);
  const aside = ["a.txt", "chunk.part.tmp", "holiday.ogg", garbage, oldGarbage];
  assertEquals(
    result.temp.files("rejected"),
    aside.flatMap((name) => [name, `${name}.reason.json`]).sort(),
  );
  const reason = async (name: string) =>
    JSON.parse(await Deno.readTextFile(result.spool.path("rejected", `${name}.reason.json`)));
  assertEquals(await reason(garbage), { reason: "no Ogg/Opus header" });
  for (const name of ["holiday.ogg", "a.txt"]) {
    assertEquals(await reason(name), { reason: "not a file name of this program" });
  }
  assertEquals(result.messages("ERROR").map(({ file }) => file).sort(), aside.sort());
});

Deno.test("a file that cannot be recovered stays and is reported, and the others are recovered", async () => {
  const captured = capturedLog();
  await using temp = await TempSpool.open();
  const whole = concat(makePages());
  const paths = [0, 1, 2].map((at) => temp.spool.path("recording", formatPartName(chunkAt(at))));
  const [broken = "", good = "", directory = ""] = paths;
  await Deno.writeFile(broken, whole);
  await Deno.writeFile(good, whole);
  await Deno.mkdir(directory);
  const { open } = Deno;
  try {
    Deno.open = (path, options) => {
      if (path === broken) return Promise.reject(new Error("Input/output error (os error 5)"));
      return open(path, options);
    };
    assertEquals(await recoverRecordings(temp.spool, captured.log), 1);
  } finally {
    Deno.open = open;
    captured[Symbol.dispose]();
  }
  assertEquals(temp.files("recording").length, 2);
  const errors = captured.lines.filter(({ level }) => level === "ERROR").map(({ error }) => error);
  assertEquals(errors.sort(), [
    "Error: Input/output error (os error 5)",
    "Error: it is not a file",
  ]);
  assertEquals(await recoverRecordings(temp.spool, captured.log), 1); // at the next start
});

Deno.test("a recording/ that cannot be listed does not prevent a start", async () => {
  const captured = capturedLog();
  await using temp = await TempSpool.open();
  await Deno.remove(join(temp.dir, "recording"));
  assertEquals(await recoverRecordings(temp.spool, captured.log), 0);
  captured[Symbol.dispose]();
  assertEquals(captured.lines.map(({ level }) => level), ["ERROR"]);
});

Deno.test("a recovery that is interrupted at any step delivers the chunk once, under its key", async () => {
  const whole = concat(makePages());
  for (const step of ["truncate", "write", "sync", "rename", "nothing"] as const) {
    await using temp = await TempSpool.open();
    const captured = capturedLog();
    const name = chunkAt(NOON);
    const path = temp.spool.path("recording", formatPartName(name));
    await Deno.writeFile(path, whole.subarray(0, whole.length - 10));
    const { rename } = Deno;
    const { prototype } = Deno.FsFile;
    const { truncate, write, sync } = prototype;
    const crash = () => Promise.reject(new Error("crash"));
    if (step === "rename") Deno.rename = crash;
    else if (step !== "nothing") prototype[step] = crash;
    try {
      await recoverRecordings(temp.spool, captured.log);
    } finally {
      Deno.rename = rename;
      Object.assign(prototype, { truncate, write, sync });
    }
    await recoverRecordings(await temp.reopen(), captured.log);
    captured[Symbol.dispose]();
    const [file, ...others] = temp.files("outbox");
    assertEquals(others, []);
    assertEquals(parseChunkName(file ?? "")?.key, name.key, step);
    assertEquals(temp.files("recording"), []);
    readPages(await Deno.readFile(temp.spool.path("outbox", file ?? "")));
  }
});

Deno.test("recovery writes no new bytes: it works on a full disk", async () => {
  await using temp = await TempSpool.open();
  const captured = capturedLog();
  const whole = concat(makePages());
  const cut = whole.length - 10;
  const path = temp.spool.path("recording", formatPartName(chunkAt(NOON)));
  await Deno.writeFile(path, whole.subarray(0, cut));
  const { ino } = await Deno.stat(path);
  const { writeFile, open } = Deno;
  const { write } = Deno.FsFile.prototype;
  let written = 0;
  try {
    Deno.FsFile.prototype.write = function (bytes) {
      written += bytes.length;
      return write.call(this, bytes);
    };
    Deno.writeFile = () => Promise.reject(new Error("No space left on device (os error 28)"));
    Deno.open = (name, options) => {
      if (options?.create || options?.createNew) throw new Error("No space left (os error 28)");
      return open(name, options);
    };
    assertEquals(await recoverRecordings(temp.spool, captured.log), 1);
  } finally {
    Deno.FsFile.prototype.write = write;
    Object.assign(Deno, { writeFile, open });
    captured[Symbol.dispose]();
  }
  const [file = ""] = temp.files("outbox");
  assertEquals((await Deno.stat(temp.spool.path("outbox", file))).ino, ino);
  const most = whole.length + 400;
  assert(
    written > 0 && written < most,
    `${written} bytes written: more than once, and the last page`,
  );
});

Deno.test("a recording cut off under a wrong clock stays provisional: it can still get its true time", async () => {
  const provisional = { bootId: "0a1b2c3d", startBootUs: 61_000_000, seenUnixS: null };
  const name = { startUnixUs: NOON * 1000, key: crypto.randomUUID(), provisional };
  await using result = await recovered({ [formatPartName(name)]: concat(makePages()) });
  const [file = ""] = result.temp.files("outbox");
  const durationUs = (PACKETS * 960 - PRE_SKIP) / 0.048;
  assertEquals(parseChunkName(file), { ...name, durationUs });
});

Deno.test("a recovered chunk is synced before it is moved, and the move before recovery ends", async () => {
  await using temp = await TempSpool.open();
  const captured = capturedLog();
  const whole = concat(makePages());
  for (const minute of [0, 1]) {
    const path = temp.spool.path("recording", formatPartName(chunkAt(NOON + minute * 60_000)));
    await Deno.writeFile(path, whole.subarray(0, whole.length - 10));
  }
  const calls: string[] = [];
  const { rename, open } = Deno;
  const { sync, write } = Deno.FsFile.prototype;
  const paths = new Map<Deno.FsFile, string>();
  try {
    Deno.rename = (from, to) => (calls.push("rename"), rename(from, to));
    Deno.open = async (path, options) => {
      const file = await open(path, options);
      paths.set(file, String(path).endsWith(".part") ? "chunk" : String(path).replace(/^.*\//, ""));
      return file;
    };
    Deno.FsFile.prototype.sync = function () {
      calls.push(`sync ${paths.get(this)}`);
      return sync.call(this);
    };
    Deno.FsFile.prototype.write = function (bytes) {
      calls.push(`write ${paths.get(this)}`);
      return write.call(this, bytes);
    };
    assertEquals(await recoverRecordings(temp.spool, captured.log), 2);
  } finally {
    Object.assign(Deno, { rename, open });
    Object.assign(Deno.FsFile.prototype, { sync, write });
    captured[Symbol.dispose]();
  }
  // The last page, and then the whole file over itself.
  const one = ["write chunk", "write chunk", "sync chunk", "rename"];
  assertEquals(calls, [...one, ...one, "sync outbox", "sync recording"]);
});

Deno.test("a chunk that cannot be synced is not delivered: it stays, and the next start recovers it", async () => {
  await using temp = await TempSpool.open();
  const captured = capturedLog();
  await Deno.writeFile(
    temp.spool.path("recording", formatPartName(chunkAt(NOON))),
    concat(makePages()),
  );
  const { sync } = Deno.FsFile.prototype;
  try {
    Deno.FsFile.prototype.sync = () => Promise.reject(new Error("Input/output error (os error 5)"));
    assertEquals(await recoverRecordings(temp.spool, captured.log), 0);
  } finally {
    Deno.FsFile.prototype.sync = sync;
  }
  assertEquals(temp.files("outbox"), []);
  assertEquals(await recoverRecordings(temp.spool, captured.log), 1);
  captured[Symbol.dispose]();
  assert(captured.lines.some(({ error }) => String(error).includes("os error 5")));
});

Deno.test("sound before garbage of any size is recovered; what is larger than a chunk is set aside", async () => {
  const whole = concat(makePages());
  const sizes = { garbage: 600e6, zeros: 600e6, "a chunk's zeros": 100_000 };
  const names = new Map(
    Object.keys(sizes).map((kind, at) => [kind, formatPartName(chunkAt(NOON + at * 1000))]),
  );
  const captured = capturedLog();
  await using temp = await TempSpool.open(async (dir) => {
    await Deno.mkdir(join(dir, "recording"), { recursive: true });
    for (const [kind, size] of Object.entries(sizes)) {
      const path = join(dir, "recording", names.get(kind) ?? "");
      await Deno.writeFile(path, kind === "garbage" ? whole : new Uint8Array(0));
      await Deno.truncate(path, size); // takes no space on the disk
    }
  });
  const { read } = Deno.FsFile.prototype;
  let largest = 0;
  try {
    Deno.FsFile.prototype.read = function (buffer) {
      largest = Math.max(largest, buffer.length);
      return read.call(this, buffer);
    };
    assertEquals(await recoverRecordings(temp.spool, captured.log), 1);
  } finally {
    Deno.FsFile.prototype.read = read;
    captured[Symbol.dispose]();
  }
  assert(largest <= 65_536, `${largest} bytes were read at once`);
  const [chunk = ""] = chunksIn(temp.spool, "outbox");
  assertEquals((await Deno.readFile(temp.spool.path("outbox", chunk))).length, whole.length);
  assertEquals(temp.files("recording"), []);
  const zeros = names.get("zeros") ?? "";
  assertEquals(temp.files("rejected").sort(), [zeros, `${zeros}.reason.json`]);
  const reason = await Deno.readTextFile(temp.spool.path("rejected", `${zeros}.reason.json`));
  assert(reason.includes("larger than a chunk can be"), reason);
});
