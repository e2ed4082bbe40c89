// deno-lint-ignore-file no-console -- a test that talks to a person
// `tests/kill/run.ts [--runs N] [--seed S] [--binary PROGRAM]`: kills the agent N times and prints the
// losses. The exit code is 1 if a kill cost more than 1 s of sound, or if it finds any other defect.
// Without --seed it draws a new seed and prints it. The same seed repeats the moments of the kills, but
// the timing within the machine differs.

import { parseArgs } from "node:util";
import { defectsOf, excessesOf, judge, type Verdict } from "./judge.ts";
import { type KillRecord, type Life, runKills } from "./kill_runs.ts";

const COLUMNS = ["killed at   ", "kills", "while recording", "median loss, ms", "largest, ms"];

function printRow(cells: readonly string[]): void {
  const padded = cells.map((cell, at) => {
    const width = COLUMNS[at]?.length ?? 0;
    return at === 0 ? cell.padEnd(width) : cell.padStart(width);
  });
  console.log(`| ${padded.join(" | ")} |`);
}

function median(values: readonly number[]): number {
  return values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)] ?? NaN;
}

function show(ms: number): string {
  return Number.isFinite(ms) ? ms.toFixed(0) : "–";
}

function printTable(lives: readonly Life[], { losses }: Verdict): void {
  printRow(COLUMNS);
  printRow(
    COLUMNS.map(({ length }, at) => at === 0 ? "-".repeat(length) : ":".padStart(length, "-")),
  );
  const moments = [...new Set(lives.map(({ moment }) => moment))].sort();
  for (const moment of [...moments, "all"]) {
    const lost = losses.filter(({ life }) => moment === "all" || life.moment === moment)
      .map(({ lostMs }) => lostMs);
    const kills = lives.filter((life) => moment === "all" || life.moment === moment).length;
    const counts = [String(kills), String(lost.length)];
    printRow([moment, ...counts, show(median(lost)), show(Math.max(...lost))]);
  }
}

function printCounts({ lives, received }: KillRecord, verdict: Verdict): void {
  const { invalid, lost, changed, twice, holes, unknown, orphans, losses, heard } = verdict;
  const survived = lives.map(({ survivedMs }) => survivedMs).filter(Number.isFinite);
  const claims = heard.flatMap(({ claimsMs }) => claimsMs);
  const counts: [string, string | number][] = [
    ["runs", lives.length],
    ["largest loss, ms", show(Math.max(...losses.map(({ lostMs }) => lostMs)))],
    ["median loss, ms", show(median(losses.map(({ lostMs }) => lostMs)))],
    ["chunks received", received.length],
    ["chunks delivered again, same key", received.filter(({ attempts }) => attempts > 1).length],
    ["invalid files", invalid.length],
    ["visible chunks lost", lost.length],
    ["keys with two contents", changed.length],
    ["sound under two keys", twice.length],
    ["holes inside a life", holes.length],
    ["chunks that are not what was heard", unknown.length],
    ["claimed times off by, ms", `${show(Math.min(...claims))} to ${show(Math.max(...claims))}`],
    ["orphans", orphans.length],
    ["longest that ffmpeg outlived a kill, ms", show(Math.max(...survived))],
  ];
  console.log();
  for (const [what, count] of counts) console.log(`${what.padEnd(40)} ${count}`);
}

const { values } = parseArgs({
  args: Deno.args,
  options: {
    runs: { type: "string", default: "200" },
    seed: { type: "string", default: String(Date.now() % 1_000_000) },
    binary: { type: "string" },
  },
});
const [runs, seed] = [Number(values.runs), Number(values.seed)];
if (!Number.isInteger(runs) || runs < 1 || !Number.isInteger(seed)) {
  throw new Error(`--runs and --seed must be whole numbers: ${values.runs}, ${values.seed}`);
}
console.log(`${runs} kills, seed ${seed}`);
const record = await runKills({
  ...{ runs, seed },
  ...(values.binary === undefined ? {} : { binary: values.binary }),
  onLife: (_, number) => {
    if ((number + 1) % 20 === 0) console.log(`${number + 1} killed`);
  },
});
console.log("comparing the received sound\n");
const verdict = await judge(record);
printTable(record.lives, verdict);
printCounts(record, verdict);
const faults = [...excessesOf(verdict), ...defectsOf(verdict)];
for (const fault of faults) console.error(fault);
if (faults.length > 0) Deno.exitCode = 1;
