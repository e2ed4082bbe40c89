// The history for the status page, and its bounds.

import { assert, assertEquals } from "@std/assert";
import { History, LEVEL_MS, MINUTE_MS, WAVE_SECONDS } from "../../src/status/history.ts";
import { problemCodes } from "../../src/status/problems.ts";
import { SimulatedClock } from "../fixtures/simulated_clock.ts";

const MIDNIGHT_MS = Date.UTC(2026, 10, 22, 23); // in Berlin
const HOUR_MS = 60 * MINUTE_MS;

function start(unixMs = MIDNIGHT_MS + 10 * HOUR_MS) {
  const clock = new SimulatedClock(unixMs);
  return { clock, history: new History(clock, "Europe/Berlin") };
}

function level(peakDbfs: number) {
  return { peakDbfs, rmsDbfs: peakDbfs - 10 };
}

Deno.test("recordings are counted in the minutes of the local day", () => {
  const { history } = start();
  history.recorded(MIDNIGHT_MS + 8 * HOUR_MS + 45_000, MIDNIGHT_MS + 8 * HOUR_MS + 130_500);
  const { startMs, endMs, recordedMs } = history.today();
  assertEquals([startMs, endMs], [MIDNIGHT_MS, MIDNIGHT_MS + 24 * HOUR_MS]);
  assertEquals([...recordedMs.subarray(479, 484)], [0, 15_000, 60_000, 10_500, 0]);
});

Deno.test("a minute counts at most a minute, and time outside the day is omitted", () => {
  const { history } = start();
  for (let times = 0; times < 3; times++) {
    history.recorded(MIDNIGHT_MS - 30_000, MIDNIGHT_MS + 90_000);
    history.recorded(MIDNIGHT_MS + 24 * HOUR_MS - 10_000, MIDNIGHT_MS + 25 * HOUR_MS);
  }
  const { recordedMs } = history.today();
  assertEquals([...recordedMs.subarray(0, 3)], [60_000, 60_000, 0]);
  assertEquals(recordedMs.at(-1), 30_000);
});

Deno.test("a new day starts at midnight, and has 23 to 25 hours", async () => {
  const { clock, history } = start();
  history.recorded(MIDNIGHT_MS, MIDNIGHT_MS + HOUR_MS);
  await clock.advance(14 * HOUR_MS);
  assertEquals(history.today().startMs, MIDNIGHT_MS + 24 * HOUR_MS);
  assert(history.today().recordedMs.every((ms) => ms === 0));
  assertEquals(start(Date.UTC(2026, 2, 29, 12)).history.today().recordedMs.length, 23 * 60);
  assertEquals(start(Date.UTC(2026, 9, 25, 12)).history.today().recordedMs.length, 25 * 60);
});

Deno.test("the history begins with the oldest recording or the start of the program", () => {
  const { clock, history } = start();
  assertEquals(history.knownSinceMs, clock.unixMs());
  history.restore([{ startMs: MIDNIGHT_MS + HOUR_MS, endMs: MIDNIGHT_MS + 2 * HOUR_MS }], []);
  assertEquals(history.knownSinceMs, MIDNIGHT_MS + HOUR_MS);
  history.forgetDay();
  assertEquals(history.knownSinceMs, clock.unixMs());
  assert(history.today().recordedMs.every((ms) => ms === 0));
});

Deno.test("levels that arrive in bursts are placed one after another in the wave", async () => {
  const { clock, history } = start();
  for (let burst = 0; burst < 4; burst++) {
    await clock.advance(1000);
    for (let tenth = 0; tenth < 10; tenth++) history.heard(level(-20 - burst));
  }
  await clock.advance(1000);
  const heard = history.wave().filter((levels) => levels !== null);
  assertEquals(heard.length >= 4, true, JSON.stringify(heard));
});

Deno.test("the wave has one value per second, the loudest, and a hole where no level arrived", async () => {
  const { clock, history } = start();
  const hear = async (peak: number) => {
    history.heard(level(-50));
    await clock.advance(LEVEL_MS);
    history.heard(level(peak));
    await clock.advance(900);
  };
  await hear(-12);
  await clock.advance(3000);
  await hear(-15);
  const wave = history.wave();
  assertEquals(wave.length, WAVE_SECONDS);
  assertEquals(wave.slice(-6), [null, level(-12), null, null, null, level(-15)]);
  assertEquals(history.level(), level(-15));
  await clock.advance(2000);
  assertEquals(history.level(), null);
});

Deno.test("a year of problems and sound takes no more memory than a day", async () => {
  const { clock, history } = start();
  const codes = problemCodes();
  for (let second = 0; second < 2000; second++) {
    for (let tenth = 0; tenth < 10; tenth++) history.heard(level(-30));
    history.gapDeclared({ start: new Date(clock.unixMs()).toISOString(), ms: second, cause: "x" });
    history.problemEnded({
      code: codes[second % codes.length] ?? "disk_low",
      message: "m",
      since: 1,
    });
    clock.step(0);
    if (second % 100 === 0) await clock.advance(1000);
  }
  assertEquals(history.gaps.map(({ ms }) => ms), [1992, 1993, 1994, 1995, 1996, 1997, 1998, 1999]);
  assertEquals(history.problems.length, 8);
  assertEquals(history.problems.at(-1)?.code, codes[1999 % codes.length]);
  assertEquals(history.takeLive().length, 20);
  assertEquals(history.takeLive(), []);
  assertEquals(history.wave().length, WAVE_SECONDS);
});

Deno.test("a problem that repeats is listed once, with its latest message", () => {
  const { clock, history } = start();
  history.problemEnded({ code: "disk_low", message: "first", since: 1 });
  history.problemEnded({ code: "microphone_lost", message: "other", since: 2 });
  history.problemEnded({ code: "disk_low", message: "again", since: 3 });
  assertEquals(history.problems, [
    { code: "microphone_lost", message: "other", since: 2, until: clock.unixMs() / 1000 },
    { code: "disk_low", message: "again", since: 3, until: clock.unixMs() / 1000 },
  ]);
});
