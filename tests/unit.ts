// deno-lint-ignore-file no-console -- a test runner talks to a person
// Runs the unit tests: all but those in tests/integration. Deno gives each test file an isolate of its own,
// and one takes 0.07 s of processor time before its first test (2.9.6 also fills 80 MB of memory for
// `Deno.bench`). So the files are dealt to a few modules that import them. The place that the output
// gives for a failed test is that in its file.
//
// `tests/unit.ts [OPTION …] [FILE …]`; the options are those of `deno test`. Without files or folders: all.

import { join, relative, resolve } from "node:path";
import { pathToFileURL } from "node:url";

/** All run at once, more than there are cores: some tests wait for a socket or for a child process. */
const MODULES = 8;
/** These take longest, so each is among the first of a module. */
const FIRST = (
  "bench/fleet spool/spool_faults chunk/chunk_file upload/uploader_answers " +
  "commands/conform capture/day upload/uploader_rejected spool/spool_backlog spool/spool_listing " +
  "config/config spool/chunk_writer spool/spool upload/uploader_window " +
  "upload/slow_line docs system/http_listener upload/uploader_order capture/account chunk/chunker"
).split(" ");

const root = join(import.meta.dirname ?? ".", "..");

function* testsIn(dir: string): Generator<string> {
  for (const { name, isDirectory } of Deno.readDirSync(dir)) {
    const path = join(dir, name);
    if (isDirectory && path !== join(root, "tests/integration")) yield* testsIn(path);
    else if (name.endsWith("_test.ts")) yield path;
  }
}

/** The position of a file in FIRST, or after all of those. */
function rankOf(path: string): number {
  const at = FIRST.indexOf(relative(join(root, "tests"), path).replace(/_test\.ts$/, ""));
  return at < 0 ? FIRST.length : at;
}

/** The files with unit tests in these files and folders, those that take longest first; absolute paths. */
export function unitTests(paths: readonly string[] = [join(root, "tests")]): string[] {
  const files = paths.map((path) => resolve(path)).flatMap((path) =>
    Deno.statSync(path).isDirectory ? [...testsIn(path)] : [path]
  );
  return files.sort((a, b) => rankOf(a) - rankOf(b) || (a < b ? -1 : 1));
}

/** Deals files, absolute paths, to modules in `dir` that import them. Returns the paths of the modules. */
export function deal(files: readonly string[], dir: string, most: number): string[] {
  return Array.from({ length: Math.min(most, files.length) }, (_, at) => {
    const path = join(dir, `unit_${String(at + 1).padStart(2, "0")}_test.ts`);
    const own = files.filter((_, index) => index % most === at);
    Deno.writeTextFileSync(path, own.map((file) => `import "${pathToFileURL(file)}";\n`).join(""));
    return path;
  });
}

if (import.meta.main) {
  // Not whatever exists: `--filter docs` has a value that is a folder, too.
  const paths = Deno.args.filter((arg) => `${resolve(arg)}/`.startsWith(join(root, "tests/")));
  const files = paths.length > 0 ? unitTests(paths) : unitTests();
  const dir = Deno.makeTempDirSync({ prefix: "recorder-agent-unit-" });
  const modules = deal(files, dir, MODULES);
  const given = Deno.args.filter((arg) => !paths.includes(arg));
  // The types were checked by `deno check`.
  const options = ["-A", "--no-check", "--parallel", "--sanitize-ops", "--sanitize-resources"];
  const child = new Deno.Command(Deno.execPath(), {
    args: ["test", "--config", join(root, "deno.json"), ...options, ...given, ...modules],
    env: { DENO_JOBS: String(MODULES) },
    cwd: root,
  }).spawn();
  // Ctrl-C reaches the child as well, which says what was pending and ends.
  Deno.addSignalListener("SIGINT", () => {});
  Deno.addSignalListener("SIGTERM", () => child.kill("SIGTERM"));
  const { code } = await child.status;
  Deno.removeSync(dir, { recursive: true });
  console.log(`Test files: ${files.length}`);
  Deno.exitCode = code;
}
