// Who is to blame: every event in every state, the story of single chunks, and random servers against a small
// oracle that knows nothing of the states.

import { assert, assertEquals } from "@std/assert";
import type { ChunkName } from "../../src/chunk/chunk_name.ts";
import {
  Blame,
  type Failure,
  type Judgement,
  MAX_PASSED_OVER,
  PROBE_AFTER,
  PROBE_AFTER_REFUSALS,
  type StateName,
} from "../../src/upload/blame.ts";
import { seededRandom } from "../fixtures/random.ts";

const INTERVAL_MS = 300_000;
const REFUSALS: readonly Failure[] = ["refused", "too large", "unreadable"];
const FAILURES: readonly Failure[] = ["failed", ...REFUSALS];
const STATES: readonly StateName[] = ["working", "suspecting", "probing", "holding", "retrying"];

/** The chunk with this letter, in the order of the alphabet, or with a number. */
function chunk(key: string, sizeBytes = 100) {
  const startUnixUs = /^\d+$/.test(key) ? 1e9 + Number(key) : key.charCodeAt(0);
  return { name: { key, startUnixUs, durationUs: 1 } satisfies ChunkName, sizeBytes };
}

function fail(blame: Blame, key: string, times: number, failure: Failure = "failed"): Judgement[] {
  return Array.from({ length: times }, () => blame.failed(chunk(key), failure, 0));
}

/** A machine in this state, in which `a` is in doubt by refusals; b is the other one that was sent. */
function inState(state: StateName): Blame {
  const blame = new Blame(INTERVAL_MS);
  if (state === "working") return blame;
  fail(blame, "a", state === "suspecting" ? 1 : PROBE_AFTER_REFUSALS, "refused");
  if (state === "holding") blame.failed(chunk("b"), "failed", 0);
  if (state === "retrying") blame.accepted(chunk("b"), 0);
  assertEquals([blame.state, blame.suspect], [state, "a"]);
  return blame;
}

// ---- every event in every state

type Next = readonly [state: StateName, suspect: string | null, judgement?: Judgement];
type Event = (blame: Blame) => Judgement | void;

const events: Record<string, Event> = {
  "a fails": (blame) => blame.failed(chunk("a"), "failed", 0),
  "a is refused": (blame) => blame.failed(chunk("a"), "refused", 0),
  "a is too large": (blame) => blame.failed(chunk("a", 101), "too large", 0),
  "a cannot be read": (blame) => blame.failed(chunk("a"), "unreadable", 0),
  "a is accepted": (blame) => blame.accepted(chunk("a"), 0),
  "c fails": (blame) => blame.failed(chunk("c"), "failed", 0),
  "c is refused": (blame) => blame.failed(chunk("c"), "refused", 0),
  "c is accepted": (blame) => blame.accepted(chunk("c"), 0),
  "there is no probe": (blame) => blame.noProbe(),
  "the server asks": (blame) => blame.asked(),
  "misconfigured": (blame) => blame.misconfigured(),
  "a is gone": (blame) => blame.forget("a"),
  "c is gone": (blame) => blame.forget("c"),
};

const WORKING: Next = ["working", null];
const table: Record<string, Record<StateName, Next>> = {
  "a fails": {
    working: ["suspecting", "a", "wait"],
    suspecting: ["suspecting", "a", "wait"],
    probing: ["probing", "a", "probe"],
    holding: ["holding", "a", "wait"],
    retrying: ["working", null, "pass over"],
  },
  "a is refused": {
    working: ["suspecting", "a", "wait"],
    suspecting: ["probing", "a", "probe"],
    probing: ["probing", "a", "probe"],
    holding: ["holding", "a", "wait"],
    retrying: ["working", null, "reject"],
  },
  "a is too large": {
    working: ["suspecting", "a", "wait"],
    suspecting: ["probing", "a", "probe"],
    probing: ["probing", "a", "probe"],
    holding: ["holding", "a", "wait"],
    retrying: ["working", null, "pass over"], // b, which was accepted, is smaller
  },
  "a cannot be read": {
    working: ["suspecting", "a", "wait"],
    suspecting: ["probing", "a", "probe"],
    probing: ["probing", "a", "probe"],
    holding: ["holding", "a", "wait"],
    retrying: ["working", null, "reject"],
  },
  "a is accepted": {
    working: WORKING,
    suspecting: WORKING,
    probing: WORKING,
    holding: WORKING,
    retrying: WORKING,
  },
  "c fails": {
    working: ["suspecting", "c", "wait"],
    suspecting: ["suspecting", "c", "wait"],
    probing: ["holding", "a", "wait"],
    holding: ["holding", "c", "wait"],
    retrying: ["holding", "a", "wait"],
  },
  "c is refused": {
    working: ["suspecting", "c", "wait"],
    suspecting: ["suspecting", "c", "wait"],
    probing: ["holding", "a", "wait"],
    holding: ["holding", "c", "wait"],
    retrying: ["holding", "a", "wait"],
  },
  "c is accepted": {
    working: WORKING,
    suspecting: WORKING,
    probing: ["retrying", "a"],
    holding: WORKING,
    retrying: ["retrying", "a"],
  },
  "there is no probe": {
    working: WORKING,
    suspecting: ["suspecting", "a"],
    probing: ["holding", "a"],
    holding: ["holding", "a"],
    retrying: ["retrying", "a"],
  },
  "the server asks": {
    working: WORKING,
    suspecting: ["suspecting", "a"],
    probing: ["probing", "a"],
    holding: ["holding", "a"],
    retrying: ["probing", "a"],
  },
  "misconfigured": {
    working: ["holding", null],
    suspecting: ["holding", null],
    probing: ["holding", null],
    holding: ["holding", null],
    retrying: ["holding", null],
  },
  "a is gone": {
    working: WORKING,
    suspecting: WORKING,
    probing: WORKING,
    holding: ["holding", null],
    retrying: WORKING,
  },
  "c is gone": {
    working: WORKING,
    suspecting: ["suspecting", "a"],
    probing: ["probing", "a"],
    holding: ["holding", "a"],
    retrying: ["retrying", "a"],
  },
};

for (const [what, event] of Object.entries(events)) {
  Deno.test(`in every state it is decided what follows when ${what}`, () => {
    for (const state of STATES) {
      const blame = inState(state);
      const judgement = event(blame);
      const [expected, suspect, judged] = table[what]?.[state] ?? [];
      assertEquals([blame.state, blame.suspect, judgement], [expected, suspect, judged], state);
    }
  });
}

// ---- the story of a chunk

Deno.test("another chunk is tried after two refusals, or after eight failures of any kind", () => {
  for (const failure of FAILURES) {
    const blame = new Blame(INTERVAL_MS);
    const tries = failure === "failed" ? PROBE_AFTER : PROBE_AFTER_REFUSALS;
    const expected: Judgement[] = [...Array(tries - 1).fill("wait"), "probe"];
    assertEquals(fail(blame, "a", tries, failure), expected, failure);
  }
  const blame = new Blame(INTERVAL_MS);
  fail(blame, "a", PROBE_AFTER - 2);
  assertEquals(fail(blame, "a", 2, "refused"), ["wait", "probe"]);
});

// docs/explanation/delivery.md, "Who is to blame".
Deno.test("the numbers are those of the documentation: two refusals, eight failures, a hundred chunks", () => {
  assertEquals([PROBE_AFTER_REFUSALS, PROBE_AFTER, MAX_PASSED_OVER], [2, 8, 100]);
});

Deno.test("after a probe that failed, it takes as many failures until the next one", () => {
  for (const failure of FAILURES) {
    const blame = new Blame(INTERVAL_MS);
    const tries = failure === "failed" ? PROBE_AFTER : PROBE_AFTER_REFUSALS;
    for (let times = 0; times < 3; times++) {
      const expected: Judgement[] = [...Array(tries - 1).fill("wait"), "probe"];
      assertEquals(fail(blame, "a", tries, failure), expected, `${failure}, ${times}`);
      assertEquals(fail(blame, "b", 1), ["wait"]);
      assertEquals([blame.state, blame.suspect], ["holding", "a"]);
    }
  }
});

Deno.test("the attempts are counted of the chunk in doubt, and of no other", () => {
  for (const state of STATES) {
    const blame = inState(state);
    const attempts = { working: 0, suspecting: 1, probing: 2, holding: 2, retrying: 2 }[state];
    assertEquals(["a", "b", "c"].map((key) => blame.attemptsWith(key)), [attempts, 0, 0], state);
  }
});

Deno.test("the count of failures starts over when another chunk becomes the oldest, or one is accepted", () => {
  const blame = new Blame(INTERVAL_MS);
  fail(blame, "b", PROBE_AFTER - 1);
  fail(blame, "a", 1); // an older one has appeared
  assertEquals(fail(blame, "b", PROBE_AFTER - 1).includes("probe"), false);
  blame.accepted(chunk("c"), 0);
  assertEquals(fail(blame, "b", PROBE_AFTER).indexOf("probe"), PROBE_AFTER - 1);
});

Deno.test("a refusal counts only if another chunk was accepted after it and before the next one", () => {
  const blame = new Blame(INTERVAL_MS);
  blame.accepted(chunk("0"), 0); // before: that says nothing
  fail(blame, "a", 2, "refused");
  for (let times = 0; times < 100; times++) {
    assertEquals(blame.failed(chunk("b"), "refused", 0), "wait");
    assertEquals(fail(blame, "a", 2, "refused"), ["wait", "probe"]);
  }
  blame.accepted(chunk("b"), 0);
  assertEquals([blame.due(0), blame.attemptsWith("a")], ["a", 202]);
  assertEquals(fail(blame, "a", 1, "refused"), ["reject"]);
});

Deno.test("a size limit is held against a chunk only if one that is at least as large was accepted", () => {
  for (const [acceptedBytes, expected] of [[99, "pass over"], [100, "reject"], [101, "reject"]]) {
    const blame = new Blame(INTERVAL_MS);
    fail(blame, "a", 2, "too large");
    blame.accepted(chunk("b", Number(acceptedBytes)), 0);
    assertEquals(fail(blame, "a", 1, "too large"), [expected as Judgement]);
    const why = expected === "reject" ? undefined : { by: "size" as const, sizeBytes: 100 };
    assertEquals(blame.passedOver.get("a"), why);
  }
});

Deno.test("the largest of the chunks that were accepted in its place counts, whichever came first", () => {
  for (const sizes of [[10, 100, 20], [100, 10], [10, 100]]) {
    const blame = new Blame(INTERVAL_MS);
    fail(blame, "a", 2, "too large");
    for (const size of sizes) blame.accepted(chunk("b", size), 0);
    assertEquals(fail(blame, "a", 1, "too large"), ["reject"], sizes.join());
  }
  const blame = new Blame(INTERVAL_MS);
  fail(blame, "a", 2, "too large");
  for (const size of [10, 99, 20]) blame.accepted(chunk("b", size), 0);
  assertEquals(fail(blame, "a", 1, "too large"), ["pass over"]);
});

Deno.test("chunks that are too large are tried again at once when one of their size is accepted", () => {
  const blame = new Blame(INTERVAL_MS);
  fail(blame, "a", 2, "too large");
  blame.accepted(chunk("b", 10), 0);
  fail(blame, "a", 1, "too large");
  blame.accepted(chunk("c", 99), 0);
  assertEquals(blame.due(0), null);
  blame.accepted(chunk("d", 100), 0);
  assertEquals(blame.due(0), "a");
});

Deno.test("one of their size concerns chunks that are too large, also beside others that are passed over", () => {
  const blame = new Blame(INTERVAL_MS);
  passOver(blame, "x"); // by failures: no size
  fail(blame, "a", 2, "too large");
  blame.accepted(chunk("b", 10), 0);
  assertEquals(fail(blame, "a", 1, "too large"), ["pass over"]);
  assertEquals(blame.passedOver.values().map(({ by }) => by).toArray(), ["server", "size"]);
  blame.accepted(chunk("c", 99), 0);
  assertEquals(blame.due(0), null);
  blame.accepted(chunk("d", 100), 0);
  assertEquals(blame.due(0), "x", "the first of them");
});

Deno.test("each chunk but the suspect probes once, in order, before any of them does again", () => {
  const blame = new Blame(INTERVAL_MS);
  let sent = "";
  for (let round = 0; round < 5; round++) {
    fail(blame, "b", 2, "refused");
    const next = () => [..."abcd"].find((key) => blame.mayProbe(chunk(key).name));
    let probe = next();
    if (probe === undefined) blame.probesEnded();
    probe ??= next() ?? "-";
    sent += probe;
    blame.failed(chunk(probe), "failed", 0);
  }
  assertEquals(sent, "acdac");
});

Deno.test("the probes begin with the first chunk again when one is accepted, or the settings were wrong", () => {
  const again: Event[] = [
    (blame) => blame.accepted(chunk("d"), 0),
    (blame) => blame.misconfigured(),
    (blame) => blame.probesEnded(),
  ];
  for (const event of again) {
    const blame = inState("probing");
    fail(blame, "c", 1);
    const others = () => ["b", "c", "d"].filter((key) => blame.mayProbe(chunk(key).name));
    assertEquals(others(), ["d"]);
    event(blame);
    assertEquals(others(), ["b", "c", "d"]);
  }
});

Deno.test("a chunk passed over that fails in place of the suspect says that the cause is not the suspect", () => {
  const blame = new Blame(INTERVAL_MS);
  passOver(blame, "x");
  fail(blame, "a", PROBE_AFTER);
  assertEquals([blame.state, blame.failed(chunk("x"), "failed", 0)], ["probing", "wait"]);
  assertEquals([blame.state, blame.suspect, blame.due(0)], ["holding", "a", null]);
  assertEquals([...blame.passedOver.keys()], ["x"]);
  assertEquals(fail(blame, "a", PROBE_AFTER).indexOf("probe"), PROBE_AFTER - 1);
});

Deno.test("chunks passed over are tried in turn, one per interval, or later if the server asks for it", () => {
  const blame = new Blame(100);
  for (const key of ["a", "b"]) passOver(blame, key);
  const tried: string[] = [];
  for (let nowMs = 0; nowMs < 700; nowMs += 10) {
    const key = blame.due(nowMs);
    if (key === null) continue;
    tried.push(`${key} ${nowMs}`);
    const waitMs = key === "b" ? 250 : 0;
    assertEquals(blame.failed(chunk(key), "failed", nowMs, waitMs), "stays passed over");
  }
  assertEquals(tried, ["a 100", "b 200", "a 450", "b 550"]);
});

Deno.test("when one of them is accepted after all, the next is tried at once; none while another is in doubt", () => {
  const blame = new Blame(INTERVAL_MS);
  for (const key of ["a", "b", "c"]) passOver(blame, key);
  blame.accepted(chunk("a"), INTERVAL_MS);
  assertEquals(blame.due(INTERVAL_MS), "b");
  fail(blame, "d", 1);
  assertEquals(blame.due(INTERVAL_MS), null);
  blame.accepted(chunk("d"), INTERVAL_MS);
  blame.failed(chunk("b"), "failed", INTERVAL_MS);
  assertEquals(blame.due(INTERVAL_MS), null);
  blame.forget("c");
  assertEquals([...blame.passedOver.keys()], ["b"]);
});

Deno.test("a chunk passed over that is refused is in doubt like any other", () => {
  const blame = new Blame(INTERVAL_MS);
  passOver(blame, "a");
  assertEquals(fail(blame, "a", 2, "refused"), ["wait", "probe"]);
  assertEquals([blame.passedOver.size, blame.suspect], [0, "a"]);
  blame.accepted(chunk("b"), 0);
  assertEquals(fail(blame, "a", 1, "refused"), ["reject"]);
});

Deno.test("chunks that cannot be moved are tried in turn, one per interval, and stay to blame", () => {
  const blame = new Blame(100);
  for (const key of ["a", "b"]) assert(blame.passOver(chunk(key), 0, "EIO"));
  const tried: string[] = [];
  for (let nowMs = 0; nowMs < 500; nowMs += 10) {
    const key = blame.due(nowMs);
    if (key === null) continue;
    tried.push(`${key} ${nowMs}`);
    const failure = nowMs === 300 ? "failed" : nowMs === 400 ? "too large" : "refused";
    const judgement = blame.failed(chunk(key), failure, nowMs);
    assertEquals(judgement, failure === "failed" ? "stays passed over" : "reject");
    if (judgement === "reject") assert(blame.passOver(chunk(key), nowMs, "EIO"));
    assertEquals([blame.state, blame.passedOver.get(key)?.by], ["working", "disk"]);
  }
  assertEquals(tried, ["a 100", "b 200", "a 300", "b 400"]);
});

Deno.test("at most a hundred chunks are passed over: beyond that, the server is at fault", () => {
  const blame = new Blame(INTERVAL_MS);
  for (let index = 0; index < MAX_PASSED_OVER; index++) passOver(blame, `${index}`);
  fail(blame, "y", PROBE_AFTER);
  blame.accepted(chunk("z"), 0);
  assertEquals(fail(blame, "y", 1), ["wait"]);
  assertEquals([blame.state, blame.passedOver.size], ["holding", MAX_PASSED_OVER]);
  assertEquals(blame.attemptsWith("y"), PROBE_AFTER + 1);
});

/** Passes over a chunk, as happens when the server accepts another one instead. */
function passOver(blame: Blame, key: string): void {
  fail(blame, key, PROBE_AFTER);
  blame.accepted(chunk("b" + key), 0);
  assertEquals(fail(blame, key, 1), ["pass over"]);
}

// ---- random servers

interface Server {
  /** What the server does with each chunk at this step. */
  readonly answer: (key: string, sizeBytes: number, step: number) => Failure | "accepted";
  /** From this step on every chunk is accepted that is accepted at all. */
  readonly steadyFrom: number;
}

/** A server that changes its mind a few times, then fails on some chunks forever, and takes the others. */
function drawServer(random: () => number): Server {
  const pick = <T>(of: readonly T[]) => of[Math.floor(random() * of.length)] as T;
  const phases = Array.from({ length: 5 }, () => ({
    all: random() < 0.6 ? pick(FAILURES) : null,
    limitBytes: random() < 0.3 ? 50 + random() * 100 : Infinity,
  }));
  const poison = new Map<string, Failure>();
  for (let key = 0; key < 40; key++) if (random() < 0.1) poison.set(`${key}`, pick(FAILURES));
  return {
    steadyFrom: 500,
    answer: (key, sizeBytes, step) => {
      const phase = step < 500 ? phases[Math.floor(step / 100)] : undefined;
      if (phase?.all) return phase.all;
      if (sizeBytes > (phase?.limitBytes ?? Infinity)) return "too large";
      return poison.get(key) ?? "accepted";
    },
  };
}

Deno.test("of 400 random servers none gets a chunk blamed without proof, and each gets all that it accepts, in order", () => {
  for (let seed = 1; seed <= 400; seed++) {
    const random = seededRandom(seed);
    const server = drawServer(random);
    const blame = new Blame(20);
    const waiting = Array.from({ length: 40 }, (_, key) => `${key}`);
    const sizes = new Map(waiting.map((key) => [key, 50 + Math.floor(random() * 100)]));
    const sizeOf = (key: string) => sizes.get(key) ?? 0;
    /** By key, the largest chunk that was accepted since its last failure. */
    const proof = new Map<string, number>();
    const failed = new Set<string>();
    let probe: string | undefined;
    for (let step = 0; step < 3000; step++) {
      const oldest = waiting.find((key) => !blame.passedOver.has(key));
      const key = probe ?? blame.due(step) ?? oldest;
      if (key === undefined) continue;
      const isOutOfTurn = key !== oldest && !blame.passedOver.has(key);
      assert(!isOutOfTurn || failed.has(oldest ?? ""), `seed ${seed}: ${key} out of turn`);
      probe = undefined;
      const sent = chunk(key, sizeOf(key));
      const answer = server.answer(key, sizeOf(key), step);
      if (answer === "accepted") {
        blame.accepted(sent, step);
        waiting.splice(waiting.indexOf(key), 1);
        for (const other of failed) {
          if (other !== key) proof.set(other, Math.max(proof.get(other) ?? 0, sizeOf(key)));
        }
        continue;
      }
      const judgement = blame.failed(sent, answer, step);
      const isProven = (proof.get(key) ?? 0) >= (answer === "too large" ? sizeOf(key) : 1);
      if (judgement === "reject") {
        assert(isProven, `seed ${seed}, step ${step}: ${key} was blamed without proof`);
        waiting.splice(waiting.indexOf(key), 1);
      }
      if (judgement === "probe") {
        const next = () => waiting.find((key) => blame.mayProbe(chunk(key).name));
        probe = next();
        if (probe === undefined) {
          blame.probesEnded();
          probe = [...blame.passedOver.keys()][0] ?? next();
        }
        if (probe === undefined) blame.noProbe();
      }
      failed.add(key);
      proof.delete(key);
    }
    // What still waits is what it never accepts.
    const left = waiting.filter((key) =>
      server.answer(key, sizeOf(key), server.steadyFrom) === "accepted"
    );
    assertEquals(left, [], `seed ${seed}: ${blame.state}`);
  }
});
