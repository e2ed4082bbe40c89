// How many pieces of work an object store gets at the same time: it grows while the store keeps up with all of
// them, and shrinks when the store refuses, is silent or is slow. Pure: it counts, takes the time as a value,
// and neither sends nor waits.
//
//   opening (each success: one more) ──failure: half; slow: three quarters──► level (a round of successes: one more)
//                                                                             └─── the same ───┘
//
// A round is the time that all requests in flight take. What ends in the round in which the window shrank began
// before that, and says nothing about the smaller window: it changes nothing.

import { transferMs } from "./store.ts";

/** At the start: a few tills come at once. */
const FIRST = 8;
/** More than this helps no store that is near. */
export const MOST = 64;
/**
 * A chunk takes three requests: with the wait for a turn, its sender must have an answer within 30 s. What the line
 * takes of a large chunk is not slow.
 */
const SLOW_MS = 3000;

/** What became of a request. */
export interface Outcome {
  /** `failed`: it was refused for the moment, or not answered; `other`: says nothing about the load. */
  readonly kind: "done" | "failed" | "other";
  /** Monotonic, ms. */
  readonly begunMs: number;
  readonly endedMs: number;
  /** What was sent; default 0. */
  readonly sizeBytes?: number;
}

export class StoreWindow {
  #limit = FIRST;
  #state: "opening" | "level" = "opening";
  #shrunkMs = -Infinity;

  /** How much may be in flight, 1 to 64. */
  get limit(): number {
    return Math.floor(this.#limit);
  }

  /** @param inFlight with this request: a window that is not used up does not grow. */
  ended({ kind, begunMs, endedMs, sizeBytes = 0 }: Outcome, inFlight: number): void {
    if (kind === "other" || begunMs < this.#shrunkMs) return;
    if (kind === "failed") this.#shrink(1 / 2, endedMs);
    else if (endedMs - begunMs > SLOW_MS + transferMs(sizeBytes)) this.#shrink(3 / 4, endedMs);
    else if (inFlight >= this.limit) {
      const step = this.#state === "opening" ? 1 : 1 / this.#limit;
      this.#limit = Math.min(MOST, this.#limit + step);
    }
  }

  #shrink(factor: number, nowMs: number): void {
    this.#limit = Math.max(1, this.#limit * factor);
    this.#state = "level";
    this.#shrunkMs = nowMs;
  }
}
