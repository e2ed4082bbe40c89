// Whether recording is paused by a person, and until when. Pure: it takes the time as a value.
//
//   running ──pause──► paused until T ──resume, or T has come──► running
//                        │       ▲
//                        └─pause─┘ another T
//
// A pause is kept on the disk as the system clock tells it, and counts on the monotonic clock: whatever the
// system clock does over a restart, a run pauses no longer than was asked for. A board without a battery boots
// with a time in the past: once its clock is synchronized, the pause of an earlier run ends when it was to end.

export type PauseState =
  | { readonly kind: "running" }
  | {
    readonly kind: "paused";
    /** Monotonic ms. */
    readonly endMs: number;
    readonly durationMs: number;
    /** UTC ms, if an earlier run knew the true time. */
    readonly trueEndMs: number | null;
  };

/** From when until when a pause lasts, or lasted; monotonic ms. */
export interface PauseSpan {
  readonly startMs: number;
  readonly endMs: number;
}

/** The time on both clocks, ms. */
export interface Now {
  readonly monotonicMs: number;
  readonly unixMs: number;
}

/** What the disk keeps of a pause. */
export interface PauseRecord {
  /** ISO 8601, UTC. */
  readonly until: string;
  readonly duration_s: number;
  /** Whether the system clock was synchronized. */
  readonly synchronized: boolean;
}

export const RUNNING: PauseState = { kind: "running" };

/** A pause from now on, in place of any other. */
export function pauseFor(durationMs: number, { monotonicMs }: Now): PauseState {
  return { kind: "paused", endMs: monotonicMs + durationMs, durationMs, trueEndMs: null };
}

/** How much longer the pause lasts, ms; 0: it is over, or there is none. */
export function leftMs(state: PauseState, monotonicMs: number): number {
  return state.kind === "running" ? 0 : Math.max(0, state.endMs - monotonicMs);
}

/** What to keep of a pause; null: there is none. */
export function toRecord(
  state: PauseState,
  { monotonicMs, unixMs }: Now,
  synchronized: boolean,
): PauseRecord | null {
  const left = leftMs(state, monotonicMs);
  if (state.kind === "running" || left === 0) return null;
  const until = new Date(Math.round(unixMs + left)).toISOString();
  return { until, duration_s: state.durationMs / 1000, synchronized };
}

/**
 * The pause that an earlier run kept, as far as it is not over; a value that is not a record means that there is none.
 * @param longestMs no pause can be longer, whatever the record says
 */
export function fromRecord(
  record: unknown,
  { monotonicMs, unixMs }: Now,
  longestMs: number,
): PauseState {
  if (typeof record !== "object" || record === null) return RUNNING;
  if (!("until" in record && "duration_s" in record)) return RUNNING;
  const [untilMs, durationMs] = [
    Date.parse(String(record.until)),
    Math.min(Number(record.duration_s) * 1000, longestMs),
  ];
  const left = Math.min(untilMs - unixMs, durationMs);
  if (!(left > 0)) return RUNNING;
  const isTrue = "synchronized" in record && record.synchronized === true;
  return {
    kind: "paused",
    endMs: monotonicMs + left,
    durationMs,
    trueEndMs: isTrue ? untilMs : null,
  };
}

/** The pause once the system clock is synchronized; it never becomes longer. */
export function withTrueTime(state: PauseState, { monotonicMs, unixMs }: Now): PauseState {
  if (state.kind === "running" || state.trueEndMs === null) return state;
  const left = Math.min(leftMs(state, monotonicMs), state.trueEndMs - unixMs);
  return left > 0 ? { ...state, endMs: monotonicMs + left } : RUNNING;
}

/** When a pause that was taken up from an earlier run began and ends, as far as is known now; null: there was none. */
export function spanOf(
  state: PauseState,
  { monotonicMs, unixMs }: Now,
  isClockTrusted: boolean,
): PauseSpan | null {
  if (state.kind === "running") return null;
  const { durationMs, trueEndMs } = state;
  const isTrue = isClockTrusted && trueEndMs !== null;
  const endMs = isTrue ? monotonicMs + trueEndMs - unixMs : state.endMs;
  return { startMs: endMs - durationMs, endMs };
}
