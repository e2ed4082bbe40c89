/**
 * The daily recording schedule: is it time to record, and when does that answer change. Pure
 * functions of an instant, a schedule and a time zone; never reads a clock, never waits, never
 * touches Deno.
 *
 * Recording is on exactly while the wall clock of the zone shows a time in [start, end). Everything
 * about daylight saving follows from that one sentence: where the clock jumps over the start,
 * recording begins at the first instant behind the gap; where an hour is shown twice, it counts
 * both times.
 */

/** When to record each day, in minutes of the local day. */
export interface Schedule {
  /** Minute of the local day, 0..1439, at which recording starts. */
  readonly startMinute: number;
  /** Minute of the local day, 0..1439, at which it ends. Before the start: it crosses midnight. */
  readonly endMinute: number;
}

/** The schedule of a configuration. */
export function scheduleOf(
  config: { readonly scheduleStart: number; readonly scheduleEnd: number },
): Schedule {
  return { startMinute: config.scheduleStart, endMinute: config.scheduleEnd };
}

const MINUTE_MS = 60_000;
const DAY_MS = 86_400_000;

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

/** Whether a minute of the local day (0..1439) is one to record in; all are when start = end. */
export function isScheduledMinute(minuteOfDay: number, schedule: Schedule): boolean {
  const { startMinute, endMinute } = schedule;
  if (startMinute < endMinute) return startMinute <= minuteOfDay && minuteOfDay < endMinute;
  return startMinute === endMinute || minuteOfDay >= startMinute || minuteOfDay < endMinute;
}

/**
 * Whether an instant (Unix ms) is one to record in.
 * @param timeZone an IANA name such as "Europe/Berlin"
 * @throws RangeError if the zone is unknown or the instant not a date
 */
export function isInSchedule(unixMs: number, schedule: Schedule, timeZone: string): boolean {
  return isScheduledMinute(minuteOf(wallClock(unixMs, timeZone)), schedule);
}

/**
 * The next instant (Unix ms, strictly after `unixMs`) at which `isInSchedule` changes its answer, or
 * null when it never does because start = end means all day.
 * @param timeZone an IANA name such as "Europe/Berlin"
 * @throws RangeError if the zone is unknown or the instant not a date
 */
export function nextChange(unixMs: number, schedule: Schedule, timeZone: string): number | null {
  if (schedule.startMinute === schedule.endMinute) return null;
  const inNow = isInSchedule(unixMs, schedule, timeZone);
  const edgeMs = (inNow ? schedule.endMinute : schedule.startMinute) * MINUTE_MS;
  let fromMs = Math.floor(unixMs);
  // Between two changes of its offset a zone's wall clock runs evenly, so the edge is a subtraction
  // away. An offset change before it moves the wall clock: perhaps over the edge, else look again.
  while (true) {
    const wall = wallClock(fromMs, timeZone);
    const candidateMs = fromMs + (edgeMs - millisecondOf(wall) + DAY_MS) % DAY_MS;
    const offsetChange = wall.getTimeZoneTransition("next");
    if (offsetChange === null || candidateMs < offsetChange.epochMilliseconds) return candidateMs;
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

function wallClock(unixMs: number, timeZone: string): Temporal.ZonedDateTime {
  return Temporal.Instant.fromEpochMilliseconds(Math.floor(unixMs)).toZonedDateTimeISO(timeZone);
}

function minuteOf(wall: Temporal.ZonedDateTime): number {
  return wall.hour * 60 + wall.minute;
}

function millisecondOf(wall: Temporal.ZonedDateTime): number {
  return minuteOf(wall) * MINUTE_MS + wall.second * 1000 + wall.millisecond;
}
