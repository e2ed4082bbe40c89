// Who may use the object store next, when more want to than its window permits (store_window.ts): the client that
// was served least recently, so that a till with many chunks waits for one with a single chunk. Who would wait for
// too long is refused, and told when to come again; it is then before those that were served meanwhile. It does
// not know what is done in a turn.

import { type Clock } from "../system/clock.ts";
import { within } from "../system/within.ts";
import { StoreFailure } from "./store.ts";
import { type Outcome, StoreWindow } from "./store_window.ts";

/** How long somebody waits for a turn, ms. */
const WAIT_MS = 10_000;
/** When those who are refused may come again, s. */
const [SOONEST_S, LATEST_S] = [5, 60];
/** Clients whose last turn is known; one that is not known has had none. */
const MAX_KNOWN = 10_000;
/** The weight of the last turn in the smoothed time of a turn. */
const WEIGHT = 1 / 8;

interface Waiting {
  readonly client: string;
  readonly begin: () => void;
}

export class StoreTurns {
  readonly #clock: Clock;
  readonly #window = new StoreWindow();
  /** In the order in which they came. */
  readonly #waiting = new Set<Waiting>();
  /** Clients in the order of their last turns, each with the number of that turn. */
  readonly #served = new Map<string, number>();
  #turns = 0;
  #running = 0;
  /** The smoothed time of a turn; 0 before the first one has ended. */
  #turnMs = 0;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** How much is in flight, how much may be, and how much waits. */
  get state(): { readonly running: number; readonly limit: number; readonly waiting: number } {
    return { running: this.#running, limit: this.#window.limit, waiting: this.#waiting.size };
  }

  /** A request of a turn has ended. */
  ended(outcome: Outcome): void {
    this.#window.ended(outcome, this.#running);
    this.#next();
  }

  /** Refuses a client whose turn would not come in time. @throws {StoreFailure} */
  admit(client: string): void {
    if (this.#expectedMs(client) > WAIT_MS) throw this.#busy(client);
  }

  /** Does the work in a turn of this client. @throws {StoreFailure} if none comes in time; what the work throws. */
  async take<T>(client: string, work: () => Promise<T>): Promise<T> {
    const before = this.#lastOf(client);
    await this.#turn(client);
    const mine = this.#lastOf(client);
    const begunMs = this.#clock.monotonicMs();
    try {
      return await work();
    } catch (error) {
      if (this.#lastOf(client) === mine) this.#served.set(client, before); // it has got nothing
      throw error;
    } finally {
      const tookMs = this.#clock.monotonicMs() - begunMs;
      this.#turnMs += (tookMs - this.#turnMs) * (this.#turnMs > 0 ? WEIGHT : 1);
      this.#running--;
      this.#next();
    }
  }

  async #turn(client: string): Promise<void> {
    const begun = Promise.withResolvers<true>();
    const waiting = { client, begin: () => begun.resolve(true) };
    this.#waiting.add(waiting);
    this.#next();
    if (!this.#waiting.has(waiting)) return;
    const isMine = await within(WAIT_MS, begun.promise, this.#clock);
    if (isMine !== null || !this.#waiting.delete(waiting)) return;
    throw this.#busy(client);
  }

  /** Begins turns while there may be more. */
  #next(): void {
    while (this.#running < this.#window.limit) {
      let found: Waiting | null = null;
      for (const one of this.#waiting) {
        if (found === null || this.#lastOf(one.client) < this.#lastOf(found.client)) found = one;
      }
      if (found === null) return;
      this.#waiting.delete(found);
      this.#running++;
      this.#served.delete(found.client);
      this.#served.set(found.client, ++this.#turns);
      for (const oldest of this.#served.keys()) {
        if (this.#served.size <= MAX_KNOWN) break;
        this.#served.delete(oldest);
      }
      found.begin();
    }
  }

  /** How long the client would wait for a turn, ms, as far as one can know. */
  #expectedMs(client: string): number {
    const own = this.#lastOf(client);
    const before = new Set<string>();
    let ownWaiting = 0;
    for (const one of this.#waiting) {
      if (one.client === client) ownWaiting++;
      else if (this.#lastOf(one.client) <= own) before.add(one.client);
    }
    // With n of its own before it, every other client that waits has as many turns first.
    const ahead = ownWaiting === 0 ? before.size : this.#waiting.size;
    return ahead * this.#turnMs / this.#window.limit;
  }

  #lastOf(client: string): number {
    return this.#served.get(client) ?? 0;
  }

  #busy(client: string): StoreFailure {
    const afterS = Math.ceil(this.#expectedMs(client) / 1000);
    const retryS = Math.min(LATEST_S, Math.max(SOONEST_S, afterS));
    return new StoreFailure("it is too slow: other uploads wait for it", false, retryS);
  }
}
