// Which connection leaves for another one, and which body is too slow. Times are numbers.

import { assertEquals } from "@std/assert";
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
