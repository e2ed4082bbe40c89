// A bell between parts that do not know each other: one rings, another stops waiting. No data
// passes; whoever wakes looks for itself.

import type { Clock } from "./clock.ts";

/** A wait longer than this is for what comes by itself: to the second is soon enough. */
const LONG_MS = 10_000;

export class Wakeup {
  #waiting = new Set<() => void>();
  #rung = false;

  /** Wakes everyone who waits, or the next one who would. */
  ring(): void {
    if (this.#waiting.size === 0) this.#rung = true;
    for (const wake of this.#waiting) wake();
  }

  /**
   * Resolves at the next ring, when the signal aborts, or after `ms`, a long one rounded up to a second.
   * Deno (2.7, 2.9) keeps a list for each length of timer, in ms, until that time has passed, also when
   * the timer was cleared: a wait for what is left of minutes, for each chunk anew, left 400 bytes.
   */
  async wait(clock: Clock, ms: number, signal: AbortSignal): Promise<void> {
    if (this.#rung || signal.aborted) {
      this.#rung = false;
      return;
    }
    const awake = new AbortController();
    const wake = () => awake.abort();
    this.#waiting.add(wake);
    signal.addEventListener("abort", wake);
    try {
      await clock.sleep(ms > LONG_MS ? Math.ceil(ms / 1000) * 1000 : ms, awake.signal);
    } finally {
      this.#waiting.delete(wake);
      signal.removeEventListener("abort", wake);
    }
  }
}
