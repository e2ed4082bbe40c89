// How a day is shown: which stretches of it were recorded, are missing, are to come, or were not
// asked for. Pure.

import { isInSchedule, nextChange, type Schedule } from "../config/schedule.ts";
import { type Day, MINUTE_MS } from "../status/history.ts";

/** Less than this may be missing from a minute without a mark: to begin and to end take a moment. */
const TOLERATED_MS = 3000;

/** `unasked`: outside the schedule, or before anything is known. */
export type StretchKind = "recorded" | "missing" | "planned" | "unasked";

/** Unix milliseconds. */
export interface Stretch {
  readonly kind: StretchKind;
  readonly startMs: number;
  readonly endMs: number;
}

export interface DayView {
  /** Without a break from midnight to midnight. */
  readonly stretches: readonly Stretch[];
  readonly recordedMs: number;
  /** Asked for by the schedule and not recorded; small losses included. */
  readonly missingMs: number;
}

export interface DayFacts {
  readonly day: Day;
  readonly schedule: Schedule;
  readonly timeZone: string;
  readonly nowMs: number;
  /** Up to here everything that was recorded is in `day`. */
  readonly settledMs: number;
  /** Since when sound is coming that is not in `day` yet; null: none is. */
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
    // What is being recorded now counts as recorded, as far as it was heard.
    const openInMinute = facts.soundSinceMs === null ? 0 : overlap(startMs, endMs, openMs, nowMs);
    const asked = windows.reduce(
      (sum, [fromMs, toMs]) => sum + overlap(startMs, endMs, fromMs, toMs),
      0,
    );
    const due = windows.reduce(
      (sum, [fromMs, toMs]) => sum + overlap(startMs, endMs, fromMs, Math.min(toMs, nowMs)),
      0,
    );
    const heard = inDay + openInMinute;
    const lost = Math.max(0, due - heard);
    recordedMs += heard;
    missingMs += lost;
    const kind = lost > TOLERATED_MS
      ? "missing"
      : heard > 0
      ? "recorded"
      : asked > 0
      ? "planned"
      : "unasked";
    const last = stretches.at(-1);
    if (last?.kind === kind) stretches[stretches.length - 1] = { ...last, endMs };
    else stretches.push({ kind, startMs, endMs });
  }
  return { stretches, recordedMs, missingMs };
}

/** When the schedule is on within the day, as far back as anything is known. */
function scheduledWindows(facts: DayFacts): [fromMs: number, toMs: number][] {
  const { day, schedule, timeZone, knownSinceMs } = facts;
  const windows: [number, number][] = [];
  for (let fromMs = day.startMs; fromMs < day.endMs;) {
    const toMs = Math.min(nextChange(fromMs, schedule, timeZone) ?? day.endMs, day.endMs);
    if (isInSchedule(fromMs, schedule, timeZone)) {
      windows.push([Math.max(fromMs, knownSinceMs), toMs]);
    }
    fromMs = toMs;
  }
  return windows;
}

function overlap(startMs: number, endMs: number, fromMs: number, toMs: number): number {
  return Math.max(0, Math.min(endMs, toMs) - Math.max(startMs, fromMs));
}
