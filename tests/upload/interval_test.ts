import { assertEquals } from "@std/assert";
import { Backoff, Interval } from "../../src/upload/interval.ts";

Deno.test("the backoff doubles up to its maximum, then has full jitter, and starts over when it is reset", () => {
  const backoff = new Backoff(2, 10);
  assertEquals([0, 0, 0, 0, 0.5].map((random) => backoff.next(random)), [2, 4, 8, 10, 5]);
  for (let failures = 0; failures < 3000; failures++) backoff.next(0);
  assertEquals(backoff.next(0), 10);
  backoff.reset();
  assertEquals([backoff.next(0.75), backoff.next(0)], [0.5, 4]);
});

Deno.test("an interval doubles with each failure, up to its maximum, and starts over at once after a success", () => {
  const interval = new Interval(100, 300);
  interval.begin(1000);
  assertEquals([interval.waitMs(1000), interval.isDue(1099), interval.isDue(1100)], [
    100,
    false,
    true,
  ]);
  const waits = [0, 0, 0].map(() => {
    interval.failed(2000);
    return interval.waitMs(2000);
  });
  assertEquals(waits, [200, 300, 300]);
  interval.failed(2000, 1000);
  assertEquals(interval.waitMs(2000), 1000);
  interval.accepted(2000);
  assertEquals(interval.isDue(2000), true);
  interval.postponed(2000);
  assertEquals(interval.waitMs(2000), 100);
});
