// Work for the disk, one piece after the other. A piece that fails (disk full, disk broken) is tried again
// until it succeeds. In a strict lane the pieces after it wait. In another lane they pass it, because it may be
// the only one that fails: a damaged directory entry must not stop everything else. Its owner knows what the
// work is.

import type { Clock } from "../system/clock.ts";
import { Wakeup } from "../system/wakeup.ts";

const TRY_AGAIN_MS = 1000;

export interface DiskLaneOptions<T> {
  /** May be called again with the same piece after it has failed. */
  readonly apply: (piece: T) => Promise<void>;
  /** Whether no piece may be done before one that was pushed earlier. */
  readonly isStrict: boolean;
  /** Called for every piece that is done. */
  readonly onDone?: (piece: T) => void;
  /** Called with the error each time a piece fails, and with null when no piece fails any longer. */
  readonly onTrouble: (error: unknown) => void;
  readonly clock: Clock;
}

export class DiskLane<T> {
  readonly #options: DiskLaneOptions<T>;
  /** Pieces that were not tried yet, or are being worked on; in a strict lane all. */
  readonly #queue: T[] = [];
  /** Pieces that have failed and were passed, the one that is tried next first. */
  readonly #failed: T[] = [];
  readonly #pushed = new Wakeup();
  readonly #never = new AbortController().signal;
  #working: Promise<void> = Promise.resolve();
  #isWorking = false;
  #isFailing = false;
  /** When a piece that has failed may be tried again. */
  #againMs = -Infinity;
  #giveUpMs = Infinity;

  constructor(options: DiskLaneOptions<T>) {
    this.#options = options;
  }

  /** The pieces that are not done yet. */
  get waiting(): readonly T[] {
    return [...this.#queue, ...this.#failed];
  }

  /** Whether pieces wait that have not failed and been passed. */
  get isBusy(): boolean {
    return this.#queue.length > 0;
  }

  get isFailing(): boolean {
    return this.#isFailing;
  }

  push(piece: T): void {
    this.#queue.push(piece);
    if (this.#isWorking) this.#pushed.ring();
    else this.#working = this.#work();
  }

  /** Resolves when no piece waits any longer, or when the current piece ends after `giveUpMs` (monotonic). */
  async finish(giveUpMs: number): Promise<void> {
    this.#giveUpMs = giveUpMs;
    await this.#working;
  }

  async #work(): Promise<void> {
    const { clock } = this.#options;
    this.#isWorking = true;
    while (clock.monotonicMs() < this.#giveUpMs) {
      const isNew = this.#queue.length > 0 && (!this.#options.isStrict || !this.#isFailing);
      const pieces = this.#queue.length > 0 ? this.#queue : this.#failed;
      const waitMs = isNew ? 0 : this.#againMs - clock.monotonicMs();
      if (pieces.length === 0) break;
      if (waitMs > 0) await this.#pushed.wait(clock, waitMs, this.#never);
      else if (!await this.#apply(pieces)) break;
    }
    this.#isWorking = false;
  }

  /** Works on the first of these pieces. False: it failed, and there is no time for it any more. */
  async #apply(pieces: T[]): Promise<boolean> {
    const { apply, isStrict, onDone, onTrouble, clock } = this.#options;
    const [piece] = pieces as [T];
    try {
      await apply(piece);
    } catch (error) {
      const nowMs = clock.monotonicMs();
      if (nowMs >= this.#giveUpMs) return false;
      this.#isFailing = true;
      this.#againMs = nowMs + TRY_AGAIN_MS;
      if (!isStrict) this.#failed.push(...pieces.splice(0, 1));
      onTrouble(error);
      return true;
    }
    pieces.shift();
    onDone?.(piece);
    if (this.#isFailing && this.#failed.length === 0) {
      this.#isFailing = false;
      onTrouble(null);
    }
    return true;
  }
}
