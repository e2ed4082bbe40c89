// Keeps the spool within its limits: every five minutes, and at once when something would not fit.
// What it takes that was never delivered is counted and logged as lost. It decides nothing itself
// (retention.ts does) and touches no file that is being recorded.
//
// It does not evict on a wrong number. What is free on the disk is asked of the disk. The tally, which
// max_spool_gb is held to, is put right before anything goes for it, unless that was done within
// RECOUNT_MS. While sizes are still being counted, after the start, it is too low: what goes then would
// have to go in any case, and the rest goes when the count is through, long before a chunk is.

import type { Clock } from "../system/clock.ts";
import type { Logger } from "../system/log.ts";
import { ProblemReport } from "../status/problem_report.ts";
import { problems } from "../status/problems.ts";
import type { Status } from "../status/status.ts";
import { CHUNK_DIRS, type ChunkDir, type ChunkName, parseChunkName } from "../chunk/chunk_name.ts";
import {
  EVICTION_ORDER,
  excessBytes,
  isExpired,
  keptSinceMs,
  type RetentionLimits,
} from "./retention.ts";
import type { Spool } from "./spool.ts";

const PASS_INTERVAL_MS = 300_000;
/** A spool that is full is not listed more often, however short its chunks are. */
const RECOUNT_MS = 30_000;
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
  /** When other hands' work was last looked for, on the monotonic clock. */
  #recountedMs = -Infinity;
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
      // Room is made whenever it is asked for; age needs a look at every name, and can wait.
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
   * Looks at every name, puts the tally right, and removes what is older than it may get, delivered or
   * not: by a clock that can be trusted.
   */
  async removeExpired(): Promise<void> {
    const isTrusted = this.#isClockTrusted() && !this.#wasStepped();
    const unixMs = this.#clock.unixMs();
    await this.#spool.countSizes();
    for (const dir of CHUNK_DIRS) {
      const losses = noLosses();
      const isOld = (chunk: ChunkName) => isTrusted && isExpired(chunk, dir, unixMs, this.#limits);
      for (const name of await this.#spool.recount(dir, isOld)) {
        await this.#remove(dir, name, losses);
      }
      this.#report(dir, losses, "older than it may be kept");
    }
    this.#recountedMs = this.#clock.monotonicMs();
    if (!isTrusted) return;
    const strays = await this.#spool.removeStrays(
      keptSinceMs("rejected", unixMs, this.#limits),
    );
    if (strays.length > 0) {
      this.#log.warning("Files that had been set aside in rejected/ were removed: too old.", {
        files: strays.length,
        first: strays[0],
      });
    }
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
    await this.#recountIfTooMuch();
    let freeBytes = await this.#spool.freeBytes();
    for (const dir of EVICTION_ORDER) {
      const losses = noLosses();
      let last = "";
      try {
        while (this.#stuck.length < MAX_STUCK) {
          const now = { totalBytes: this.#spool.totalBytes, freeBytes };
          if (excessBytes(dir, now, this.#limits) <= 0) break;
          const name = await this.#spool.oldest(dir, (other) => other > last);
          if (name === null) break;
          freeBytes += await this.#remove(dir, name, losses);
          last = name;
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
  async #recountIfTooMuch(): Promise<void> {
    const nowMs = this.#clock.monotonicMs();
    if (this.#spool.totalBytes + this.#limits.chunkBytes <= this.#limits.maxSpoolBytes) return;
    if (nowMs - this.#recountedMs < RECOUNT_MS) return;
    for (const dir of CHUNK_DIRS) await this.#spool.recount(dir, () => false);
    this.#recountedMs = nowMs;
  }

  /** Bytes that became free; a file that cannot be deleted is passed over. */
  async #remove(dir: ChunkDir, name: string, losses: Losses): Promise<number> {
    if (this.#stuck.length >= MAX_STUCK) return 0;
    let size: number | null = null;
    try {
      size = await this.#spool.remove(dir, name);
    } catch (error) {
      this.#stuck.push(`${name}: ${error}`);
    }
    if (size === null) return 0;
    if (dir !== "uploaded") {
      losses.chunks++;
      losses.bytes += size;
      losses.seconds += (parseChunkName(name)?.durationUs ?? 0) / 1e6;
      losses.first ||= name;
      losses.last = name;
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
