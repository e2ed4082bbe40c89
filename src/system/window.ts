// A stretch of time with an end of its own inside a longer one: the hours of a schedule, the time until
// something better comes. It decides nothing.

/**
 * A signal that aborts when `ends` resolves, or when `parent` aborts. `ends` must not reject, and
 * resolves soon after the signal it is given aborts. Dispose it: that closes it, waits for `ends`, and
 * leaves no listener behind.
 */
export function openUntil(
  parent: AbortSignal,
  ends: (signal: AbortSignal) => Promise<void>,
): { signal: AbortSignal } & AsyncDisposable {
  const controller = new AbortController();
  const close = () => controller.abort();
  parent.addEventListener("abort", close);
  if (parent.aborted) close();
  const watched = ends(controller.signal).then(close);
  return {
    signal: controller.signal,
    async [Symbol.asyncDispose]() {
      parent.removeEventListener("abort", close);
      close();
      await watched;
    },
  };
}
