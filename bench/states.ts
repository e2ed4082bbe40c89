// deno-lint-ignore-file no-console -- a benchmark talks to a person
// Measures whether the program's use of resources is flat in every state. Each state (states/table.ts) is one
// process of the compiled program with its own spool. All processes start together and are sampled every
// 10 s for half an hour: memory, descriptors, threads, processor time, and every program that they start.
//
// `bench/states.ts [--minutes N] [--only a,b] [--binary PROGRAM] [--untraced] [--write]
// [--chunk-seconds N]`. The default is the program's: chunks of 60 s. The table goes
// to stdout, and with --write also into docs/performance.md. Ctrl-C ends the run early, with a table. The
// exit code is 1 if a state exceeds a limit; a line says which one. strace counts the children; --untraced
// runs without it, to show what it costs. A run needs 14 × 90 MB of memory, and as much for a backlog.

import { parseArgs } from "node:util";
import { buildBinaries } from "../tests/fixtures/binaries.ts";
import { describe } from "./all.ts";
import { DOCUMENT, writeDocument } from "./document.ts";
import {
  childrenWords,
  type FromTo,
  type Limits,
  mb,
  objectionsTo,
  summarize,
  type Summary,
  type Window,
} from "./states/judge.ts";
import type { State } from "./states/scene.ts";
import { findStates, STATES } from "./states/table.ts";
import { watch, type WatchOptions } from "./states/watch.ts";
import { type Table, toMarkdown } from "./table.ts";

const MINUTES = 30;
const EVERY_S = 10;
const CHUNK_SECONDS = 60;
const WINDOW: Window = { warmUpS: 300, medianS: 60 };
/** The growth limit is for 25 minutes. Longer runs get more at the same rate; shorter ones are as noisy. */
const LIMITS: Limits = { grownKb: 1024, aboveKb: 5 * 1024, descriptors: 2 };
const LIMIT_S = 25 * 60;

interface Outcome {
  readonly table: Table;
  /** What is wrong, one line each. */
  readonly objections: readonly string[];
}

export async function measure(
  states: readonly State[],
  options: Omit<WatchOptions, "everyS">,
): Promise<Outcome> {
  const objections: string[] = [];
  const rows: (string | number)[][] = [];
  let endS = 0;
  for (const { state, samples, failure } of await watch(states, { ...options, everyS: EVERY_S })) {
    if (failure !== null) objections.push(`${state.name}: ${failure}`);
    try {
      const summary = summarize(samples, WINDOW);
      const longer = Math.max(1, summary.seconds / LIMIT_S);
      objections.push(
        ...objectionsTo(state, summary, { ...LIMITS, grownKb: LIMITS.grownKb * longer }),
      );
      rows.push(rowOf(state, summary));
      endS = Math.max(endS, summary.endS);
    } catch (error) {
      if (!(error instanceof RangeError)) throw error;
      objections.push(`${state.name}: ${error.message}`);
    }
  }
  return { objections, table: tabulate(rows, endS, options.chunkSeconds) };
}

function rowOf(state: State, summary: Summary): (string | number)[] {
  const { anonymousKb, children, childrenLater } = summary;
  const both = ({ from, to }: FromTo) => `${mb(from)} → ${mb(to)}`;
  return [
    `${state.words} (\`${state.name}\`)`,
    both(summary.rssKb),
    both(summary.privateKb),
    both(anonymousKb),
    mb(anonymousKb.to - anonymousKb.from),
    mb(summary.aboveKb),
    summary.slopeKbS.toFixed(2),
    `${summary.descriptors.from} → ${summary.descriptors.to}`,
    summary.threads,
    summary.cpuMsPerS.toFixed(1),
    childrenLater === null ? "" : childrenWords(childrenLater),
    children === null ? "" : childrenWords(children),
  ];
}

function tabulate(rows: Table["rows"], seconds: number, chunkSeconds: number): Table {
  return {
    title: "Flat in every state",
    note: `The compiled program, one process per state, all in parallel for ` +
      `${
        Math.round(seconds / 60)
      } minutes, chunks of ${chunkSeconds} s. MB of memory: median of the minute around the fifth → ` +
      "median of the last one. Growth, peak (the largest increase since the fifth minute) and slope " +
      "(a straight line, least squares) are those of anonymous memory after the fifth minute. " +
      "Processor time does not include that of child processes.",
    header: [
      "state",
      "RSS, MB",
      "private, MB",
      "anonymous, MB",
      "growth, MB",
      "peak, MB",
      "slope, kB/s",
      "descriptors",
      "threads",
      "CPU, ms/s",
      "children after 5 min",
      "children in total",
    ],
    rows,
  };
}

if (import.meta.main) {
  const { values } = parseArgs({
    args: Deno.args,
    options: {
      minutes: { type: "string", default: String(MINUTES) },
      only: { type: "string" },
      binary: { type: "string" },
      "chunk-seconds": { type: "string", default: String(CHUNK_SECONDS) },
      untraced: { type: "boolean", default: false },
      write: { type: "boolean", default: false },
    },
  });
  const minutes = Number(values.minutes);
  if (!(minutes * 60 > WINDOW.warmUpS + WINDOW.medianS)) {
    throw new Error(`Cannot run as --minutes must be more than 6: current value is ${minutes}`);
  }
  const chunkSeconds = Number(values["chunk-seconds"]);
  const states = values.only === undefined ? STATES : findStates(values.only.split(","));
  await using binaries = values.binary === undefined ? await buildBinaries() : null;
  const program = values.binary ?? binaries?.x64 ?? "";
  const early = new AbortController();
  const stop = () => early.abort();
  Deno.addSignalListener("SIGINT", stop);
  console.log(`${minutes} min: ${states.map(({ name }) => name).join(", ")} …`);
  let saidMin = 0;
  const { table, objections } = await measure(states, {
    program,
    seconds: minutes * 60,
    chunkSeconds,
    isTraced: !values.untraced,
    signal: early.signal,
    onLook: (atS) => {
      if (atS / 60 < saidMin + 5) return;
      saidMin = Math.floor(atS / 60);
      console.log(`${saidMin} min`);
    },
  });
  console.log(`\n${toMarkdown(table)}`);
  if (values.write) {
    await writeDocument("states", `${await describe(program)}\n\n${toMarkdown(table).trim()}`);
    console.log(`written into ${DOCUMENT}`);
  }
  for (const objection of objections) console.error(objection);
  console.log(objections.length === 0 ? "flat in every state" : `${objections.length} objections`);
  if (objections.length > 0) Deno.exitCode = 1;
  Deno.removeSignalListener("SIGINT", stop);
}
