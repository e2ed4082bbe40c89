// What arrived at the server, judged: is each chunk a whole file, what is heard in it, and do the times of
// the chunks fit together.

import { cutToLastPage } from "../../src/chunk/chunk_file.ts";
import { decodeToPcm } from "../fixtures/audio.ts";
import type { ReceivedChunk } from "../fixtures/ingest_server.ts";

const RATE = 48_000;

/** Unix seconds of a chunk's first sample. */
export function startS(chunk: ReceivedChunk): number {
  return Number(chunk.fields.start_ts);
}

/** Unix seconds of the end of a chunk's last sample. */
export function endS(chunk: ReceivedChunk): number {
  return Number(chunk.fields.end_ts);
}

/** In the order of their times. */
export function inOrder(chunks: readonly ReceivedChunk[]): ReceivedChunk[] {
  return chunks.toSorted((a, b) => startS(a) - startS(b));
}

/** What is wrong with the file of a chunk; null if it is whole, ends as it should and decodes. */
export async function faultOf(chunk: ReceivedChunk): Promise<string | null> {
  const whole = cutToLastPage(chunk.bytes);
  if (whole === null || whole.samples === 0) return "it holds no sound";
  if (whole.bytes.length !== chunk.bytes.length) return "its pages are not whole";
  if (whole.bytes.some((byte, at) => byte !== chunk.bytes[at])) return "its end is not marked";
  try {
    const { length } = await decodeToPcm(chunk.bytes);
    // One that was cut off may begin cold, and a decoder may give the last packet whole.
    if (Math.abs(length - whole.samples) > 960) return `${length} samples of ${whole.samples}`;
  } catch (error) {
    return String(error);
  }
  // In the first 30 s of a stream its start is still being found, the later the slower the machine is.
  const [said, heard] = [endS(chunk) - startS(chunk), whole.samples / RATE];
  return Math.abs(said - heard) > 0.5 ? `says ${said} s, holds ${heard} s` : null;
}

/** Which of these frequencies (Hz) is the strongest in the chunk's second half. */
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

/** Unix seconds, by the chunk's own times, at which at least half a second of silence begins; or null. */
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

/** The longest time, in seconds, that two chunks both claim. */
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
