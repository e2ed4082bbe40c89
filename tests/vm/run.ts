// deno-lint-ignore-file no-console -- the rig talks to a person
// Runs the scenarios in a guest and prints and keeps the measurements of each. It builds
// image and program if they are missing or out of date. docs/testing.md lists the requirements.
//
//   DEBIAN=12|13 ARCH=amd64|arm64 deno task test:vm [--list] [--only NAME[,NAME…]] [--record-sound FOLDER]
//   deno task test:vm --write
//
// The scenarios run in the order of --only, each once, and after the one that it needs. The exit code is 1 if
// a promise does not hold, or a scenario could not run; that one keeps its older result. --write runs none: it
// writes the last result of each scenario in each guest into docs/testing.md.

import { join } from "@std/path/join";
import { writeDocument } from "../../bench/document.ts";
import { buildBinaries } from "../fixtures/binaries.ts";
import type { Arch } from "./guest.ts";
import { keepResult, readResults, type Result, resultsTable, sourcesOf } from "./results.ts";
import { Rig } from "./rig.ts";
import { checkAfter, chooseScenarios, Report, type Scenario } from "./scenario.ts";
import { recordSound } from "./record_sound.ts";
import { costScenarios } from "./scenarios/cost.ts";
import { encryptedScenarios } from "./scenarios/encrypted.ts";
import { hostScenarios } from "./scenarios/host.ts";
import { microphoneScenarios } from "./scenarios/microphone.ts";
import { packageScenarios } from "./scenarios/package.ts";
import { releaseScenarios } from "./scenarios/release.ts";
import { sandboxScenarios } from "./scenarios/sandbox.ts";
import { serviceScenarios } from "./scenarios/service.ts";
import { settingsScenarios } from "./scenarios/settings.ts";
import { startScenarios } from "./scenarios/start.ts";

export const SCENARIOS: readonly Scenario[] = [
  ...startScenarios,
  ...microphoneScenarios,
  ...hostScenarios,
  ...serviceScenarios,
  ...settingsScenarios,
  ...sandboxScenarios,
  ...encryptedScenarios,
  ...costScenarios,
  // They change how the program was installed, so they are the last ones.
  ...packageScenarios,
  // It has a disk of its own.
  ...releaseScenarios,
];

/** Images, logs and results, in a folder for each guest. */
const FOLDER = Deno.env.get("RECORDER_VM_DIR") ?? "/tmp/recorder-agent-vm";

async function main(args: readonly string[]): Promise<number> {
  if (args.includes("--list")) {
    for (const { name, what, after } of SCENARIOS) {
      console.log(`${name.padEnd(16)} ${what}${after === undefined ? "" : ` (after ${after})`}`);
    }
    return 0;
  }
  if (args.includes("--write")) {
    await write();
    return 0;
  }
  const arch = Deno.env.get("ARCH") ?? "amd64";
  if (arch !== "amd64" && arch !== "arm64") {
    throw new Error(`Cannot run as ARCH must be amd64 or arm64: current value is ${arch}`);
  }
  const debian = Deno.env.get("DEBIAN") ?? "12";
  if (debian !== "12" && debian !== "13") {
    throw new Error(`Cannot run as DEBIAN must be 12 or 13: current value is ${debian}`);
  }
  const only = valueOf(args, "--only")?.split(",");
  const chosen = chooseScenarios(SCENARIOS, only ?? SCENARIOS.map(({ name }) => name));

  const folder = join(FOLDER, `debian${debian}-${arch}`);
  await buildImage(debian, arch, folder);
  await using rig = await startRig(arch, folder);
  const record = valueOf(args, "--record-sound");
  if (record !== null) {
    await recordSound(rig, record);
    return 0;
  }
  let allHold = true;
  /** The scenarios that succeeded, each with its disk. */
  const succeeded = new Map<string, number>();
  for (const scenario of chosen) {
    const { name, after } = scenario;
    if (after !== undefined && succeeded.get(after) !== rig.disks) {
      console.log(`\n${name}: not run, as ${after} has not succeeded on this disk`);
      allHold = false;
      continue;
    }
    const result = await runOne(scenario, rig);
    await keepResult(folder, name, result);
    if (result.findings.every(({ holds }) => holds)) succeeded.set(name, rig.disks);
    else allHold = false;
  }
  return allHold ? 0 : 1;
}

async function runOne(scenario: Scenario, rig: Rig): Promise<Result> {
  const report = new Report();
  const [atMs, seenChunks] = [performance.now(), rig.ingest.chunks.length];
  console.log(`\n${scenario.name}: ${scenario.what}`);
  rig.note(scenario.name);
  try {
    await rig.settled();
    await scenario.run(rig, report);
    await checkAfter(rig, report, seenChunks);
  } catch (error) {
    report.holds(error instanceof Error ? error.message : String(error), false);
    await rig.restore();
  }
  for (const { what, value, limit, holds } of report.findings) {
    console.log(`  ${holds ? " " : "✘"} ${what}: ${value}${limit === "" ? "" : ` (${limit})`}`);
  }
  console.log(`    (${Math.round((performance.now() - atMs) / 1000)} s)`);
  const version = await rig.running.guest.try("recorder-agent --version")
    .catch(() => "");
  const program = /^recorder-agent (.*?)(, deno|$)/m.exec(version)?.[1] ?? "unknown";
  const day = new Date().toISOString().slice(0, 10);
  return { program: program.replace(" (", ", "), day, findings: report.findings };
}

/** Only guests that have results are in the table; `release` has one of its own. */
async function write(): Promise<void> {
  const guests = new Map<string, Readonly<Record<string, Result>>>();
  for (const debian of ["12", "13"]) {
    for (const arch of ["amd64", "arm64"]) {
      const { release: _, ...results } = await readResults(join(FOLDER, `debian${debian}-${arch}`));
      if (Object.keys(results).length > 0) guests.set(`Debian ${debian}, ${arch}`, results);
    }
  }
  if (guests.size === 0) throw new Error(`Cannot write as no guest in ${FOLDER} has results.json`);
  const table = resultsTable(SCENARIOS.map(({ name }) => name), guests);
  await writeDocument("vm", `${sourcesOf(guests)}\n\n${table}`, "docs/testing.md");
}

async function startRig(arch: Arch, folder: string): Promise<Rig> {
  const given = Deno.env.get("RECORDER_VM_BINARY");
  if (given !== undefined) return await Rig.start({ arch, folder, binary: given });
  await using binaries = await buildBinaries();
  const binary = arch === "amd64" ? binaries.x64 : binaries.arm64;
  return await Rig.start({ arch, folder, binary });
}

/** Builds it again if its sources are newer. */
async function buildImage(debian: string, arch: Arch, folder: string): Promise<void> {
  const here = new URL(".", import.meta.url).pathname;
  const guest = [...Deno.readDirSync(`${here}guest`)].map(({ name }) => `guest/${name}`);
  const sources = ["build_image.sh", ...guest].map((name) => Deno.statSync(here + name).mtime);
  const image = await Deno.stat(join(folder, "rootfs.ext4")).catch(() => null);
  const builtMs = image?.mtime?.getTime() ?? 0;
  if (sources.every((mtime) => mtime !== null && mtime.getTime() <= builtMs)) return;
  console.log(`Building the image in ${folder}; the first time takes minutes.`);
  const { code } = await new Deno.Command(`${here}build_image.sh`, {
    args: [debian, arch, folder],
  }).spawn().status;
  if (code !== 0) throw new Error(`Cannot build the image: exit ${code}; see docs/testing.md`);
}

function valueOf(args: readonly string[], option: string): string | null {
  const at = args.indexOf(option);
  return at < 0 ? null : args[at + 1] ?? "";
}

if (import.meta.main) Deno.exit(await main(Deno.args));
