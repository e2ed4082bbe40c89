// A pause: its states, and what the recorder makes of it. Time and sound are simulated.

import { assert, assertEquals } from "@std/assert";
import {
  fromRecord,
  leftMs,
  pauseFor,
  type PauseState,
  RUNNING,
  spanOf,
  toRecord,
  withTrueTime,
} from "../../src/capture/pause.ts";
import { systemClock } from "../../src/system/clock.ts";
import { simulatedRecorder } from "../fixtures/simulated_recorder.ts";
import { named } from "../fixtures/sockets.ts";

const UNIX = Date.UTC(2026, 10, 29, 12);
const NOW = { monotonicMs: 5_000, unixMs: UNIX };
const MINUTE = 60_000;

Deno.test("a pause lasts as long as it was asked for, and another one replaces it", () => {
  const paused = pauseFor(15 * MINUTE, NOW);
  assertEquals([leftMs(paused, 5_000), leftMs(paused, 5_000 + 14 * MINUTE)], [
    15 * MINUTE,
    MINUTE,
  ]);
  assertEquals(leftMs(paused, 5_000 + 15 * MINUTE), 0);
  const other = pauseFor(MINUTE, { monotonicMs: 5_000 + MINUTE, unixMs: UNIX + MINUTE });
  assertEquals(leftMs(other, 5_000 + MINUTE), MINUTE);
  assertEquals(leftMs(RUNNING, 0), 0);
});

Deno.test("a pause survives a restart, whatever the clocks do meanwhile, and never becomes longer", () => {
  const record = toRecord(pauseFor(15 * MINUTE, NOW), NOW, true);
  assertEquals(record, {
    until: "2026-11-29T12:15:00.000Z",
    duration_s: 900,
    synchronized: true,
  });
  const left = (unixMs: number) =>
    leftMs(fromRecord(record, { monotonicMs: 1, unixMs }, 60 * MINUTE), 1);
  assertEquals(left(UNIX + 5 * MINUTE), 10 * MINUTE);
  assertEquals(left(UNIX + 15 * MINUTE), 0);
  assertEquals(left(UNIX + 1e10), 0);
  assertEquals(left(UNIX - 1e10), 15 * MINUTE, "a clock without a battery");
  const endless = { until: "2027-11-29T12:00:00Z", duration_s: 1e9 };
  const taken = fromRecord(endless, NOW, 60 * MINUTE);
  assertEquals(leftMs(taken, NOW.monotonicMs), 60 * MINUTE, "a record that somebody has changed");
  assertEquals(toRecord(RUNNING, NOW, true), null);
  assertEquals(toRecord(pauseFor(1, NOW), { ...NOW, monotonicMs: 6_000 }, true), null);
});

Deno.test("a board that boots with a time in the past ends a pause when its clock is synchronized", () => {
  const taken = (synchronized: boolean) =>
    fromRecord(
      toRecord(pauseFor(60 * MINUTE, NOW), NOW, synchronized),
      { monotonicMs: 1_000, unixMs: UNIX + MINUTE },
      600 * MINUTE,
    );
  const left = (state: PauseState, unixMs: number) =>
    leftMs(withTrueTime(state, { monotonicMs: 2_000, unixMs }), 2_000) / MINUTE;
  assertEquals(left(taken(true), UNIX + 600 * MINUTE), 0, "the next morning");
  assertEquals(left(taken(true), UNIX + 50 * MINUTE), 10);
  assertEquals(Math.round(left(taken(true), UNIX - 50 * MINUTE)), 59, "never longer");
  assertEquals(Math.round(left(taken(false), UNIX + 600 * MINUTE)), 59, "its end is not known");
  assertEquals(
    left(pauseFor(MINUTE, { ...NOW, monotonicMs: 2_000 }), UNIX + 1e10),
    1,
    "of this run",
  );
  assertEquals(withTrueTime(RUNNING, NOW), RUNNING);
  const morning = { monotonicMs: 2_000, unixMs: UNIX + 600 * MINUTE };
  const [startMs, endMs] = [2_000 - 600 * MINUTE, 2_000 - 540 * MINUTE];
  assertEquals(spanOf(taken(true), morning, true), { startMs, endMs }, "when it was");
  assertEquals(spanOf(taken(true), morning, false)?.endMs, 1_000 + 59 * MINUTE);
  assertEquals(spanOf(taken(false), morning, true)?.startMs, 1_000 - MINUTE);
  assertEquals(spanOf(RUNNING, NOW, true), null);
});

Deno.test("what is not a record of a pause counts as no pause", () => {
  const records = [null, 7, "x", [], {}, { until: "x", duration_s: 5 }, {
    until: "2036-01-01T00:00:00Z",
    duration_s: "x",
  }];
  for (const record of records) {
    assertEquals(fromRecord(record, NOW, MINUTE), RUNNING, JSON.stringify(record));
  }
});

async function rig(schedule = { startMinute: 0, endMinute: 0 }) {
  let state: PauseState = RUNNING;
  const pausedForMs = (): number => leftMs(state, setup.clock.monotonicMs());
  const setup = await simulatedRecorder({ schedule }, { pausedForMs });
  setup.microphones.plug(named("usb"));
  const now = () => ({ monotonicMs: setup.clock.monotonicMs(), unixMs: setup.clock.unixMs() });
  return {
    ...setup,
    pause: (ms: number) => {
      state = ms === 0 ? RUNNING : pauseFor(ms, now());
      setup.recorder.pauseChanged();
    },
    gaps: () =>
      setup.lines.flatMap(({ cause, ms }) =>
        cause === undefined ? [] : [[cause, Math.round(Number(ms) / 1000)]]
      ),
  };
}

Deno.test("a pause ends the recording at once, and recording resumes by itself", async () => {
  await using till = await rig();
  till.run();
  await till.records("usb");
  await till.clock.advance(10_000);
  till.pause(10 * MINUTE);
  await till.clock.advanceUntil("ends", () => till.ffmpegs.running === 0, 10_000);
  await till.clock.advance(9 * MINUTE);
  assertEquals([till.starts(), till.codes()], [1, []]);
  await till.clock.advanceUntil("resumes", () => till.starts() === 2, 70_000);
  await till.records("usb");
  await till.clock.advance(5_000);
  await till.stop();
  const [[cause, seconds] = []] = till.gaps().filter(([, seconds]) => Number(seconds) > 5);
  assertEquals(cause, "paused");
  assert(Math.abs(Number(seconds) - 600) <= 2, `${seconds} s`);
});

Deno.test("resuming ends a pause at once", async () => {
  await using till = await rig();
  till.run();
  await till.records("usb");
  till.pause(600 * MINUTE);
  await till.clock.advance(60_000);
  till.pause(0);
  const tookMs = await till.records("usb");
  assert(tookMs < 3_000, `${tookMs} ms`);
  await till.stop();
});

Deno.test("a pause over the end of the schedule, or over the stop of the program, is one gap with its cause", async () => {
  await using till = await rig({ startMinute: 12 * 60, endMinute: 12 * 60 + 2 });
  till.run();
  await till.records("usb");
  await till.clock.advance(30_000);
  till.pause(60 * MINUTE);
  await till.clock.advance(3 * MINUTE);
  // It is declared once the disk, which is real, has the last chunk.
  for (let tries = 0; till.gaps().length === 0 && tries < 1000; tries++) {
    await systemClock.sleep(1);
    await till.clock.advance(6_000);
  }
  const gaps = till.gaps().filter(([, seconds]) => Number(seconds) > 5);
  assertEquals(gaps.map(([cause]) => cause), ["paused"]);
  await till.stop();

  await using stopped = await rig();
  stopped.run();
  await stopped.records("usb");
  stopped.pause(60 * MINUTE);
  await stopped.clock.advance(MINUTE);
  await stopped.stop();
  const last = stopped.gaps().at(-1);
  assertEquals(last?.[0], "paused");
});
