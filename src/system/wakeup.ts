// A bell between parts that do not know each other: one part rings, and another stops waiting. It carries
// no data; the part that wakes up checks the state itself.

import type { Clock } from "./clock.ts";
import { onAbort } from "./on_abort.ts";

/** A wait longer than this is a fallback, for which a precision of one second is enough. */
const LONG_MS = 10_000;

export class Wakeup {
  #waiting = new Set<() => void>();
  #rung = false;

  /** Ends all waits; if there is none, the next one ends at once. */
  ring(): void {
    if (this.#waiting.size === 0) this.#rung = true;
    for (const wake of this.#waiting) wake();
  }

  /** Resolves at the next ring, or when the signal aborts. */
  async rung(signal: AbortSignal): Promise<void> {
    if (this.#rung || signal.aborted) {
      this.#rung = false;
      return;
    }
    const { promise, resolve } = Promise.withResolvers<void>();
    const wake = () => resolve();
    this.#waiting.add(wake);
    using _ = onAbort(signal, wake);
    await promise;
    this.#waiting.delete(wake);
  }

  /**
   * Resolves at the next ring, when the signal aborts, or after `ms`; long waits are rounded up to a
   * second. Deno (2.7, 2.9) keeps a list for each timer length in ms until that time has passed, even if
   * the timer was cleared: waiting for the rest of some minutes, once per chunk, leaked 400 bytes each.
   */
  async wait(clock: Clock, ms: number, signal: AbortSignal): Promise<void> {
    if (this.#rung || signal.aborted) {
      this.#rung = false;
      return;
    }
    const awake = new AbortController();
    const wake = () => awake.abort();
    this.#waiting.add(wake);
    using _ = onAbort(signal, wake);
    try {
      await clock.sleep(ms > LONG_MS ? Math.ceil(ms / 1000) * 1000 : ms, awake.signal);
    } finally {
      this.#waiting.delete(wake);
    }
  }
}
