// How many requests may be in flight, and when the next may be begun: a window as TCP has one. Pure: it
// counts and is told the time, and neither sends nor waits.
//
// It opens by one with each acceptance, from one: a server that has just come back sees one request
// first. Anything else closes it to one. So does, step by step, an answer that takes long: the way there
// is full, and more requests would share it until none comes through in its time.
//
// Requests in flight have a connection each, so that the order of their arrival is kept by nothing but
// time. They are begun evenly. One that needs a new connection, which takes longer to be made than a
// request on one that stands, is begun at once, before another is freed, and has nothing begun behind it
// until it has been answered.

/** Below this apart, requests need not be held back, ms: a timer is no finer. */
const MIN_PACE_MS = 2;
/** How much the last answer counts in the time that answers take. */
const WEIGHT = 1 / 4;
/** When nothing was in flight for so long, the server may have closed connections. */
const IDLE_MS = 5_000;

/** Requests that were begun. */
export interface InFlight {
  /** And are not settled. */
  readonly inFlight: number;
  /** And have no answer: an answer frees its connection. */
  readonly unanswered: number;
}

export class SendWindow {
  readonly #max: number;
  readonly #slowMs: number;
  #limit = 1;
  /** So many connections are known to stand. */
  #connections = 0;
  #isConnecting = false;
  /** Of the last ones, smoothed; 0: none yet. */
  #answerMs = 0;
  #begunMs = -Infinity;
  #usedMs = -Infinity;

  /**
   * @param max requests in flight, at least 1.
   * @param slowMs an answer that takes longer closes the window by one.
   */
  constructor(max: number, slowMs: number) {
    this.#max = max;
    this.#slowMs = slowMs;
  }

  /** So many requests may be in flight. */
  get limit(): number {
    return this.#limit;
  }

  /** How long until one more may be begun, ms; null: not before one of those in flight is settled. */
  waitMs({ inFlight, unanswered }: InFlight, nowMs: number): number | null {
    if (inFlight === 0) return 0;
    if (inFlight >= this.#limit || this.#isConnecting) return null;
    const paceMs = this.#answerMs / this.#limit;
    if (unanswered >= this.#connections || paceMs < MIN_PACE_MS) return 0;
    return Math.max(0, this.#begunMs + paceMs - nowMs);
  }

  /** One more request is begun, beside these. True: it needs a new connection. */
  begun({ unanswered }: InFlight, nowMs: number): boolean {
    if (unanswered === 0 && nowMs - this.#usedMs > IDLE_MS) this.#connections = 0;
    this.#isConnecting = unanswered >= this.#connections;
    this.#connections = Math.max(this.#connections, unanswered + 1);
    this.#begunMs = this.#usedMs = nowMs;
    return this.#isConnecting;
  }

  /**
   * The oldest in flight was accepted, and is settled.
   * @param isConnecting what `begun` said of it: then its time is not that of an answer alone.
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

  /** A request brought anything else: the next goes alone. */
  failed(): void {
    this.#limit = 1;
    this.#connections = 0;
  }
}
