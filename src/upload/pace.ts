// How far apart requests start when a server limits their rate: it answers 429, or 503, and does not say for
// how long. Pure: it takes the time as a value, and neither sends nor waits.
//
// While no limit is known, requests are not held apart. After the server has refused one for its rate and
// then accepted the next, the pace is the time between those two. Each acceptance shortens it by a fifth; a
// refusal lengthens it by a fifth. Near the pace that was refused last it is shortened by a hundredth only,
// so that about one request in twenty is refused while the pace follows the limit, in both directions.

/** The longest pace that one refusal leads to: a server that was down is not one that limits the rate. */
const FIRST_MAX_MS = 5_000;
/** After this many refusals in a row the server does not limit the rate: nothing is accepted at any rate. */
const MAX_ROW = 5;
/** A pace below this is dropped, because the answers themselves take longer. */
const MIN_PACE_MS = 20;
const LONGER = 1.2;
const SHORTER = 0.8;
const SHORTER_NEAR = 0.99;
/** A pace within this factor of the refused one is near it. */
const NEAR = 1.25;

export class Pace {
  /** The time from one start to the next, ms; 0: no limit is known. */
  #paceMs = 0;
  /** The pace that was refused last. */
  #refusedMs = 0;
  /** Refusals since the last acceptance. */
  #row = 0;
  /** When the last two requests started. */
  #begunMs = -Infinity;
  #beforeMs = -Infinity;

  /** The time from one start to the next, ms; 0: no limit is known. */
  get paceMs(): number {
    return this.#paceMs;
  }

  /** How long until the next request may start, ms. */
  waitMs(nowMs: number): number {
    return this.#paceMs === 0 ? 0 : Math.max(0, this.#begunMs + this.#paceMs - nowMs);
  }

  begun(nowMs: number): void {
    this.#beforeMs = this.#begunMs;
    this.#begunMs = nowMs;
  }

  accepted(): void {
    const isFirst = this.#row > 0 && this.#row <= MAX_ROW && this.#paceMs === 0;
    if (isFirst) this.#paceMs = Math.min(this.#begunMs - this.#beforeMs, FIRST_MAX_MS);
    else if (this.#row === 0) this.#paceMs *= this.#isNear ? SHORTER_NEAR : SHORTER;
    this.#row = 0;
    if (this.#paceMs < MIN_PACE_MS) this.#paceMs = 0;
  }

  /**
   * The server refused a request for its rate. Returns whether that is the usual refusal at a known pace:
   * the next request may follow at the new pace, without a backoff.
   */
  refused(): boolean {
    this.#row++;
    if (this.#row > MAX_ROW) this.#paceMs = 0;
    if (this.#paceMs === 0) return false;
    this.#refusedMs = this.#paceMs;
    this.#paceMs *= LONGER;
    return this.#row === 1;
  }

  get #isNear(): boolean {
    return this.#paceMs < this.#refusedMs * NEAR && this.#paceMs > this.#refusedMs / NEAR;
  }
}
