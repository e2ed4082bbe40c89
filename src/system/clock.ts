// The seam to time. Code that reads the time or waits does so through a Clock, so that a test can run a
// day in milliseconds. The module never decides anything.

import { delay } from "@std/async/delay";
import { onAbort } from "./on_abort.ts";

export interface Clock {
  /** UTC by the system clock, Unix milliseconds. It may jump in either direction. */
  unixMs(): number;
  /**
   * Milliseconds on a clock that nobody sets. Its zero has no meaning. It includes the time in which the machine
   * slept: that shows as one jump ahead.
   */
  monotonicMs(): number;
  /** Resolves after `ms`, or when the signal aborts; the caller checks `signal.aborted`. */
  sleep(ms: number, signal?: AbortSignal): Promise<void>;
}

/** The clocks of the system as they are. */
export interface RawClocks {
  unixMs(): number;
  /** CLOCK_MONOTONIC, which stands still while the machine sleeps; ms. */
  awakeMs(): number;
  /** Whole seconds since boot, sleep included; 0 if it is not known. */
  uptimeS(): number;
}

/** The uptime has whole seconds: less than this is not sleep. */
const LEAST_SLEEP_MS = 2_000;
/** The system clock shows a sleep at once. Until it does, the uptime is read only this often: that is a system call. */
const UPTIME_EVERY_MS = 1_000;

/** Returns a function that reads a monotonic clock that continues while the machine sleeps, ms. */
export function clockThroughSleep({ unixMs, awakeMs, uptimeS }: RawClocks): () => number {
  // In this order here and in the other one below: a process that is stopped in between has not slept.
  const beganMs = awakeMs();
  const zeroMs = uptimeS() * 1000 - beganMs;
  let sleptMs = 0;
  let readMs = -Infinity;
  let steppedMs = -Infinity;
  let offsetMs = unixMs() - awakeMs();
  return () => {
    const quickMs = awakeMs();
    const isInStep = Math.abs(unixMs() - quickMs - offsetMs) < LEAST_SLEEP_MS / 2;
    // The uptime shows all of a sleep a second later at most, as it has whole seconds.
    const isSettled = isInStep && quickMs >= steppedMs + 1_000;
    if (isSettled && quickMs < readMs + UPTIME_EVERY_MS) return quickMs + sleptMs;
    const upMs = uptimeS() * 1000;
    const nowMs = readMs = awakeMs();
    if (!isInStep) steppedMs = nowMs;
    const aheadMs = upMs - nowMs - zeroMs - sleptMs;
    const stepMs = unixMs() - nowMs - offsetMs;
    offsetMs += stepMs;
    if (aheadMs >= LEAST_SLEEP_MS) {
      // The system clock has slept through the same time, and knows it exactly, unless it was set as well.
      sleptMs += Math.abs(stepMs - aheadMs) <= 1000 ? stepMs : aheadMs;
    }
    return nowMs + sleptMs;
  };
}

export const systemClock: Clock = {
  unixMs: () => Date.now(),
  monotonicMs: clockThroughSleep({
    unixMs: () => Date.now(),
    awakeMs: () => performance.now(),
    uptimeS: () => Deno.osUptime(),
  }),
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
