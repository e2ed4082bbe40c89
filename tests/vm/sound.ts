// Checks the chunks that arrived at the server: whether each is a whole file, which tone it contains, and
// whether the times of the chunks are consistent.

import { cutToLastPage, readChunkHeader } from "../../src/chunk/chunk_file.ts";
import { decodeToPcm } from "../fixtures/audio.ts";
import type { ReceivedChunk } from "../fixtures/ingest_server.ts";

const RATE = 48_000;

/** Unix seconds of the first sample of a chunk. */
export function startS(chunk: ReceivedChunk): number {
  return Number(chunk.fields.start_ts);
}

/** Unix seconds of the end of the last sample of a chunk. */
export function endS(chunk: ReceivedChunk): number {
  return Number(chunk.fields.end_ts);
}

/** The chunks in the order of their times. */
export function inOrder(chunks: readonly ReceivedChunk[]): ReceivedChunk[] {
  return chunks.toSorted((a, b) => startS(a) - startS(b));
}

/** The fault of the file of a chunk; null if it is whole, has the end flag and decodes. */
export async function faultOf(chunk: ReceivedChunk): Promise<string | null> {
  const whole = cutToLastPage(chunk.bytes);
  if (whole === null || whole.samples === 0) return "it holds no sound";
  if (whole.bytes.length !== chunk.bytes.length) return "its pages are not whole";
  if (whole.bytes.some((byte, at) => byte !== chunk.bytes[at])) return "its end is not marked";
  try {
    const { length } = await decodeToPcm(chunk.bytes);
    // A truncated chunk may lack pre-roll, and a decoder may return the whole last packet.
    if (Math.abs(length - whole.samples) > 960) return `${length} samples of ${whole.samples}`;
  } catch (error) {
    return String(error);
  }
  // In the first 30 s of a stream the estimate of its start still improves, more so on a slow machine.
  const [said, heard] = [endS(chunk) - startS(chunk), whole.samples / RATE];
  return Math.abs(said - heard) > 0.5 ? `says ${said} s, holds ${heard} s` : null;
}

/** The strongest of these frequencies (Hz) in the second half of the chunk. */
export async function toneOf(
  chunk: ReceivedChunk,
  frequencies: readonly number[],
): Promise<number> {
  const samples = await decodeToPcm(chunk.bytes);
  const half = samples.subarray(samples.length >> 1);
  const power = (frequency: number) => {
    let [re, im] = [0, 0];
    half.forEach((sample, at) => {
      const angle = 2 * Math.PI * frequency * at / RATE;
      re += sample * Math.cos(angle);
      im += sample * Math.sin(angle);
    });
    return re * re + im * im;
  };
  return frequencies.toSorted((a, b) => power(b) - power(a))[0] ?? 0;
}

/** A part of a stream: its samples, and the number of the first one in the stream. */
export interface Part {
  readonly at: number;
  readonly samples: Float32Array;
}

/** The sound of a chunk, at the place in its stream that its tags state. */
export async function partOf(chunk: ReceivedChunk): Promise<Part> {
  const at = readChunkHeader(chunk.bytes)?.tags["STREAM_SAMPLE"];
  return { at: Number(at ?? NaN), samples: await decodeToPcm(chunk.bytes) };
}

/**
 * How far a sine of `hz` in the parts of a stream is from one that never paused, in samples at worst. It finds
 * what was lost or repeated anywhere without a jump in the numbers, except for whole periods. The first second
 * of a stream does not count: there the phase of the encoder still settles, by 0.4 samples.
 */
export function worstShift(parts: readonly Part[], hz: number): number {
  const omega = 2 * Math.PI * hz / RATE;
  const window = RATE / 4;
  const phases: number[] = [];
  for (const { at, samples } of parts) {
    for (let from = 0; from + window <= samples.length; from += window) {
      if (at + from < RATE) continue;
      let [re, im] = [0, 0];
      for (let i = 0; i < window; i++) {
        const weight = (samples[from + i] ?? 0) * (1 - Math.cos(2 * Math.PI * i / window));
        const angle = omega * (at + from + i);
        re += weight * Math.cos(angle);
        im -= weight * Math.sin(angle);
      }
      phases.push(Math.atan2(im, re));
    }
  }
  const [reference = NaN] = phases;
  const shifts = phases.map((phase) => {
    const turn = phase - reference;
    return Math.abs(turn - 2 * Math.PI * Math.round(turn / (2 * Math.PI))) / omega;
  });
  return Math.max(...shifts);
}

/** The root of the mean square of the second half of a chunk. */
export async function levelOf(chunk: ReceivedChunk): Promise<number> {
  const samples = await decodeToPcm(chunk.bytes);
  const half = samples.subarray(samples.length >> 1);
  return Math.sqrt(half.reduce((sum, sample) => sum + sample * sample, 0) / half.length);
}

/** When at least half a second of silence begins, Unix seconds by the times of the chunk; or null. */
export async function silenceIn(chunk: ReceivedChunk): Promise<number | null> {
  const samples = await decodeToPcm(chunk.bytes);
  const block = RATE / 100;
  let quiet = 0;
  for (let at = 0; at + block <= samples.length; at += block) {
    const isQuiet = samples.subarray(at, at + block).every((sample) => Math.abs(sample) < 0.01);
    quiet = isQuiet ? quiet + 1 : 0;
    if (quiet === 50) return startS(chunk) + (at - 49 * block) / RATE;
  }
  return null;
}

/** The longest overlap of two chunks, seconds. */
export function worstOverlapS(chunks: readonly ReceivedChunk[]): number {
  const ordered = inOrder(chunks);
  return Math.max(
    0,
    ...ordered.slice(1).map((chunk, i) => {
      const before = ordered[i];
      return before === undefined ? 0 : endS(before) - startS(chunk);
    }),
  );
}
