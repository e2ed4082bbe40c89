// A period of time that ends within a longer one: the hours of a schedule, or the time until a better
// microphone appears. The module decides nothing.

import { onAbort } from "./on_abort.ts";

/**
 * A signal that aborts when `ends` resolves, or when `parent` aborts. `ends` must not reject, and must
 * resolve soon after the signal it receives aborts. To dispose it closes the period, waits for `ends` and
 * removes the listener.
 */
export function openUntil(
  parent: AbortSignal,
  ends: (signal: AbortSignal) => Promise<void>,
): { signal: AbortSignal } & AsyncDisposable {
  const controller = new AbortController();
  const close = () => controller.abort();
  const listening = onAbort(parent, close);
  const watched = ends(controller.signal).then(close);
  return {
    signal: controller.signal,
    async [Symbol.asyncDispose]() {
      listening[Symbol.dispose]();
      close();
      await watched;
    },
  };
}

/** Resolves when the signal has aborted. For a signal that lives no longer than what waits for it. */
export async function aborted(signal: AbortSignal): Promise<void> {
  if (signal.aborted) return;
  await new Promise<void>((resolve) =>
    signal.addEventListener("abort", () => resolve(), { once: true })
  );
}
