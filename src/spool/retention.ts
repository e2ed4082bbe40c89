// How long sound is kept: which chunks must be deleted, and in which order. Pure: the janitor deletes
// them. The age limit is a promise to the people who were recorded, and applies to every chunk. To free
// space, delivered chunks are deleted first, then the oldest of the undelivered ones. Refused chunks are
// kept like waiting ones, because a server may change its mind.

import { type ChunkDir, type ChunkName, compareChunkNames } from "../chunk/chunk_name.ts";

const MS_PER_DAY = 86_400_000;
export const BYTES_PER_GB = 1e9;

/** Directories lose their oldest chunks in this order when space is needed; those in one group, together. */
export const EVICTION_ORDER: readonly (readonly ChunkDir[])[] = [
  ["uploaded"],
  ["rejected", "outbox"],
];

/** Whether the chunks in this directory have been delivered. */
export function isDelivered(dir: ChunkDir): boolean {
  return dir === "uploaded";
}

/** Which of these directories loses its oldest chunk next; null: none has a chunk. */
export function evictedNext(
  oldest: readonly { readonly dir: ChunkDir; readonly name: ChunkName | null }[],
): { readonly dir: ChunkDir; readonly name: ChunkName } | null {
  const present = oldest.flatMap(({ dir, name }) => name === null ? [] : [{ dir, name }]);
  return present.toSorted((a, b) => compareChunkNames(a.name, b.name))[0] ?? null;
}

export interface RetentionLimits {
  readonly keepDeliveredDays: number;
  /** Of chunks that are not delivered. */
  readonly maxWaitingDays: number;
  readonly maxSpoolBytes: number;
  readonly minFreeBytes: number;
  /** Space that the chunk being recorded may still need. */
  readonly chunkBytes: number;
}

/** How long each directory keeps chunks. */
export type AgeLimits = Pick<RetentionLimits, "keepDeliveredDays" | "maxWaitingDays">;

/**
 * Chunks that ended before this time, Unix milliseconds, have been kept in their directory for long
 * enough.
 */
export function keptSinceMs(dir: ChunkDir, unixMs: number, limits: AgeLimits): number {
  const days = isDelivered(dir) ? limits.keepDeliveredDays : limits.maxWaitingDays;
  return unixMs - days * MS_PER_DAY;
}

/**
 * Whether a chunk ended longer ago than its directory keeps chunks. If its true time is not known, its age
 * counts from the day on which a synchronized clock first saw it: never too early.
 */
export function isExpired(
  chunk: ChunkName,
  dir: ChunkDir,
  unixMs: number,
  limits: AgeLimits,
): boolean {
  const { provisional } = chunk;
  if (provisional?.seenUnixS === null) return false;
  const endMs = provisional === undefined
    ? (chunk.startUnixUs + chunk.durationUs) / 1000
    : provisional.seenUnixS * 1000;
  return endMs < keptSinceMs(dir, unixMs, limits);
}

/**
 * Bytes that must be deleted from a directory before the next chunk fits; 0 or less: none. Undelivered
 * chunks are deleted only for the spool's own limit or when the disk would not hold the next chunk; they
 * are not deleted to keep `minFreeBytes` for other programs.
 */
export function excessBytes(
  dir: ChunkDir,
  now: { readonly totalBytes: number; readonly freeBytes: number },
  limits: RetentionLimits,
): number {
  const keepFree = isDelivered(dir)
    ? Math.max(limits.minFreeBytes, limits.chunkBytes)
    : limits.chunkBytes;
  return Math.max(
    now.totalBytes + limits.chunkBytes - limits.maxSpoolBytes,
    keepFree - now.freeBytes,
  );
}

/** A generous estimate of a chunk's size: variable bitrate, pages and pre-roll included. */
export function estimateChunkBytes(chunkSeconds: number, bitrateKbps: number): number {
  return Math.ceil(chunkSeconds * bitrateKbps * 1000 / 8 * 1.3) + 16_384;
}
