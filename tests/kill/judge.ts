// Measures by sound what the kills have cost: it decodes every chunk and searches for it in what the
// microphone really heard. Reports of the agent itself count only as claims to be checked.

import { PAGE_MS } from "../../src/capture/ffmpeg_arguments.ts";
import { cutToLastPage, readChunkHeader } from "../../src/chunk/chunk_file.ts";
import { decodeToPcm, opusinfo, sampleRate } from "../fixtures/audio.ts";
import type { ReceivedChunk } from "../fixtures/ingest_server.ts";
import { keyOf, type KillRecord, type Life } from "./kill_runs.ts";
import { objectionTo } from "./strict_chunk.ts";
import { type Witness, WITNESS_RATE } from "./witness.ts";

/** The bound: SIGKILL may cost at most this, ms. */
export const MOST_LOST_MS = 1000;
/** The search for a chunk reaches this far from its claimed time, ms: 4 s were seen with seven other loads. */
const REACH_MS = 8000;
/** The length of the compared pieces, and their distance, ms. */
const PIECE_MS = 200;
const STEP_MS = 500;
/** Sound counts as continuous if adjacent pieces are off by at most this, ms. */
const SEAM_MS = 2;
/**
 * The times of a chunk may be off by at most this, ms: stricter than a till needs, but more than jitter.
 * A stream that is killed after its first page, of 400 ms, has only the time of that page, which a busy
 * machine reads late: once 101 ms late, with five other loads on two processors.
 */
export const MOST_OFF_MS = 150;
/** The longest time from the first sound to the report "Recording.", ms: ffmpeg holds two pages. */
const SAYING_MS = 2 * PAGE_MS + 100;

/** A chunk as sound: the samples of the witness that it holds. */
export interface HeardChunk {
  readonly key: string;
  readonly start: number;
  readonly end: number;
  /** The errors of its start_ts and its end_ts, ms; positive if later than the truth. */
  readonly claimsMs: readonly [number, number];
}

export interface Verdict {
  /** One loss for each life that recorded. */
  readonly losses: readonly { readonly life: Life; readonly lostMs: number }[];
  /** Files that opusinfo or the strict reader rejects, or whose recording started under another key. */
  readonly invalid: readonly string[];
  /** Keys of chunks that were once visible and did not arrive, and files that were left behind. */
  readonly lost: readonly string[];
  /** Keys with two different contents. */
  readonly changed: readonly string[];
  /** Pairs of keys with the same sound. */
  readonly twice: readonly string[];
  /** Places where sound is missing inside a life. */
  readonly holes: readonly string[];
  /** Chunks whose sound the witness did not hear within REACH_MS of the claimed time. */
  readonly unknown: readonly string[];
  /** Lives whose child processes outlived them for too long. */
  readonly orphans: readonly Life[];
  readonly heard: readonly HeardChunk[];
}

/** The defects that no slow machine excuses, one per line; empty if there are none. */
export function defectsOf(verdict: Verdict): string[] {
  const { invalid, lost, changed, twice, holes, unknown, orphans } = verdict;
  return [
    ...invalid.map((what) => `invalid: ${what}`),
    ...lost.map((what) => `lost: ${what}`),
    ...changed.map((what) => `changed: ${what}`),
    ...twice.map((what) => `twice: ${what}`),
    ...holes.map((what) => `hole: ${what}`),
    ...unknown.map((what) => `not what was heard: ${what}`),
    ...orphans.map(({ moment }) => `orphan of "${moment}"`),
  ];
}

/** Lives that lost more, and chunks whose times are further off, than is allowed on a quiet machine, one per line. */
export function excessesOf({ losses, heard }: Verdict): string[] {
  const costly = losses.filter(({ lostMs }) => !(lostMs <= MOST_LOST_MS))
    .map(({ life, lostMs }) => `${lostMs.toFixed(0)} ms lost at "${life.moment}"`);
  const untimely = heard.filter((chunk) => !(offMs(chunk) <= MOST_OFF_MS));
  return [
    ...costly,
    ...untimely.map(({ key, claimsMs }) => `time off by ${claimsMs} ms: ${key}`),
  ];
}

/** How far the times of a chunk are off, ms. */
export function offMs({ claimsMs }: HeardChunk): number {
  return Math.max(...claimsMs.map(Math.abs));
}

/** Decodes and compares every chunk. Takes about 0.3 s per chunk. */
export async function judge(record: KillRecord): Promise<Verdict> {
  const { lives, received, visible, witness } = record;
  const [invalid, changed]: [string[], string[]] = [[], [...record.violations]];
  const contents = new Map(received.map(({ key, bytes }) => [key, bytes]));
  for (const file of visible) {
    const key = keyOf(file);
    const name = `${file.dir}/${file.name}`;
    if (key === null) invalid.push(`${name}: not a chunk's name`);
    else if (!contents.has(key)) contents.set(key, file.bytes);
    else if (!same(contents.get(key), file.bytes)) changed.push(name);
  }
  for (const [key, bytes] of contents) {
    const begunAs = readChunkHeader(bytes)?.tags["CHUNK_ID"];
    const objection = objectionTo(bytes) ?? await opusinfoObjection(bytes) ??
      (begunAs === key ? null : `its recording started as ${begunAs}`);
    if (objection !== null) invalid.push(`${key}: ${objection}`);
  }

  const [heard, unknown, holes]: [HeardChunk[], string[], string[]] = [[], [], []];
  for (const chunk of received) {
    const found = await listen(chunk, witness);
    if (found === null) unknown.push(chunk.fileName);
    else {
      heard.push(found.heard);
      holes.push(...found.holes.map((ms) => `${ms.toFixed(0)} ms inside ${chunk.fileName}`));
    }
  }
  const joined = judgeJoins(lives, heard, witness);
  const kept = (key: string) =>
    received.some((chunk) => chunk.key === key) ||
    record.waiting.some((name) => name.includes(key));
  return {
    losses: lives.flatMap((life) => lossOf(life, heard, witness) ?? []),
    invalid,
    lost: [...[...contents.keys()].filter((key) => !kept(key)), ...record.left],
    changed,
    twice: joined.twice,
    holes: [...holes, ...joined.holes],
    unknown,
    orphans: lives.filter(({ survivedMs }) => survivedMs === Infinity),
    heard,
  };
}

/** The loss by the kill; null if the agent was not recording at that moment. */
function lossOf(life: Life, heard: readonly HeardChunk[], witness: Witness) {
  const untilMs = life.askedMs ?? life.killedMs;
  const chunks = chunksOf(life, heard, witness);
  if (chunks.length === 0) {
    if (life.recordingMs === null || life.recordingMs > untilMs) return null;
    return { life, lostMs: untilMs - life.recordingMs + SAYING_MS };
  }
  const lastEnd = Math.max(...chunks.map(({ end }) => end));
  return { life, lostMs: Math.max(0, toMs(witness.sampleAt(untilMs) - lastEnd)) };
}

/** The chunks of a life, in order. */
function chunksOf(life: Life, heard: readonly HeardChunk[], witness: Witness): HeardChunk[] {
  const [from, to] = [witness.sampleAt(life.spawnedMs), witness.sampleAt(life.killedMs)];
  return heard.filter(({ start }) => start >= from && start < to)
    .sort((a, b) => a.start - b.start);
}

/** Finds missing sound between the chunks of a life, and sound that is in two chunks. */
function judgeJoins(lives: readonly Life[], heard: readonly HeardChunk[], witness: Witness) {
  const holes = lives.flatMap((life) =>
    joins(chunksOf(life, heard, witness)).filter(({ gapMs }) => gapMs > SEAM_MS)
      .map(({ gapMs, after }) => `${gapMs.toFixed(0)} ms after ${after.key}`)
  );
  const twice = joins(heard.toSorted((a, b) => a.start - b.start))
    .filter(({ gapMs }) => gapMs < -SEAM_MS)
    .map(({ after, before, gapMs }) => `${-gapMs.toFixed(0)} ms in ${after.key} and ${before.key}`);
  return { holes, twice };
}

function joins(chunks: readonly HeardChunk[]) {
  return chunks.slice(1).flatMap((before, index) => {
    const after = chunks[index];
    return after === undefined ? [] : [{ after, before, gapMs: toMs(before.start - after.end) }];
  });
}

/** Finds a chunk in what the witness heard, piece by piece, and the holes between the pieces. */
async function listen(
  { key, bytes, fields }: ReceivedChunk,
  witness: Witness,
): Promise<{ heard: HeardChunk; holes: number[] } | null> {
  const unixMs = Date.now() - performance.now();
  const [startMs = 0, endMs = 0] = [fields["start_ts"], fields["end_ts"]]
    .map((ts) => Number(ts) * 1000 - unixMs);
  const pcm = thin(await decodeToPcm(bytes));
  const piece = Math.min(pcm.length, fromMs(PIECE_MS));
  const offsets = [];
  for (let at = 0; at < pcm.length - piece; at += fromMs(STEP_MS)) offsets.push(at);
  offsets.push(pcm.length - piece);
  let shift = witness.sampleAt(startMs);
  const shifts: number[] = [];
  for (const at of offsets) {
    const sound = pcm.subarray(at, at + piece);
    const near = shifts.length === 0 ? null : witness.find(sound, shift + at, fromMs(20));
    const place = near ?? witness.find(sound, shift + at, fromMs(REACH_MS));
    if (place === null) return null;
    shift = place.at - at;
    shifts.push(shift);
  }
  const holes = shifts.slice(1).map((shift, index) => toMs(shift - (shifts[index] ?? shift)))
    .filter((ms) => Math.abs(ms) > SEAM_MS);
  const [start, end] = [shifts[0] ?? 0, shift + pcm.length];
  const claimsMs = [startMs - witness.timeOf(start), endMs - witness.timeOf(end)] as const;
  return { heard: { key, start, end, claimsMs }, holes };
}

async function opusinfoObjection(bytes: Uint8Array): Promise<string | null> {
  const whole = cutToLastPage(bytes);
  if (whole?.bytes.length !== bytes.length) return "recovery would shorten it";
  const path = await Deno.makeTempFile({ suffix: ".ogg" });
  try {
    await Deno.writeFile(path, bytes);
    await opusinfo(path);
    return null;
  } catch (error) {
    return String(error);
  } finally {
    await Deno.remove(path);
  }
}

/** Converts from the rate of the decoder to that of the witness; the noise is too low for aliasing. */
function thin(pcm: Float32Array): Float32Array {
  const step = sampleRate / WITNESS_RATE;
  return Float32Array.from({ length: Math.floor(pcm.length / step) }, (_, i) => pcm[i * step] ?? 0);
}

function same(a: Uint8Array | undefined, b: Uint8Array): boolean {
  return a?.length === b.length && a.every((byte, index) => byte === b[index]);
}

function toMs(samples: number): number {
  return samples * 1000 / WITNESS_RATE;
}

function fromMs(ms: number): number {
  return ms * WITNESS_RATE / 1000;
}
