// How the recorder reconnects: what a plug changes, what an ffmpeg that hangs changes, and what is
// reported. Time and sound are simulated; tests/integration/capture/recorder_test.ts uses a real ffmpeg.

import { assert, assertAlmostEquals, assertEquals } from "@std/assert";
import { problems } from "../../src/status/problems.ts";
import { simulatedRecorder } from "../fixtures/simulated_recorder.ts";
import { named } from "../fixtures/sockets.ts";

const MISSING = problems.noMicrophone("a test");
const SHORT = { kind: "plays", forMs: 1_000 } as const;

Deno.test("a plug is noticed within 1 s, in the middle of a long wait, and the delay starts over", async () => {
  await using rig = await simulatedRecorder();
  const { clock, microphones } = rig;
  rig.run();
  await clock.advance(80_000); // looks at 0, 2, 6, 14, 30, 62 s; the next look would be at 122 s
  assertEquals(microphones.looks, 6);
  microphones.plug(null); // not a microphone
  await clock.advance(1_000);
  assert(microphones.looks > 6);
  await clock.advance(3_250); // it settles
  const settled = microphones.looks;
  await clock.advance(14_000); // 2, 4, 8 s
  assertEquals(microphones.looks, settled + 3);
  await rig.stop();
});

Deno.test("for 3 s after a plug a failure is not reported, and the recorder tries again at once", async () => {
  await using rig = await simulatedRecorder();
  const { clock, microphones } = rig;
  rig.run();
  await clock.advance(10_000);
  microphones.diagnosis = problems.forbidden("hw:1,0"); // udev has not given the node its group
  microphones.plug(null);
  await clock.advance(1_000);
  const plugged = microphones.looks;
  await clock.advance(2_000);
  assertEquals(microphones.looks, plugged + 8);
  assertEquals(rig.codes(), ["microphone_missing"]);
  await clock.advance(2_000); // the failure persists
  assertEquals(rig.codes(), ["microphone_forbidden"]);
  await rig.stop();
});

Deno.test("a problem has one line when it begins, and one with its duration when it ends", async () => {
  await using rig = await simulatedRecorder();
  const { microphones } = rig;
  rig.run();
  await rig.clock.advanceUntil("fails twice", () => microphones.looks === 2);
  const [problem] = rig.report().problems;
  assertEquals(problem?.message, `${MISSING.message}. ${MISSING.fix}`);
  microphones.plug(named("usb"));
  await rig.records("usb");
  assertEquals(rig.report().problems, []);
  await rig.stop();
  const said = rig.lines.filter(({ level, message }) =>
    level === "WARNING" && !/Sound/.test(message)
  );
  assertEquals(said.map(({ message }) => message.replace(/[\d.]+ s/, "N s")), [
    MISSING.message,
    "Resolved after N s: microphone_missing.",
  ]);
  assertEquals(said[0]?.fix, MISSING.fix);
  const lastedS = Number(said[1]?.lasted_s);
  assert(lastedS > 2 && lastedS < 5, `${lastedS} s`);
  assertEquals(microphones.remembered, ["usb"]);
});

Deno.test("a loss of sound is reported, however soon after the plug it comes", async () => {
  await using rig = await simulatedRecorder();
  const { microphones } = rig;
  rig.ffmpegs.behave("loose", SHORT);
  rig.run();
  await rig.clock.advanceUntil("fails", () => microphones.looks === 1);
  microphones.plug(named("loose"));
  await rig.records("loose");
  await rig.says("microphone_lost");
  assertEquals(microphones.looks, 2);
  await rig.stop();
});

Deno.test("a problem that turns out to be another one is one outage, with one end", async () => {
  await using rig = await simulatedRecorder();
  const { clock, microphones } = rig;
  rig.ffmpegs.behave("usb", SHORT);
  microphones.plug(named("usb"));
  rig.run();
  await rig.says("microphone_lost");
  const [lost] = rig.report().problems;
  const lostMs = clock.monotonicMs();
  microphones.plug(null);
  await rig.says("microphone_missing");
  const [missing] = rig.report().problems;
  assertEquals([rig.report().problems.length, missing?.since], [1, lost?.since]);
  await clock.advance(1_000);
  rig.ffmpegs.behave("usb", { kind: "plays" });
  microphones.plug(named("usb"));
  await rig.records("usb");
  const outageS = (clock.monotonicMs() - lostMs) / 1000;
  await rig.stop();
  const over = rig.lines.filter(({ message }) => /^Resolved after/.test(message));
  assertEquals(over.map(({ resolved }) => resolved), ["microphone_missing"]);
  // Counted from the loss, not from the change to microphone_missing, which came 2 s later.
  assertAlmostEquals(Number(over[0]?.lasted_s), outageS, 0.1);
});

Deno.test("the report of a failure contains what the system knows about it", async () => {
  await using rig = await simulatedRecorder();
  const { microphones } = rig;
  rig.ffmpegs.behave("usb", { kind: "fails", diagnosis: problems.missing("hw:CARD=Nowhere") });
  microphones.plug(named("usb"));
  microphones.explain = ({ code }, { name }) => {
    assertEquals([code, name], ["microphone_missing", "usb"]);
    return Promise.resolve(problems.busy(name, [{ pid: 77, program: "arecord" }]));
  };
  rig.run();
  await rig.says("microphone_busy");
  const [problem] = rig.report().problems;
  assert(/in use by arecord \(process 77\)/.test(problem?.message ?? ""), problem?.message);
  await rig.stop();
});

Deno.test("after a driver holds an ffmpeg, the next one starts only when it ends, or after a plug", async () => {
  await using rig = await simulatedRecorder();
  const { clock, microphones, ffmpegs, starts } = rig;
  ffmpegs.behave("usb", { kind: "hangs", isHeld: true });
  microphones.microphone = named("usb"); // connected for a long time
  rig.run();
  await clock.advance(25_000); // 20 s without sound, 3 s of signals
  assertEquals([rig.codes(), starts()], [["ffmpeg_stuck"], 1]);
  await clock.advance(150_000);
  assertEquals(starts(), 1);

  // After a plug another attempt is made, but not forever.
  for (const expected of [2, 3, 4, 5, 6, 7, 8, 8, 8]) {
    microphones.plug(named("usb"));
    await clock.advance(30_000);
    assertEquals(starts(), expected);
  }
  assertEquals(ffmpegs.running, 8);
  ffmpegs.release();
  await clock.advance(3_000);
  assert(starts() > 8, "at once");
  ffmpegs.release();
  await rig.stop();
});

Deno.test("an ffmpeg that a driver holds does not delay later recordings", async () => {
  await using rig = await simulatedRecorder();
  const { clock, microphones, ffmpegs, starts } = rig;
  ffmpegs.behave("usb", { kind: "hangs", isHeld: true });
  microphones.microphone = named("usb");
  rig.run();
  await rig.says("ffmpeg_stuck");
  ffmpegs.behave("usb", SHORT);
  microphones.plug(named("usb"));
  // The sound ends, and the recorder tries again although the first ffmpeg is still held.
  await clock.advanceUntil("is tried again", () => starts() === 3);
  assertEquals(ffmpegs.running, 2);
  ffmpegs.release();
  await rig.stop();
});

Deno.test("a microphone that always dies soon after its first sound is tried after 2, 4, 8 … 60 s", async () => {
  const delaysFor = async (forMs: number, count: number): Promise<number[]> => {
    await using rig = await simulatedRecorder();
    rig.ffmpegs.behave("usb", { kind: "plays", forMs });
    rig.microphones.microphone = named("usb");
    rig.run();
    const delays: number[] = [];
    await rig.clock.advanceUntil("is opened", () => rig.starts() === 1);
    for (let n = 1; n <= count; n++) {
      const tookMs = await rig.clock.advanceUntil("is opened again", () => rig.starts() > n);
      delays.push(Math.round((tookMs - forMs) / 1000));
    }
    await rig.stop();
    return delays;
  };
  assertEquals(await delaysFor(1_000, 9), [2, 2, 4, 8, 16, 32, 60, 60, 60]);
  // One that is recorded most of the time in spite of a loose cable.
  assertEquals(await delaysFor(15_000, 5), [2, 2, 2, 2, 2]);
});

Deno.test("a device that does not deliver at a rate that it offers is recorded at another one", async () => {
  const attempts = ([48_000, 44_100, 16_000] as const).map((sampleRate) => (
    { kind: "alsa", pcm: `at ${sampleRate}`, channels: 1, sampleRate } as const
  ));
  const cannotSet = problems.failed("cannot set parameters (Broken pipe)", "");
  for (const behaviour of [{ kind: "fails", diagnosis: cannotSet }, { kind: "hangs" }] as const) {
    await using rig = await simulatedRecorder();
    const { clock, microphones, ffmpegs, starts } = rig;
    ffmpegs.behave("at 48000", behaviour);
    ffmpegs.behave("at 44100", { kind: "plays", forMs: 15_000 });
    microphones.microphone = named("usb", { attempts });
    rig.run();
    const tookMs = await rig.records("usb");
    assertEquals(starts(), 3);
    assert(tookMs < (behaviour.kind === "fails" ? 10_000 : 100_000), `${tookMs} ms`);
    await clock.advanceUntil("is lost", () => starts() > 3);
    await rig.records("usb");
    assertEquals(starts(), 4, "the next start begins with the rate that gave sound");
    await rig.stop();
    const said = rig.lines.filter(({ message }) => message === "Recording.");
    assertEquals(said.map(({ sample_rate }) => sample_rate), [44_100, 44_100]);
  }
});

Deno.test("a rate that gave sound by chance is left after a plug, and at the next hours of the schedule", async () => {
  const attempts = ([48_000, 16_000] as const).map((sampleRate) => (
    { kind: "alsa", pcm: `at ${sampleRate}`, channels: 1, sampleRate } as const
  ));
  const usb = named("usb", { attempts });
  for (const event of ["a plug", "a night"]) {
    await using rig = await simulatedRecorder({
      schedule: { startMinute: 11 * 60, endMinute: 13 * 60 },
    });
    const { clock, microphones, ffmpegs, starts } = rig;
    const fails = { kind: "fails", diagnosis: problems.failed("Input/output error", "") } as const;
    ffmpegs.behave("at 48000", fails); // a bad hub
    ffmpegs.behave("at 16000", { kind: "plays", forMs: 15_000 });
    microphones.microphone = usb;
    rig.run();
    await rig.records("usb");
    ffmpegs.behave("at 48000", { kind: "plays" });
    const before = starts();
    if (event === "a plug") {
      await rig.says("microphone_lost");
      microphones.plug(usb);
    } else {
      clock.step(10 * 3_600_000);
      await clock.advance(6_000);
      clock.step(14 * 3_600_000);
    }
    await clock.advanceUntil("opens it", () => starts() > before);
    await rig.records("usb");
    await rig.stop();
    const said = rig.lines.filter(({ message }) => message === "Recording.");
    assertEquals(said.map(({ sample_rate }) => sample_rate), [16_000, undefined], event);
  }
});

Deno.test("a format that the hardware lacks is requested once, not with each channel count", async () => {
  const attempts = (["hw", "hw", "hw", "plughw"] as const).map((pcm, index) => (
    { kind: "alsa", pcm, channels: index + 1, sampleRate: 48_000 } as const
  ));
  await using rig = await simulatedRecorder();
  const { clock, microphones, ffmpegs, starts } = rig;
  const diagnosis = { ...problems.format("hw"), rulesOutPcm: true };
  ffmpegs.behave("hw", { kind: "fails", diagnosis });
  ffmpegs.behave("plughw", { kind: "plays", forMs: 15_000 });
  microphones.microphone = named("hat", { attempts });
  rig.run();
  await rig.records("hat");
  assertEquals(starts(), 2);
  await clock.advanceUntil("is lost", () => starts() > 2);
  await rig.records("hat");
  assertEquals(starts(), 3, "at the next start not at all");
  ffmpegs.behave("hw", { kind: "fails", diagnosis: problems.format("hw") }); // a channel count
  microphones.microphone = named("array", { attempts });
  await clock.advanceUntil("is lost", () => starts() > 3);
  await rig.records("array");
  assertEquals(starts(), 7);
  await rig.stop();
});

Deno.test("a microphone has 20, then 40, then 80 s for its first sound, and 10 s between two pieces", async () => {
  await using rig = await simulatedRecorder();
  const { clock, ffmpegs, microphones, starts } = rig;
  ffmpegs.behave("usb", { kind: "hangs" });
  microphones.microphone = named("usb");
  rig.run();
  const stalls = () => rig.report().microphone_stalls_total;
  for (const [stall, seconds] of [20, 40, 80, 80].entries()) {
    await clock.advanceUntil(`start ${stall + 1}`, () => starts() === stall + 1, 120_000);
    const startedMs = clock.monotonicMs();
    await clock.advanceUntil(`stall ${stall + 1}`, () => stalls() === stall + 1, 120_000);
    const tookMs = clock.monotonicMs() - startedMs;
    assert(Math.abs(tookMs - seconds * 1000) < 5_000, `${tookMs} ms, not ${seconds} s`);
  }
  ffmpegs.behave("usb", { kind: "plays" });
  await rig.records("usb");
  ffmpegs.behave("usb", { kind: "hangs" });
  ffmpegs.hang();
  const hungMs = clock.monotonicMs();
  await clock.advanceUntil("notices", () => stalls() === 5, 30_000);
  const noticedMs = clock.monotonicMs();
  assert(noticedMs - hungMs < 14_000, `${noticedMs - hungMs} ms`);
  await clock.advanceUntil("hangs at the start", () => stalls() === 6, 30_000); // 20 s again
  await rig.stop();
});
