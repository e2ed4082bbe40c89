// deno-lint-ignore-file no-console -- a benchmark talks to a person
// Measures the seams between chunks: how many samples are missing when each chunk is decoded separately and
// the results are joined, and how much the first 20 ms after a seam differ from the uncut stream. It
// measures the same for ffmpeg's segment muxer. The sound is encoded with the arguments of a recording and
// cut with the recorder's modules; nothing is recorded. The table goes to stdout, progress to stderr. The
// exit code is 1 if a sample of the agent's chunks is missing, or if one of their seams is above SEAM_DB
// with ffmpeg's decoder. It needs 1.5 GB in the temporary directory.

import { join } from "@std/path/join";
import { Chunker } from "../src/chunk/chunker.ts";
import { ffmpegArguments } from "../src/capture/ffmpeg_arguments.ts";
import { segmentCount } from "../src/chunk/ogg.ts";
import { OPUS_RATE, OpusStreamReader } from "../src/chunk/opus.ts";
import { run } from "../tests/fixtures/command.ts";

const SEAM_DB = -60;
/** How much sound after a seam is compared: 20 ms. */
const SEAM_SAMPLES = OPUS_RATE / 50;
/** The level at a seam is that of the uncut stream in the second around it. */
const HALF_SECOND = OPUS_RATE / 2;

const BITRATES_KBPS = [24, 32];
/** Short chunks get more seams and more signals, because their sound takes little time. */
const CUTS = [
  { chunkSeconds: 1, sampleRate: 48_000, seams: 40, signals: 4 },
  { chunkSeconds: 5, sampleRate: 16_000, seams: 10, signals: 4 },
  { chunkSeconds: 5, sampleRate: 24_000, seams: 10, signals: 4 },
  { chunkSeconds: 5, sampleRate: 48_000, seams: 10, signals: 4 },
  { chunkSeconds: 60, sampleRate: 48_000, seams: 4, signals: 4 },
  { chunkSeconds: 600, sampleRate: 48_000, seams: 2, signals: 2 },
];

/** A row of the table: all signals that are cut in the same way. */
interface Row {
  readonly bitrateKbps: number;
  readonly cut: typeof CUTS[number];
  readonly results: Result[];
}

/** A file, and the position of its first sample in the uncut stream. */
interface Piece {
  readonly path: string;
  readonly startSample: number;
}

interface Seams {
  /** Missing or surplus samples in all pieces together. */
  readonly missing: number;
  /** Difference after each seam relative to the level there; -Infinity if there is none. */
  readonly db: readonly number[];
}

type Result = Record<"ours" | "oursByLibopus" | "segments", Seams> & { prerollBytes: number[] };

/** Measures one signal. @param graph an endless source of libavfilter */
async function measure({ bitrateKbps, cut }: Row, graph: string, folder: string): Promise<Result> {
  await Deno.mkdir(folder);
  // This length fills the last packet, because the segment muxer's files would play its padding.
  const samples = cut.seams * cut.chunkSeconds * OPUS_RATE + 43_848;
  const source = { kind: "lavfi", graph: `${graph},atrim=end_sample=${samples}` } as const;
  const options = { sampleRate: cut.sampleRate, bitrateKbps, socketDir: null };
  const args = ffmpegArguments(source, options).filter((arg) => arg !== "-re");
  const uncut = { path: join(folder, "uncut.ogg"), startSample: 0 };
  await Deno.writeFile(uncut.path, (await run("ffmpeg", args)).stdout);
  const chunks = cutIntoChunks(uncut.path, cut.chunkSeconds, folder);
  const segments = await cutIntoSegments(uncut.path, cut.chunkSeconds, folder);
  await decodeEach([uncut, ...chunks, ...segments], "opus");
  const [ours, theirs] = [compare(chunks, uncut, samples), compare(segments, uncut, samples)];
  await decodeEach([uncut, ...chunks], "libopus");
  const oursByLibopus = compare(chunks, uncut, samples);
  const prerollBytes = chunks.slice(1).map(countPreroll);
  await Deno.remove(folder, { recursive: true });
  return { ours, oursByLibopus, segments: theirs, prerollBytes };
}

/** Cuts the stream as the recorder does. */
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

/** Bytes of the packets in a chunk's pre-skip, including their lacing values in the page headers. */
function countPreroll({ path }: Piece): number {
  const { head, packets } = readOpus(path);
  return packets.filter(({ endPosition }) => endPosition <= head.preSkip)
    .reduce((sum, { data }) => sum + data.length + segmentCount(data.length), 0);
}

/**
 * Cuts the same packets with ffmpeg's segment muxer. The files are the same as when ffmpeg also encodes
 * (`-c:a libopus -f segment`). Every file repeats the pre-skip of the stream.
 */
async function cutIntoSegments(uncut: string, chunkSeconds: number, folder: string) {
  const names = join(folder, "segment-%05d.ogg");
  const segment = ["-c", "copy", "-f", "segment", "-segment_time", String(chunkSeconds), names];
  await run("ffmpeg", ["-nostdin", "-v", "error", "-i", uncut, ...segment]);
  const paths = [...Deno.readDirSync(folder)].map(({ name }) => join(folder, name))
    .filter((path) => path.includes("segment-")).sort();
  const streamPreSkip = readOpus(uncut).head.preSkip;
  let position = 0;
  return paths.map((path): Piece => {
    const { head, packets } = readOpus(path);
    const startSample = position + head.preSkip - streamPreSkip;
    position += packets.reduce((sum, { samples }) => sum + samples, 0);
    return { path, startSample };
  });
}

function readOpus(path: string) {
  const reader = new OpusStreamReader();
  const [head, ...rest] = [...reader.push(Deno.readFileSync(path)), ...reader.end()];
  const packets = rest.flatMap((event) => event.kind === "packet" ? event.packet : []);
  if (head?.kind === "head" && packets.length === rest.length) return { ...head, packets };
  throw new Error(`Cannot read ${path} as it must be one whole Ogg/Opus stream`);
}

/** Decodes each file with a separate decoder, to `PATH.pcm`. */
async function decodeEach(files: readonly Piece[], decoder: string): Promise<void> {
  const inputs = files.flatMap(({ path }) => ["-c:a", decoder, "-i", path]);
  const pcm = ["-f", "f32le", "-ar", String(OPUS_RATE), "-ac", "1"];
  const outputs = files.flatMap(({ path }, at) => ["-map", `${at}:a`, ...pcm, `${path}.pcm`]);
  const { stderr } = await run("ffmpeg", ["-nostdin", "-v", "error", "-y", ...inputs, ...outputs]);
  if (stderr !== "") throw new Error(`Cannot decode without errors: ${stderr}`);
}

/**
 * Compares each decoded piece with the uncut stream at the position where it belongs. This favours pieces
 * with holes: if they were simply joined, they would shift further at every seam.
 */
function compare(pieces: readonly Piece[], uncut: Piece, samples: number): Seams {
  const whole = readPcm(uncut);
  if (whole.length !== samples) throw new Error(`The uncut stream has ${whole.length} samples`);
  let [missing, end] = [0, 0];
  const db: number[] = [];
  for (const piece of pieces) {
    const heard = readPcm(piece);
    const start = piece.startSample;
    missing += Math.abs(start - end);
    end = start + heard.length;
    if (start === 0) continue;
    const difference = heard.slice(0, SEAM_SAMPLES).map((it, at) => it - (whole[start + at] ?? 0));
    const level = rms(whole.subarray(start - HALF_SECOND, start + HALF_SECOND));
    db.push(20 * Math.log10(rms(difference) / level));
  }
  return { missing: missing + Math.abs(samples - end), db };
}

const readPcm = ({ path }: Piece) => new Float32Array(Deno.readFileSync(`${path}.pcm`).buffer);

function rms(samples: Float32Array): number {
  return Math.sqrt(samples.reduce((sum, value) => sum + value * value, 0) / samples.length);
}

const HEADER = [
  ...["kbit/s", "chunk, s", "kHz", "seams", "missing", "worst, dB", "median", "by libopus: worst"],
  ...["median", "pre-roll, B", "segment muxer: missing", "worst, dB", "median"],
];

function describe({ bitrateKbps, cut, results }: Row): string[] {
  const cells = (key: Exclude<keyof Result, "prerollBytes">) => {
    const db = results.flatMap((result) => result[key].db).sort((a, b) => a - b);
    const missing = results.reduce((sum, result) => sum + result[key].missing, 0);
    return [String(missing), showDb(db.at(-1)), showDb(db[db.length >> 1])];
  };
  const preroll = results.flatMap((result) => result.prerollBytes);
  const meanBytes = preroll.reduce((sum, bytes) => sum + bytes, 0) / preroll.length;
  const named = [bitrateKbps, cut.chunkSeconds, cut.sampleRate / 1000, preroll.length].map(String);
  const [, ...libopus] = cells("oursByLibopus");
  return [...named, ...cells("ours"), ...libopus, meanBytes.toFixed(0), ...cells("segments")];
}

const showDb = (db = NaN) => db === -Infinity ? "equal" : db.toFixed(0).replace("-", "−");

async function describeMachine(): Promise<string> {
  const cpu = /^(?:model name|Model)\s*: (.*)$/m.exec(await Deno.readTextFile("/proc/cpuinfo"));
  const version = new TextDecoder().decode((await run("ffmpeg", ["-version"])).stdout);
  const versions = `ffmpeg ${version.split(" ")[2]}, Deno ${Deno.version.deno}`;
  const date = new Date().toISOString().slice(0, 10);
  return `${navigator.hardwareConcurrency} × ${
    cpu?.[1]
  } (${Deno.build.arch}), ${date}, ${versions}`;
}

/** The signals by name, as endless sources of libavfilter. */
async function makeSignals(folder: string): Promise<Record<string, string>> {
  const numbers = Array.from({ length: 150 }, (_, index) => index + 100).join(", ");
  const speech = async (...voice: string[]) => {
    const wav = join(folder, `${voice.join("")}.wav`);
    await run("espeak-ng", [...voice, "-w", wav, numbers]);
    // amovie restarts its timestamps in every loop.
    return `amovie=${wav}:loop=0,asetpts=N/SR/TB,aresample=${OPUS_RATE}`;
  };
  const noise = `anoisesrc=seed=1:amplitude=0.25:sample_rate=${OPUS_RATE}`;
  return {
    // The hardest signal: long vowels stay in a decoder's memory longest.
    "slow speech": await speech("-v", "en+m7", "-s", "120"),
    "pink noise": `${noise}:color=pink`,
    "speech": await speech("-s", "175"),
    "white noise": `${noise}:color=white`,
  };
}

const folder = await Deno.makeTempDir({ prefix: "bench-seams-" });
try {
  const signals = Object.entries(await makeSignals(folder));
  const rows = BITRATES_KBPS.flatMap((bitrateKbps) =>
    CUTS.map((cut): Row => ({ bitrateKbps, cut, results: [] }))
  );
  // Longest first, so that all processors finish at about the same time.
  const waiting = rows.toSorted((a, b) => b.cut.chunkSeconds - a.cut.chunkSeconds).flatMap((row) =>
    signals.slice(0, row.cut.signals).map(([signal, graph]) => ({ row, signal, graph }))
  );
  const work = async () => {
    for (let next; (next = waiting.shift()) !== undefined;) {
      const { row, signal, graph } = next;
      const result = await measure(row, graph, join(folder, crypto.randomUUID()));
      row.results.push(result);
      const missing = result.ours.missing + result.oursByLibopus.missing;
      const worst = Math.max(...result.ours.db);
      if (missing > 0 || !(worst <= SEAM_DB)) Deno.exitCode = 1;
      const { bitrateKbps, cut } = row;
      const what = `${bitrateKbps} kbit/s, ${cut.chunkSeconds} s, ${cut.sampleRate} Hz, ${signal}`;
      console.error(`${what}: ${missing} missing, worst ${showDb(worst)} dB`);
    }
  };
  await Promise.all(Array.from({ length: navigator.hardwareConcurrency }, work));
  const rule = HEADER.map((title) => `${"-".repeat(title.length - 1)}:`);
  for (const line of [HEADER, rule, ...rows.map(describe)]) {
    console.log(
      `| ${line.map((cell, at) => cell.padStart(HEADER[at]?.length ?? 0)).join(" | ")} |`,
    );
  }
  console.log(`\n${await describeMachine()}`);
} finally {
  await Deno.remove(folder, { recursive: true });
}
