import { assert, assertEquals } from "@std/assert";
import { join } from "@std/path/join";
import { formatPartName } from "../../src/chunk/chunk_name.ts";
import { noMicrophone, recorderOptions, recorderRig } from "../fixtures/recorder_rig.ts";
import { SimulatedClock } from "../fixtures/simulated_clock.ts";
import { simulatedRecorder } from "../fixtures/simulated_recorder.ts";
import { named } from "../fixtures/sockets.ts";
import { systemClock } from "../../src/system/clock.ts";

const NOON = Date.UTC(2026, 5, 15, 12);

/** The entries of gaps.jsonl. */
async function declaredIn(dir: string): Promise<Record<string, unknown>[]> {
  const text = await Deno.readTextFile(join(dir, "gaps.jsonl")).catch(() => "");
  return text.split("\n").filter((line) => line !== "").map((line) => JSON.parse(line));
}

Deno.test("scheduled time without sound is declared as a gap in the log, /health and gaps.jsonl", async () => {
  const clock = new SimulatedClock(NOON);
  await using rig = await recorderRig(clock);
  const stop = new AbortController();
  const recorder = rig.recorder({ microphones: noMicrophone(() => {}) });
  const ended = recorder.run(stop.signal);
  await clock.advance(100_000);
  stop.abort();
  await ended;
  const gap = { start: new Date(NOON).toISOString(), ms: 100_000, cause: "stopping" };
  const end = new Date(NOON + 100_000).toISOString();
  assertEquals(await declaredIn(rig.spool.dir), [{ ...gap, end }]);
  const line = rig.lines.find(({ message }) => message === "Sound is missing.");
  assertEquals(
    [line?.level, line?.["start"], line?.["ms"], line?.["cause"]],
    ["WARNING", gap.start, gap.ms, gap.cause],
  );
  assertEquals(rig.report().last_gap, gap);
  const { scheduledUs, gapUs, openUs, gaps } = recorder.balance();
  assertEquals([scheduledUs, gapUs, openUs, gaps], [100e6, 100e6, 0, 1]);
});

Deno.test("the gap of a day without sound ends with the schedule, and the night is not a gap", async () => {
  const clock = new SimulatedClock(NOON);
  await using rig = await recorderRig(clock);
  const stop = new AbortController();
  const schedule = { startMinute: 12 * 60 + 1, endMinute: 12 * 60 + 3 };
  const recorder = rig.recorder({ schedule, microphones: noMicrophone(() => {}) });
  const ended = recorder.run(stop.signal);
  await clock.advance(600_000);
  stop.abort();
  await ended;
  const declared = await declaredIn(rig.spool.dir);
  assertEquals(declared.map(({ cause }) => cause), ["schedule_end"]);
  const [{ start, end }] = declared as [{ start: string; end: string }];
  assert(Math.abs(Date.parse(start) - (NOON + 60_000)) <= 1000, start);
  assert(Math.abs(Date.parse(end) - (NOON + 180_000)) <= 1000, end);
});

Deno.test("a moment without sound at the start is declared, but without a warning", async () => {
  const clock = new SimulatedClock(NOON);
  await using rig = await recorderRig(clock);
  const stop = new AbortController();
  const ended = rig.recorder({ microphones: noMicrophone(() => {}) }).run(stop.signal);
  await clock.advance(1500);
  stop.abort();
  await ended;
  const lines = rig.lines.filter(({ message }) => message === "Sound is missing.");
  assertEquals(lines.map(({ level, ms }) => [level, ms]), [["INFO", 1500]]);
});

Deno.test("a chunk that is deleted or cannot be sealed costs itself and not the rest of the day, whatever ends the recording", async () => {
  for (const end of ["schedule", "pause", "stop", "deletion"] as const) {
    let pausedMs = 0;
    const hours = { startMinute: 12 * 60, endMinute: 12 * 60 + (end === "schedule" ? 1 : 60) };
    const options = { schedule: hours, stream: { ...recorderOptions().stream, chunkSeconds: 20 } };
    await using till = await simulatedRecorder(options, { pausedForMs: () => pausedMs });
    const { spool, clock } = till;
    const create = spool.create.bind(spool);
    const files = (sub: "recording" | "outbox") =>
      [...Deno.readDirSync(spool.path(sub, ""))].length;
    let parts = 0;
    spool.create = async (name) => {
      const part = await create(name);
      if (parts++ !== 1) return part;
      if (end === "deletion") await Deno.remove(spool.path("recording", formatPartName(name)));
      else part.seal = () => Promise.reject(new Error("Input/output error"));
      return part;
    };
    till.microphones.plug(named("usb"));
    till.run();
    await till.records("usb");
    while (clock.unixMs() < NOON + 55_000) {
      await clock.advance(1000);
      await systemClock.sleep(1); // the disk is real
    }
    // It may be late with the file of the third chunk.
    for (let tries = 0; tries < 20_000 && parts < 3; tries++) await systemClock.sleep(1);
    if (end === "pause") {
      pausedMs = 3_600_000;
      till.recorder.pauseChanged();
    }
    const declared = () => till.lines.filter(({ message }) => message === "Sound is missing.");
    const long = () => declared().filter(({ ms }) => Number(ms) > 5000);
    if (end === "schedule" || end === "pause") {
      for (let tries = 0; tries < 1000 && long().length === 0; tries++) {
        await clock.advance(1000);
        await systemClock.sleep(5);
      }
    }
    if (end === "schedule") assertEquals(long().map(({ cause }) => cause), ["disk_failing"], end);
    let hasEnded = false;
    const ended = till.stop().finally(() => hasEnded = true);
    while (!hasEnded) {
      // At a stop the writer gives the disk 2 s, of a time that passes only when the disk is ready.
      const sealed = till.lines.filter(({ message }) => message === "Recorded.").length;
      const stuck = end === "deletion" ? 0 : 1;
      const isReady = files("recording") <= stuck && files("outbox") === sealed;
      if (isReady && till.ffmpegs.running === 0) await clock.advance(500);
      await systemClock.sleep(1);
    }
    await ended;
    const all = long().map(({ cause, ms }) => [cause, Math.round(Number(ms) / 1000)]);
    assertEquals(all.filter(([cause]) => cause !== "paused"), [["disk_failing", 20]], end);
  }
});
