// The names of chunk files. Names sort by time and are never used twice. A name says when the chunk was
// recorded, how long it is, and which key it is delivered under. Pure.
//
//   20261123T184500.123456Z_59993500us_4f6c1c1e-….ogg     in outbox/, uploaded/, rejected/
//   20261123T184500.123456Z_4f6c1c1e-….part               in recording/; its length is not known yet
//
// A suffix such as "_b0a1b2c3d-61000000" between the key and the extension says that the time is
// provisional, because the clock was not synchronized. The suffix names the boot and the microseconds
// from boot to the first sample; the true time follows from both once the clock is synchronized. The true
// time of a chunk from an earlier boot cannot be found any more. Such a chunk gets a third number: when a
// synchronized clock first saw it, Unix seconds. Its age counts from then.

import { formatUtc } from "./chunk_tags.ts";

/** The directories of sealed chunks: waiting, delivered, refused by the server. */
export const CHUNK_DIRS = ["outbox", "uploaded", "rejected"] as const;
export type ChunkDir = typeof CHUNK_DIRS[number];

export interface ChunkName {
  /** UTC of the first sample, Unix microseconds. */
  readonly startUnixUs: number;
  readonly durationUs: number;
  /** UUID: the Idempotency-Key of every attempt to deliver the chunk. */
  readonly key: string;
  /** Present if the system clock was not synchronized when the chunk was named. */
  readonly provisional?: Provisional;
}

export interface Provisional {
  /** Eight hex digits of the kernel's boot id. */
  readonly bootId: string;
  /** From boot to the first sample, microseconds. */
  readonly startBootUs: number;
  /** When a synchronized clock first saw the chunk, Unix seconds; null if none has seen it yet. */
  readonly seenUnixS: number | null;
}

/** What is known about a chunk while it is being recorded. */
export type PartName = Omit<ChunkName, "durationUs">;

const UUID = "[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}";
const DATE = "([1-9]\\d{3})(0[1-9]|1[0-2])([0-3]\\d)";
const TIME = `${DATE}T([01]\\d|2[0-3])([0-5]\\d)([0-5]\\d)\\.(\\d{6})Z`;
// Numbers without leading zeros: a name that is parsed and formatted again is the same text.
const PROVISIONAL = "(?:_b([0-9a-f]{8})-(0|[1-9]\\d{0,14})(?:-(0|[1-9]\\d{0,9}))?)?";
const CHUNK = new RegExp(`^${TIME}_(0|[1-9]\\d{0,14})us_(${UUID})${PROVISIONAL}\\.ogg$`);
const PART = new RegExp(`^${TIME}_(${UUID})${PROVISIONAL}\\.part$`);

/** The name of a sealed chunk. */
export function formatChunkName(name: ChunkName): string {
  return `${formatTime(name.startUnixUs)}_${name.durationUs}us_${name.key}${suffix(name)}.ogg`;
}

/** The name of a chunk that is still being recorded. */
export function formatPartName(name: PartName): string {
  return `${formatTime(name.startUnixUs)}_${name.key}${suffix(name)}.part`;
}

/** Compares in the order of file names, which is the order of time: negative if `a` is first. */
export function compareChunkNames(a: ChunkName, b: ChunkName): number {
  if (a.startUnixUs !== b.startUnixUs) return a.startUnixUs - b.startUnixUs;
  const [textA, textB] = [formatChunkName(a), formatChunkName(b)];
  return textA < textB ? -1 : textA > textB ? 1 : 0;
}

/** Null if this is not the name of a sealed chunk. */
export function parseChunkName(fileName: string): ChunkName | null {
  const match = CHUNK.exec(fileName);
  const startUnixUs = match && parseTime(match);
  if (match === null || startUnixUs === null) return null;
  const key = match[9] ?? "";
  return { startUnixUs, durationUs: Number(match[8]), key, ...provisional(match.slice(10)) };
}

/** Null if this is not the name of a chunk that is being recorded. */
export function parsePartName(fileName: string): PartName | null {
  const match = PART.exec(fileName);
  const startUnixUs = match && parseTime(match);
  if (match === null || startUnixUs === null) return null;
  return { startUnixUs, key: match[8] ?? "", ...provisional(match.slice(9)) };
}

function suffix({ provisional }: PartName): string {
  if (provisional === undefined) return "";
  const { bootId, startBootUs, seenUnixS } = provisional;
  return `_b${bootId}-${startBootUs}${seenUnixS === null ? "" : `-${seenUnixS}`}`;
}

function provisional(
  [bootId, startBootUs, seenUnixS]: (string | undefined)[],
): Pick<ChunkName, "provisional"> {
  if (bootId === undefined) return {};
  const seen = seenUnixS === undefined ? null : Number(seenUnixS);
  return { provisional: { bootId, startBootUs: Number(startBootUs), seenUnixS: seen } };
}

/**
 * With what a name begins: UTC in the basic format of ISO 8601, with microseconds. It sorts before the names of
 * all chunks from this time on, and after all earlier names, in all years whose microseconds a number represents
 * exactly: 1684 to 2255.
 */
export function formatTime(unixUs: number): string {
  return formatUtc(unixUs).replaceAll(/[-:]/g, "");
}

/** Cheap, because it runs for every name of a backlog. The pattern has checked all ranges but the day's. */
function parseTime(match: RegExpExecArray): number | null {
  const [year, month, day, hour, minute, second, fraction] = match.slice(1, 8).map(Number);
  const unixMs = Date.UTC(year ?? 0, (month ?? 0) - 1, day, hour, minute, second);
  const unixUs = unixMs * 1000 + (fraction ?? 0);
  // A day that does not exist (31 February) rolls over into the next month: the program never writes one.
  return Number.isSafeInteger(unixUs) && new Date(unixMs).getUTCDate() === day ? unixUs : null;
}
