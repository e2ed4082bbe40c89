// Describes a received file: whether it is a whole chunk, which sound it holds and where in time. Pure: it
// takes bytes and a file name. sound_line.ts puts the descriptions in order.

import { cutToLastPage, readChunkHeader } from "./chunk_file.ts";
import { parseChunkName, parsePartName } from "./chunk_name.ts";
import { parseChunkTags, TEST_COMMENT } from "./chunk_tags.ts";
import type { OpusHead } from "./opus.ts";

/** What a file says of itself. */
export interface ChunkRecord {
  /** As the caller names it. */
  readonly file: string;
  /** Lower-case hex SHA-256 of the file, if the caller knows it: it tells doubled files from different ones. */
  readonly digest?: string;
  readonly deviceId: string;
  /** Null if the chunk does not say it: an older release, or another program. */
  readonly chunkId: string | null;
  readonly previousChunkId: string | null;
  readonly gapBeforeMs: number | null;
  readonly gapCause: string | null;
  /** Unix microseconds; null if it is unknown, or was written by a clock that was not right. */
  readonly waitingFromUs: number | null;
  readonly streamId: string;
  readonly streamSample: number;
  readonly head: OpusHead;
  /** Audible samples at 48 kHz up to the last whole page. */
  readonly samples: number;
  /** Unix microseconds; null if neither the tags nor the file name tell it. */
  readonly startUnixUs: number | null;
  /** Whether the clock was right when `startUnixUs` was taken. */
  readonly isTimeSure: boolean;
  /** What is wrong with the file; null if it is whole. */
  readonly damage: string | null;
}

/** A file that is not a chunk, and why not, as the end of a sentence "FILE …". */
export interface NoChunk {
  readonly file: string;
  readonly reason: string;
  /** Whether it belongs there all the same: the test chunk of `check`. */
  readonly isTest?: boolean;
}

/** A receiver may keep a time with fewer decimals; no clock is corrected by as little. */
const SAME_TIME_US = 1000;

/** Describes the file with these contents. @param name its path or name, from which a time may be read. */
export function describeChunk(file: string, bytes: Uint8Array): ChunkRecord | NoChunk {
  const header = readChunkHeader(bytes);
  if (header === null) return { file, reason: "is not an Ogg/Opus file that can be read" };
  const tags = parseChunkTags(header.tags);
  const { streamId, streamSample } = tags;
  if (header.tags["COMMENT"] === TEST_COMMENT) {
    return { file, reason: `is the silence of ${TEST_COMMENT}`, isTest: true };
  }
  if (streamId === null || streamSample === null) {
    return {
      file,
      reason: "is not a chunk of recorder-agent: it has no tags STREAM_ID and STREAM_SAMPLE",
    };
  }
  const whole = cutToLastPage(bytes);
  if (whole === null || whole.samples === 0) return { file, reason: "holds no sound" };
  const isClockRight = tags.isClockSynchronized ?? true;
  return {
    file,
    deviceId: header.tags["DEVICE_ID"] ?? "",
    chunkId: tags.chunkId,
    previousChunkId: tags.previousChunkId,
    gapBeforeMs: tags.gapBeforeMs,
    gapCause: tags.gapCause,
    waitingFromUs: isClockRight ? tags.waitingFromUs : null,
    streamId,
    streamSample,
    head: header.head,
    samples: whole.samples,
    ...timeOf(file, tags),
    damage: damageOf(bytes, whole.bytes),
  };
}

/** Whether the description is one of a chunk. */
export function isChunk(description: ChunkRecord | NoChunk): description is ChunkRecord {
  return "samples" in description;
}

/**
 * The name of a file in a spool gets its true time when the clock has become right; the tags keep what was
 * known when the chunk was sealed. A name that repeats the time of a wrong clock says no more than the tags:
 * receivers drop the suffix that says so in the spool.
 */
function timeOf(
  file: string,
  tags: Pick<ReturnType<typeof parseChunkTags>, "startUnixUs" | "isClockSynchronized">,
): Pick<ChunkRecord, "startUnixUs" | "isTimeSure"> {
  const base = file.slice(file.lastIndexOf("/") + 1);
  const name = parseChunkName(base) ?? parsePartName(base);
  const correctedUs = tags.startUnixUs === null || name === null
    ? 0
    : Math.abs(name.startUnixUs - tags.startUnixUs);
  const isNameSure = name !== null && name.provisional === undefined &&
    (tags.isClockSynchronized !== false || correctedUs > SAME_TIME_US);
  if (tags.startUnixUs !== null && (tags.isClockSynchronized || !isNameSure)) {
    return { startUnixUs: tags.startUnixUs, isTimeSure: tags.isClockSynchronized ?? false };
  }
  return { startUnixUs: name?.startUnixUs ?? null, isTimeSure: isNameSure };
}

function damageOf(file: Uint8Array, whole: Uint8Array): string | null {
  if (whole.length < file.length) {
    return `is damaged from byte ${whole.length} of ${file.length} on`;
  }
  if (whole.some((byte, at) => byte !== file[at])) return "is cut off: its last page is missing";
  return null;
}
