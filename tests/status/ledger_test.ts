import { assertAlmostEquals, assertEquals } from "@std/assert";
import { Ledger } from "../../src/status/ledger.ts";
import { seededRandom } from "../fixtures/random.ts";

Deno.test("time within the schedule that was not recorded is a gap, exact to the microsecond", () => {
  const ledger = new Ledger();
  ledger.begin(1000);
  assertEquals(ledger.record(1350.5, 61_350.5), { startMs: 1000, endMs: 1350.5 });
  assertEquals(ledger.record(61_350.5, 121_350.5), null, "contiguous chunks leave no gap");
  assertEquals(ledger.record(125_000, 130_000.001), { startMs: 121_350.5, endMs: 125_000 });
  assertEquals(ledger.balance(131_000), {
    scheduledUs: 130_000_000,
    recordedUs: 125_000_001,
    gapUs: 4_000_000,
    openUs: 999_999,
    gaps: 2,
  });
  assertEquals(ledger.end(140_000), { startMs: 130_000.001, endMs: 140_000 });
  assertEquals(
    ledger.balance(999_999).scheduledUs,
    139_000_000,
    "no time outside the schedule counts",
  );
});

Deno.test("overlapping chunks count once, and outside the schedule nothing counts", () => {
  const ledger = new Ledger();
  assertEquals(ledger.record(0, 1000), null);
  assertEquals(ledger.end(1000), null);
  ledger.begin(1000);
  ledger.begin(5000); // it has already begun
  ledger.record(900, 3000);
  ledger.record(2990, 4000);
  assertEquals(ledger.end(4000), null);
  assertEquals(ledger.balance(4000), {
    scheduledUs: 3_000_000,
    recordedUs: 3_000_000,
    gapUs: 0,
    openUs: 0,
    gaps: 0,
  });
});

Deno.test("the sums balance after random operations", () => {
  const next = seededRandom(7);
  for (let run = 0; run < 200; run++) {
    const ledger = new Ledger();
    let nowMs = next() * 1e6;
    let scheduledMs = 0;
    for (let day = 0; day < 3; day++) {
      const beginMs = nowMs;
      ledger.begin(nowMs);
      for (let chunk = 0; chunk < 10; chunk++) {
        const startMs = nowMs + (next() < 0.3 ? next() * 5000 : 0) - (next() < 0.1 ? 20 : 0);
        nowMs = startMs + next() * 60_000;
        ledger.record(startMs, nowMs);
        const { scheduledUs, recordedUs, gapUs, openUs } = ledger.balance(nowMs + 1000);
        assertEquals(scheduledUs, recordedUs + gapUs + openUs);
      }
      ledger.end(nowMs += next() * 1000);
      scheduledMs += nowMs - beginMs;
      nowMs += 3_600_000;
    }
    const { scheduledUs, openUs } = ledger.balance(nowMs);
    assertEquals(openUs, 0);
    assertAlmostEquals(scheduledUs, scheduledMs * 1000, 3); // each of three days is rounded once
  }
});

Deno.test("scheduled time from before the start that nobody recorded is scheduled and missing", () => {
  const ledger = new Ledger();
  ledger.missed({ startMs: -2000.5, endMs: 0 });
  ledger.begin(0);
  assertEquals(ledger.record(500, 1500), { startMs: 0, endMs: 500 });
  assertEquals(ledger.balance(1500), {
    scheduledUs: 3_500_500,
    recordedUs: 1_000_000,
    gapUs: 2_500_500,
    openUs: 0,
    gaps: 2,
  });
});
