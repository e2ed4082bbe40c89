// Ties work to a signal for as long as the work lasts: a listener that stays on a long-lived signal is a leak.
// It aborts nothing itself.

import { close, type Transport } from "./transport.ts";

/** Calls `stop` when the signal aborts, at once if it has aborted. Dispose it when the work is done. */
export function onAbort(signal: AbortSignal, stop: () => void): Disposable {
  if (signal.aborted) stop();
  else signal.addEventListener("abort", stop);
  return { [Symbol.dispose]: () => signal.removeEventListener("abort", stop) };
}

/** What the promise gives, or the reason of the signal: some calls of the runtime never end. */
export async function untilAborted<T>(promise: Promise<T>, signal: AbortSignal): Promise<T> {
  const { promise: aborted, reject } = Promise.withResolvers<never>();
  using _ = onAbort(signal, () => reject(signal.reason));
  return await Promise.race([aborted, promise]);
}

/** As `untilAborted`, of a connection: one that comes too late is closed. */
export async function openedInTime<T extends Transport>(
  opening: Promise<T>,
  signal: AbortSignal,
): Promise<T> {
  try {
    return await untilAborted(opening, signal);
  } catch (error) {
    opening.then(close, () => {});
    throw error;
  }
}
