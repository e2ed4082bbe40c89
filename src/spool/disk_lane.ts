// Work for the disk, one piece after the other, in order. One that fails (disk full, disk broken) is
// tried again until it succeeds, while what follows waits. What the work is, its owner knows.

import type { Clock } from "../system/clock.ts";

const TRY_AGAIN_MS = 1000;

export interface DiskLaneOptions<T> {
  /** May be called again with the same piece after it has failed. */
  readonly apply: (piece: T) => Promise<void>;
  /** Told of every piece that is done. */
  readonly onDone?: (piece: T) => void;
  /** Told whenever the lane begins to fail, with the error, fails again, or works again (null). */
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

  /** What is not done yet; the first piece is being worked on. */
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

  /** Resolves when nothing waits any more, or the piece under way ended after that time (monotonic). */
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
