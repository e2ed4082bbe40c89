// The recorder with a schedule, with a missing microphone, and with one that hangs. Time and sound are
// simulated; tests/integration/capture/recorder_test.ts uses a real ffmpeg.

import { assert, assertEquals } from "@std/assert";
import { parseChunkName } from "../../src/chunk/chunk_name.ts";
import { Refusal } from "../../src/config/config_values.ts";
import { parseSchedule } from "../../src/config/schedule_text.ts";
import { noMicrophone } from "../fixtures/recorder_rig.ts";
import { simulatedRecorder } from "../fixtures/simulated_recorder.ts";
import { named } from "../fixtures/sockets.ts";
import { chunksIn } from "../fixtures/temp_spool.ts";

const NOON = Date.UTC(2026, 5, 15, 12);

Deno.test("the recorder looks for a missing microphone after 2, 4, 8 … 60 s, without limit", async () => {
  const looks: number[] = [];
  await using rig = await simulatedRecorder({
    microphones: noMicrophone(() => looks.push(rig.clock.monotonicMs())),
  });
  const { clock } = rig;
  rig.run();
  await clock.advance(400_000);
  const delays = looks.slice(1).map((at, index) => (at - (looks[index] ?? 0)) / 1000);
  assertEquals(delays.slice(0, 9), [2, 4, 8, 16, 32, 60, 60, 60, 60]);
  assertEquals(rig.codes(), ["microphone_missing"]);
  assertEquals(rig.report().status, "error");
  await rig.stop();
  assertEquals(clock.sleepers, 0);
});

Deno.test("outside the schedule no microphone is opened; a step of the clock is noticed within 5 s", async () => {
  let looks = 0;
  await using rig = await simulatedRecorder({
    schedule: { startMinute: 20 * 60, endMinute: 22 * 60 },
    microphones: noMicrophone(() => looks++),
  });
  const { clock } = rig;
  rig.run();
  await clock.advance(900_000);
  assertEquals(looks, 0);
  assertEquals(rig.report().status, "ok");
  clock.step(8 * 3_600_000); // 20:15
  await clock.advance(5_000);
  assert(looks > 0);
  assertEquals(rig.report().in_schedule, true);
  clock.step(-8 * 3_600_000); // 12:15 again
  await clock.advance(5_000);
  const before = looks;
  await clock.advance(120_000);
  assertEquals(looks, before);
  assertEquals(rig.report().problems, []);
  await rig.stop();
});

Deno.test("hours by weekday are recorded to the second, and hours that overlap are named", async () => {
  const schedule = parseSchedule("mon 12:01-12:02, 12:03-12:05; mon 12:04-12:06; tue 00:00-24:00");
  assert(!(schedule instanceof Refusal));
  await using rig = await simulatedRecorder({ schedule });
  const { clock } = rig;
  rig.microphones.microphone = named("usb");
  rig.run();
  const edges: [boolean, number][] = [];
  for (let second = 0; second < 400; second++) {
    await clock.advance(1_000);
    const { recording } = rig.report();
    if (recording !== (edges.at(-1)?.[0] ?? false)) edges.push([recording, second]);
  }
  const near = [60, 120, 180, 360];
  assertEquals(edges.map(([recording]) => recording), [true, false, true, false]);
  edges.forEach(([, second], i) =>
    assert(Math.abs(second - (near[i] ?? NaN)) < 3, `edge ${i} at ${second} s`)
  );
  assertEquals(rig.codes(), ["schedule_overlaps"]);
  assertEquals(rig.report().status, "degraded");
  await rig.stop();
});

Deno.test("recording begins and ends within 1 s of the schedule's edges", async () => {
  // From 12:00 to 12:01.
  await using rig = await simulatedRecorder({ schedule: { startMinute: 720, endMinute: 721 } });
  const { clock } = rig;
  rig.microphones.microphone = named("usb");
  clock.step(-2_500);
  rig.run();
  await clock.advance(4_500);
  assertEquals(rig.report().recording, true);
  clock.step(53_000); // 12:00:55, as if somebody had set the clock
  await clock.advance(8_000);
  assertEquals(rig.report().recording, false);
  await rig.stop();
  const chunks = chunksIn(rig.spool, "outbox").map(parseChunkName).filter((name) => name !== null);
  const startMs = (chunks[0]?.startUnixUs ?? 0) / 1000;
  const last = chunks.at(-1);
  const endMs = ((last?.startUnixUs ?? 0) + (last?.durationUs ?? 0)) / 1000;
  assert(startMs >= NOON - 100 && startMs < NOON + 1000, `began ${startMs - NOON} ms late`);
  const closing = NOON + 60_000;
  assert(Math.abs(endMs - closing) < 1000, `ended ${endMs - closing} ms from the edge`);
});

Deno.test("a microphone that hangs is noticed after 10 s, named, and opened again", async () => {
  await using rig = await simulatedRecorder();
  const { clock, ffmpegs, recorder } = rig;
  rig.microphones.microphone = named("usb");
  rig.run();
  await rig.records("usb");
  await clock.advance(500);
  ffmpegs.hang();
  const noticedMs = await rig.says("microphone_stalled");
  assert(noticedMs > 9_000 && noticedMs < 13_000, `${noticedMs} ms`);
  await rig.records("usb");
  assertEquals(rig.report().problems, []);
  assertEquals(rig.report().microphone_stalls_total, 1);
  await rig.stop();
  const { gapUs, scheduledUs, recordedUs, openUs } = recorder.balance();
  assert(gapUs > 9e6 && gapUs < 14e6, `${gapUs} us`);
  assertEquals([scheduledUs, openUs], [recordedUs + gapUs, 0]);
});

Deno.test("a microphone that delivers too little is named, and what is missing is declared as it is lost", async () => {
  const stream = { chunkSeconds: 5, sampleRate: 48_000, bitrateKbps: 24 };
  await using rig = await simulatedRecorder({
    stream: { ...stream, socketDir: null, vendor: "test" },
  });
  rig.ffmpegs.behave("usb", { kind: "plays", pace: 0.85 });
  rig.microphones.plug(named("usb"));
  rig.run();
  await rig.clock.advance(600_000);
  assertEquals(rig.codes(), ["microphone_rate"]);
  assertEquals(rig.report().recording, true);
  rig.microphones.plug(null);
  rig.ffmpegs.release();
  await rig.says("microphone_missing");
  assertEquals(rig.codes(), ["microphone_missing"]);
  await rig.stop();
  const { gapUs, recordedUs } = rig.recorder.balance();
  assert(Math.abs(gapUs / (gapUs + recordedUs) - 0.15) < 0.01, `${gapUs} of ${recordedUs}`);
  const causes = new Set(rig.lines.flatMap(({ cause }) => cause === undefined ? [] : [cause]));
  assertEquals(causes, new Set(["starting", "late", "stopping"]));
});
