// The table of hardware: each row is a microphone of the zoo, what the recorder records of it, and what it says
// about it. A new kind of hardware is one row. Real ffmpegs run, all rows at the same time.

import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import { join } from "@std/path/join";
import { Ffmpeg } from "../../../src/capture/ffmpeg.ts";
import { OpusStreamReader } from "../../../src/chunk/opus.ts";
import type { RecorderOptions } from "../../../src/capture/recorder.ts";
import { say } from "../../../src/microphone/channel_choice.ts";
import { singleMicrophone } from "../../../src/microphone/microphones.ts";
import { systemClock } from "../../../src/system/clock.ts";
import { withFakePrograms } from "../../fixtures/fake_programs.ts";
import { recorderRig } from "../../fixtures/recorder_rig.ts";
import { until } from "../../fixtures/sockets.ts";
import { type Animal, Zoo } from "../../fixtures/zoo.ts";

interface Row {
  /** The kind of hardware, and where it was reported. */
  readonly what: string;
  readonly animal: Animal;
  readonly options?: Partial<RecorderOptions>;
  /** In the end. */
  readonly peakDbfs?: number;
  /** The channels that `auto` decides on. */
  readonly decided?: string;
  readonly problem?: string;
  /** Words of the problem. */
  readonly says?: string;
}

/** A sine of half of full scale, -6 dBFS. */
const TONE = "sine 440 0.5";
const QUIET = "constant 0 0 0";

const STREAM = {
  ...{ chunkSeconds: 1, sampleRate: 48_000, bitrateKbps: 24, vendor: "test" },
  socketDir: null,
};

const TABLE: readonly Row[] = [
  { what: "a mono microphone", animal: { signals: [TONE] }, peakDbfs: -6 },
  {
    what: "an interface with ten inputs, one of them in use",
    animal: { signals: [QUIET, QUIET, QUIET, TONE, ...Array(6).fill(QUIET)] },
    peakDbfs: -6,
    decided: "channel 4",
  },
  {
    what: "the same, averaged",
    animal: { signals: [QUIET, QUIET, QUIET, TONE, ...Array(6).fill(QUIET)] },
    options: { audioChannel: "mix" },
    peakDbfs: -26,
  },
  {
    what: "three channels, sound on the third only",
    animal: { signals: [QUIET, QUIET, TONE] },
    peakDbfs: -6,
    decided: "channel 3",
  },
  {
    what: "an array: processed, raw, raw, raw, raw, the till's playback",
    animal: {
      rate: 16_000,
      signals: [300, 400, 500, 600, 700, 800].map((hz, i) => `sine ${hz} ${0.5 / (i + 1)}`),
    },
    peakDbfs: -6,
    decided: "channel 1",
  },
  {
    what: "the same, channel 3 chosen",
    animal: {
      rate: 16_000,
      signals: [300, 400, 500, 600, 700, 800].map((hz, i) => `sine ${hz} ${0.5 / (i + 1)}`),
    },
    options: { audioChannel: 3 },
    peakDbfs: -15.6,
  },
  {
    what: "a stereo microphone wired with the right channel inverted",
    animal: { signals: [TONE, "sine 440 -0.5"] },
    peakDbfs: -6,
    decided: "channel 1",
  },
  {
    what: "a stereo microphone",
    animal: { signals: [TONE, TONE] },
    peakDbfs: -6,
    decided: "channels 1, 2",
  },
  {
    what: "audio_channel 7 of a stereo microphone",
    animal: { signals: [QUIET, TONE] },
    options: { audioChannel: 7 },
    peakDbfs: -6,
    problem: "microphone_channel",
  },
  {
    what: "32 channels",
    animal: { signals: [...Array(31).fill(QUIET), TONE] },
    peakDbfs: -6,
    decided: "channel 32",
  },
  {
    what: "the last capsule of nine, 24 bits at 44.1 kHz",
    animal: { format: "S24_3LE", rate: 44_100, signals: [...Array(8).fill(QUIET), TONE] },
    peakDbfs: -6,
    decided: "channel 9",
  },
  {
    what: "a quiet microphone, made 20 dB louder",
    animal: { signals: ["sine 440 0.05"] },
    options: { stream: { ...STREAM, gainDb: 20 } },
    peakDbfs: -6,
  },
  {
    what: "a loud hum at 30 Hz, weakened",
    animal: { signals: ["sine 30 0.9"] },
    options: { stream: { ...STREAM, highpassHz: 300 } },
    peakDbfs: -39,
  },
  {
    what: "an input without a capsule: a constant and one bit of noise",
    animal: { signals: ["noise 0 0.00003 0.02"] },
    problem: "microphone_silent",
  },
  {
    what: "a converter that hangs at full scale",
    animal: { signals: ["constant 0 0 -1"] },
    problem: "microphone_stuck",
  },
  {
    what: "an overdriven microphone",
    animal: { signals: ["sine 440 3"] },
    problem: "microphone_clipping",
  },
  {
    what: "a microphone that takes 12 s to be opened",
    animal: { signals: [TONE], delayMs: 12_000 },
    peakDbfs: -6,
  },
  {
    what: "the USB bus has no bandwidth left (ENOSPC in hw_params)",
    animal: { signals: [TONE], error: 28 },
    problem: "microphone_lost",
    says: "no bandwidth left",
  },
  {
    what: "a cable that breaks the link (EPROTO while recording)",
    animal: { signals: [TONE], diesAfterMs: 1500, diesWith: 71 },
    problem: "microphone_lost",
    says: "Protocol error",
  },
];

Deno.test("every microphone of the table is recorded, and what is recorded of it is said", async (t) => {
  const names = TABLE.map((_, index) => `mic${index}`);
  await using zoo = await Zoo.open(
    Object.fromEntries(TABLE.map(({ animal }, index) => [`mic${index}`, animal])),
  );
  using _entered = zoo.enter();
  // All at once: most of the time is spent waiting for the sound.
  const rows = TABLE.map((row, index) => checkRow(names[index] ?? "", row));
  const results = await Promise.allSettled(rows);
  for (const [index, row] of TABLE.entries()) {
    await t.step(row.what, () => {
      const result = results[index];
      if (result?.status === "rejected") throw result.reason;
    });
  }
});

async function checkRow(name: string, row: Row): Promise<void> {
  await using rig = await recorderRig(systemClock);
  const { rate = 48_000, format = "S16_LE", signals } = row.animal;
  const pcm = format === "S16_LE" ? name : `plug:${name}`; // as captureAttempts() decides for hw:
  const source = { kind: "alsa", pcm, channels: signals.length, sampleRate: rate } as const;
  let decided = "";
  const recorder = rig.recorder({
    microphones: {
      ...singleMicrophone({ name, reason: "a test", attempts: [source] }),
      rememberChannels: (_microphone, _count, { channels }) => {
        decided = say(channels);
        return Promise.resolve();
      },
    },
    ...row.options,
    stream: {
      ...(row.options?.stream ?? STREAM),
      socketDir: join(rig.spool.dir, "recording"),
    },
  });
  const stop = new AbortController();
  const running = recorder.run(stop.signal);
  const { peakDbfs } = row;
  try {
    if (row.decided !== undefined) {
      await until(row.decided, () => decided === row.decided);
    }
    const peak = () => rig.report().last_chunk?.peak_dbfs ?? NaN;
    if (peakDbfs !== undefined) {
      await until(`${peakDbfs} dBFS`, () => Math.abs(peak() - peakDbfs) < 0.5);
    }
    if (row.problem !== undefined) {
      const { problem, says = "" } = row;
      await until(
        problem,
        () =>
          rig.report().problems.some(({ code, message }) =>
            code === problem && message.includes(says)
          ),
      );
    }
  } catch (error) {
    const { last_chunk, problems } = rig.report();
    const report = JSON.stringify({ decided, last_chunk, problems }, null, 1);
    throw new Error(`${row.what}: ${report}`, { cause: error });
  } finally {
    stop.abort();
    await running;
  }
}

Deno.test("a step of the system clock, of any size, makes ffmpeg write no line and lose no sound", async () => {
  await using zoo = await Zoo.open({ mic: { signals: [TONE], period: 1024 } });
  using _entered = zoo.enter();
  for (const stepS of [40 * 86_400, -40 * 86_400]) {
    const variables = `LD_PRELOAD=${zoo.library} ZOO_CLOCK_STEP="1000 ${stepS}"`;
    const script = `exec env ${variables} ffmpeg "$@"`;
    await withFakePrograms({ ffmpeg: script }, async () => {
      const said: string[] = [];
      let stopped: Promise<boolean> | undefined;
      const ffmpeg = Ffmpeg.start(
        { kind: "alsa", pcm: "mic", channels: 1, sampleRate: 48_000 },
        { sampleRate: 48_000, bitrateKbps: 24, socketDir: null },
        // Lines after the stop do not count: for ffmpeg 7.1 only a part of the clock was stepped.
        (level, text) => level === "info" || stopped !== undefined || said.push(text),
      );
      const reader = new OpusStreamReader();
      let packets = 0;
      for await (const bytes of ffmpeg.sound()) {
        for (const event of reader.push(bytes)) if (event.kind === "packet") packets++;
        if (packets >= 120) stopped ??= ffmpeg.stop(systemClock); // 2.4 s
      }
      await stopped;
      await ffmpeg.ended;
      assertEquals(said, [], `${stepS} s`);
      assert(packets >= 120, `${packets} packets`);
    });
  }
});

Deno.test("the documentation has every row of the table", async () => {
  const text = await Deno.readTextFile(new URL("../../../docs/testing.md", import.meta.url));
  const words = text.replaceAll(/\s+/g, " ");
  for (const { what } of TABLE) assertStringIncludes(words, `- ${what} `);
});
