import { assert, assertEquals, assertThrows } from "@std/assert";
import {
  type DailySchedule,
  formatMinute,
  isInSchedule,
  isScheduledMinute,
  nextChange,
  parseMinute,
  type Schedule,
  scheduledBetween,
} from "../../src/config/schedule.ts";

const MINUTE_MS = 60_000;
const HOUR_MS = 60 * MINUTE_MS;
const DAY_MS = 24 * HOUR_MS;
const MINUTES = 1440;

Deno.test("parseMinute() reads what formatMinute() writes, for every minute of the day", () => {
  for (let minute = 0; minute < MINUTES; minute++) {
    assertEquals(parseMinute(formatMinute(minute)), minute);
  }
  assertEquals(formatMinute(0), "00:00");
  assertEquals(formatMinute(1439), "23:59");
});

Deno.test("parseMinute() accepts an hour without leading zero, and refuses text that is not a time", () => {
  assertEquals(parseMinute("8:05"), 485);
  const wrong = ["24:00", "25:00", "12:60", "8", "8:5", "1:20:30", "-1:00", "", " 8:00", "08:00\n"];
  for (const text of wrong) assertEquals(parseMinute(text), null, text);
});

Deno.test("isScheduledMinute() is correct at the edges of 1440 × 96 pairs, on any day", () => {
  let wrong = 0;
  for (let startMinute = 0; startMinute < MINUTES; startMinute++) {
    for (let endMinute = startMinute % 15; endMinute < MINUTES; endMinute += 15) {
      const schedule = { startMinute, endMinute };
      const length = (endMinute - startMinute + MINUTES) % MINUTES || MINUTES;
      const probes = [0, 1, length - 1, length, length + 1, MINUTES - 1, (length * 7919) % MINUTES];
      for (const sinceStart of probes) {
        const expected = sinceStart % MINUTES < length;
        const minute = (startMinute + sinceStart) % MINUTES;
        if (isScheduledMinute(startMinute - 700, minute, schedule) !== expected) wrong++;
      }
    }
  }
  assertEquals(wrong, 0);
});

Deno.test("the edges are exact to the millisecond", () => {
  const schedule = scheduleOf("08:00", "22:00");
  const start = at("2024-05-15T08:00", "Europe/Berlin");
  const end = at("2024-05-15T22:00", "Europe/Berlin");
  const isIn = (unixMs: number) => isInSchedule(unixMs, schedule, "Europe/Berlin");
  const next = (unixMs: number) => nextChange(unixMs, schedule, "Europe/Berlin");
  assertEquals([isIn(start - 1), isIn(start), isIn(end - 1), isIn(end)], [
    false,
    true,
    true,
    false,
  ]);
  assertEquals(next(start - 1), start);
  assertEquals(next(start), end);
  assertEquals(next(end - 1), end);
  assertEquals(next(end), start + DAY_MS);
  assertEquals(next(start - 0.5), start, "an instant between two milliseconds");
  assertEquals(isIn(start - 0.5), false);
});

Deno.test("a schedule with its start after its end crosses midnight", () => {
  const schedule = scheduleOf("22:00", "06:00");
  const zone = "Asia/Kolkata";
  assert(isInSchedule(at("2024-05-15T23:59", zone), schedule, zone));
  assert(isInSchedule(at("2024-05-16T00:00", zone), schedule, zone));
  assert(!isInSchedule(at("2024-05-16T06:00", zone), schedule, zone));
  assertEquals(
    nextChange(at("2024-05-15T23:59", zone), schedule, zone),
    at("2024-05-16T06:00", zone),
  );
});

Deno.test("a schedule with equal start and end lasts all day and never changes", () => {
  for (const time of ["00:00", "12:34"]) {
    const schedule = scheduleOf(time, time);
    for (let hour = 0; hour < 48; hour++) {
      const unixMs = at("2024-03-30T00:00", "Europe/Berlin") + hour * HOUR_MS;
      assert(isInSchedule(unixMs, schedule, "Europe/Berlin"));
      assertEquals(nextChange(unixMs, schedule, "Europe/Berlin"), null);
    }
  }
});

// The wall clock in Berlin jumps from 02:00 to 03:00 at this instant.
const GAP = Date.parse("2024-03-31T01:00Z");
// It jumps from 03:00 back to 02:00 at this instant.
const OVERLAP = Date.parse("2024-10-27T01:00Z");

Deno.test("a start that the clock skips moves to the first instant after the gap", () => {
  const schedule = scheduleOf("02:30", "05:00");
  assert(!isInSchedule(GAP - 1, schedule, "Europe/Berlin"));
  assert(isInSchedule(GAP, schedule, "Europe/Berlin"));
  assertEquals(nextChange(GAP - HOUR_MS, schedule, "Europe/Berlin"), GAP);
  assertEquals(nextChange(GAP, schedule, "Europe/Berlin"), GAP + 2 * HOUR_MS);
});

Deno.test("an end that the clock skips moves to the first instant after the gap", () => {
  const schedule = scheduleOf("01:00", "02:30");
  assertEquals(nextChange(GAP - HOUR_MS, schedule, "Europe/Berlin"), GAP);
  assert(!isInSchedule(GAP, schedule, "Europe/Berlin"));
});

Deno.test("a schedule inside the gap is omitted that day", () => {
  const schedule = scheduleOf("02:10", "02:50");
  assertEquals(
    nextChange(GAP - HOUR_MS, schedule, "Europe/Berlin"),
    at("2024-04-01T02:10", "Europe/Berlin"),
  );
});

Deno.test("a time that the clock shows twice is scheduled both times", () => {
  const inside = scheduleOf("02:10", "02:50");
  const changes = [-50, -10, 10, 50].map((minutes) => OVERLAP + minutes * MINUTE_MS);
  assertEquals(changesAfter(OVERLAP - HOUR_MS, inside, "Europe/Berlin", 4), changes);

  const across = scheduleOf("02:30", "05:00");
  assertEquals(
    changesAfter(OVERLAP - HOUR_MS, across, "Europe/Berlin", 4),
    [-30 * MINUTE_MS, 0, 30 * MINUTE_MS, 3 * HOUR_MS].map((offset) => OVERLAP + offset),
  );
  const allDayLong = scheduleOf("08:00", "22:00");
  assertEquals(
    nextChange(OVERLAP - HOUR_MS, allDayLong, "Europe/Berlin"),
    at("2024-10-27T08:00", "Europe/Berlin"),
  );
});

Deno.test("the schedule follows a clock that changes at midnight", () => {
  // Santiago has no 2024-09-08T00:00..01:00, and 2024-04-06T23:00..24:00 twice.
  const fromMidnight = scheduleOf("00:00", "06:00");
  const zone = "America/Santiago";
  assertEquals(
    nextChange(at("2024-09-07T12:00", zone), fromMidnight, zone),
    at("2024-09-08T01:00", zone),
  );
  const first = at("2024-04-07T00:00", zone) - HOUR_MS;
  assertEquals(
    changesAfter(first - 2 * HOUR_MS, scheduleOf("23:30", "00:00"), zone, 4),
    [-30 * MINUTE_MS, 0, 30 * MINUTE_MS, HOUR_MS].map((offset) => first + offset),
  );
});

Deno.test("the schedule follows a clock that changes by half an hour", () => {
  const zone = "Australia/Lord_Howe"; // 2024-10-06: 02:00 becomes 02:30
  assertEquals(
    nextChange(at("2024-10-06T01:00", zone), scheduleOf("02:15", "04:00"), zone),
    at("2024-10-06T02:30", zone),
  );
});

Deno.test("the schedule follows a zone that skips a day", () => {
  const zone = "Pacific/Apia"; // no 2011-12-30
  const schedule = scheduleOf("08:00", "22:00");
  assertEquals(changesAfter(at("2011-12-29T08:00", zone), schedule, zone, 2), [
    at("2011-12-29T22:00", zone),
    at("2011-12-31T08:00", zone),
  ]);
  assertEquals(at("2011-12-31T08:00", zone) - at("2011-12-29T22:00", zone), 10 * HOUR_MS);
});

Deno.test("isInSchedule() and nextChange() agree with a minute-by-minute check around clock changes", () => {
  const cases = [
    ["Europe/Berlin", "2024-03-31", "2024-10-27"],
    ["Europe/Moscow", "2011-03-27", "2014-10-26"],
    ["Australia/Lord_Howe", "2024-04-07", "2024-10-06"],
    ["America/Santiago", "2024-04-07", "2024-09-08"],
    ["Africa/Cairo", "2024-04-26", "2024-11-01"],
    ["Asia/Beirut", "2024-03-31", "2024-10-27"],
    ["America/New_York", "2024-03-10", "2024-11-03"],
    ["Pacific/Apia", "2011-12-30", "2012-04-01"],
    ["Asia/Kolkata", "2024-03-31"],
    ["UTC", "2024-03-31"],
  ];
  const random = seeded(2);
  for (const [zone = "", ...days] of cases) {
    for (const day of days) {
      const fromMs = Date.parse(`${day}T00:00Z`) - 1.5 * DAY_MS;
      const wall = wallMinutes(fromMs, 5 * MINUTES, zone);
      for (let round = 0; round < 20; round++) {
        const schedule = randomSchedule(random);
        const index = Math.floor(random() * 2.5 * MINUTES);
        const unixMs = fromMs + index * MINUTE_MS + Math.floor(random() * MINUTE_MS);
        const isIn = wall.map((minute) => isScheduledMinute(0, minute, schedule));
        const flip = isIn.findIndex((value, i) => i > index && value !== isIn[index]);
        const what = `${zone} ${new Date(unixMs).toISOString()} ${JSON.stringify(schedule)}`;
        assertEquals(isInSchedule(unixMs, schedule, zone), isIn[index], what);
        const expected = flip === -1 ? null : fromMs + flip * MINUTE_MS;
        assertEquals(nextChange(unixMs, schedule, zone), expected, what);
      }
    }
  }
});

Deno.test("an unknown time zone throws an error", () => {
  assertThrows(() => isInSchedule(0, scheduleOf("08:00", "22:00"), "Mars/Olympus"), RangeError);
});

function scheduleOf(start: string, end: string): Schedule {
  return { startMinute: parseMinute(start) ?? NaN, endMinute: parseMinute(end) ?? NaN };
}

/** Unix ms of a wall-clock time. */
function at(local: string, zone: string): number {
  return Temporal.PlainDateTime.from(local).toZonedDateTime(zone).epochMilliseconds;
}

function changesAfter(unixMs: number, schedule: Schedule, zone: string, count: number): number[] {
  const changes: number[] = [];
  for (let from = unixMs; changes.length < count;) {
    from = nextChange(from, schedule, zone) ?? NaN;
    changes.push(from);
  }
  return changes;
}

/** The time on the wall clock for each minute after an instant, from Intl instead of Temporal. */
function wallMinutes(fromMs: number, count: number, timeZone: string): number[] {
  const format = new Intl.DateTimeFormat("en-GB", {
    timeZone,
    hour: "2-digit",
    minute: "2-digit",
    hourCycle: "h23",
  });
  return Array.from({ length: count }, (_, i) => {
    return parseMinute(format.format(fromMs + i * MINUTE_MS)) ?? NaN;
  });
}

/** Random pairs; every third one is short, or near the hours in which clocks change. */
function randomSchedule(random: () => number): DailySchedule {
  const startMinute = Math.floor(random() * (random() < 0.4 ? 240 : MINUTES));
  const length = 1 + Math.floor(random() * (random() < 0.4 ? 90 : MINUTES - 1));
  return { startMinute, endMinute: (startMinute + length) % MINUTES };
}

/** A small seeded generator (mulberry32) of numbers from 0 to below 1. */
function seeded(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
}

Deno.test("scheduledBetween() finds the scheduled part of a stretch of days, the edges included", () => {
  const day: Schedule = { startMinute: 8 * 60, endMinute: 22 * 60 };
  const at = (text: string) => Date.parse(`2026-06-${text}Z`);
  const between = (from: string, to: string, schedule = day) =>
    scheduledBetween(at(from), at(to), schedule, "UTC").map(({ startMs, endMs }) =>
      [startMs, endMs].map((ms) => new Date(ms).toISOString().slice(8, 19)).join(" ")
    );
  assertEquals(between("15T21:59:59", "17T08:00:01"), [
    "15T21:59:59 15T22:00:00",
    "16T08:00:00 16T22:00:00",
    "17T08:00:00 17T08:00:01",
  ]);
  assertEquals(between("15T22:00:00", "16T08:00:00"), []);
  assertEquals(between("15T12:00:00", "15T12:00:03"), ["15T12:00:00 15T12:00:03"]);
  assertEquals(between("15T12:00:03", "15T12:00:00"), []);
  const always = { startMinute: 0, endMinute: 0 };
  assertEquals(between("15T12:00:00", "17T12:00:00", always), ["15T12:00:00 17T12:00:00"]);
});
