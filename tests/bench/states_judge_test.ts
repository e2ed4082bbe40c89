// How the benchmark of all states judges samples: which growth it reports, and how it counts child
// processes.

import { assertEquals, assertMatch, assertThrows } from "@std/assert";
import { childrenIn, since, total } from "../../bench/states/children.ts";
import {
  childrenWords,
  type Limits,
  objectionsTo,
  type Sample,
  summarize,
  type Window,
} from "../../bench/states/judge.ts";
import type { State } from "../../bench/states/scene.ts";
import { findStates, STATES } from "../../bench/states/table.ts";
import { median, slope } from "../../bench/statistics.ts";

const WINDOW: Window = { warmUpS: 300, medianS: 60 };
const LIMITS: Limits = { grownKb: 1024, aboveKb: 5 * 1024, descriptors: 2 };
const QUIET: State = { name: "quiet", words: "", records: false, set: () => ({ config: {} }) };
const RECORDING: State = { ...QUIET, name: "recording", records: true };

/** Half an hour of samples, every 10 s; `change` modifies each. */
function samples(change: (atS: number) => Partial<Sample> = () => ({})): Sample[] {
  return Array.from({ length: 180 }, (_, index) => {
    const atS = 10 * (index + 1);
    return {
      ...{ atS, cpuS: atS / 1000, hasFfmpeg: false, children: new Map([["grep", 1]]) },
      ...{ rssKb: 80_000, anonymousKb: 30_000, pssKb: 60_000, privateKb: 30_000 },
      ...{ descriptors: 18, threads: 2 },
      ...change(atS),
    };
  });
}

function objections(state: State, change?: (atS: number) => Partial<Sample>): string[] {
  return objectionsTo(state, summarize(samples(change), WINDOW), LIMITS);
}

Deno.test("a process that does not grow is flat", () => {
  assertEquals(objections(QUIET), []);
  const { slopeKbS, cpuMsPerS, descriptors } = summarize(samples(), WINDOW);
  assertEquals([slopeKbS, descriptors], [0, { from: 18, to: 18 }]);
  assertEquals(cpuMsPerS.toFixed(3), "1.000");
});

Deno.test("growth during the warm-up does not count", () => {
  const grown = (atS: number) => ({ anonymousKb: 20_000 + 100 * Math.min(atS, 260) });
  assertEquals(objections(QUIET, grown), []);
});

Deno.test("memory that climbs is reported with its slope", () => {
  const climbing = (atS: number) => ({ anonymousKb: 30_000 + 110 * atS });
  const [grown = "", above = ""] = objections(QUIET, climbing);
  assertMatch(grown, /^quiet: it grew by 158\.\d MB in 25 min: at most 1\.0 MB is allowed$/);
  assertMatch(above, /^quiet: it once held 161\.\d MB more/);
  assertEquals(summarize(samples(climbing), WINDOW).slopeKbS.toFixed(3), "110.000");
});

Deno.test("one peak does not count as growth, but must not be high", () => {
  const peak = (kb: number) => (atS: number) => atS === 1000 ? { anonymousKb: 30_000 + kb } : {};
  assertEquals(objections(QUIET, peak(4000)), []);
  assertMatch(objections(QUIET, peak(6000)).join(), /it once held 5\.9 MB more/);
});

Deno.test("pages of the program file that are no longer shared do not count as growth", () => {
  assertEquals(objections(QUIET, (atS) => atS > 1000 ? { privateKb: 70_000 } : {}), []);
});

Deno.test("a descriptor that leaks every few minutes is reported", () => {
  const leaking = (atS: number) => ({ descriptors: 18 + Math.floor(atS / 300) });
  assertEquals(objections(QUIET, leaking), ["quiet: it holds 4 more descriptors"]);
});

Deno.test("programs started at an interval are reported in a state in which nothing happens", () => {
  const interval = (atS: number) => ({ children: new Map([["find", atS], ["grep", 3]]) });
  assertEquals(objections(QUIET, interval), ["quiet: it started 1500 find"]);
  const recording = (atS: number) => ({ ...interval(atS), hasFfmpeg: true });
  assertEquals(objections(RECORDING, recording), ["recording: it started 1500 find"]);
});

Deno.test("the zone of the machine may be read once, and not at an interval", () => {
  const asked = (times: number) => (atS: number) => ({
    hasFfmpeg: true,
    children: new Map([["timedatectl", atS > 600 ? times : 0]]),
  });
  assertEquals(objections(RECORDING, asked(1)), []);
  assertEquals(objections(RECORDING, asked(2)), ["recording: it started 2 timedatectl"]);
});

Deno.test("a microphone that cannot be opened may cost only a few programs per attempt", () => {
  const state: State = { ...QUIET, name: "cannot-open", startsPrograms: true };
  const attempts = (helpers: number) => (atS: number) => {
    const ffmpeg = Math.floor(atS / 60);
    return { children: new Map([["ffmpeg", ffmpeg], ["find", helpers * ffmpeg]]) };
  };
  assertEquals(objections(state, attempts(4)), []);
  assertEquals(objections(state, attempts(9)), ["cannot-open: it started 225 find, 25 ffmpeg"]);
});

Deno.test("programs started because a microphone was lost are accepted", () => {
  const lost = (atS: number) => ({
    hasFfmpeg: true,
    children: new Map(atS > 1000 ? [["ffmpeg", 2], ["find", 9]] : [["ffmpeg", 1], ["find", 3]]),
  });
  assertEquals(objections(RECORDING, lost), []);
});

Deno.test("a wrong state is reported", () => {
  assertEquals(objections(RECORDING), ["recording: it recorded in 0 % of the time only"]);
  const recorded = objections(QUIET, () => ({ hasFfmpeg: true }));
  assertEquals(recorded, ["quiet: it recorded, which it should not"]);
});

Deno.test("without samples after the warm-up the result is an error", () => {
  assertThrows(() => summarize(samples().slice(0, 30), WINDOW), RangeError, "at least two");
});

Deno.test("each child process counts once, under its final program, without the agent itself", () => {
  const trace = [
    '100 execve("/opt/agent", ["/opt/agent"], 0x1 /* 35 vars */) = 0',
    '101 execve("/usr/bin/grep", ["grep"], 0x1 /* 35 vars */) = 0',
    "101 +++ exited with 0 +++",
    '102 execve("/usr/bin/setpriv", ["setpriv"], 0x1 /* 35 vars */ <unfinished ...>',
    '103 execve("/usr/bin/find", ["find"], 0x1 /* 35 vars */) = 0',
    "102 <... execve resumed>)                = 0",
    '102 execve("/usr/local/bin/ffmpeg", ["ffmpeg"], 0x1 /* 35 vars */) = -1 ENOENT (No such file)',
    '102 execve("/usr/bin/ffmpeg", ["ffmpeg", "a) = 0"...], 0x1 /* 35 vars */) = 0',
    "103 +++ killed by SIGKILL +++",
    "104 +++ exited with 0 +++",
    "a line of something else",
    '101 execve("/usr/bin/grep", ["grep"], 0x1 /* 35 vars */) = 0',
  ].join("\n");
  const children = childrenIn(trace, 100);
  assertEquals(Object.fromEntries(children), { grep: 2, find: 1, ffmpeg: 1 });
  assertEquals(childrenWords(children), "2 grep, 1 find, 1 ffmpeg");
  assertEquals(total(children), 4);
  const later = since(new Map([["grep", 2], ["find", 0]]), children);
  assertEquals(Object.fromEntries(later), { find: 1, ffmpeg: 1 });
});

Deno.test("every state has a unique name, and the error for an unknown name lists all", () => {
  const names = STATES.map(({ name }) => name);
  assertEquals(new Set(names).size, names.length);
  assertEquals(findStates(["503", "recording"]).map(({ name }) => name), ["503", "recording"]);
  assertThrows(() => findStates(["x"]), Error, `there is none: ${names.join(", ")}`);
});

Deno.test("the statistics agree with their definitions", () => {
  assertEquals(median([5, 1, 3]), 3);
  assertEquals(median([4, 1, 3, 2]), 2.5);
  assertEquals(median([]), NaN);
  assertEquals(slope([[0, 1], [1, 3], [2, 5]]), 2);
});
