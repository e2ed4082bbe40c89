// How complete a day of one device is, from the names of its chunks alone: a name has the start and the
// length to the microsecond, and a chunk begins where the one before ends unless sound is missing. Pure.

/** A chunk as its name describes it. */
export interface Span {
  /** Unix microseconds. */
  readonly startUnixUs: number;
  readonly durationUs: number;
}

export interface Hole {
  readonly fromUnixUs: number;
  readonly toUnixUs: number;
  /** Why, in words, in the order of time; left out if nobody looked. */
  readonly why?: readonly string[];
}

export interface Coverage {
  readonly chunks: number;
  /** From the first chunk to the end of the last, Unix microseconds. */
  readonly fromUnixUs: number;
  readonly toUnixUs: number;
  /** Sound that is there, each microsecond counted once. */
  readonly presentUs: number;
  /** Between chunks, in the order of time. */
  readonly holes: readonly Hole[];
}

/** Times are rounded to microseconds on the way: less than this is not a hole. */
const TOLERANCE_US = 100;

/** Null if there are no chunks. */
export function coverageOf(spans: readonly Span[]): Coverage | null {
  const sorted = spans.toSorted((a, b) => a.startUnixUs - b.startUnixUs);
  const [first] = sorted;
  if (first === undefined) return null;
  const holes: Hole[] = [];
  let toUnixUs = first.startUnixUs;
  let presentUs = 0;
  for (const { startUnixUs, durationUs } of sorted) {
    const end = startUnixUs + durationUs;
    if (startUnixUs - toUnixUs > TOLERANCE_US) {
      holes.push({ fromUnixUs: toUnixUs, toUnixUs: startUnixUs });
    }
    presentUs += Math.max(0, end - Math.max(startUnixUs, toUnixUs));
    toUnixUs = Math.max(toUnixUs, end);
  }
  return { chunks: sorted.length, fromUnixUs: first.startUnixUs, toUnixUs, presentUs, holes };
}

/** All holes together, microseconds. */
export function missingUs({ holes }: Coverage): number {
  return holes.reduce((sum, { fromUnixUs, toUnixUs }) => sum + toUnixUs - fromUnixUs, 0);
}
