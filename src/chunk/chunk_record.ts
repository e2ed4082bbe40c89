// Describes a received file: whether it is a whole chunk, which sound it holds and where in time. Pure: it
// takes bytes and a file name. sound_line.ts puts the descriptions in order.

import { cutToLastPage, readChunkHeader, samplesToUs } from "./chunk_file.ts";
import { parseChunkName, parsePartName, type PartName } from "./chunk_name.ts";
import { parseChunkTags, TEST_COMMENT } from "./chunk_tags.ts";
import { type OpusHead, OpusStreamReader } from "./opus.ts";

/** What a file says of itself. */
export interface ChunkRecord {
  /** As the caller names it. */
  readonly file: string;
  /** Lower-case hex SHA-256 of the file, if the caller knows it: it tells doubled files from different ones. */
  readonly digest?: string;
  /** "" if it is not known. */
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
  /** Audible samples of the file before these, at 48 kHz; missing: none. Those after damage begin later. */
  readonly fileSample?: number;
  /** Audible samples at 48 kHz up to the first page that is not whole. */
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
  const isRepaired = tags.chunkId !== null && header.tags["DEVICE_ID"] === undefined &&
    nameOf(file) !== null;
  // A header that a power cut has damaged may have only this left: then the chunk is a stream of its own.
  const streamId = tags.streamId ?? (isRepaired ? tags.chunkId : null);
  const streamSample = tags.streamSample ?? (isRepaired ? 0 : null);
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

/**
 * What the file of a damaged chunk holds after its damage: chunks that follow it, and each other, with a hole between.
 * @param chunk as `describeChunk` describes the file. @param bytes of that file.
 */
export function soundAfterDamage(chunk: ChunkRecord, bytes: Uint8Array): ChunkRecord[] {
  const { preSkip } = chunk.head;
  const runs: { from: number; to: number; isDamaged: boolean }[] = [];
  const reader = new OpusStreamReader();
  let run: typeof runs[number] | null = { from: 0, to: 0, isDamaged: false };
  for (const event of [...reader.push(bytes), ...reader.end()].slice(1)) {
    if (event.kind === "head") break; // another stream
    if (event.kind === "break") {
      if (run !== null) run.isDamaged = true;
      run = null;
      continue;
    }
    const { endPosition, samples, trimSamples } = event.packet;
    if (run === null) {
      run = { from: endPosition - samples - preSkip, to: 0, isDamaged: false };
      runs.push(run);
    }
    run.to = endPosition - trimSamples - preSkip;
  }
  return runs.filter(({ from }) => from >= chunk.samples).map(({ from, to, isDamaged }) => ({
    ...chunk,
    ...{ previousChunkId: chunk.chunkId, gapBeforeMs: 0, gapCause: null },
    ...{ fileSample: from, samples: to - from, damage: isDamaged ? chunk.damage : null },
    streamSample: chunk.streamSample + from,
    startUnixUs: chunk.startUnixUs === null ? null : chunk.startUnixUs + samplesToUs(from),
  }));
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
  const name = nameOf(file);
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

function nameOf(file: string): PartName | null {
  const base = file.slice(file.lastIndexOf("/") + 1);
  return parseChunkName(base) ?? parsePartName(base);
}

function damageOf(file: Uint8Array, whole: Uint8Array): string | null {
  if (whole.length < file.length) {
    return `is damaged at byte ${whole.length} of ${file.length}`;
  }
  if (whole.some((byte, at) => byte !== file[at])) return "is cut off: its last page is missing";
  return null;
}
