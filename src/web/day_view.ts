// Computes how a day is shown: which parts of it were recorded, are missing, are planned, or are outside
// the schedule. Pure.

import { type Schedule, scheduledBetween } from "../config/schedule.ts";
import { type Day, MINUTE_MS } from "../status/history.ts";

/** A minute that misses no more than this is not marked: starting and stopping take a moment. */
const TOLERATED_MS = 3000;

/** `unasked`: outside the schedule, or before the known history begins. */
export type StretchKind = "recorded" | "missing" | "planned" | "unasked";

/** Unix milliseconds. */
export interface Stretch {
  readonly kind: StretchKind;
  readonly startMs: number;
  readonly endMs: number;
}

export interface DayView {
  /** They cover the day from midnight to midnight without a break. */
  readonly stretches: readonly Stretch[];
  readonly recordedMs: number;
  /** Scheduled and not recorded, including small losses. */
  readonly missingMs: number;
}

export interface DayFacts {
  readonly day: Day;
  readonly schedule: Schedule;
  readonly timeZone: string;
  readonly nowMs: number;
  /** Everything recorded before this time is in `day`. */
  readonly settledMs: number;
  /** Since when sound has been arriving that is not in `day` yet; null if there is none. */
  readonly soundSinceMs: number | null;
  readonly knownSinceMs: number;
}

export function viewDay(facts: DayFacts): DayView {
  const { day, nowMs } = facts;
  const windows = scheduledWindows(facts);
  const openMs = facts.soundSinceMs === null
    ? nowMs
    : Math.max(facts.settledMs, facts.soundSinceMs);
  const stretches: Stretch[] = [];
  let recordedMs = 0;
  let missingMs = 0;
  for (let minute = 0; minute < day.recordedMs.length; minute++) {
    const startMs = day.startMs + minute * MINUTE_MS;
    const endMs = Math.min(startMs + MINUTE_MS, day.endMs);
    const inDay = day.recordedMs[minute] ?? 0;
    // Sound of the chunk that is still open counts as recorded.
    const openInMinute = facts.soundSinceMs === null ? 0 : overlap(startMs, endMs, openMs, nowMs);
    const askedUntil = (ms: number) =>
      windows.reduce(
        (sum, [fromMs, toMs]) => sum + overlap(startMs, endMs, fromMs, Math.min(toMs, ms)),
        0,
      );
    const due = askedUntil(nowMs);
    const heard = inDay + openInMinute;
    const lost = Math.max(0, due - heard);
    recordedMs += heard;
    missingMs += lost;
    const kind = lost > TOLERATED_MS
      ? "missing"
      : heard > 0
      ? "recorded"
      : askedUntil(endMs) > 0
      ? "planned"
      : "unasked";
    const last = stretches.at(-1);
    if (last?.kind === kind) stretches[stretches.length - 1] = { ...last, endMs };
    else stretches.push({ kind, startMs, endMs });
  }
  return { stretches, recordedMs, missingMs };
}

/** The scheduled hours of the day, as far back as the history is known. */
function scheduledWindows(facts: DayFacts): [fromMs: number, toMs: number][] {
  const { day, schedule, timeZone, knownSinceMs } = facts;
  return scheduledBetween(day.startMs, day.endMs, schedule, timeZone)
    .map(({ startMs, endMs }) => [Math.max(startMs, knownSinceMs), endMs]);
}

function overlap(startMs: number, endMs: number, fromMs: number, toMs: number): number {
  return Math.max(0, Math.min(endMs, toMs) - Math.max(startMs, fromMs));
}
