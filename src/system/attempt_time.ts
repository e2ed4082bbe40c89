// The time limits of one attempt: it ends when it takes too long as a whole, and earlier when nothing moves.
// Waits of the program's own, for a cap of the rate, do not count. It decides nothing about retries.

import type { Clock } from "./clock.ts";
import { onAbort } from "./on_abort.ts";

/** A longer wait is rounded up to seconds: Deno keeps a list for each length of a timer (see Wakeup). */
const LONG_MS = 10_000;

export interface AttemptLimits {
  readonly clock: Clock;
  /** The whole attempt, ms. */
  readonly totalMs: number;
  /** How long nothing may move, ms, when the attempt has taken so long. */
  readonly silenceMs: (tookMs: number) => number;
  readonly signal: AbortSignal;
}

/** Aborts its signal with a TimeoutError when time is over, or as its parent does. Dispose it. */
export class AttemptTime implements Disposable {
  readonly #limits: AttemptLimits;
  readonly #over = new AbortController();
  readonly #done = new AbortController();
  readonly #parent: Disposable;
  readonly #begunMs: number;
  #movedMs: number;
  #pausedMs = 0;
  /** How many waits last at this moment, and when the first of them began. */
  #pauses = 0;
  #pauseMs: number | null = null;

  constructor(limits: AttemptLimits) {
    this.#limits = limits;
    this.#begunMs = this.#movedMs = limits.clock.monotonicMs();
    this.#parent = onAbort(limits.signal, () => this.#over.abort(limits.signal.reason));
    this.#watch();
  }

  get signal(): AbortSignal {
    return this.#over.signal;
  }

  /** Time since the attempt began, ms, without the waits. */
  get tookMs(): number {
    return this.#nowMs() - this.#begunMs;
  }

  /** A byte went or came, or a step was done. */
  moved(): void {
    this.#movedMs = this.#nowMs();
  }

  /** The wait of a cap: time stands still. Waits may overlap. */
  async paused<T>(wait: Promise<T>): Promise<T> {
    const { clock } = this.#limits;
    this.#pauses++;
    this.#pauseMs ??= clock.monotonicMs();
    try {
      return await wait;
    } finally {
      this.#pauses--;
      if (this.#pauses === 0) {
        this.#pausedMs += clock.monotonicMs() - this.#pauseMs;
        this.#pauseMs = null;
      }
    }
  }

  [Symbol.dispose](): void {
    this.#done.abort();
    this.#parent[Symbol.dispose]();
  }

  #nowMs(): number {
    return (this.#pauseMs ?? this.#limits.clock.monotonicMs()) - this.#pausedMs;
  }

  async #watch(): Promise<void> {
    const { clock, totalMs, silenceMs } = this.#limits;
    while (!this.#done.signal.aborted && !this.#over.signal.aborted) {
      const nowMs = this.#nowMs();
      const silentMs = silenceMs(nowMs - this.#begunMs);
      const leftMs = this.#begunMs + totalMs - nowMs;
      const quietLeftMs = this.#movedMs + silentMs - nowMs;
      if (leftMs <= 0) return this.#end(`timed out after ${seconds(totalMs)} s`);
      if (quietLeftMs <= 0) return this.#end(`nothing moved for ${seconds(silentMs)} s`);
      const waitMs = Math.ceil(Math.min(leftMs, quietLeftMs));
      const rounded = waitMs > LONG_MS ? Math.ceil(waitMs / 1000) * 1000 : waitMs;
      await clock.sleep(rounded, this.#done.signal);
    }
  }

  #end(message: string): void {
    this.#over.abort(new DOMException(message, "TimeoutError"));
  }
}

/** In one decimal at most. */
function seconds(ms: number): number {
  return Math.round(ms / 100) / 10;
}
