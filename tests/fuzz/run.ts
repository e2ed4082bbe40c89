// deno-lint-ignore-file no-console -- a test that talks to a person
// `tests/fuzz/run.ts [--minutes N] [--seed S] [--only TARGET] [--runs N]`: damages the input of everything
// that reads bytes from outside, for N minutes (default 1) shared by all targets. Prints each finding with
// its seed and its input. The exit code is 1 if there is one. To repeat a case: --only, its --seed, --runs 1.

import { parseArgs } from "node:util";
import { fuzz } from "./fuzz.ts";
import { TARGETS } from "./targets.ts";

const { values } = parseArgs({
  options: {
    minutes: { type: "string", default: "1" },
    seed: { type: "string" },
    only: { type: "string" },
    runs: { type: "string" },
  },
});
const seed = Number(values.seed ?? crypto.getRandomValues(new Uint32Array(1))[0]);
const targets = TARGETS.filter(({ name }) => values.only === undefined || name === values.only);
const eachMs = Number(values.minutes) * 60_000 / targets.length;
console.log(`seed ${seed}`);
for (const target of targets) {
  const endMs = performance.now() + eachMs;
  let cases = 0;
  const finding = await fuzz(target, seed, (runs) => {
    cases = runs;
    return values.runs === undefined ? performance.now() < endMs : runs < Number(values.runs);
  });
  console.log(`${target.name}: ${cases} cases${finding === null ? "" : ", one finding"}`);
  if (finding === null) continue;
  Deno.exitCode = 1;
  const { error, input } = finding;
  console.log(`✘ --only "${target.name}" --seed ${finding.seed} --runs 1`);
  console.log(error instanceof Error ? error.stack : error);
  console.log(`input, ${input.length} bytes, base64: ${input.toBase64()}`);
}
