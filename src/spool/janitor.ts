// Keeps the spool within its limits: every five minutes, and at once when something would not fit.
// What it takes that was never delivered is counted and logged as lost. It decides nothing itself
// (retention.ts does) and touches no file that is being recorded.

import type { Clock } from "../clock.ts";
import type { Logger } from "../log.ts";
import type { Status } from "../status/status.ts";
import { parseChunkName } from "./chunk_name.ts";
import { EVICTION_ORDER, excessBytes, isExpired, type RetentionLimits } from "./retention.ts";
import { CHUNK_DIRS, type ChunkDir, type Spool } from "./spool.ts";

const PASS_INTERVAL_MS = 300_000;

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

  constructor(
    spool: Spool,
    limits: RetentionLimits,
    deps: { clock: Clock; status: Status; log: Logger },
  ) {
    this.#spool = spool;
    this.#limits = limits;
    this.#clock = deps.clock;
    this.#status = deps.status;
    this.#log = deps.log;
  }

  /** Works until the signal aborts. A pass that fails is reported and tried again at the next. */
  async run(signal: AbortSignal): Promise<void> {
    let nextPassMs = -Infinity;
    while (!signal.aborted) {
      try {
        if (this.#clock.monotonicMs() >= nextPassMs) {
          nextPassMs = this.#clock.monotonicMs() + PASS_INTERVAL_MS;
          await this.removeExpired();
        }
        await this.makeRoom();
        this.#status.clearProblem("janitor_failed");
      } catch (error) {
        this.#status.setProblem("janitor_failed", `The spool cannot be tidied: ${error}`);
      }
      const waitMs = Math.max(0, nextPassMs - this.#clock.monotonicMs());
      await this.#spool.roomWanted.wait(this.#clock, waitMs, signal);
    }
  }

  /** Removes what is older than it may get, delivered or not. */
  async removeExpired(): Promise<void> {
    for (const dir of CHUNK_DIRS) {
      const losses = noLosses();
      for (const name of this.#spool.list(dir)) {
        const chunk = parseChunkName(name);
        if (chunk === null || !isExpired(chunk, dir, this.#clock.unixMs(), this.#limits)) break;
        await this.#remove(dir, name, losses);
      }
      this.#report(losses, "older than it may be kept");
    }
  }

  /** Removes the oldest until the next chunk fits into the limits. */
  async makeRoom(): Promise<void> {
    let freeBytes = await this.#spool.freeBytes();
    for (const dir of EVICTION_ORDER) {
      const excess = () =>
        excessBytes(dir, { totalBytes: this.#spool.totalBytes, freeBytes }, this.#limits);
      if (excess() <= 0) continue;
      const losses = noLosses();
      for (const name of this.#spool.list(dir)) {
        if (excess() <= 0) break;
        freeBytes += await this.#remove(dir, name, losses);
      }
      this.#report(losses, "no room for it");
    }
    const tight = freeBytes < this.#limits.minFreeBytes;
    if (tight) {
      const freeMb = Math.round(freeBytes / 1e6);
      this.#status.setProblem(
        "disk_low",
        `${freeMb} MB are free on the disk of spool_dir and nothing delivered is left to remove: ` +
          `free some space, or lower min_free_gb`,
      );
    } else this.#status.clearProblem("disk_low");
  }

  async #remove(dir: ChunkDir, name: string, losses: Losses): Promise<number> {
    const size = await this.#spool.remove(dir, name);
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

  #report(losses: Losses, reason: string): void {
    if (losses.chunks === 0) return;
    this.#status.chunksLost(losses);
    this.#log.error("Chunks were removed that had never been delivered: {reason}.", {
      reason,
      ...losses,
    });
  }
}

function noLosses(): Losses {
  return { chunks: 0, bytes: 0, seconds: 0, first: "", last: "" };
}
