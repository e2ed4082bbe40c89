// Lets one piece of work after the other begin, as the budget permits. It does not know what the work is.

import type { Clock } from "./clock.ts";
import type { WorkBudget } from "./work_budget.ts";

interface Turn {
  readonly isUrgent: boolean;
  /** Does the work. */
  readonly take: () => void;
}

/** A queue for work that takes a moment of this thread. */
export class Turns {
  readonly #clock: Clock;
  readonly #budget: WorkBudget | null;
  readonly #closing: AbortSignal;
  readonly #waiting: Turn[] = [];
  #isRunning = false;

  /**
   * @param budget null: nothing waits.
   * @param closing when it aborts, what waits is done at once.
   */
  constructor(clock: Clock, budget: WorkBudget | null, closing: AbortSignal) {
    this.#clock = clock;
    this.#budget = budget;
    this.#closing = closing;
  }

  /**
   * Does the work when it is its turn: what is urgent before the rest, in the order of the calls. Resolves
   * with null if nobody wants it any more by then. @throws the error of the work.
   */
  do<T>(
    work: () => T | PromiseLike<T>,
    { isUrgent, isWanted = () => true }: { isUrgent: boolean; isWanted?: () => boolean },
  ): Promise<T | null> {
    const { promise, resolve, reject } = Promise.withResolvers<T | null>();
    const take = () => {
      if (!isWanted()) return resolve(null);
      const startedMs = this.#clock.monotonicMs();
      try {
        resolve(work());
      } catch (error) {
        reject(error);
      }
      const endedMs = this.#clock.monotonicMs();
      this.#budget?.spend(endedMs - startedMs, endedMs);
    };
    this.#waiting.push({ isUrgent, take });
    if (!this.#isRunning) this.#run();
    return promise;
  }

  /** Never rejects. */
  async #run(): Promise<void> {
    this.#isRunning = true;
    while (this.#waiting.length > 0) {
      const waitMs = this.#budget?.waitMs(this.#clock.monotonicMs()) ?? 0;
      if (waitMs > 0 && !this.#closing.aborted) await this.#clock.sleep(waitMs, this.#closing);
      else {
        const at = Math.max(0, this.#waiting.findIndex(({ isUrgent }) => isUrgent));
        this.#waiting.splice(at, 1)[0]?.take();
      }
    }
    this.#isRunning = false;
  }
}
