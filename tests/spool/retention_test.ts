import { assert, assertEquals } from "@std/assert";
import { CHUNK_DIRS, type ChunkDir } from "../../src/chunk/chunk_name.ts";
import {
  BYTES_PER_GB,
  estimateChunkBytes,
  evictedNext,
  EVICTION_ORDER,
  excessBytes,
  isExpired,
  keptSinceMs,
  type RetentionLimits,
} from "../../src/spool/retention.ts";

const NOON = Date.UTC(2026, 5, 15, 12);
const DAY_MS = 86_400_000;
const LIMITS: RetentionLimits = {
  keepDeliveredDays: 7,
  maxWaitingDays: 7,
  maxSpoolBytes: 1000,
  minFreeBytes: 500,
  chunkBytes: 100,
};

function chunkEnding(endUnixMs: number) {
  return { startUnixUs: (endUnixMs - 60_000) * 1000, durationUs: 60e6, key: "" };
}

Deno.test("a chunk is kept for the days of its directory after its end, and not a millisecond longer", () => {
  for (const dir of CHUNK_DIRS) {
    const chunk = chunkEnding(NOON);
    assertEquals(isExpired(chunk, dir, NOON + 7 * DAY_MS, LIMITS), false);
    assertEquals(isExpired(chunk, dir, NOON + 7 * DAY_MS + 1, LIMITS), true);
  }
});

Deno.test("max_waiting_days applies to waiting and refused chunks, longer or shorter than keep_delivered_days", () => {
  const expired = (maxWaitingDays: number, ageDays: number) =>
    CHUNK_DIRS.filter((dir) =>
      isExpired(chunkEnding(NOON - ageDays * DAY_MS), dir, NOON, { ...LIMITS, maxWaitingDays })
    );
  assertEquals(expired(30, 8), ["uploaded"]);
  assertEquals(expired(30, 31), ["outbox", "uploaded", "rejected"]);
  assertEquals(expired(2, 3), ["outbox", "rejected"]);
  assertEquals(expired(0.5, 0.4), []);
  assertEquals(expired(0.5, 0.6), ["outbox", "rejected"]);
});

Deno.test("a chunk from the future, recorded before the clock was set back, is kept", () => {
  assertEquals(isExpired(chunkEnding(NOON + 400 * DAY_MS), "uploaded", NOON, LIMITS), false);
});

Deno.test("keptSinceMs() is the limit that isExpired() uses: delivered chunks have one of their own", () => {
  const limits = { keepDeliveredDays: 7, maxWaitingDays: 3 };
  assertEquals(keptSinceMs("outbox", NOON, limits), NOON - 3 * DAY_MS);
  assertEquals(keptSinceMs("rejected", NOON, limits), NOON - 3 * DAY_MS);
  assertEquals(keptSinceMs("uploaded", NOON, limits), NOON - 7 * DAY_MS);
});

Deno.test("space is freed by deleting delivered chunks, then the oldest of the refused and waiting ones", () => {
  assertEquals(EVICTION_ORDER, [["uploaded"], ["rejected", "outbox"]]);
  const at = (dir: ChunkDir, days: number) => ({ dir, name: chunkEnding(NOON - days * DAY_MS) });
  const none = { dir: "rejected", name: null } as const;
  assertEquals(evictedNext([at("rejected", 1), at("outbox", 2)])?.dir, "outbox");
  assertEquals(evictedNext([at("rejected", 3), at("outbox", 2)])?.dir, "rejected");
  assertEquals(evictedNext([none, at("outbox", 2)])?.dir, "outbox");
  assertEquals(evictedNext([none]), null);
});

Deno.test("excessBytes() leaves space for one more chunk below max_spool_gb", () => {
  const plenty = { freeBytes: 1e9 };
  for (const dir of CHUNK_DIRS) {
    assertEquals(excessBytes(dir, { totalBytes: 900, ...plenty }, LIMITS), 0);
    assertEquals(excessBytes(dir, { totalBytes: 901, ...plenty }, LIMITS), 1);
    assert(excessBytes(dir, { totalBytes: 0, ...plenty }, LIMITS) < 0);
  }
});

Deno.test("min_free_gb deletes delivered chunks, but never refused or waiting ones", () => {
  const excess = (dir: ChunkDir, freeBytes: number) =>
    excessBytes(dir, { totalBytes: 300, freeBytes }, LIMITS);
  assertEquals(excess("uploaded", 500), 0);
  assertEquals(excess("uploaded", 450), 50);
  for (const dir of ["rejected", "outbox"] as const) {
    assert(excess(dir, 450) <= 0);
    assert(excess(dir, 100) <= 0);
    assertEquals(excess(dir, 99), 1); // here the next chunk would not fit
  }
});

Deno.test("with min_free_gb 0 there is still space for the next chunk", () => {
  const limits = { ...LIMITS, minFreeBytes: 0 };
  for (const dir of CHUNK_DIRS) {
    assertEquals(excessBytes(dir, { totalBytes: 0, freeBytes: 99 }, limits), 1);
  }
});

Deno.test("estimateChunkBytes() is above the size of a chunk, pages and pre-roll included", () => {
  // Measured: 24 kbit/s for 60 s is about 185 kB. A GB is the unit printed on SD cards.
  assert(estimateChunkBytes(60, 24) > 190_000);
  assert(estimateChunkBytes(60, 24) < 400_000);
  assert(estimateChunkBytes(1, 6) > 3_000);
  assertEquals(BYTES_PER_GB, 1e9);
});
