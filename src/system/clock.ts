// The seam to time. Everything that asks what time it is, or waits, does it through a Clock, so that
// a test can run a day in milliseconds. It never decides anything.

import { delay } from "@std/async/delay";

export interface Clock {
  /** UTC by the system clock, Unix milliseconds; may jump in either direction. */
  unixMs(): number;
  /** Milliseconds on a clock that never jumps; its zero means nothing. */
  monotonicMs(): number;
  /** Resolves after `ms`, or at once when the signal aborts: then look at `signal.aborted`. */
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
 * Aborts when `parent` does, or after `ms` with a TimeoutError. Dispose it when the work is done:
 * no timer and no listener on a long-lived parent is left behind.
 */
export function deadline(ms: number, parent?: AbortSignal): { signal: AbortSignal } & Disposable {
  const controller = new AbortController();
  const onAbort = () => controller.abort(parent?.reason);
  const timer = setTimeout(() => {
    controller.abort(new DOMException(`timed out after ${ms / 1000} s`, "TimeoutError"));
  }, ms);
  if (parent?.aborted) onAbort();
  else parent?.addEventListener("abort", onAbort);
  return {
    signal: controller.signal,
    [Symbol.dispose]() {
      clearTimeout(timer);
      parent?.removeEventListener("abort", onAbort);
    },
  };
}
