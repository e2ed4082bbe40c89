/**
 * The recording schedule: is it time to record, and when does that answer change. Pure functions of
 * an instant, a schedule and a time zone; never reads a clock, never waits, never touches Deno.
 * schedule_text.ts reads a schedule from text.
 *
 * Recording is on exactly while the wall clock of the zone shows a date and time in the hours of the
 * schedule. Everything about daylight saving follows from that one sentence: where the clock jumps
 * over the start, recording begins at the first instant behind the gap; where an hour is shown twice,
 * it counts both times. Hours that cross midnight belong to the day on which they begin.
 */

export type Schedule = DailySchedule | WeeklySchedule;

/** The same hours every day, in minutes of the local day. */
export interface DailySchedule {
  /** Minute of the local day, 0..1439, at which recording starts. */
  readonly startMinute: number;
  /** Minute of the local day, 0..1439, at which it ends. Before the start: it crosses midnight. */
  readonly endMinute: number;
}

/** Hours by weekday, with exceptions by date. */
export interface WeeklySchedule {
  /** Of the seven weekdays, Monday first. */
  readonly week: readonly (readonly Hours[])[];
  /** By epoch day (0 is 1970-01-01); they replace the hours of the weekday. */
  readonly dates: ReadonlyMap<number, readonly Hours[]>;
  /** For people: which hours were written twice or contradict each other; sound is recorded in all. */
  readonly overlaps: readonly string[];
}

/** Minutes since the local midnight of the day on which they begin; the end is not part of them. */
export interface Hours {
  /** 0..1439 */
  readonly startMinute: number;
  /** `startMinute` + 1 .. `startMinute` + 1440: behind 1440 it is on the next day. */
  readonly endMinute: number;
}

export const DAY_MINUTES = 1440;
const MINUTE_MS = 60_000;
const DAY_MS = 86_400_000;

/** The schedule of a configuration. */
export function scheduleOf(
  { schedule, scheduleStart, scheduleEnd }: {
    readonly schedule: WeeklySchedule | null;
    readonly scheduleStart: number;
    readonly scheduleEnd: number;
  },
): Schedule {
  return schedule ?? { startMinute: scheduleStart, endMinute: scheduleEnd };
}

/** Minute of the day 0..1439 of a time "HH:MM" (the hour's leading zero may lack), else null. */
export function parseMinute(text: string): number | null {
  const [, hour, minute] = /^([01]?\d|2[0-3]):([0-5]\d)$/.exec(text) ?? [];
  return hour === undefined || minute === undefined ? null : Number(hour) * 60 + Number(minute);
}

/** "HH:MM" of a minute of the day 0..1439. */
export function formatMinute(minuteOfDay: number): string {
  const two = (value: number) => String(value).padStart(2, "0");
  return `${two(Math.floor(minuteOfDay / 60))}:${two(minuteOfDay % 60)}`;
}

/** Whether a minute (0..1439) of a local day (epoch day) is one to record in. */
export function isScheduledMinute(day: number, minuteOfDay: number, schedule: Schedule): boolean {
  return isWithin(hoursOf(day, schedule), minuteOfDay) ||
    isWithin(hoursOf(day - 1, schedule), minuteOfDay + DAY_MINUTES);
}

/**
 * Whether an instant (Unix ms) is one to record in.
 * @param timeZone an IANA name such as "Europe/Berlin"
 * @throws RangeError if the zone is unknown or the instant not a date
 */
export function isInSchedule(unixMs: number, schedule: Schedule, timeZone: string): boolean {
  const { day, millisecond } = localTime(wallClock(unixMs, timeZone));
  return isScheduledMinute(day, Math.floor(millisecond / MINUTE_MS), schedule);
}

/**
 * The next instant (Unix ms, strictly after `unixMs`) at which `isInSchedule` changes its answer, or
 * null when it never does.
 * @param timeZone an IANA name such as "Europe/Berlin"
 * @throws RangeError if the zone is unknown or the instant not a date
 */
export function nextChange(unixMs: number, schedule: Schedule, timeZone: string): number | null {
  const inNow = isInSchedule(unixMs, schedule, timeZone);
  let fromMs = Math.floor(unixMs);
  // Between two changes of its offset a zone's wall clock runs evenly, so the edge is a subtraction
  // away. An offset change before it moves the wall clock: perhaps over the edge, else look again.
  while (true) {
    const wall = wallClock(fromMs, timeZone);
    const local = localTime(wall);
    const edgeMs = nextEdge(local, inNow, schedule);
    const candidateMs = edgeMs === null ? Infinity : fromMs + edgeMs;
    const offsetChange = wall.getTimeZoneTransition("next");
    if (offsetChange === null || candidateMs < offsetChange.epochMilliseconds) {
      return edgeMs === null ? null : candidateMs;
    }
    // A clock that is set back shows at most a day again, so after the last date it shows no edge.
    if (edgeMs === null && local.day > lastDate(schedule) + 2) return null;
    fromMs = offsetChange.epochMilliseconds;
    if (isInSchedule(fromMs, schedule, timeZone) !== inNow) return fromMs;
  }
}

/** How far from the end of the schedule the last chunk of a day may end. */
const END_MS = 2_000;

/**
 * Whether sound that ended at this instant (Unix ms) ended because the schedule did.
 * @param timeZone an IANA name such as "Europe/Berlin"
 * @throws RangeError if the zone is unknown or the instant not a date
 */
export function endsWithSchedule(endMs: number, schedule: Schedule, timeZone: string): boolean {
  const [before, after] = [endMs - END_MS, endMs + END_MS];
  return isInSchedule(before, schedule, timeZone) && !isInSchedule(after, schedule, timeZone);
}

/**
 * The stretches between two instants (Unix ms) in which the schedule is on, in order.
 * @param timeZone an IANA name such as "Europe/Berlin"
 * @throws RangeError if the zone is unknown or an instant not a date
 */
export function scheduledBetween(
  fromMs: number,
  toMs: number,
  schedule: Schedule,
  timeZone: string,
): { readonly startMs: number; readonly endMs: number }[] {
  const stretches: { startMs: number; endMs: number }[] = [];
  for (let startMs = fromMs; startMs < toMs;) {
    const endMs = Math.min(toMs, nextChange(startMs, schedule, timeZone) ?? toMs);
    if (isInSchedule(startMs, schedule, timeZone)) stretches.push({ startMs, endMs });
    startMs = endMs;
  }
  return stretches;
}

/** The hours that begin on a day. */
function hoursOf(day: number, schedule: Schedule): readonly Hours[] {
  if ("week" in schedule) {
    return schedule.dates.get(day) ?? schedule.week[weekdayOf(day)] ?? [];
  }
  const { startMinute, endMinute } = schedule;
  return [{ startMinute, endMinute: endMinute + (endMinute > startMinute ? 0 : DAY_MINUTES) }];
}

/** 0 is Monday, of an epoch day. */
function weekdayOf(day: number): number {
  return ((day + 3) % 7 + 7) % 7;
}

function isWithin(hours: readonly Hours[], minute: number): boolean {
  return hours.some(({ startMinute, endMinute }) => startMinute <= minute && minute < endMinute);
}

/** On a wall clock that runs evenly: the time until it shows another answer than `inNow`, ms. */
function nextEdge(from: LocalTime, inNow: boolean, schedule: Schedule): number | null {
  for (const day of daysToLookAt(from.day, schedule)) {
    const edges = [day - 1, day].flatMap((begun) =>
      hoursOf(begun, schedule).flatMap(({ startMinute, endMinute }) =>
        [startMinute, endMinute].map((minute) => minute + (begun - day) * DAY_MINUTES)
      )
    );
    for (const minute of edges.sort((a, b) => a - b)) {
      if (minute < 0 || minute >= DAY_MINUTES) continue;
      const leftMs = (day - from.day) * DAY_MS + minute * MINUTE_MS - from.millisecond;
      if (leftMs > 0 && isScheduledMinute(day, minute, schedule) !== inNow) return leftMs;
    }
  }
  return null;
}

/** The days after which everything repeats itself: a week from today, and from each date. */
function* daysToLookAt(from: number, schedule: Schedule): Generator<number> {
  const dates = "week" in schedule ? [...schedule.dates.keys()].sort((a, b) => a - b) : [];
  let next = from;
  for (const first of [from, ...dates]) {
    for (next = Math.max(next, first); next < first + 9; next++) yield next;
  }
}

/** The last day with hours of its own. */
function lastDate(schedule: Schedule): number {
  return "week" in schedule ? Math.max(-Infinity, ...schedule.dates.keys()) : -Infinity;
}

/** What a wall clock shows. */
interface LocalTime {
  /** Epoch day of its date. */
  readonly day: number;
  /** Of the day, as the clock shows it. */
  readonly millisecond: number;
}

function localTime(wall: Temporal.ZonedDateTime): LocalTime {
  const localMs = wall.epochMilliseconds + Math.floor(wall.offsetNanoseconds / 1e6);
  const day = Math.floor(localMs / DAY_MS);
  return { day, millisecond: localMs - day * DAY_MS };
}

function wallClock(unixMs: number, timeZone: string): Temporal.ZonedDateTime {
  return Temporal.Instant.fromEpochMilliseconds(Math.floor(unixMs)).toZonedDateTimeISO(timeZone);
}
