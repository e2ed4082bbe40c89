// The display of a day: which times count as recorded, missing, planned or outside the schedule.

import { assertEquals } from "@std/assert";
import { type DayFacts, viewDay } from "../../src/web/day_view.ts";
import { History, MINUTE_MS } from "../../src/status/history.ts";
import { SimulatedClock } from "../fixtures/simulated_clock.ts";

const TIME_ZONE = "Europe/Berlin";
const MIDNIGHT_MS = Date.UTC(2026, 10, 22, 23);
const HOUR_MS = 60 * MINUTE_MS;

/** A time of the day, as "14:30". */
function at(time: string): number {
  const [hour = 0, minute = 0, second = 0] = time.split(":").map(Number);
  return MIDNIGHT_MS + hour * HOUR_MS + minute * MINUTE_MS + second * 1000;
}

function view(
  now: string,
  recorded: readonly (readonly [from: string, to: string])[],
  facts: Partial<DayFacts> = {},
) {
  const history = new History(new SimulatedClock(at(now)), TIME_ZONE);
  for (const [from, to] of recorded) history.recorded(at(from), at(to));
  const { stretches, ...sums } = viewDay({
    day: history.today(),
    schedule: { startMinute: 8 * 60, endMinute: 22 * 60 },
    timeZone: TIME_ZONE,
    nowMs: at(now),
    settledMs: at(now),
    soundSinceMs: null,
    knownSinceMs: MIDNIGHT_MS,
    ...facts,
  });
  const time = (unixMs: number) => {
    const minutes = Math.round((unixMs - MIDNIGHT_MS) / MINUTE_MS);
    return `${Math.floor(minutes / 60)}:${String(minutes % 60).padStart(2, "0")}`;
  };
  return {
    ...sums,
    stretches: stretches.map(({ kind, startMs, endMs }) =>
      `${kind} ${time(startMs)}-${time(endMs)}`
    ),
  };
}

Deno.test("a day with a gap shows what was recorded, what is missing and what is planned", () => {
  assertEquals(view("14:30", [["8:00", "9:37"], ["9:37:42", "14:30"]]), {
    stretches: [
      "unasked 0:00-8:00",
      "recorded 8:00-9:37",
      "missing 9:37-9:38",
      "recorded 9:38-14:30",
      "planned 14:30-22:00",
      "unasked 22:00-24:00",
    ],
    recordedMs: 6.5 * HOUR_MS - 42_000,
    missingMs: 42_000,
  });
});

Deno.test("the recording in progress counts as recorded from the moment sound returned", () => {
  const facts = { settledMs: at("12:00"), soundSinceMs: at("12:00:20") };
  const { stretches, recordedMs, missingMs } = view("12:00:50", [["8:00", "12:00"]], facts);
  assertEquals(stretches[2], "missing 12:00-12:01");
  assertEquals([recordedMs, missingMs], [4 * HOUR_MS + 30_000, 20_000]);
  const fine = view("12:00:50", [["8:00", "12:00"]], { ...facts, soundSinceMs: at("8:00") });
  assertEquals([fine.stretches[1], fine.missingMs], ["recorded 8:00-12:01", 0]);
  const lost = view("12:00:50", [["8:00", "12:00"]], { settledMs: at("12:00") });
  assertEquals([lost.stretches[2], lost.missingMs], ["missing 12:00-12:01", 50_000]);
});

Deno.test("the short delay of a start counts as missing, but gets no mark", () => {
  const { stretches, missingMs } = view("9:00", [["8:00:01", "9:00"]]);
  assertEquals([stretches[1], missingMs], ["recorded 8:00-9:00", 1000]);
});

Deno.test("nothing counts as missing before the time from which records exist", () => {
  const { stretches, missingMs } = view("15:00", [["14:32:30", "15:00"]], {
    knownSinceMs: at("14:32:30"),
  });
  assertEquals(stretches.slice(0, 2), ["unasked 0:00-14:32", "recorded 14:32-15:00"]);
  assertEquals(missingMs, 0);
});

Deno.test("a schedule can cross midnight, or last all day", () => {
  const night = { schedule: { startMinute: 20 * 60, endMinute: 4 * 60 } };
  assertEquals(view("5:00", [["0:00", "3:00"]], night).stretches, [
    "recorded 0:00-3:00",
    "missing 3:00-4:00",
    "unasked 4:00-20:00",
    "planned 20:00-24:00",
  ]);
  const always = { schedule: { startMinute: 0, endMinute: 0 } };
  assertEquals(view("6:00", [["0:00", "6:00"]], always).stretches, [
    "recorded 0:00-6:00",
    "planned 6:00-24:00",
  ]);
});

Deno.test("before the schedule begins the whole schedule is planned", () => {
  assertEquals(view("7:00", []).stretches, [
    "unasked 0:00-8:00",
    "planned 8:00-22:00",
    "unasked 22:00-24:00",
  ]);
});
