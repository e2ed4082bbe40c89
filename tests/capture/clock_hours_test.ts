// The hours of the schedule while the clock is not right: what they cost is declared. Time and sound are simulated.

import { assert, assertEquals } from "@std/assert";
import { join } from "@std/path/join";
import type { Before } from "../../src/capture/before_start.ts";
import { readChunkHeader } from "../../src/chunk/chunk_file.ts";
import { type DailySchedule, isInSchedule } from "../../src/config/schedule.ts";
import type { GapRecord } from "../../src/status/gap_log.ts";
import { makeName } from "../fixtures/chunks.ts";
import { seededRandom } from "../fixtures/random.ts";
import { simulatedRecorder } from "../fixtures/simulated_recorder.ts";
import { named } from "../fixtures/sockets.ts";

const HOUR = 3_600_000;
/** By the clock of the recorder, when it starts. */
const NOON = Date.UTC(2026, 5, 15, 12);
const CAUSE = "clock_not_synchronized";

/** The last chunk ended at noon; the machine has booted since. */
const BEFORE: Before = {
  chunk: { ...makeName(), startUnixUs: NOON * 1000 - 60e6, durationUs: 60e6 },
  wasCutOff: false,
  declaredEndsMs: [],
  boot: { id: "b", zeroMs: 20_000 },
};

function schedule(endHour: number): DailySchedule {
  return { startMinute: 8 * 60, endMinute: endHour * 60 };
}

/** A recorder in chunks of 60 s whose clock is not synchronized until `trust()`. */
async function rig(endHour: number, before: Before = BEFORE) {
  let isRight = false;
  const provisional = (startMs: number) =>
    isRight ? undefined : { bootId: "b", startBootUs: startMs * 1000, seenUnixS: null };
  const stream = { chunkSeconds: 60, sampleRate: 48000, bitrateKbps: 24 };
  const setup = await simulatedRecorder({
    ...{ schedule: schedule(endHour), provisional, before },
    stream: { ...stream, socketDir: null, vendor: "test" },
  });
  setup.microphones.plug(named("usb"));
  setup.run();
  return {
    ...setup,
    trust: () => {
      isRight = true;
      setup.recorder.clockTrusted();
    },
    /** After `stop()`: the declared gaps but those at the start and the end, in seconds; the balance must be even. */
    gaps: () => {
      const { scheduledUs, recordedUs, gapUs, openUs } = setup.recorder.balance();
      assertEquals([scheduledUs, openUs], [recordedUs + gapUs, 0]);
      return setup.lines.flatMap(({ cause, start, ms }) =>
        cause === undefined || cause === "stopping" || cause === "starting"
          ? []
          : [{ cause, start: String(start), seconds: Math.round(Number(ms) / 1000) }]
      );
    },
    /** GAP_CAUSE and GAP_BEFORE_MS of the chunks, in the order in which they were recorded. */
    tags: () => {
      const dir = setup.spool.path("outbox", "");
      return [...Deno.readDirSync(dir)].map(({ name }) =>
        readChunkHeader(Deno.readFileSync(join(dir, name)))?.tags ?? {}
      ).sort((a, b) => (a["START"] ?? "") < (b["START"] ?? "") ? -1 : 1)
        .map(({ GAP_CAUSE, GAP_BEFORE_MS }) => [GAP_CAUSE, GAP_BEFORE_MS]);
    },
  };
}

/** The true time of the start is 07:45 of the next day, and the schedule began at 08:00. */
const AHEAD = 19.75 * HOUR;
const MISSED = { cause: CAUSE, start: "2026-06-16T08:00:00.000Z" };

for (
  const [when, waitMs] of [["at once", 0], ["during the first chunk", 20_000]] as const
) {
  Deno.test(`what a schedule by a wrong clock did not record is declared, if the clock is trusted ${when}`, async () => {
    await using till = await rig(12);
    await till.clock.advance(3.5 * HOUR);
    assertEquals(till.starts(), 0);
    till.clock.step(AHEAD);
    if (waitMs === 0) till.trust();
    await till.records("usb");
    await till.clock.advance(waitMs);
    if (waitMs > 0) till.trust();
    await till.clock.advance(100_000);
    await till.stop();
    const [gap, ...more] = till.gaps();
    assertEquals(more, []);
    const { seconds = NaN, ...missed } = gap ?? {};
    assertEquals(missed, MISSED);
    assert(3.25 * 3600 <= seconds && seconds <= 3.25 * 3600 + 5, `${seconds} s`);
    const [[cause, gapMs] = [], ...rest] = till.tags();
    assertEquals(cause, CAUSE, "the night does not hide it");
    assert(Math.abs(Number(gapMs) - 23.25 * HOUR) < 10_000, gapMs);
    assertEquals(new Set(rest.map(([cause]) => cause)), new Set([undefined]));
  });
}

Deno.test("what a wrong clock cost is declared later, too, and is not the cause of another gap", async () => {
  await using till = await rig(12);
  await till.clock.advance(3.5 * HOUR);
  till.clock.step(AHEAD);
  await till.records("usb");
  await till.clock.advance(100_000); // a chunk has its tags
  till.trust();
  till.microphones.plug(null);
  till.ffmpegs.release();
  await till.clock.advance(10_000);
  till.microphones.plug(named("usb"));
  await till.records("usb");
  await till.stop();
  assertEquals(till.gaps().map(({ cause }) => cause), [CAUSE, "microphone_missing"]);
  const records = (await Deno.readTextFile(join(till.spool.dir, "gaps.jsonl"))).trimEnd()
    .split("\n").map((line): GapRecord => JSON.parse(line));
  assertEquals(
    records.map(({ cause, clock }) => [cause, clock]),
    [
      [CAUSE, undefined],
      ["microphone_missing", undefined],
      ["stopping", undefined],
    ],
  );
  assertEquals(till.tags().map(([cause]) => cause).at(-1), "microphone_missing");
});

Deno.test("a schedule that a wrong clock ends too early costs a gap of its own", async () => {
  await using till = await rig(13, { ...BEFORE, chunk: null });
  await till.clock.advance(2.5 * HOUR); // it is 09:00 to 11:30
  till.clock.step(-3 * HOUR);
  till.trust();
  await till.records("usb");
  await till.clock.advance(10_000);
  await till.stop();
  const missed = till.gaps().filter(({ cause }) => cause === CAUSE);
  assertEquals(missed.length, 1);
  assert(Math.abs((missed[0]?.seconds ?? NaN) - 1.5 * 3600) <= 5, `${missed[0]?.seconds} s`);
  assertEquals(till.tags().filter(([cause]) => cause === CAUSE).length, 1);
});

Deno.test("what a wrong clock cost is declared when the program stops, and not if nobody knows", async () => {
  for (const isTrusted of [true, false]) {
    await using till = await rig(12);
    await till.clock.advance(3.5 * HOUR);
    till.clock.step(AHEAD);
    if (isTrusted) till.trust();
    await till.stop();
    assertEquals(till.gaps().map(({ seconds }) => seconds), isTrusted ? [3.25 * 3600] : []);
  }
});

Deno.test("nothing is declared if it was not scheduled by the true time either", async () => {
  await using till = await rig(12);
  await till.clock.advance(1 * HOUR);
  till.clock.step(AHEAD - 0.75 * HOUR - 60_000); // it is 07:59
  till.trust();
  await till.records("usb");
  await till.clock.advance(10_000);
  await till.stop();
  assertEquals(till.gaps(), []);
  assertEquals(till.tags()[0]?.[0], "outside_schedule");
});

Deno.test("whatever the clock says and whenever it becomes right, each hour that was scheduled is in the balance", async () => {
  for (let seed = 1; seed <= 5; seed++) {
    const random = seededRandom(seed);
    await using till = await rig(12, { ...BEFORE, chunk: null });
    till.microphones.plug(null); // a day of sound takes long to simulate
    till.ffmpegs.release();
    const beginMs = till.clock.monotonicMs();
    // Unix minus monotonic ms, by the clock of the till from a time on.
    const offsets: { fromMs: number; offsetMs: number }[] = [];
    const passes = async (ms: number) => {
      const fromMs = till.clock.monotonicMs();
      offsets.push({ fromMs, offsetMs: till.clock.unixMs() - fromMs });
      await till.clock.advance(ms);
    };
    for (let step = Math.floor(random() * 3); step >= 0; step--) {
      await passes(Math.round(random() * 8 * HOUR));
      till.clock.step(Math.round((random() - 0.5) * 40 * HOUR));
    }
    await passes(Math.round(random() * 30_000)); // it is right, and nobody knows yet
    till.trust();
    await till.clock.advance(Math.round(random() * 20 * HOUR));
    await till.stop();
    till.gaps();
    const trueMs = offsets.at(-1)?.offsetMs ?? NaN;
    const isScheduled = (unixMs: number) => isInSchedule(unixMs, schedule(12), "UTC");
    let expectedMs = 0;
    for (let atMs = beginMs; atMs < till.clock.monotonicMs(); atMs += 10_000) {
      const { offsetMs } = offsets.findLast(({ fromMs }) => fromMs <= atMs) ?? { offsetMs: NaN };
      if (isScheduled(atMs + offsetMs) || isScheduled(atMs + trueMs)) expectedMs += 10_000;
    }
    const { scheduledUs } = till.recorder.balance();
    const offMs = scheduledUs / 1000 - expectedMs;
    // The clock is looked at every 5 s, and here every 10 s.
    assert(
      Math.abs(offMs) <= 16_000 * offsets.length,
      `seed ${seed}: ${offMs} ms of ${expectedMs}`,
    );
  }
});
