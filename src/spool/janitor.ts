// Keeps the spool within its limits: every five minutes, and at once when something would not fit.
// What it takes that was never delivered is counted and logged as lost. It decides nothing itself
// (retention.ts does) and touches no file that is being recorded.
//
// It lists no folder that nobody else has changed. Names are in the order of time, so age is looked for
// from the oldest on, up to the first chunk that is young enough. One that starts later may end earlier,
// by less than a chunk: that one goes at most an hour late.
//
// It does not evict on a wrong number. What is free on the disk is asked of the disk. The tally, which
// max_spool_gb is held to, is wrong only if another process has changed a folder. That is seen
// (folder_watch.ts), and such a folder is counted before anything goes for the tally: before delivered
// chunks go unless that was done within RECOUNT_MS, before undelivered ones go always. What cannot be
// seen is a change within milliseconds of one of our own; and of these a deleted file shows itself as
// soon as it was to go. So that the rest can never cost more than a few undelivered chunks, everything
// is counted once a day, and before undelivered chunks go if that was longer ago than an hour. While
// sizes are still being counted, after the start, the tally is too low: what goes then would have to go
// in any case, and the rest goes when the count is through, long before a chunk is.

import type { Clock } from "../system/clock.ts";
import type { Logger } from "../system/log.ts";
import { ProblemReport } from "../status/problem_report.ts";
import { problems } from "../status/problems.ts";
import type { Status } from "../status/status.ts";
import {
  CHUNK_DIRS,
  type ChunkDir,
  type ChunkName,
  formatChunkName,
  parseChunkName,
} from "../chunk/chunk_name.ts";
import {
  EVICTION_ORDER,
  excessBytes,
  isExpired,
  keptSinceMs,
  type RetentionLimits,
} from "./retention.ts";
import type { Spool } from "./spool.ts";

const PASS_INTERVAL_MS = 300_000;
/** For delivered chunks a spool that is full is not listed more often, however short its chunks are. */
const RECOUNT_MS = 30_000;
const HOUR_MS = 3_600_000;
/** All folders are counted so often, whether or not somebody seems to have changed them. */
const COUNT_ALL_MS = 24 * HOUR_MS;
/** More than NTP slews between two passes. */
const STEP_MS = 60_000;
const DISBELIEF_MS = 86_400_000;
/** So many files that cannot be deleted are passed over; then the disk is what is wrong. */
const MAX_STUCK = 10;

interface Losses {
  chunks: number;
  bytes: number;
  seconds: number;
  first: string;
  last: string;
}

export class Janitor {
  readonly #spool: Spool;
  readonly #clock: Clock;
  readonly #limits: RetentionLimits;
  readonly #status: Status;
  readonly #log: Logger;
  readonly #isClockTrusted: () => boolean;
  readonly #diskLow: ProblemReport;
  readonly #failure: ProblemReport;
  /** Unix less monotonic time when it was last looked at under a synchronized clock. */
  #offsetMs: number | null = null;
  #believeFromMs = -Infinity;
  /** When folders were last counted for max_spool_gb, on the monotonic clock, as all times here. */
  #recountedMs = -Infinity;
  /** When all folders were last counted: the spool does that when it is opened. */
  #allCountedMs: number;
  #straysSoughtMs = -Infinity;
  /** When a folder was last listed for what is old, as the names that are held did not tell. */
  readonly #oldSoughtMs: Record<ChunkDir, number> = {
    outbox: -Infinity,
    uploaded: -Infinity,
    rejected: -Infinity,
  };
  /** What went wrong in this pass. */
  #stuck: string[] = [];

  constructor(
    spool: Spool,
    limits: RetentionLimits,
    deps: { clock: Clock; status: Status; log: Logger; isClockTrusted?: () => boolean },
  ) {
    this.#spool = spool;
    this.#limits = limits;
    this.#isClockTrusted = deps.isClockTrusted ?? (() => true);
    this.#clock = deps.clock;
    this.#allCountedMs = deps.clock.monotonicMs();
    this.#status = deps.status;
    this.#log = deps.log;
    this.#diskLow = new ProblemReport(deps);
    this.#failure = new ProblemReport(deps);
  }

  /** Works until the signal aborts. What fails is reported and tried again at the next pass. */
  async run(signal: AbortSignal): Promise<void> {
    let nextExpiryMs = -Infinity;
    await this.#pass(false); // the first chunk must not wait until everything has been looked at
    while (!signal.aborted) {
      // Room is made whenever it is asked for; age can wait.
      const expire = this.#clock.monotonicMs() >= nextExpiryMs;
      if (expire) nextExpiryMs = this.#clock.monotonicMs() + PASS_INTERVAL_MS;
      await this.#pass(expire);
      const waitMs = Math.max(0, nextExpiryMs - this.#clock.monotonicMs());
      await this.#spool.roomWanted.wait(this.#clock, waitMs, signal);
    }
  }

  async #pass(expire: boolean): Promise<void> {
    this.#stuck = [];
    const steps = [() => this.makeRoom()];
    if (expire) steps.unshift(() => this.removeExpired());
    for (const step of steps) {
      try {
        await step();
      } catch (error) {
        this.#stuck.push(String(error));
      }
    }
    const [stuck] = this.#stuck;
    if (stuck === undefined) this.#failure.clear();
    else this.#failure.set(problems.janitorFailed(stuck));
  }

  /**
   * Puts the tally right, and removes what is older than it may get, delivered or not: by a clock that
   * can be trusted.
   */
  async removeExpired(): Promise<void> {
    const isTrusted = this.#isClockTrusted() && !this.#wasStepped();
    const unixMs = this.#clock.unixMs();
    await this.#recount(COUNT_ALL_MS);
    await this.#spool.countSizes();
    if (!isTrusted) return;
    for (const dir of CHUNK_DIRS) {
      const losses = noLosses();
      try {
        await this.#removeOld(dir, (name) => isExpired(name, dir, unixMs, this.#limits), losses);
      } finally {
        this.#report(dir, losses, "older than it may be kept");
      }
    }
    await this.#removeStrays(keptSinceMs("rejected", unixMs, this.#limits));
  }

  async #removeOld(
    dir: ChunkDir,
    isTooOld: (name: ChunkName) => boolean,
    losses: Losses,
  ): Promise<void> {
    const stays = new Set<string>();
    const isOld = (name: ChunkName) => isTooOld(name) && !stays.has(name.key);
    let isCutShort = false;
    while (this.#stuck.length < MAX_STUCK) {
      const found = await this.#spool.findOld(dir, isOld);
      isCutShort = found.isCutShort;
      if (found.old.length === 0) break;
      for (const name of found.old) {
        if (await this.#remove(dir, name, losses) === null) stays.add(name.key);
      }
    }
    const nowMs = this.#clock.monotonicMs();
    if (!isCutShort || nowMs - this.#oldSoughtMs[dir] < HOUR_MS) return;
    this.#oldSoughtMs[dir] = nowMs;
    for (const fileName of await this.#spool.recount(dir, isOld)) {
      const name = parseChunkName(fileName);
      if (name !== null) await this.#remove(dir, name, losses);
    }
  }

  async #removeStrays(keptSinceMs: number): Promise<void> {
    const nowMs = this.#clock.monotonicMs();
    if (nowMs - this.#straysSoughtMs < HOUR_MS) return;
    const strays = await this.#spool.removeStrays(keptSinceMs);
    this.#straysSoughtMs = nowMs;
    if (strays.length === 0) return;
    this.#log.warning("Files that had been set aside in rejected/ were removed: too old.", {
      files: strays.length,
      first: strays[0],
    });
  }

  /** A clock that jumps while it counts as synchronized is believed when it has stood for a day. */
  #wasStepped(): boolean {
    const nowMs = this.#clock.monotonicMs();
    const offsetMs = this.#clock.unixMs() - nowMs;
    if (Math.abs(offsetMs - (this.#offsetMs ?? offsetMs)) > STEP_MS) {
      this.#believeFromMs = nowMs + DISBELIEF_MS;
      this.#log.warning("The system clock was stepped: for a day nothing is deleted as old.");
    }
    this.#offsetMs = offsetMs;
    return nowMs < this.#believeFromMs;
  }

  /** Removes the oldest until the next chunk fits into the limits. */
  async makeRoom(): Promise<void> {
    let freeBytes = await this.#spool.freeBytes();
    for (const dir of EVICTION_ORDER) {
      const losses = noLosses();
      const stays = new Set<string>();
      try {
        await this.#recountIfTooMuch(dir);
        while (this.#stuck.length < MAX_STUCK) {
          const now = { totalBytes: this.#spool.totalBytes, freeBytes };
          if (excessBytes(dir, now, this.#limits) <= 0) break;
          const name = await this.#spool.oldest(dir, ({ key }) => !stays.has(key));
          if (name === null) break;
          const bytes = await this.#remove(dir, name, losses);
          if (bytes === null) stays.add(name.key);
          freeBytes += bytes ?? 0;
        }
      } finally {
        this.#report(dir, losses, "no room for it"); // also if the disk failed in the middle
      }
    }
    this.#status.counters.freeBytes = freeBytes;
    const tight = freeBytes < this.#limits.minFreeBytes;
    if (tight) this.#diskLow.set(problems.diskLow(Math.round(freeBytes / 1e6)));
    else this.#diskLow.clear();
  }

  /** What others deleted by hand must not cost what still waits. */
  async #recountIfTooMuch(dir: ChunkDir): Promise<void> {
    if (this.#spool.totalBytes + this.#limits.chunkBytes <= this.#limits.maxSpoolBytes) return;
    const nowMs = this.#clock.monotonicMs();
    const isDelivered = dir === "uploaded";
    if (isDelivered && nowMs - this.#recountedMs < RECOUNT_MS) return;
    await this.#recount(isDelivered ? COUNT_ALL_MS : HOUR_MS);
    this.#recountedMs = nowMs;
  }

  /** Counts the folders that another process has changed; all, if that is longer ago than `allMs`. */
  async #recount(allMs: number): Promise<void> {
    const nowMs = this.#clock.monotonicMs();
    const isAll = nowMs - this.#allCountedMs >= allMs;
    for (const dir of CHUNK_DIRS) {
      if (isAll || this.#spool.isTouched(dir)) await this.#spool.recount(dir, () => false);
    }
    if (isAll) this.#allCountedMs = nowMs;
  }

  /** Bytes that became free; null: it is still there, or was gone already. */
  async #remove(dir: ChunkDir, name: ChunkName, losses: Losses): Promise<number | null> {
    if (this.#stuck.length >= MAX_STUCK) return null;
    const fileName = formatChunkName(name);
    let size: number | null = null;
    try {
      size = await this.#spool.remove(dir, fileName);
    } catch (error) {
      this.#stuck.push(`${fileName}: ${error}`);
    }
    if (size !== null && dir !== "uploaded") {
      losses.chunks++;
      losses.bytes += size;
      losses.seconds += name.durationUs / 1e6;
      losses.first ||= fileName;
      losses.last = fileName;
    }
    return size;
  }

  #report(dir: ChunkDir, losses: Losses, reason: string): void {
    if (losses.chunks === 0) return;
    this.#status.chunksLost(losses);
    if (dir === "outbox") this.#status.waitingEvicted(losses.seconds);
    this.#log.error("Chunks were removed that had never been delivered: {reason}.", {
      reason,
      dir,
      ...losses,
    });
  }
}

function noLosses(): Losses {
  return { chunks: 0, bytes: 0, seconds: 0, first: "", last: "" };
}
