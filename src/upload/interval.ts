// When something that failed is tried again, for two kinds of attempts: the backoff of the whole queue, and
// the interval for chunks that are set aside while the others are delivered. Pure: times and random numbers
// are values.

/** The delay before the next attempt while nothing is accepted: doubled, capped, then full jitter. */
export class Backoff {
  readonly #minMs: number;
  readonly #maxMs: number;
  #failures = 0;

  constructor(minMs: number, maxMs: number) {
    this.#minMs = minMs;
    this.#maxMs = maxMs;
  }

  /**
   * The next delay, ms. The cap comes first: jitter before it would be cut off again.
   * @param random from 0 (the longest delay) to 1 (none).
   */
  next(random: number): number {
    return Math.min(this.#minMs * 2 ** this.#failures++, this.#maxMs) * (1 - random);
  }

  /** A chunk was settled: the next delay is a short one. */
  reset(): void {
    this.#failures = 0;
  }
}

/** Attempts at intervals that double with each failure, up to a maximum. Times are monotonic ms. */
export class Interval {
  readonly #firstMs: number;
  readonly #maxMs: number;
  #intervalMs: number;
  #dueMs = 0;

  constructor(firstMs: number, maxMs: number) {
    this.#firstMs = this.#intervalMs = firstMs;
    this.#maxMs = maxMs;
  }

  isDue(nowMs: number): boolean {
    return nowMs >= this.#dueMs;
  }

  /** How long until the next attempt, ms. */
  waitMs(nowMs: number): number {
    return Math.max(0, this.#dueMs - nowMs);
  }

  /** The first attempt is due after the first interval. */
  begin(nowMs: number): void {
    this.#intervalMs = this.#firstMs;
    this.#dueMs = nowMs + this.#firstMs;
  }

  /** @param atLeastMs the next attempt comes no earlier than this. */
  failed(nowMs: number, atLeastMs = 0): void {
    this.#intervalMs = Math.min(this.#intervalMs * 2, this.#maxMs);
    this.#dueMs = nowMs + Math.max(this.#intervalMs, atLeastMs);
  }

  /** An attempt failed for a cause outside of what is tried: the interval does not grow. */
  postponed(nowMs: number): void {
    this.#dueMs = nowMs + this.#intervalMs;
  }

  /** It succeeded: the next attempt is due at once. */
  accepted(nowMs: number): void {
    this.#intervalMs = this.#firstMs;
    this.#dueMs = nowMs;
  }
}
