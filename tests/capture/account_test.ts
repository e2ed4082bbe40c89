// The account of a recorder over random sequences of what can happen to it: each moment of the scheduled time is in
// one chunk or in one declared gap. Time and sound are simulated.

import { assert, assertEquals } from "@std/assert";
import { parseChunkName } from "../../src/chunk/chunk_name.ts";
import { PAGE_MS } from "../../src/capture/ffmpeg_arguments.ts";
import { join } from "@std/path/join";
import { readChunkHeader } from "../../src/chunk/chunk_file.ts";
import { leftMs, pauseFor, type PauseState, RUNNING } from "../../src/capture/pause.ts";
import type { RecorderOptions } from "../../src/capture/recorder.ts";
import { problems } from "../../src/status/problems.ts";
import { seededRandom } from "../fixtures/random.ts";
import { simulatedRecorder } from "../fixtures/simulated_recorder.ts";
import { named, Sockets, until } from "../fixtures/sockets.ts";

const STREAM = {
  chunkSeconds: 10,
  sampleRate: 48000,
  bitrateKbps: 24,
  socketDir: null,
  vendor: "test",
};
/** The times of a chunk and of a gap are rounded differently. */
const ROUNDING_MS = 2;
/** A stream that is lost within its first page seems to begin earlier by as much: its sound came before it was due. */
const OVERLAP_MS = PAGE_MS + ROUNDING_MS;

async function rig(options: Partial<RecorderOptions> = {}) {
  let state: PauseState = RUNNING;
  const pausedForMs = (): number => leftMs(state, setup.clock.monotonicMs());
  const microphones = new Sockets();
  microphones.plug(named("usb"));
  const own = { microphones, stream: STREAM, ...options };
  const setup = await simulatedRecorder(own, { pausedForMs });
  const beginMs = setup.clock.unixMs();
  let gainDb = 0;
  const chunks = () =>
    [...Deno.readDirSync(setup.spool.path("outbox", ""))].flatMap(({ name }) => {
      const { startUnixUs, durationUs } = parseChunkName(name) ?? { startUnixUs: 0, durationUs: 0 };
      return { startMs: startUnixUs / 1000, endMs: (startUnixUs + durationUs) / 1000, cause: "" };
    });
  const gaps = () =>
    setup.lines.flatMap(({ cause, start, end }) =>
      cause === undefined ? [] : [{
        startMs: Date.parse(String(start)),
        endMs: Date.parse(String(end)),
        cause: String(cause),
      }]
    );
  return {
    ...setup,
    microphones,
    pause: (ms: number) => {
      const { clock } = setup;
      state = ms === 0
        ? RUNNING
        : pauseFor(ms, { monotonicMs: clock.monotonicMs(), unixMs: clock.unixMs() });
      setup.recorder.pauseChanged();
    },
    reload: () => setup.change({ stream: { ...STREAM, gainDb: ++gainDb } }),
    unplug: () => {
      microphones.plug(null);
      setup.ffmpegs.release();
    },
    gaps,
    /** What the chunks say of the gaps before them, in the order of time. */
    tagged: () => {
      const dir = setup.spool.path("outbox", "");
      return [...Deno.readDirSync(dir)].map(({ name }) => name).sort().flatMap((name) => {
        const { GAP_CAUSE } = readChunkHeader(Deno.readFileSync(join(dir, name)))?.tags ?? {};
        return GAP_CAUSE ?? [];
      });
    },
    /** While nothing is recorded: waits until the disk, which is real, has what was. */
    disk: () =>
      until("the chunks are sealed", () => {
        const filesIn = (dir: "recording" | "outbox") =>
          [...Deno.readDirSync(setup.spool.path(dir, ""))].length;
        const sealed = setup.lines.filter(({ message }) => message === "Recorded.").length;
        return filesIn("recording") === 0 && filesIn("outbox") === sealed;
      }),
    /** After `stop()`: throws unless chunks and gaps follow one another from the beginning to the end. */
    balance: (where: string) => {
      const { scheduledUs, recordedUs, gapUs, openUs, gaps: count } = setup.recorder.balance();
      const tookUs = Math.round((setup.clock.unixMs() - beginMs) * 1000);
      assertEquals([scheduledUs, openUs, recordedUs + gapUs], [tookUs, 0, tookUs], where);
      const parts = [...chunks(), ...gaps()].sort((a, b) => a.startMs - b.startMs);
      const declared = gaps();
      assertEquals(count, declared.length, where);
      let atMs = beginMs;
      for (const { startMs, endMs, cause } of parts) {
        const what = `${where}: ${cause || "chunk"} from ${startMs - beginMs} ms`;
        const earlyMs = atMs - startMs;
        const mostMs = cause === "" ? OVERLAP_MS : ROUNDING_MS;
        assert(-ROUNDING_MS <= earlyMs && earlyMs <= mostMs, `${what}, not ${atMs - beginMs} ms`);
        atMs = Math.max(atMs, endMs);
      }
      assert(Math.abs(atMs - setup.clock.unixMs()) <= ROUNDING_MS, `${where}: the end`);
    },
  };
}

type Till = Awaited<ReturnType<typeof rig>>;

/** The cause of a gap, and its length in seconds. */
type Expected = readonly [cause: string, seconds: number];

const MISSING = problems.noMicrophone("").code;
/** How far a gap may be from its length, s: the microphone is looked for every 2, 4, 8 … s. */
const ABOUT_S = 2;

/** What can happen, and the gaps that follow. */
const EVENTS: Readonly<Record<string, (till: Till) => Promise<readonly Expected[]>>> = {
  "other settings": (till) => {
    till.reload();
    return Promise.resolve([["settings_changed", 0]]);
  },
  "a pause": async (till) => {
    till.pause(40_000);
    await till.clock.advance(41_000);
    return [["paused", 40]];
  },
  "a pause of a moment": async (till) => {
    till.pause(60_000);
    till.pause(0);
    await till.clock.advance(1_000);
    return [["paused", 0]];
  },
  "a pause, and then other settings": async (till) => {
    till.pause(40_000);
    await till.clock.advance(20_000);
    till.reload();
    await till.clock.advance(25_000);
    return [["paused", 40]];
  },
  "a microphone that is gone": async (till) => {
    till.unplug();
    await till.clock.advance(30_000);
    till.microphones.plug(named("usb"));
    return [[MISSING, 30]];
  },
  "a microphone that is gone at the end of a pause": async (till) => {
    till.pause(40_000);
    await till.clock.advance(20_000);
    await till.disk();
    till.microphones.plug(null);
    await till.clock.advance(45_000);
    till.microphones.plug(named("usb"));
    return [["paused", 40], [MISSING, 25]];
  },
  "a pause while the microphone is gone": async (till) => {
    till.unplug();
    await till.clock.advance(30_000);
    await till.disk();
    till.pause(40_000);
    await till.clock.advance(20_000);
    till.microphones.plug(named("usb"));
    await till.clock.advance(30_000);
    return [[MISSING, 30], ["paused", 40]];
  },
};

Deno.test("each event costs one gap for each of its causes, and the account balances to the microsecond", async () => {
  await using till = await rig();
  till.run();
  await till.records("usb");
  const expected: Expected[] = [];
  const longest: string[] = [];
  for (const [name, happen] of Object.entries(EVENTS)) {
    await till.clock.advance(25_130); // in the middle of a page, and of a packet
    const happened = await happen(till);
    expected.push(...happened);
    longest.push(happened.toSorted(([, a], [, b]) => b - a)[0]?.[0] ?? "");
    await till.records("usb");
    await till.clock.advance(13_000);
    await until(`${name}: gaps are declared`, () => till.gaps().length >= expected.length);
    const gaps = till.gaps();
    assertEquals(gaps.map(({ cause }) => cause), expected.map(([cause]) => cause), name);
    for (const [i, [cause, seconds]] of expected.entries()) {
      const { startMs, endMs } = gaps[i] ?? { startMs: 0, endMs: NaN };
      const tookS = (endMs - startMs) / 1000;
      assert(Math.abs(tookS - seconds) <= ABOUT_S, `${name}: ${tookS} s of ${cause}`);
    }
  }
  await till.stop();
  assertEquals(till.gaps().slice(expected.length).map(({ cause }) => cause), ["stopping"]);
  assertEquals(till.tagged(), longest, "a chunk names the longest part of the gap before it");
  till.balance("in the end");
});

Deno.test("whatever happens and whenever, each moment is in one chunk or in one declared gap", async () => {
  for (let seed = 1; seed <= 4; seed++) {
    const random = seededRandom(seed);
    const log: string[] = [];
    await using till = await rig({ stream: { ...STREAM, phase: random() } });
    till.run();
    const steps: Readonly<Record<string, () => void>> = {
      reload: till.reload,
      pause: () => till.pause(Math.round(random() * 30_000)),
      resume: () => till.pause(0),
      lose: () => till.ffmpegs.release(),
      unplug: till.unplug,
      plug: () => till.microphones.plug(named(`usb${Math.floor(random() * 2)}`)),
      hang: () => till.ffmpegs.hang(),
      nothing: () => {},
    };
    const names = Object.keys(steps);
    for (let count = 0; count < 30; count++) {
      const name = names[Math.floor(random() * names.length)] ?? "";
      const ms = Math.round(random() ** 3 * 40_000);
      log.push(`${name} ${ms}`);
      steps[name]?.();
      await till.clock.advance(ms);
    }
    await till.stop();
    till.balance(`seed ${seed}: ${log.join(", ")}`);
  }
});
