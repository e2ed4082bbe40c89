// The seam to time. Code that reads the time or waits does so through a Clock, so that a test can run a
// day in milliseconds. The module never decides anything.

import { delay } from "@std/async/delay";
import { onAbort } from "./on_abort.ts";

export interface Clock {
  /** UTC by the system clock, Unix milliseconds. It may jump in either direction. */
  unixMs(): number;
  /** Milliseconds on a clock that never jumps. Its zero has no meaning. */
  monotonicMs(): number;
  /** Resolves after `ms`, or when the signal aborts; the caller checks `signal.aborted`. */
  sleep(ms: number, signal?: AbortSignal): Promise<void>;
}

export const systemClock: Clock = {
  unixMs: () => Date.now(),
  monotonicMs: () => performance.now(),
  async sleep(ms, signal) {
    if (signal?.aborted) return;
    try {
      await delay(ms, signal ? { signal } : {});
    } catch (error) {
      if (!signal?.aborted) throw error;
    }
  },
};

/**
 * A signal that aborts when `parent` aborts, or after `ms` with a TimeoutError. Dispose it when the work
 * is done: this removes the timer, and the listener on a parent that may live long.
 */
export function deadline(ms: number, parent?: AbortSignal): { signal: AbortSignal } & Disposable {
  const controller = new AbortController();
  const timer = setTimeout(() => {
    controller.abort(new DOMException(`timed out after ${ms / 1000} s`, "TimeoutError"));
  }, ms);
  const listening = parent && onAbort(parent, () => controller.abort(parent.reason));
  return {
    signal: controller.signal,
    [Symbol.dispose]() {
      clearTimeout(timer);
      listening?.[Symbol.dispose]();
    },
  };
}
