import { assert, assertEquals, assertRejects, assertStringIncludes } from "@std/assert";
import { join } from "@std/path/join";
import {
  CHUNK_DIRS,
  type ChunkDir,
  formatChunkName,
  parseChunkName,
} from "../../src/chunk/chunk_name.ts";
import { Spool } from "../../src/spool/spool.ts";
import { SpoolLockedError } from "../../src/spool/spool_lock.ts";
import { seededRandom } from "../fixtures/random.ts";
import { chunkAt, chunksIn, oldestIn, TempSpool } from "../fixtures/temp_spool.ts";

const NOON = Date.UTC(2026, 5, 15, 12);

/** The contents of the directories, counted again. */
function counted(temp: TempSpool) {
  const tally = (dir: ChunkDir) => {
    const names = temp.files(dir).filter((name) => parseChunkName(name) !== null);
    const sizes = names.map((name) => Deno.lstatSync(join(temp.dir, dir, name)).size);
    return {
      files: names.length,
      bytes: sizes.reduce((sum, size) => sum + size, 0),
      durationUs: names.reduce((sum, name) => sum + (parseChunkName(name)?.durationUs ?? 0), 0),
    };
  };
  return { outbox: tally("outbox"), uploaded: tally("uploaded"), rejected: tally("rejected") };
}

function mode(path: string): string {
  return ((Deno.statSync(path).mode ?? 0) & 0o777).toString(8);
}

/** Puts chunks into a directory, as another process would. */
function putByHand(dir: string, sub: ChunkDir, names: readonly string[], sizeBytes = 10): void {
  Deno.mkdirSync(join(dir, sub), { recursive: true });
  for (const name of names) Deno.writeFileSync(join(dir, sub, name), new Uint8Array(sizeBytes));
}

Deno.test("open() creates the four directories, and no other user may read recordings", async () => {
  await using temp = await TempSpool.open();
  for (const sub of ["", "recording", "outbox", "uploaded", "rejected"]) {
    assertEquals(mode(join(temp.dir, sub)), "700", sub);
  }
  const part = await temp.spool.create(chunkAt(NOON));
  assertEquals(temp.files("recording").map((name) => mode(join(temp.dir, "recording", name))), [
    "600",
  ]);
  await part.discard();
  const name = await temp.store("rejected", chunkAt(NOON));
  assertEquals(mode(join(temp.dir, "rejected", name)), "600");
  assertEquals(mode(join(temp.dir, "rejected", `${name}.reason.json`)), "600");
});

Deno.test("open() says which directory cannot be used, and why", async () => {
  const file = await Deno.makeTempFile();
  const error = await assertRejects(() => Spool.open(join(file, "spool")));
  assertStringIncludes(error.message, `directory this user can write: ${join(file, "spool")}: `);
  await Deno.remove(file);
});

Deno.test("a second open() in the same process is refused, and works after close()", async () => {
  await using temp = await TempSpool.open();
  await assertRejects(() => Spool.open(temp.dir), SpoolLockedError, `(process ${Deno.pid})`);
  await temp.reopen();
});

Deno.test("a lock into which no process id can be written, as on a full disk, still holds", async () => {
  await using temp = await TempSpool.open();
  temp.spool.close();
  const { write } = Deno.FsFile.prototype;
  try {
    Deno.FsFile.prototype.write = () => Promise.reject(new Error("No space left on device"));
    temp.spool = await Spool.open(temp.dir);
  } finally {
    Deno.FsFile.prototype.write = write;
  }
  await assertRejects(() => Spool.open(temp.dir), SpoolLockedError, "is using it: stop that one");
});

Deno.test("files that are not chunks are skipped in every directory, and not counted", async () => {
  const name = formatChunkName(chunkAt(NOON));
  const asDirectory = formatChunkName(chunkAt(NOON - 1));
  const asLink = formatChunkName(chunkAt(NOON - 2));
  await using temp = await TempSpool.open(async (dir) => {
    putByHand(dir, "outbox", ["notes.txt", `${name}.tmp`, ".hidden", name]);
    await Deno.mkdir(join(dir, "outbox", asDirectory));
    await Deno.symlink("/nowhere", join(dir, "outbox", asLink));
    const strange = join(dir, "outbox", "$(printf '\\377\\376').ogg"); // not UTF-8
    await new Deno.Command("sh", { args: ["-c", `: > "${strange}"`] }).output();
  });
  assertEquals(chunksIn(temp.spool, "outbox"), [name]);
  assertEquals(await oldestIn(temp.spool, "outbox"), name);
  assertEquals([temp.spool.tally.outbox.files, temp.spool.tally.outbox.bytes], [1, 10]);
});

Deno.test("a single chunk whose name says 0 µs is counted with its size", async () => {
  const name = formatChunkName(chunkAt(NOON, 0));
  await using temp = await TempSpool.open((dir) => putByHand(dir, "outbox", [name]));
  assertEquals(temp.spool.tally.outbox, { files: 1, bytes: 10, durationUs: 0 });
});

Deno.test("the tally and the oldest are right after every one of 300 random operations", async () => {
  await using temp = await TempSpool.open();
  const random = seededRandom(2);
  const pick = <T>(items: readonly T[]) => items[Math.floor(random() * items.length)];
  const newChunk = () => chunkAt(NOON + Math.floor(random() * 1e6));
  for (let step = 0; step < 300; step++) {
    const { spool } = temp;
    const dir = pick(CHUNK_DIRS) ?? "outbox";
    const stored = pick(chunksIn(spool, dir));
    const waiting = pick(chunksIn(spool, "outbox"));
    const dice = random();
    if (dice < 0.4) await temp.store("outbox", newChunk(), Math.floor(random() * 1000));
    else if (dice < 0.5) await (await spool.create(newChunk())).discard();
    else if (dice < 0.65 && waiting !== undefined) await spool.markUploaded(waiting);
    else if (dice < 0.75 && waiting !== undefined) await spool.reject(waiting, {});
    else if (dice < 0.95 && stored !== undefined) await spool.remove(dir, stored);
    else if (dice < 0.97) await temp.reopen();
    else if (stored !== undefined) {
      await Deno.remove(spool.path(dir, stored));
      if (dir === "outbox") spool.forgetMissing(dir, stored);
      await spool.recount(dir);
    }
    assertEquals<unknown>(temp.spool.tally, counted(temp), `step ${step}`);
    assertEquals(
      await oldestIn(temp.spool, "outbox"),
      chunksIn(temp.spool, "outbox")[0] ?? null,
      `step ${step}`,
    );
    const { outbox, uploaded, rejected } = temp.spool.tally;
    assertEquals(temp.spool.totalBytes, outbox.bytes + uploaded.bytes + rejected.bytes);
  }
  assertEquals(temp.files("recording"), []);
  const files = temp.files("rejected");
  const reasons = chunksIn(temp.spool, "rejected").map((name) => `${name}.reason.json`);
  assertEquals(reasons.filter((name) => !files.includes(name)), []);
});

Deno.test("the tally is right when many operations run at once, recounts among them", async () => {
  await using temp = await TempSpool.open();
  const { spool } = temp;
  await Promise.all(Array.from({ length: 30 }, async (_, index) => {
    const name = await temp.store("outbox", chunkAt(NOON + index), index);
    await Promise.all([spool.recount("outbox"), spool.remove("outbox", name)]);
    await Promise.all([
      temp.store("uploaded", chunkAt(NOON - index), index),
      spool.recount("uploaded"),
      spool.recount("outbox"),
    ]);
  }));
  assertEquals<unknown>(spool.tally, counted(temp));
  assertEquals(spool.tally.uploaded.files, 30);
});

Deno.test("files that other processes delete or add are found, and counted again", async () => {
  const [first, second, third] = [0, 1, 2].map((at) => formatChunkName(chunkAt(NOON + at)));
  assert(first !== undefined && second !== undefined && third !== undefined);
  await using temp = await TempSpool.open((dir) => putByHand(dir, "uploaded", [first, second]));
  const { spool } = temp;
  await Deno.remove(spool.path("uploaded", first));
  assertEquals([spool.tally.uploaded.files, spool.tally.uploaded.bytes], [2, 20]);
  assertEquals((await spool.recount("uploaded")).map(formatChunkName), [second]);
  assertEquals([spool.tally.uploaded.files, spool.tally.uploaded.bytes], [1, 10]);
  // Chunks that a person moves to outbox/ are delivered, although the tally does not know them.
  putByHand(temp.dir, "outbox", [third]);
  assertEquals(await oldestIn(spool, "outbox"), third);
  await spool.recount("outbox");
  assertEquals([spool.tally.outbox.files, spool.tally.outbox.bytes], [1, 10]);
  // A chunk that disappears while it is being delivered is gone; this is not an error.
  await Deno.remove(spool.path("outbox", third));
  await spool.markUploaded(third);
  assertEquals(await oldestIn(spool, "outbox"), null);
  assertEquals(await spool.remove("outbox", third), null);
  assertEquals(await spool.remove("uploaded", third), null);
});

Deno.test("oldest() is always the oldest of 500 chunks with 50 held names, whatever comes and goes", async () => {
  const random = seededRandom(3);
  const names = Array.from({ length: 500 }, () => formatChunkName(chunkAt(NOON + random() * 1e7)));
  await using temp = await TempSpool.open((dir) => putByHand(dir, "outbox", names), 50);
  const { spool } = temp;
  const model = names.toSorted();
  const forget = (name: string) => model.splice(model.indexOf(name), 1);
  for (let step = 0; model.length > 0; step++) {
    const oldest = await oldestIn(spool, "outbox");
    assertEquals(oldest, model[0] ?? null);
    assert(oldest !== null);
    if (step % 50 === 7) {
      // An older chunk is admitted: a recovered recording, or one after a step of the clock.
      model.unshift(await temp.store("outbox", chunkAt(NOON - step)));
    } else if (step % 50 === 20) {
      const within = chunkAt(NOON + random() * 1e7); // between the waiting chunks
      model.push(await temp.store("outbox", within));
      model.sort();
    } else if (step % 50 === 30) {
      const other = model[Math.floor(random() * Math.min(model.length, 600))] ?? oldest;
      await spool.remove("outbox", other);
      forget(other);
    } else if (step % 50 === 40) {
      await Deno.remove(spool.path("outbox", oldest)); // by hand
      spool.forgetMissing("outbox", oldest);
      forget(oldest);
    } else {
      await spool.remove("outbox", oldest);
      forget(oldest);
    }
  }
  assertEquals(await oldestIn(spool, "outbox"), null);
  await spool.recount("outbox");
  assertEquals([spool.tally.outbox.files, spool.tally.outbox.bytes], [0, 0]);
});

Deno.test("a waiting chunk is found by its key, whether its name is held or not", async () => {
  const names = Array.from({ length: 60 }, (_, second) => chunkAt(NOON + second * 1000));
  const fileNames = names.map(formatChunkName);
  await using temp = await TempSpool.open((dir) => putByHand(dir, "outbox", fileNames), 10);
  const { spool } = temp;
  for (const name of [names[0], names[40], names[59]]) {
    assert(name !== undefined);
    assertEquals(await spool.waitingWithKey(name.key), name);
  }
  assertEquals(await spool.waitingWithKey(chunkAt(NOON).key), null);
});

Deno.test("a file that is not a chunk is never filed as delivered, and stays", async () => {
  await using temp = await TempSpool.open((dir) => putByHand(dir, "outbox", ["notes.txt"]));
  for (const keepsDelivered of [true, false]) {
    temp.spool.keepsDelivered = keepsDelivered;
    assertEquals(await temp.spool.markUploaded("notes.txt"), false);
    assertEquals([temp.files("outbox"), temp.files("uploaded")], [["notes.txt"], []]);
  }
});

Deno.test("a chunk that cannot be moved to rejected/ leaves no reason there", async () => {
  await using temp = await TempSpool.open();
  const name = await temp.store("outbox", chunkAt(NOON));
  await Deno.mkdir(join(temp.spool.path("rejected", name), "in the way"), { recursive: true });
  await assertRejects(() => temp.spool.reject(name, { reason: "test" }));
  assertEquals([temp.files("outbox"), temp.files("rejected")], [[name], [name]]);
});

Deno.test("reject() leaves the reason beside the chunk, and remove() takes both", async () => {
  await using temp = await TempSpool.open();
  const name = await temp.store("rejected", chunkAt(NOON));
  assertEquals(temp.files("rejected"), [name, `${name}.reason.json`]);
  const reason = await Deno.readTextFile(join(temp.dir, "rejected", `${name}.reason.json`));
  assertEquals(JSON.parse(reason), { reason: "test" });
  assertEquals(await temp.spool.remove("rejected", name), 100);
  assertEquals(temp.files("rejected"), []);
});

Deno.test("removeStrays() deletes only old files that are not chunks from rejected/", async () => {
  await using temp = await TempSpool.open();
  const { spool } = temp;
  const chunk = await temp.store("rejected", chunkAt(NOON));
  for (const name of ["old.part", "old.part.reason.json", "new.part"]) {
    await Deno.writeTextFile(spool.path("rejected", name), "x");
    const time = new Date(name.startsWith("old") ? NOON - 1 : NOON);
    await Deno.utime(spool.path("rejected", name), time, time);
  }
  await Deno.utime(spool.path("rejected", chunk), new Date(0), new Date(0));
  const removed = await spool.removeStrays(NOON);
  assertEquals(removed.sort(), ["old.part", "old.part.reason.json"]);
  assertEquals(temp.files("rejected"), [chunk, `${chunk}.reason.json`, "new.part"]);
  assertEquals(spool.tally.rejected.files, 1);
});

Deno.test("sealed rings when a chunk is admitted", async () => {
  await using temp = await TempSpool.open();
  let rings = 0;
  temp.spool.sealed.ring = () => rings++;
  await temp.store("outbox", chunkAt(NOON));
  assertEquals(rings, 1);
});

Deno.test("provisional rings for a chunk whose time is provisional, and for no other", async () => {
  await using temp = await TempSpool.open();
  let rings = 0;
  temp.spool.provisional.ring = () => rings++;
  await temp.store("outbox", chunkAt(NOON));
  assertEquals(rings, 0);
  const provisional = { bootId: "0a1b2c3d", startBootUs: 61_000_000, seenUnixS: null };
  await temp.store("outbox", { ...chunkAt(NOON + 60_000), provisional });
  assertEquals(rings, 1);
});

Deno.test("sealed rings for a chunk that has got its true time", async () => {
  await using temp = await TempSpool.open();
  const name = chunkAt(NOON);
  const fileName = await temp.store("outbox", name);
  let rings = 0;
  temp.spool.sealed.ring = () => rings++;
  await temp.spool.rename("outbox", fileName, { ...name, startUnixUs: name.startUnixUs + 1 });
  assertEquals(rings, 1);
});

Deno.test("a file that is gone, or is not a chunk, is not renamed, and the tally stays", async () => {
  await using temp = await TempSpool.open();
  const name = chunkAt(NOON);
  const fileName = await temp.store("outbox", name);
  const next = { ...name, startUnixUs: name.startUnixUs + 1 };
  putByHand(temp.dir, "outbox", ["notes.ogg"]);
  assertEquals(await temp.spool.rename("outbox", "notes.ogg", next), true);
  Deno.removeSync(join(temp.dir, "outbox", fileName));
  assertEquals(await temp.spool.rename("outbox", fileName, next), true);
  assertEquals(temp.files("outbox"), ["notes.ogg"]);
  await temp.spool.recount("outbox");
  assertEquals(temp.spool.tally.outbox.files, 0);
});

Deno.test("whatever may change the number of refused chunks is told, and nothing else", async () => {
  await using temp = await TempSpool.open();
  const { spool } = temp;
  let told = 0;
  spool.rejectedChanged = () => told++;
  const isTold = async (change: () => unknown) => {
    told = 0;
    await change();
    return told > 0;
  };
  const chunk = () => temp.store("outbox", chunkAt(NOON));
  const refused = () => temp.store("rejected", chunkAt(NOON));
  const [waiting, delivered, deleted, lost] = [
    await chunk(),
    await refused(),
    await refused(),
    await refused(),
  ];
  assertEquals(await isTold(() => spool.reject(waiting, { reason: "test" })), true);
  assertEquals(await isTold(() => spool.markRejectedUploaded(delivered)), true);
  spool.keepsDelivered = false;
  assertEquals(await isTold(() => spool.markRejectedUploaded(deleted)), true);
  assertEquals(await isTold(() => spool.remove("rejected", lost)), true);
  assertEquals(await isTold(() => spool.recount("rejected")), true);
  assertEquals(await isTold(chunk), false);
  assertEquals(await isTold(async () => void await spool.markUploaded(await chunk())), false);
  spool.keepsDelivered = true;
  assertEquals(await isTold(async () => void await spool.markUploaded(await chunk())), false);
  assertEquals(await isTold(async () => void await spool.remove("outbox", await chunk())), false);
  assertEquals(await isTold(() => spool.recount("outbox")), false);
});

Deno.test("a waiting chunk that is being sent is not removed until the attempt has ended", async () => {
  await using temp = await TempSpool.open();
  const name = await temp.store("outbox", chunkAt(NOON));
  temp.spool.sending.add(parseChunkName(name)?.key ?? "");
  assertEquals(await temp.spool.remove("outbox", name), null);
  assertEquals(chunksIn(temp.spool, "outbox"), [name]);
  temp.spool.sending.clear();
  assertEquals(typeof await temp.spool.remove("outbox", name), "number");
  assertEquals(chunksIn(temp.spool, "outbox"), []);
});

Deno.test("a lock that is a link is refused: nothing is written where it leads", async () => {
  const dir = await Deno.makeTempDir();
  try {
    await Deno.writeTextFile(join(dir, "precious"), "keep");
    await Deno.mkdir(join(dir, "spool"));
    await Deno.symlink(join(dir, "precious"), join(dir, "spool/lock"));
    await assertRejects(() => Spool.open(join(dir, "spool")), Error, "must be a regular file");
    assertEquals(await Deno.readTextFile(join(dir, "precious")), "keep");
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
});
