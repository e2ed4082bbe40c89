// Reads a schedule by weekday and date from text, and writes it.
//
//   schedule  = part { ";" part }
//   part      = days hours                        mon-fri 08:00-12:00, 13:00-22:00
//   days      = day [ "-" day ] { "," … }         weekdays, or dates of the form 2026-12-31
//   hours     = "off" | interval { "," … }        the end may be 24:00; before the start: over midnight
//
// Parts that name the same weekday add up. Pure.

import { type Kind, quote, Refusal } from "./config_values.ts";
import {
  DAY_MINUTES,
  formatMinute,
  type Hours,
  parseMinute,
  type Schedule,
  type WeeklySchedule,
} from "./schedule.ts";

const EXAMPLE = "mon-fri 08:00-22:00; sat 09:00-20:00; sun off; 2026-12-31 08:00-18:00";

export const SCHEDULE: Kind<WeeklySchedule> = {
  accepted: {
    en: `hours by weekday and by date, such as ${EXAMPLE}`,
    ru: `часы по дням недели и датам, например ${EXAMPLE}`,
  },
  read: (value) =>
    typeof value === "string"
      ? parseSchedule(value)
      : new Refusal("is not text (put it in quotes)"),
};

const WEEKDAYS = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];
const DAY_MS = 86_400_000;
/** A range of dates is a holiday; one that is longer has a wrong year. */
const MOST_DAYS = 366;

/** One part of the text. */
interface Part {
  readonly text: string;
  readonly hours: readonly Hours[];
}

/** The schedule, or what is wrong with the text: the first part that cannot be read. */
export function parseSchedule(text: string): WeeklySchedule | Refusal {
  const week: Part[][] = WEEKDAYS.map(() => []);
  const dates = new Map<number, Part[]>();
  for (const written of text.split(";")) {
    const part = written.replaceAll(/[‐-―−]/g, "-").replaceAll(/\s+/g, " ").trim().toLowerCase();
    if (part === "") continue;
    const [, daysText = "", hoursText = ""] = /^(.*?[a-z\d]) ?(?=off$|\d?\d:)(.*)$/.exec(part) ??
      [];
    const where = `in ${quote(part)}`;
    const missing = missingIn(part, daysText);
    if (missing !== null) return new Refusal(`has no ${missing} ${where}`);
    const hours = parseHours(hoursText);
    if (typeof hours === "string") return new Refusal(`has ${hours} ${where}`);
    const days = parseDays(daysText);
    if (typeof days === "string") return new Refusal(`has ${days} ${where}`);
    for (const day of days.weekdays) week[day]?.push({ text: part, hours });
    for (const date of days.dates) {
      dates.set(date, [...dates.get(date) ?? [], { text: part, hours }]);
    }
  }
  if (week.every((parts) => parts.length === 0)) {
    const whole = dates.size === 0 ? "names no day" : "has dates only";
    return new Refusal(`${whole}: name the weekdays too, as mon-sun 08:00-22:00 or mon-sun off`);
  }
  return {
    week: week.map(hoursOf),
    dates: new Map([...dates].map(([date, parts]) => [date, hoursOf(parts)])),
    overlaps: overlapsOf(week, dates),
  };
}

/** As `parseSchedule` reads it; the same hours every day in words. */
export function formatSchedule(schedule: Schedule): string {
  if (!("week" in schedule)) {
    const { startMinute, endMinute } = schedule;
    return startMinute === endMinute
      ? "all day, every day"
      : `every day ${formatMinute(startMinute)}-${formatMinute(endMinute)}`;
  }
  const parts: { first: number; last: number; hours: string }[] = [];
  schedule.week.forEach((hours, day) => {
    const before = parts.at(-1);
    const text = formatHours(hours);
    if (before?.hours === text) before.last = day;
    else parts.push({ first: day, last: day, hours: text });
  });
  const days = parts.map(({ first, last, hours }) =>
    `${WEEKDAYS[first]}${first === last ? "" : `-${WEEKDAYS[last]}`} ${hours}`
  );
  const dates = [...schedule.dates].sort(([a], [b]) => a - b);
  return [...days, ...dates.map(([date, hours]) => `${dateOf(date)} ${formatHours(hours)}`)]
    .join("; ");
}

function formatHours(hours: readonly Hours[]): string {
  if (hours.length === 0) return "off";
  return hours.map(({ startMinute, endMinute }) => {
    const end = endMinute === DAY_MINUTES ? "24:00" : formatMinute(endMinute % DAY_MINUTES);
    return `${formatMinute(startMinute)}-${end}`;
  }).join(", ");
}

function missingIn(part: string, days: string): string | null {
  if (/^(off$|\d?\d:)/.test(part)) return "day before the hours";
  return days === "" ? "hours such as 08:00-22:00 or off" : null;
}

/** Or what is wrong. */
function parseHours(text: string): Hours[] | string {
  if (text === "off") return [];
  const hours: Hours[] = [];
  for (const interval of text.split(",").map((interval) => interval.trim())) {
    const ends = interval.split("-").map((end) => end.trim());
    const [start, end] = ends.map((time) => time === "24:00" ? DAY_MINUTES : parseMinute(time));
    const wrong = ends.find((time) => time !== "24:00" && parseMinute(time) === null);
    if (ends.length === 2 && wrong !== undefined) return `${quote(wrong)}, which is not a time,`;
    if (ends.length !== 2 || typeof start !== "number" || typeof end !== "number") {
      return `${quote(interval)}, which is not START-END,`;
    }
    if (start === DAY_MINUTES) return "24:00 as a start";
    hours.push({ startMinute: start, endMinute: end > start ? end : end + DAY_MINUTES });
  }
  return hours;
}

/** Or what is wrong. */
function parseDays(text: string): { weekdays: number[]; dates: number[] } | string {
  const [weekdays, dates] = [new Set<number>(), new Set<number>()];
  for (const range of text.split(",").map((range) => range.trim())) {
    const [, first = "", last = first] =
      /^([a-z]+|\d{4}-\d\d?-\d\d?)(?: ?- ?([a-z]+|\d{4}-\d\d?-\d\d?))?$/.exec(range) ?? [];
    const [from, to] = [WEEKDAYS.indexOf(first), WEEKDAYS.indexOf(last)];
    if (from >= 0 && to >= 0) {
      for (let day = from;; day = (day + 1) % 7) {
        weekdays.add(day);
        if (day === to) break;
      }
      continue;
    }
    const [firstDate, lastDate] = [parseDate(first), parseDate(last)];
    if (firstDate === null || lastDate === null) {
      const wrong = [first, last].find((day) => parseDate(day) === null && !WEEKDAYS.includes(day));
      const what = quote(wrong || range);
      return `${what}, which is neither ${WEEKDAYS.join(", ")} nor a date like 2026-12-31,`;
    }
    if (lastDate < firstDate || lastDate - firstDate >= MOST_DAYS) {
      return `${quote(range)}, which is not 1 to ${MOST_DAYS} days,`;
    }
    for (let date = firstDate; date <= lastDate; date++) dates.add(date);
  }
  return { weekdays: [...weekdays], dates: [...dates] };
}

/** Epoch day of a date that exists. */
function parseDate(text: string): number | null {
  const [, year, month, day] = /^(\d{4})-(\d\d)-(\d\d)$/.exec(text) ?? [];
  if (year === undefined) return null;
  const date = Date.UTC(Number(year), Number(month) - 1, Number(day)) / DAY_MS;
  return dateOf(date) === text ? date : null;
}

function dateOf(date: number): string {
  return new Date(date * DAY_MS).toISOString().slice(0, 10);
}

/** All hours of a day, in order. */
function hoursOf(parts: readonly Part[]): Hours[] {
  return parts.flatMap(({ hours }) => hours).toSorted((a, b) => a.startMinute - b.startMinute);
}

/** Weekdays are compared with weekdays, dates with dates: dates are exceptions. */
function overlapsOf(
  week: readonly (readonly Part[])[],
  dates: ReadonlyMap<number, readonly Part[]>,
): string[] {
  const found = new Map<string, string>();
  const compare = (name: string, day: readonly Part[], dayBefore: readonly Part[]) => {
    const spilled = dayBefore.map(({ text, hours }) => ({
      text,
      hours: hours.map(({ startMinute, endMinute }) => ({
        startMinute: startMinute - DAY_MINUTES,
        endMinute: endMinute - DAY_MINUTES,
      })),
      isSpilled: true,
    }));
    const parts = [...spilled, ...day.map((part) => ({ ...part, isSpilled: false }))];
    parts.forEach((one, i) => {
      for (const other of parts.slice(i + 1)) {
        const common = commonOf(one.hours, other.hours);
        const contradicts = !one.isSpilled && !other.isSpilled && one.text !== other.text &&
          (one.hours.length === 0) !== (other.hours.length === 0);
        const key = `${one.text}\n${other.text}`;
        if (common === null && !contradicts || found.has(key)) continue;
        const what = `${quote(one.text)} and ${quote(other.text)}`;
        found.set(
          key,
          common === null
            ? `${what} contradict each other on ${name}`
            : `${what} overlap on ${name} ${formatHours([common])}`,
        );
      }
      const twice = one.isSpilled ? null : ownOverlap(one.hours);
      if (twice !== null) {
        found.set(one.text, `${quote(one.text)} has ${formatHours([twice])} twice`);
      }
    });
  };
  week.forEach((parts, day) => compare(WEEKDAYS[day] ?? "", parts, week[(day + 6) % 7] ?? []));
  for (const [date, parts] of dates) compare(dateOf(date), parts, dates.get(date - 1) ?? []);
  return [...found.values()];
}

function ownOverlap(hours: readonly Hours[]): Hours | null {
  for (const [i, one] of hours.entries()) {
    const common = commonOf([one], hours.slice(i + 1));
    if (common !== null) return common;
  }
  return null;
}

/** The first stretch that is in both, within the day. */
function commonOf(some: readonly Hours[], others: readonly Hours[]): Hours | null {
  for (const one of some) {
    for (const other of others) {
      const startMinute = Math.max(one.startMinute, other.startMinute);
      const endMinute = Math.min(one.endMinute, other.endMinute);
      if (startMinute < endMinute && startMinute >= 0) return { startMinute, endMinute };
    }
  }
  return null;
}
