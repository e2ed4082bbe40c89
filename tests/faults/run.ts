// deno-lint-ignore-file no-console
// Runs schedules of faults and prints what happened to the sound:
//
//   deno task test:faults --seeds 1000            seeds 1 to 1000
//   deno task test:faults --seed 17 --seeds 1     one of them again, with its trace
//
// `--jobs 4` runs them in 4 processes. The exit code is 1 if the oracle does not accept a seed.

import { runJobs, runSeeds } from "./jobs.ts";

const args: Record<string, number> = {};
for (const [, name = "", value] of Deno.args.join(" ").matchAll(/--(\w+)[ =](\d+)/g)) {
  args[name] = Number(value);
}
const { seed = 1, seeds = 1000, step = 1, jobs = Math.min(4, seeds) } = args;
const startMs = performance.now();
const { report, failure } = jobs > 1
  ? await runJobs({ seed, seeds, jobs })
  : await runSeeds({ seed, seeds, step }, seeds === 1 ? Infinity : 40);
if (failure !== null) {
  console.error(failure);
  Deno.exitCode = 1;
}
// One of several jobs prints its numbers for the parent process.
if (args["step"] !== undefined) console.log(JSON.stringify(report));
else console.log(report.table((performance.now() - startMs) / 1000));
