// deno-lint-ignore-file no-console -- a test runner talks to a person
// Runs the system tests: each file is a process of its own, and several run at a time, because they mostly
// wait for real programs; a few run alone. What a file prints appears as a whole when it has ended. A file ends
// with its own summary; `.ci/count` adds them up.
//
// `tests/system.ts [--jobs N] [FILE …]`; without files, everything in tests/integration.

import { join, relative } from "node:path";
import { parseArgs } from "node:util";

/** One more than cores: a process that waits leaves its core to another one. */
const JOBS = navigator.hardwareConcurrency + 1;
/** These depend on how fast the machine is: an emulated program, and kills at a certain moment. */
const ALONE = ["binaries", "kill"];
/** Of the others these take longest, so they start first. */
const FIRST = ["states", "faults", "agent", "fuzz", "microphone", "recorder"];

async function* testsIn(dir: string): AsyncGenerator<string> {
  for await (const { name, isDirectory } of Deno.readDir(dir)) {
    const path = join(dir, name);
    if (isDirectory) yield* testsIn(path);
    else if (name.endsWith("_test.ts")) yield path;
  }
}

/** Whether the file is the one with this name. */
function isOf(path: string, name: string): boolean {
  return path.endsWith(`/${name}_test.ts`);
}

/** The position of a file in FIRST, or after all of those. */
function rankOf(path: string): number {
  const at = FIRST.findIndex((name) => isOf(path, name));
  return at < 0 ? FIRST.length : at;
}

/** Runs one file. @returns whether all of its tests passed. */
async function run(path: string): Promise<boolean> {
  // The types were checked by `deno check`.
  const options = ["-A", "--no-check", "--sanitize-ops", "--sanitize-resources"];
  const { success, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
    args: ["test", ...options, path],
  }).output();
  for (const text of [stderr, stdout]) await Deno.stdout.write(text);
  return success;
}

const root = join(import.meta.dirname ?? ".", "..");
const { values, positionals } = parseArgs({
  args: Deno.args,
  allowPositionals: true,
  options: { jobs: { type: "string", default: String(JOBS) } },
});
const found = await Array.fromAsync(testsIn(join(root, "tests/integration")));
const all = positionals.length > 0
  ? positionals
  : found.map((path) => relative(root, path)).sort((a, b) => rankOf(a) - rankOf(b));
const failed: string[] = [];
const isAlone = (path: string) => ALONE.some((name) => isOf(path, name));
for (const path of all.filter(isAlone)) if (!await run(path)) failed.push(path);
const waiting = all.filter((path) => !isAlone(path)).values();
await Promise.all(Array.from({ length: Number(values.jobs) }, async () => {
  for (const path of waiting) if (!await run(path)) failed.push(path);
}));
for (const path of failed) console.error(`failed: ${path}`);
if (failed.length > 0) Deno.exitCode = 1;
