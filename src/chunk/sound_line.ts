// Puts the chunks of one device in order and finds out what is missing between them, and why. Pure.
//
// Within a stream the sample numbers decide. Between streams the chain decides: each chunk names the one that
// was recorded before it, and how long nothing was recorded in between. Chunks of a release that wrote no such
// tags are placed by their times alone. A chunk that is missing is either gone, if a later chunk says that
// nothing so old was waiting any more, or it has not come yet.

import type { ChunkRecord } from "./chunk_record.ts";
import { samplesToUs } from "./chunk_file.ts";
import { OPUS_RATE } from "./opus.ts";

/** A chunk, or the part of it that no other chunk holds. */
export interface Piece {
  readonly kind: "piece";
  readonly chunk: ChunkRecord;
  readonly startUnixUs: number;
  /** Whether that time is one of a right clock: its own, or that of another chunk of its stream. */
  readonly isTimeSure: boolean;
  /** Audible samples at its start that the piece before it holds. */
  readonly skipSamples: number;
  /** Audible samples of this piece. */
  readonly samples: number;
  /** Whether it continues the piece before it in the same stream, without a missing sample. */
  readonly isJoined: boolean;
  /**
   * By how much its time differs from the one that follows from the sound and the holes before it; 0 if that is
   * not known. Not 0: a clock was set, or drifted.
   */
  readonly differsUs: number;
  /**
   * Whether the recording before it has sound of the same time, by more than a second: the clocks of both were right,
   * and neither says that it follows the other.
   */
  readonly isDouble: boolean;
}

/**
 * Why sound is missing. "gap": nothing was recorded; "not_come": a chunk was recorded and may still come;
 * "gone": a chunk was recorded and is not on its
 * way any more: delivered elsewhere, refused, or deleted; "damaged": a file is not whole; "unknown": the chunks do
 * not say it.
 */
export type HoleKind = "gap" | "not_come" | "gone" | "damaged" | "unknown";

export interface Hole {
  readonly kind: "hole";
  readonly why: HoleKind;
  /** The cause of a gap, as in gaps.jsonl; null if it is not declared. */
  readonly cause: string | null;
  readonly startUnixUs: number;
  /** Samples at 48 kHz; 0 if nobody knows how many. */
  readonly samples: number;
}

export interface SoundLine {
  readonly items: readonly (Piece | Hole)[];
  /** Files that are not used: what each of them is, as the end of a sentence "FILE …". */
  readonly unused: readonly {
    readonly file: string;
    readonly reason: string;
    readonly isHarmless: boolean;
  }[];
}

/** Times of two clocks that differ by less than this may still join, for chunks without a chain. */
const JOIN_US = 50_000;

/** Times that are compared were rounded, and a clock drifts: no chunk is as short as this. */
const ROUNDING_US = 20_000;

/**
 * Times that differ from the line by more than this are told: less can be rounding, drift or a clock that is
 * adjusted.
 */
export const DIFFERENCE_US = 1e6;

/** The chunks of one device in order, with what is missing between them. */
export function layOut(chunks: readonly ChunkRecord[]): SoundLine {
  const unused: SoundLine["unused"][number][] = [];
  const single = withoutDoubles(chunks, unused);
  const placed = place(single, unused);
  const known = new Map(
    placed.flatMap(({ chunk }) => chunk.chunkId === null ? [] : [[chunk.chunkId, chunk]]),
  );
  // Not as arguments of one call: there may be more chunks than a call can have.
  const waitingFromUs = placed.reduce(
    (latest, { chunk }) => Math.max(latest, chunk.waitingFromUs ?? -Infinity),
    -Infinity,
  );
  const items: (Piece | Hole)[] = [];
  let last: Placed | null = null;
  let endUs = -Infinity;
  for (const next of placed) {
    const { chunk, isSure } = next;
    const overlap = last === null ? 0 : overlapOf(last.chunk, chunk);
    if (overlap >= chunk.samples) {
      unused.push({
        file: chunk.file,
        reason: `holds sound that ${last?.chunk.file} holds`,
        isHarmless: true,
      });
      continue;
    }
    // A clock that was not right says little: the chunk comes behind the one that it follows.
    const ownUs = next.startUnixUs + samplesToUs(overlap);
    const startUnixUs = isSure ? ownUs : Math.max(ownUs, endUs);
    const holes = last === null ? [] : holesBetween(last, { ...next, startUnixUs }, {
      endUs,
      isKnown: (key) => known.has(key),
      waitingFromUs,
    });
    items.push(...holes);
    const isSameStream = last?.chunk.streamId === chunk.streamId;
    const isJoined = isSameStream && holes.length === 0;
    const lineUs = endUs + samplesToUs(holes.reduce((sum, hole) => sum + hole.samples, 0));
    const isPlaced = last !== null && holes.every((hole) => hole.samples > 0);
    const isOther = last !== null && last.isSure && isSure && !isSameStream &&
      !isFollowing(last.chunk, chunk);
    const samples = chunk.samples - overlap;
    items.push({
      kind: "piece",
      chunk,
      startUnixUs,
      isTimeSure: isSure,
      skipSamples: overlap,
      samples,
      isJoined,
      differsUs: isPlaced ? startUnixUs - lineUs : 0,
      isDouble: isOther && endUs - startUnixUs > DIFFERENCE_US,
    });
    endUs = startUnixUs + samplesToUs(samples);
    last = next;
  }
  if (last?.chunk.damage) {
    items.push({ kind: "hole", why: "damaged", cause: null, startUnixUs: endUs, samples: 0 });
  }
  return { items, unused };
}

interface Placed {
  readonly chunk: ChunkRecord;
  readonly startUnixUs: number;
  /** Whether the time is that of a right clock. */
  readonly isSure: boolean;
}

function withoutDoubles(
  chunks: readonly ChunkRecord[],
  unused: SoundLine["unused"][number][],
): ChunkRecord[] {
  const single = new Map<string, ChunkRecord>();
  for (const chunk of chunks) {
    const id = chunk.chunkId ?? `${chunk.streamId} ${chunk.streamSample}`;
    const key = `${id} ${chunk.fileSample ?? 0}`;
    const other = single.get(key);
    const isBetter = other === undefined ||
      (other.damage !== null && (chunk.damage === null || chunk.samples > other.samples));
    if (isBetter) single.set(key, chunk);
    if (other === undefined) continue;
    const [kept, left] = isBetter ? [chunk, other] : [other, chunk];
    const isEqual = left.digest !== undefined && left.digest === kept.digest;
    unused.push({
      file: left.file,
      reason: `is the same chunk as ${kept.file}${isEqual ? "" : ", with other contents"}`,
      isHarmless: isEqual,
    });
  }
  return [...single.values()];
}

/** Sorts the chunks: by sample number within a stream; the streams by time, or by the chain. */
function place(
  chunks: readonly ChunkRecord[],
  unused: SoundLine["unused"][number][],
): Placed[] {
  const streams = Map.groupBy(chunks, ({ streamId }) => streamId);
  const groups: Group[] = [];
  for (const stream of streams.values()) {
    stream.sort((a, b) => a.streamSample - b.streamSample);
    const [first] = stream;
    const sure = stream.find(({ isTimeSure, startUnixUs }) => isTimeSure && startUnixUs !== null);
    const anchor = sure ?? stream.find(({ startUnixUs }) => startUnixUs !== null);
    if (anchor === undefined || anchor.startUnixUs === null) {
      for (const { file } of stream) {
        unused.push({
          file,
          reason: "tells no time, neither in a tag START nor in its name",
          isHarmless: false,
        });
      }
      continue;
    }
    const anchorUs = anchor.startUnixUs;
    const isSure = sure !== undefined;
    const placed = stream.map((chunk) => {
      const ownUs = chunk.isTimeSure === anchor.isTimeSure ? chunk.startUnixUs : null;
      const samples = chunk.streamSample - anchor.streamSample;
      return { chunk, startUnixUs: ownUs ?? anchorUs + samplesToUs(samples), isSure };
    });
    groups.push({ placed, isSure, before: first?.previousChunkId ?? null });
  }
  return inOrderOfChain(groups).flatMap(({ placed }) => placed);
}

/** The chunks of one stream. */
interface Group {
  readonly placed: readonly Placed[];
  readonly isSure: boolean;
  /** The chunk that the first one names. */
  readonly before: string | null;
}

/**
 * Streams are in the order of their times. One whose clock was wrong goes behind the stream that its first chunk names,
 * which may be another such; if that chunk is not here, before the stream that names it.
 */
function inOrderOfChain(unordered: readonly Group[]): Group[] {
  const holder = new Map<string | null, Group>(
    unordered.flatMap((group) => group.placed.map(({ chunk }) => [chunk.chunkId, group])),
  );
  const leaderOf = ({ isSure, before }: Group) =>
    isSure || before === null ? undefined : holder.get(before);
  const heirs = new Map(
    unordered.flatMap((group) => {
      const named = group.before === null ? undefined : holder.get(group.before);
      return named === undefined || named === group ? [] : [[named, group]];
    }),
  );
  const timeOf = (group: Group): number => {
    const passed = new Set<Group>();
    let heir: Group | undefined = group;
    while (heir !== undefined && !heir.isSure && !passed.has(heir)) {
      passed.add(heir);
      heir = heirs.get(heir);
    }
    return ((heir?.isSure ? heir : group).placed[0] ?? group.placed[0])?.startUnixUs ?? 0;
  };
  const groups = unordered.map((group) => ({ group, us: timeOf(group) }))
    .sort((a, b) => a.us - b.us || Number(a.group.isSure) - Number(b.group.isSure))
    .map(({ group }) => group);
  const followers = Map.groupBy(groups, leaderOf);
  const ordered = new Set<Group>();
  // What names each other in a circle has no place in the chain: it comes last, in the order of time.
  for (const first of [...followers.get(undefined) ?? [], ...groups]) {
    const next = [first];
    for (let group = next.pop(); group !== undefined; group = next.pop()) {
      if (ordered.has(group)) continue;
      ordered.add(group);
      next.push(...(followers.get(group) ?? []).toReversed());
    }
  }
  return [...ordered];
}

/** How many samples of `next` the chunk before it holds, too. */
function overlapOf(last: ChunkRecord, next: ChunkRecord): number {
  if (last.streamId !== next.streamId) return 0;
  return Math.max(0, last.streamSample + last.samples - next.streamSample);
}

function isFollowing(last: ChunkRecord, next: ChunkRecord): boolean {
  return next.previousChunkId !== null && next.previousChunkId === last.chunkId;
}

function holesBetween(
  { chunk: last, isSure: isLastSure }: Placed,
  { chunk: next, isSure, startUnixUs }: Placed,
  known: { endUs: number; isKnown: (key: string) => boolean; waitingFromUs: number },
): Hole[] {
  const { endUs, isKnown, waitingFromUs } = known;
  const isSameStream = last.streamId === next.streamId;
  const follows = isFollowing(last, next);
  const isUnsaid = next.previousChunkId === null || (isKnown(next.previousChunkId) && !follows);
  // The one that it names is not here.
  const lacksOne = !isUnsaid && !follows && !isSameStream && last.chunkId !== null;
  const gapUs = next.gapBeforeMs === null ? null : next.gapBeforeMs * 1000;
  const betweenUs = Math.max(0, startUnixUs - endUs);
  const isNear = Math.abs(startUnixUs - endUs) < JOIN_US;
  const holes: Hole[] = [];
  const add = (why: HoleKind, cause: string | null, count: number) => {
    const at = endUs + samplesToUs(holes.reduce((sum, hole) => sum + hole.samples, 0));
    holes.push({ kind: "hole", why, cause, startUnixUs: at, samples: count });
  };
  /** What became of a chunk that ended then. */
  const missingAt = (us: number) => us <= waitingFromUs + ROUNDING_US ? "gone" : "not_come";
  // The till did not measure the gap, and two times cannot be compared of which one is that of a wrong clock.
  const isTimed = isSameStream || gapUs !== null || (isLastSure && isSure);
  if (!isTimed && !(isUnsaid && isNear)) {
    if (lacksOne) add(missingAt(startUnixUs), null, 0);
    if (!lacksOne || next.gapCause !== null) {
      add(next.gapCause === null ? "unknown" : "gap", next.gapCause, 0);
    }
    return holes;
  }
  // Within a stream the sample numbers are exact; a damaged file ends before its sound did.
  let samples = isSameStream
    ? Math.max(0, next.streamSample - last.streamSample - last.samples)
    : toSamples(follows && gapUs !== null && last.damage === null ? gapUs : betweenUs);
  if (isUnsaid && !isSameStream && betweenUs < JOIN_US) samples = 0;
  if (samples === 0 && !lacksOne) return [];
  const gapSamples = Math.min(samples, toSamples(gapUs ?? (follows ? betweenUs : 0)));
  // Rounded to a millisecond: what is left is not another hole.
  const lostSamples = samples - gapSamples <= OPUS_RATE / 500 ? 0 : samples - gapSamples;
  // The clock was set back by as much as the missing chunk was long, or more: nobody knows its length.
  const isHidden = lacksOne && lostSamples === 0;
  const missing = missingAt(startUnixUs - samplesToUs(gapSamples));
  const why = last.damage !== null && follows ? "damaged" : isUnsaid ? "unknown" : missing;
  if (lostSamples > 0 || isHidden) {
    add(follows && last.damage === null ? "unknown" : why, null, lostSamples);
  }
  const cause = next.gapCause;
  if (samples > lostSamples) add(cause === null ? "unknown" : "gap", cause, samples - lostSamples);
  return holes;
}

function toSamples(us: number): number {
  return Math.round(us * OPUS_RATE / 1e6);
}
