import { assert, assertEquals } from "@std/assert";
import { clockThroughSleep, deadline, systemClock } from "../../src/system/clock.ts";

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

/** The monotonic clock of simulated clocks, which advance alone or together. */
function simulated(now: { unix: number; awake: number; boot: number }) {
  let uptimes = 0;
  const read = clockThroughSleep({
    unixMs: () => now.unix,
    awakeMs: () => now.awake,
    uptimeS: () => {
      uptimes++;
      return Math.floor(now.boot / 1000);
    },
  });
  const pass = (ms: number, clocks: readonly (keyof typeof now)[]) => {
    for (const clock of clocks) now[clock] += ms;
  };
  return { read, pass, uptimes: () => uptimes };
}

Deno.test("the monotonic clock includes sleep, exactly, and neither steps nor drifts of the system clock", () => {
  const now = { unix: 1.78e12, awake: 500.5, boot: 90_000_700 };
  const { read, pass } = simulated(now);
  const sleep = (ms: number) => pass(ms, ["unix", "boot"]);
  const work = (hours: number) => {
    for (let n = 0; n < hours * 3600; n++) {
      pass(1003.7, ["unix", "awake", "boot"]);
      pass(0.1, ["unix"]);
      const beforeMs = read();
      assert(Math.abs(beforeMs - startMs - (now.boot - startBoot)) < 1000);
    }
  };
  const [startMs, startBoot] = [read(), now.boot];
  const error = () => read() - startMs - (now.boot - startBoot);
  work(3);
  assertEquals(Math.round(error()), 0);
  for (const ms of [3_600_000, 7_000, 86_400_000]) {
    sleep(ms);
    assert(Math.abs(error()) < 0.001, `${ms} ms`);
    work(0.1);
    assert(Math.abs(error()) < 0.001, `${ms} ms, and later`);
  }
  pass(3_600_000, ["unix"]); // the clock is set
  assert(Math.abs(error()) < 0.001);
  pass(-7_200_000, ["unix"]);
  work(0.1);
  assert(Math.abs(error()) < 0.001);
  sleep(3_600_000);
  pass(60_000, ["unix"]); // both at once: the uptime is exact to a second
  assert(Math.abs(error()) < 1000, `${error()}`);
});

Deno.test("the uptime is read once a second, and at once after a sleep or a step of the system clock", () => {
  const { read, pass, uptimes } = simulated({ unix: 1.78e12, awake: 500, boot: 90_000_000 });
  const startMs = read();
  const firstUptimes = uptimes();
  const reads = () => uptimes() - firstUptimes;
  for (let n = 0; n < 1000; n++) {
    pass(10, ["unix", "awake", "boot"]);
    read();
  }
  assertEquals(reads(), 10);
  pass(3_600_000, ["unix", "boot"]);
  assertEquals([read() - startMs, reads()], [3_610_000, 11]);
  pass(-60_000, ["unix"]);
  assertEquals([read() - startMs, reads()], [3_610_000, 12]);
});

Deno.test("a sleep of 2.4 s shows when the uptime has counted it, a second later at most", () => {
  for (let calls = 1000; calls < 1100; calls += 5) {
    const { read, pass } = simulated({ unix: 1.78e12, awake: 500, boot: 90_000_000 });
    const startMs = read();
    for (let n = 0; n < calls; n++) {
      pass(10, ["unix", "awake", "boot"]);
      read();
    }
    pass(2_400, ["unix", "boot"]);
    let tookMs = 0;
    while (read() - startMs < 10 * calls + 2_400 + tookMs && tookMs < 60_000) {
      pass(10, ["unix", "awake", "boot"]);
      tookMs += 10;
    }
    assert(tookMs <= 1_000, `${tookMs} ms after ${calls} calls`);
  }
});

Deno.test("a process that was stopped between its looks at two clocks has not slept", () => {
  const now = { awake: 500, boot: 90_000_000 };
  let stopMs = 0;
  const stopped = <T>(read: () => T): T => {
    now.awake += stopMs;
    now.boot += stopMs;
    return read();
  };
  const read = clockThroughSleep({
    unixMs: () => 1.78e12 + now.boot,
    awakeMs: () => stopped(() => now.awake),
    uptimeS: () => stopped(() => Math.floor(now.boot / 1000)),
  });
  stopMs = 60_000;
  assertEquals(read(), now.awake);
  stopMs = 0;
  assertEquals(read(), now.awake);
});

Deno.test("without an uptime the monotonic clock is that of the time awake", () => {
  let awakeMs = 500;
  const read = clockThroughSleep({
    unixMs: () => 1.78e12,
    awakeMs: () => awakeMs,
    uptimeS: () => 0,
  });
  for (let n = 0; n < 100; n++) {
    awakeMs += 60_000;
    assertEquals(read(), awakeMs);
  }
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
