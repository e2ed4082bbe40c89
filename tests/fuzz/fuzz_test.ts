// The short form of tests/fuzz/run.ts: the same cases in every run.

import { assertEquals } from "@std/assert";
import { fuzz } from "./fuzz.ts";
import { TARGETS } from "./targets.ts";

const CASES = 300;

for (const target of TARGETS) {
  Deno.test(`no damaged input harms what reads it: ${target.name}`, () => {
    const finding = fuzz(target, 1, (runs) => runs < CASES);
    if (finding !== null) throw new Error(`seed ${finding.seed}`, { cause: finding.error });
  });
}

Deno.test("a finding can be repeated with its seed", () => {
  const target = {
    name: "a parser that has a defect",
    seeds: [new Uint8Array(50)],
    check: (input: Uint8Array) => {
      if (input.includes(27)) throw new Error("escaped");
    },
  };
  const finding = fuzz(target, 1, () => true);
  const again = fuzz(target, finding?.seed ?? 0, (runs) => runs < 1);
  assertEquals(again?.input, finding?.input);
  assertEquals(String(again?.error), "Error: escaped");
});
