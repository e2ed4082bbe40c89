// The phase of a till: whatever ids a fleet has, its tills are spread evenly.

import { assert, assertEquals } from "@std/assert";
import { firstInterval, phaseOf } from "../../src/config/phase.ts";

const TILLS = 1000;
const BINS = 20;

/** How many tills the busiest of 20 equal parts of an interval has, if 50 are the mean. */
function busiest(ids: readonly string[]): number {
  const bins = new Array<number>(BINS).fill(0);
  for (const id of ids) {
    const phase = phaseOf(id);
    assert(phase >= 0 && phase < 1, id);
    const bin = Math.floor(phase * BINS);
    bins[bin] = (bins[bin] ?? 0) + 1;
  }
  return Math.max(...bins);
}

const numbers = Array.from({ length: TILLS }, (_, number) => number);

Deno.test("consecutive ids are spread evenly, whichever group of them counts", () => {
  const hex = (number: number, digits: number) => number.toString(16).padStart(digits, "0");
  for (
    const idOf of [
      (n: number) => `11111111-2222-4333-8444-${hex(n, 12)}`,
      (n: number) => `${hex(n, 8)}-2222-4333-8444-555555555555`,
      (n: number) => `11111111-${hex(n, 4)}-4333-8444-555555555555`,
      // Version 7: a time in ms at the beginning, here one every 7 ms.
      (n: number) => `0198c2a0-${hex(n * 7, 4)}-7333-8444-555555555555`,
    ]
  ) {
    assert(busiest(numbers.map(idOf)) <= 53, idOf(1));
  }
});

Deno.test("random ids are spread as chance has it", () => {
  // 50 ± 7; 85 would be five standard deviations.
  assert(busiest(numbers.map(() => crypto.randomUUID())) < 85);
});

Deno.test("a till keeps its phase, and its first interval is what the phase leaves of it", () => {
  const id = "33333333-3333-4333-8333-333333333333";
  assertEquals(phaseOf(id), phaseOf(id));
  assertEquals([firstInterval(60, 0), firstInterval(60, 0.25)], [60, 45]);
});
