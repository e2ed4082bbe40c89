// deno-lint-ignore-file no-console -- a person runs this
// Updates and downgrades over full spools: each release records without a server until chunks wait, is killed in the
// middle of one, and the next program takes the spool over and delivers it. No chunk that was sealed may be lost or
// refused, and the one that was being written must arrive as well. From each release to this source, and from
// this source one release back.
//
// `deno task test:releases`; needs the git history, and the packages of the old releases in Deno's cache or a registry.
// The updates run side by side.

import { delay } from "@std/async/delay";
import { join } from "@std/path/join";
import { run } from "../fixtures/command.ts";
import { IngestServer } from "../fixtures/ingest_server.ts";

const SOURCE = new URL("../..", import.meta.url).pathname;
/** The commit of each release: the last one of 0.1.0, and that which made 0.2.0. */
const RELEASES: Readonly<Record<string, string>> = { "0.1.0": "f5381e0^", "0.2.0": "f5381e0" };
const NOW = "this source";
const PAIRS: readonly (readonly [string, string])[] = [
  ["0.1.0", NOW],
  ["0.2.0", NOW],
  [NOW, "0.2.0"],
];
/** Two minutes of chunks. */
const WAITING = 60;
const LIMIT_MS = 300_000;

const dir = await Deno.makeTempDir({ prefix: "releases-" });

/** The folder with the source of a release. */
const sourceOf = (name: string) => name in RELEASES ? join(dir, name) : SOURCE;

async function unpack(name: string, commit: string): Promise<void> {
  const path = sourceOf(name);
  await Deno.mkdir(path);
  await run("sh", ["-c", `git -C ${SOURCE} archive ${commit} | tar -x -C ${path}`]);
}

function start(source: string, config: string): Deno.ChildProcess {
  return new Deno.Command(Deno.execPath(), {
    args: ["run", "-A", "--quiet", "main.ts", "-c", config],
    cwd: source,
    stdout: "null",
    stderr: "null",
  }).spawn();
}

async function names(path: string): Promise<string[]> {
  try {
    return (await Array.fromAsync(Deno.readDir(path), ({ name }) => name))
      .filter((name) => /\.(ogg|part)$/.test(name)).sort();
  } catch {
    return [];
  }
}

async function until(what: string, isSo: () => Promise<boolean>): Promise<void> {
  const endMs = performance.now() + LIMIT_MS;
  while (!await isSo()) {
    if (performance.now() > endMs) throw new Error(`Not within five minutes: ${what}`);
    await delay(100);
  }
}

/** What is wrong; empty if nothing is. */
async function takeOver(from: string, to: string): Promise<string[]> {
  const spool = await Deno.makeTempDir({ dir });
  const config = `${spool}.yaml`;
  const write = (url: string) =>
    Deno.writeTextFile(
      config,
      `point_id: 11111111-1111-4111-8111-111111111111
register_id: 22222222-2222-4222-8222-222222222222
device_id: 33333333-3333-4333-8333-333333333333
ingest_base_url: ${url}
ingest_token: test-token
audio_device: "null"
schedule_start: "00:00"
schedule_end: "00:00"
chunk_seconds: 2
spool_dir: ${spool}
min_free_gb: 0
health_port: 0
`,
    );
  await write("http://127.0.0.1:9");
  const old = start(sourceOf(from), config);
  const outbox = join(spool, "outbox");
  const recording = join(spool, "recording");
  try {
    await until(
      `${from} fills its spool`,
      async () => (await names(outbox)).length >= WAITING && (await names(recording)).length > 0,
    );
  } finally {
    old.kill("SIGKILL");
    await old.status;
  }
  await run("sh", ["-c", "sleep 1"]); // its ffmpeg ends
  const waiting = await names(outbox);
  const parts = await names(recording);
  await using ingest = await IngestServer.start();
  await write(ingest.url);
  const next = start(sourceOf(to), config);
  try {
    await until(
      `${to} delivers what waits`,
      () => Promise.resolve(ingest.chunks.length > waiting.length + parts.length),
    );
  } finally {
    next.kill("SIGTERM");
    await next.status;
  }
  const keys = new Set(ingest.chunks.map(({ key }) => key));
  /** The key of a chunk is the last part of its name. */
  const keyOf = (name: string) => name.split("_").at(-1)?.replace(/\..*$/, "") ?? name;
  return [
    ...waiting.filter((name) => !keys.has(keyOf(name))).map((name) => `${name} was not delivered`),
    ...(await names(join(spool, "rejected"))).map((name) => `${name} was refused`),
    ...(await names(recording)).filter((name) => parts.includes(name))
      .map((name) => `${name} was not recovered`),
    ...ingest.violations,
  ];
}

let failed = 0;
try {
  for (const [name, commit] of Object.entries(RELEASES)) await unpack(name, commit);
  await Promise.all(PAIRS.map(async ([from, to]) => {
    const faults = await takeOver(from, to).catch((error) => [String(error)]);
    failed += faults.length;
    console.log(`${faults.length === 0 ? "✔" : "✘"} ${from} → ${to}`);
    for (const fault of faults) console.log(`    ${fault}`);
  }));
} finally {
  await Deno.remove(dir, { recursive: true });
}
Deno.exit(failed === 0 ? 0 : 1);
