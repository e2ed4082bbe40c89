// The names of chunk files. They sort by time, are unique for ever, and say when a chunk was heard,
// how long it is, and under which key it is delivered. Pure.
//
//   20261123T184500.123456Z_59993500us_4f6c1c1e-….ogg     in outbox/, uploaded/, rejected/
//   20261123T184500.123456Z_4f6c1c1e-….part               in recording/, its length not known yet

/** Where sealed chunks lie: waiting, delivered, refused by the server. */
export const CHUNK_DIRS = ["outbox", "uploaded", "rejected"] as const;
export type ChunkDir = typeof CHUNK_DIRS[number];

export interface ChunkName {
  /** UTC of the first sample, Unix microseconds. */
  readonly startUnixUs: number;
  readonly durationUs: number;
  /** UUID: the Idempotency-Key of every attempt to deliver it. */
  readonly key: string;
}

const UUID = "[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}";
const TIME = "(\\d{4})(\\d\\d)(\\d\\d)T(\\d\\d)(\\d\\d)(\\d\\d)\\.(\\d{6})Z";
const CHUNK = new RegExp(`^${TIME}_(\\d{1,15})us_(${UUID})\\.ogg$`);
const PART = new RegExp(`^${TIME}_(${UUID})\\.part$`);

/** The name of a sealed chunk. */
export function formatChunkName(name: ChunkName): string {
  return `${formatTime(name.startUnixUs)}_${name.durationUs}us_${name.key}.ogg`;
}

/** The name of a chunk that is still being recorded. */
export function formatPartName(name: Pick<ChunkName, "startUnixUs" | "key">): string {
  return `${formatTime(name.startUnixUs)}_${name.key}.part`;
}

/** Null if the name is not that of a sealed chunk. */
export function parseChunkName(fileName: string): ChunkName | null {
  const match = CHUNK.exec(fileName);
  const startUnixUs = match && parseTime(match);
  if (match === null || startUnixUs === null) return null;
  return { startUnixUs, durationUs: Number(match[8]), key: match[9] ?? "" };
}

/** Null if the name is not that of a chunk being recorded. */
export function parsePartName(fileName: string): Pick<ChunkName, "startUnixUs" | "key"> | null {
  const match = PART.exec(fileName);
  const startUnixUs = match && parseTime(match);
  if (match === null || startUnixUs === null) return null;
  return { startUnixUs, key: match[8] ?? "" };
}

/**
 * UTC as in ISO 8601's basic format, six digits of fraction. Sorts by time in all years whose
 * microseconds a number holds exactly: 1684 to 2255.
 */
function formatTime(unixUs: number): string {
  const seconds = Math.floor(unixUs / 1e6);
  const basic = new Date(seconds * 1000).toISOString().slice(0, 19).replaceAll(/[-:]/g, "");
  return `${basic}.${String(unixUs - seconds * 1e6).padStart(6, "0")}Z`;
}

function parseTime(match: RegExpExecArray): number | null {
  const [year, month, day, hour, minute, second, fraction] = match.slice(1, 8).map(Number);
  const unixMs = Date.UTC(year ?? 0, (month ?? 0) - 1, day, hour, minute, second);
  const unixUs = unixMs * 1000 + (fraction ?? 0);
  // Dates that do not exist (month 13, 31 February) would roll over: they are no name of ours.
  if (!Number.isSafeInteger(unixUs)) return null;
  return match[0].startsWith(formatTime(unixUs)) ? unixUs : null;
}
