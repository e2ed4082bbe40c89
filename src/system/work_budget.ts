// How much of a processor the answers of a server may take, so that nobody makes it busy instead of the
// recorder. Pure: time is an argument. It neither waits nor measures.

/** Work that may be done in one go, ms. */
const BURST_MS = 500;
/** Of the time that passes, this part may be worked. */
const SHARE = 0.2;
/** A piece of work counts as at least this long: what the kernel does for it is not measured. */
const LEAST_MS = 1;
/** And as at most this long: what takes longer was interrupted by another process. */
const MOST_MS = 10;

/** A leaky bucket of working time. */
export class WorkBudget {
  #workedMs = 0;
  #atMs = -Infinity;

  /** How long to wait before the next piece of work, ms; 0: not at all. Times are monotonic. */
  waitMs(nowMs: number): number {
    this.#leak(nowMs);
    return this.#workedMs < BURST_MS ? 0 : (this.#workedMs - BURST_MS) / SHARE + 1;
  }

  /** Counts a piece of work that took `ms`. */
  spend(ms: number, nowMs: number): void {
    this.#leak(nowMs);
    this.#workedMs += Math.min(Math.max(ms, LEAST_MS), MOST_MS);
  }

  #leak(nowMs: number): void {
    const passedMs = Math.max(0, nowMs - this.#atMs);
    this.#workedMs = Math.max(0, this.#workedMs - passedMs * SHARE);
    this.#atMs = nowMs;
  }
}
