// The way back to sound: what a plug, a stand-in and a stopgap change, and what is said about it.

import { assert, assertEquals } from "@std/assert";
import { diagnoses, type Diagnosis } from "../src/capture/diagnosis.ts";
import { NoMicrophoneError } from "../src/capture/microphone_choice.ts";
import { type Microphone, type Microphones, singleMicrophone } from "../src/capture/microphones.ts";
import { systemClock } from "../src/clock.ts";
import { recorderRig, TONE } from "./fixtures/recorder_rig.ts";
import { SimulatedClock } from "./fixtures/simulated_clock.ts";

const NOON = Date.UTC(2026, 5, 15, 12);
const MISSING = diagnoses.noMicrophone("a test");

/** Microphones that can be plugged in; until then `diagnosis` is what finding one ends with. */
class Sockets implements Microphones {
  diagnosis: Diagnosis = MISSING;
  microphone: Microphone | null = null;
  looks = 0;
  readonly remembered: string[] = [];
  readonly explain = singleMicrophone(TONE).explain;
  #isNew = false;

  plug(microphone: Microphone | null): void {
    this.microphone = microphone;
    this.#isNew = true;
  }

  find(): Promise<Microphone> {
    this.looks++;
    return this.microphone === null
      ? Promise.reject(new NoMicrophoneError(this.diagnosis))
      : Promise.resolve(this.microphone);
  }

  plugged(): Promise<boolean> {
    const isNew = this.#isNew;
    this.#isNew = false;
    return Promise.resolve(isNew);
  }

  remember({ name }: Microphone): Promise<void> {
    this.remembered.push(name);
    return Promise.resolve();
  }
}

function named(name: string, more: Partial<Microphone> = {}): Microphone {
  return { ...TONE, name, ...more };
}

async function until(what: string, condition: () => boolean): Promise<void> {
  const endMs = performance.now() + 15_000;
  while (!condition()) {
    assert(performance.now() < endMs, what);
    await systemClock.sleep(20);
  }
}

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
  microphones.diagnosis = diagnoses.forbidden("hw:1,0"); // udev has not given the node its group
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
  assertEquals(problem?.message, `${MISSING.message}. ${MISSING.mend}`);
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
    "Over after N s: microphone_missing.",
  ]);
  assertEquals(said[0]?.mend, MISSING.mend);
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
    stop.abort();
    await running;
    assertEquals(microphones.remembered, [expected]);
    assert(comesBack ? tookMs < 4_000 : tookMs > 5_000 && tookMs < 8_000, `${tookMs} ms`);
    const taken = rig.lines.filter(({ message }) => /Another|chosen/.test(message));
    assertEquals(taken.map(({ level, microphone }) => [level, microphone]), [
      [comesBack ? "INFO" : "WARNING", expected],
    ]);
  }
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
