// When the keeper changes the microphone, in simulated time and without sound.

import { assertEquals } from "@std/assert";
import type { Microphone } from "../../src/microphone/microphones.ts";
import { MicrophoneKeeper } from "../../src/microphone/microphone_keeper.ts";
import { startLog } from "../../src/system/log.ts";
import { Status } from "../../src/status/status.ts";
import { SimulatedClock } from "../fixtures/simulated_clock.ts";
import { named, Sockets } from "../fixtures/sockets.ts";

const OWN = named("own");
const TWIN = named("twin", { isStandIn: true });
const ids = { pointId: "p", registerId: "r", deviceId: "d", version: "0" };

function setUp() {
  const clock = new SimulatedClock(Date.UTC(2026, 5, 15, 12), { awaits: "promises" });
  const status = new Status(ids, clock);
  const microphones = new Sockets();
  const notes: (() => Promise<void>)[] = [];
  const keeper = new MicrophoneKeeper(microphones, {
    clock,
    status,
    log: startLog({ level: "ERROR", journal: false, write: () => {} }),
    note: (write) => notes.push(write),
  });
  const never = new AbortController().signal;
  return {
    clock,
    status,
    microphones,
    keeper,
    notes,
    found: async () => (await keeper.find(never))?.name,
    /** Sound arrives from this one, after the wait for the last one if it stands in. */
    record: async (microphone: Microphone) => {
      microphones.microphone = microphone;
      const finding = keeper.find(never);
      await clock.advance(5_000);
      assertEquals(await finding, microphone);
      keeper.heard();
    },
    /** A plug, while nothing is recorded. */
    plug: async () => {
      microphones.plug(microphones.microphone);
      const waiting = keeper.waitForPlug(5_000, never);
      await clock.advance(1_000);
      assertEquals(await waiting, true);
    },
  };
}

Deno.test("a microphone that delivers no sound is tried again after 1, 2, 4 … 60 min", async () => {
  const { clock, keeper, microphones, found } = setUp();
  [microphones.microphone, microphones.second] = [OWN, TWIN];
  for (const minutes of [1, 2, 4, 8, 16, 32, 60, 60]) {
    assertEquals(await found(), "own");
    keeper.gaveNothing(OWN);
    await clock.advance(minutes * 60_000 - 1);
    assertEquals(await found(), "twin", `${minutes} min`);
    await clock.advance(1);
  }
});

Deno.test("after it is plugged in it is tried within five minutes, even if this has happened before", async () => {
  const { clock, keeper, microphones, found, plug } = setUp();
  [microphones.microphone, microphones.second] = [OWN, TWIN];
  for (const minutes of [1, 2, 4, 8, 16]) {
    keeper.gaveNothing(OWN);
    await clock.advance(minutes * 60_000);
  }
  keeper.gaveNothing(OWN);
  await plug();
  assertEquals(await found(), "twin", "it may be a loose cable");
  await clock.advance(5 * 60_000);
  assertEquals(await found(), "own");
});

Deno.test("it is tried at once if its stand-in delivers no sound either", async () => {
  const { keeper, microphones, found } = setUp();
  [microphones.microphone, microphones.second] = [OWN, TWIN];
  keeper.gaveNothing(OWN);
  assertEquals(await found(), "twin");
  keeper.gaveNothing(TWIN);
  assertEquals(await found(), "own");
});

Deno.test("a minute of sound resets its backoff, and less does not", async () => {
  for (const [soundMs, expected] of [[59_000, "twin"], [60_000, "own"]] as const) {
    const { clock, keeper, microphones, found } = setUp();
    [microphones.microphone, microphones.second] = [OWN, TWIN];
    keeper.gaveNothing(OWN);
    await clock.advance(60_000);
    assertEquals(await found(), "own");
    keeper.heard();
    await clock.advance(soundMs);
    keeper.ended(false);
    keeper.gaveNothing(OWN);
    await clock.advance(60_000);
    assertEquals(await found(), expected, `${soundMs} ms`);
  }
});

Deno.test("a microphone for want of any on USB never becomes the one to keep to", async () => {
  const { clock, keeper, microphones, notes, record } = setUp();
  await record(named("onboard", { isStandIn: true, isStopgap: true }));
  await clock.advance(9 * 3_600_000);
  keeper.ended(false);
  for (const write of notes) await write();
  assertEquals([microphones.standInMs, microphones.remembered], [0, []]);
});

Deno.test("one on USB that gives nothing takes the sound of a stopgap after 1, 2, 4 … min", async () => {
  const { clock, keeper, microphones, found } = setUp();
  [microphones.microphone, microphones.second] = [OWN, named("onboard", { isStopgap: true })];
  const never = new AbortController().signal;
  for (const minutes of [1, 2, 4, 8]) {
    assertEquals(await found(), "own");
    keeper.ended(false);
    keeper.gaveNothing(OWN);
    assertEquals(await found(), "onboard");
    keeper.heard();
    const startedMs = clock.monotonicMs();
    let hasCome = false;
    const better = keeper.betterComes(never).then(() => hasCome = true);
    await clock.advanceUntil("finds it", () => hasCome, 600_000);
    await better;
    keeper.ended(false);
    assertEquals((clock.monotonicMs() - startedMs) / 60_000, minutes);
  }
});

Deno.test("8 h that are counted late do not touch what is recorded by then", async () => {
  const { clock, keeper, status, microphones, notes, record } = setUp();
  await record(TWIN);
  await clock.advance(8 * 3_600_000);
  keeper.ended(false);
  await record(named("third", { isStandIn: true }));
  for (const write of notes) await write(); // the disk was slow
  assertEquals(microphones.remembered, []);
  assertEquals(status.hasProblem("microphone_stand_in"), true);
});

Deno.test("the return of the last one is noticed even before the first sound of its stand-in", async () => {
  const { clock, keeper, microphones } = setUp();
  microphones.microphone = TWIN;
  const finding = keeper.find(new AbortController().signal);
  await clock.advance(5_000);
  assertEquals(await finding, TWIN);
  let hasCome = false;
  const stop = new AbortController();
  const better = keeper.betterComes(stop.signal).then(() => hasCome = true);
  await clock.advance(2_000);
  microphones.plug(OWN);
  await clock.advance(1_000);
  assertEquals(hasCome, true);
  stop.abort();
  await better;
});
