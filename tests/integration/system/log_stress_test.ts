// A day of everything that can flap, with the real workers and the log as in production: it must not
// fill the journal, and must not hide anything. Time passes only while a worker waits or sends.

import { assert, assertEquals } from "@std/assert";
import { resetSync } from "@logtape/logtape";
import { Recorder } from "../../../src/capture/recorder.ts";
import type { Clock } from "../../../src/system/clock.ts";
import { type Logger, startLog } from "../../../src/system/log.ts";
import { Janitor } from "../../../src/spool/janitor.ts";
import { Status } from "../../../src/status/status.ts";
import type { Verdict } from "../../../src/upload/ingest_client.ts";
import { Uploader } from "../../../src/upload/uploader.ts";
import { ids, makeName } from "../../fixtures/chunks.ts";
import { noMicrophone } from "../../fixtures/recorder_rig.ts";
import { TempSpool } from "../../fixtures/temp_spool.ts";

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
}

/** The log of the service at INFO, on a clock that a worker drives. */
function startDay() {
  const clock = new HastyClock();
  const lines: Line[] = [];
  const write = (bytes: Uint8Array) => {
    const line = JSON.parse(new TextDecoder().decode(bytes));
    lines.push({ ...line, atS: clock.nowMs / 1000 });
  };
  const log = startLog({ level: "INFO", journal: false, write, holdRepeatsBy: clock });
  const status = new Status({ ...ids, version: "1" }, clock);
  return { clock, lines, log, status, [Symbol.dispose]: () => resetSync() };
}

/** The number of lines in the worst minute that begins with a line, and in total. */
function count(lines: readonly Line[]): { worstMinute: number; all: number } {
  const within = lines.map(({ atS }) =>
    lines.filter((other) => other.atS >= atS && other.atS < atS + 60).length
  );
  return { worstMinute: Math.max(0, ...within), all: lines.length };
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
  ["fails on one chunk in eight for ever", (_, minute) => minute % 8 === 0 ? BROKEN : TAKEN],
];

for (const [what, answer] of outages) {
  Deno.test(`four hours with a server that ${what} log at most a line per minute`, async () => {
    await using temp = await TempSpool.open();
    using day = startDay();
    const { clock, log, lines } = day;
    const stop = new AbortController();
    let attempts = 0;
    let minute = 0;
    clock.onPassed = async () => {
      for (; minute * 60_000 < clock.nowMs; minute++) {
        await temp.store("outbox", makeName(minute));
        log.getChild("recorder").info("Recorded.", { chunk: minute });
      }
      if (clock.nowMs >= OUTAGE_S * 1000) stop.abort();
    };
    const client = {
      async upload({ startUnixUs }: { startUnixUs: number }): Promise<Verdict> {
        await clock.sleep(20_000);
        return answer(attempts++, Math.floor(startUnixUs / 60e6));
      },
    };
    const options = { retryMinMs: 0, retryMaxMs: 5 };
    const uploader = new Uploader(temp.spool, client, options, {
      ...day,
      log: log.getChild("uploader"),
    });
    await uploader.run(stop.signal);
    assert(attempts > 400, `${attempts} attempts`);
    assertQuiet(lines, OUTAGE_S);
  });
}

// ---- the other workers

Deno.test("a day with a microphone that is missing in two alternating ways logs at most a line per minute", async () => {
  using day = startDay();
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

Deno.test("a day with a disk that fills up and empties every few seconds logs at most a line per minute", async () => {
  await using temp = await TempSpool.open();
  using day = startDay();
  const { clock, lines } = day;
  let looks = 0;
  temp.spool.freeBytes = () => Promise.resolve(looks++ % 2 === 0 ? 1e6 : 1e12);
  const janitor = new Janitor(temp.spool, {
    maxSpoolDays: 7,
    maxWaitingDays: 7,
    maxSpoolBytes: 20e9,
    minFreeBytes: 1e9,
    chunkBytes: 1e5,
  }, day);
  while (clock.nowMs < DAY_S * 1000) {
    await janitor.makeRoom();
    clock.nowMs += 5000;
  }
  assert(lines.length > 5 && looks > 10_000);
  assertQuiet(lines);
});

// ---- the log itself

/** The log lines of the parts when a microphone, a disk and a server all flap at once. */
function sayEverything(log: Logger, flap: number): number {
  const recorder = log.getChild("recorder");
  const problem = (part: string, code: string) =>
    log.getChild(part).warning("{problem}", { problem: `${code}, time ${flap}`, code });
  problem("recorder", "microphone_lost");
  problem("recorder", "microphone_stalled");
  recorder.info("Recording.", { microphone: "usb" });
  recorder.warning("Sound is missing.", { ms: flap, cause: "microphone_lost" });
  recorder.info("Recorded.", { chunk: flap });
  problem("recorder", "disk_failing");
  recorder.warning("Resolved after {lasted_s} s: {resolved}.", {
    resolved: "disk_failing",
    lasted_s: flap,
  });
  problem("janitor", "disk_low");
  problem("uploader", "upload_failing");
  problem("uploader", "upload_misconfigured");
  log.getChild("uploader").warning("Resolved after {lasted_s} s: {resolved}.", {
    resolved: "upload_misconfigured",
    lasted_s: flap,
    failed_attempts: flap,
  });
  return 11;
}

Deno.test("a day of flaps every three seconds logs few lines, counts each repeat and ends with the latest state", () => {
  using day = startDay();
  const { clock, lines, log } = day;
  let said = 0;
  while (clock.nowMs < DAY_S * 1000) {
    said += sayEverything(log, said);
    clock.nowMs += 3000;
  }
  const { all, worstMinute } = count(lines);
  assert(all <= 11 * (7 + 24), `${all} lines`);
  assert(worstMinute <= 2 * 11, `${worstMinute} lines in a minute`);
  // An hour later the latest state of everything has been logged, and the sum is correct.
  clock.nowMs += 3_600_000;
  log.info("recorder-agent has stopped.");
  const told = lines.reduce((sum, { repeats = 0 }) => sum + 1 + repeats, 0);
  assertEquals(told, said + 1);
  const lastFlap = said - 11;
  for (const code of ["microphone_lost", "disk_low", "upload_misconfigured"]) {
    assert(lines.some(({ message }) => message === `${code}, time ${lastFlap}`), code);
  }
});
