// A day of everything that can flap, with the real workers and the log as in production: it must not
// fill the journal, and must not hide anything. Time passes only while a worker waits or sends.

import { assert, assertEquals } from "@std/assert";
import { resetSync } from "@logtape/logtape";
import { Recorder } from "../../../src/capture/recorder.ts";
import type { Clock } from "../../../src/system/clock.ts";
import { EVENTS, HeldLines, repeating } from "../../../src/system/held_lines.ts";
import { type Logger, startLog } from "../../../src/system/log.ts";
import { Janitor } from "../../../src/spool/janitor.ts";
import { Status } from "../../../src/status/status.ts";
import type { Verdict } from "../../../src/upload/verdict.ts";
import { Uploader } from "../../../src/upload/uploader.ts";
import { ids, makeName } from "../../fixtures/chunks.ts";
import { noMicrophone } from "../../fixtures/recorder_rig.ts";
import { TempSpool } from "../../fixtures/temp_spool.ts";
import { TickingClock } from "../../fixtures/ticking_clock.ts";

const DAY_S = 86_400;
/** For workers that need real time, for instance to write the files of chunks. */
const OUTAGE_S = 4 * 3600;
const START_MS = Date.UTC(2026, 10, 23);

/** Each wait returns at once and advances the time by its length. */
class HastyClock implements Clock {
  nowMs = 0;
  readonly unixMs = () => START_MS + this.nowMs;
  readonly monotonicMs = () => this.nowMs;
  /** Called after each wait. */
  onPassed: () => Promise<void> = () => Promise.resolve();

  async sleep(ms: number): Promise<void> {
    this.nowMs += ms;
    await this.onPassed();
  }
}

function aborted(signal?: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal?.aborted) resolve();
    signal?.addEventListener("abort", () => resolve(), { once: true });
  });
}

interface Line {
  atS: number;
  level: string;
  message: string;
  repeats?: number;
  code?: string;
}

/** The log of the service at INFO, on a clock that a worker drives. */
function startDay<C extends Pick<Clock, "monotonicMs" | "sleep">>(clock: C) {
  const lines: Line[] = [];
  const write = (bytes: Uint8Array) => {
    const line = JSON.parse(new TextDecoder().decode(bytes));
    lines.push({ ...line, atS: clock.monotonicMs() / 1000 });
  };
  const held = new HeldLines(clock);
  const log = startLog({ level: "INFO", journal: false, write, held });
  return { clock, lines, log, held, [Symbol.dispose]: () => resetSync() };
}

/** The same on a clock whose waits are over at once, with the status that workers report to. */
function startHastyDay() {
  const clock = new HastyClock();
  // What is held back is written with the next line: it must not drive the clock.
  const sleep = (_: number, signal?: AbortSignal) => aborted(signal);
  const day = startDay({ monotonicMs: clock.monotonicMs, sleep });
  const status = new Status({ ...ids, version: "1" }, clock);
  return { ...day, clock, status };
}

/** The number of lines in the worst minute that begins with a line, and in total. */
function count(lines: readonly Line[]): { worstMinute: number; all: number } {
  let worstMinute = 0;
  for (let from = 0, to = 0; from < lines.length; from++) {
    while (to < lines.length && (lines[to]?.atS ?? 0) < (lines[from]?.atS ?? 0) + 60) to++;
    worstMinute = Math.max(worstMinute, to - from);
  }
  return { worstMinute, all: lines.length };
}

function named(lines: readonly Line[], message: string): Line[] {
  return lines.filter((line) => line.message === message);
}

/** The lines that are written, and those that are counted in them. */
function said(lines: readonly Line[]): number {
  return lines.reduce((sum, { repeats = 0 }) => sum + 1 + repeats, 0);
}

/** Asserts at most a line per minute, over the whole time and in the last hour. */
function assertQuiet(lines: readonly Line[], seconds = DAY_S): void {
  const text = lines.map((line) => JSON.stringify(line)).join("\n");
  const { all, worstMinute } = count(lines);
  assert(all <= seconds / 60, `${all} lines`);
  assert(worstMinute <= 10, `${worstMinute} lines in a minute:\n${text}`);
  const late = lines.filter(({ atS }) => atS >= seconds - 3600);
  assert(late.length <= 60, `${late.length} lines in the last hour:\n${text}`);
}

/** A problem that lasts: at once, then after 1, 2, 4 … minutes, then every hour. */
const LINES_OF_A_PROBLEM = 1 + 6 + 24;

// ---- delivery

const FAILURES: Verdict[] = [
  { kind: "retry", reason: "the server answered 500: request 7f3a", retryAfterMs: null },
  { kind: "misconfigured", reason: "the server answered 401: the token is not accepted" },
];
const [BROKEN, FORBIDDEN] = FAILURES as [Verdict, Verdict];
const TAKEN: Verdict = { kind: "delivered", chunkId: "c" };
const REFUSED: Verdict = { kind: "refused", status: 422, reason: "the server answered 422" };

const outages: [what: string, answer: (attempt: number, minute: number) => Verdict][] = [
  ["is down", () => BROKEN],
  ["flaps between two failures", (attempt) => attempt % 2 === 0 ? BROKEN : FORBIDDEN],
  ["answers 401 and 200 in turn", (attempt) => attempt % 2 === 0 ? FORBIDDEN : TAKEN],
  ["answers 500 and 200 in turn", (attempt) => attempt % 2 === 0 ? BROKEN : TAKEN],
  ["refuses every chunk", () => REFUSED],
  ["fails on one chunk in eight forever", (_, minute) => minute % 8 === 0 ? BROKEN : TAKEN],
];

for (const [what, answer] of outages) {
  Deno.test(`four hours with a server that ${what}: a line for each chunk and change, few for what lasts`, async () => {
    await using temp = await TempSpool.open();
    using day = startHastyDay();
    const { clock, log, lines } = day;
    const stop = new AbortController();
    let attempts = 0;
    let minute = 0;
    let delivered = 0;
    clock.onPassed = async () => {
      for (; minute * 60_000 < clock.nowMs; minute++) {
        await temp.store("outbox", makeName(minute));
        log.getChild("recorder").info("Recorded.", { chunk: minute });
      }
      if (clock.nowMs >= OUTAGE_S * 1000) stop.abort();
    };
    const client = {
      async upload(
        { startUnixUs }: { startUnixUs: number },
        file: { close(): void },
      ): Promise<Verdict> {
        file.close();
        await clock.sleep(20_000);
        const verdict = answer(attempts++, Math.floor(startUnixUs / 60e6));
        if (verdict.kind === "delivered") delivered++;
        return verdict;
      },
    };
    const options = { retryMinMs: 0, retryMaxMs: 5 };
    const uploader = new Uploader(temp.spool, client, options, {
      ...day,
      log: log.getChild("uploader"),
    });
    await uploader.run(stop.signal);
    assert(attempts > 400, `${attempts} attempts`);
    assertEquals(named(lines, "Recorded.").length, minute);
    // One may be under way when the time is over.
    const told = named(lines, "Delivered.").length;
    assert(told === delivered || told === delivered - 1, `${told} of ${delivered} are told`);
    // An outage begins and ends with a line; between two of them a chunk is delivered.
    const { all } = count(lines);
    assert(all <= 2 * minute + 2 * delivered + 2 * LINES_OF_A_PROBLEM, `${all} lines`);
    const problems = lines.filter(({ code }) => code !== undefined);
    const ends = lines.filter(({ message }) => message.startsWith("Resolved after"));
    assert(problems.length - ends.length <= 2 * LINES_OF_A_PROBLEM, `${problems.length} problems`);
  });
}

// ---- the other workers

Deno.test("a day with a microphone that is missing in two ways in turn writes at most a line a minute", async () => {
  using day = startHastyDay();
  const { clock, lines, log, status } = day;
  // The schedule is watched concurrently: its waits do not advance the time.
  const sleep = (ms: number, signal?: AbortSignal) =>
    ms === 5000 ? aborted(signal) : clock.sleep(ms);
  const recorderClock: Clock = { unixMs: clock.unixMs, monotonicMs: clock.monotonicMs, sleep };
  await using temp = await TempSpool.open();
  const stop = new AbortController();
  let looks = 0;
  const missing = noMicrophone(() => {
    if (clock.nowMs >= DAY_S * 1000) stop.abort();
    if (looks++ % 2 === 0) throw new Error("find: I/O error");
  });
  const options = {
    schedule: { startMinute: 0, endMinute: 0 },
    timeZone: "UTC",
    stream: {
      chunkSeconds: 60,
      sampleRate: 48_000,
      bitrateKbps: 24,
      socketDir: null,
      vendor: "test",
    },
    syncIntervalMs: 5000,
    tags: {},
    provisional: () => undefined,
    microphones: missing,
  };
  const deps = { clock: recorderClock, spool: temp.spool, status, log: log.getChild("recorder") };
  await new Recorder(options, deps).run(stop.signal);
  assert(looks > 1000, `${looks} looks`);
  assertQuiet(lines);
});

Deno.test("a day with a disk that fills up and empties every few seconds: a line for each change, and no more", async () => {
  await using temp = await TempSpool.open();
  using day = startHastyDay();
  const { clock, lines } = day;
  let looks = 0;
  temp.spool.freeBytes = () => Promise.resolve(looks++ % 2 === 0 ? 1e6 : 1e12);
  const janitor = new Janitor(temp.spool, {
    keepDeliveredDays: 7,
    maxWaitingDays: 7,
    maxSpoolBytes: 20e9,
    minFreeBytes: 1e9,
    chunkBytes: 1e5,
  }, day);
  while (clock.nowMs < DAY_S * 1000) {
    await janitor.makeRoom();
    clock.nowMs += 5000;
  }
  assert(looks > 10_000);
  assertEquals(lines.length, looks);
  assertEquals(lines.filter(({ code }) => code === "disk_low").length, looks / 2);
});

// ---- the log itself

/** Calls `say` at this interval for a day, or for `seconds`. Returns the lines and their counts. */
async function wholeDay(
  everyMs: number,
  say: (log: Logger, turn: number) => void,
  seconds = DAY_S,
) {
  using day = startDay(new TickingClock());
  const { clock, log, lines, held } = day;
  let turns = 0;
  for (; clock.nowMs < seconds * 1000; turns++) {
    say(log, turns);
    await clock.advance(everyMs);
  }
  held.flush();
  return { lines, turns, ...count(lines) };
}

function sayProblem(log: Logger, part: string, code: string, flap: number): void {
  log.getChild(part).warning("{problem}", { problem: `${code}, time ${flap}`, code });
}

function sayResolved(log: Logger, part: string, code: string): void {
  log.getChild(part).warning("Resolved after {lasted_s} s: {resolved}.", {
    resolved: code,
    lasted_s: 1,
    ends: [code],
  });
}

for (const seconds of [60, 1]) {
  Deno.test(`a day of chunks of ${seconds} s: each is a line when it is recorded and one when it is delivered`, async () => {
    const { lines, turns, all } = await wholeDay(seconds * 1000, (log, chunk) => {
      log.getChild("recorder").info("Recorded.", { chunk });
      log.getChild("uploader").info("Delivered.", { chunk });
    });
    assertEquals(turns, DAY_S / seconds);
    assertEquals(all, 2 * turns);
    assert(lines.every(({ repeats }) => repeats === undefined));
  });
}

Deno.test("a day with a microphone that comes for a moment and goes: seven lines each time, and no more", async () => {
  // The recorder tries again after 2 s at the earliest.
  const { turns, all, worstMinute } = await wholeDay(2000, (log, flap) => {
    const recorder = log.getChild("recorder");
    sayProblem(log, "recorder", "microphone_lost", flap);
    sayResolved(log, "recorder", "microphone_lost");
    recorder.info("Microphone chosen.", { microphone: "usb", reason: "it is back" });
    recorder.info("Recording.", { microphone: "usb" });
    recorder.warning("Sound is missing.", { ms: 2000, cause: "microphone_lost" });
    recorder.info("Recorded.", { chunk: flap });
    log.getChild("uploader").info("Delivered.", { chunk: flap });
  });
  assertEquals(all, 7 * turns);
  assertEquals(all, 302_400);
  assertEquals(worstMinute, 210);
});

Deno.test("a day with a disk that fails and takes recordings again every second: two lines each time", async () => {
  const { turns, all } = await wholeDay(1000, (log, flap) => {
    sayProblem(log, "recorder", "disk_failing", flap);
    sayResolved(log, "recorder", "disk_failing");
  });
  assertEquals(all, 2 * turns);
});

Deno.test("a day with a disk that fails for good: at most 31 lines", async () => {
  const { lines, turns, all } = await wholeDay(
    1000,
    (log, time) => sayProblem(log, "recorder", "disk_failing", time),
  );
  assert(all <= LINES_OF_A_PROBLEM, `${all} lines`);
  assertEquals(said(lines), turns);
});

Deno.test("two hours with an ffmpeg that writes 94 lines a second, always new ones: one log line a minute", async () => {
  const word = (index: number) => [...String(index)].map((digit) => "abcdefghij"[+digit]).join("");
  const seconds = 2 * 3600;
  const { lines, turns, all } = await wholeDay(1000, (log, second) => {
    for (let line = 0; line < 94; line++) {
      // Half of them are of three kinds, the others differ.
      const text = line % 2 === 0 ? `xrun ${"!".repeat(line % 3)}` : word(second * 94 + line);
      log.getChild("recorder").warning("ffmpeg: {text}", repeating(text, { text }));
    }
  }, seconds);
  assert(all <= 20 + seconds / 60 + 1, `${all} lines`);
  assertEquals(said(lines), 94 * turns);
});

Deno.test("a week's backlog at 200 chunks a second: all in the log, in fewer lines than journald takes", async () => {
  using day = startDay(new TickingClock());
  const { clock, log, lines } = day;
  const chunks = 7 * 24 * 60;
  for (let chunk = 0; chunk < chunks; chunk++) {
    log.getChild("uploader").info("Delivered.", { chunk });
    if (chunk % 20 === 19) await clock.advance(100);
  }
  await clock.advance(1000); // a moment later the last one is there
  assertEquals(said(lines), chunks);
  assert(count(lines).worstMinute < 10_000 / 2, "journald takes 10,000 in 30 s");
  assert(lines.length <= EVENTS.burst + 110, `${lines.length} lines`);
});

Deno.test("a day of far more than two lines a second of each message: two lines a second are written", async () => {
  const { lines, turns, all } = await wholeDay(60_000, (log, turn) => {
    for (let line = 0; line < 200; line++) {
      log.getChild("recorder").info("Recorded.", { turn, line });
      sayProblem(log, "recorder", "microphone_lost", line);
      log.getChild("recorder").warning("Over.", { ends: ["microphone_lost"] });
    }
  });
  assertEquals(said(lines), 3 * 200 * turns);
  assert(all <= 3 * (EVENTS.burst + EVENTS.perMs * DAY_S * 1000), `${all} lines`);
});
