// Keeps the spool within its limits: every five minutes, and at once when something would not fit.
// Undelivered chunks that it removes are counted and logged as lost. It decides nothing itself
// (retention.ts does) and touches no file that is being recorded or sent. The module is long because expiry
// and eviction share how chunks are deleted, and what of a failing disk ends a pass.
//
// It does not list a folder that only this program has changed. Names are in the order of time, so it
// looks for expired chunks from the oldest on, up to the first chunk that has not expired. A chunk that
// starts later may end earlier, by less than the length of a chunk: such a chunk is deleted at most an
// hour late.
//
// It does not evict because of a wrong number. The disk reports how much is free. The tally, which is
// compared with max_spool_gb, is wrong only if another process has changed a folder. folder_watch.ts
// detects that, and such a folder is counted before chunks are deleted because of the tally: before
// delivered chunks are deleted unless that was done within RECOUNT_MS, before undelivered chunks are
// deleted always. Only a change within milliseconds of a change by this program is not detected; if it
// deleted a file, the janitor notices when it tries to delete that file itself. So that the remaining
// cases never cost more than a few undelivered chunks, everything is counted once a day, and also before
// undelivered chunks are deleted if the last count was more than an hour ago. While sizes are still being
// counted after the start, the tally is too low: chunks that are deleted then would have to be deleted in
// any case, and the others are deleted when the count is complete, long before a chunk is.

import type { Clock } from "../system/clock.ts";
import { sizeOf } from "../system/disk.ts";
import type { Logger } from "../system/log.ts";
import { ProblemReport } from "../status/problem_report.ts";
import { problems } from "../status/problems.ts";
import type { Status } from "../status/status.ts";
import { CHUNK_DIRS, type ChunkDir, type ChunkName, formatChunkName } from "../chunk/chunk_name.ts";
import {
  evictedNext,
  EVICTION_ORDER,
  excessBytes,
  isDelivered,
  isExpired,
  keptSinceMs,
  type RetentionLimits,
} from "./retention.ts";
import { type Cause, Declarations, type Doomed } from "./declarations.ts";
import { Deletions } from "./deletions.ts";
import type { Spool } from "./spool.ts";

const PASS_INTERVAL_MS = 300_000;
/**
 * A full spool is not counted more often before delivered chunks are deleted, however short the chunks
 * are.
 */
const RECOUNT_MS = 30_000;
const HOUR_MS = 3_600_000;
/** How often all folders are counted, even if no other process seems to have changed them. */
const COUNT_ALL_MS = 24 * HOUR_MS;
/** More than NTP slews between two passes. */
const STEP_MS = 60_000;
const DISBELIEF_MS = 86_400_000;
/** After this many files that cannot be deleted a pass gives up: the disk is the problem. */
const MAX_STUCK = 10;
/** Up to this many chunks are deleted together: those of a folder share a line in gaps.jsonl, and its sync. */
const MOST_AT_ONCE = 16;

export class Janitor {
  readonly #spool: Spool;
  readonly #clock: Clock;
  readonly #limits: RetentionLimits;
  readonly #status: Status;
  readonly #log: Logger;
  readonly #isClockTrusted: () => boolean;
  readonly #diskLow: ProblemReport;
  readonly #failure: ProblemReport;
  /** Unix time minus monotonic time, at the last check under a synchronized clock. */
  #offsetMs: number | null = null;
  #believeFromMs = -Infinity;
  /** When folders were last counted for max_spool_gb, on the monotonic clock, like all times here. */
  #recountedMs = -Infinity;
  readonly #startedMs: number;
  /** When all folders were last counted: the spool does that when it is opened. */
  #allCountedMs: number;
  #straysSoughtMs = -Infinity;
  /** When a folder was last listed for expired chunks because the held names did not suffice. */
  readonly #oldSoughtMs: Record<ChunkDir, number> = {
    outbox: -Infinity,
    uploaded: -Infinity,
    rejected: -Infinity,
  };
  /** Of the run. */
  #signal: AbortSignal | null = null;
  /** The errors of this pass. */
  #stuck: string[] = [];
  readonly #declarations: Declarations;

  constructor(
    spool: Spool,
    limits: RetentionLimits,
    deps: { clock: Clock; status: Status; log: Logger; isClockTrusted?: () => boolean },
  ) {
    this.#spool = spool;
    this.#limits = limits;
    this.#isClockTrusted = deps.isClockTrusted ?? (() => true);
    this.#clock = deps.clock;
    this.#startedMs = this.#allCountedMs = deps.clock.monotonicMs();
    this.#status = deps.status;
    this.#log = deps.log;
    this.#declarations = new Declarations(spool, deps.log);
    this.#diskLow = new ProblemReport(deps);
    this.#failure = new ProblemReport(deps);
  }

  /** Runs until the signal aborts. A failed step is reported and tried again in the next pass. */
  async run(signal: AbortSignal): Promise<void> {
    this.#signal = signal;
    let nextExpiryMs = -Infinity;
    await this.#pass(false); // the first chunk must not wait until everything has been checked
    while (!signal.aborted) {
      // Room is made whenever it is requested; expiry can wait.
      const expire = this.#clock.monotonicMs() >= nextExpiryMs;
      if (expire) nextExpiryMs = this.#clock.monotonicMs() + PASS_INTERVAL_MS;
      await this.#pass(expire);
      const waitMs = Math.max(0, nextExpiryMs - this.#clock.monotonicMs());
      await this.#spool.roomWanted.wait(this.#clock, waitMs, signal);
    }
    this.#reportDeliveredDeletions(true);
  }

  async #pass(expire: boolean): Promise<void> {
    this.#stuck = [];
    await this.#attempt(() => this.#spool.ensureDirectories());
    let isExpiryDone = false;
    if (expire) {
      await this.#attempt(async () => {
        isExpiryDone = await this.removeExpired();
      });
    }
    await this.#attempt(() => this.makeRoom());
    await this.#declarations.passed(isExpiryDone && this.#stuck.length === 0);
    this.#reportDeliveredDeletions(false);
    const [stuck] = this.#stuck;
    if (stuck === undefined) this.#failure.clear();
    else this.#failure.set(problems.janitorFailed(stuck));
  }

  /** A line for each day on which delivered chunks were deleted. */
  #reportDeliveredDeletions(isLast: boolean): void {
    const { deliveredDeletions } = this.#spool;
    this.#status.counters.deliveredDeleted = deliveredDeletions.chunks;
    const day = deliveredDeletions.takeDay(this.#clock.unixMs(), isLast);
    if (day !== null) this.#log.info("Delivered recordings were deleted.", { ...day });
  }

  /** A step that fails must not keep the others from their work, nor one directory the others. */
  async #attempt(step: () => Promise<void>): Promise<void> {
    try {
      await step();
    } catch (error) {
      this.#stuck.push(String(error));
    }
  }

  /**
   * Corrects the tally. Removes expired chunks, delivered or not, if the clock can be trusted. Returns whether it
   * can.
   */
  async removeExpired(): Promise<boolean> {
    const isTrusted = this.#isClockTrusted() && !this.#wasStepped();
    const unixMs = this.#clock.unixMs();
    await this.#recount(COUNT_ALL_MS);
    await this.#attempt(() => this.#spool.countSizes(CHUNK_DIRS, this.#signal));
    if (!isTrusted) return false;
    for (const dir of CHUNK_DIRS) {
      const losses = new Deletions();
      const isOld = (name: ChunkName) => isExpired(name, dir, unixMs, this.#limits);
      await this.#attempt(() => this.#removeOld(dir, isOld, losses));
      this.#report(dir, losses, "expired");
    }
    await this.#removeStrays(keptSinceMs("rejected", unixMs, this.#limits));
    return true;
  }

  async #removeOld(
    dir: ChunkDir,
    isTooOld: (name: ChunkName) => boolean,
    losses: Deletions,
  ): Promise<void> {
    const stays = new Set<string>();
    const isOld = (name: ChunkName) => isTooOld(name) && !stays.has(name.key);
    let isCutShort = false;
    while (this.#stuck.length < MAX_STUCK) {
      const found = await this.#spool.findOld(dir, isOld);
      isCutShort = found.isCutShort;
      if (found.old.length === 0) break;
      for (const name of await this.#removeAll(dir, found.old, losses)) stays.add(name.key);
    }
    // A provisional chunk whose clock ran ahead is behind all the others: that is looked for once a day.
    const nowMs = this.#clock.monotonicMs();
    const dueMs = isCutShort
      ? this.#oldSoughtMs[dir] + HOUR_MS
      : Math.max(this.#oldSoughtMs[dir], this.#startedMs) + COUNT_ALL_MS;
    if (nowMs < dueMs) return;
    this.#oldSoughtMs[dir] = nowMs;
    await this.#removeAll(dir, await this.#spool.recount(dir, isOld), losses);
  }

  /** Removes expired chunks. Returns those that stay. */
  async #removeAll(
    dir: ChunkDir,
    names: readonly ChunkName[],
    losses: Deletions,
  ): Promise<ChunkName[]> {
    const stays: ChunkName[] = [];
    const rest = names.map((name) => ({ dir, name }));
    while (rest.length > 0 && this.#stuck.length < MAX_STUCK) {
      const batch = rest.splice(0, MOST_AT_ONCE);
      const { left } = await this.#removeTogether(batch, "expired", () => losses);
      stays.push(...left.map(({ name }) => name));
    }
    return stays;
  }

  async #removeStrays(keptSinceMs: number): Promise<void> {
    const nowMs = this.#clock.monotonicMs();
    if (nowMs - this.#straysSoughtMs < HOUR_MS) return;
    const strays = await this.#spool.removeStrays(keptSinceMs);
    this.#straysSoughtMs = nowMs;
    if (strays.length === 0) return;
    this.#log.warning("Expired files that are not chunks were removed from rejected/.", {
      files: strays.length,
      first: strays[0],
    });
  }

  /** A clock that jumps while it counts as synchronized is trusted again after a day without a jump. */
  #wasStepped(): boolean {
    const nowMs = this.#clock.monotonicMs();
    const offsetMs = this.#clock.unixMs() - nowMs;
    if (Math.abs(offsetMs - (this.#offsetMs ?? offsetMs)) > STEP_MS) {
      this.#believeFromMs = nowMs + DISBELIEF_MS;
      this.#log.warning("The system clock was stepped: nothing expires for a day.");
    }
    this.#offsetMs = offsetMs;
    return nowMs < this.#believeFromMs;
  }

  /** Removes the oldest chunks until the next chunk fits into the limits. */
  async makeRoom(): Promise<void> {
    let freeBytes = await this.#spool.freeBytes();
    for (const dirs of EVICTION_ORDER) {
      const losses = new Map(dirs.map((dir) => [dir, new Deletions()]));
      const stays = new Set<string>();
      const [first] = dirs;
      if (first === undefined) continue;
      await this.#attempt(async () => {
        await this.#recountIfTooMuch(first);
        while (this.#stuck.length < MAX_STUCK) {
          const now = { totalBytes: this.#spool.totalBytes, freeBytes };
          if (excessBytes(first, now, this.#limits) <= 0) break;
          const batch = await this.#evictedTogether(dirs, now, stays);
          if (batch.length === 0) break;
          const lossesIn = (dir: ChunkDir) => losses.get(dir) ?? new Deletions();
          const { bytes, left } = await this.#removeTogether(batch, "evicted", lossesIn);
          freeBytes += bytes;
          for (const { dir, name } of left) {
            stays.add(name.key);
            await this.#recountIfTooMuch(dir); // it was gone already: others may be gone, too
          }
        }
      });
      // Also if the disk failed in the middle.
      for (const [dir, lost] of losses) this.#report(dir, lost, "evicted");
    }
    this.#status.counters.freeBytes = freeBytes;
    const tight = freeBytes < this.#limits.minFreeBytes;
    if (tight) this.#diskLow.set(problems.diskLow(Math.round(freeBytes / 1e6)));
    else this.#diskLow.clear();
  }

  async #oldestOf(dirs: readonly ChunkDir[], stays: ReadonlySet<string>) {
    const oldest: { dir: ChunkDir; name: ChunkName | null }[] = [];
    for (const dir of dirs) {
      oldest.push({ dir, name: await this.#spool.oldest(dir, ({ key }) => !stays.has(key)) });
    }
    return evictedNext(oldest);
  }

  /** The oldest chunks, no more than must be deleted. */
  async #evictedTogether(
    dirs: readonly ChunkDir[],
    { totalBytes, freeBytes }: Parameters<typeof excessBytes>[1],
    stays: ReadonlySet<string>,
  ): Promise<Doomed[]> {
    const [first] = dirs;
    const batch: Doomed[] = [];
    const passed = new Set(stays);
    for (let bytes = 0; first !== undefined && batch.length < MOST_AT_ONCE;) {
      const now = { totalBytes: totalBytes - bytes, freeBytes: freeBytes + bytes };
      if (excessBytes(first, now, this.#limits) <= 0) break;
      const next = await this.#oldestOf(dirs, passed).catch((error) => {
        if (batch.length === 0) throw error;
        return null; // those that were found are deleted all the same
      });
      if (next === null) break;
      const { dir, name } = next;
      passed.add(name.key);
      batch.push(next);
      if (isDelivered(dir)) break;
      // A size that cannot be read is the last one: how much is deleted would not be known.
      const size = await sizeOf(this.#spool.path(dir, formatChunkName(name))).catch(() => null);
      if (size === null) break;
      bytes += size;
    }
    return batch;
  }

  /** Undelivered chunks must not be deleted because of files that another process has already deleted. */
  async #recountIfTooMuch(dir: ChunkDir): Promise<void> {
    if (this.#spool.totalBytes + this.#limits.chunkBytes <= this.#limits.maxSpoolBytes) return;
    const nowMs = this.#clock.monotonicMs();
    if (isDelivered(dir) && nowMs - this.#recountedMs < RECOUNT_MS) return;
    await this.#recount(isDelivered(dir) ? COUNT_ALL_MS : HOUR_MS);
    this.#recountedMs = nowMs;
  }

  /**
   * Counts the folders that another process has changed; all folders if they were last counted longer ago
   * than `allMs`.
   */
  async #recount(allMs: number): Promise<void> {
    const nowMs = this.#clock.monotonicMs();
    const isAll = nowMs - this.#allCountedMs >= allMs;
    for (const dir of CHUNK_DIRS) {
      if (!isAll && !this.#spool.isTouched(dir)) continue;
      await this.#attempt(async () => void await this.#spool.recount(dir, () => false));
    }
    if (isAll) this.#allCountedMs = nowMs;
  }

  /**
   * Declares chunks and removes them, except those that are being sent. Returns the bytes that became free, and the
   * chunks that are still there, or were gone already.
   */
  async #removeTogether(
    batch: readonly Doomed[],
    cause: Cause,
    lossesIn: (dir: ChunkDir) => Deletions,
  ): Promise<{ bytes: number; left: Doomed[] }> {
    const sizes = new Map<Doomed, number>();
    try {
      for (const chunk of await this.#declarations.declare(batch, cause)) {
        const size = await this.#remove(chunk.dir, chunk.name, lossesIn(chunk.dir));
        if (size !== null) sizes.set(chunk, size);
        await this.#declarations.retry(); // that may have made room for the declaration
      }
    } finally {
      this.#declarations.release();
    }
    const bytes = sizes.values().reduce((sum, size) => sum + size, 0);
    return { bytes, left: batch.filter((chunk) => !sizes.has(chunk)) };
  }

  /** Returns the bytes that became free; null: the chunk is still there, or was gone already. */
  async #remove(dir: ChunkDir, name: ChunkName, losses: Deletions): Promise<number | null> {
    if (this.#stuck.length >= MAX_STUCK) return null;
    const fileName = formatChunkName(name);
    let size: number | null = null;
    try {
      size = await this.#spool.remove(dir, fileName);
    } catch (error) {
      this.#stuck.push(`${fileName}: ${error}`);
    }
    if (size === null) return null;
    this.#declarations.deleted(name);
    if (isDelivered(dir)) return size;
    if (this.#spool.accepted.delete(name.key)) {
      // The server has it, and only its move to uploaded/ failed.
      this.#status.uploaded(name.durationUs, dir === "rejected");
      this.#spool.deliveredDeletions.add(name, size);
    } else losses.add(name, size);
    return size;
  }

  /** Counts and logs what was removed. */
  #report(dir: ChunkDir, losses: Deletions, cause: Cause): void {
    if (losses.chunks === 0) return;
    this.#status.chunksLost(losses);
    this.#status.evicted(dir, losses.seconds);
    this.#log.error("Undelivered chunks were removed: {reason}.", {
      reason: cause === "evicted" ? "no space left" : cause,
      dir,
      ...losses,
    });
  }
}
