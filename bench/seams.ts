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
import { segmentCount } from "../src/capture/ogg.ts";
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
  /** Endless source of libavfilter. */
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
  // No whole number of packets, so that the stream's end is trimmed.
  const samples = cut.seams * cut.chunkSeconds * OPUS_RATE + 43_777;
  const source = { kind: "lavfi", graph: `${graph},atrim=end_sample=${samples}` } as const;
  const options = { sampleRate: cut.sampleRate, bitrateKbps, levelsSocket: null };
  const args = ffmpegArguments(source, options).filter((arg) => arg !== "-re");
  const uncut = join(folder, "uncut.ogg");
  await Deno.writeFile(uncut, (await run("ffmpeg", args)).stdout);
  const chunks = cutIntoChunks(uncut, cut.chunkSeconds, folder);
  const segments = await cutIntoSegments(uncut, cut.chunkSeconds, folder);
  const result = {
    ours: await compare(chunks, uncut, samples, "opus"),
    oursByLibopus: await compare(chunks, uncut, samples, "libopus"),
    segments: await compare(segments, uncut, samples, "opus"),
    prerollBytes: chunks.slice(1).map(({ path }) => prerollBytes(path)),
  };
  await Deno.remove(folder, { recursive: true });
  return result;
}

/** The stream cut as the recorder cuts it. */
function cutIntoChunks(uncut: string, chunkSeconds: number, folder: string): Piece[] {
  const { head, packets } = readOpus(uncut);
  const chunker = new Chunker(head, {
    chunkSamples: chunkSeconds * OPUS_RATE,
    identify: (startSample) => ({ key: "", serial: startSample, vendor: "bench", comments: {} }),
  });
  const chunks: Piece[] = [];
  for (const event of [...packets.flatMap((packet) => chunker.push(packet)), ...chunker.cut()]) {
    if (event.kind === "open") {
      const path = join(folder, `chunk-${chunks.length}.ogg`);
      chunks.push({ path, startSample: event.startSample });
    }
    Deno.writeFileSync(chunks.at(-1)?.path ?? "", event.bytes, { append: true });
  }
  return chunks;
}

/** Bytes of the packets that a chunk's pre-skip covers, with their lengths in the page headers. */
function prerollBytes(path: string): number {
  const { head, packets } = readOpus(path);
  return packets.filter(({ endPosition }) => endPosition <= head.preSkip)
    .reduce((sum, { data }) => sum + data.length + segmentCount(data.length), 0);
}

/**
 * The same packets in the files of ffmpeg's segment muxer, which are those that it makes when it
 * encodes as well (`-c:a libopus -f segment`). Every file repeats the stream's pre-skip.
 */
async function cutIntoSegments(uncut: string, chunkSeconds: number, folder: string) {
  const names = join(folder, "segment-%05d.ogg");
  const segment = ["-c", "copy", "-f", "segment", "-segment_time", String(chunkSeconds), names];
  await run("ffmpeg", ["-nostdin", "-v", "error", "-i", uncut, ...segment]);
  const paths = [...Deno.readDirSync(folder)].map(({ name }) => join(folder, name))
    .filter((path) => path.includes("segment-")).sort();
  let startPosition = 0;
  return paths.map((path): Piece => {
    const { head, packets } = readOpus(path);
    const startSample = startPosition + head.preSkip - readOpus(uncut).head.preSkip;
    startPosition += packets.reduce((sum, { samples }) => sum + samples, 0);
    return { path, startSample };
  });
}

function readOpus(path: string): { head: OpusHead; packets: OpusPacket[] } {
  const reader = new OpusStreamReader();
  const events = [...reader.push(Deno.readFileSync(path)), ...reader.end()];
  const [head, ...rest] = events;
  const packets = rest.flatMap((event) => event.kind === "packet" ? event.packet : []);
  if (head?.kind === "head" && packets.length === rest.length) return { ...head, packets };
  throw new Error(`Cannot read ${path} as it must be one whole Ogg/Opus stream`);
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
    throw new Error(`Cannot compare: ${samples} samples, uncut, became ${whole.samples}`);
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
  const child = new Deno.Command("ffmpeg", { args, stdout: "piped", stderr: "piped" }).spawn();
  const stderr = new Response(child.stderr).text();
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
  const said = await stderr;
  if (!(await child.status).success || said !== "") throw new Error(`${path}: ${said}`);
  return { samples: at / 4, windows: windows.map(({ bytes }) => new Float32Array(bytes.buffer)) };
}

function rms(samples: Float32Array): number {
  return Math.sqrt(samples.reduce((sum, value) => sum + value * value, 0) / samples.length);
}

const HEADER = [
  ...["kbit/s", "chunk, s", "kHz", "seams", "missing", "worst, dB", "median", "by libopus: worst"],
  ...["median", "pre-roll, B", "segment muxer: missing", "worst, dB", "median"],
];

/** One row of the table: all signals that were cut in one way. */
function makeRow({ bitrateKbps, cut }: Case, results: readonly Result[]): string[] {
  const cells = (key: "ours" | "oursByLibopus" | "segments") => {
    const db = results.flatMap((result) => result[key].db).sort((a, b) => a - b);
    const missing = results.reduce((sum, result) => sum + result[key].missing, 0);
    return [String(missing), showDb(db.at(-1)), showDb(db[db.length >> 1])];
  };
  const preroll = results.flatMap((result) => result.prerollBytes);
  const meanPreroll = preroll.reduce((sum, bytes) => sum + bytes, 0) / preroll.length;
  return [
    ...[bitrateKbps, cut.chunkSeconds, cut.sampleRate / 1000, preroll.length].map(String),
    ...[...cells("ours"), ...cells("oursByLibopus").slice(1)],
    ...[meanPreroll.toFixed(0), ...cells("segments")],
  ];
}

function showDb(db = NaN): string {
  return db === -Infinity ? "equal" : db.toFixed(0).replace("-", "−");
}

function printTable(rows: readonly string[][]): void {
  const widths = HEADER.map((title, at) =>
    Math.max(title.length, ...rows.map((row) => row[at]?.length ?? 0))
  );
  const rule = widths.map((width) => `${"-".repeat(width - 1)}:`);
  for (const row of [HEADER, rule, ...rows]) {
    console.log(`| ${row.map((cell, at) => cell.padStart(widths[at] ?? 0)).join(" | ")} |`);
  }
}

async function describeMachine(): Promise<string> {
  const cpu = /^(?:model name|Model)\s*: (.*)$/m.exec(await Deno.readTextFile("/proc/cpuinfo"));
  const version = new TextDecoder().decode((await run("ffmpeg", ["-version"])).stdout);
  const machine = `${navigator.hardwareConcurrency} × ${cpu?.[1]} (${Deno.build.arch})`;
  const date = new Date().toISOString().slice(0, 10);
  return `${machine}, ${date}, ffmpeg ${version.split(" ")[2]}, Deno ${Deno.version.deno}`;
}

/** The sounds to be cut, as endless sources of libavfilter. */
async function makeSignals(folder: string): Promise<{ signal: string; graph: string }[]> {
  const numbers = Array.from({ length: 150 }, (_, index) => index + 100).join(", ");
  const speech = Object.entries(VOICES).map(async ([signal, voice]) => {
    const wav = join(folder, `${signal.replace(" ", "-")}.wav`);
    await run("espeak-ng", [...voice, "-w", wav, numbers]);
    // amovie starts its timestamps anew in every round.
    return { signal, graph: `amovie=${wav}:loop=0,asetpts=N/SR/TB,aresample=${OPUS_RATE}` };
  });
  const noise = NOISES.map((color) => {
    const graph = `anoisesrc=color=${color}:seed=1:amplitude=0.25:r=${OPUS_RATE}`;
    return { signal: `${color} noise`, graph };
  });
  return [...await Promise.all(speech), ...noise];
}

const folder = await Deno.makeTempDir({ prefix: "bench-seams-" });
try {
  const signals = await makeSignals(folder);
  const table = BITRATES_KBPS.flatMap((bitrateKbps) =>
    CUTS.map((cut) => signals.map((signal): Case => ({ bitrateKbps, cut, ...signal })))
  );
  // The longest first, so that no processor waits for another at the end.
  const waiting = table.flat().toSorted((a, b) => b.cut.chunkSeconds - a.cut.chunkSeconds);
  const results = new Map<Case, Result>();
  const work = async () => {
    for (let next; (next = waiting.shift()) !== undefined;) {
      const result = await measure(next, join(folder, crypto.randomUUID()));
      results.set(next, result);
      const { ours, oursByLibopus } = result;
      const [missing, worst] = [ours.missing + oursByLibopus.missing, Math.max(...ours.db)];
      if (missing > 0 || worst > SEAM_DB) Deno.exitCode = 1;
      const { bitrateKbps, cut: { chunkSeconds, sampleRate }, signal } = next;
      const what = `${bitrateKbps} kbit/s, ${chunkSeconds} s, ${sampleRate} Hz, ${signal}`;
      const seconds = (performance.now() / 1000).toFixed(0);
      console.error(`${seconds} s  ${what}: ${missing} missing, worst ${showDb(worst)} dB`);
    }
  };
  await Promise.all(Array.from({ length: navigator.hardwareConcurrency }, work));
  printTable(table.map((cases) => {
    const rowResults = cases.flatMap((one) => results.get(one) ?? []);
    return makeRow(cases[0] as Case, rowResults);
  }));
  console.log(`\n${await describeMachine()}`);
} finally {
  await Deno.remove(folder, { recursive: true });
}
