// How much of a processor the answers of the health server may take.

import { assert, assertEquals } from "@std/assert";
import { WorkBudget } from "../../src/system/work_budget.ts";

/** The work done within `ms` by a client that never rests, ms. */
function workWithin(ms: number, pieceMs: number): number {
  const budget = new WorkBudget();
  let worked = 0;
  for (let nowMs = 0; nowMs < ms;) {
    const waitMs = budget.waitMs(nowMs);
    nowMs += waitMs;
    if (waitMs > 0) continue;
    budget.spend(pieceMs, nowMs);
    worked += pieceMs;
    nowMs += pieceMs;
  }
  return worked;
}

Deno.test("who asks without a pause gets a fifth of the time, after half a second at once", () => {
  for (const pieceMs of [1, 3, 10]) {
    const worked = workWithin(100_000, pieceMs);
    assert(worked > 19_000 && worked < 21_000, `${worked} ms in pieces of ${pieceMs}`);
  }
});

Deno.test("work that takes no time counts as 1 ms, so that the number of answers is bounded", () => {
  const budget = new WorkBudget();
  let answers = 0;
  for (; budget.waitMs(0) === 0; answers++) budget.spend(0, 0);
  assertEquals(answers, 500);
  assert(budget.waitMs(0) > 0);
  assertEquals(budget.waitMs(1_000), 0);
});

Deno.test("work that another process interrupts counts as 10 ms at most", () => {
  const budget = new WorkBudget();
  budget.spend(5_000, 0);
  assertEquals(budget.waitMs(0), 0);
});

Deno.test("who asks once a second never waits", () => {
  const budget = new WorkBudget();
  for (let nowMs = 0; nowMs < 100_000; nowMs += 1_000) {
    assertEquals(budget.waitMs(nowMs), 0);
    budget.spend(150, nowMs);
  }
});
