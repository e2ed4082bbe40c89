// When the spool and the janitor list a folder, and when they do not.

import { assert, assertEquals } from "@std/assert";
import { join } from "@std/path/join";
import { type ChunkDir, type ChunkName, formatChunkName } from "../../src/chunk/chunk_name.ts";
import { Janitor } from "../../src/spool/janitor.ts";
import { Spool } from "../../src/spool/spool.ts";
import { Status } from "../../src/status/status.ts";
import { ids } from "../fixtures/chunks.ts";
import { seededRandom } from "../fixtures/random.ts";
import { SimulatedClock } from "../fixtures/simulated_clock.ts";
import {
  byHand,
  capturedLog,
  chunkAt,
  chunksIn,
  LIMITS,
  oldestIn,
  TempSpool,
  until,
} from "../fixtures/temp_spool.ts";

const NOON = Date.UTC(2026, 5, 15, 12);
const DAY_MS = 86_400_000;
const HOUR_MS = 3_600_000;

/** Counts listings below a folder while it is in scope. */
class Listings implements Disposable {
  readonly #readDir = Deno.readDir;
  #dirs: string[] = [];

  constructor() {
    const readDir = (path: string | URL) => {
      this.#dirs.push(String(path).split("/").at(-1) ?? "");
      return this.#readDir(path);
    };
    Object.assign(Deno, { readDir });
  }

  /** Folders that were listed since the last call. */
  take(): string[] {
    const dirs = this.#dirs;
    this.#dirs = [];
    return dirs;
  }

  [Symbol.dispose](): void {
    Object.assign(Deno, { readDir: this.#readDir });
  }
}

async function rigAtNoon(prepare?: (dir: string) => void, heldNames?: number) {
  const temp = await TempSpool.open(prepare, heldNames);
  temp.spool.freeBytes = () => Promise.resolve(1e12);
  const clock = new SimulatedClock(NOON);
  const status = new Status({ ...ids, version: "0" }, clock);
  const captured = capturedLog();
  const deps = { clock, status, log: captured.log };
  const listings = new Listings();
  const janitorOf = (limits = {}) => new Janitor(temp.spool, { ...LIMITS, ...limits }, deps);
  return {
    temp,
    spool: temp.spool,
    clock,
    listings,
    janitorOf,
    report: () => status.report(temp.spool),
    async [Symbol.asyncDispose]() {
      listings[Symbol.dispose]();
      captured[Symbol.dispose]();
      await temp[Symbol.asyncDispose]();
    },
  };
}

function put(dir: string, sub: ChunkDir, names: readonly ChunkName[]): void {
  Deno.mkdirSync(join(dir, sub), { recursive: true });
  for (const name of names) {
    Deno.writeFileSync(join(dir, sub, formatChunkName(name)), new Uint8Array(100));
  }
}

function chunks(count: number, firstMs = NOON - HOUR_MS): ChunkName[] {
  return Array.from({ length: count }, (_, index) => chunkAt(firstMs + index * 1000, 1));
}

function seenAt(startUnixMs: number, seenUnixMs: number | null): ChunkName {
  const seenUnixS = seenUnixMs === null ? null : seenUnixMs / 1000;
  return {
    ...chunkAt(startUnixMs),
    provisional: { bootId: "0a1b2c3d", startBootUs: 1, seenUnixS },
  };
}

Deno.test("for a whole day the janitor does not list a folder that only this process changes", async () => {
  await using rig = await rigAtNoon((dir) => put(dir, "outbox", chunks(20)));
  const { spool, clock, listings, temp } = rig;
  const janitor = rig.janitorOf({ maxSpoolBytes: 2500 });
  await janitor.removeExpired();
  listings.take();
  for (let pass = 0; pass < 280; pass++) {
    await clock.advance(300_000);
    await temp.store(pass < 5 ? "rejected" : "outbox", chunkAt(clock.unixMs() - 60_000));
    await spool.markUploaded(await oldestIn(spool, "outbox") ?? "");
    await janitor.removeExpired();
    await janitor.makeRoom();
  }
  const listed = listings.take();
  assertEquals(listed.filter((dir) => dir !== "rejected"), []);
  assert(listed.length <= 25, `${listed.length} listings`); // for strays, once an hour
  assertEquals(spool.tally.outbox.files, chunksIn(spool, "outbox").length);
  // In addition, all folders are counted once a day.
  await clock.advance(2 * HOUR_MS);
  await janitor.removeExpired();
  assertEquals(new Set(listings.take()), new Set(["outbox", "uploaded", "rejected"]));
});

Deno.test("files that another process deletes or adds are found in the next pass, by listing only that folder", async () => {
  await using rig = await rigAtNoon((dir) => put(dir, "uploaded", chunks(5)));
  const { spool, listings } = rig;
  const janitor = rig.janitorOf();
  await janitor.removeExpired();
  listings.take();
  const [first = ""] = chunksIn(spool, "uploaded");
  await byHand(() => Deno.remove(spool.path("uploaded", first)));
  await janitor.removeExpired();
  assertEquals(new Set(listings.take()), new Set(["uploaded"]));
  assertEquals(spool.tally.uploaded, { files: 4, bytes: 400, durationUs: 4e6 });
  const older = chunkAt(NOON - 2 * HOUR_MS, 1);
  await byHand(() => put(rig.temp.dir, "outbox", [older]));
  await janitor.removeExpired();
  assertEquals(new Set(listings.take()), new Set(["outbox"]));
  assertEquals(spool.tally.outbox, { files: 1, bytes: 100, durationUs: 1e6 });
  assertEquals(await spool.oldest("outbox"), older);
  await janitor.removeExpired();
  assertEquals(listings.take(), []);
});

Deno.test("a clock that is set back does not hide a change by another process", async () => {
  await using rig = await rigAtNoon((dir) => put(dir, "uploaded", chunks(5)));
  const { spool } = rig;
  const janitor = rig.janitorOf();
  await janitor.removeExpired();
  const [first = ""] = chunksIn(spool, "uploaded");
  await byHand(() => Deno.remove(spool.path("uploaded", first)));
  await Deno.utime(spool.path("uploaded", ""), new Date(0), new Date(0));
  await janitor.removeExpired();
  assertEquals(spool.tally.uploaded.files, 4);
});

Deno.test("chunks deleted unnoticed, within a tick of the clock, do not cause waiting chunks to be deleted", async () => {
  await using rig = await rigAtNoon((dir) => {
    put(dir, "uploaded", chunks(9));
    put(dir, "outbox", chunks(3));
  });
  const { spool } = rig;
  const janitor = rig.janitorOf({ maxSpoolBytes: 1000 });
  await janitor.removeExpired();
  const { mtime } = await Deno.lstat(spool.path("uploaded", ""));
  for (const name of chunksIn(spool, "uploaded")) await Deno.remove(spool.path("uploaded", name));
  await Deno.utime(spool.path("uploaded", ""), new Date(), mtime ?? 0);
  await janitor.makeRoom();
  assertEquals(spool.tally.outbox.files, 3);
  assertEquals(spool.totalBytes, 300);
});

Deno.test("delivered chunks are deleted for max_spool_gb with one listing of rejected/ in 30 s, although another process adds to it", async () => {
  await using rig = await rigAtNoon((dir) => put(dir, "uploaded", chunks(100)));
  const { temp, spool, clock, listings } = rig;
  const janitor = rig.janitorOf({ maxSpoolBytes: 10_000 });
  await janitor.removeExpired();
  listings.take();
  for (let second = 0; second < 60; second++) {
    await temp.store("outbox", chunkAt(NOON + second * 1000, 1), 100);
    put(temp.dir, "rejected", [chunkAt(NOON + second * 1000, 1)]);
    await janitor.makeRoom();
    await clock.advance(1000);
  }
  assertEquals(listings.take().filter((dir) => dir === "rejected").length, 2);
  assertEquals([spool.tally.outbox.files, spool.tally.rejected.files], [60, 31]); // seconds 0 to 30
  assert(spool.totalBytes <= 10_000, `${spool.totalBytes} bytes`);
});

Deno.test("before undelivered chunks are deleted for max_spool_gb everything was counted within an hour", async () => {
  await using rig = await rigAtNoon((dir) => put(dir, "outbox", chunks(10)));
  const { spool, clock } = rig;
  const janitor = rig.janitorOf({ maxSpoolBytes: 1000 });
  const { mtime } = await Deno.lstat(spool.path("outbox", ""));
  const last = chunksIn(spool, "outbox").slice(5);
  for (const name of last) await Deno.remove(spool.path("outbox", name));
  await Deno.utime(spool.path("outbox", ""), new Date(), mtime ?? 0);
  await clock.advance(HOUR_MS);
  await janitor.makeRoom();
  assertEquals(spool.tally.outbox, { files: 5, bytes: 500, durationUs: 5e6 });
});

Deno.test("expired chunks are deleted without a listing, from the oldest on", async () => {
  const old = chunks(30, NOON - 7 * DAY_MS - 20_000);
  await using rig = await rigAtNoon((dir) => put(dir, "uploaded", old));
  const { spool, listings, clock } = rig;
  const janitor = rig.janitorOf();
  await spool.recount("uploaded");
  listings.take();
  await janitor.removeExpired();
  // The chunks that ended more than seven days ago.
  assertEquals(chunksIn(spool, "uploaded"), old.slice(19).map(formatChunkName));
  await clock.advance(300_000);
  await janitor.removeExpired();
  assertEquals(chunksIn(spool, "uploaded"), []);
  assertEquals(listings.take().filter((dir) => dir === "uploaded"), []);
});

Deno.test("a chunk whose time is provisional expires by when it was first seen, and does not block others", async () => {
  await using rig = await rigAtNoon((dir) =>
    put(dir, "uploaded", [
      seenAt(0, null),
      seenAt(1000, NOON - 8 * DAY_MS),
      seenAt(2000, NOON - 6 * DAY_MS),
      chunkAt(NOON - 9 * DAY_MS),
      seenAt(NOON - 8 * DAY_MS, NOON - 7.5 * DAY_MS),
      chunkAt(NOON - DAY_MS),
    ])
  );
  const { spool, listings } = rig;
  const janitor = rig.janitorOf();
  await spool.recount("uploaded");
  listings.take();
  const all = chunksIn(spool, "uploaded");
  await janitor.removeExpired();
  assertEquals(chunksIn(spool, "uploaded"), [0, 2, 5].map((index) => all[index]));
  assertEquals(listings.take().filter((dir) => dir === "uploaded"), []);
});

Deno.test("expired chunks after more provisional names than are held are found once an hour", async () => {
  const undecided = Array.from({ length: 60 }, (_, index) => seenAt(index * 1000, null));
  await using rig = await rigAtNoon((dir) => {
    put(dir, "uploaded", [...undecided, ...chunks(3, NOON - 9 * DAY_MS)]);
  }, 20);
  const { spool, listings, clock } = rig;
  const janitor = rig.janitorOf();
  await janitor.removeExpired();
  assertEquals(spool.tally.uploaded.files, 60);
  listings.take();
  for (let pass = 0; pass < 11; pass++) {
    await clock.advance(300_000);
    await janitor.removeExpired();
  }
  assertEquals(listings.take().filter((dir) => dir === "uploaded"), []);
  await clock.advance(300_000);
  await janitor.removeExpired();
  assertEquals(listings.take().filter((dir) => dir === "uploaded"), ["uploaded"]);
});

Deno.test("a backlog of 1200 chunks with 120 held names is listed ten times while it is delivered", async () => {
  const random = seededRandom(5);
  const names = chunks(1200).sort(() => random() - 0.5);
  await using rig = await rigAtNoon((dir) => put(dir, "outbox", names), 120);
  const { spool, listings } = rig;
  await spool.recount("outbox");
  listings.take();
  const order = names.map(formatChunkName).sort();
  for (const name of order) {
    assertEquals(await oldestIn(spool, "outbox"), name);
    assertEquals(await spool.remove("outbox", name), 100);
  }
  assertEquals(await spool.oldest("outbox"), null);
  assert(listings.take().length <= 10);
  assertEquals(spool.tally.outbox, { files: 0, bytes: 0, durationUs: 0 });
});

Deno.test("an empty queue that no other process changes is not listed again", async () => {
  await using rig = await rigAtNoon((dir) => put(dir, "outbox", chunks(2)));
  const { spool, listings } = rig;
  await spool.recount("outbox");
  listings.take();
  for (const name of chunksIn(spool, "outbox")) await spool.markUploaded(name);
  for (let count = 0; count < 5; count++) {
    await spool.noticeReturned();
    assertEquals(await spool.oldest("outbox"), null);
  }
  assertEquals(listings.take().filter((dir) => dir === "outbox"), []);
});

Deno.test("chunks that another process puts into outbox/ from elsewhere are noticed and enter the ledger", async () => {
  await using rig = await rigAtNoon();
  const { spool } = rig;
  await spool.noticeReturned();
  const name = chunkAt(NOON, 60);
  await byHand(() => put(rig.temp.dir, "outbox", [name]));
  await spool.noticeReturned();
  assertEquals([spool.tally.outbox.files, spool.returnedUs], [1, 60e6]);
  assertEquals(await spool.oldest("outbox"), name);
});

Deno.test("a requeued chunk is noticed even if a change of our own hides that it came", async () => {
  await using rig = await rigAtNoon();
  const { spool, temp } = rig;
  const fileName = await temp.store("rejected", chunkAt(NOON, 60));
  await spool.noticeReturned();
  const outbox = join(temp.dir, "outbox");
  await byHand(() => {
    const { mtime } = Deno.statSync(outbox);
    Deno.renameSync(join(temp.dir, "rejected", fileName), join(outbox, fileName));
    Deno.utimeSync(outbox, mtime ?? 0, mtime ?? 0); // as within one tick of a change of our own
  });
  assertEquals(spool.isTouched("outbox"), false);
  await spool.recount("rejected", () => false); // the janitor counts rejected/ first
  await spool.noticeReturned();
  assertEquals(chunksIn(spool, "outbox"), [fileName]);
  assertEquals(spool.tally.outbox.files, 1);
});

Deno.test("sizes of far more chunks than are held are all counted", async () => {
  await using rig = await rigAtNoon((dir) => put(dir, "uploaded", chunks(500)));
  rig.temp.spool.close();
  const spool = rig.temp.spool = await Spool.open(rig.temp.dir, 20);
  const counting = spool.countSizes();
  for (let index = 0; index < 20; index++) {
    await rig.temp.store("uploaded", chunkAt(NOON - HOUR_MS + index * 30_000 + 1));
    await spool.remove("uploaded", await oldestIn(spool, "uploaded") ?? "");
    assert(spool.tally.uploaded.bytes <= 50_000);
  }
  await counting;
  // A chunk that was deleted while its size was read is not counted until the folder is counted again.
  assert(spool.tally.uploaded.bytes === 50_000 || spool.isTouched("uploaded"));
  if (spool.isTouched("uploaded")) await spool.recount("uploaded", () => false);
  await spool.countSizes();
  assertEquals(spool.tally.uploaded.files, 500);
  assertEquals(spool.tally.uploaded.bytes, 50_000);
});

Deno.test("a directory that somebody deletes is created again, and does not stop the others", async () => {
  await using rig = await rigAtNoon();
  const { temp, clock } = rig;
  const { spool } = temp;
  for (let k = 0; k < 5; k++) {
    await temp.store("uploaded", chunkAt(NOON - 10 * DAY_MS + k * 1000, 1));
  }
  await Deno.remove(join(spool.dir, "rejected"), { recursive: true });
  const stop = new AbortController();
  const running = rig.janitorOf().run(stop.signal);
  await clock.advance(1000);
  await until(() => chunksIn(spool, "uploaded").length === 0); // expired chunks go all the same
  assertEquals(chunksIn(spool, "rejected"), []);
  stop.abort();
  await running;
});

Deno.test("sizes that another process has changed never cost undelivered chunks", async () => {
  await using rig = await rigAtNoon();
  const { temp } = rig;
  const { spool } = temp;
  for (let k = 0; k < 20; k++) {
    await temp.store("uploaded", chunkAt(NOON - 100_000 + k * 1000, 1), 1000);
  }
  for (let k = 0; k < 10; k++) {
    await temp.store("outbox", chunkAt(NOON - 50_000 + k * 1000, 1), 1000);
  }
  const janitor = rig.janitorOf({ maxSpoolBytes: 31_000, chunkBytes: 1000 });
  await janitor.makeRoom();
  await byHand(() => {
    for (const name of chunksIn(spool, "uploaded")) {
      Deno.truncateSync(spool.path("uploaded", name), 0);
    }
  });
  for (let k = 0; k < 2; k++) await temp.store("outbox", chunkAt(NOON + k * 1000, 1), 1000);
  await janitor.makeRoom();
  assertEquals(chunksIn(spool, "outbox").length, 12);
  assertEquals(spool.totalBytes, 12_000, "an empty directory has no bytes");
});

Deno.test("a provisional chunk whose clock ran ahead expires, a day late at most", async () => {
  await using rig = await rigAtNoon();
  const { temp, clock } = rig;
  const provisional = { bootId: "0a1b2c3d", startBootUs: 1, seenUnixS: NOON / 1000 };
  await temp.store("uploaded", { ...chunkAt(Date.UTC(2035, 0, 1)), provisional });
  const janitor = rig.janitorOf();
  for (let day = 0; day < 9; day++) {
    await temp.store("uploaded", chunkAt(clock.unixMs() - 60_000));
    await janitor.removeExpired();
    await clock.advance(DAY_MS + 1000);
  }
  assertEquals(chunksIn(temp.spool, "uploaded").filter((name) => name.startsWith("2035")), []);
});
