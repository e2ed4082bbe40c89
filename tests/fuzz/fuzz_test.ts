// The short form of tests/fuzz/run.ts: the same cases in every run.

import { assertEquals } from "@std/assert";
import { fuzz } from "./fuzz.ts";
import { TARGETS } from "./targets.ts";

const CASES = 100;
/** Of targets that write files. */
const SLOW_CASES = 10;

for (const target of TARGETS) {
  Deno.test(`no damaged input harms what reads it: ${target.name}`, async () => {
    const cases = target.isSlow === true ? SLOW_CASES : CASES;
    const finding = await fuzz(target, 1, (runs) => runs < cases);
    if (finding !== null) throw new Error(`seed ${finding.seed}`, { cause: finding.error });
  });
}

Deno.test("a finding can be repeated with its seed", async () => {
  const target = {
    name: "a parser that has a defect",
    seeds: [new Uint8Array(50)],
    check: (input: Uint8Array) => {
      if (input.includes(27)) throw new Error("escaped");
    },
  };
  const finding = await fuzz(target, 1, () => true);
  const again = await fuzz(target, finding?.seed ?? 0, (runs) => runs < 1);
  assertEquals(again?.input, finding?.input);
  assertEquals(String(again?.error), "Error: escaped");
});
