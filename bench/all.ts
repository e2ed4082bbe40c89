// deno-lint-ignore-file no-console -- a benchmark talks to a person
// Measures cost, speed and limits of the compiled program and writes the tables into
// docs/performance.md, between its markers; what people wrote around them stays. It takes a quarter of
// an hour. Seams, times, fleets and instructions have tasks of their own.
//
// `bench/all.ts [--binary PROGRAM]`. What is a matter of processor time runs alone; what only counts
// bytes runs beside the rest. The exit code is 1 if something could not be measured.

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

/** In the order of the document. Those of a lane follow each other, the lanes run side by side. */
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

/** What a part has given, in Markdown, and whether it could be measured. */
interface Given {
  readonly text: string;
  readonly isWhole: boolean;
}

async function measurePart({ name, measure }: Part, program: string): Promise<Given> {
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

async function measureAll(program: string): Promise<Given[]> {
  const given: Given[] = [];
  for (const lanes of STAGES) {
    const ended = await Promise.all(lanes.map(async (parts) => {
      const ofLane: Given[] = [];
      for (const part of parts) ofLane.push(await measurePart(part, program));
      return ofLane;
    }));
    given.push(...ended.flat());
  }
  return given;
}

/** The first line that a program writes when it is asked for its version. */
async function versionOf(program: string, ...args: string[]): Promise<string> {
  try {
    const { stdout } = await run(program, args);
    return new TextDecoder().decode(stdout).split("\n")[0] ?? "";
  } catch {
    return `no ${program}`;
  }
}

/** Machine, versions, date and commit: figures without them say nothing. */
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
  const given = await measureAll(program);
  await writeDocument("bench", [head, ...given.map(({ text }) => text.trim())].join("\n\n"));
  console.log(`all: ${((performance.now() - startedMs) / 60_000).toFixed(1)} min, ${DOCUMENT}`);
  if (given.some(({ isWhole }) => !isWhole)) Deno.exitCode = 1;
}
