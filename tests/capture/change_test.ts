// Options that change while the recorder runs. Time and sound are simulated.

import { assert, assertEquals } from "@std/assert";
import { Refusal } from "../../src/config/config_values.ts";
import { parseSchedule } from "../../src/config/schedule_text.ts";
import { parseChunkName } from "../../src/chunk/chunk_name.ts";
import type { RecorderOptions } from "../../src/capture/recorder.ts";
import { problems } from "../../src/status/problems.ts";
import { simulatedSource } from "../fixtures/simulated_ffmpeg.ts";
import { simulatedRecorder } from "../fixtures/simulated_recorder.ts";
import { named, Sockets, until } from "../fixtures/sockets.ts";

const STREAM = {
  chunkSeconds: 10,
  sampleRate: 48000,
  bitrateKbps: 24,
  socketDir: null,
  vendor: "test",
};

async function rig(
  microphones: Sockets,
  options: Partial<RecorderOptions> = {},
  deps: Parameters<typeof simulatedRecorder>[1] = {},
) {
  const simulated = await simulatedRecorder({ microphones, stream: STREAM, ...options }, deps);
  return {
    ...simulated,
    /** Seconds of the chunks that are complete. */
    lengths: () =>
      [...Deno.readDirSync(simulated.spool.path("outbox", ""))]
        .map(({ name }) => name).sort().map((name) =>
          (parseChunkName(name)?.durationUs ?? NaN) / 1e6
        ),
    /** Of the declared gaps. */
    causes: () => simulated.lines.flatMap(({ cause }) => cause === undefined ? [] : [cause]),
  };
}

Deno.test("the length of chunks changes without opening the microphone again", async () => {
  const microphones = new Sockets();
  microphones.plug(named("usb"));
  await using setup = await rig(microphones);
  setup.run();
  await setup.records("usb");
  await setup.clock.advance(12_000);
  setup.change({ stream: { ...STREAM, chunkSeconds: 5 } });
  await setup.clock.advance(8_000);
  assertEquals(setup.starts(), 1);
  await setup.stop();
  await until("the chunks are complete", () => setup.lengths().length >= 3);
  const lengths = setup.lengths().map(Math.round).filter((seconds) => seconds > 1);
  assertEquals(lengths, [10, 5, 5], "the rest is the end");
  assertEquals(setup.causes().filter((cause) => cause !== "stopping"), []);
});

Deno.test("a schedule that overlaps itself is named until it is corrected", async () => {
  const microphones = new Sockets();
  microphones.plug(named("usb"));
  const scheduleOf = (text: string) => {
    const schedule = parseSchedule(text);
    assert(!(schedule instanceof Refusal));
    return schedule;
  };
  await using setup = await rig(microphones);
  setup.run();
  await setup.records("usb");
  setup.change({ schedule: scheduleOf("mon-sun 00:00-24:00; mon 08:00-09:00") });
  assertEquals(setup.codes(), ["schedule_overlaps"]);
  setup.change({ schedule: scheduleOf("mon-sun 00:00-24:00") });
  assertEquals([setup.codes(), setup.starts()], [[], 1]);
  await setup.stop();
});

Deno.test("another gain opens the microphone again at once, and the gap says why", async () => {
  const microphones = new Sockets();
  microphones.plug(named("usb"));
  await using setup = await rig(microphones);
  setup.run();
  await setup.records("usb");
  await setup.clock.advance(5_000);
  setup.change({ stream: { ...STREAM, gainDb: 6 } });
  await setup.clock.advanceUntil("opens it again", () => setup.starts() === 2);
  await setup.records("usb");
  await setup.clock.advance(11_000);
  await setup.stop();
  assertEquals(setup.causes().filter((cause) => cause !== "stopping"), ["settings_changed"]);
  assertEquals(setup.codes(), []);
});

Deno.test("an amixer that hangs delays neither other settings nor a microphone that comes back", async () => {
  const microphones = new Sockets();
  const usb = { path: "1-1", vendorProduct: "0d8c:0014", serial: null };
  const device = {
    ...{ card: 3, device: 0, cardId: "Device", name: "usb", alsaName: "hw:3,0" },
    ...{ usb, offers: null },
  };
  microphones.plug(named("usb", { device }));
  const mixer = { volume: 50, agc: null };
  const hangs = new Promise<never>(() => {});
  await using setup = await rig(microphones, { mixer }, {
    mixerOf: () => ({ read: () => hangs, set: () => hangs }),
  });
  setup.run();
  await setup.records("usb");
  setup.change({ mixer: { ...mixer, volume: 60 } });
  await setup.clock.advanceUntil("opens it again", () => setup.starts() === 2, 3_000);
  await setup.records("usb");
  setup.ffmpegs.release();
  await setup.clock.advanceUntil("opens it again", () => setup.starts() === 3, 3_000);
  await setup.records("usb");
  const stopped = setup.stop();
  await until("the chunks are complete", () => setup.lengths().length >= 3);
  await until("only the amixer is waited for", () => setup.clock.sleepers === 1);
  await setup.clock.advance(20_000);
  await stopped;
});

Deno.test("another microphone is looked for at once, in the middle of a long wait", async () => {
  const wrong = new Sockets();
  await using setup = await rig(wrong);
  setup.run();
  await setup.clock.advance(80_000); // the next look is at 122 s
  assertEquals(setup.codes(), ["microphone_missing"]);
  const right = new Sockets();
  right.plug(named("usb"));
  setup.change({ microphones: right });
  const tookMs = await setup.records("usb");
  assert(tookMs < 3_000, `${tookMs} ms`);
  assertEquals(setup.codes(), []);
  await setup.stop();
});

Deno.test("another schedule ends and begins the recording within 5 s", async () => {
  const microphones = new Sockets();
  microphones.plug(named("usb"));
  await using setup = await rig(microphones);
  setup.run();
  await setup.records("usb");
  setup.change({ schedule: { startMinute: 0, endMinute: 60 } }); // it is noon
  await setup.clock.advanceUntil("ends", () => !setup.report().in_schedule, 6_000);
  setup.change({});
  await setup.clock.advanceUntil("begins", () => setup.report().in_schedule, 6_000);
  await setup.records("usb");
  await setup.stop();
});

Deno.test("the phase shortens the first chunk, and the schedule ends on time", async () => {
  const microphones = new Sockets();
  microphones.plug(named("usb"));
  const schedule = { startMinute: 12 * 60, endMinute: 12 * 60 + 1 };
  await using setup = await rig(microphones, { stream: { ...STREAM, phase: 0.7 }, schedule });
  setup.run();
  await setup.records("usb");
  await setup.clock.advanceUntil("ends", () => !setup.report().in_schedule, 61_000);
  await setup.stop();
  const lengths = setup.lengths().map(Math.round);
  assertEquals(lengths.slice(0, 6), [3, 10, 10, 10, 10, 10]);
  const total = setup.lengths().reduce((sum, seconds) => sum + seconds, 0);
  assert(total > 58 && total < 61, `${total} s in a minute`);
});

Deno.test("other settings begin again with the first way to open the microphone", async () => {
  const microphones = new Sockets();
  const attempts = [simulatedSource("first"), simulatedSource("second")];
  microphones.plug(named("usb", { attempts }));
  await using setup = await rig(microphones);
  const { ffmpegs } = setup;
  ffmpegs.behave("first", { kind: "fails", diagnosis: problems.format("first") });
  setup.run();
  await setup.records("usb");
  assertEquals(setup.starts(), 2);
  ffmpegs.behave("first", { kind: "plays" });
  ffmpegs.behave("second", { kind: "fails", diagnosis: problems.lost(1, "") });
  setup.change({ audioChannel: 2 });
  await setup.clock.advanceUntil("is opened", () => setup.starts() === 3);
  await setup.records("usb");
  assertEquals(setup.starts(), 3);
  await setup.stop();
});

Deno.test("a chunk says which channel was recorded, also after another one was chosen", async () => {
  const microphones = new Sockets();
  const source = { kind: "alsa", pcm: "stereo", channels: 2, sampleRate: 48_000 } as const;
  microphones.plug(named("stereo", { attempts: [source] }));
  await using setup = await rig(microphones, { audioChannel: 2 });
  setup.run();
  await setup.records("stereo");
  await setup.clock.advance(2_000);
  setup.change({ audioChannel: "mix" });
  await setup.clock.advanceUntil("opens it again", () => setup.starts() === 2);
  await setup.records("stereo");
  await setup.clock.advance(2_000);
  await setup.stop();
  const tags = [...Deno.readDirSync(setup.spool.path("outbox", ""))].map(({ name }) => name).sort()
    .map((name) => {
      const bytes = Deno.readFileSync(setup.spool.path("outbox", name));
      return /CHANNEL=([\d,/]+)/.exec(new TextDecoder("latin1").decode(bytes))?.[1];
    });
  assertEquals(tags, ["2/2", "1,2/2"]);
});
