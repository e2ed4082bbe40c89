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

/** What is later than this is from a clock that was wrong, or the clock of this machine is. */
const FUTURE_MS = 3_600_000;

/** The latest of these days with a chunk that is not in the future. */
export interface LatestDay {
  readonly day: string;
  readonly coverage: Coverage;
  /** Whether there are chunks in the future; only if there are no others, the day has them. */
  readonly hasFuture: boolean;
}

/**
 * Finds the day to show: one chunk with a wrong time must not hide that no others come.
 * @param days YYYY-MM-DD, of which none is empty if it is in the future.
 * @param look the coverage of those chunks of a day that are wanted, and whether there are others.
 */
export async function latestDayOf(
  days: readonly string[],
  nowUnixMs: number,
  look: (
    day: string,
    isWanted: (span: Span) => boolean,
  ) => Promise<{ readonly coverage: Coverage | null; readonly hasOthers: boolean }>,
): Promise<LatestDay | null> {
  const limitMs = nowUnixMs + FUTURE_MS;
  const isPast = ({ startUnixUs, durationUs }: Span) => startUnixUs + durationUs <= limitMs * 1000;
  const lastDay = new Date(limitMs).toISOString().slice(0, 10);
  const sorted = days.toSorted().reverse();
  let hasFuture = sorted.some((day) => day > lastDay);
  for (const day of sorted.filter((day) => day <= lastDay)) {
    const { coverage, hasOthers } = await look(day, isPast);
    hasFuture ||= hasOthers;
    if (coverage !== null) return { day, coverage, hasFuture };
  }
  for (const day of sorted) {
    const { coverage } = await look(day, () => true);
    if (coverage !== null) return { day, coverage, hasFuture };
  }
  return null;
}

/** Why nothing was to be recorded: nothing is missing there (docs/reference/problems.md). */
const WANTED = ["outside_schedule", "paused"];

/** Holes in which sound is missing, or may be. */
export function missingHoles({ holes }: Coverage): readonly Hole[] {
  return holes.filter(({ why = [] }) =>
    why.length === 0 || why.some((cause) => !WANTED.includes(cause))
  );
}

/** These holes together, microseconds. */
export function missingUs(coverage: Coverage): number {
  return missingHoles(coverage).reduce(
    (sum, { fromUnixUs, toUnixUs }) => sum + toUnixUs - fromUnixUs,
    0,
  );
}
