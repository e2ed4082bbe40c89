// Cuts real output of ffmpeg and checks it with ffmpeg, ffprobe and opusinfo: the chunks, decoded one by one
// and joined, equal the uncut stream, sample for sample.

import { concatBytes } from "../../src/system/concat_bytes.ts";
import { assert, assertEquals, assertLessOrEqual } from "@std/assert";
import { join } from "@std/path/join";
import { cutToLastPage, readChunkHeader } from "../../src/chunk/chunk_file.ts";
import { Chunker, PREROLL_SAMPLES } from "../../src/chunk/chunker.ts";
import { ffmpegArguments } from "../../src/capture/ffmpeg_arguments.ts";

import { OpusStreamReader } from "../../src/chunk/opus.ts";
import { ffprobe, makeSpeech, opusinfo } from "../fixtures/audio.ts";
import { run } from "../fixtures/command.ts";

/** Not a whole number of packets, so that the end of the stream is trimmed. */
const SPEECH_SECONDS = 11.2345;
const SPEECH_SAMPLES = SPEECH_SECONDS * 48_000;
/** The number of samples (20 ms) to compare after a seam. */
const SEAM_SAMPLES = 960;
/** The limit of their difference, relative to the RMS of the speech. */
const SEAM_DB = -60;
/** The lowest bits of libopus differ for a while longer: by at most this, relative to the speech. */
const CHUNK_DB = -40;
/** One of the two Opus decoders of ffmpeg. */
const DECODERS = ["opus", "libopus"];

interface CutChunk {
  path: string;
  bytes: Uint8Array;
  startSample: number;
  endSample: number;
}

/** The output of ffmpeg for a sound file, with the arguments of a recording but faster than real time. */
async function encode(wav: string, sampleRate: number, bitrateKbps: number): Promise<Uint8Array> {
  const options = { sampleRate, bitrateKbps, socketDir: null };
  const source = { kind: "lavfi", graph: `amovie=${wav}` } as const;
  const args = ffmpegArguments(source, options).filter((arg) => arg !== "-re");
  return (await run("ffmpeg", args)).stdout;
}

/** Cuts a stream into files; the bytes arrive in pieces as from a pipe. */
async function cut(
  stream: Uint8Array,
  seconds: number,
  folder: string,
  lostPackets: readonly number[] = [],
): Promise<CutChunk[]> {
  const chunks: CutChunk[] = [];
  let open: { startSample: number; pieces: Uint8Array[] } | null = null;
  let chunker: Chunker | null = null;
  let packetCount = 0;
  const reader = new OpusStreamReader();
  const events = [];
  for (let at = 0; at < stream.length; at += 777) {
    events.push(...reader.push(stream.subarray(at, at + 777)));
  }
  const changes = [...events, ...reader.end()].flatMap((event) => {
    assert(event.kind !== "break");
    if (event.kind === "head") {
      chunker = new Chunker(event.head, {
        chunkSamples: seconds * 48_000,
        identify: (startSample) => ({
          key: "key",
          serial: 1 + startSample,
          vendor: "seams",
          comments: { STREAM_SAMPLE: String(startSample) },
        }),
      });
      return [];
    }
    if (lostPackets.includes(packetCount++)) return chunker?.cut({ lost: true }) ?? [];
    return chunker?.push(event.packet) ?? [];
  });
  changes.push(...(chunker as Chunker | null)?.cut() ?? []);
  for (const change of changes) {
    if (change.kind === "open") open = { startSample: change.startSample, pieces: [] };
    assert(open !== null);
    open.pieces.push(change.bytes);
    if (change.kind !== "close") continue;
    const path = join(folder, `${seconds}s-${chunks.length}.ogg`);
    const { startSample, pieces } = open;
    chunks.push({ path, bytes: concatBytes(pieces), startSample, endSample: change.endSample });
    await Deno.writeFile(path, concatBytes(pieces));
  }
  return chunks;
}

/** Decodes each file separately, with one ffmpeg for all of them. */
async function decodeEach(paths: string[], decoder: string): Promise<Float32Array[]> {
  const inputs = paths.flatMap((path) => ["-c:a", decoder, "-i", path]);
  const pcm = ["-f", "f32le", "-ar", "48000", "-ac", "1"];
  const outputs = paths.flatMap((path, index) => ["-map", `${index}:a`, ...pcm, `${path}.pcm`]);
  const { stderr } = await run("ffmpeg", ["-nostdin", "-v", "error", "-y", ...inputs, ...outputs]);
  assertEquals(stderr, "");
  return paths.map((path) => new Float32Array(Deno.readFileSync(`${path}.pcm`).buffer));
}

function rms(samples: Float32Array): number {
  return Math.sqrt(samples.reduce((sum, value) => sum + value * value, 0) / samples.length);
}

/** The difference of `heard` and `reference` at `at`, in dB relative to `level`. */
function differenceDb(
  heard: Float32Array,
  reference: Float32Array,
  at: number,
  level: number,
): number {
  const difference = heard.map((value, index) => value - (reference[at + index] ?? 0));
  return 20 * Math.log10(rms(difference) / level + 1e-15);
}

async function withFolder(use: (folder: string, wav: string) => Promise<void>): Promise<void> {
  const folder = await Deno.makeTempDir({ prefix: "seams-" });
  try {
    const wav = join(folder, "speech.wav");
    await makeSpeech(wav, SPEECH_SECONDS);
    await use(folder, wav);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

/** Checks header, tags, length and form of a chunk with the reader of the program, opusinfo and ffprobe. */
async function assertSound(chunk: CutChunk, index: number, sampleRate: number): Promise<void> {
  const samples = chunk.endSample - chunk.startSample;
  await opusinfo(chunk.path);
  const whole = cutToLastPage(chunk.bytes);
  assertEquals(whole?.bytes, chunk.bytes, "it has its end-of-stream flag and correct CRCs");
  assertEquals(whole?.samples, samples);
  const header = readChunkHeader(chunk.bytes);
  assertEquals(header?.tags, { STREAM_SAMPLE: String(chunk.startSample) });
  const preSkip = index === 0 ? 312 : PREROLL_SAMPLES;
  assertEquals(header?.head, { channels: 1, preSkip, inputSampleRate: sampleRate });
  if (index > 1) return; // later ones are like the second; ffprobe is slow
  const { streams, format } = await ffprobe(chunk.path);
  assertEquals([streams[0]?.codec_name, streams[0]?.channels], ["opus", 1]);
  assertEquals(streams[0]?.tags?.["STREAM_SAMPLE"], String(chunk.startSample));
  // ffprobe counts the samples that the decoder must discard.
  assertEquals(Number(format.duration).toFixed(4), ((samples + preSkip) / 48_000).toFixed(4));
}

for (const sampleRate of [16_000, 24_000, 48_000]) {
  for (const bitrateKbps of [24, 32]) {
    const name = `${sampleRate / 1000} kHz, ${bitrateKbps} kbit/s`;
    Deno.test(`Chunks that are decoded one by one and joined equal the uncut speech (${name})`, async () => {
      await withFolder(async (folder, wav) => {
        const stream = await encode(wav, sampleRate, bitrateKbps);
        const uncutPath = join(folder, "uncut.ogg");
        await Deno.writeFile(uncutPath, stream);
        const cuts = [];
        for (const seconds of [1, 2, 5]) cuts.push(await cut(stream, seconds, folder));
        assertEquals(cuts.map(({ length }) => length), [12, 6, 3]);
        for (const chunks of cuts) {
          for (const [index, chunk] of chunks.entries()) {
            await assertSound(chunk, index, sampleRate);
          }
        }
        for (const decoder of DECODERS) {
          const paths = cuts.flat().map(({ path }) => path);
          const [uncut, ...decoded] = await decodeEach([uncutPath, ...paths], decoder);
          assert(uncut !== undefined);
          assertEquals(uncut.length, SPEECH_SAMPLES);
          const level = rms(uncut);
          for (const chunks of cuts) {
            let at = 0;
            for (const [index, { startSample, endSample }] of chunks.entries()) {
              const heard = decoded.shift() ?? new Float32Array(0);
              assertEquals([startSample, heard.length], [at, endSample - startSample]);
              const seam = heard.subarray(0, SEAM_SAMPLES);
              const seamDb = differenceDb(seam, uncut, at, level);
              assertLessOrEqual(seamDb, SEAM_DB, `${decoder}, chunk ${index}`);
              assertLessOrEqual(differenceDb(heard, uncut, at, level), CHUNK_DB);
              at += heard.length;
            }
            assertEquals(at, uncut.length);
          }
        }
      });
    });
  }
}

Deno.test("A chunk after a loss decodes to its own samples, at the position in the stream that it names", async () => {
  await withFolder(async (folder, wav) => {
    const stream = await encode(wav, 48_000, 24);
    const uncutPath = join(folder, "uncut.ogg");
    await Deno.writeFile(uncutPath, stream);
    const chunks = await cut(stream, 5, folder, [120, 121, 122]);
    const spans = chunks.map(({ startSample, endSample }) => [startSample, endSample]);
    assertEquals(spans, [
      [0, 120 * 960 - 312],
      [123 * 960 - 312, 373 * 960 - 312],
      [373 * 960 - 312, SPEECH_SAMPLES],
    ]);
    const [uncut, ...decoded] = await decodeEach(
      [uncutPath, ...chunks.map(({ path }) => path)],
      "opus",
    );
    assert(uncut !== undefined);
    for (const [index, { startSample, endSample }] of chunks.entries()) {
      const heard = decoded[index] ?? new Float32Array(0);
      assertEquals(heard.length, endSample - startSample);
      // After the loss the decoder starts without history; half a second later its output agrees.
      const from = 24_000;
      const later = heard.subarray(from);
      assertLessOrEqual(differenceDb(later, uncut, startSample + from, rms(uncut)), SEAM_DB);
    }
  });
});
