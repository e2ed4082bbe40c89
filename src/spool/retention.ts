// How long sound is kept: which chunks have to go, and in which order. Pure: the janitor carries it
// out. Age is a promise to those who were recorded and spares nothing; for room, what was delivered
// goes first, then what was refused, and what still waits only last.

import type { ChunkDir, ChunkName } from "../chunk/chunk_name.ts";

const MS_PER_DAY = 86_400_000;
export const BYTES_PER_GB = 1e9;

/** In this order directories give up their oldest chunks when room is needed. */
export const EVICTION_ORDER: readonly ChunkDir[] = ["uploaded", "rejected", "outbox"];

export interface RetentionLimits {
  readonly maxSpoolDays: number;
  readonly maxWaitingDays: number;
  readonly maxSpoolBytes: number;
  readonly minFreeBytes: number;
  /** What the chunk being recorded may still need. */
  readonly chunkBytes: number;
}

/** What ended before this, Unix milliseconds, has been kept in its directory for long enough. */
export function keptSinceMs(
  dir: ChunkDir,
  unixMs: number,
  limits: Pick<RetentionLimits, "maxSpoolDays" | "maxWaitingDays">,
): number {
  const days = dir === "outbox" ? limits.maxWaitingDays : limits.maxSpoolDays;
  return unixMs - days * MS_PER_DAY;
}

/**
 * Whether a chunk's end lies further back than its directory keeps. One whose true time is not known
 * ages from the day on which a synchronized clock first saw it: never too early.
 */
export function isExpired(
  chunk: ChunkName,
  dir: ChunkDir,
  unixMs: number,
  limits: Pick<RetentionLimits, "maxSpoolDays" | "maxWaitingDays">,
): boolean {
  const { provisional } = chunk;
  if (provisional?.seenUnixS === null) return false;
  const endMs = provisional === undefined
    ? (chunk.startUnixUs + chunk.durationUs) / 1000
    : provisional.seenUnixS * 1000;
  return endMs < keptSinceMs(dir, unixMs, limits);
}

/**
 * Bytes that must go from a directory before the next chunk fits; 0 or less: nothing. What is not
 * delivered yet goes only for the spool's own limit or when the disk would not hold the next chunk;
 * it does not go to keep `minFreeBytes` for others.
 */
export function excessBytes(
  dir: ChunkDir,
  now: { readonly totalBytes: number; readonly freeBytes: number },
  limits: RetentionLimits,
): number {
  const keepFree = dir === "outbox"
    ? limits.chunkBytes
    : Math.max(limits.minFreeBytes, limits.chunkBytes);
  return Math.max(
    now.totalBytes + limits.chunkBytes - limits.maxSpoolBytes,
    keepFree - now.freeBytes,
  );
}

/** A generous estimate of a chunk's size: variable bitrate, pages and pre-roll included. */
export function estimateChunkBytes(chunkSeconds: number, bitrateKbps: number): number {
  return Math.ceil(chunkSeconds * bitrateKbps * 1000 / 8 * 1.3) + 16_384;
}
