// The way back to sound: what a plug changes, what an ffmpeg that hangs, and what is said about it.

import { assert, assertAlmostEquals, assertEquals } from "@std/assert";
import { problems } from "../../src/status/problems.ts";
import { systemClock } from "../../src/system/clock.ts";
import { withFakePrograms } from "../fixtures/fake_programs.ts";
import { recorderRig } from "../fixtures/recorder_rig.ts";
import { advanceUntil, named, Sockets, until } from "../fixtures/sockets.ts";
import { SimulatedClock } from "../fixtures/simulated_clock.ts";

const NOON = Date.UTC(2026, 5, 15, 12);
const MISSING = problems.noMicrophone("a test");

Deno.test("a plug is noticed within 1 s, in the middle of a long wait, and the delay starts over", async () => {
  const clock = new SimulatedClock(NOON);
  await using rig = await recorderRig(clock);
  const microphones = new Sockets();
  const stop = new AbortController();
  const running = rig.recorder({ microphones }).run(stop.signal);
  await clock.advance(80_000); // looked at 0, 2, 6, 14, 30, 62 s; the next time would be 122 s
  assertEquals(microphones.looks, 6);
  microphones.plug(null); // something else than a microphone
  await clock.advance(1_000);
  assert(microphones.looks > 6);
  await clock.advance(3_250); // it settles
  const settled = microphones.looks;
  await clock.advance(14_000); // 2, 4, 8 s
  assertEquals(microphones.looks, settled + 3);
  stop.abort();
  await running;
});

Deno.test("for 3 s after a plug a failure is no news, and tried again at once", async () => {
  const clock = new SimulatedClock(NOON);
  await using rig = await recorderRig(clock);
  const microphones = new Sockets();
  const stop = new AbortController();
  const running = rig.recorder({ microphones }).run(stop.signal);
  await clock.advance(10_000);
  microphones.diagnosis = problems.forbidden("hw:1,0"); // udev has not given the node its group
  microphones.plug(null);
  await clock.advance(1_000);
  const plugged = microphones.looks;
  await clock.advance(2_000);
  assertEquals(microphones.looks, plugged + 8);
  assertEquals(rig.report().problems.map(({ code }) => code), ["microphone_missing"]);
  await clock.advance(2_000); // it stays so
  assertEquals(rig.report().problems.map(({ code }) => code), ["microphone_forbidden"]);
  stop.abort();
  await running;
});

Deno.test("a problem has one line when it begins, and one when it ends with how long it lasted", async () => {
  await using rig = await recorderRig(systemClock);
  const microphones = new Sockets();
  const stop = new AbortController();
  const running = rig.recorder({ microphones }).run(stop.signal);
  await until("fails twice", () => microphones.looks === 2);
  const [problem] = rig.report().problems;
  assertEquals(problem?.message, `${MISSING.message}. ${MISSING.fix}`);
  microphones.plug(named("usb"));
  await until("records", () => rig.report().recording);
  assertEquals(rig.report().problems, []);
  stop.abort();
  await running;
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

Deno.test("sound that came and is lost again is news, however soon after the plug", async () => {
  await using rig = await recorderRig(systemClock);
  const microphones = new Sockets();
  const stop = new AbortController();
  const running = rig.recorder({ microphones }).run(stop.signal);
  await until("fails", () => microphones.looks === 1);
  microphones.plug(
    named("loose", {
      attempts: [{ kind: "lavfi", graph: "sine=440:sample_rate=48000:duration=1" }],
    }),
  );
  await until("records", () => rig.report().recording);
  await until("is lost", () => rig.status.hasProblem("microphone_lost"));
  assertEquals(microphones.looks, 2);
  stop.abort();
  await running;
});

Deno.test("what turns out to be another problem is one outage, with one end", async () => {
  await using rig = await recorderRig(systemClock);
  const microphones = new Sockets();
  const short = { kind: "lavfi", graph: "sine=440:sample_rate=48000:duration=1" } as const;
  microphones.plug(named("usb", { attempts: [short] }));
  const stop = new AbortController();
  const running = rig.recorder({ microphones }).run(stop.signal);
  await until("is lost", () => rig.status.hasProblem("microphone_lost"));
  const [lost] = rig.report().problems;
  const lostMs = performance.now();
  microphones.plug(null);
  await until("is missing", () => rig.status.hasProblem("microphone_missing"));
  const [missing] = rig.report().problems;
  assertEquals([rig.report().problems.length, missing?.since], [1, lost?.since]);
  await systemClock.sleep(1_000);
  microphones.plug(named("usb"));
  await until("records", () => rig.report().recording);
  const outageS = (performance.now() - lostMs) / 1000;
  stop.abort();
  await running;
  const over = rig.lines.filter(({ message }) => /^Resolved after/.test(message));
  assertEquals(over.map(({ resolved }) => resolved), ["microphone_missing"]);
  // From the loss, not from when it was called missing, which was 2 s later.
  assertAlmostEquals(Number(over[0]?.lasted_s), outageS, 0.5);
});

Deno.test("what the system knows about a failure is what is said", async () => {
  await using rig = await recorderRig(systemClock);
  const microphones = new Sockets();
  const absent = { kind: "alsa", pcm: "hw:CARD=Nowhere", channels: 1, sampleRate: 48000 } as const;
  microphones.plug(named("usb", { attempts: [absent] }));
  microphones.explain = ({ code }, { name }) => {
    assertEquals([code, name], ["microphone_missing", "usb"]);
    return Promise.resolve(problems.busy(name, [{ pid: 77, program: "arecord" }]));
  };
  const stop = new AbortController();
  const running = rig.recorder({ microphones }).run(stop.signal);
  await until("is said", () => rig.status.hasProblem("microphone_busy"));
  const [problem] = rig.report().problems;
  assert(/in use by arecord \(process 77\)/.test(problem?.message ?? ""), problem?.message);
  stop.abort();
  await running;
});

Deno.test("an ffmpeg that a driver holds is not followed by another until it ends, or a plug", async () => {
  // No signal reaches it, as if a driver held it.
  await withFakePrograms({ ffmpeg: "exec sleep 600", kill: "" }, async () => {
    const clock = new SimulatedClock(NOON);
    await using rig = await recorderRig(clock);
    const microphones = new Sockets();
    microphones.microphone = named("usb"); // since long before
    const stop = new AbortController();
    const running = rig.recorder({ microphones }).run(stop.signal);
    const starts = () => rig.status.counters.captureStarts;
    try {
      await clock.advance(15_000); // 10 s of silence, 3 s of signals
      const [problem] = rig.report().problems;
      assertEquals([problem?.code, starts()], ["ffmpeg_stuck", 1]);
      await clock.advance(150_000);
      assertEquals(starts(), 1);

      // After a plug it is worth a try, but not for ever.
      for (const expected of [2, 3, 4, 5, 6, 7, 8, 8, 8]) {
        microphones.plug(named("usb"));
        await clock.advance(30_000);
        assertEquals(starts(), expected);
      }
      const pids = await sleepers();
      assertEquals(pids.length, 8);
      for (const pid of pids) Deno.kill(pid, "SIGKILL"); // the driver lets go
      await systemClock.sleep(300);
      await clock.advance(3_000);
      assert(starts() > 8, "at once");
    } finally {
      stop.abort();
      await clock.advance(20_000);
      await running;
      for (const pid of await sleepers()) Deno.kill(pid, "SIGKILL");
      await systemClock.sleep(100);
    }
  });
});

Deno.test("an ffmpeg that a driver holds does not hold up what is recorded since", async () => {
  const programs = {
    // The first one is held.
    ffmpeg: 'if mkdir "$0.held" 2> /dev/null; then echo $$ > "$0.pid"; exec sleep 600; fi\n' +
      'exec /usr/bin/ffmpeg "$@"',
    kill:
      'case "$*" in *-$(cat "$(dirname "$0")/ffmpeg.pid")) exit;; esac\nexec /usr/bin/kill "$@"',
  };
  await withFakePrograms(programs, async () => {
    const clock = new SimulatedClock(NOON);
    await using rig = await recorderRig(clock);
    const microphones = new Sockets();
    microphones.microphone = named("usb");
    const stop = new AbortController();
    const running = rig.recorder({ microphones }).run(stop.signal);
    const starts = () => rig.status.counters.captureStarts;
    await advanceUntil("is held", clock, () => rig.status.hasProblem("ffmpeg_stuck"));
    const short = { kind: "lavfi", graph: "sine=440:sample_rate=48000:duration=1" } as const;
    microphones.plug(named("usb", { attempts: [short] }));
    // Its sound ends, and it is tried again though the first one is still there.
    await advanceUntil("is tried again", clock, () => starts() === 3);
    stop.abort();
    let hasStopped = false;
    running.then(() => hasStopped = true);
    await advanceUntil("stops", clock, () => hasStopped);
    for (const pid of await sleepers()) Deno.kill(pid, "SIGKILL");
    await systemClock.sleep(100);
  });
});

Deno.test("an ffmpeg that has not opened the microphone yet is given 20 s before it counts as hung", async () => {
  for (const opensAfterMs of [0, 13_000, Infinity]) {
    await withFakePrograms({ ffmpeg: "exec sleep 600" }, async () => {
      const clock = new SimulatedClock(NOON);
      await using rig = await recorderRig(clock);
      const microphones = new Sockets();
      const startedMs = clock.monotonicMs();
      microphones.isOpen = () => Promise.resolve(clock.monotonicMs() - startedMs >= opensAfterMs);
      microphones.plug(named("usb"));
      const stop = new AbortController();
      const running = rig.recorder({ microphones }).run(stop.signal);
      // 10 s from the last look that found it not open yet.
      const hungMs = 10_000 + (opensAfterMs === 0 ? 0 : Math.min(opensAfterMs - 1_000, 20_000));
      await clock.advance(hungMs - 100);
      assertEquals(rig.report().problems, []);
      await clock.advance(4_000);
      await until("stalls", () => rig.report().microphone_stalls_total === 1);
      stop.abort();
      await clock.advance(10_000);
      await running;
    });
  }
});

/** The processes that run as ffmpeg in these tests. */
async function sleepers(): Promise<number[]> {
  const { stdout } = await new Deno.Command("pgrep", { args: ["-P", `${Deno.pid}`, "sleep"] })
    .output();
  return new TextDecoder().decode(stdout).split("\n").filter((pid) => pid !== "").map(Number);
}
