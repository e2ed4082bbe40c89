// Work for the disk, one piece after the other. A piece that fails (disk full, disk broken) is tried again
// until it succeeds. In a strict lane the pieces after it wait. In another lane they pass it, because it may be
// the only one that fails: a damaged directory entry must not stop everything else. A piece that was passed is
// tried less and less often, because a try may write much. When a new piece has failed and another one then
// succeeds, the disk works again, and all that were passed are tried at once, in their order and before the new
// ones. Its owner knows what the work is.

import type { Clock } from "../system/clock.ts";
import { Wakeup } from "../system/wakeup.ts";

const TRY_AGAIN_MS = 1000;
/** Pieces that were passed are tried again at least this often, one of them each time. */
const TRY_PASSED_MS = 60_000;
/** An urgent one that is alone: perhaps the whole disk failed, and nothing else would show that it works again. */
const TRY_URGENT_MS = 8_000;
/** Pieces that were passed are stuck when they have failed for this long. */
const STUCK_MS = 15_000;

export interface DiskLaneOptions<T> {
  /** May be called again with the same piece after it has failed. */
  readonly apply: (piece: T) => Promise<void>;
  /** Whether no piece may be done before one that was pushed earlier. */
  readonly isStrict: boolean;
  /** Whether a piece that was passed, and is the only one, is tried every few seconds. */
  readonly isUrgent?: (piece: T) => boolean;
  /** Called for every piece that is done. */
  readonly onDone?: (piece: T) => void;
  /** Called with the error each time a piece fails, and with null when no piece fails any longer. */
  readonly onTrouble: (error: unknown) => void;
  readonly clock: Clock;
}

interface Piece<T> {
  readonly work: T;
  /** In the order in which they were pushed. */
  readonly number: number;
  /** Since when it has failed, monotonic; null: it has not. */
  failedMs: number | null;
}

export class DiskLane<T> {
  readonly #options: DiskLaneOptions<T>;
  /** Pieces that were not tried yet, or are being worked on; in a strict lane all. */
  readonly #queue: Piece<T>[] = [];
  /** Pieces that have failed and were passed, the one that is tried next first. */
  readonly #failed: Piece<T>[] = [];
  #pushes = 0;
  readonly #pushed = new Wakeup();
  readonly #never = new AbortController().signal;
  #working: Promise<void> = Promise.resolve();
  #isWorking = false;
  #isFailing = false;
  /** When a piece that has failed may be tried again. */
  #againMs = -Infinity;
  #delayMs = TRY_AGAIN_MS;
  /** Whether a new piece has failed, and no piece has succeeded since then. */
  #hasNewFailed = false;
  #giveUpMs = Infinity;

  constructor(options: DiskLaneOptions<T>) {
    this.#options = options;
  }

  /** The pieces that are not done yet. */
  get waiting(): readonly T[] {
    return [...this.#queue, ...this.#failed].map(({ work }) => work);
  }

  /** Whether pieces wait that have not failed and been passed. */
  get isBusy(): boolean {
    return this.#queue.length > 0;
  }

  /** Whether nothing waits but pieces that were tried for a while and failed. */
  get isStuck(): boolean {
    const sinceMs = this.#options.clock.monotonicMs() - STUCK_MS;
    return !this.isBusy && this.#failed.length > 0 &&
      this.#failed.every(({ failedMs }) => failedMs !== null && failedMs <= sinceMs);
  }

  get isFailing(): boolean {
    return this.#isFailing;
  }

  push(work: T): void {
    this.#queue.push({ work, number: this.#pushes++, failedMs: null });
    if (this.#isWorking) this.#pushed.ring();
    else this.#working = this.#work();
  }

  /** Resolves when no piece waits any longer, or when the current piece ends after `giveUpMs` (monotonic). */
  async finish(giveUpMs: number): Promise<void> {
    this.#giveUpMs = giveUpMs;
    this.#delayMs = TRY_AGAIN_MS;
    this.#againMs = -Infinity;
    this.#pushed.ring();
    await this.#working;
  }

  async #work(): Promise<void> {
    const { clock } = this.#options;
    this.#isWorking = true;
    while (clock.monotonicMs() < this.#giveUpMs) {
      const isNew = this.#queue.length > 0 && (!this.#options.isStrict || !this.#isFailing);
      const pieces = this.#queue.length > 0 ? this.#queue : this.#failed;
      const untilMs = Math.min(this.#againMs, this.#giveUpMs);
      const waitMs = isNew ? 0 : untilMs - clock.monotonicMs();
      if (pieces.length === 0) break;
      if (waitMs > 0) await this.#pushed.wait(clock, waitMs, this.#never);
      else if (!await this.#apply(pieces)) break;
    }
    this.#isWorking = false;
  }

  /** Works on the first of these pieces. False: it failed, and there is no time for it any more. */
  async #apply(pieces: Piece<T>[]): Promise<boolean> {
    const { apply, isStrict, onDone, onTrouble, clock } = this.#options;
    const [piece] = pieces as [Piece<T>];
    try {
      await apply(piece.work);
    } catch (error) {
      const nowMs = clock.monotonicMs();
      if (nowMs >= this.#giveUpMs) return false;
      this.#isFailing = true;
      if (isStrict) this.#againMs = nowMs + TRY_AGAIN_MS;
      else this.#pass(pieces, nowMs);
      onTrouble(error);
      return true;
    }
    pieces.shift();
    onDone?.(piece.work);
    if (this.#hasNewFailed) this.#tryPassed();
    if (
      this.#isFailing && this.#failed.length === 0 &&
      this.#queue.every((one) => one.failedMs === null)
    ) {
      this.#isFailing = false;
      this.#delayMs = TRY_AGAIN_MS;
      onTrouble(null);
    }
    return true;
  }

  /** The first of these pieces has failed: the others pass it. */
  #pass(pieces: Piece<T>[], nowMs: number): void {
    for (const piece of pieces.splice(0, 1)) {
      if (piece.failedMs !== null) {
        const isUrgent = this.#failed.length === 0 && this.#options.isUrgent?.(piece.work) === true;
        const mostMs = isUrgent ? TRY_URGENT_MS : TRY_PASSED_MS;
        this.#delayMs = Math.min(mostMs, this.#delayMs * 2);
        this.#againMs = nowMs + this.#delayMs;
      } else { // Those that were passed before it wait no longer for it.
        this.#againMs = Math.max(this.#againMs, nowMs + TRY_AGAIN_MS);
        this.#hasNewFailed = true;
      }
      piece.failedMs ??= nowMs;
      this.#failed.push(piece);
    }
  }

  /** Pieces that were passed are tried again before the others. */
  #tryPassed(): void {
    this.#hasNewFailed = false;
    this.#delayMs = TRY_AGAIN_MS;
    this.#againMs = -Infinity;
    this.#queue.unshift(...this.#failed.splice(0).sort((a, b) => a.number - b.number));
  }
}
