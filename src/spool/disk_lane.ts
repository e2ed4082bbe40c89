// Work for the disk, one piece after the other, in order. A piece that fails (disk full, disk broken) is
// tried again until it succeeds; the pieces after it wait. Its owner knows what the work is.

import type { Clock } from "../system/clock.ts";

const TRY_AGAIN_MS = 1000;

export interface DiskLaneOptions<T> {
  /** May be called again with the same piece after it has failed. */
  readonly apply: (piece: T) => Promise<void>;
  /** Called for every piece that is done. */
  readonly onDone?: (piece: T) => void;
  /** Called with the error each time a piece fails, and with null when the lane works again. */
  readonly onTrouble: (error: unknown) => void;
  readonly clock: Clock;
}

export class DiskLane<T> {
  readonly #options: DiskLaneOptions<T>;
  readonly #queue: T[] = [];
  #working: Promise<void> = Promise.resolve();
  #isWorking = false;
  #isFailing = false;
  #giveUpMs = Infinity;

  constructor(options: DiskLaneOptions<T>) {
    this.#options = options;
  }

  /** The pieces that are not done yet. The first one is being worked on. */
  get waiting(): readonly T[] {
    return this.#queue;
  }

  get isFailing(): boolean {
    return this.#isFailing;
  }

  push(piece: T): void {
    this.#queue.push(piece);
    if (!this.#isWorking) this.#working = this.#work();
  }

  /** Resolves when no piece waits any longer, or when the current piece ends after `giveUpMs` (monotonic). */
  async finish(giveUpMs: number): Promise<void> {
    this.#giveUpMs = giveUpMs;
    await this.#working;
  }

  async #work(): Promise<void> {
    const { apply, onDone, onTrouble, clock } = this.#options;
    this.#isWorking = true;
    for (let next = this.#queue[0]; next !== undefined; next = this.#queue[0]) {
      if (clock.monotonicMs() >= this.#giveUpMs) break;
      try {
        await apply(next);
        this.#queue.shift();
        onDone?.(next);
        if (this.#isFailing) {
          this.#isFailing = false;
          onTrouble(null);
        }
      } catch (error) {
        if (clock.monotonicMs() >= this.#giveUpMs) break;
        this.#isFailing = true;
        onTrouble(error);
        await clock.sleep(TRY_AGAIN_MS);
      }
    }
    this.#isWorking = false;
  }
}
