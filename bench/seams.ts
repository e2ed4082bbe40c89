// deno-lint-ignore-file no-console -- a benchmark talks to a person
// Measures the seams between chunks: what is missing when each chunk is decoded by a decoder of its
// own and the results are joined, and how far the first 20 ms behind a seam are from the stream that
// was never cut; beside it the same of ffmpeg's segment muxer. Sound is encoded with the arguments of
// a recording and cut with the recorder's own modules. It never records, and judges nothing by ear.
//
// The table goes to stdout, progress to stderr. The exit code is 1 if a sample of ours is missing or
// one of our seams is above SEAM_DB with ffmpeg's own decoder.

import { join } from "@std/path/join";
import { Chunker } from "../src/capture/chunker.ts";
import { ffmpegArguments } from "../src/capture/ffmpeg.ts";
import { concatBytes, segmentCount } from "../src/capture/ogg.ts";
import {
  OPUS_RATE,
  type OpusHead,
  type OpusPacket,
  OpusStreamReader,
} from "../src/capture/opus.ts";
import { run } from "../tests/fixtures/command.ts";

const SEAM_DB = -60;
/** So much behind a seam is compared: 20 ms. */
const SEAM_SAMPLES = OPUS_RATE / 50;
/** The level there is that of the uncut stream in the second around the seam. */
const HALF_SECOND = OPUS_RATE / 2;

const BITRATES_KBPS = [24, 32];
/** Short chunks get more seams: their sound is cheap. */
const CUTS = [
  { chunkSeconds: 1, sampleRate: 48_000, seams: 20 },
  { chunkSeconds: 5, sampleRate: 16_000, seams: 10 },
  { chunkSeconds: 5, sampleRate: 24_000, seams: 10 },
  { chunkSeconds: 5, sampleRate: 48_000, seams: 10 },
  { chunkSeconds: 60, sampleRate: 48_000, seams: 3 },
  { chunkSeconds: 600, sampleRate: 48_000, seams: 2 },
];
/** A slow voice is the hardest: a decoder remembers long vowels longest. */
const VOICES = { "speech": ["-s", "175"], "slow speech": ["-v", "en+m7", "-s", "120"] };
const NOISES = ["white", "pink"];

interface Case {
  readonly bitrateKbps: number;
  readonly cut: typeof CUTS[number];
  readonly signal: string;
  /** Source of libavfilter, without an end. */
  readonly graph: string;
}

/** A file, and the position in the uncut stream of the first sample that it should give. */
interface Piece {
  readonly path: string;
  readonly startSample: number;
}

interface Seams {
  /** Samples missing, or too many, in all pieces together. */
  readonly missing: number;
  /** Difference behind each seam relative to the level there; -Infinity if there is none. */
  readonly db: readonly number[];
}

interface Result {
  readonly ours: Seams;
  readonly oursByLibopus: Seams;
  readonly segments: Seams;
  readonly prerollBytes: readonly number[];
}

async function measure({ bitrateKbps, cut, graph }: Case, folder: string): Promise<Result> {
  await Deno.mkdir(folder);
  const seconds = cut.seams * cut.chunkSeconds + 0.9;
  const source = { kind: "lavfi", graph: `${graph},atrim=duration=${seconds}` } as const;
  const options = { sampleRate: cut.sampleRate, bitrateKbps, levelsSocket: null };
  const args = ffmpegArguments(source, options).filter((arg) => arg !== "-re");
  const stream = (await run("ffmpeg", args)).stdout;
  const uncut = join(folder, "uncut.ogg");
  await Deno.writeFile(uncut, stream);
  const chunks = await cutIntoChunks(stream, cut.chunkSeconds, folder);
  const segments = await cutIntoSegments(uncut, cut.chunkSeconds, folder);
  const samples = Math.round(seconds * OPUS_RATE);
  const result = {
    ours: await compare(chunks, uncut, samples, "opus"),
    oursByLibopus: await compare(chunks, uncut, samples, "libopus"),
    segments: await compare(segments, uncut, samples, "opus"),
    prerollBytes: chunks.slice(1).map(({ prerollBytes }) => prerollBytes),
  };
  await Deno.remove(folder, { recursive: true });
  return result;
}

/** The stream cut as the recorder cuts it. */
async function cutIntoChunks(
  stream: Uint8Array,
  chunkSeconds: number,
  folder: string,
): Promise<(Piece & { prerollBytes: number })[]> {
  const { head, packets } = readOpus(stream);
  const chunker = new Chunker(head, {
    chunkSamples: chunkSeconds * OPUS_RATE,
    identify: (startSample) => ({ key: "", serial: startSample, vendor: "bench", comments: {} }),
  });
  const files: { startSample: number; bytes: Uint8Array[] }[] = [];
  for (const event of [...packets.flatMap((packet) => chunker.push(packet)), ...chunker.cut()]) {
    if (event.kind === "open") files.push({ startSample: event.startSample, bytes: [] });
    files.at(-1)?.bytes.push(event.bytes);
  }
  return await Promise.all(files.map(async ({ startSample, bytes }, index) => {
    const path = join(folder, `chunk-${index}.ogg`);
    const file = concatBytes(bytes);
    await Deno.writeFile(path, file);
    return { path, startSample, prerollBytes: prerollBytes(file) };
  }));
}

/** Bytes of the packets that a chunk's pre-skip covers, with their lengths in the page headers. */
function prerollBytes(file: Uint8Array): number {
  const { head, packets } = readOpus(file);
  return packets.filter(({ endPosition }) => endPosition <= head.preSkip)
    .reduce((sum, { data }) => sum + data.length + segmentCount(data.length), 0);
}

/**
 * The same packets in the files of ffmpeg's segment muxer, which are those it makes when it encodes
 * as well (`-c:a libopus -f segment`): every one repeats the stream's pre-skip, and plays that much
 * less than it holds.
 */
async function cutIntoSegments(
  uncut: string,
  chunkSeconds: number,
  folder: string,
): Promise<Piece[]> {
  const names = join(folder, "segment-%05d.ogg");
  const segment = ["-c", "copy", "-f", "segment", "-segment_time", String(chunkSeconds), names];
  await run("ffmpeg", ["-nostdin", "-v", "error", "-i", uncut, ...segment]);
  const paths = [...Deno.readDirSync(folder)].map(({ name }) => name)
    .filter((name) => name.startsWith("segment-")).sort().map((name) => join(folder, name));
  const { head: { preSkip } } = readOpus(await Deno.readFile(uncut));
  let startPosition = 0;
  return paths.map((path) => {
    const { head, packets } = readOpus(Deno.readFileSync(path));
    const startSample = startPosition + head.preSkip - preSkip;
    startPosition += packets.reduce((sum, { samples }) => sum + samples, 0);
    return { path, startSample };
  });
}

function readOpus(file: Uint8Array): { head: OpusHead; packets: OpusPacket[] } {
  let head: OpusHead | null = null;
  const packets: OpusPacket[] = [];
  const reader = new OpusStreamReader();
  for (const event of [...reader.push(file), ...reader.end()]) {
    if (event.kind === "break") throw new Error(`Cannot read Ogg/Opus: ${event.reason}`);
    if (event.kind === "head") head = event.head;
    else packets.push(event.packet);
  }
  if (head === null) throw new Error("Cannot read Ogg/Opus: there is no OpusHead");
  return { head, packets };
}

/**
 * Decodes every piece by itself and compares it with the uncut stream at the place where it belongs,
 * which favours pieces with holes: joined without more ado, they slide further at every seam.
 */
async function compare(
  pieces: readonly Piece[],
  uncut: string,
  samples: number,
  decoder: string,
): Promise<Seams> {
  const around = pieces.map(({ startSample }) => startSample - HALF_SECOND);
  const whole = await decode(uncut, decoder, around, 2 * HALF_SECOND);
  if (whole.samples !== samples) {
    throw new Error(`Cannot compare: uncut, ${samples} samples became ${whole.samples}`);
  }
  let [missing, end] = [0, 0];
  const db: number[] = [];
  for (const [index, { path, startSample }] of pieces.entries()) {
    const piece = await decode(path, decoder, [0], SEAM_SAMPLES);
    missing += Math.abs(startSample - end);
    end = startSample + piece.samples;
    const [heard, reference] = [piece.windows[0], whole.windows[index]];
    if (index === 0 || heard === undefined || reference === undefined) continue;
    const difference = heard.map((value, at) => value - (reference[HALF_SECOND + at] ?? 0));
    db.push(20 * Math.log10(rms(difference) / rms(reference)));
  }
  return { missing: missing + Math.abs(samples - end), db };
}

/** How many samples a new ffmpeg hears in a file, and those in windows of `length` at `starts`. */
async function decode(path: string, decoder: string, starts: readonly number[], length: number) {
  const input = ["-nostdin", "-v", "error", "-c:a", decoder, "-i", path];
  const args = [...input, "-f", "f32le", "-ac", "1", "-ar", String(OPUS_RATE), "pipe:1"];
  const command = new Deno.Command("ffmpeg", { args, stdout: "piped", stderr: "piped" });
  const child = command.spawn();
  const said = new Response(child.stderr).text();
  const windows = starts.map((start) => ({ from: start * 4, bytes: new Uint8Array(length * 4) }));
  let at = 0;
  for await (const read of child.stdout) {
    for (const { from, bytes } of windows) {
      const begin = Math.max(from, at);
      const end = Math.min(from + bytes.length, at + read.length);
      if (begin < end) bytes.set(read.subarray(begin - at, end - at), begin - from);
    }
    at += read.length;
  }
  if (!(await child.status).success || await said !== "") {
    throw new Error(`Cannot decode ${path}: ${await said}`);
  }
  return { samples: at / 4, windows: windows.map(({ bytes }) => new Float32Array(bytes.buffer)) };
}

function rms(samples: Float32Array): number {
  return Math.sqrt(samples.reduce((sum, value) => sum + value * value, 0) / samples.length);
}

const worst = (db: readonly number[]) => Math.max(...db);
const median = (db: readonly number[]) => db.toSorted((a, b) => a - b)[db.length >> 1] ?? NaN;
const showDb = (db: number) => db === -Infinity ? "equal" : db.toFixed(1).replace("-", "−");

/** One row of the table: all signals that were cut in one way. */
function makeRow({ bitrateKbps, cut }: Case, results: readonly Result[]): string[] {
  const join = (of: (result: Result) => Seams) => ({
    missing: results.reduce((sum, result) => sum + of(result).missing, 0),
    db: results.flatMap((result) => of(result).db),
  });
  const [ours, segments] = [join(({ ours }) => ours), join(({ segments }) => segments)];
  const libopus = join(({ oursByLibopus }) => oursByLibopus);
  const preroll = results.flatMap(({ prerollBytes }) => prerollBytes);
  const meanPreroll = preroll.reduce((sum, bytes) => sum + bytes, 0) / preroll.length;
  return [
    ...[bitrateKbps, cut.chunkSeconds, cut.sampleRate / 1000, ours.db.length].map(String),
    ...[String(ours.missing + libopus.missing), showDb(worst(ours.db)), showDb(median(ours.db))],
    ...[showDb(worst(libopus.db)), showDb(median(libopus.db)), meanPreroll.toFixed(0)],
    ...[String(segments.missing), showDb(worst(segments.db)), showDb(median(segments.db))],
  ];
}

const HEADER = [
  ...["kbit/s", "chunk, s", "kHz", "seams", "missing", "worst, dB", "median, dB"],
  ...["libopus: worst", "median", "pre-roll, B", "segment: missing", "worst, dB", "median, dB"],
];

function printTable(rows: readonly string[][]): void {
  const widths = HEADER.map((title, at) =>
    Math.max(title.length, ...rows.map((row) => row[at]?.length ?? 0))
  );
  const print = (cells: string[]) => console.log(`| ${cells.join(" | ")} |`);
  print(HEADER.map((title, at) => title.padStart(widths[at] ?? 0)));
  print(widths.map((width) => `${"-".repeat(width - 1)}:`));
  for (const row of rows) print(row.map((cell, at) => cell.padStart(widths[at] ?? 0)));
}

async function describeMachine(): Promise<string> {
  const cpu = /^(?:model name|Model)\s*: (.*)$/m.exec(await Deno.readTextFile("/proc/cpuinfo"));
  const version = new TextDecoder().decode((await run("ffmpeg", ["-version"])).stdout);
  const ffmpeg = /^ffmpeg version (\S+)/.exec(version)?.[1];
  const machine = `${navigator.hardwareConcurrency} × ${cpu?.[1] ?? "?"} (${Deno.build.arch})`;
  const date = new Date().toISOString().slice(0, 10);
  return `${machine}, ${date}, ffmpeg ${ffmpeg}, Deno ${Deno.version.deno}`;
}

/** The sounds to be cut, as endless sources of libavfilter. */
async function makeSignals(folder: string): Promise<[signal: string, graph: string][]> {
  const numbers = Array.from({ length: 150 }, (_, index) => index + 100).join(", ");
  const speech = Object.entries(VOICES).map(async ([name, voice]): Promise<[string, string]> => {
    const wav = join(folder, `${name.replace(" ", "-")}.wav`);
    await run("espeak-ng", [...voice, "-w", wav, numbers]);
    // amovie starts its timestamps anew in every round.
    return [name, `amovie=${wav}:loop=0,asetpts=N/SR/TB,aresample=${OPUS_RATE}`];
  });
  const noise = NOISES.map((color): [string, string] => {
    return [`${color} noise`, `anoisesrc=color=${color}:seed=1:amplitude=0.25:r=${OPUS_RATE}`];
  });
  return [...await Promise.all(speech), ...noise];
}

const startMs = performance.now();
const folder = await Deno.makeTempDir({ prefix: "bench-seams-" });
try {
  const signals = await makeSignals(folder);
  const table = BITRATES_KBPS.flatMap((bitrateKbps) =>
    CUTS.map((cut) => signals.map(([signal, graph]): Case => ({ bitrateKbps, cut, signal, graph })))
  );
  // The longest first, so that no processor waits for another at the end.
  const waiting = table.flat().toSorted((a, b) => b.cut.chunkSeconds - a.cut.chunkSeconds);
  const results = new Map<Case, Result>();
  const work = async () => {
    for (let next; (next = waiting.shift()) !== undefined;) {
      const { bitrateKbps, cut, signal } = next;
      const result = await measure(next, join(folder, crypto.randomUUID()));
      results.set(next, result);
      const what = `${bitrateKbps} kbit/s, ${cut.chunkSeconds} s, ${cut.sampleRate} Hz, ${signal}`;
      const { missing, db } = result.ours;
      const seconds = ((performance.now() - startMs) / 1000).toFixed(0);
      console.error(`${seconds} s  ${what}: ${missing} missing, worst ${showDb(worst(db))} dB`);
    }
  };
  await Promise.all(Array.from({ length: navigator.hardwareConcurrency }, work));
  printTable(table.flatMap((cases) => {
    const [first] = cases;
    return first ? [makeRow(first, cases.flatMap((one) => results.get(one) ?? []))] : [];
  }));
  console.log(`\n${await describeMachine()}`);
  for (const { ours, oursByLibopus } of results.values()) {
    const isWhole = ours.missing === 0 && oursByLibopus.missing === 0;
    if (!isWhole || worst(ours.db) > SEAM_DB) Deno.exitCode = 1;
  }
} finally {
  await Deno.remove(folder, { recursive: true });
}
