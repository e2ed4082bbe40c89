import { assertEquals } from "@std/assert";
import { ChannelKeeper, channelTag } from "../../src/capture/channel_keeper.ts";
import type {
  ChannelChoice,
  ChannelLevels,
  ChannelSetting,
} from "../../src/microphone/channel_choice.ts";
import type { CaptureSource } from "../../src/microphone/capture_attempts.ts";
import { singleMicrophone } from "../../src/microphone/microphones.ts";
import { startLog } from "../../src/system/log.ts";
import { Status } from "../../src/status/status.ts";
import { named } from "../fixtures/sockets.ts";
import { SimulatedClock } from "../fixtures/simulated_clock.ts";

const STEREO: CaptureSource = { kind: "alsa", pcm: "mic", channels: 2, sampleRate: 48_000 };
const MICROPHONE = named("mic");

function rig(setting: ChannelSetting, known: ChannelChoice | null = null) {
  const clock = new SimulatedClock(0);
  const status = new Status({ pointId: "p", registerId: "r", deviceId: "d", version: "0" }, clock);
  const lines: Record<string, unknown>[] = [];
  const log = startLog({
    level: "INFO",
    journal: false,
    write: (line) => lines.push(JSON.parse(new TextDecoder().decode(line))),
  });
  const remembered: ChannelChoice[] = [];
  const microphones = {
    ...singleMicrophone(MICROPHONE),
    knownChannels: () => Promise.resolve(known),
    rememberChannels: (_: unknown, _count: number, choice: ChannelChoice) => {
      remembered.push(choice);
      return Promise.resolve();
    },
  };
  const note = (write: () => Promise<void>) => void write();
  const keeper = new ChannelKeeper(setting, microphones, { clock, status, log, note });
  return {
    remembered,
    open: (source: CaptureSource = STEREO) => keeper.open(source, MICROPHONE),
    /** Opens it, and it gives sound. */
    hear: async (source: CaptureSource = STEREO) => {
      const channels = await keeper.open(source, MICROPHONE);
      channels.onSound();
      return channels;
    },
    said: () =>
      lines.filter(({ message }) => message === "Channel chosen.").map((line) => line.recorded),
    codes: () => (["microphone_channel"] as const).filter((code) => status.hasProblem(code)),
  };
}

function takeOf(source: CaptureSource): readonly number[] | undefined {
  return source.kind === "alsa" ? source.take : undefined;
}

function levels(...rms: readonly number[]): ChannelLevels {
  const channels = rms.map((rmsDbfs) => ({ rmsDbfs, peakDbfs: rmsDbfs + 3 }));
  return { channels, pairRmsDbfs: -30 };
}

Deno.test("a dead channel is left for a live one, which is said once and remembered", async () => {
  const { hear, said, remembered } = rig("auto");
  const channels = await hear();
  let changes = 0;
  const listen = () => channels.change(new AbortController().signal).then(() => changes++);
  let changed = listen();
  for (let n = 0; n < 8; n++) channels.onLevels?.(levels(-30, -90));
  await changed;
  assertEquals([takeOf(channels.source), changes], [[0], 1]);
  changed = listen();
  for (let n = 0; n < 50; n++) channels.onLevels?.(levels(-90, -30));
  await changed;
  assertEquals([takeOf(channels.source), changes], [[1], 2]);
  assertEquals(said(), ["channels 1, 2", "channel 1", "channel 2"]);
  assertEquals(remembered.map(({ channels }) => channels), [[0], [1]]);
});

Deno.test("a decision for what is recorded already is remembered, and opens nothing again", async () => {
  const { open, remembered } = rig("auto");
  const channels = await open();
  let isChanged = false;
  const stop = new AbortController();
  const changed = channels.change(stop.signal).then(() => isChanged = !stop.signal.aborted);
  for (let n = 0; n < 8; n++) channels.onLevels?.(levels(-30, -30));
  await Promise.resolve();
  assertEquals(takeOf(channels.source), [0, 1]);
  assertEquals(remembered.length, 1);
  stop.abort();
  await changed;
  assertEquals(isChanged, false);
});

Deno.test("what is known is recorded from the start; a mono microphone is not listened to", async () => {
  const known = { channels: [1], reason: "before" };
  const { hear, said } = rig("auto", known);
  assertEquals(takeOf((await hear()).source), [1]);
  const mono = await hear({ ...STEREO, channels: 1 });
  assertEquals([takeOf(mono.source), mono.onLevels], [[0], null]);
  assertEquals(said(), ["channel 2"], "nothing to say about a mono microphone");
});

Deno.test("audio_channel of a channel that does not exist is a problem until a microphone has it", async () => {
  const { open, hear, codes, said } = rig(4);
  const channels = await open();
  assertEquals([codes(), said()], [[], []], "it may not open with two channels");
  channels.onSound();
  assertEquals([takeOf(channels.source), channels.onLevels, codes()], [[1], null, [
    "microphone_channel",
  ]]);
  await open({ ...STEREO, channels: 6 });
  assertEquals(codes(), ["microphone_channel"]);
  await hear({ ...STEREO, channels: 6 });
  assertEquals(codes(), []);
});

Deno.test("a chunk says which channel of a microphone with several was recorded", () => {
  assertEquals(channelTag({ ...STEREO, take: [0, 1] }), { CHANNEL: "1,2/2" });
  assertEquals(channelTag({ ...STEREO, channels: 6, take: [1] }), { CHANNEL: "2/6" });
  assertEquals(channelTag({ ...STEREO, channels: 1, take: [0] }), {});
});
