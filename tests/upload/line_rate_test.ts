import { assert, assertAlmostEquals, assertEquals } from "@std/assert";
import { LineRate } from "../../src/upload/line_rate.ts";

const MINUTE_MS = 60_000;

/** Delivers chunks of this length at 24 kbit/s over a line of this many kbit/s, for so long. */
function deliver(line: LineRate, kbps: number, chunkS: number, forMs: number, fromMs = 0): number {
  const bytes = chunkS * 3000;
  let nowMs = fromMs;
  line.begun(nowMs);
  while (nowMs < fromMs + forMs) {
    nowMs += bytes * 8 / kbps;
    line.delivered(bytes, chunkS * 1000, nowMs);
  }
  return nowMs;
}

for (const chunkS of [1, 60, 600, 3600]) {
  Deno.test(`with chunks of ${chunkS} s, a line slower than the sound is noticed, with both rates`, () => {
    const line = new LineRate();
    deliver(line, 18, chunkS, 10 * MINUTE_MS);
    const { lineKbps = 0, soundKbps = 0 } = line.tooSlow ?? {};
    assertAlmostEquals(lineKbps, 18, 0.5);
    assertAlmostEquals(soundKbps, 24, 0.01);
  });
}

Deno.test("a line is judged after it has delivered for five minutes, and not if it carries the sound", () => {
  const line = new LineRate();
  deliver(line, 12, 60, 4 * MINUTE_MS - 1);
  assertEquals(line.tooSlow, null);
  deliver(line, 12, 60, 4 * MINUTE_MS, 4 * MINUTE_MS);
  assert(line.tooSlow !== null);
  const fast = new LineRate();
  deliver(fast, 30, 60, 60 * MINUTE_MS);
  assertEquals(fast.tooSlow, null);
});

Deno.test("it ends when the line is clearly faster than the sound, or when nothing waits; it does not flap in between", () => {
  const line = new LineRate();
  let nowMs = deliver(line, 18, 60, 20 * MINUTE_MS);
  for (let change = 0; change < 10; change++) {
    nowMs = deliver(line, change % 2 === 0 ? 25.5 : 22, 60, 20 * MINUTE_MS, nowMs);
    assert(line.tooSlow !== null, `change ${change}`);
  }
  nowMs = deliver(line, 40, 60, 20 * MINUTE_MS, nowMs);
  assertEquals(line.tooSlow, null);
  for (let change = 0; change < 10; change++) {
    nowMs = deliver(line, change % 2 === 0 ? 25.5 : 23.5, 60, 20 * MINUTE_MS, nowMs);
    assertEquals(line.tooSlow, null, `change ${change}`);
  }
  deliver(line, 10, 60, 20 * MINUTE_MS, nowMs);
  assert(line.tooSlow !== null);
  line.caughtUp();
  assertEquals(line.tooSlow, null);
});

Deno.test("time without a backlog, or in which attempts fail, does not count", () => {
  const line = new LineRate();
  line.delivered(180_000, MINUTE_MS, 60 * MINUTE_MS); // no backlog
  for (let hour = 0; hour < 20; hour++) {
    const nowMs = hour * 60 * MINUTE_MS;
    deliver(line, 100, 60, MINUTE_MS, nowMs);
    line.paused();
  }
  assertEquals(line.tooSlow, null);
});
