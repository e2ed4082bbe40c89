// deno-lint-ignore-file no-console -- a benchmark talks to a person
// Measures start_ts and end_ts against true time with the real program: a simulated microphone plays a time
// code, the program records and delivers it, and the benchmark compares the time of each mark in a chunk
// with the true one. A second reader of the same ALSA device, without encoder and timeline, shows which part
// of the error is the latency of the simulated microphone. The benchmark never looks inside the program.
//
// The time code: an upward chirp at each whole second of UTC, and a downward one 300 + 10·(second of the
// minute) ms later. It is written to the FIFO of a PulseAudio source in blocks of 5 ms. Each block is
// written when its last sample is due, as with a sound card; the true time of a sample is the time at which
// it was due. An error is positive if the program reports a time later than the true one.
//
// `bench/time.ts [SECONDS]`. The table goes to stdout. The exit code is 1 if any mark is off by more
// than LIMIT_MS, or if chunks do not join to the microsecond.

import { delay } from "@std/async/delay";
import { join } from "@std/path/join";
import { AgentProcess } from "../tests/fixtures/agent_process.ts";
import { decodeToPcm } from "../tests/fixtures/audio.ts";
import { run } from "../tests/fixtures/command.ts";
import { IngestServer, type ReceivedChunk } from "../tests/fixtures/ingest_server.ts";
import { PulseMicrophone } from "../tests/fixtures/pulse_microphone.ts";

const LIMIT_MS = 50;
const DEFAULT_SECONDS = 60;
const CHUNK_SECONDS = 5;
const LAST_CHUNK_MS = 2500;
const PER_MS = 48;
const PER_SECOND = 48_000;
const BLOCK = 5 * PER_MS;
const CHIRP_SAMPLES = 20 * PER_MS;
/** Marks are searched for where the level rises above this (a chirp has 0.5). */
const ONSET = 0.1;
const DEVICE = "timecode";
const COLUMNS = [
  ...["start_ts, UTC", "length, s", "marks", "start_ts: error, ms", "  min", "  max"],
  ...["end_ts: error, ms", "  min", "  max", "join, µs"],
];

/** 20 ms from 1 to 3 kHz, faded in and out. Any codec preserves it, and its correlation has one peak. */
const UP = Float32Array.from({ length: CHIRP_SAMPLES }, (_, n) => {
  const t = n / PER_SECOND;
  const window = Math.sin(Math.PI * (n + 0.5) / CHIRP_SAMPLES) ** 2;
  return 0.5 * window * Math.sin(2 * Math.PI * (1000 * t + 50_000 * t * t));
});
const DOWN = UP.toReversed();

/** The position of the second mark of the time code in a second of Unix time, ms. */
const codeMs = (unixSecond: number) => 300 + 10 * (unixSecond % 60);

/** One second of the time code. */
function makeSecond(unixSecond: number): Int16Array {
  const samples = new Float32Array(PER_SECOND);
  samples.set(UP);
  samples.set(DOWN, codeMs(unixSecond) * PER_MS);
  return Int16Array.from(samples, (value) => Math.round(value * 32_767));
}

/** Unix minus monotonic milliseconds. Date.now() is an integer, exact at the moment it changes. */
function utcOffsetMs(): number {
  let offsetMs = -Infinity;
  for (const endMs = performance.now() + 5; performance.now() < endMs;) {
    offsetMs = Math.max(offsetMs, Date.now() - performance.now());
  }
  return offsetMs;
}

/** Plays the time code until the signal aborts. Resolves to how late each block was written, ms. */
async function play(fifo: string, signal: AbortSignal): Promise<number[]> {
  using file = await Deno.open(fifo, { write: true });
  const offsetMs = utcOffsetMs();
  const startSecond = Math.ceil((performance.now() + offsetMs) / 1000);
  const startMs = startSecond * 1000 - offsetMs;
  const lateMs: number[] = [];
  for (let second = startSecond, sample = 0; !signal.aborted; second++) {
    const pcm = makeSecond(second);
    for (let at = 0; at < PER_SECOND && !signal.aborted; at += BLOCK) {
      sample += BLOCK;
      const dueMs = startMs + sample / PER_MS;
      for (let left; (left = dueMs - performance.now()) > 0;) await delay(Math.max(1, left));
      file.writeSync(new Uint8Array(pcm.buffer, at * 2, BLOCK * 2));
      lateMs.push(performance.now() - dueMs);
    }
  }
  return lateMs;
}

/**
 * The error of each mark in `pcm`, ms, if the first sample is assumed to be at `startUnixMs`; positive if
 * that is too late. `startUnixMs` may be wrong by up to half a minute.
 */
function errorsMs(pcm: Float32Array, startUnixMs: number): number[] {
  const chirps: { sample: number; isUp: boolean }[] = [];
  for (let at = 0; at < pcm.length; at++) {
    if (Math.abs(pcm[at] ?? 0) < ONSET) continue;
    const [up, down] = [UP, DOWN].map((chirp) => locate(chirp, pcm, at));
    // A chirp at the edge may be cut off.
    if (up && down && at > CHIRP_SAMPLES && at < pcm.length - 2 * CHIRP_SAMPLES) {
      const isUp = up.product > down.product;
      chirps.push({ sample: (isUp ? up : down).sample, isUp });
    }
    at += 2 * CHIRP_SAMPLES;
  }
  return chirps.flatMap((first, index) => {
    const second = chirps[index + 1];
    if (!first.isUp || second === undefined || second.isUp) return [];
    const code = Math.round(((second.sample - first.sample) / PER_MS - 300) / 10);
    const believed = Math.round((startUnixMs + first.sample / PER_MS) / 1000);
    const unixSecond = believed + ((code - believed + 30) % 60 + 60) % 60 - 30;
    const errorMs = startUnixMs + first.sample / PER_MS - unixSecond * 1000;
    return [errorMs, errorMs + (second.sample - first.sample) / PER_MS - codeMs(unixSecond)];
  });
}

/** The position near `at` where the chirp fits best. */
function locate(chirp: Float32Array, pcm: Float32Array, at: number) {
  let best = { sample: 0, product: -Infinity };
  for (let sample = at - CHIRP_SAMPLES; sample < at + CHIRP_SAMPLES; sample++) {
    const product = chirp.reduce((sum, value, n) => sum + value * (pcm[sample + n] ?? 0), 0);
    if (product > best.product) best = { sample, product };
  }
  return best;
}

/**
 * Reads the same device as the program until `stop()`, with the same input of ffmpeg but no further
 * processing. Its errors are the latency of FIFO, PulseAudio, ALSA plugin and ffmpeg's input: the earliest
 * of all reads shows when the recording began, as the earliest packets do in the program.
 */
function readPlainly(env: Record<string, string>): { stop(): Promise<number[]> } {
  const input = ["-f", "alsa", "-channels", "1", "-sample_rate", String(PER_SECOND), "-i", DEVICE];
  const args = ["-v", "error", "-nostdin", ...input, "-f", "s16le", "pipe:1"];
  const command = new Deno.Command("ffmpeg", { args, env, stdin: "null", stdout: "piped" });
  const child = command.spawn();
  const read = (async () => {
    const pieces: Uint8Array<ArrayBuffer>[] = [];
    let [samples, startMs] = [0, Infinity];
    for await (const piece of child.stdout) {
      samples += piece.length / 2;
      startMs = Math.min(startMs, performance.now() - samples / PER_MS);
      pieces.push(piece);
    }
    const pcm = new Int16Array(await new Blob(pieces).arrayBuffer());
    return errorsMs(Float32Array.from(pcm, (value) => value / 32_767), startMs + utcOffsetMs());
  })();
  return {
    async stop() {
      child.kill("SIGTERM");
      await child.status;
      return await read;
    },
  };
}

/** Records the time code for `seconds`. Returns the delivered chunks and the values to judge them by. */
async function record(seconds: number, dir: string) {
  await using microphone = await PulseMicrophone.start();
  const env = { ...microphone.env, ALSA_CONFIG_PATH: join(dir, "alsa.conf") };
  await Deno.writeTextFile(
    env.ALSA_CONFIG_PATH,
    `<${microphone.env["ALSA_CONFIG_PATH"]}>\npcm.${DEVICE} { type pulse device ${DEVICE} }\n`,
  );
  const fifo = join(dir, "fifo");
  const source = [`source_name=${DEVICE}`, `file=${fifo}`, "format=s16le", `rate=${PER_SECOND}`];
  await run("pactl", ["load-module", "module-pipe-source", ...source, "channels=1"], { env });
  await using ingest = await IngestServer.start({ token: "bench" });
  // The plain reader also keeps the FIFO empty while the program starts.
  const plain = readPlainly(env);
  const stop = new AbortController();
  const offsetMs = utcOffsetMs();
  const played = play(fifo, stop.signal);
  try {
    const config = {
      ...{ ingest_base_url: ingest.url, ingest_token: "bench", spool_dir: join(dir, "spool") },
      ...{ schedule_start: "00:00", schedule_end: "00:00", max_clock_wait_s: 0, min_free_gb: 0 },
      ...{ audio_device: DEVICE, chunk_seconds: CHUNK_SECONDS },
    };
    await using agent = await AgentProcess.start({ dir, config, env });
    await ingest.waitForChunks(Math.ceil(seconds / CHUNK_SECONDS), (seconds + 30) * 1000);
    // Gives the last chunk some marks, too; the stop of the program ends it early.
    await delay(LAST_CHUNK_MS);
    await agent.end("SIGTERM");
    stop.abort();
    const [lateMs, plainErrors] = [await played, await plain.stop()];
    return { chunks: ingest.chunks, plainErrors, lateMs, steppedMs: utcOffsetMs() - offsetMs };
  } finally {
    stop.abort();
    await played;
  }
}

const mean = (values: readonly number[]) => values.reduce((a, b) => a + b, 0) / values.length;
const show = (ms: number) => ms.toFixed(2).replace("-", "−");
const summary = (ms: readonly number[]) => [mean(ms), Math.min(...ms), Math.max(...ms)].map(show);

function printRow(cells: readonly string[]): void {
  const padded = cells.map((cell, at) => cell.padStart(COLUMNS[at]?.length ?? 0));
  console.log(`| ${padded.join(" | ")} |`);
}

/** Prints a row for each chunk. Returns all errors, ms, and the distances between chunks, µs. */
async function judge(chunks: readonly ReceivedChunk[]) {
  printRow(COLUMNS);
  printRow(COLUMNS.map((title) => `${"-".repeat(title.length - 1)}:`));
  const [errors, joins]: [number[], number[]] = [[], []];
  let beforeUs: number | null = null;
  for (const { bytes, fields } of chunks) {
    const startUs = Math.round(Number(fields["start_ts"]) * 1e6);
    const endUs = Math.round(Number(fields["end_ts"]) * 1e6);
    const pcm = await decodeToPcm(bytes);
    const start = errorsMs(pcm, startUs / 1000);
    const end = errorsMs(pcm, endUs / 1000 - pcm.length / PER_MS);
    errors.push(...start, ...end);
    if (beforeUs !== null) joins.push(beforeUs - startUs);
    const time = new Date(startUs / 1000).toISOString().slice(11, 23);
    const length = (pcm.length / PER_SECOND).toFixed(3);
    const join = beforeUs === null ? "–" : String(beforeUs - startUs);
    printRow([time, length, String(start.length), ...summary(start), ...summary(end), join]);
    beforeUs = endUs;
  }
  return { errors, joins };
}

async function describeMachine(): Promise<string> {
  const cpuinfo = await Deno.readTextFile("/proc/cpuinfo");
  const cpu = /^(?:model name|Model)\s*: (.*)$/m.exec(cpuinfo)?.[1];
  const date = new Date().toISOString().slice(0, 10);
  return `${navigator.hardwareConcurrency} × ${cpu ?? "?"} (${Deno.build.arch}), ${date}`;
}

const dir = await Deno.makeTempDir({ prefix: "bench-time-" });
try {
  const recorded = await record(Number(Deno.args[0] ?? DEFAULT_SECONDS), dir);
  const { errors, joins } = await judge(recorded.chunks);
  const report = (what: string, ms: readonly number[]) => {
    const [average, min, max] = summary(ms);
    console.log(`${what}: mean ${average} ms (${min} to ${max})`);
  };
  console.log();
  report("total error of start_ts and end_ts", errors);
  report("of which latency of the microphone, up to ffmpeg's input", recorded.plainErrors);
  report("error without that latency", errors.map((ms) => ms - mean(recorded.plainErrors)));
  report("how late the time code was written", recorded.lateMs);
  console.log(
    `change of the system clock against the monotonic clock: ${show(recorded.steppedMs)} ms`,
  );
  console.log(`\n${await describeMachine()}`);
  const isTrue = errors.length > 0 && errors.every((ms) => Math.abs(ms) <= LIMIT_MS);
  if (!isTrue || joins.some((us) => us !== 0)) Deno.exitCode = 1;
} finally {
  await Deno.remove(dir, { recursive: true });
}
