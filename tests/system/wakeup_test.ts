import { assertEquals } from "@std/assert";
import { type Clock, systemClock } from "../../src/system/clock.ts";
import { Wakeup } from "../../src/system/wakeup.ts";
import { SimulatedClock } from "../fixtures/simulated_clock.ts";

/** Starts a wait and reports whether it has ended. */
function waiting(wakeup: Wakeup, clock: SimulatedClock, ms: number, signal: AbortSignal) {
  const state = { ended: false };
  wakeup.wait(clock, ms, signal).then(() => state.ended = true);
  return state;
}

Deno.test("a ring wakes every waiter", async () => {
  const clock = new SimulatedClock(0);
  const wakeup = new Wakeup();
  const { signal } = new AbortController();
  const waits = [1000, 60_000].map((ms) => waiting(wakeup, clock, ms, signal));
  await clock.advance(10);
  assertEquals(waits.map(({ ended }) => ended), [false, false]);
  wakeup.ring();
  await clock.advance(0);
  assertEquals(waits.map(({ ended }) => ended), [true, true]);
  assertEquals(clock.sleepers, 0);
});

Deno.test("a ring without a waiter wakes the next waiter, once", async () => {
  const clock = new SimulatedClock(0);
  const wakeup = new Wakeup();
  const { signal } = new AbortController();
  wakeup.ring();
  wakeup.ring();
  const [first, second] = [
    waiting(wakeup, clock, 1000, signal),
    waiting(wakeup, clock, 1000, signal),
  ];
  await clock.advance(0);
  assertEquals([first.ended, second.ended], [true, false]);
  await clock.advance(1000);
  assertEquals(second.ended, true);
});

Deno.test("a ring between a wake and the next wait of the same waiter is not lost", async () => {
  const clock = new SimulatedClock(0);
  const wakeup = new Wakeup();
  const { signal } = new AbortController();
  const first = waiting(wakeup, clock, 1000, signal);
  wakeup.ring();
  await clock.advance(0);
  assertEquals(first.ended, true);
  wakeup.ring(); // while the woken waiter works
  const second = waiting(wakeup, clock, 1000, signal);
  await clock.advance(0);
  assertEquals(second.ended, true);
});

Deno.test("a wait ends after its time, and a later ring wakes the next waiter", async () => {
  const clock = new SimulatedClock(0);
  const wakeup = new Wakeup();
  const { signal } = new AbortController();
  const first = waiting(wakeup, clock, 1000, signal);
  await clock.advance(999);
  assertEquals(first.ended, false);
  await clock.advance(1);
  assertEquals(first.ended, true);
  wakeup.ring();
  const second = waiting(wakeup, clock, 1000, signal);
  await clock.advance(0);
  assertEquals(second.ended, true);
});

Deno.test("abort ends every wait, present and later ones, and leaves no listener on the signal", async () => {
  const clock = new SimulatedClock(0);
  const wakeup = new Wakeup();
  const controller = new AbortController();
  const { signal } = controller;
  let listeners = 0;
  const { addEventListener, removeEventListener } = signal;
  signal.addEventListener = (...args: Parameters<typeof addEventListener>) => {
    listeners++;
    addEventListener.apply(signal, args);
  };
  signal.removeEventListener = (...args: Parameters<typeof removeEventListener>) => {
    listeners--;
    removeEventListener.apply(signal, args);
  };
  for (let turn = 0; turn < 10; turn++) {
    const wait = waiting(wakeup, clock, 1000, signal);
    assertEquals(listeners, 1);
    if (turn % 2 === 0) wakeup.ring();
    await clock.advance(turn % 2 === 0 ? 0 : 1000);
    assertEquals(wait.ended, true);
    assertEquals(listeners, 0);
  }
  const wait = waiting(wakeup, clock, 1000, signal);
  controller.abort();
  await clock.advance(0);
  assertEquals(wait.ended, true);
  const late = waiting(wakeup, clock, 1000, signal);
  await clock.advance(0);
  assertEquals(late.ended, true);
  assertEquals(listeners, 0);
});

Deno.test("a long wait is rounded up to a second, a short one is exact to the millisecond", async () => {
  const asked: number[] = [];
  const clock: Clock = {
    ...systemClock,
    sleep: (ms) => {
      asked.push(ms);
      return Promise.resolve();
    },
  };
  const { signal } = new AbortController();
  for (const ms of [299_123.4, 300_000, 10_000, 1_234.5]) {
    await new Wakeup().wait(clock, ms, signal);
  }
  assertEquals(asked, [300_000, 300_000, 10_000, 1_234.5]);
});

Deno.test("a wait without a limit ends at a ring or with its signal, and leaves no listener", async () => {
  const wakeup = new Wakeup();
  const stop = new AbortController();
  wakeup.ring();
  await wakeup.rung(stop.signal);
  const waits = [wakeup.rung(stop.signal), wakeup.rung(stop.signal)];
  wakeup.ring();
  await Promise.all(waits);
  const last = wakeup.rung(stop.signal);
  stop.abort();
  await last;
  await wakeup.rung(stop.signal);
});
