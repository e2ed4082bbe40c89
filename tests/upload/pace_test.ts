// The pace against simulated servers that limit the rate, as nginx does (limit_req) and with fixed windows.

import { assert, assertEquals } from "@std/assert";
import { Backoff } from "../../src/upload/interval.ts";
import { Pace } from "../../src/upload/pace.ts";
import { seededRandom } from "../fixtures/random.ts";

/** Whether a request at this time is within the limit; ms. */
type Limiter = (nowMs: number) => boolean;

/** A leaky bucket: so many requests a second, and so many more at once. */
function leaky(perSecond: number, burst: number): Limiter {
  let [excess, lastMs] = [0, -Infinity];
  return (nowMs) => {
    const next = Math.max(0, excess - (nowMs - lastMs) * perSecond / 1000 + 1);
    if (lastMs > -Infinity && next > burst) return false;
    excess = lastMs === -Infinity ? 0 : next;
    lastMs = nowMs;
    return true;
  };
}

/** Sends this many chunks; answers take 16 to 24 ms. */
function drain(chunks: number, isWithin: Limiter, seed: number) {
  const random = seededRandom(seed);
  const [pace, backoff] = [new Pace(), new Backoff(2000, 300_000)];
  let [nowMs, accepted, refused] = [0, 0, 0];
  while (accepted < chunks) {
    nowMs += pace.waitMs(nowMs);
    pace.begun(nowMs);
    const isAccepted = isWithin(nowMs);
    nowMs += 16 + 8 * random();
    if (isAccepted) {
      accepted++;
      pace.accepted();
      backoff.reset();
    } else {
      refused++;
      if (!pace.refused()) nowMs += backoff.next(random());
    }
  }
  return { errors: refused / chunks, perSecond: chunks / nowMs * 1000, pace };
}

for (const [perSecond, burst] of [[2, 0], [2, 5], [10, 0], [0.5, 0]] as const) {
  Deno.test(`a backlog goes at 80 % of ${perSecond} a second with a burst of ${burst}, and one request in ten is refused at most`, () => {
    for (let seed = 1; seed <= 20; seed++) {
      const { errors, perSecond: rate } = drain(2000, leaky(perSecond, burst), seed);
      assert(errors <= 0.1, `seed ${seed}: ${errors} of the requests were refused`);
      assert(rate >= 0.8 * perSecond, `seed ${seed}: ${rate} a second`);
    }
  });
}

Deno.test("of 60 chunks at 2 a second, a tenth is refused: with a backoff for each it was two for each chunk", () => {
  const runs = Array.from({ length: 20 }, (_, seed) => drain(60, leaky(2, 0), seed + 1));
  const mean = (of: (run: typeof runs[0]) => number) =>
    runs.reduce((sum, run) => sum + of(run), 0) / runs.length;
  assert(mean(({ errors }) => errors) <= 0.1);
  assert(mean(({ perSecond }) => perSecond) >= 1.5);
});

Deno.test("the pace follows a limit that changes, in both directions", () => {
  for (const [first, then] of [[2, 8], [8, 2]] as const) {
    const [before, after] = [leaky(first, 0), leaky(then, 0)];
    let requests = 0;
    const { pace } = drain(1000, (nowMs) => (requests++ < 400 ? before : after)(nowMs), 1);
    assert(pace.paceMs > 0.8 * 1000 / then && pace.paceMs < 1.5 * 1000 / then, `${pace.paceMs}`);
  }
});

Deno.test("without refusals there is no pace, and it ends when the server takes everything", () => {
  assertEquals(drain(100, () => true, 1).pace.paceMs, 0);
  const limit = leaky(2, 0);
  let requests = 0;
  assertEquals(drain(400, (nowMs) => requests++ > 60 || limit(nowMs), 1).pace.paceMs, 0);
});

Deno.test("a server that was down is not one that limits the rate", () => {
  const pace = new Pace();
  pace.begun(0);
  for (let nowMs = 1000; nowMs < 9000; nowMs += 1000) {
    pace.begun(nowMs);
    assertEquals(pace.refused(), false);
  }
  pace.begun(300_000);
  pace.accepted();
  assertEquals([pace.paceMs, pace.waitMs(300_001)], [0, 0]);
});

Deno.test("at a known pace one refusal needs no backoff, a second one in a row does", () => {
  const pace = new Pace();
  for (const nowMs of [0, 20]) pace.begun(nowMs);
  assertEquals(pace.refused(), false);
  pace.begun(1020);
  pace.accepted();
  assertEquals([pace.paceMs, pace.waitMs(1520)], [1000, 500]);
  assertEquals([pace.refused(), pace.refused()], [true, false]);
});
