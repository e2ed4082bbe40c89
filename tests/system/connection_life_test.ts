// Which connection leaves for another one, and which body is too slow. Times are numbers.

import { assert, assertEquals } from "@std/assert";
import {
  BODY_IDLE_MS,
  BodyPace,
  ConnectionLife,
  type ConnectionState,
  firstToLeave,
  MIN_BYTES_PER_S,
} from "../../src/system/connection_life.ts";

/** A connection that has been in this state since then. */
function connection(state: ConnectionState, sinceMs: number, answers = 0) {
  const life = new ConnectionLife(0);
  life.enter(state, sinceMs);
  life.answers = answers;
  return { life, is: `${state} ${sinceMs}` };
}

Deno.test("places go from what ends, who was answered and who asks nothing, the longest first", () => {
  const all = [
    connection("working", 1),
    connection("writing", 2),
    connection("reading", 4),
    connection("reading", 3),
    connection("reading", 6, 1),
    connection("idle", 5, 1),
    connection("ending", 8),
    connection("ending", 7, 1),
    connection("streaming", 0),
    connection("sending", 0, 1),
  ];
  const order = (keepsWork: boolean) => {
    const left = new Set(all);
    const leaving: string[] = [];
    for (let one; (one = firstToLeave(left, keepsWork)) !== null; left.delete(one)) {
      leaving.push(one.is);
    }
    return leaving;
  };
  const idle = ["ending 7", "ending 8", "idle 5", "reading 6", "reading 3", "reading 4"];
  assertEquals(order(true), [...idle, "writing 2"]);
  assertEquals(order(false), [...idle, "writing 2", "working 1"]);
});

Deno.test("the one who waited longest leaves, in whatever order they came; of two that waited equally long, the first", () => {
  const orders = [[3, 4, 5], [4, 3, 5], [5, 4, 3], [4, 5, 3]];
  for (const state of ["reading", "writing", "ending"] as const) {
    for (const order of orders) {
      const all = order.map((sinceMs) => connection(state, sinceMs));
      assertEquals(firstToLeave(all, true)?.is, `${state} 3`, order.join());
    }
    const equal = [connection(state, 3), connection(state, 3)];
    assert(firstToLeave(equal, true) === equal[0], "the one that came first");
  }
  const sooner = connection("ending", 9);
  for (const all of [[sooner, connection("reading", 1)], [connection("reading", 1), sooner]]) {
    assert(firstToLeave(all, true) === sooner);
  }
  assertEquals(firstToLeave([connection("streaming", 1)], true), null);
});

Deno.test("a connection that has asked nothing yet is reading since it was accepted", () => {
  const life = new ConnectionLife(700);
  assertEquals([life.state, life.sinceMs, life.answers], ["reading", 700, 0]);
  const [later, earlier] = [new ConnectionLife(700), new ConnectionLife(600)];
  assert(firstToLeave([{ life: later }, { life: earlier }], true)?.life === earlier);
});

Deno.test("a state is over when its time has passed, and not before; work and silent streams have none", () => {
  const patience = { headMs: 5000, idleMs: 30_000 };
  const limits: readonly (readonly [ConnectionState, number])[] = [
    ["reading", patience.headMs],
    ["idle", patience.idleMs],
    ["working", Infinity],
    // docs/reference/health.md, "to take an answer, or a piece of /events".
    ["writing", 10_000],
    ["streaming", Infinity],
    ["sending", 10_000],
    ["ending", 5000],
  ];
  for (const [state, limitMs] of limits) {
    const { life } = connection(state, 1000);
    const isOver = (afterMs: number) => life.isOver(1000 + afterMs, patience);
    assertEquals(isOver(Math.min(1e12, limitMs - 1)), false, state);
    assertEquals(isOver(Math.min(1e12, limitMs)), limitMs < Infinity, state);
  }
});

Deno.test("a body must move, and at the least rate; time that the server takes does not count", () => {
  /** A piece a second at this rate, with work of the server after each. Ends when it is too slow, s. */
  const endOf = (bytesPerS: number, workMs: number) => {
    const pace = new BodyPace();
    let nowMs = 0;
    for (let second = 1; second <= 600; second++) {
      pace.wait(nowMs);
      nowMs += 1000;
      if (pace.isTooSlow(nowMs)) return second;
      pace.arrived(bytesPerS, nowMs);
      nowMs += workMs;
    }
    return null;
  };
  // docs/reference/receive.md, "Limits".
  assertEquals([BODY_IDLE_MS, MIN_BYTES_PER_S], [60_000, 500]);
  assertEquals(endOf(MIN_BYTES_PER_S, 0), null);
  assertEquals(endOf(MIN_BYTES_PER_S, 5000), null);
  assertEquals(endOf(MIN_BYTES_PER_S * 0.9, 5000), 292);
  assertEquals(endOf(MIN_BYTES_PER_S / 4, 0), BODY_IDLE_MS / 1000);
  const pace = new BodyPace();
  pace.wait(0);
  pace.arrived(1e9, 1);
  assertEquals(pace.isTooSlow(1e9), false, "the server works");
  pace.wait(1000);
  assertEquals(pace.isTooSlow(999 + BODY_IDLE_MS), false);
  assertEquals(pace.isTooSlow(1000 + BODY_IDLE_MS), true);
});
