// deno-lint-ignore-file no-console -- this command talks to a person
// The demo: the whole path from sound to server in one process, for a person who has neither a microphone
// nor a server. It runs the real agent on a synthetic source, and the real receiver on loopback, which keeps
// the chunks in a folder.

import { readWhole } from "../system/disk.ts";
import { join } from "@std/path/join";
import { runAgent, type RunningAgent } from "../agent.ts";
import { cutToLastPage, MAX_CHUNK_BYTES, readChunkHeader } from "../chunk/chunk_file.ts";
import { parseChunkName } from "../chunk/chunk_name.ts";
import { type Config, loadConfig } from "../config/config.ts";
import { FolderStore } from "../receive/folder_store.ts";
import { DEFAULT_MAX_MB, Receiver } from "../receive/receiver.ts";
import { oneToken } from "../receive/token_file.ts";
import { HeldLines } from "../system/held_lines.ts";
import { type LevelName, startLog } from "../system/log.ts";
import { type Clock, systemClock } from "../system/clock.ts";
import { OPUS_RATE } from "../chunk/opus.ts";
import { runJoin } from "./join.ts";
import type { HealthReport } from "../status/status.ts";
import { ffmpegProgram } from "../system/programs.ts";

export interface DemoOptions {
  /** 0: until the signal. */
  readonly seconds: number;
  readonly dir: string;
  readonly logLevel: LevelName | undefined;
}

const TOKEN = "demo-token";
const CHUNK_SECONDS = 5;
/** The demo is not longer than this without sound. */
const START_MS = 60_000;
/** How long the demo waits for the level of a delivered chunk, and how often the demo looks for it. */
const LEVEL_WAIT_MS = 1000;
const LEVEL_LOOK_MS = 50;
/** Three tones that become louder and quieter, so that the level display moves. */
const GRAPH = "aevalsrc='0.6*abs(sin(PI*t/7))*(0.5*sin(2*PI*220*t)+0.3*sin(2*PI*330*t)" +
  "+0.2*sin(2*PI*440*t))':s=48000:c=mono";

/** Everything that was received, in one file. */
const WHOLE = {
  from: undefined,
  to: undefined,
  device: undefined,
  zone: undefined,
  gaps: "silence",
} as const;

interface Arrived {
  /** Path of the file. */
  readonly path: string;
  readonly startUnixMs: number;
  readonly seconds: number;
  readonly bytes: number;
}

/** Exit code: 0 if every chunk arrived and no sample is missing. */
export async function runDemo(options: DemoOptions, stop: AbortSignal): Promise<number> {
  const dir = join(options.dir, new Date().toISOString().slice(0, 19).replaceAll(":", "-"));
  await Deno.mkdir(options.dir, { recursive: true });
  const arrived: Arrived[] = [];
  let agent: RunningAgent | undefined;
  let printed: Promise<void> = Promise.resolve();
  const held = new HeldLines(systemClock);
  const log = startLog({ level: options.logLevel ?? "WARNING", journal: false, held });
  using store = await FolderStore.open(dir);
  const receiver = Receiver.start({
    ...{ hostname: "127.0.0.1", port: 0, tls: null, tokens: oneToken(TOKEN) },
    ...{ store, overview: null, maxBodyBytes: DEFAULT_MAX_MB * 1e6, clock: systemClock, log },
    onChunk: ({ outcome, place, key, startUnixUs, durationUs, sizeBytes }) => {
      if (outcome === "repeated") return;
      const chunk = {
        ...{ path: join(dir, place), bytes: sizeBytes },
        ...{ startUnixMs: startUnixUs / 1000, seconds: durationUs / 1e6 },
      };
      arrived.push(chunk);
      printed = printed.then(async () =>
        printChunk(chunk, await levelOf(key, () => agent?.report().last_chunk, systemClock))
      );
    },
  });
  const spoolDir = await Deno.makeTempDir({ prefix: "recorder-agent-demo-" });
  try {
    const over = new AbortController();
    const signal = AbortSignal.any([stop, over.signal]);
    const timing = options.seconds > 0
      ? recorded(options.seconds, () => agent, signal).then(() => over.abort())
      : null;
    await runAgent({
      config: demoConfig(spoolDir, `http://127.0.0.1:${receiver.port}`),
      log,
      microphone: {
        name: "synthetic tones",
        reason: "the demo needs no microphone",
        attempts: [{ kind: "lavfi", graph: GRAPH }],
      },
      onRunning: (running) => {
        agent = running;
        printHeader(options, running, dir);
      },
    }, signal);
    over.abort();
    await timing;
    await printed;
    return await printSummary(arrived, agent, dir);
  } finally {
    await receiver.close();
    held.flush();
    await Deno.remove(spoolDir, { recursive: true });
  }
}

/** Resolves when so much sound has been recorded, or has not come at all, or when the signal aborts. */
async function recorded(
  seconds: number,
  agent: () => RunningAgent | undefined,
  signal: AbortSignal,
): Promise<void> {
  const endMs = systemClock.monotonicMs() + START_MS;
  // A slow machine needs some of this time to start ffmpeg.
  while (agent()?.report().recording !== true && systemClock.monotonicMs() < endMs) {
    await systemClock.sleep(100, signal);
    if (signal.aborted) return;
  }
  await systemClock.sleep(seconds * 1000, signal);
}

/** The defaults, except for values that make a run short and leave no trace. */
function demoConfig(spoolDir: string, url: string): Config {
  return loadConfig({
    path: null,
    env: {
      RA_POINT_ID: crypto.randomUUID(),
      RA_REGISTER_ID: crypto.randomUUID(),
      RA_DEVICE_ID: crypto.randomUUID(),
      RA_INGEST_BASE_URL: url,
      RA_INGEST_TOKEN: TOKEN,
      RA_SCHEDULE_START: "00:00",
      RA_SCHEDULE_END: "00:00",
      RA_CHUNK_SECONDS: String(CHUNK_SECONDS),
      RA_SPOOL_DIR: spoolDir,
      RA_MAX_SPOOL_DAYS: "1",
      RA_MAX_SPOOL_GB: "1",
      RA_RETRY_MIN_S: "1",
      RA_RETRY_MAX_S: "10",
      RA_HEALTH_PORT: "0",
      RA_UPLOAD_TIMEOUT_S: "10",
      RA_MAX_CLOCK_WAIT_S: "0",
      RA_MIN_FREE_GB: "0",
    },
  });
}

function printHeader(options: DemoOptions, agent: RunningAgent, dir: string): void {
  const duration = options.seconds > 0 ? `for ${options.seconds} s` : "until Ctrl-C";
  console.log(`
  recorder-agent demo: three tones instead of a microphone, recorded ${duration},
  cut into chunks of ${CHUNK_SECONDS} s and delivered to a server inside this program.

  health      http://127.0.0.1:${agent.healthPort}/health
  recordings  ${dir}/

  recorded at   length    size      level
  ────────────  ────────  ────────  ──────────────────────────────`);
}

/**
 * The level of the chunk with this key; null if there is none. A chunk may be delivered a moment before the
 * agent reports it as recorded: that moment is waited for.
 */
export async function levelOf(
  key: string,
  lastChunk: () => HealthReport["last_chunk"] | undefined,
  clock: Clock,
): Promise<number | null> {
  const endMs = clock.monotonicMs() + LEVEL_WAIT_MS;
  while (true) {
    const chunk = lastChunk() ?? null;
    if (chunk !== null && parseChunkName(chunk.name)?.key === key) return chunk.rms_dbfs;
    if (clock.monotonicMs() >= endMs) return null;
    await clock.sleep(LEVEL_LOOK_MS);
  }
}

function printChunk(chunk: Arrived, rmsDbfs: number | null): void {
  const time = new Date(chunk.startUnixMs).toISOString().slice(11, 23);
  const length = `${chunk.seconds.toFixed(3)} s`.padEnd(8);
  const size = `${(chunk.bytes / 1000).toFixed(1)} kB`.padEnd(8);
  console.log(`  ${time}  ${length}  ${size}  ${levelBar(rmsDbfs)}`);
}

/** -60 dBFS is empty, 0 is full. */
function levelBar(rmsDbfs: number | null): string {
  if (rmsDbfs === null) return "not measured";
  const filled = Math.max(0, Math.min(20, Math.round((rmsDbfs + 60) / 3)));
  return `${"█".repeat(filled)}${"░".repeat(20 - filled)} ${rmsDbfs.toFixed(1)} dB`;
}

async function printSummary(
  arrived: readonly Arrived[],
  agent: RunningAgent | undefined,
  dir: string,
): Promise<number> {
  const made = agent?.report().chunks_recorded_total ?? 0;
  let samples = 0;
  for (const { path } of arrived) samples += await decodedSamples(path);
  const last = arrived.at(-1);
  // Compares the samples that were counted during the recording with those that a decoder finds in the
  // files.
  const missing = (last === undefined ? 0 : await endSampleOf(last.path)) - samples;
  const joined = `${dir}.ogg`;
  const files = { paths: [dir], output: joined };
  const isJoined = await runJoin({ ...WHOLE, ...files, print: () => {}, progress: () => {} }) === 0;
  const good = made > 0 && arrived.length === made && missing === 0;
  console.log(`
  ${made} chunks recorded, ${arrived.length} delivered, ${missing} samples missing
  ${(samples / OPUS_RATE).toFixed(3)} s of sound${
    isJoined ? `\n  play them: ${playCommand(joined)}` : ""
  }
  ${
    good
      ? "✔ every chunk delivered, no sample missing at any seam"
      : "✘ something is missing: run the demo again with --log-level DEBUG"
  }
`);
  return good ? 0 : 1;
}

/** A command for a shell, whatever is in the name of the file. */
export function playCommand(path: string): string {
  const word = /^[\w./-]+$/.test(path) ? path : `'${path.replaceAll("'", `'\\''`)}'`;
  return `ffplay -autoexit -nodisp -i ${word}`;
}

/** Number of the first sample after a chunk in the recorded stream; 48 kHz. */
async function endSampleOf(path: string): Promise<number> {
  const bytes = await readWhole(path, MAX_CHUNK_BYTES);
  return Number(readChunkHeader(bytes)?.tags["STREAM_SAMPLE"]) +
    (cutToLastPage(bytes)?.samples ?? NaN);
}

/** The number of samples at 48 kHz that a decoder finds in a file. */
async function decodedSamples(path: string): Promise<number> {
  const { stdout } = await new Deno.Command(ffmpegProgram(), {
    args: ["-v", "error", "-i", path, "-f", "s16le", "-ar", String(OPUS_RATE), "pipe:1"],
    stdin: "null",
    stderr: "inherit",
  }).output();
  return stdout.length / 2;
}
