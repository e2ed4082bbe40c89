// deno-lint-ignore-file no-console -- a test that talks to a person
// `tests/receiving/run.ts [--minutes N] [--seed S]`: kills the agent and the receiver at random moments for
// N minutes (default 10), schedule after schedule, and prints what was found. Exit code 1 if a chunk was
// lost, doubled or torn. Without --seed it draws a new seed and prints it.

import { parseArgs } from "node:util";
import { runReceiverKills } from "./kills.ts";

const { values } = parseArgs({
  args: Deno.args,
  options: {
    minutes: { type: "string", default: "10" },
    seed: { type: "string", default: String(Date.now() % 1_000_000) },
  },
});
const [minutes, first] = [Number(values.minutes), Number(values.seed)];
if (!(minutes > 0) || !Number.isInteger(first)) {
  throw new Error(`--minutes and --seed must be numbers: ${values.minutes}, ${values.seed}`);
}
const sum = { kills: 0, chunks: 0, repeated: 0, faults: 0 };
const endMs = performance.now() + minutes * 60_000;
for (let seed = first; performance.now() < endMs; seed++) {
  const report = await runReceiverKills({ seed, kills: 10, chunks: 60 });
  sum.kills += report.kills;
  sum.chunks += report.chunks;
  sum.repeated += report.repeated;
  sum.faults += report.faults.length;
  console.log(`seed ${seed}: ${JSON.stringify(sum)}`);
  for (const fault of report.faults) console.error(fault);
}
if (sum.faults > 0) Deno.exitCode = 1;
