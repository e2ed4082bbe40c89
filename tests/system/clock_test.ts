import { assert, assertEquals } from "@std/assert";
import { deadline, systemClock } from "../../src/system/clock.ts";

/** A signal that counts its listeners. */
function countedSignal() {
  const controller = new AbortController();
  const { signal } = controller;
  const listeners = new Set<unknown>();
  const { addEventListener, removeEventListener } = signal;
  signal.addEventListener = (type: string, listener: EventListener, options?: unknown) => {
    listeners.add(listener);
    addEventListener.call(signal, type, listener, options as AddEventListenerOptions);
  };
  signal.removeEventListener = (type: string, listener: EventListener) => {
    listeners.delete(listener);
    removeEventListener.call(signal, type, listener);
  };
  return { controller, signal, listeners };
}

Deno.test("systemClock returns the time in milliseconds, and its monotonic clock advances", async () => {
  assert(Math.abs(systemClock.unixMs() - Date.now()) < 100);
  const startMs = systemClock.monotonicMs();
  await systemClock.sleep(20);
  const tookMs = systemClock.monotonicMs() - startMs;
  assert(tookMs >= 19 && tookMs < 1000, `${tookMs} ms`);
});

Deno.test("sleep() resolves at once on abort, and leaves no listener behind", async () => {
  const { controller, signal, listeners } = countedSignal();
  for (let turn = 0; turn < 10; turn++) await systemClock.sleep(1, signal);
  assertEquals(listeners.size, 0);
  const startMs = performance.now();
  const sleeping = systemClock.sleep(60_000, signal);
  controller.abort();
  await sleeping;
  await systemClock.sleep(60_000, signal); // the signal is already aborted
  assert(performance.now() - startMs < 1000);
});

Deno.test("deadline() aborts in time with a TimeoutError that says how long it was", async () => {
  using limit = deadline(20);
  assertEquals(limit.signal.aborted, false);
  const reason: unknown = await new Promise((resolve) =>
    limit.signal.addEventListener("abort", () => resolve(limit.signal.reason))
  );
  assert(reason instanceof DOMException && reason.name === "TimeoutError");
  assertEquals(reason.message, "timed out after 0.02 s");
});

Deno.test("deadline() aborts when its parent does, with the parent's reason", () => {
  const parent = new AbortController();
  using limit = deadline(60_000, parent.signal);
  const reason = new Error("enough");
  parent.abort(reason);
  assertEquals(limit.signal.reason, reason);
  using late = deadline(60_000, parent.signal);
  assertEquals(late.signal.reason, reason);
});

Deno.test("a deadline that was disposed of leaves no timer and no listener", () => {
  const { controller, signal, listeners } = countedSignal();
  const limits = Array.from({ length: 100 }, () => {
    using limit = deadline(60_000, signal); // the sanitizer would report its timer
    assertEquals(listeners.size, 1);
    return limit;
  });
  assertEquals(listeners.size, 0);
  controller.abort();
  assert(limits.every((limit) => !limit.signal.aborted));
});
