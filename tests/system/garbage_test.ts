import { assert, assertEquals } from "@std/assert";
import { collectGarbage, GarbagePolicy, type MemoryUse } from "../../src/system/garbage.ts";
import { SimulatedClock } from "../fixtures/simulated_clock.ts";

const MB = 1024 * 1024;
const MINUTE = 60_000;

/** A process of this size, MB. */
function use(rss: number, heapUsed = 10, external = 5): MemoryUse {
  return { rss: rss * MB, heapUsed: heapUsed * MB, external: external * MB };
}

Deno.test("garbage is collected when the process has grown by a megabyte, however slowly", () => {
  const policy = new GarbagePolicy();
  const sizes = [80, 80.3, 80.6, 80.9, 81.01];
  const due = sizes.map((size, index) => policy.isDue(use(size), index * 2000));
  assertEquals(due, [false, false, false, false, true]);
});

Deno.test("garbage is collected when the heap has grown by two megabytes, even if the process has not", () => {
  const policy = new GarbagePolicy();
  assertEquals(policy.isDue(use(80, 10, 5), 0), false);
  assertEquals(policy.isDue(use(80, 11, 5.5), 1), false);
  assertEquals(policy.isDue(use(80, 11, 6.1), 2), true);
  policy.collected(use(80, 10.5, 5.5), 2);
  assertEquals(policy.isDue(use(80, 11, 6.1), 3), false);
});

Deno.test("growth that no collection undoes is allowed more each time, up to 8 MB", () => {
  const policy = new GarbagePolicy();
  let [rss, collections] = [80, 0];
  policy.isDue(use(rss), 0);
  for (let look = 1; look <= 300; look++) {
    rss = look % 2 === 0 ? 80 : 81.2; // it swings, whatever is collected
    if (!policy.isDue(use(rss), look * 2000)) continue;
    collections++;
    policy.collected(use(rss), look * 2000);
  }
  assert(collections <= 4, `${collections} in ten minutes`);
  // A collection that frees memory sets the limit back.
  assertEquals(policy.isDue(use(89.5), 602_000), true);
  policy.collected(use(82), 602_000);
  assertEquals(policy.isDue(use(83.1), 604_000), true);
});

Deno.test("growth counts from the smallest size since the last collection", () => {
  const policy = new GarbagePolicy();
  policy.collected(use(90), 0);
  assertEquals(policy.isDue(use(90.5), 1), false);
  assertEquals(policy.isDue(use(88), 2), false);
  assertEquals(policy.isDue(use(89.2), 3), true);
  policy.collected(use(89.2), 3);
  assertEquals(policy.isDue(use(89.9), 4), false);
});

Deno.test("garbage is collected every ten minutes even if nothing grows", () => {
  const policy = new GarbagePolicy();
  assertEquals(policy.isDue(use(80), 5 * MINUTE), false);
  assertEquals(policy.isDue(use(80), 14 * MINUTE), false);
  assertEquals(policy.isDue(use(80), 15 * MINUTE), true);
  policy.collected(use(80), 15 * MINUTE);
  assertEquals(policy.isDue(use(80), 24 * MINUTE), false);
});

Deno.test("the service collects garbage until it stops, and leaves no timer behind", async () => {
  let collections = 0;
  Reflect.set(globalThis, "gc", () => collections++); // the compiled program has it through --expose-gc of V8
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

Deno.test("without --expose-gc the service leaves garbage to V8", async () => {
  const clock = new SimulatedClock(0);
  await collectGarbage(clock, new AbortController().signal);
  assertEquals(clock.sleepers, 0);
});
