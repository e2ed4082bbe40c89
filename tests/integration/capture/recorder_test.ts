// The recorder with a real ffmpeg: a microphone that is lost, a stand-in, a microphone that hangs, and one
// that a driver blocks. tests/capture tests what follows from each in simulated time.

import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import { type Microphone, singleMicrophone } from "../../../src/microphone/microphones.ts";
import { systemClock } from "../../../src/system/clock.ts";
import { withFakePrograms } from "../../fixtures/fake_programs.ts";
import { PulseMicrophone } from "../../fixtures/pulse_microphone.ts";
import { recorderOptions, recorderRig, TONE } from "../../fixtures/recorder_rig.ts";
import { SimulatedClock } from "../../fixtures/simulated_clock.ts";
import { Sockets, until } from "../../fixtures/sockets.ts";

const NOON = Date.UTC(2026, 5, 15, 12);

function tone(name: string, more: Partial<Microphone> = {}): Microphone {
  return { ...TONE, name, ...more };
}

/** It is lost after a second of sound. */
function short(name: string, more: Partial<Microphone> = {}): Microphone {
  const graph = "sine=440:sample_rate=48000:duration=1,arealtime";
  return tone(name, { attempts: [{ kind: "lavfi", graph }], ...more });
}

/** Whether a gap has been declared with this cause: others may follow it on a busy machine. */
function declares(lines: readonly Record<string, unknown>[], cause: string): boolean {
  return lines.some((line) => line["message"] === "Sound is missing." && line["cause"] === cause);
}

Deno.test("after a loss the next ffmpeg delivers sound again, and the gap is in the ledger", async () => {
  await using rig = await recorderRig(systemClock);
  const microphones = new Sockets();
  microphones.microphone = short("usb");
  const stream = { ...recorderOptions().stream, socketDir: "/nonexistent" };
  const recorder = rig.recorder({ microphones, stream });
  const stop = new AbortController();
  const running = recorder.run(stop.signal);
  await until("is lost", () => rig.status.hasProblem("microphone_lost"));
  microphones.plug(tone("usb"));
  await until("records again", () => rig.report().recording);
  assertEquals([rig.report().problems, rig.status.counters.captureStarts], [[], 2]);
  await until("declares", () => declares(rig.lines, "microphone_lost"));
  stop.abort();
  await running;
  assertEquals(microphones.remembered, ["usb", "usb"]);
  const unmeasured = rig.lines.filter(({ message }) => message.startsWith("Levels cannot be"));
  assertEquals(unmeasured.length, 1, "not again for each ffmpeg");
  assertStringIncludes(`${unmeasured[0]?.error}`, "No such file");
  const { gapUs, scheduledUs, recordedUs, openUs } = recorder.balance();
  assertEquals([scheduledUs, openUs], [recordedUs + gapUs, 0]);
});

Deno.test("a stand-in is replaced by the last microphone, with one ffmpeg after the other", async () => {
  await using rig = await recorderRig(systemClock);
  const microphones = new Sockets();
  microphones.microphone = tone("twin", { isStandIn: true });
  const stop = new AbortController();
  const running = rig.recorder({ microphones }).run(stop.signal);
  await until("records the twin", () => rig.report().recording);
  assertEquals(rig.report().microphone, "twin");
  assertEquals(rig.report().problems.map(({ code }) => code), ["microphone_stand_in"]);
  microphones.plug(tone("own"));
  await until("changes", () => rig.report().recording && rig.report().microphone === "own");
  assertEquals(rig.report().problems, []);
  await until("declares", () => declares(rig.lines, "microphone_changed"));
  stop.abort();
  await running;
  assertEquals(microphones.remembered, ["own"]);
});

Deno.test("an ffmpeg that a driver blocks does not delay the next one", async () => {
  const programs = {
    // The first one is blocked: no signal reaches it.
    ffmpeg: 'if mkdir "$0.held" 2> /dev/null; then echo $$ > "$0.pid"; exec sleep 600; fi\n' +
      'exec /usr/bin/ffmpeg "$@"',
    kill:
      'case "$*" in *-$(cat "$(dirname "$0")/ffmpeg.pid")) exit;; esac\nexec /usr/bin/kill "$@"',
  };
  await withFakePrograms(programs, async () => {
    const clock = new SimulatedClock(NOON);
    await using rig = await recorderRig(clock);
    const microphones = new Sockets();
    microphones.microphone = tone("usb");
    const stop = new AbortController();
    const running = rig.recorder({ microphones }).run(stop.signal);
    const starts = () => rig.status.counters.captureStarts;
    await advanceUntil("is held", clock, () => rig.status.hasProblem("ffmpeg_stuck"));
    microphones.plug(short("usb"));
    // Its sound ends, and the recorder starts another one although the first is still there.
    await advanceUntil("is tried again", clock, () => starts() === 3);
    stop.abort();
    let hasStopped = false;
    running.then(() => hasStopped = true);
    await advanceUntil("stops", clock, () => hasStopped);
    const args = ["-KILL", "-P", `${Deno.pid}`, "sleep"]; // the driver releases it
    await new Deno.Command("pkill", { args }).output();
    await systemClock.sleep(100);
  });
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
    const report = () => setup.status.report(setup.spool);
    await until("records", () => report().recording);
    await systemClock.sleep(500);
    await microphone.suspend();
    const hungMs = performance.now();
    await until("stalls", () => setup.status.hasProblem("microphone_stalled"));
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

/** Lets simulated time pass until this is so, while real programs run. */
async function advanceUntil(
  what: string,
  clock: SimulatedClock,
  condition: () => boolean,
): Promise<void> {
  for (let turn = 0; !condition(); turn++) {
    assert(turn < 400, what);
    await clock.advance(250);
    await systemClock.sleep(20);
  }
}
