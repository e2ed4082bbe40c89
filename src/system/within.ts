// Waits for a promise, but not longer than a limit. It never cancels the work behind the promise.

import { type Clock, systemClock } from "./clock.ts";

/** The value of the promise, or null after `ms`. @throws what the promise rejects with before that. */
export async function within<T>(
  ms: number,
  promise: Promise<T>,
  clock: Pick<Clock, "sleep"> = systemClock,
): Promise<T | null> {
  const over = new AbortController();
  const late = clock.sleep(ms, over.signal).then(() => null);
  return await Promise.race([promise, late]).finally(() => over.abort());
}
