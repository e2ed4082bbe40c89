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
  const due = sizes.map((size, index) => policy.due(use(size), index * 2000));
  assertEquals(due, [null, null, null, null, "quickly"]);
});

Deno.test("garbage is collected when the heap has grown by two megabytes, even if the process has not", () => {
  const policy = new GarbagePolicy();
  assertEquals(policy.due(use(80, 10, 5), 0), null);
  assertEquals(policy.due(use(80, 11, 5.5), 1), null);
  assertEquals(policy.due(use(80, 11, 6.1), 2), "quickly");
  policy.collected(use(80, 10.5, 5.5));
  assertEquals(policy.due(use(80, 11, 6.1), 3), null);
});

Deno.test("growth that no collection undoes is allowed more each time, up to 8 MB", () => {
  const policy = new GarbagePolicy();
  let [rss, collections] = [80, 0];
  policy.due(use(rss), 0);
  for (let look = 1; look <= 300; look++) {
    rss = look % 2 === 0 ? 80 : 81.2; // it swings, whatever is collected
    if (policy.due(use(rss), look * 2000) === null) continue;
    collections++;
    policy.collected(use(rss));
  }
  assert(collections <= 4, `${collections} in ten minutes`);
  // A collection that frees memory sets the limit back.
  assertEquals(policy.due(use(89.5), 602_000), "quickly");
  policy.collected(use(82));
  assertEquals(policy.due(use(83.1), 604_000), "quickly");
});

Deno.test("growth counts from the smallest size since the last collection", () => {
  const policy = new GarbagePolicy();
  policy.collected(use(90));
  assertEquals(policy.due(use(90.5), 1), null);
  assertEquals(policy.due(use(88), 2), null);
  assertEquals(policy.due(use(89.2), 3), "quickly");
  policy.collected(use(89.2));
  assertEquals(policy.due(use(89.9), 4), null);
});

Deno.test("garbage is collected thoroughly every five minutes, whether anything grows or not", () => {
  const policy = new GarbagePolicy();
  assertEquals(policy.due(use(80), 5 * MINUTE), null);
  assertEquals(policy.due(use(82), 9 * MINUTE), "quickly");
  policy.collected(use(80));
  assertEquals(policy.due(use(80), 10 * MINUTE), "thoroughly");
  policy.collected(use(80));
  assertEquals(policy.due(use(80), 14 * MINUTE), null);
  assertEquals(policy.due(use(80), 15 * MINUTE), "thoroughly");
});

Deno.test("the service collects garbage until it stops, and leaves no timer behind", async () => {
  const collections: unknown[] = [];
  Reflect.set(globalThis, "gc", (how: unknown) => collections.push(how)); // the compiled program has it through --expose-gc of V8
  const clock = new SimulatedClock(0);
  const stop = new AbortController();
  try {
    const running = collectGarbage(clock, stop.signal);
    await clock.advance(6 * MINUTE);
    const thorough = { type: "major", execution: "sync", flavor: "last-resort" };
    assertEquals(collections.filter((how) => how !== undefined), [thorough]);
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
