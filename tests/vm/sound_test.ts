// The measures of the rig find what they are made for: here with sound that is known.

import { assert } from "@std/assert";
import { type Part, worstShift } from "./sound.ts";

const [HZ, RATE] = [443, 48_000];

/** Samples `from` to `to` of a sine that never pauses. */
function sine(from: number, to: number): Float32Array {
  return Float32Array.from(
    { length: to - from },
    (_, i) => 0.5 * Math.sin(2 * Math.PI * HZ * (from + i) / RATE),
  );
}

const first: Part = { at: 48_000, samples: sine(48_000, 72_000) };
const joined = (lost: number): Part => ({
  at: 72_000,
  samples: sine(72_000 + lost, 96_000 + lost),
});

Deno.test("a seam at which nothing is missing has no shift", () => {
  assert(worstShift([first, joined(0)], HZ) < 0.01);
  const later: Part = { at: 81_600, samples: sine(81_600, 96_000) };
  assert(worstShift([first, later], HZ) < 0.01, "a jump that is declared is not a shift");
});

Deno.test("a sample, a packet or a second that is missing or repeated at a seam is a shift", () => {
  for (const lost of [1, -1, 960, -960, 48 * 125, 47_040]) {
    assert(worstShift([first, joined(lost)], HZ) > 0.9, `${lost} samples`);
  }
});

Deno.test("samples that are missing within a chunk are a shift", () => {
  const samples = new Float32Array(35_040);
  samples.set(sine(72_000, 84_000));
  samples.set(sine(84_960, 108_000), 12_000);
  assert(worstShift([first, { at: 72_000, samples }], HZ) > 0.9);
});
