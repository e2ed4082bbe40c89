// Whether the line is slower than the sound: how much it delivers in the time in which it delivers, while
// chunks wait, against how much sound those chunks hold. Time without a backlog, and time in which attempts
// fail, says nothing about the line. Pure: it takes sizes and times as values.

/** What was delivered longer ago than this counts little, ms. */
const MEMORY_MS = 600_000;
/** The line is judged when it has delivered for this long, ms. */
const ENOUGH_MS = 300_000;
/** It is too slow below this part of the rate of the sound, and no longer so above the other one. */
const SLOW_BELOW = 0.95;
const WELL_ABOVE = 1.1;

/** Kilobits a second. */
export interface Rates {
  readonly lineKbps: number;
  /** What the recording produces. */
  readonly soundKbps: number;
}

export class LineRate {
  /** Sums that fade: what was delivered, how long its sound is, how long that took. */
  #bits = 0;
  #soundMs = 0;
  #busyMs = 0;
  /** Up to this time has been counted; null: the line is not busy. */
  #sinceMs: number | null = null;
  #isSlow = false;

  /** A chunk is sent while others wait. */
  begun(nowMs: number): void {
    this.#sinceMs ??= nowMs;
  }

  /** A chunk with so much sound was delivered. */
  delivered(sizeBytes: number, soundMs: number, nowMs: number): void {
    if (this.#sinceMs === null) return;
    const tookMs = nowMs - this.#sinceMs;
    this.#sinceMs = nowMs;
    const rest = Math.exp(-tookMs / MEMORY_MS);
    this.#bits = this.#bits * rest + sizeBytes * 8;
    this.#soundMs = this.#soundMs * rest + soundMs;
    this.#busyMs = this.#busyMs * rest + tookMs;
    if (this.#busyMs < ENOUGH_MS) return;
    const part = this.#soundMs / this.#busyMs;
    this.#isSlow = part < (this.#isSlow ? WELL_ABOVE : SLOW_BELOW);
  }

  /** An attempt failed, or all chunks wait for the clock: until the next attempt begins, no time counts. */
  paused(): void {
    this.#sinceMs = null;
  }

  /** Nothing waits any longer: the line carries the sound. */
  caughtUp(): void {
    this.#bits = this.#soundMs = this.#busyMs = 0;
    this.#sinceMs = null;
    this.#isSlow = false;
  }

  /** Both rates while the line is too slow, else null. */
  get tooSlow(): Rates | null {
    if (!this.#isSlow) return null;
    return { lineKbps: this.#bits / this.#busyMs, soundKbps: this.#bits / this.#soundMs };
  }
}
