// The life of a connection to an HTTP/1.1 server: its states, how long each may last, and which connection
// leaves when another one needs its place. It reads and writes nothing. Pure: times are arguments, monotonic.
//
//   reading ──head──► working ──answer──► writing ──keep-alive──► idle ──first byte──► reading
//      │                 │                   ├──close──► ending ──end of input──► closed
//      └──refused────────┘                   └──stream─► streaming ◄──piece──► sending
//
// A body costs its sender time: while the server waits for it, it must move, and at a least rate.

export type ConnectionState =
  | "reading"
  | "idle"
  | "working"
  | "writing"
  | "streaming"
  | "sending"
  | "ending";

/** How patient a server is, ms. */
export interface Patience {
  /** From the connection, or the first byte of a further request, to the end of the head; with TLS, too. */
  readonly headMs: number;
  /** Between two requests. */
  readonly idleMs: number;
}

/** Until the system has taken an answer, or a piece of a stream. */
export const WRITE_MS = 10_000;
/** What a client still sends after its last answer is discarded, so that it can read the answer. */
const ENDING_MS = 5_000;
/** A body must move within this, and after this at the least rate. */
export const BODY_IDLE_MS = 60_000;
/** The slowest bitrate that an agent records at is 6 kbit/s: 750 bytes a second. */
export const MIN_BYTES_PER_S = 500;

export class ConnectionLife {
  /** How many requests were answered. */
  answers = 0;
  #state: ConnectionState = "reading";
  #sinceMs: number;

  constructor(nowMs: number) {
    this.#sinceMs = nowMs;
  }

  get state(): ConnectionState {
    return this.#state;
  }

  get sinceMs(): number {
    return this.#sinceMs;
  }

  /** Whether it is a stream, which needs no place: the owner bounds these. */
  get isStream(): boolean {
    return this.#state === "streaming" || this.#state === "sending";
  }

  enter(state: ConnectionState, nowMs: number): void {
    this.#state = state;
    this.#sinceMs = nowMs;
  }

  /** Whether its state lasts longer than it may. */
  isOver(nowMs: number, { headMs, idleMs }: Patience): boolean {
    const limitMs = {
      reading: headMs,
      idle: idleMs,
      working: Infinity,
      writing: WRITE_MS,
      streaming: Infinity,
      sending: WRITE_MS,
      ending: ENDING_MS,
    }[this.#state];
    return nowMs - this.#sinceMs >= limitMs;
  }

  /**
   * The lower, the sooner its place goes to another connection; null: it keeps its place. What ends, and who
   * has had an answer, leaves before those who wait for their first one.
   * @param keepsWork whether it keeps its place until its answer is made.
   */
  rank(keepsWork: boolean): number | null {
    if (this.isStream || (this.#state === "working" && keepsWork)) return null;
    if (this.#state === "ending") return 0;
    return this.answers > 0 ? 1 : ["reading", "writing", "working"].indexOf(this.#state) + 2;
  }
}

/** The connection whose place goes to another one: among equals, the one that has waited longest. */
export function firstToLeave<T extends { readonly life: ConnectionLife }>(
  connections: Iterable<T>,
  keepsWork: boolean,
): T | null {
  let [first, least]: [T | null, number] = [null, Infinity];
  for (const one of connections) {
    const rank = one.life.rank(keepsWork);
    if (rank === null || rank > least) continue;
    if (first === null || rank < least || one.life.sinceMs < first.life.sinceMs) {
      [first, least] = [one, rank];
    }
  }
  return first;
}

/** How fast a body comes. Only the time that its client is waited for counts. */
export class BodyPace {
  #waitedMs = 0;
  #bytes = 0;
  #waitingSinceMs: number | null = null;

  /** The server waits for a piece. */
  wait(nowMs: number): void {
    this.#waitingSinceMs = nowMs;
  }

  /** A piece has come. */
  arrived(bytes: number, nowMs: number): void {
    this.#waitedMs += nowMs - (this.#waitingSinceMs ?? nowMs);
    this.#waitingSinceMs = null;
    this.#bytes += bytes;
  }

  /** Whether the body has not moved, or too slowly. */
  isTooSlow(nowMs: number): boolean {
    if (this.#waitingSinceMs === null) return false;
    const nowWaitedMs = nowMs - this.#waitingSinceMs;
    const allMs = this.#waitedMs + nowWaitedMs;
    return nowWaitedMs >= BODY_IDLE_MS ||
      (allMs >= BODY_IDLE_MS && this.#bytes < (allMs - BODY_IDLE_MS / 2) / 1000 * MIN_BYTES_PER_S);
  }
}
