// The recorder by the schedule, with a microphone that is missing, and with one that hangs.

import { assert, assertEquals } from "@std/assert";
import { singleMicrophone } from "../../src/microphone/microphones.ts";
import { type Clock, systemClock } from "../../src/system/clock.ts";
import { parseChunkName } from "../../src/chunk/chunk_name.ts";
import { PulseMicrophone } from "../fixtures/pulse_microphone.ts";
import { noMicrophone, recorderRig } from "../fixtures/recorder_rig.ts";
import { SimulatedClock } from "../fixtures/simulated_clock.ts";
import { chunksIn } from "../fixtures/temp_spool.ts";

const NOON = Date.UTC(2026, 5, 15, 12);

Deno.test("a missing microphone is looked for after 2, 4, 8 … 60 s, without limit", async () => {
  const clock = new SimulatedClock(NOON);
  await using setup = await recorderRig(clock);
  const looks: number[] = [];
  const recorder = setup.recorder({
    microphones: noMicrophone(() => looks.push(clock.monotonicMs())),
  });
  const stop = new AbortController();
  const running = recorder.run(stop.signal);
  await clock.advance(400_000);
  const delays = looks.slice(1).map((at, index) => (at - (looks[index] ?? 0)) / 1000);
  assertEquals(delays.slice(0, 9), [2, 4, 8, 16, 32, 60, 60, 60, 60]);
  assertEquals(setup.status.report(setup.spool).problems.map(({ code }) => code), [
    "microphone_missing",
  ]);
  assertEquals(setup.status.report(setup.spool).status, "error");
  stop.abort();
  await running;
  assertEquals(clock.sleepers, 0);
});

Deno.test("outside the schedule nothing is opened; a step of the clock is seen within 5 s", async () => {
  const clock = new SimulatedClock(NOON);
  await using setup = await recorderRig(clock);
  let looks = 0;
  const recorder = setup.recorder({
    schedule: { startMinute: 20 * 60, endMinute: 22 * 60 },
    microphones: noMicrophone(() => looks++),
  });
  const stop = new AbortController();
  const running = recorder.run(stop.signal);
  await clock.advance(900_000);
  assertEquals(looks, 0);
  assertEquals(setup.status.report(setup.spool).status, "ok");
  clock.step(8 * 3_600_000); // 20:15
  await clock.advance(5_000);
  assert(looks > 0);
  assertEquals(setup.status.report(setup.spool).in_schedule, true);
  clock.step(-8 * 3_600_000); // 12:15 again
  await clock.advance(5_000);
  const before = looks;
  await clock.advance(120_000);
  assertEquals(looks, before);
  assertEquals(setup.status.report(setup.spool).problems, []);
  stop.abort();
  await running;
});

Deno.test("recording begins and ends within 1 s of the schedule's edges", async () => {
  // 2.5 s before 12:00 by a clock that runs as time does, recording from 12:00 to 12:01.
  const offsetMs = NOON - 2_500 - Date.now();
  let skippedMs = 0;
  const clock: Clock = { ...systemClock, unixMs: () => Date.now() + offsetMs + skippedMs };
  await using setup = await recorderRig(clock);
  const recorder = setup.recorder({ schedule: { startMinute: 720, endMinute: 721 } });
  const stop = new AbortController();
  const running = recorder.run(stop.signal);
  await systemClock.sleep(4_500);
  assertEquals(setup.status.report(setup.spool).recording, true);
  skippedMs = 53_000; // 12:00:55, as if somebody had set the clock
  await systemClock.sleep(8_000);
  assertEquals(setup.status.report(setup.spool).recording, false);
  stop.abort();
  await running;
  const chunks = chunksIn(setup.spool, "outbox").map(parseChunkName).filter((name) =>
    name !== null
  );
  const startMs = (chunks[0]?.startUnixUs ?? 0) / 1000;
  const last = chunks.at(-1);
  const endMs = ((last?.startUnixUs ?? 0) + (last?.durationUs ?? 0)) / 1000;
  assert(startMs >= NOON - 100 && startMs < NOON + 1000, `began ${startMs - NOON} ms late`);
  const closing = NOON + 60_000;
  assert(Math.abs(endMs - closing) < 1000, `ended ${endMs - closing} ms from the edge`);
});

Deno.test("a microphone that hangs is noticed after 10 s, named, and opened again", async () => {
  await using microphone = await PulseMicrophone.start();
  const saved = Object.keys(microphone.env).map((name) => [name, Deno.env.get(name)] as const);
  for (const [name, value] of Object.entries(microphone.env)) Deno.env.set(name, value);
  try {
    await using setup = await recorderRig(systemClock);
    const recorder = setup.recorder({
      microphones: singleMicrophone({
        name: "usbmic",
        reason: "a test",
        attempts: [{ kind: "alsa", pcm: microphone.device, channels: 1, sampleRate: 48000 }],
      }),
    });
    const stop = new AbortController();
    const running = recorder.run(stop.signal);
    const until = async (what: string, condition: () => boolean) => {
      const endMs = performance.now() + 25_000;
      while (!condition()) {
        assert(performance.now() < endMs, what);
        await systemClock.sleep(50);
      }
    };
    const report = () => setup.status.report(setup.spool);
    await until("records", () => report().recording);
    await systemClock.sleep(500);
    await microphone.suspend();
    const hungMs = performance.now();
    await until("stall", () => setup.status.hasProblem("microphone_stalled"));
    const noticedMs = performance.now() - hungMs;
    assert(noticedMs > 9_000 && noticedMs < 18_000, `${noticedMs} ms`);
    await microphone.resume();
    await until("records again", () => report().recording);
    assertEquals(report().problems, []);
    const { microphone_stalls_total } = report();
    assert(microphone_stalls_total >= 1 && microphone_stalls_total <= 2, "counted");
    stop.abort();
    await running;
    const { gapUs, scheduledUs, recordedUs, openUs } = recorder.balance();
    assert(gapUs > 9e6 && gapUs < 20e6, `${gapUs} us`);
    assertEquals([scheduledUs, openUs], [recordedUs + gapUs, 0]);
  } finally {
    for (const [name, value] of saved) {
      if (value === undefined) Deno.env.delete(name);
      else Deno.env.set(name, value);
    }
  }
});
