// deno-lint-ignore-file no-console -- a benchmark talks to a person
// Measures the cost, speed and limits of the compiled program and writes the tables into
// docs/performance.md, between its markers. The text around the markers stays. A run takes a quarter of an
// hour. Seams, times, fleets and instructions have their own tasks.
//
// `bench/all.ts [--binary PROGRAM]`. Measurements of processor time run alone; those that only count bytes
// run in parallel with others. The exit code is 1 if a measurement failed.

import { parseArgs } from "node:util";
import { buildBinaries } from "../tests/fixtures/binaries.ts";
import { run } from "../tests/fixtures/command.ts";
import { measure as measureBacklog } from "./backlog.ts";
import { measure as measureBytes } from "./bytes.ts";
import { measure as measureCost } from "./cost.ts";
import { DOCUMENT, writeDocument } from "./document.ts";
import { measure as measureDrain } from "./drain.ts";
import { measure as measureLatency } from "./latency.ts";
import { measure as measureMemory } from "./memory.ts";
import { type Table, toMarkdown } from "./table.ts";

const ROOT = new URL("../", import.meta.url).pathname;

interface Part {
  readonly name: string;
  readonly measure: (program: string) => Promise<Table[]>;
}

/** In the order of the document. The parts of a lane run one after the other, the lanes in parallel. */
const STAGES: readonly (readonly (readonly Part[])[])[] = [
  [[{ name: "cost", measure: (program) => measureCost(120, program) }]],
  [[{
    name: "drain",
    measure: (program) => measureDrain({ program, chunks: 1500, runs: 2, seconds: 3 }),
  }]],
  [
    [
      {
        name: "latency",
        measure: (program) => measureLatency({ program, runs: 8, seconds: 40 }),
      },
      { name: "backlog", measure: () => measureBacklog() },
      { name: "memory", measure: (program) => measureMemory({ program, chunks: 6000 }) },
    ],
    [{ name: "bytes", measure: (program) => measureBytes({ program, chunks: 3 }) }],
  ],
];

/** The result of a part in Markdown, and whether the part could be measured. */
interface Result {
  readonly text: string;
  readonly isWhole: boolean;
}

async function measurePart({ name, measure }: Part, program: string): Promise<Result> {
  console.log(`${name} …`);
  const startedMs = performance.now();
  try {
    const text = (await measure(program)).map(toMarkdown).join("\n");
    console.log(`${name}: ${((performance.now() - startedMs) / 1000).toFixed(0)} s\n\n${text}`);
    return { text, isWhole: true };
  } catch (error) {
    console.error(`${name} failed:`, error);
    return { text: `\`${name}\` could not be measured.\n`, isWhole: false };
  }
}

async function measureAll(program: string): Promise<Result[]> {
  const results: Result[] = [];
  for (const lanes of STAGES) {
    const ended = await Promise.all(lanes.map(async (parts) => {
      const ofLane: Result[] = [];
      for (const part of parts) ofLane.push(await measurePart(part, program));
      return ofLane;
    }));
    results.push(...ended.flat());
  }
  return results;
}

/** The first line of a program's version output. */
async function versionOf(program: string, ...args: string[]): Promise<string> {
  try {
    const { stdout } = await run(program, args);
    return new TextDecoder().decode(stdout).split("\n")[0] ?? "";
  } catch {
    return `no ${program}`;
  }
}

/** Machine, versions, date and commit: figures mean nothing without them. */
export async function describe(program: string): Promise<string> {
  const read = (path: string) => Deno.readTextFile(path).catch(() => "");
  const cpu = /^(?:model name|Model)\s*: (.*)$/m.exec(await read("/proc/cpuinfo"))?.[1] ?? "?";
  const system = /^PRETTY_NAME="(.*)"$/m.exec(await read("/etc/os-release"))?.[1] ?? "?";
  const gib = Math.round(Deno.systemMemoryInfo().total / 2 ** 30);
  const ffmpeg = (await versionOf("ffmpeg", "-version")).split(" ").slice(0, 3).join(" ");
  const curl = (await versionOf("curl", "--version")).split(" ").slice(0, 2).join(" ");
  const commit = await versionOf("git", "-C", ROOT, "describe", "--always", "--dirty");
  return `${navigator.hardwareConcurrency} × ${cpu} (${Deno.build.arch}), ${gib} GiB, ${system}, ` +
    `Linux ${Deno.osRelease()}; ${ffmpeg}, ${curl}, Deno ${Deno.version.deno}, ` +
    `${await versionOf(program, "--version")}; ${new Date().toISOString().slice(0, 10)}, ` +
    `commit ${commit}.`;
}

if (import.meta.main) {
  const { values } = parseArgs({ args: Deno.args, options: { binary: { type: "string" } } });
  const startedMs = performance.now();
  await using binaries = values.binary === undefined ? await buildBinaries() : null;
  const program = values.binary ?? binaries?.x64 ?? "";
  const head = await describe(program);
  const results = await measureAll(program);
  await writeDocument("bench", [head, ...results.map(({ text }) => text.trim())].join("\n\n"));
  console.log(`all: ${((performance.now() - startedMs) / 60_000).toFixed(1)} min, ${DOCUMENT}`);
  if (results.some(({ isWhole }) => !isWhole)) Deno.exitCode = 1;
}
