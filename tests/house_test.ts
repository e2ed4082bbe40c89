// Enforces the architecture: which folder may import from which, and what each kind of module may use.

import { assert, assertEquals } from "@std/assert";
import { join } from "@std/path/join";

const ROOT = new URL("..", import.meta.url).pathname;

/**
 * Folders, and agent.ts with agent/, from the top down: one imports what stands below it only. Those on one line never
 * import each other.
 */
const FLOORS: readonly (readonly string[])[] = [
  ["commands"],
  ["agent"],
  ["capture", "receive", "upload", "web"],
  ["microphone"],
  ["spool"],
  ["status"],
  ["chunk"],
  ["config"],
  ["system"],
];
/** Folders and modules that take values and return values, and touch nothing else. */
const PURE = [
  "src/chunk/",
  "src/commands/check_answers.ts",
  "src/config/address_values.ts",
  "src/config/audio_device.ts",
  "src/config/config_file.ts",
  "src/config/config_values.ts",
  "src/config/key.ts",
  "src/config/key_values.ts",
  "src/config/keys.ts",
  "src/config/pem.ts",
  "src/config/phase.ts",
  "src/config/schedule.ts",
  "src/config/sources.ts",
  "src/config/transport.ts",
  "src/config/words.ts",
  "src/capture/before_start.ts",
  "src/capture/causes.ts",
  "src/capture/channel_meter.ts",
  "src/capture/chunk_chain.ts",
  "src/capture/level_meter.ts",
  "src/capture/pause.ts",
  "src/capture/sound_watch.ts",
  "src/capture/timeline.ts",
  "src/microphone/capture_attempts.ts",
  "src/microphone/channel_choice.ts",
  "src/microphone/keeper_machine.ts",
  "src/microphone/microphone_choice.ts",
  "src/microphone/sound_listing.ts",
  "src/spool/latest_chunk.ts",
  "src/receive/chunk_form.ts",
  "src/receive/day_coverage.ts",
  "src/receive/key_turns.ts",
  "src/receive/multipart_reader.ts",
  "src/receive/overview.ts",
  "src/receive/pages.ts",
  "src/receive/s3_answers.ts",
  "src/receive/s3_settings.ts",
  "src/receive/shares.ts",
  "src/receive/store.ts",
  "src/receive/store_turns.ts",
  "src/receive/store_window.ts",
  "src/spool/name_block.ts",
  "src/spool/oldest_names.ts",
  "src/spool/retention.ts",
  "src/status/holders.ts",
  "src/status/ledger.ts",
  "src/status/levels.ts",
  "src/status/problems.ts",
  "src/status/tally.ts",
  "src/system/concat_bytes.ts",
  "src/system/connection_life.ts",
  "src/system/control_protocol.ts",
  "src/system/error_text.ts",
  "src/system/http_answer.ts",
  "src/system/http_body.ts",
  "src/system/http_request.ts",
  "src/system/printable.ts",
  "src/system/prometheus.ts",
  "src/system/redact.ts",
  "src/system/answer_reader.ts",
  "src/system/transport_failures.ts",
  "src/upload/line_patience.ts",
  "src/upload/multipart.ts",
  "src/upload/blame.ts",
  "src/upload/interval.ts",
  "src/upload/line_rate.ts",
  "src/upload/pace.ts",
  "src/system/proxy.ts",
  "src/upload/send_window.ts",
  "src/upload/verdict.ts",
  "src/system/work_budget.ts",
];

interface Module {
  /** From the project's root. */
  readonly path: string;
  readonly text: string;
  /** Without comments. */
  readonly code: string;
  /** Modules of this project that it imports, types included. */
  readonly imports: readonly string[];
}

function readModules(): Module[] {
  const paths = ["main.ts"];
  const walk = (dir: string) => {
    for (const { name, isDirectory } of Deno.readDirSync(join(ROOT, dir))) {
      const path = join(dir, name);
      if (isDirectory) walk(path);
      else if (name.endsWith(".ts") && !name.endsWith(".d.ts")) paths.push(path);
    }
  };
  walk("src");
  return paths.sort().map((path) => {
    const text = Deno.readTextFileSync(join(ROOT, path));
    const code = text.replaceAll(/^\s*(\/\*\*[^]*?\*\/|\/\/.*$)/gm, "");
    const specifiers = [...code.matchAll(/(?:\bfrom|\bimport\(?)\s*"(\.[^"]+\.ts)"/g)];
    const imports = specifiers.map(([, specifier = ""]) => join(path, "..", specifier));
    return { path, text, code, imports };
  });
}

const modules = readModules();

/** `capture` of `src/capture/stream.ts`, `agent` of `src/agent.ts`. */
function roomOf(path: string): string {
  const [, room = ""] = path.split("/");
  return room.replace(/\.ts$/, "");
}

function floorOf(path: string): number {
  return FLOORS.findIndex((rooms) => rooms.includes(roomOf(path)));
}

/** Imports between two rooms for which this holds, as sentences. */
function importsWhere(isWanted: (from: string, to: string) => boolean): string[] {
  return modules.filter(({ path }) => path !== "main.ts").flatMap(({ path, imports }) =>
    imports.filter((imported) => roomOf(imported) !== roomOf(path) && isWanted(path, imported))
      .map((imported) => `${path} imports ${imported}`)
  );
}

/** Paths of the modules whose code matches. */
function mentioning(pattern: RegExp): string[] {
  return modules.filter(({ code }) => pattern.test(code)).map(({ path }) => path);
}

Deno.test("the modules and their imports are found", () => {
  assert(modules.length > 25);
  const agent = modules.find(({ path }) => path === "src/agent.ts");
  assert(agent?.imports.includes("src/spool/spool.ts"));
  assert(agent?.imports.every((path) => modules.some((module) => module.path === path)));
});

Deno.test("every module is in a known folder", () => {
  const homeless = modules.filter(({ path }) => path !== "main.ts" && floorOf(path) < 0);
  assertEquals(homeless.map(({ path }) => path), []);
});

Deno.test("folders import in one direction: from those below", () => {
  assertEquals(importsWhere((from, to) => floorOf(to) <= floorOf(from)), []);
});

Deno.test("only the agent builds what people and machines read", () => {
  assertEquals(importsWhere((from, to) => roomOf(to) === "web" && roomOf(from) !== "agent"), []);
});

Deno.test("the capture, the uploader and the janitor meet in the spool: they never import each other", () => {
  const workers = ["src/capture/recorder.ts", "src/upload/uploader.ts", "src/spool/janitor.ts"];
  const meeting = modules.filter(({ path }) => roomOf(path) !== "agent").flatMap((
    { path, imports },
  ) =>
    imports.filter((imported) => workers.includes(imported)).map((to) => `${path} imports ${to}`)
  );
  assertEquals(meeting, []);
});

Deno.test("a function that another folder calls says what it does", () => {
  const undocumented = modules.flatMap(({ path, text }) => {
    const callers = modules.filter((other) =>
      other.imports.includes(path) && roomOf(other.path) !== roomOf(path)
    );
    return [...text.matchAll(/^(?<before>.*)\n^export (?:async )?function\*? (?<name>\w+)/gm)]
      .map(({ groups }) => ({ name: groups?.name ?? "", before: groups?.before ?? "" }))
      .filter(({ before }) => !before.endsWith("*/"))
      .filter(({ name }) => callers.some(({ code }) => new RegExp(`\\b${name}\\b`).test(code)))
      .map(({ name }) => `${path}: ${name}`);
  });
  assertEquals(undocumented, []);
});

Deno.test("no module imports itself, directly or through others", () => {
  const done = new Set<string>();
  const cycles: string[] = [];
  const visit = (path: string, trail: readonly string[]) => {
    if (trail.includes(path)) cycles.push([...trail.slice(trail.indexOf(path)), path].join(" → "));
    if (trail.includes(path) || done.has(path)) return;
    const { imports = [] } = modules.find((module) => module.path === path) ?? {};
    for (const imported of imports) visit(imported, [...trail, path]);
    done.add(path);
  };
  for (const { path } of modules) visit(path, []);
  assertEquals(cycles, []);
});

Deno.test("pure modules use neither Deno, nor time, nor random numbers, nor the network", () => {
  const impure =
    /\bDeno\b|\bDate\.now\b|new Date\(\)|\bperformance\b|Math\.random|\bcrypto\b|\bfetch\(|setTimeout|\bnode:|\bprocess\./;
  const isPure = (path: string) => PURE.some((pure) => path.startsWith(pure));
  const touching = modules.filter(({ path, code }) => isPure(path) && impure.test(code));
  for (const pure of PURE) assert(modules.some(({ path }) => path.startsWith(pure)), pure);
  assertEquals(touching.map(({ path }) => path), []);
});

Deno.test("only main.ts ends the process, and only places.ts reads the environment", () => {
  assertEquals(mentioning(/\bDeno\.exit\b|\bprocess\.exit\b/), ["main.ts"]);
  assertEquals(mentioning(/\bDeno\.env\b|\bprocess\.env\b/), ["src/config/places.ts"]);
});

Deno.test("only disk.ts reads whole files, because each has a limit there, and none is opened through a pipe", () => {
  const whole = /\bDeno\.read(Text)?File(Sync)?(?!\w|\(new URL)|\.readAll\(|\bchild\.output\(\)/;
  assertEquals(mentioning(whole), []);
});

Deno.test("only main.ts and the commands talk to a person", () => {
  const talking = mentioning(/\bconsole\b/).filter((path) => !path.startsWith("src/commands/"));
  assertEquals(talking.filter((path) => path !== "main.ts"), []);
});

Deno.test("the time is read only from the clock", () => {
  const timing = /\bDate\.now\b|\bperformance\.now\b|\bsetInterval\b/;
  assertEquals(mentioning(timing), ["src/system/clock.ts"]);
});

Deno.test("no module has state of its own, and there is no collection of mixed helpers", () => {
  const state =
    /^(export )?(let|var) |^(export )?const \w+(: .*)? = new (Map|Set|WeakMap|AbortController)\b/m;
  assertEquals(mentioning(state).filter((path) => path !== "main.ts"), []);
  assertEquals(modules.map(({ path }) => path).filter((path) => /utils?\.ts$/.test(path)), []);
});

Deno.test("every module starts with a sentence about its responsibility", () => {
  const silent = modules.filter(({ text }) =>
    !/^(\/\/ deno-lint-ignore-file .*\n)?(\/\/|\/\*\*\n \*) [A-Z].{20,}/.test(text)
  );
  assertEquals(silent.map(({ path }) => path), []);
});

Deno.test("deno.lock has the packages of deno.json and no others: the compiled program carries them all", () => {
  const { imports }: { imports: Record<string, string> } = JSON.parse(
    Deno.readTextFileSync(join(ROOT, "deno.json")),
  );
  const { npm }: { npm: Record<string, unknown> } = JSON.parse(
    Deno.readTextFileSync(join(ROOT, "deno.lock")),
  );
  const nameOf = (specifier: string) =>
    /^(?:npm:)?((?:@[^/]+\/)?[^@/]+)@/.exec(specifier)?.[1] ?? specifier;
  const used = [...new Set(Object.values(imports).map(nameOf))].sort();
  assertEquals(Object.keys(npm).map(nameOf), used);
});

Deno.test("the compiled program contains every file that it reads beside its modules", () => {
  const { tasks }: { tasks: Record<string, string> } = JSON.parse(
    Deno.readTextFileSync(join(ROOT, "deno.json")),
  );
  const included = [...(tasks["compile:any"] ?? "").matchAll(/--include (\S+)/g)]
    .map(([, path = ""]) => path);
  const read = modules.flatMap(({ code }) => [
    ...[...code.matchAll(/new URL\(`(?:\.\.\/)+([^`$.]+)\//g)].map(([, path = ""]) => path),
    ...[...code.matchAll(/readAsset\("([^"]+)"/g)].map(([, path = ""]) => path),
  ]);
  assertEquals([...new Set(read)].sort(), included.toSorted());
});
