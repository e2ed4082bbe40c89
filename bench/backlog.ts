// deno-lint-ignore-file no-console -- a benchmark talks to a person
// Measures what a backlog costs, with 1,000 to 500,000 small chunks in a directory. First the real agent,
// from source, starts on it outside its schedule, with a server that refuses everything. Then a separate
// process serves /health and runs the janitor's passes: the first one, which reads sizes, some on an
// unchanged directory, and some on one that another process has changed. `ls` and `find` read the same
// directory in the same run. Last, all chunks are taken in order, as the uploader does, in a process that
// has done so before.
//
// `bench/backlog.ts [CHUNKS ...]`. The table goes to stdout. A run takes about three minutes, and needs
// space for 500,000 names in the temporary directory.

import { join } from "@std/path/join";
import { systemClock } from "../src/system/clock.ts";
import { startLog } from "../src/system/log.ts";
import { type ChunkDir, formatChunkName } from "../src/chunk/chunk_name.ts";
import { Janitor } from "../src/spool/janitor.ts";
import { Spool } from "../src/spool/spool.ts";
import { HealthServer } from "../src/web/health_server.ts";
import { Status } from "../src/status/status.ts";
import { AgentProcess } from "../tests/fixtures/agent_process.ts";
import { ids, makeChunk } from "../tests/fixtures/chunks.ts";
import { type Table, toMarkdown } from "./table.ts";

const SIZES = [1_000, 10_000, 110_000, 500_000];
const PASSES = 3;
/** Choosing is measured over at least this many chunks, and after as many more. */
const ENOUGH_CHUNKS = 20_000;
/** How many names share a file, because creating hard links is four times as fast as creating files. */
const NAMES_OF_A_FILE = 100;
const CHUNKS = "chunks";

type Row = Record<string, string | number>;

/**
 * Fills a directory of a spool with chunks of 2 s. The newest one is an hour old.
 * @param apartMs from the start of one to the start of the next; less if some would be too old.
 */
export function makeBacklog(
  spoolDir: string,
  chunks: number,
  { dir = "outbox", apartMs: wantedMs = 2000 }: { dir?: ChunkDir; apartMs?: number } = {},
): void {
  const folder = join(spoolDir, dir);
  Deno.mkdirSync(folder, { recursive: true });
  const bytes = makeChunk();
  const apartMs = Math.min(wantedMs, Math.floor(6 * 86_400_000 / chunks));
  const startUnixMs = Date.now() - 3_600_000 - chunks * apartMs;
  let written = "";
  for (let index = 0; index < chunks; index++) {
    const startUnixUs = (startUnixMs + index * apartMs) * 1000;
    const name = { startUnixUs, durationUs: 2e6, key: crypto.randomUUID() };
    const path = join(folder, formatChunkName(name));
    if (index % NAMES_OF_A_FILE !== 0) Deno.linkSync(written, path);
    else Deno.writeFileSync(written = path, bytes);
  }
}

/** The real program: the time until its first chunk arrives, and its memory a moment later. */
async function measureAgent(dir: string, spoolDir: string): Promise<Row> {
  const arrived = Promise.withResolvers<number>();
  await using server = Deno.serve({ hostname: "127.0.0.1", port: 0, onListen() {} }, () => {
    arrived.resolve(performance.now());
    return new Response("no", { status: 503 });
  });
  const later = (hours: number) =>
    new Date(Date.now() + hours * 3_600_000).toTimeString().slice(0, 5);
  const startedMs = performance.now();
  await using agent = await AgentProcess.start({
    dir,
    config: {
      spool_dir: spoolDir,
      ingest_base_url: `http://127.0.0.1:${server.addr.port}`,
      ingest_token: "backlog",
      schedule_start: later(3),
      schedule_end: later(4),
      min_free_gb: 0,
    },
  });
  const firstUploadMs = await arrived.promise - startedMs;
  await systemClock.sleep(3000);
  const rss = /VmRSS:\s+(\d+)/.exec(Deno.readTextFileSync(`/proc/${agent.pid}/status`))?.[1];
  return {
    "start to first upload, ms": Math.round(firstUploadMs),
    "memory (RSS), MB": Math.round(Number(rss) * 1024 / 1e6),
  };
}

/** How long /health takes to answer a client while the janitor's passes run. */
async function measureHealth(spoolDir: string): Promise<Row> {
  const child = new Deno.Command(Deno.execPath(), {
    args: ["run", "-A", "--no-check", new URL(import.meta.url).pathname, "--passes", spoolDir],
    stdin: "null",
    stdout: "piped",
    stderr: "inherit",
  }).spawn();
  const latenciesMs: number[] = [];
  let result: Row | null = null;
  let asking: Promise<void> = Promise.resolve();
  for await (const text of child.stdout.pipeThrough(new TextDecoderStream())) {
    const { port, ...row } = JSON.parse(text);
    if (port === undefined) result = row;
    else asking = ask(port, latenciesMs, () => result !== null);
  }
  await asking;
  await child.status;
  latenciesMs.sort((a, b) => a - b);
  return {
    ...result,
    "/health p50, ms": (latenciesMs[latenciesMs.length >> 1] ?? NaN).toFixed(1),
    "/health max, ms": (latenciesMs.at(-1) ?? NaN).toFixed(0),
  };
}

async function ask(port: number, latenciesMs: number[], isOver: () => boolean): Promise<void> {
  while (!isOver()) {
    const askedMs = performance.now();
    const answer = await fetch(`http://127.0.0.1:${port}/health`).catch(() => null);
    if (answer === null) return; // the process has ended
    await answer.body?.cancel();
    latenciesMs.push(performance.now() - askedMs);
    await systemClock.sleep(2);
  }
}

/** The process that `measureHealth` starts: it serves /health and runs the janitor's passes. */
async function makePasses(spoolDir: string): Promise<void> {
  const log = startLog({ level: "ERROR", journal: false });
  const clock = systemClock;
  const status = new Status({ ...ids, version: "0" }, clock);
  const spool = await Spool.open(spoolDir);
  const report = () => status.report(spool);
  const view = () => {
    throw new Error("only /health is requested here");
  };
  const health = HealthServer.start({ port: 0, report, view, status, clock, log });
  console.log(JSON.stringify({ port: health.port }));
  await clock.sleep(300);
  const limits = {
    keepDeliveredDays: 7,
    maxWaitingDays: 7,
    maxSpoolBytes: 20e9,
    minFreeBytes: 0,
    chunkBytes: 250_000,
  };
  const janitor = new Janitor(spool, limits, { clock, status, log });
  let lastMs = performance.now();
  let longestMs = 0;
  const heart = setInterval(() => {
    longestMs = Math.max(longestMs, performance.now() - lastMs - 1);
    lastMs = performance.now();
  }, 1);
  const pass = async () => {
    const startMs = performance.now();
    await janitor.removeExpired();
    await janitor.makeRoom();
    return performance.now() - startMs;
  };
  const firstMs = await pass();
  const unchangedMs: number[] = [];
  const touchedMs: number[] = [];
  for (let count = 0; count < PASSES; count++) {
    await clock.sleep(50);
    unchangedMs.push(await pass());
    Deno.writeTextFileSync(spool.path("outbox", `${count}.txt`), "");
    await clock.sleep(50);
    touchedMs.push(await pass());
  }
  clearInterval(heart);
  console.log(JSON.stringify({
    "first pass, ms": Math.round(firstMs),
    "pass, unchanged folder, ms": Math.min(...unchangedMs).toFixed(1),
    "pass, touched folder, ms": Math.round(Math.min(...touchedMs)),
    "longest block, ms": Math.round(longestMs),
  }));
  await health.close();
  spool.close();
}

/** Takes every chunk in order. Returns for how long that chose the next one, ms. */
async function drain(spoolDir: string): Promise<number> {
  const spool = await Spool.open(spoolDir);
  let choosingMs = 0;
  while (true) {
    const startMs = performance.now();
    const name = await spool.oldest("outbox");
    choosingMs += performance.now() - startMs;
    if (name === null) break;
    await spool.remove("outbox", formatChunkName(name));
  }
  spool.close();
  return choosingMs;
}

/** The cost of choosing the next chunk, in as many drains as have enough chunks together. */
async function measureDrain(spoolDir: string, chunks: number): Promise<Row> {
  makeBacklog(`${spoolDir}-warm-up`, ENOUGH_CHUNKS);
  await drain(`${spoolDir}-warm-up`); // the first calls of a function take longer: V8 compiles it
  let choosingMs = await drain(spoolDir);
  let drains = 1;
  for (; drains * chunks < ENOUGH_CHUNKS; drains++) {
    makeBacklog(spoolDir, chunks);
    choosingMs += await drain(spoolDir);
  }
  return {
    "drain, choosing: s": (choosingMs / drains / 1000).toFixed(3),
    "µs a chunk": (choosingMs / drains / chunks * 1000).toFixed(1),
  };
}

async function timed(program: string, ...args: string[]): Promise<number> {
  const startMs = performance.now();
  await new Deno.Command(program, { args, stdout: "null" }).output();
  return Math.round(performance.now() - startMs);
}

async function measureOne(chunks: number): Promise<Row> {
  const dir = await Deno.makeTempDir({ prefix: "recorder-agent-backlog-" });
  const spoolDir = join(dir, "spool");
  const outbox = join(spoolDir, "outbox");
  try {
    makeBacklog(spoolDir, chunks);
    const agent = await measureAgent(dir, spoolDir);
    const passes = await measureHealth(spoolDir);
    const others = {
      "ls -U, ms": await timed("ls", "-U", outbox),
      "find, ms": await timed("find", outbox),
      "find -printf %s, ms": await timed("find", outbox, "-printf", "%s\n"),
    };
    return {
      [CHUNKS]: chunks,
      ...agent,
      ...passes,
      ...await measureDrain(spoolDir, chunks),
      ...others,
    };
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
}

/** A table with a column for each size. */
export async function measure(sizes: readonly number[] = SIZES): Promise<Table[]> {
  const columns: Row[] = [];
  for (const chunks of sizes) columns.push(await measureOne(chunks));
  const labels = Object.keys(columns[0] ?? {}).filter((label) => label !== CHUNKS);
  return [{
    title: "What a backlog costs",
    note:
      "The agent from source, outside its schedule, compared with `ls` and `find` on the same directory. " +
      "Choosing is measured in a warm process, over 20,000 chunks at least: fewer are drained repeatedly.",
    header: ["chunks waiting", ...columns.map((row) => Number(row[CHUNKS]).toLocaleString("en"))],
    rows: labels.map((label) => [label, ...columns.map((row) => row[label] ?? "")]),
  }];
}

if (import.meta.main) {
  const [first, second] = Deno.args;
  if (first === "--passes") {
    await makePasses(second ?? "");
  } else {
    const tables = await measure(Deno.args.length > 0 ? Deno.args.map(Number) : SIZES);
    for (const table of tables) console.log(toMarkdown(table));
  }
}
