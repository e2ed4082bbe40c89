// Decides how many requests may be in flight, and when the next one may start: a window like that of TCP.
// Pure: it counts, takes the time as a value, and neither sends nor waits.
//
// The window starts at one and opens by one with each acceptance, so a server that has just come back
// sees one request first. Any failure closes the window to one. A slow answer closes it by one: the
// network path is then full, and if more requests shared it, none would finish within its time limit.
//
// Each request in flight has its own connection, so only their timing keeps requests in order. Requests
// therefore start at even intervals. Opening a connection takes longer than a request on an open one. A
// request that needs a new connection starts at once, without waiting for a connection to become free, and
// no other request starts until it has been answered.

/** Requests are not delayed for an interval shorter than this, because timers are not finer; ms. */
const MIN_PACE_MS = 2;
/** The weight of the last answer in the smoothed answer time. */
const WEIGHT = 1 / 4;
/** When nothing was in flight for this long, the server may have closed connections. */
const IDLE_MS = 5_000;

/** Requests that have started. */
export interface InFlight {
  /** Those that are not settled. */
  readonly inFlight: number;
  /** Those without an answer; an answer frees its connection. */
  readonly unanswered: number;
}

export class SendWindow {
  readonly #max: number;
  readonly #slowMs: number;
  #limit = 1;
  /** How many connections are known to be open. */
  #connections = 0;
  #isConnecting = false;
  /** The smoothed time until an answer; 0 before the first answer. */
  #answerMs = 0;
  #begunMs = -Infinity;
  #usedMs = -Infinity;

  /**
   * @param max the most requests in flight, at least 1.
   * @param slowMs an answer that takes longer closes the window by one.
   */
  constructor(max: number, slowMs: number) {
    this.#max = max;
    this.#slowMs = slowMs;
  }

  /** How many requests may be in flight. */
  get limit(): number {
    return this.#limit;
  }

  /** How long until the next request may start, ms; null: not before one in flight is settled. */
  waitMs({ inFlight, unanswered }: InFlight, nowMs: number): number | null {
    if (inFlight === 0) return 0;
    if (inFlight >= this.#limit || this.#isConnecting) return null;
    const paceMs = this.#answerMs / this.#limit;
    if (unanswered >= this.#connections || paceMs < MIN_PACE_MS) return 0;
    return Math.max(0, this.#begunMs + paceMs - nowMs);
  }

  /** A request starts in addition to these. Returns true if it needs a new connection. */
  begun({ unanswered }: InFlight, nowMs: number): boolean {
    if (unanswered === 0 && nowMs - this.#usedMs > IDLE_MS) this.#connections = 0;
    this.#isConnecting = unanswered >= this.#connections;
    this.#connections = Math.max(this.#connections, unanswered + 1);
    this.#begunMs = this.#usedMs = nowMs;
    return this.#isConnecting;
  }

  /**
   * The oldest request in flight was accepted and is settled.
   * @param isConnecting what `begun` returned for it: its time then includes the connecting.
   */
  accepted(tookMs: number, isConnecting: boolean, nowMs: number): void {
    if (!isConnecting) {
      this.#answerMs += (tookMs - this.#answerMs) * (this.#answerMs > 0 ? WEIGHT : 1);
    }
    this.#usedMs = nowMs;
    this.#limit = tookMs > this.#slowMs
      ? Math.max(1, this.#limit - 1)
      : Math.min(this.#max, this.#limit + 1);
  }

  /** A request was not accepted: the next one is sent alone. */
  failed(): void {
    this.#limit = 1;
    this.#connections = 0;
  }
}
