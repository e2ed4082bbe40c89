// What a chunk says of itself: the tags in its header with which a receiver orders chunks, finds out what is
// missing between them, and why. Pure: it turns facts into tags and tags into facts.
//
//   CHUNK_ID           UUID, the Idempotency-Key of its delivery
//   STREAM_ID          UUID of the stream that it was cut from
//   STREAM_SAMPLE      number of its first sample in that stream, at 48 kHz; jumps by what was lost inside it
//   START              UTC of its first sample, ISO 8601 with microseconds
//   CLOCK              whether the system clock was right then: "synchronized" or "unsynchronized"
//   PREVIOUS_CHUNK_ID  CHUNK_ID of the chunk recorded before it, over streams and restarts
//   GAP_BEFORE_MS      time between that one's end and its start; 0 if they join
//   GAP_CAUSE          why, if that is not 0
//   WAITING_FROM       UTC: when it began, no earlier chunk was waiting for delivery any more

/** The tag COMMENT of the second of silence with which `check` tests a server. */
export const TEST_COMMENT = "recorder-agent check --send-test-chunk";

/** What is known of a chunk when its header is written. */
export interface ChunkPlace {
  readonly chunkId: string;
  readonly streamId: string;
  /** Samples at 48 kHz. */
  readonly streamSample: number;
  /** Unix microseconds. */
  readonly startUnixUs: number;
  readonly isClockSynchronized: boolean;
  /** Null if no earlier chunk is known. */
  readonly previousChunkId: string | null;
  /** Milliseconds between the end of the previous chunk and the start of this one; null if unknown. */
  readonly gapBeforeMs: number | null;
  /** Null if nothing is missing, or if the cause is not known. */
  readonly gapCause: string | null;
  /** Unix microseconds: chunks that began earlier are delivered, refused, or gone; null if unknown. */
  readonly waitingFromUs: number | null;
}

/** The tags for a chunk, in the order in which they are written. */
export function formatChunkTags(place: ChunkPlace): Record<string, string> {
  const gapMs = place.gapBeforeMs === null ? null : Math.round(place.gapBeforeMs);
  const isGap = gapMs !== 0 && place.previousChunkId !== null;
  return {
    CHUNK_ID: place.chunkId,
    STREAM_ID: place.streamId,
    STREAM_SAMPLE: String(place.streamSample),
    START: formatUtc(place.startUnixUs),
    CLOCK: place.isClockSynchronized ? "synchronized" : "unsynchronized",
    ...place.previousChunkId === null ? {} : { PREVIOUS_CHUNK_ID: place.previousChunkId },
    ...gapMs === null ? {} : { GAP_BEFORE_MS: String(gapMs) },
    ...isGap && place.gapCause !== null ? { GAP_CAUSE: place.gapCause } : {},
    ...place.waitingFromUs === null ? {} : { WAITING_FROM: formatUtc(place.waitingFromUs) },
  };
}

/** The facts in a chunk's tags; null for each that is missing or cannot be read (an older release). */
export function parseChunkTags(
  tags: Readonly<Record<string, string>>,
): { readonly [Fact in keyof ChunkPlace]: ChunkPlace[Fact] | null } {
  const { CLOCK } = tags;
  return {
    chunkId: tags["CHUNK_ID"] ?? null,
    streamId: tags["STREAM_ID"] ?? null,
    streamSample: parseCount(tags["STREAM_SAMPLE"]),
    startUnixUs: parseUtc(tags["START"] ?? ""),
    isClockSynchronized: CLOCK === undefined ? null : CLOCK === "synchronized",
    previousChunkId: tags["PREVIOUS_CHUNK_ID"] ?? null,
    gapBeforeMs: parseCount(tags["GAP_BEFORE_MS"]),
    gapCause: tags["GAP_CAUSE"] ?? null,
    waitingFromUs: parseUtc(tags["WAITING_FROM"] ?? ""),
  };
}

/** UTC in ISO 8601 with microseconds, from Unix microseconds. */
export function formatUtc(unixUs: number): string {
  const seconds = Math.floor(unixUs / 1e6);
  const fraction = String(unixUs - seconds * 1e6).padStart(6, "0");
  return `${new Date(seconds * 1000).toISOString().slice(0, 19)}.${fraction}Z`;
}

/** Unix microseconds of a time as `formatUtc` writes it; null if it is not one. */
export function parseUtc(text: string): number | null {
  const match = /^(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)\.(\d{6})Z$/.exec(text);
  const unixMs = match === null ? NaN : Date.parse(`${match[1]}Z`);
  return Number.isNaN(unixMs) ? null : unixMs * 1000 + Number(match?.[2]);
}

function parseCount(text: string | undefined): number | null {
  if (text === undefined || !/^\d{1,15}$/.test(text)) return null;
  return Number(text);
}
