// deno-lint-ignore-file no-console
// Plants small faults in the modules that carry the promises, one at a time in a copy of the source, and
// runs the unit tests that can notice. It prints every fault that none of them noticed:
//
//   deno task test:mutants --count 200 --seed 7         200 of all faults, drawn by the seed
//   deno task test:mutants --only spool/recovery.ts     all of one module, or folder
//
// `--jobs 4`: so many at a time. `--limit-s 120`: a fault that keeps a run of tests at work or asleep for longer
// has been noticed; waiting for a processor does not count. Faults that change nothing (equivalent.ts) are drawn
// and left out. On a machine that others load, tests with a time
// limit may fail without a fault: where a run took long, the tests that failed must fail twice. It ends with 1
// if fewer than 95 % were noticed.

import { relative } from "node:path";
import { join } from "@std/path/join";
import { seededRandom } from "../fixtures/random.ts";
import { deal, unitTests } from "../unit.ts";
import { limitActiveTime } from "./active_time.ts";
import { withoutEffect } from "./equivalent.ts";
import { findMutants, type Mutant } from "./mutants.ts";

const ROOT = join(import.meta.dirname ?? ".", "../..");
/** What must stay what it is while sound is recorded, kept and delivered. */
const MODULES = [
  "src/spool/",
  "src/chunk/",
  "src/capture/stream_cutter.ts",
  "src/capture/timeline.ts",
  "src/capture/level_meter.ts",
  "src/upload/blame.ts",
  "src/upload/send_window.ts",
  "src/upload/uploader.ts",
  "src/upload/ingest_client.ts",
  "src/upload/verdict.ts",
  "src/status/ledger.ts",
  "src/microphone/microphone_choice.ts",
  "src/system/connection_life.ts",
  "src/system/http_body.ts",
  "src/receive/chunk_form.ts",
  "src/receive/multipart_reader.ts",
  "src/receive/shares.ts",
];
/** All that the unit tests read. */
const COPIED = [
  ...["deno.json", "deno.lock", "main.ts", "src", "tests", "bench", "docs", ".ci", "packaging"],
  ...["config.yaml.example", ".env.example", "recorder-agent.service", "README.md"],
];
const ENOUGH = 0.95;
/** The tests of a stage are dealt to so many isolates: each takes a while to start. */
const ISOLATES = 4;
/** After a run that takes longer, a failure is checked. */
const LONG_MS = 20_000;

interface Options {
  readonly seed: number;
  /** Infinity: all. */
  readonly count: number;
  readonly only: string | null;
  readonly jobs: number;
  readonly limitMs: number;
}

/** Test files that reach a module by their imports, those that are most likely to notice first. */
interface Stages {
  readonly files: readonly string[];
  readonly what: string;
}

const imports = new Map<string, readonly string[]>();

/** Modules that a file imports, directly and by others; paths from the project's root. */
function reached(path: string, found = new Set<string>()): Set<string> {
  if (found.has(path)) return found;
  found.add(path);
  let direct = imports.get(path);
  if (direct === undefined) {
    const text = Deno.readTextFileSync(join(ROOT, path));
    direct = [...text.matchAll(/\bfrom "(\.[\w./-]+\.ts)"/g)].map(([, to = ""]) =>
      join(path, "..", to)
    );
    imports.set(path, direct);
  }
  for (const other of direct) reached(other, found);
  return found;
}

function* filesBelow(path: string): Generator<string> {
  if (path.endsWith(".ts")) return yield path;
  const dir = path.replace(/\/$/, "");
  const entries = [...Deno.readDirSync(join(ROOT, dir))].sort((a, b) => a.name < b.name ? -1 : 1);
  for (const { name, isDirectory } of entries) {
    if (isDirectory) yield* filesBelow(`${dir}/${name}`);
    else if (name.endsWith(".ts")) yield `${dir}/${name}`;
  }
}

/** Those of the folders; the others are about documents and the house. */
const tests = unitTests().map((path) => relative(ROOT, path))
  .filter((path) => /^tests\/\w+\/.*_test\.ts$/.test(path)).sort();

/** First the tests named after the module, then those of its folder, then all others that reach it. */
function stagesFor(module: string): Stages[] {
  const [, folder = "", file = ""] = module.split("/");
  const name = file.replace(/\.ts$/, "");
  const able = tests.filter((path) => reached(path).has(module));
  const own = able.filter((path) => path.startsWith(`tests/${folder}/${name}`));
  const near = able.filter((path) => path.startsWith(`tests/${folder}/`) && !own.includes(path));
  const far = able.filter((path) => !own.includes(path) && !near.includes(path));
  return [
    { files: own, what: "its own tests" },
    { files: near, what: "its folder" },
    { files: far, what: "another folder" },
  ].filter(({ files }) => files.length > 0);
}

function readOptions(): Options {
  const args: Record<string, string> = {};
  for (const [, name = "", value = ""] of Deno.args.join(" ").matchAll(/--([\w-]+)[ =](\S+)/g)) {
    args[name] = value;
  }
  const only = args["only"] ?? null;
  return {
    seed: Number(args["seed"] ?? 1),
    count: Number(args["count"] ?? (only === null ? 100 : Infinity)),
    only,
    jobs: Number(args["jobs"] ?? 2),
    limitMs: Number(args["limit-s"] ?? 120) * 1000,
  };
}

/** What is planted, and how many of the drawn faults are not, because they change nothing. */
function drawMutants({ seed, count, only }: Options): { mutants: Mutant[]; leftOut: number } {
  const random = seededRandom(seed);
  const drawn = MODULES.flatMap((path) => [...filesBelow(path)])
    .filter((path) => only === null || path.includes(only))
    .flatMap((path) => {
      const source = Deno.readTextFileSync(join(ROOT, path));
      const found = findMutants(path, source);
      const idle = withoutEffect(path, source, found);
      return found.map((mutant) => ({ mutant, isIdle: idle.has(mutant), order: random() }));
    })
    .sort((a, b) => a.order - b.order);
  const mutants: Mutant[] = [];
  let leftOut = 0;
  for (const { mutant, isIdle } of drawn) {
    if (mutants.length >= count) break;
    if (isIdle) leftOut++;
    else mutants.push(mutant);
  }
  return { mutants, leftOut };
}

/** How a run of tests ended. */
type Outcome =
  | { readonly kind: "passed" }
  | { readonly kind: "hung" }
  | {
    readonly kind: "failed";
    /** From the project's root. */
    readonly files: readonly string[];
    readonly tookMs: number;
  };

/** A copy of the source in which faults are planted. */
class Nursery implements Disposable {
  readonly #dir = Deno.makeTempDirSync({ prefix: "recorder-agent-mutants-" });
  readonly #limitMs: number;
  /** Lines about the tests that failed last. */
  failed: readonly string[] = [];

  constructor(limitMs: number) {
    this.#limitMs = limitMs;
    const there = COPIED.map((name) => join(ROOT, name)).filter((path) => exists(path));
    const { success } = new Deno.Command("cp", { args: ["-r", ...there, this.#dir] }).outputSync();
    if (!success) throw new Error(`Cannot copy the source to ${this.#dir}`);
  }

  /** Which tests noticed a fault; null: none. */
  async notice({ file, text }: Mutant): Promise<string | null> {
    const path = join(this.#dir, file);
    const original = Deno.readTextFileSync(path);
    Deno.writeTextFileSync(path, text);
    try {
      for (const { files, what } of stagesFor(file)) {
        const kind = await this.outcomeOf(files);
        if (kind !== "passed") return kind === "hung" ? `${what} (it hung)` : what;
      }
      return null;
    } finally {
      Deno.writeTextFileSync(path, original);
    }
  }

  /** How these tests end; those that fail after long must fail twice. */
  async outcomeOf(files: readonly string[], failFast = true): Promise<Outcome["kind"]> {
    const outcome = await this.#run(files, failFast);
    if (outcome.kind !== "failed" || outcome.tookMs < LONG_MS) return outcome.kind;
    return (await this.#run(outcome.files.length > 0 ? outcome.files : files, failFast)).kind;
  }

  async #run(files: readonly string[], failFast: boolean): Promise<Outcome> {
    const startMs = performance.now();
    const dealt = join(this.#dir, "dealt");
    Deno.mkdirSync(dealt);
    const modules = deal(files.map((file) => join(this.#dir, file)), dealt, ISOLATES);
    const child = new Deno.Command(Deno.execPath(), {
      args: [
        "test",
        "-A",
        "--no-check",
        "--parallel",
        ...(failFast ? ["--fail-fast"] : []),
        ...modules,
      ],
      cwd: this.#dir,
      stdin: "null",
      stdout: "piped",
      stderr: "piped",
      env: { NO_COLOR: "1" },
    }).spawn();
    let hasHung = false;
    using _limit = limitActiveTime(child.pid, this.#limitMs, () => {
      hasHung = true;
      child.kill("SIGKILL");
    });
    const { success, stdout } = await child.output();
    Deno.removeSync(dealt, { recursive: true });
    const text = new TextDecoder().decode(stdout);
    this.failed = text.split("\n").filter((line) => /FAILED/.test(line));
    if (success) return { kind: "passed" };
    if (hasHung) return { kind: "hung" };
    const found = [...text.matchAll(/ => \S*?(tests\/\S+?_test\.ts):/g)].map(([, file = ""]) =>
      file
    );
    return {
      kind: "failed",
      files: [...new Set(found)].filter((file) => files.includes(file)),
      tookMs: performance.now() - startMs,
    };
  }

  [Symbol.dispose](): void {
    Deno.removeSync(this.#dir, { recursive: true });
  }
}

function exists(path: string): boolean {
  try {
    return Deno.lstatSync(path) !== null;
  } catch {
    return false;
  }
}

const options = readOptions();
const { mutants, leftOut } = drawMutants(options);
const survivors: Mutant[] = [];
const noticedBy: Record<string, number> = {};
let next = 0;
let done = 0;
const startMs = performance.now();

async function passWithoutFault(): Promise<boolean> {
  using nursery = new Nursery(options.limitMs * 5);
  const files = mutants.flatMap(({ file }) => stagesFor(file)).flatMap(({ files }) => files);
  // All that fail, so that they can be repeated.
  const kind = await nursery.outcomeOf([...new Set(files)], false);
  if (kind !== "passed") console.error(nursery.failed.join("\n") || "The tests took too long.");
  return kind === "passed";
}

async function work(): Promise<void> {
  using nursery = new Nursery(options.limitMs);
  for (let mutant = mutants[next++]; mutant !== undefined; mutant = mutants[next++]) {
    const by = await nursery.notice(mutant);
    if (++done % 10 === 0) console.error(`${done} of ${mutants.length}`);
    if (by !== null) {
      noticedBy[by] = (noticedBy[by] ?? 0) + 1;
      continue;
    }
    survivors.push(mutant);
    console.log(
      `${mutant.file}:${mutant.line}  ${mutant.before}  →  ${mutant.after || "(nothing)"}`,
    );
  }
}

// Tests that fail without a fault notice every one.
if (!await passWithoutFault()) {
  console.error("Cannot plant faults as the unit tests must pass without: run deno task test:unit");
  Deno.exitCode = 1;
} else {
  console.log(`${leftOut} that change nothing are left out`);
  await Promise.all(Array.from({ length: options.jobs }, () => work()));
  const noticed = mutants.length - survivors.length;
  const percent = mutants.length === 0 ? 100 : noticed / mutants.length * 100;
  const seconds = Math.round((performance.now() - startMs) / 1000);
  console.log(
    `${noticed} of ${mutants.length} faults were noticed (${
      percent.toFixed(1)
    } %) in ${seconds} s: ` +
      Object.entries(noticedBy).map(([what, count]) => `${count} by ${what}`).join(", "),
  );
  if (percent < ENOUGH * 100) Deno.exitCode = 1;
}
