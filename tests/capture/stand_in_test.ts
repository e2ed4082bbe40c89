// One microphone in place of another: a stand-in for the last one, a stopgap for one on USB. Time and sound
// are simulated; tests/integration/capture/recorder_test.ts uses a real ffmpeg.

import { assert, assertEquals } from "@std/assert";
import { problems } from "../../src/status/problems.ts";
import { simulatedRecorder } from "../fixtures/simulated_recorder.ts";
import { named, until } from "../fixtures/sockets.ts";

const TWIN = named("twin", { isStandIn: true, reason: "it is like the one that is away" });
const OWN = named("own");
const DEAD = { kind: "fails", diagnosis: problems.missing("own") } as const;
const SHORT = { kind: "plays", forMs: 1_000 } as const;

type Rig = Awaited<ReturnType<typeof simulatedRecorder>>;

/** The twin stands in, because the last microphone is away. */
async function recordStandIn(rig: Rig): Promise<void> {
  rig.microphones.plug(TWIN);
  rig.run();
  await rig.records("twin");
}

/** The gap before the current recording is declared when its first chunk is sealed. */
async function declares(rig: Rig, cause: string): Promise<void> {
  await rig.clock.advance(2_000);
  await until(`declares ${cause}`, () => rig.report().last_gap?.cause === cause);
}

Deno.test("a stand-in is recorded only after 5 s, the last microphone as soon as it is connected", async () => {
  for (const [comesBack, expected] of [[true, "last"], [false, "stand-in"]] as const) {
    await using rig = await simulatedRecorder();
    const { clock, microphones } = rig;
    microphones.plug(named("stand-in", { isStandIn: true }));
    rig.run();
    await clock.advance(1_500);
    if (comesBack) microphones.plug(named("last"));
    const tookMs = 1_500 + await rig.records(expected);
    const codes = rig.codes();
    await rig.stop();
    assertEquals(microphones.remembered, comesBack ? ["last"] : []);
    assertEquals(codes, comesBack ? [] : ["microphone_stand_in"]);
    assertEquals(rig.starts(), 1);
    assert(comesBack ? tookMs < 4_000 : tookMs > 5_000 && tookMs < 7_000, `${tookMs} ms`);
    const taken = rig.lines.filter(({ message }) => /chosen/.test(message));
    assertEquals(taken.map(({ microphone }) => microphone), [expected]);
  }
});

Deno.test("a stand-in gives way when the last microphone comes back, and is not remembered", async () => {
  await using rig = await simulatedRecorder();
  const { clock, microphones } = rig;
  await recordStandIn(rig);
  const [problem] = rig.report().problems;
  assert(/in place of the last one: it is like the one that is away/.test(problem?.message ?? ""));
  microphones.plug(TWIN); // another device
  await clock.advance(1_500);
  assertEquals([rig.report().microphone, rig.starts()], ["twin", 1]);
  microphones.plug(OWN);
  const tookMs = await rig.records("own");
  assert(tookMs < 4_000, `at once: ${tookMs} ms`);
  assertEquals(rig.report().problems, []);
  await declares(rig, "microphone_changed");
  await rig.stop();
  assertEquals(microphones.remembered, ["own"]);
});

Deno.test("a stand-in that was recorded for 8 h becomes the last microphone", async () => {
  await using rig = await simulatedRecorder();
  const { clock, microphones } = rig;
  microphones.standInMs = 3_600_000; // an hour before the program was started
  await recordStandIn(rig);
  clock.holdUp(6 * 3_600_000);
  await clock.advance(2_000);
  await until("counts", () => microphones.standInMs > 7 * 3_600_000);
  assertEquals(microphones.remembered, []);
  assertEquals(rig.codes(), ["microphone_stand_in"]);
  await clock.advance(1_500);
  clock.holdUp(3_600_000);
  await clock.advance(2_000);
  await until("remembers it", () => microphones.remembered.length > 0);
  assertEquals(microphones.remembered, ["twin"]);
  assertEquals(rig.codes(), []);
  microphones.plug(named("twin")); // it is the last one now, and is recorded already
  await clock.advance(2_500);
  assertEquals([rig.starts(), rig.report().recording], [1, true]);
  await rig.stop();
});

Deno.test("when a stand-in is lost, its problem ends, its recorded time is kept, and there is no second wait", async () => {
  await using rig = await simulatedRecorder();
  const { microphones } = rig;
  rig.ffmpegs.behave("twin", { kind: "plays", forMs: 2_000 });
  await recordStandIn(rig);
  assertEquals(rig.codes(), ["microphone_stand_in"]);
  microphones.microphone = null;
  await rig.says("microphone_lost");
  assertEquals(rig.codes(), ["microphone_lost"]);
  // The wait for the last one, without sound, does not count.
  await until("counts", () => microphones.standInMs > 500);
  assert(microphones.standInMs <= 2_000, `${microphones.standInMs}`);
  microphones.plug(TWIN);
  const tookMs = await rig.records("twin");
  assert(tookMs < 4_000, `it is known that the last one is away: ${tookMs} ms`);
  await rig.stop();
  assertEquals(microphones.remembered, []);
});

Deno.test("the last microphone is found within a minute after a plug at which it was not seen", async () => {
  await using rig = await simulatedRecorder();
  await recordStandIn(rig);
  rig.microphones.microphone = OWN; // for example, the look after the plug has failed
  await rig.clock.advance(2_500);
  assertEquals(rig.report().microphone, "twin");
  const tookMs = 2_500 + await rig.records("own");
  assert(tookMs < 62_000, `${tookMs} ms`);
  await rig.stop();
});

Deno.test("a last microphone that is back and gives no sound gives way to its stand-in", async () => {
  await using rig = await simulatedRecorder();
  const { clock, microphones, ffmpegs, starts } = rig;
  await recordStandIn(rig);
  microphones.second = TWIN;
  ffmpegs.behave("own", DEAD);
  microphones.plug(OWN);
  await clock.advanceUntil("tries it", () => starts() > 1);
  const tookMs = await rig.records("twin");
  assert(tookMs < 8_000, `${tookMs} ms`);
  assert(/back without lasting sound/.test(rig.report().problems[0]?.message ?? ""));
  const before = starts();
  microphones.plug(OWN); // its cable is loose
  await clock.advance(2_500);
  assertEquals(starts(), before, "not at every plug");

  ffmpegs.behave("own", { kind: "plays" });
  const againMs = await rig.records("own");
  assert(againMs < 122_000, `tried again after 1 min, at the next look: ${againMs} ms`);
  await rig.stop();
  assertEquals(microphones.remembered, ["own"]);
});

Deno.test("what a stand-in has waited for delays nothing after its sound", async () => {
  await using rig = await simulatedRecorder();
  const { clock, microphones, ffmpegs } = rig;
  ffmpegs.behave("twin", { kind: "fails", diagnosis: problems.busy("twin", []) });
  microphones.microphone = TWIN;
  rig.run();
  await clock.advance(400_000); // it is tried every minute now
  ffmpegs.behave("twin", { kind: "plays" });
  await rig.records("twin");
  ffmpegs.behave("own", DEAD);
  [microphones.microphone, microphones.second] = [OWN, TWIN]; // at the next look
  await rig.says("microphone_missing");
  const tookMs = await rig.records("twin");
  assert(tookMs < 5_000, `${tookMs} ms`);
  await rig.stop();
});

Deno.test("a last microphone that always dies soon after its first sound gives way to another one", async () => {
  await using rig = await simulatedRecorder();
  const { microphones } = rig;
  rig.ffmpegs.behave("own", SHORT);
  [microphones.microphone, microphones.second] = [OWN, TWIN];
  rig.run();
  const tookMs = await rig.records("twin");
  assert(tookMs < 20_000, `${tookMs} ms`);
  await rig.stop();
});

Deno.test("a last microphone that gives no sound from the start gives way to another one", async () => {
  await using rig = await simulatedRecorder();
  const { microphones } = rig;
  rig.ffmpegs.behave("own", DEAD);
  [microphones.microphone, microphones.second] = [OWN, TWIN];
  rig.run();
  const tookMs = await rig.records("twin");
  assert(tookMs < 4_000, `${tookMs} ms`);
  await rig.stop();
  assertEquals(microphones.remembered, []);
});

Deno.test("a last microphone that a driver holds gives way to another one", async () => {
  await using rig = await simulatedRecorder();
  const { microphones, ffmpegs } = rig;
  ffmpegs.behave("own", { kind: "hangs", isHeld: true });
  [microphones.microphone, microphones.second] = [OWN, TWIN];
  rig.run();
  const tookMs = await rig.records("twin");
  assert(tookMs < 28_000, `20 s without sound, 3 s of signals: ${tookMs} ms`);
  assertEquals(ffmpegs.running, 2);
  ffmpegs.release();
  await rig.stop();
});

Deno.test("a last microphone that comes and goes does not keep interrupting its stand-in", async () => {
  await using rig = await simulatedRecorder();
  const { clock, microphones, ffmpegs, starts } = rig;
  await recordStandIn(rig);
  microphones.second = TWIN;
  ffmpegs.behave("own", SHORT); // its cable is loose
  for (let time = 0; time < 2; time++) {
    const before = starts();
    microphones.plug(OWN);
    await clock.advanceUntil("takes over", () => starts() > before);
    await rig.says("microphone_lost");
    microphones.microphone = null;
    await rig.records("twin");
  }
  const before = starts();
  for (let time = 0; time < 3; time++) {
    microphones.plug(OWN);
    await clock.advance(1_200);
    microphones.microphone = null;
    await clock.advance(300);
  }
  assertEquals([rig.report().microphone, starts()], ["twin", before]);
  await rig.stop();
});

Deno.test("the loss of a stand-in is reported, whatever else was plugged in", async () => {
  await using rig = await simulatedRecorder();
  rig.ffmpegs.behave("twin", { kind: "plays", forMs: 3_000 });
  await recordStandIn(rig);
  rig.microphones.plug(TWIN); // for example a loudspeaker
  await rig.says("microphone_lost");
  await rig.stop();
});

Deno.test("the wait for the last microphone starts again after all of them were removed", async () => {
  await using rig = await simulatedRecorder();
  const { clock, microphones } = rig;
  microphones.plug(TWIN);
  rig.run();
  await clock.advance(3_000);
  microphones.plug(null); // the hub's power dips again
  await clock.advance(20_000);
  microphones.plug(TWIN);
  await clock.advance(4_000);
  assertEquals(rig.starts(), 0);
  await rig.stop();
});

Deno.test("a stopgap gives way to a microphone on USB, and to nothing else", async () => {
  await using rig = await simulatedRecorder();
  const { clock, microphones } = rig;
  microphones.plug(named("onboard", { isStopgap: true }));
  rig.run();
  await rig.records("onboard");
  const { looks } = microphones;
  microphones.plug(microphones.microphone); // for example a loudspeaker
  await clock.advanceUntil("looks", () => microphones.looks > looks);
  await clock.advance(2_000);
  assertEquals([rig.report().recording, rig.starts()], [true, 1]);
  microphones.plug(named("usb"));
  await rig.records("usb");
  await declares(rig, "microphone_changed");
  await rig.stop();
  assertEquals(microphones.remembered, ["onboard", "usb"]);
});
