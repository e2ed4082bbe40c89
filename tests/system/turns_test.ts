// The order in which a server does its work.

import { assertEquals, assertRejects } from "@std/assert";
import { Turns } from "../../src/system/turns.ts";
import { WorkBudget } from "../../src/system/work_budget.ts";
import { SimulatedClock } from "../fixtures/simulated_clock.ts";

/** Turns whose budget is used up. */
async function exhausted() {
  const clock = new SimulatedClock(0);
  const closing = new AbortController();
  const turns = new Turns(clock, new WorkBudget(), closing.signal);
  for (let piece = 0; piece < 500; piece++) await turns.do(() => {}, { isUrgent: false });
  return { clock, closing, turns };
}

Deno.test("what is urgent is done first, what nobody wants any more not at all", async () => {
  const { clock, turns } = await exhausted();
  const done: string[] = [];
  const work = (name: string) => () => {
    done.push(name);
    return name;
  };
  const results = [
    turns.do(work("a"), { isUrgent: false }),
    turns.do(work("b"), { isUrgent: true }),
    turns.do(work("c"), { isUrgent: false, isWanted: () => false }),
    turns.do(work("d"), { isUrgent: true }),
  ];
  assertEquals(done, []);
  await clock.advance(1_000);
  assertEquals(done, ["b", "d", "a"]);
  assertEquals(await Promise.all(results), ["a", "b", null, "d"]);
});

Deno.test("the error of a piece of work belongs to its caller, and the next one is done", async () => {
  const clock = new SimulatedClock(0);
  const turns = new Turns(clock, new WorkBudget(), new AbortController().signal);
  const failing = turns.do(() => {
    throw new Error("broken");
  }, { isUrgent: false });
  const next = turns.do(() => 1, { isUrgent: false });
  await assertRejects(() => failing, Error, "broken");
  assertEquals(await next, 1);
});

Deno.test("at the end nothing waits for the budget", async () => {
  const { closing, turns } = await exhausted();
  const last = turns.do(() => 1, { isUrgent: false });
  closing.abort();
  assertEquals(await last, 1);
});
