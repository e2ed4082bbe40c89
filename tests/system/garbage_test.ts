import { assert, assertEquals } from "@std/assert";
import { collectGarbage, GarbagePolicy } from "../../src/system/garbage.ts";
import { SimulatedClock } from "../fixtures/simulated_clock.ts";

const MB = 1024 * 1024;
const MINUTE = 60_000;

Deno.test("garbage is collected when the process has grown by a megabyte, however slowly", () => {
  const policy = new GarbagePolicy();
  const sizes = [80, 80.3, 80.6, 80.9, 81.01];
  const due = sizes.map((size, index) => policy.isDue(size * MB, index * 2000));
  assertEquals(due, [false, false, false, false, true]);
});

Deno.test("growth counts from what the last collection left, and from the smallest size since", () => {
  const policy = new GarbagePolicy();
  policy.collected(90 * MB, 0);
  assertEquals(policy.isDue(90.5 * MB, 1), false);
  assertEquals(policy.isDue(88 * MB, 2), false);
  assertEquals(policy.isDue(89.2 * MB, 3), true);
  policy.collected(89.2 * MB, 3);
  assertEquals(policy.isDue(89.9 * MB, 4), false);
});

Deno.test("garbage is collected every ten minutes though the process does not grow", () => {
  const policy = new GarbagePolicy();
  assertEquals(policy.isDue(80 * MB, 5 * MINUTE), false);
  assertEquals(policy.isDue(80 * MB, 14 * MINUTE), false);
  assertEquals(policy.isDue(80 * MB, 15 * MINUTE), true);
  policy.collected(80 * MB, 15 * MINUTE);
  assertEquals(policy.isDue(80 * MB, 24 * MINUTE), false);
});

Deno.test("the service collects garbage until it ends, and nothing is left behind", async () => {
  let collections = 0;
  Reflect.set(globalThis, "gc", () => collections++); // what V8's --expose-gc gives the compiled program
  const clock = new SimulatedClock(0);
  const stop = new AbortController();
  try {
    const running = collectGarbage(clock, stop.signal);
    await clock.advance(11 * MINUTE);
    assert(collections >= 1, `${collections} in 11 minutes`);
    stop.abort();
    await running;
    assertEquals(clock.sleepers, 0);
  } finally {
    Reflect.deleteProperty(globalThis, "gc");
  }
});

Deno.test("without V8's --expose-gc garbage is left to V8", async () => {
  const clock = new SimulatedClock(0);
  await collectGarbage(clock, new AbortController().signal);
  assertEquals(clock.sleepers, 0);
});
