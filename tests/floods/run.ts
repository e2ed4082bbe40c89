// deno-lint-ignore-file no-console -- a test that talks to a person
// `tests/floods/run.ts [--seconds N] [--user NAME]`: another user floods the health port of the compiled
// program in five ways while it records and delivers, with the descriptors that the unit permits. Prints
// what each flood cost. The exit code is 1 if sound is missing, or if a cost is above its limit. As root.

import { parseArgs } from "node:util";
import { buildBinaries } from "../fixtures/binaries.ts";
import { floodAgent, type FloodedRun } from "./flooded_agent.ts";

const KINDS = ["silence", "heads", "requests", "unread", "events"];
/** LimitNOFILE= of the unit. */
const DESCRIPTORS = 4096;
const MOST_RSS_KB = 200 * 1024;
/** Connections and event streams of the listener, and some for what the recorder does meanwhile. */
const MOST_DESCRIPTORS_MORE = 32 + 8 + 16;
const MOST_CPU = 0.6;
const MOST_WAIT_MS = 30_000;

/** What is wrong with the run. */
export function objectionsTo(run: FloodedRun): string[] {
  const { before, floods, gaps, exitCode, deliveredS, spanS } = run;
  const objections = floods.flatMap((flood) => [
    ...(flood.peakRssKb > MOST_RSS_KB ? [`${flood.kind}: ${flood.peakRssKb} kB`] : []),
    ...(flood.peakDescriptors > before.descriptors + MOST_DESCRIPTORS_MORE
      ? [`${flood.kind}: ${flood.peakDescriptors} descriptors`]
      : []),
    ...(flood.cpu > MOST_CPU ? [`${flood.kind}: ${flood.cpu.toFixed(2)} of a core`] : []),
    ...(flood.answersAfterMs > MOST_WAIT_MS
      ? [`${flood.kind}: /health answers ${Math.round(flood.answersAfterMs)} ms later`]
      : []),
  ]);
  if (gaps.length > 0) objections.push(`sound is missing: ${JSON.stringify(gaps)}`);
  if (Math.abs(spanS - deliveredS) > 0.01) objections.push(`${spanS - deliveredS} s are missing`);
  if (exitCode !== 0) objections.push(`exit code ${exitCode}`);
  return objections;
}

/** A table of what the floods cost. */
function printTable({ before, floods, deliveredS, gaps }: FloodedRun): void {
  const mb = (kb: number) => (kb / 1024).toFixed(0);
  console.log(`before: ${mb(before.rssKb)} MB, ${before.descriptors} descriptors`);
  console.log(
    "| flood | connections | peak MB | descriptors | of a core | /health answered | after |",
  );
  console.log(
    "| ----- | ----------: | ------: | ----------: | --------: | ---------------: | ----: |",
  );
  for (const flood of floods) {
    const cells = [
      flood.kind,
      flood.connections,
      mb(flood.peakRssKb),
      flood.peakDescriptors,
      flood.cpu.toFixed(2),
      `${flood.answered} of ${flood.asked}`,
      `${Math.round(flood.answersAfterMs)} ms, ${mb(flood.rssAfterKb)} MB`,
    ];
    console.log(`| ${cells.join(" | ")} |`);
  }
  console.log(`recorded and delivered: ${deliveredS.toFixed(1)} s, gaps: ${gaps.length}`);
}

if (import.meta.main) {
  const { values } = parseArgs({
    options: {
      seconds: { type: "string", default: "60" },
      user: { type: "string", default: "nobody" },
    },
  });
  await using binaries = await buildBinaries();
  const run = await floodAgent({
    // As the unit does; PulseAudio stands in for a driver, which no load delays.
    program: ["nice", "-n", "-5", "prlimit", `--nofile=${DESCRIPTORS}`, binaries.x64],
    seconds: Number(values.seconds),
    kinds: KINDS,
    user: values.user,
  });
  printTable(run);
  const objections = objectionsTo(run);
  for (const objection of objections) console.log(`✘ ${objection}`);
  if (objections.length > 0) Deno.exitCode = 1;
}
