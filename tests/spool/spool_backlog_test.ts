// The spool with more chunks than held names, in a directory that takes a while to list.

import { assert, assertEquals } from "@std/assert";
import { join } from "@std/path/join";
import {
  CHUNK_DIRS,
  type ChunkDir,
  formatChunkName,
  parseChunkName,
} from "../../src/chunk/chunk_name.ts";
import { Janitor } from "../../src/spool/janitor.ts";
import { Spool } from "../../src/spool/spool.ts";
import { Status } from "../../src/status/status.ts";
import { seededRandom } from "../fixtures/random.ts";
import { SimulatedClock } from "../fixtures/simulated_clock.ts";
import {
  capturedLog,
  chunkAt,
  chunksIn,
  LIMITS,
  oldestIn,
  TempSpool,
} from "../fixtures/temp_spool.ts";

const NOON = Date.UTC(2026, 5, 15, 12);

/** Puts chunks of 100 bytes into a directory, as another process would; returns their names. */
function putByHand(dir: string, sub: ChunkDir, count: number, firstMs = NOON): string[] {
  Deno.mkdirSync(join(dir, sub), { recursive: true });
  const names = Array.from(
    { length: count },
    (_, index) => formatChunkName(chunkAt(firstMs + index, 1)),
  );
  for (const name of names) Deno.writeFileSync(join(dir, sub, name), new Uint8Array(100));
  return names;
}

/** Bytes in the directories, as the disk reports them. */
function bytesOnDisk(spool: Spool): number {
  const sizes = CHUNK_DIRS.flatMap((dir) =>
    chunksIn(spool, dir).map((name) => Deno.lstatSync(spool.path(dir, name)).size)
  );
  return sizes.reduce((sum, size) => sum + size, 0);
}

async function janitorOf(temp: TempSpool, maxSpoolBytes: number) {
  const clock = new SimulatedClock(NOON);
  const { log, [Symbol.dispose]: endLog } = capturedLog();
  const status = new Status({ pointId: "p", registerId: "r", deviceId: "d", version: "0" }, clock);
  temp.spool.freeBytes = () => Promise.resolve(1e12);
  const limits = { ...LIMITS, maxSpoolBytes };
  const janitor = new Janitor(temp.spool, limits, { clock, status, log });
  await Promise.resolve();
  return { janitor, clock, report: () => status.report(temp.spool), [Symbol.dispose]: endLog };
}

Deno.test("the event loop keeps running while a directory is listed", async () => {
  await using temp = await TempSpool.open((dir) => void putByHand(dir, "outbox", 2000));
  let turns = 0;
  let isListed = false;
  const turning = (async () => {
    // Turns of the loop, which a busy machine does not make fewer, as it does those of a timer.
    for (; !isListed; turns++) await new Promise((resolve) => setImmediate(resolve));
  })();
  for (let pass = 0; pass < 3; pass++) await temp.spool.recount("outbox", () => false);
  isListed = true;
  await turning;
  assert(turns > 10, `${turns} turns`);
});

Deno.test("a chunk is admitted while a directory is listed, without a wait and without a wrong count", async () => {
  await using temp = await TempSpool.open((dir) => void putByHand(dir, "outbox", 2000));
  const { spool } = temp;
  let listings = 0;
  const listing = (async () => {
    while (listings < 5) {
      const names = await spool.recount("outbox");
      // One chunk may have been admitted between the count and this line.
      const since = spool.tally.outbox.files - names.length;
      assert(since === 0 || since === 1, `${since} chunks more than were listed`);
      listings++;
    }
  })();
  let admittedDuring = 0;
  for (let index = 0; listings < 5; index++) {
    const path = spool.path("recording", `${index}`);
    await Deno.writeFile(path, new Uint8Array(7));
    const before = listings;
    await spool.admit(path, chunkAt(NOON + index * 1000));
    if (listings === before) admittedDuring++;
  }
  await listing;
  assert(admittedDuring > 5, `${admittedDuring} while it was listed`);
  assertEquals(spool.tally.outbox.files, chunksIn(spool, "outbox").length);
  assertEquals(spool.totalBytes, bytesOnDisk(spool));
  assertEquals(spool.returnedUs, 0);
});

Deno.test("sizes are counted after open(), while chunks come and go, and are never too high", async () => {
  const random = seededRandom(4);
  const later = (fileName: string) => {
    const name = parseChunkName(fileName) ?? chunkAt(0);
    return { ...name, startUnixUs: name.startUnixUs + Math.round(random() * 1e5) };
  };
  for (let round = 0; round < 3; round++) {
    await using temp = await TempSpool.open((dir) => {
      for (const sub of CHUNK_DIRS) putByHand(dir, sub, 120);
    });
    temp.spool.close();
    const spool = temp.spool = await Spool.open(temp.dir, 20);
    assertEquals(spool.tally.outbox, { files: 120, bytes: 0, durationUs: 120e6 });
    let isCounted = false;
    let counting: Promise<unknown> | null = null;
    for (let step = 0; !isCounted; step++) {
      if (step === 20) counting = spool.countSizes().then(() => isCounted = true);
      const waiting = await oldestIn(spool, "outbox") ?? "";
      assertEquals(waiting, chunksIn(spool, "outbox")[0] ?? "");
      const dice = random();
      if (dice < 0.2) await temp.store("outbox", chunkAt(NOON + random() * 1e6), 55);
      else if (dice < 0.4) await spool.markUploaded(waiting);
      else if (dice < 0.6) await spool.remove("uploaded", await oldestIn(spool, "uploaded") ?? "");
      else if (dice < 0.8) await spool.rename("outbox", waiting, later(waiting));
      else if (dice < 0.9) await spool.remove("rejected", await oldestIn(spool, "rejected") ?? "");
      else await Promise.all([spool.recount("outbox"), spool.countSizes()]);
      assert(spool.totalBytes <= bytesOnDisk(spool), "too high");
    }
    await counting;
    assertEquals(spool.totalBytes, bytesOnDisk(spool));
    assertEquals(spool.tally.outbox.files, chunksIn(spool, "outbox").length);
  }
});

Deno.test("a count of sizes is not counted twice when a new one begins meanwhile", async () => {
  await using temp = await TempSpool.open((dir) => void putByHand(dir, "uploaded", 2000));
  temp.spool.close();
  const spool = temp.spool = await Spool.open(temp.dir);
  const counting = spool.countSizes();
  await Deno.remove(spool.path("uploaded", await oldestIn(spool, "uploaded") ?? ""));
  await Promise.all([counting, spool.recount("uploaded")]);
  assertEquals(spool.tally.uploaded, { files: 1999, bytes: 199_900, durationUs: 1999e6 });
});

Deno.test("a chunk that a person replaced with another is noticed, although the number is the same", async () => {
  await using temp = await TempSpool.open((dir) => void putByHand(dir, "uploaded", 3));
  const { spool } = temp;
  const [first = ""] = chunksIn(spool, "uploaded");
  await Deno.remove(spool.path("uploaded", first));
  const name = chunkAt(NOON, 60);
  await Deno.writeFile(spool.path("uploaded", formatChunkName(name)), new Uint8Array(1000));
  assertEquals(await spool.recount("uploaded", ({ durationUs }) => durationUs === 60e6), [name]);
  assertEquals(spool.tally.uploaded, { files: 3, bytes: 1200, durationUs: 62e6 });
});

Deno.test("before sizes are counted only the disk's own limit evicts; afterwards max_spool_gb does", async () => {
  await using temp = await TempSpool.open((dir) => void putByHand(dir, "outbox", 20));
  temp.spool.close();
  const spool = temp.spool = await Spool.open(temp.dir);
  using setup = await janitorOf(temp, 1000);
  await setup.janitor.makeRoom();
  assertEquals(spool.tally.outbox.files, 20);
  spool.freeBytes = () => Promise.resolve(50);
  await setup.janitor.makeRoom();
  assertEquals(spool.tally.outbox.files, 19);
  spool.freeBytes = () => Promise.resolve(1e12);
  await setup.janitor.removeExpired();
  await setup.janitor.makeRoom();
  assertEquals(spool.tally.outbox.files, 9); // 900 bytes, and 100 for the next
  assertEquals([setup.report().chunks_lost_total, setup.report().bytes_lost_total], [11, 1100]);
});

Deno.test("space is freed from far more chunks than are held, the oldest first", async () => {
  let names: string[] = [];
  await using temp = await TempSpool.open((dir) => {
    names = putByHand(dir, "uploaded", 200);
  }, 10);
  using setup = await janitorOf(temp, 5100);
  await setup.janitor.makeRoom();
  assertEquals(chunksIn(temp.spool, "uploaded"), names.slice(150));
});

Deno.test("a full spool is not listed for every chunk, however short the chunks are", async () => {
  await using temp = await TempSpool.open((dir) => void putByHand(dir, "outbox", 50));
  using setup = await janitorOf(temp, 5000);
  const { spool } = temp;
  const recount = spool.recount.bind(spool);
  let recounts = 0;
  spool.recount = (dir, isWanted) => {
    if (dir === "outbox") recounts++;
    return recount(dir, isWanted);
  };
  for (let second = 0; second < 60; second++) {
    await setup.janitor.makeRoom();
    assertEquals(spool.tally.outbox.files, 49);
    await temp.store("outbox", chunkAt(NOON + second * 1000));
    await setup.clock.advance(1000);
  }
  assert(recounts <= 1, `${recounts} recounts`); // until the first, another process may have created it
});
