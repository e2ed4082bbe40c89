import { assert, assertEquals, assertMatch } from "@std/assert";
import { Refusal } from "../../src/config/config_values.ts";
import {
  isInSchedule,
  nextChange,
  scheduledBetween,
  type WeeklySchedule,
} from "../../src/config/schedule.ts";
import { formatSchedule, parseSchedule } from "../../src/config/schedule_text.ts";
import { seededRandom } from "../fixtures/random.ts";

const EXAMPLE = "mon-fri 08:00-22:00; sat 09:00-20:00; sun off; 2026-12-31 08:00-18:00";
const ZONE = "Europe/Berlin";
const MINUTE_MS = 60_000;
const DAY_MS = 86_400_000;
const DAYS = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"];

Deno.test("a schedule has hours by weekday, and a date wins over its weekday", () => {
  const schedule = scheduleOf(EXAMPLE);
  // 2026-12-28 is a Monday, so the 31st is a Thursday.
  assertEquals(recorded(schedule, "2026-12-28", "2027-01-04"), [
    "Mon 08:00-22:00",
    "Tue 08:00-22:00",
    "Wed 08:00-22:00",
    "Thu 08:00-18:00",
    "Fri 08:00-22:00",
    "Sat 09:00-20:00",
  ]);
  assertEquals(schedule.overlaps, []);
});

Deno.test("hours that cross midnight belong to the day on which they begin, dates included", () => {
  const schedule = scheduleOf("mon-thu, sun 10:00-20:00; fri-sat 22:00-02:00; 2026-12-26 off");
  assertEquals(recorded(schedule, "2026-12-24", "2026-12-29"), [
    "Thu 10:00-20:00",
    "Fri 22:00-Sat 02:00",
    "Sun 10:00-20:00",
    "Mon 10:00-20:00",
  ]);
  const eve = scheduleOf("mon-sun 08:00-12:00; 2026-12-31 20:00-03:00");
  assertEquals(recorded(eve, "2026-12-31", "2027-01-02"), [
    "Thu 20:00-Fri 03:00",
    "Fri 08:00-12:00",
  ]);
});

Deno.test("an end that equals its start is 24 hours later", () => {
  const schedule = scheduleOf("mon 09:00-09:00; thu 00:00-00:00");
  assertEquals(recorded(schedule, "2026-06-15", "2026-06-22"), [
    "Mon 09:00-Tue 09:00",
    "Thu 00:00-Fri 00:00",
  ]);
});

Deno.test("a day may have several intervals, and 24:00 ends it", () => {
  const schedule = scheduleOf("mon-sun 00:00-04:30, 08:00-12:00,13:00-24:00; tue 12:15-12:30");
  assertEquals(recorded(schedule, "2026-06-15", "2026-06-17"), [
    "Mon 00:00-04:30",
    "Mon 08:00-12:00",
    "Mon 13:00-Tue 04:30",
    "Tue 08:00-12:00",
    "Tue 12:15-12:30",
    "Tue 13:00-Wed 00:00",
  ]);
  assertEquals(schedule.overlaps, []);
});

Deno.test("a schedule is read as a person writes it", () => {
  const same = scheduleOf("mon-fri 08:00-22:00; sat 09:00-20:00");
  for (
    const text of [
      "Mon-Fri 8:00-22:00;Sat 9:00-20:00;Sun off;",
      " mon – fri 08:00 – 22:00 ;\n sat 09:00—20:00 ",
      "mon,tue,wed,thu,fri 08:00-22:00; sat 09:00-20:00",
      "sun-sun off; mon, tue-fri 08:00-22:00; sat 09:00-20:00",
    ]
  ) assertEquals(scheduleOf(text), same, text);
  assertEquals(
    scheduleOf("fri-mon 08:00-09:00"),
    scheduleOf("fri,sat,sun,mon 08:00-09:00"),
    "a range may go over the end of the week",
  );
  assertEquals(
    scheduleOf("mon off; 2026-12-30-2027-01-02 off"),
    scheduleOf("mon off; 2026-12-30, 2026-12-31, 2027-01-01, 2027-01-02 off"),
  );
});

Deno.test("what is wrong with a schedule is named with its place and with what would be right", () => {
  const wrong = {
    "mon-fri 8-22": 'has no hours such as 08:00-22:00 or off in "mon-fri 8-22"',
    "mon 08:00-22:00; tue": 'has no hours such as 08:00-22:00 or off in "tue"',
    "08:00-22:00": 'has no day before the hours in "08:00-22:00"',
    "off": 'has no day before the hours in "off"',
    "mon 08:00-25:00": 'has "25:00", which is not a time, in "mon 08:00-25:00"',
    "mon 24:00-25:00": 'has "25:00", which is not a time, in "mon 24:00-25:00"',
    "mon 24:00-02:00": 'has 24:00 as a start in "mon 24:00-02:00"',
    "mon 08:00": 'has "08:00", which is not START-END, in "mon 08:00"',
    "mon 08:00-12:00 13:00-14:00":
      'has "08:00-12:00 13:00-14:00", which is not START-END, in "mon 08:00-12:00 13:00-14:00"',
    "mon 08:00-12:00,": 'has "", which is not START-END, in "mon 08:00-12:00,"',
    "mnday 08:00-12:00": 'has "mnday", which is neither mon, tue, wed, thu, fri, sat, sun nor a ' +
      'date like 2026-12-31, in "mnday 08:00-12:00"',
    "mon off; 2026-02-30 off": 'has "2026-02-30", which is neither mon, tue, wed, thu, fri, sat, ' +
      'sun nor a date like 2026-12-31, in "2026-02-30 off"',
    "mon off; 31.12.2026 off": 'has "31.12.2026", which is neither mon, tue, wed, thu, fri, sat, ' +
      'sun nor a date like 2026-12-31, in "31.12.2026 off"',
    "mon off; mon-2026-12-31 off": 'has "mon-2026-12-31", which',
    "mon off; 2026-12-31-2026-12-30 off": 'has "2026-12-31-2026-12-30", which is not 1 to 366 days',
    "mon off; 2026-12-31-2062-12-31 off": 'has "2026-12-31-2062-12-31", which is not 1 to 366 days',
    "2026-12-31 08:00-18:00": "has dates only: name the weekdays too, as mon-sun 08:00-22:00",
    "": "names no day: name the weekdays",
    ";;": "names no day: name the weekdays",
  };
  for (const [text, reason] of Object.entries(wrong)) {
    const refusal = parseSchedule(text);
    assert(refusal instanceof Refusal, text);
    assert(refusal.reason.startsWith(reason), `${text}: ${refusal.reason}`);
  }
});

Deno.test("parts that overlap or contradict each other are named, and all of their hours count", () => {
  const named = {
    "mon-fri 08:00-12:00; wed 11:00-13:00":
      '"mon-fri 08:00-12:00" and "wed 11:00-13:00" overlap on wed 11:00-12:00',
    "fri 22:00-10:00; sat 09:00-20:00":
      '"fri 22:00-10:00" and "sat 09:00-20:00" overlap on sat 09:00-10:00',
    "sun 22:00-10:00; mon 09:00-20:00":
      '"sun 22:00-10:00" and "mon 09:00-20:00" overlap on mon 09:00-10:00',
    "sun 08:00-12:00; sun 11:00-13:00":
      '"sun 08:00-12:00" and "sun 11:00-13:00" overlap on sun 11:00-12:00',
    "mon 08:00-12:00, 11:30-14:00": '"mon 08:00-12:00, 11:30-14:00" has 11:30-12:00 twice',
    "mon-sun 20:00-10:00, 09:00-11:00":
      '"mon-sun 20:00-10:00, 09:00-11:00" and "mon-sun 20:00-10:00, 09:00-11:00" overlap on mon ' +
      "09:00-10:00",
    "sat-sun 09:00-20:00; sun off":
      '"sat-sun 09:00-20:00" and "sun off" contradict each other on sun',
    "mon off; 2026-12-30 08:00-12:00; 2026-12-29-2026-12-31 off":
      '"2026-12-30 08:00-12:00" and "2026-12-29-2026-12-31 off" contradict each other on 2026-12-30',
    "mon off; 2026-12-30 22:00-12:00; 2026-12-31 08:00-09:00":
      '"2026-12-30 22:00-12:00" and "2026-12-31 08:00-09:00" overlap on 2026-12-31 08:00-09:00',
  };
  for (const [text, overlap] of Object.entries(named)) {
    assertEquals(scheduleOf(text).overlaps, [overlap], text);
  }
  const both = scheduleOf("mon 08:00-12:00; mon 11:00-13:00; sat-sun 09:00-20:00; sun off");
  assertEquals(recorded(both, "2026-06-15", "2026-06-22"), [
    "Mon 08:00-13:00",
    "Sat 09:00-20:00",
    "Sun 09:00-20:00",
  ]);
});

Deno.test("a date that meets the hours of the night before does not overlap with it", () => {
  assertEquals(scheduleOf("fri 22:00-02:00; 2026-12-26 01:00-03:00").overlaps, []);
});

Deno.test("the next change is found behind weeks without one, and null if there is none", () => {
  const once = scheduleOf("mon-sun off; 2031-05-05 12:00-13:00");
  assertEquals(changes(once, "2026-01-01T00:00", 3), [
    "2031-05-05T12:00",
    "2031-05-05T13:00",
    null,
  ]);
  const closed = scheduleOf("mon-sun 00:00-24:00; 2031-05-05-2031-05-06 off; 2032-01-01 off");
  assertEquals(changes(closed, "2026-01-01T00:00", 5), [
    ...["2031-05-05T00:00", "2031-05-07T00:00", "2032-01-01T00:00", "2032-01-02T00:00"],
    null,
  ]);
  assertEquals(changes(scheduleOf("mon-sun 00:00-24:00"), "2026-01-01T00:00", 1), [null]);
  assertEquals(changes(scheduleOf("mon-sun 09:00-09:00"), "2026-01-01T00:00", 1), [null]);
  assertEquals(changes(scheduleOf("mon-sun off"), "2026-01-01T00:00", 1), [null]);
  const weekly = scheduleOf("mon 08:00-09:00");
  assertEquals(changes(weekly, "2026-06-15T08:30", 2), ["2026-06-15T09:00", "2026-06-22T08:00"]);
  const holidays = scheduleOf("mon 08:00-09:00; 2026-06-01-2026-09-27 off");
  assertEquals(changes(holidays, "2026-05-26T00:00", 1), ["2026-09-28T08:00"]);
});

Deno.test("an hour of a date that the clock shows twice is found again", () => {
  const schedule = scheduleOf("mon-sun off; 2026-10-25 02:10-02:50");
  const zoned = (text: string) => Temporal.ZonedDateTime.from(text).epochMilliseconds;
  const [first, second] = ["+02:00", "+01:00"].map((offset) =>
    ["02:10", "02:50"].map((time) => zoned(`2026-10-25T${time}:00${offset}[${ZONE}]`))
  );
  let at: number | null = zoned(`2026-10-01T00:00:00+02:00[${ZONE}]`);
  for (const expected of [...first ?? [], ...second ?? [], null]) {
    at = nextChange(at ?? NaN, schedule, ZONE);
    assertEquals(at, expected);
  }
});

Deno.test("formatSchedule() writes what parseSchedule() reads", () => {
  assertEquals(formatSchedule(scheduleOf(EXAMPLE)), EXAMPLE);
  assertEquals(formatSchedule({ startMinute: 480, endMinute: 1320 }), "every day 08:00-22:00");
  assertEquals(formatSchedule({ startMinute: 480, endMinute: 480 }), "all day, every day");
  const random = seededRandom(7);
  for (let round = 0; round < 100; round++) {
    const { text } = randomSchedule(random, "2026-03-28");
    const schedule = scheduleOf(text);
    const again = scheduleOf(formatSchedule(schedule));
    assertEquals(again.week, schedule.week, text);
    assertEquals(sorted(again.dates), sorted(schedule.dates), text);
  }
});

Deno.test("isInSchedule() and nextChange() agree with a minute-by-minute reading of random schedules", () => {
  const random = seededRandom(3);
  const places = [
    ["Europe/Berlin", "2026-03-26"],
    ["Europe/Berlin", "2026-10-22"],
    ["America/Santiago", "2026-04-02"],
    ["America/Santiago", "2026-09-03"],
    ["Australia/Lord_Howe", "2026-10-01"],
    ["Pacific/Apia", "2011-12-27"],
    ["Asia/Kolkata", "2026-12-28"],
  ] as const;
  for (const [zone, firstDay] of places) {
    const fromMs = Date.parse(`${firstDay}T00:00Z`);
    const wall = wallClocks(fromMs, 7 * 1440, zone);
    for (let round = 0; round < 5; round++) {
      const { text, hours } = randomSchedule(random, firstDay);
      const schedule = scheduleOf(text);
      // The oracle looks up each minute in the parts, as they are written.
      const known = new Map<string, { today: Minutes[]; yesterday: Minutes[] }>();
      const isIn = wall.map(({ date, minute }) => {
        const day = known.get(date) ?? { today: hours(date), yesterday: hours(dayBefore(date)) };
        known.set(date, day);
        return day.today.some(([start, end]) => start <= minute && minute < end) ||
          day.yesterday.some(([start, end]) => start <= minute + 1440 && minute + 1440 < end);
      });
      for (let probe = 0; probe < 10; probe++) {
        const index = Math.floor(random() * 2 * 1440);
        const unixMs = fromMs + index * MINUTE_MS + Math.floor(random() * MINUTE_MS);
        const what = `${zone} ${new Date(unixMs).toISOString()} ${text}`;
        assertEquals(isInSchedule(unixMs, schedule, zone), isIn[index], what);
        const flip = isIn.findIndex((value, i) => i > index && value !== isIn[index]);
        const next = nextChange(unixMs, schedule, zone);
        if (flip === -1) assert(next === null || next >= fromMs + 7 * DAY_MS, what);
        else assertEquals(next, fromMs + flip * MINUTE_MS, what);
      }
    }
  }
});

function scheduleOf(text: string): WeeklySchedule {
  const schedule = parseSchedule(text);
  if (schedule instanceof Refusal) throw new Error(`${text} ${schedule.reason}`);
  return schedule;
}

/** The stretches between two days, as "Mon 08:00-22:00". */
function recorded(schedule: WeeklySchedule, from: string, to: string): string[] {
  const unixMs = (day: string) => Temporal.PlainDate.from(day).toZonedDateTime(ZONE);
  const say = (ms: number) => Temporal.Instant.fromEpochMilliseconds(ms).toZonedDateTimeISO(ZONE);
  const dayOf = (ms: number) => say(ms).toLocaleString("en-GB", { weekday: "short" });
  const timeOf = (ms: number) => say(ms).toPlainTime().toString({ smallestUnit: "minute" });
  return scheduledBetween(
    unixMs(from).epochMilliseconds,
    unixMs(to).epochMilliseconds,
    schedule,
    ZONE,
  ).map(({ startMs, endMs }) => {
    const end = dayOf(startMs) === dayOf(endMs) ? "" : `${dayOf(endMs)} `;
    return `${dayOf(startMs)} ${timeOf(startMs)}-${end}${timeOf(endMs)}`;
  });
}

function changes(schedule: WeeklySchedule, from: string, count: number): (string | null)[] {
  const found: (string | null)[] = [];
  let at: number | null = Temporal.PlainDateTime.from(from).toZonedDateTime(ZONE).epochMilliseconds;
  while (at !== null && found.length < count) {
    at = nextChange(at, schedule, ZONE);
    found.push(
      at === null ? null : Temporal.Instant.fromEpochMilliseconds(at).toZonedDateTimeISO(ZONE)
        .toPlainDateTime().toString({ smallestUnit: "minute" }),
    );
  }
  return found;
}

function wallClocks(fromMs: number, count: number, timeZone: string) {
  const format = new Intl.DateTimeFormat("en-CA", {
    timeZone,
    dateStyle: "short",
    timeStyle: "short",
    hourCycle: "h23",
  });
  return Array.from({ length: count }, (_, i) => {
    const text = format.format(fromMs + i * MINUTE_MS);
    const [, date = "", hour, minute] = /^([\d-]+), (\d+):(\d+)$/.exec(text) ?? [];
    return { date, minute: Number(hour) * 60 + Number(minute) };
  });
}

function dayBefore(date: string): string {
  return new Date(Date.parse(date) - DAY_MS).toISOString().slice(0, 10);
}

function sorted(dates: WeeklySchedule["dates"]) {
  return [...dates].sort(([a], [b]) => a - b);
}

type Minutes = [start: number, end: number];

/** A text, and the hours of a date as the rules say, in minutes. */
function randomSchedule(random: () => number, firstDay: string) {
  const days = new Map<string, Minutes[]>();
  const interval = (): Minutes => {
    const start = Math.floor(random() * 1440);
    const length = 1 + Math.floor(random() * (random() < 0.5 ? 200 : 1440));
    return [start, start + length];
  };
  const names = DAYS.filter(() => random() < 0.8);
  for (const day of names.length === 0 ? ["mon"] : names) days.set(day, hoursOf());
  for (let i = 0; i < 12; i++) {
    if (random() < 0.8) continue;
    days.set(new Date(Date.parse(firstDay) + i * DAY_MS).toISOString().slice(0, 10), hoursOf());
  }
  function hoursOf() {
    return Array.from({ length: Math.floor(random() * 3) }, interval)
      .sort(([a], [b]) => a - b);
  }
  const clock = (minute: number) =>
    `${String(Math.floor(minute % 1440 / 60)).padStart(2, "0")}:${
      String(minute % 60).padStart(2, "0")
    }`;
  const text = [...days].map(([day, hours]) =>
    `${day} ${hours.map(([start, end]) => `${clock(start)}-${clock(end)}`).join(", ") || "off"}`
  ).join("; ");
  const hours = (date: string) =>
    days.get(date) ?? days.get(DAYS[new Date(date).getUTCDay()] ?? "") ?? [];
  return { text, hours };
}

Deno.test("a schedule of a thousand dates is read and asked in a moment", () => {
  const dates = Array.from(
    { length: 1000 },
    (_, i) => `${new Date(Date.UTC(2026, 0, 1 + i * 3)).toISOString().slice(0, 10)} off`,
  );
  const schedule = scheduleOf(`mon-sun 00:00-24:00; ${dates.join("; ")}`);
  assertEquals(schedule.dates.size, 1000);
  assertMatch(String(changes(schedule, "2040-01-01T00:00", 1)), /^$/);
});
