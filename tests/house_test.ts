// Holds the architecture: who may import whom, and what each kind of module may touch. A new module
// gets its place in LAYERS.

import { assert, assertEquals } from "@std/assert";
import { join } from "@std/path/join";

const ROOT = new URL("..", import.meta.url).pathname;

/** From the top down. A module imports from its own layer or from those below it. */
const LAYERS: readonly (readonly [layer: string, modules: readonly string[]])[] = [
  ["main", ["main.ts"]],
  ["commands", ["src/commands/*"]],
  ["agent", ["src/agent.ts"]],
  ["workers", [
    "src/capture/recorder.ts",
    "src/upload/uploader.ts",
    "src/spool/janitor.ts",
    "src/status/health_server.ts",
  ]],
  ["parts", [
    "src/capture/stream.ts",
    "src/capture/stream_cutter.ts",
    "src/capture/chunk_writer.ts",
    "src/capture/disk_lane.ts",
    "src/capture/ffmpeg.ts",
    "src/capture/ffmpeg_socket.ts",
    "src/capture/levels_reader.ts",
    "src/capture/capture_problem.ts",
    "src/capture/last_microphone.ts",
    "src/capture/microphone_keeper.ts",
    "src/capture/microphones.ts",
    "src/capture/sound_system.ts",
    "src/capture/gap_log.ts",
    "src/spool/recovery.ts",
    "src/spool/retiming.ts",
    "src/spool/spool.ts",
    "src/spool/reason_file.ts",
    "src/spool/part_file.ts",
    "src/status/status.ts",
    "src/status/counters.ts",
    "src/status/day_view.ts",
    "src/status/history.ts",
    "src/status/metrics.ts",
    "src/status/page.ts",
    "src/status/page_charts.ts",
    "src/status/page_events.ts",
    "src/status/page_html.ts",
    "src/status/page_script.ts",
    "src/status/page_style.ts",
    "src/status/page_words.ts",
    "src/status/restore.ts",
    "src/status/telemetry.ts",
    "src/status/view.ts",
    "src/upload/delivery_report.ts",
    "src/upload/ingest_client.ts",
    "src/config.ts",
    "src/systemd.ts",
  ]],
  ["seams", [
    "src/child.ts",
    "src/clock.ts",
    "src/clock_sync.ts",
    "src/heap.ts",
    "src/log.ts",
    "src/task_group.ts",
    "src/wakeup.ts",
    "src/window.ts",
    "src/spool/coalesced_sync.ts",
    "src/spool/disk.ts",
    "src/spool/folder.ts",
    "src/spool/folder_watch.ts",
    "src/spool/spool_lock.ts",
    "src/version.ts",
  ]],
  ["pure", [
    "src/config_file.ts",
    "src/config_values.ts",
    "src/schedule.ts",
    "src/capture/capture_attempts.ts",
    "src/capture/diagnosis.ts",
    "src/capture/microphone_choice.ts",
    "src/capture/sound_listing.ts",
    "src/capture/chunk_file.ts",
    "src/capture/chunker.ts",
    "src/capture/ledger.ts",
    "src/capture/levels.ts",
    "src/capture/ogg.ts",
    "src/capture/opus.ts",
    "src/capture/timeline.ts",
    "src/spool/chunk_name.ts",
    "src/spool/name_run.ts",
    "src/spool/oldest_names.ts",
    "src/spool/retention.ts",
    "src/upload/multipart.ts",
    "src/upload/queue_order.ts",
    "src/upload/send_window.ts",
  ]],
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

function layerOf(path: string): number {
  return LAYERS.findIndex(([, members]) =>
    members.some((member) =>
      member === path || (member.endsWith("/*") && path.startsWith(member.slice(0, -1)))
    )
  );
}

function inLayer(layer: string): Module[] {
  return modules.filter(({ path }) => LAYERS[layerOf(path)]?.[0] === layer);
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

Deno.test("every module has its place in the house", () => {
  assertEquals(modules.map(({ path }) => path).filter((path) => layerOf(path) < 0), []);
});

Deno.test("imports go one way: down, or sideways within a layer", () => {
  const upward = modules.flatMap(({ path, imports }) =>
    imports.filter((imported) => layerOf(imported) < layerOf(path))
      .map((imported) => `${path} imports ${imported}`)
  );
  assertEquals(upward, []);
});

Deno.test("workers never import each other: they meet in the spool", () => {
  const meeting = inLayer("workers").flatMap(({ path, imports }) =>
    imports.filter((imported) => LAYERS[layerOf(imported)]?.[0] === "workers")
      .map((imported) => `${path} imports ${imported}`)
  );
  assertEquals(meeting, []);
});

Deno.test("no module imports itself, however long the way round", () => {
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

Deno.test("pure modules touch neither Deno, nor time, nor chance, nor the network", () => {
  const impure =
    /\bDeno\b|\bDate\.now\b|new Date\(\)|\bperformance\b|Math\.random|\bcrypto\b|\bfetch\(|setTimeout|\bnode:|\bprocess\./;
  const touching = inLayer("pure").filter(({ code }) => impure.test(code));
  assertEquals(touching.map(({ path }) => path), []);
});

Deno.test("the process is left in main.ts, and the environment read in config.ts, only", () => {
  assertEquals(mentioning(/\bDeno\.exit\b|\bprocess\.exit\b/), ["main.ts"]);
  assertEquals(mentioning(/\bDeno\.env\b|\bprocess\.env\b/), ["src/config.ts"]);
});

Deno.test("only main.ts and the commands talk to a person", () => {
  const talking = mentioning(/\bconsole\b/).filter((path) => !path.startsWith("src/commands/"));
  assertEquals(talking.filter((path) => path !== "main.ts"), []);
});

Deno.test("what time it is is asked of the clock", () => {
  const timing = /\bDate\.now\b|\bperformance\.now\b|\bsetInterval\b/;
  assertEquals(mentioning(timing), ["src/clock.ts"]);
});

Deno.test("no module keeps state of its own, and none is a drawer for everything", () => {
  const state =
    /^(export )?(let|var) |^(export )?const \w+(: .*)? = new (Map|Set|WeakMap|AbortController)\b/m;
  assertEquals(mentioning(state).filter((path) => path !== "main.ts"), []);
  assertEquals(modules.map(({ path }) => path).filter((path) => /utils?\.ts$/.test(path)), []);
});

Deno.test("every module says first what it is responsible for", () => {
  const silent = modules.filter(({ text }) =>
    !/^(\/\/ deno-lint-ignore-file .*\n)?(\/\/|\/\*\*\n \*) [A-Z].{20,}/.test(text)
  );
  assertEquals(silent.map(({ path }) => path), []);
});
