import { assertEquals } from "@std/assert";
import { type ChunkName, formatChunkName, parseChunkName } from "../../src/chunk/chunk_name.ts";
import { isExpired } from "../../src/spool/retention.ts";
import { retimeChunks } from "../../src/spool/retiming.ts";
import { readTrueTime, retimed } from "../../src/spool/true_time.ts";
import { SimulatedClock } from "../fixtures/simulated_clock.ts";
import { chunkAt, chunksIn, TempSpool } from "../fixtures/temp_spool.ts";

const NOW = Date.UTC(2026, 5, 15, 12);
const DAY = 86_400_000;
const BOOT = { id: "0a1b2c3d", zeroMs: 40_000 };

function provisional(startUnixMs: number, bootId: string, startBootMs: number): ChunkName {
  const startBootUs = startBootMs * 1000;
  return { ...chunkAt(startUnixMs), provisional: { bootId, startBootUs, seenUnixS: null } };
}

Deno.test("a provisional name is formatted as a file name and parsed back", () => {
  const name = provisional(NOW, BOOT.id, 61_000);
  const seen = { ...name, provisional: { bootId: BOOT.id, startBootUs: 1, seenUnixS: 1781524800 } };
  for (const each of [name, seen, chunkAt(NOW)]) {
    assertEquals(parseChunkName(formatChunkName(each)), each);
  }
});

Deno.test("a chunk of this boot gets its true time: now minus its age on the monotonic clock", () => {
  const clock = new SimulatedClock(NOW); // monotonic 1 s, which is 41 s after boot
  const name = provisional(NOW - 14 * DAY, BOOT.id, 31_000.5);
  const better = retimed(name, readTrueTime(BOOT, clock));
  assertEquals(better, {
    startUnixUs: (NOW - 10_000) * 1000 + 500,
    durationUs: name.durationUs,
    key: name.key,
  });
});

Deno.test("a chunk of an earlier boot keeps its time, and its age counts from when it was first seen", async () => {
  const clock = new SimulatedClock(NOW);
  const name = provisional(0, "ffffffff", 31_000);
  const limits = { keepDeliveredDays: 7, maxWaitingDays: 7 };
  assertEquals(isExpired(name, "outbox", NOW, limits), false);
  const seen = retimed(name, readTrueTime(BOOT, clock));
  assertEquals(seen?.provisional?.seenUnixS, NOW / 1000);
  assertEquals(seen?.startUnixUs, 0);
  await clock.advance(DAY);
  assertEquals(seen && retimed(seen, readTrueTime(BOOT, clock)), null, "once is enough");
  assertEquals(seen && isExpired(seen, "outbox", NOW + 7 * DAY - 1000, limits), false);
  assertEquals(seen && isExpired(seen, "outbox", NOW + 7 * DAY + 1000, limits), true);
});

Deno.test("retimeChunks() renames in every directory, keeps keys, and skips a chunk that is being sent", async () => {
  await using temp = await TempSpool.open();
  const clock = new SimulatedClock(NOW);
  const names = [20_000, 30_000, 35_000].map((ms) => provisional(NOW - 14 * DAY, BOOT.id, ms));
  const [first, second, third] = names as [ChunkName, ChunkName, ChunkName];
  await temp.store("outbox", first);
  await temp.store("outbox", second);
  await temp.store("uploaded", third);
  await temp.store("outbox", chunkAt(NOW - DAY));
  await temp.spool.recount("outbox");
  temp.spool.sending.add(second.key);
  assertEquals(await retimeChunks(temp.spool, readTrueTime(BOOT, clock)), { retimed: 2, busy: 1 });
  temp.spool.sending.clear();
  assertEquals(await retimeChunks(temp.spool, readTrueTime(BOOT, clock)), { retimed: 1, busy: 0 });
  assertEquals(await retimeChunks(temp.spool, readTrueTime(BOOT, clock)), { retimed: 0, busy: 0 });
  const waiting = chunksIn(temp.spool, "outbox").map(parseChunkName);
  assertEquals(waiting.map((name) => name?.key).slice(1), [first.key, second.key]);
  assertEquals(waiting.map((name) => name?.startUnixUs).slice(1), [
    (NOW - 21_000) * 1000,
    (NOW - 11_000) * 1000,
  ]);
  assertEquals(temp.spool.tally.outbox.files, 3);
});

Deno.test("consecutive chunks of continuous sound join to the microsecond, and others do not", async () => {
  await using temp = await TempSpool.open();
  const clock = new SimulatedClock(NOW);
  // Each is 10 s long. By the monotonic clock it starts some milliseconds from the end of the previous
  // one.
  const startsMs = [20_000, 30_001.3, 40_004.9, 49_999.1, 60_010];
  for (const ms of startsMs) {
    const { provisional: at, ...name } = provisional(NOW - 14 * DAY + ms, BOOT.id, ms);
    await temp.store("outbox", { ...name, durationUs: 10_000_000, ...(at && { provisional: at }) });
  }
  assertEquals(await retimeChunks(temp.spool, readTrueTime(BOOT, clock)), { retimed: 5, busy: 0 });
  const chunks = chunksIn(temp.spool, "outbox").map(parseChunkName);
  const first = (NOW - 21_000) * 1000;
  assertEquals(
    chunks.map((name) => (name?.startUnixUs ?? NaN) - first),
    [0, 10_000_000, 20_000_000, 30_000_000, 40_010_000],
  );
  assertEquals(new Set(chunks.map((name) => name?.durationUs)), new Set([10_000_000]));
});
