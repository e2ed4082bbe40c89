// One microphone in the place of another: a stand-in for the one recorded last, a stopgap for one on USB.

import { assert, assertEquals } from "@std/assert";
import type { Microphone } from "../../src/microphone/microphones.ts";
import { systemClock } from "../../src/system/clock.ts";
import { withFakePrograms } from "../fixtures/fake_programs.ts";
import { recorderRig } from "../fixtures/recorder_rig.ts";
import { ShiftedClock } from "../fixtures/shifted_clock.ts";
import { SimulatedClock } from "../fixtures/simulated_clock.ts";
import { advanceUntil, named, Sockets, until } from "../fixtures/sockets.ts";

const NOON = Date.UTC(2026, 5, 15, 12);
const TWIN = named("twin", { isStandIn: true, reason: "it is like the one that is away" });
const DEAD = named("own", {
  attempts: [{ kind: "alsa", pcm: "hw:CARD=Nowhere", channels: 1, sampleRate: 48000 }],
});

/** A recorder that records a stand-in, as the last microphone is away. Stop it, then dispose of it. */
async function recordStandIn(twin: Microphone = TWIN, standInMs = 0) {
  const clock = new ShiftedClock(NOON);
  const rig = await recorderRig(clock);
  const microphones = new Sockets();
  microphones.standInMs = standInMs;
  microphones.plug(twin);
  const stop = new AbortController();
  const running = rig.recorder({ microphones }).run(stop.signal);
  await until("looks", () => microphones.looks > 0);
  clock.moveAhead(5_000); // the wait for the last one
  await until("records", () => rig.report().recording);
  return {
    ...rig,
    microphones,
    clock,
    starts: () => rig.status.counters.captureStarts,
    stop: async () => {
      stop.abort();
      await running;
    },
  };
}

Deno.test("a stand-in is taken only after 5 s, and the last microphone as soon as it is there", async () => {
  for (const [comesBack, expected] of [[true, "last"], [false, "stand-in"]] as const) {
    await using rig = await recorderRig(systemClock);
    const microphones = new Sockets();
    microphones.plug(named("stand-in", { isStandIn: true }));
    const stop = new AbortController();
    const startedMs = performance.now();
    const running = rig.recorder({ microphones }).run(stop.signal);
    await systemClock.sleep(1500);
    if (comesBack) microphones.plug(named("last"));
    await until("records", () => rig.report().recording);
    const tookMs = performance.now() - startedMs;
    const problems = rig.report().problems.map(({ code }) => code);
    stop.abort();
    await running;
    assertEquals(rig.report().microphone ?? expected, expected);
    assertEquals(microphones.remembered, comesBack ? ["last"] : []);
    assertEquals(problems, comesBack ? [] : ["microphone_stand_in"]);
    assertEquals(rig.status.counters.captureStarts, 1);
    assert(comesBack ? tookMs < 4_000 : tookMs > 5_000 && tookMs < 8_000, `${tookMs} ms`);
    const taken = rig.lines.filter(({ message }) => /chosen/.test(message));
    assertEquals(taken.map(({ microphone }) => microphone), [expected]);
  }
});

Deno.test("a stand-in is left when the last microphone comes back, and was never kept to", async () => {
  await using rig = await recordStandIn();
  const { microphones } = rig;
  const [problem] = rig.report().problems;
  assert(/in place of the last one: it is like the one that is away/.test(problem?.message ?? ""));
  microphones.plug(TWIN); // something else
  await systemClock.sleep(1500);
  assertEquals([rig.report().microphone, rig.starts()], ["twin", 1]);
  const pluggedMs = performance.now();
  microphones.plug(named("own"));
  await until("changes", () => rig.report().microphone === "own");
  assert(performance.now() - pluggedMs < 4_000, "at once");
  assertEquals(rig.report().problems, []);
  await until("declares", () => rig.report().last_gap?.cause === "microphone_changed");
  await rig.stop();
  assertEquals(microphones.remembered, ["own"]);
});

Deno.test("a stand-in that was recorded for 8 h is the one to keep to", async () => {
  const successor = named("successor", { isStandIn: true });
  // An hour before the program was started.
  await using rig = await recordStandIn(successor, 3_600_000);
  const { microphones, clock } = rig;
  clock.moveAhead(6 * 3_600_000);
  await until("counts", () => microphones.standInMs > 7 * 3_600_000);
  assertEquals(microphones.remembered, []);
  assert(rig.status.hasProblem("microphone_stand_in"));
  await systemClock.sleep(1_500);
  clock.moveAhead(3_600_000);
  await until("keeps to it", () => microphones.remembered.length > 0);
  assertEquals(microphones.remembered, ["successor"]);
  assert(!rig.status.hasProblem("microphone_stand_in"));
  microphones.plug(named("successor")); // it is found as the one to keep to, and is recorded already
  await systemClock.sleep(2_500);
  assertEquals([rig.starts(), rig.report().recording], [1, true]);
  await rig.stop();
});

Deno.test("what is left of a stand-in: no problem, the time it was recorded, and no second wait", async () => {
  const short = { kind: "lavfi", graph: "sine=440:sample_rate=48000:duration=2" } as const;
  await using rig = await recordStandIn({ ...TWIN, attempts: [short] });
  const { microphones } = rig;
  assert(rig.status.hasProblem("microphone_stand_in"));
  microphones.microphone = null;
  await until("is lost", () => rig.status.hasProblem("microphone_lost"));
  assertEquals(rig.report().problems.map(({ code }) => code), ["microphone_lost"]);
  // What nobody heard, while the last one was waited for, does not count.
  assert(microphones.standInMs > 500 && microphones.standInMs < 4_000, `${microphones.standInMs}`);
  const pluggedMs = performance.now();
  microphones.plug(TWIN);
  await until("records again", () => rig.report().recording);
  assert(performance.now() - pluggedMs < 4_000, "it is known that the last one is away");
  await rig.stop();
  assertEquals(microphones.remembered, []);
});

Deno.test("the last microphone is found a minute after a plug at which it was not seen", async () => {
  await using rig = await recordStandIn();
  rig.microphones.microphone = named("own"); // the look at the plug has failed, say
  await systemClock.sleep(2_500);
  assertEquals(rig.report().microphone, "twin");
  rig.clock.moveAhead(61_000);
  await until("changes", () => rig.report().microphone === "own");
  await rig.stop();
});

Deno.test("the last microphone that is back and gives nothing is left for its stand-in", async () => {
  await using rig = await recordStandIn();
  const { microphones } = rig;
  microphones.second = TWIN;
  microphones.plug(DEAD);
  await until("tries it", () => rig.starts() > 1);
  await until("records the twin again", () => rig.report().recording);
  assertEquals(rig.report().microphone, "twin");
  assert(/back without a sound/.test(rig.report().problems[0]?.message ?? ""));
  const starts = rig.starts();
  microphones.plug(DEAD); // its cable is loose
  await systemClock.sleep(2_500);
  assertEquals(rig.starts(), starts, "not at every plug");

  microphones.microphone = named("own");
  rig.clock.moveAhead(61_000);
  await until("tries it again", () => rig.report().microphone === "own");
  await rig.stop();
  assertEquals(microphones.remembered, ["own"]);
});

Deno.test("a last microphone that gives nothing from the start is left for another one", async () => {
  await using rig = await recorderRig(systemClock);
  const microphones = new Sockets();
  microphones.microphone = DEAD;
  microphones.second = TWIN;
  const stop = new AbortController();
  const running = rig.recorder({ microphones }).run(stop.signal);
  await until("records the twin", () => rig.report().recording);
  assertEquals(rig.report().microphone, "twin");
  stop.abort();
  await running;
  assertEquals(microphones.remembered, []);
});

Deno.test("a last microphone that a driver holds is left for another one", async () => {
  const programs = {
    // Whoever opens the last one is held; no signal reaches it.
    ffmpeg: 'case "$*" in *held*) exec sleep 600;; esac\nexec /usr/bin/ffmpeg "$@"',
    kill: 'grep -qa held /proc/${4#-}/cmdline && exit\nexec /usr/bin/kill "$@"',
  };
  await withFakePrograms(programs, async () => {
    const clock = new SimulatedClock(NOON);
    await using rig = await recorderRig(clock);
    const microphones = new Sockets();
    microphones.second = TWIN;
    microphones.microphone = named("own", {
      attempts: [{ kind: "alsa", pcm: "held", channels: 1, sampleRate: 48000 }],
    });
    const stop = new AbortController();
    const running = rig.recorder({ microphones }).run(stop.signal);
    await advanceUntil("records", clock, () => rig.report().microphone === "twin");
    stop.abort();
    let hasStopped = false;
    running.then(() => hasStopped = true);
    await advanceUntil("stops", clock, () => hasStopped);
    await new Deno.Command("pkill", { args: ["-KILL", "-P", `${Deno.pid}`, "sleep"] }).output();
    await systemClock.sleep(100);
  });
});

Deno.test("a last microphone that comes and goes does not take the sound of its stand-in", async () => {
  await using rig = await recordStandIn();
  const { microphones } = rig;
  microphones.second = TWIN;
  const short = { kind: "lavfi", graph: "sine=440:sample_rate=48000:duration=1" } as const;
  const loose = named("own", { attempts: [short] });
  for (let time = 0; time < 2; time++) {
    const starts = rig.starts();
    microphones.plug(loose);
    await until("takes over", () => rig.starts() > starts);
    await until("is lost", () => rig.status.hasProblem("microphone_lost"));
    microphones.microphone = null;
    const isBack = () => rig.report().microphone === "twin" && rig.report().recording;
    await until("records the twin", isBack);
  }
  const starts = rig.starts();
  for (let time = 0; time < 3; time++) {
    microphones.plug(loose);
    await systemClock.sleep(1_200);
    microphones.microphone = null;
    await systemClock.sleep(300);
  }
  assertEquals([rig.report().microphone, rig.starts()], ["twin", starts]);
  await rig.stop();
});

Deno.test("a stand-in that is lost is news, whatever was plugged in beside it", async () => {
  const short = { kind: "lavfi", graph: "sine=440:sample_rate=48000:duration=3" } as const;
  const twin = { ...TWIN, attempts: [short] };
  await using rig = await recordStandIn(twin);
  rig.microphones.plug(twin); // a loudspeaker, say
  await until("is lost", () => rig.status.hasProblem("microphone_lost"));
  await rig.stop();
});

Deno.test("the wait for the last microphone begins anew when all of them have gone", async () => {
  const clock = new SimulatedClock(NOON);
  await using rig = await recorderRig(clock);
  const microphones = new Sockets();
  const twin = named("twin", { isStandIn: true });
  microphones.plug(twin);
  const stop = new AbortController();
  const running = rig.recorder({ microphones }).run(stop.signal);
  await clock.advance(3_000);
  microphones.plug(null); // the hub's power dips again
  await clock.advance(20_000);
  microphones.plug(twin);
  await clock.advance(4_000);
  assertEquals(rig.status.counters.captureStarts, 0);
  stop.abort();
  await running;
});

Deno.test("a stopgap is left when a microphone on USB comes, not for anything else", async () => {
  await using rig = await recorderRig(systemClock);
  const microphones = new Sockets();
  microphones.plug(named("onboard", { isStopgap: true }));
  const stop = new AbortController();
  const recorder = rig.recorder({ microphones });
  const running = recorder.run(stop.signal);
  await until("records", () => rig.report().microphone === "onboard");
  const looks = microphones.looks;
  microphones.plug(microphones.microphone); // a loudspeaker, say
  await until("looks", () => microphones.looks > looks);
  await systemClock.sleep(300);
  assertEquals(rig.report().recording, true);
  microphones.plug(named("usb"));
  await until("changes", () => rig.report().microphone === "usb");
  await until("declares", () => rig.report().last_gap?.cause === "microphone_changed");
  stop.abort();
  await running;
  assertEquals(microphones.remembered, ["onboard", "usb"]);
});
