// A bell between parts that do not know each other: one rings, another stops waiting. No data
// passes; whoever wakes looks for itself.

import type { Clock } from "./clock.ts";

export class Wakeup {
  #waiting = new Set<() => void>();
  #rung = false;

  /** Wakes everyone who waits, or the next one who would. */
  ring(): void {
    if (this.#waiting.size === 0) this.#rung = true;
    for (const wake of this.#waiting) wake();
  }

  /** Resolves at the next ring, after `ms`, or when the signal aborts. */
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
      await clock.sleep(ms, awake.signal);
    } finally {
      this.#waiting.delete(wake);
      signal.removeEventListener("abort", wake);
    }
  }
}
