// deno-lint-ignore-file no-console -- a benchmark talks to a person
// Measures how fast a backlog is delivered: chunks of 60 s over TLS with a latency of 0, 20 ms and 100 ms.
// The contestants are the compiled program, curl in one process over one connection (the upper limit of
// delivery in order), and curl with a connection for each chunk (what a script does). All send the same
// files with the same fields and headers to the same server. Server and link are separate processes.
//
// `bench/drain.ts [--chunks N] [--runs N] [--seconds S] [--binary PROGRAM] [--before PROGRAM]`. The tables go
// to stdout. With --before, another program takes turns, and only the two programs are compared. The
// rate counts from the first acceptance to the last. Contestants take turns; the medians are shown.

import { parseArgs } from "node:util";
import { join } from "@std/path/join";
import { formatTimestamp } from "../src/upload/ingest_client.ts";
import { AgentProcess, IDS } from "../tests/fixtures/agent_process.ts";
import { buildBinaries } from "../tests/fixtures/binaries.ts";
import { type Certificates, makeCertificates } from "../tests/fixtures/certificates.ts";
import { run } from "../tests/fixtures/command.ts";
import { type Accepted, FastServer } from "./fast_server.ts";
import { peakRssKb } from "./process.ts";
import { type BacklogChunk, linkBacklog, makeRealChunks } from "./real_chunks.ts";
import { SlowLink } from "./slow_link.ts";
import { type Table, toMarkdown } from "./table.ts";

const TOKEN = "drain";
const REAL_CHUNKS = 8;
const TIMEOUT_MS = 300_000;
const CONCURRENCIES = [1, 2, 4, 8];

/** The result of one run of a contestant. */
interface Drain {
  readonly chunks: number;
  readonly perSecond: number;
  /** The largest distance between a chunk's place in the order of acceptance and in the order of time. */
  readonly displaced: number;
  readonly peakRssKb: number | null;
}

interface Contestant {
  readonly name: string;
  /** With latency: chunks per chunk of one request at a time, so that all runs take about as long. */
  readonly share: number;
  /** Resolves to null if the contestant cannot take part. */
  readonly deliver: (place: Place, chunks: number) => Promise<Drain | null>;
}

/** The surroundings that the contestants share at one latency. */
interface Place {
  readonly roundTripMs: number;
  readonly url: string;
  readonly server: FastServer;
  readonly dir: string;
  readonly originals: readonly string[];
  readonly digests: readonly string[];
  readonly certificates: Certificates;
}

export interface DrainOptions {
  /** Number of chunks without latency; default 5,000. With latency there are fewer. */
  readonly chunks?: number;
  readonly runs?: number;
  /** About how long a run with latency takes with one request at a time; default 12. */
  readonly seconds?: number;
  /** The compiled program; built if it is not given. */
  readonly program?: string;
  /** Another one, which takes turns with it in place of the others. */
  readonly before?: string;
}

export async function measure(options: DrainOptions = {}): Promise<Table[]> {
  const { chunks: most = 5000, runs = 3, seconds = 12 } = options;
  await using binaries = options.program === undefined ? await buildBinaries() : null;
  const program = options.program ?? binaries?.x64 ?? "";
  const dir = await Deno.makeTempDir({ prefix: "drain-" });
  try {
    const certificates = await makeCertificates(dir);
    const real = await makeRealChunks(REAL_CHUNKS, 60, dir);
    const originals = real.map((_, index) => join(dir, `real-${index}.ogg`));
    for (const [index, path] of originals.entries()) await Deno.writeFile(path, real[index] ?? X);
    const digests = await Promise.all(real.map(sha256Base64));
    await using server = await FastServer.start(certificates);
    const bytes = Math.round(real.reduce((sum, { length }) => sum + length, 0) / real.length);
    const tables: Table[] = [];
    for (const roundTripMs of [0, 20, 100]) {
      await using link = roundTripMs === 0 ? null : await SlowLink.start(server.port, roundTripMs);
      const url = `https://127.0.0.1:${link?.port ?? server.port}`;
      const place = { roundTripMs, url, server, dir, originals, digests, certificates };
      const chunks = roundTripMs === 0 ? most : Math.round(seconds * 1000 / roundTripMs);
      const all = contestants(program, options.before ?? null);
      const drains = await takeTurns(all, place, { chunks, runs });
      tables.push(tabulate(drains, { roundTripMs, runs, bytes }));
    }
    return tables;
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
}

const X = new Uint8Array(0);

function contestants(program: string, before: string | null): Contestant[] {
  const agent = (
    name: string,
    share: number,
    config: Record<string, number>,
    used = program,
  ): Contestant => ({
    name,
    share,
    deliver: (place, chunks) => drainByAgent(used, config, place, chunks),
  });
  if (before !== null) return [agent(`${AGENT}, before`, 2, {}, before), agent(AGENT, 2, {})];
  return [
    { name: CURL, share: 1, deliver: (place, chunks) => drainByCurl([], place, chunks) },
    {
      name: "curl, a connection for each chunk",
      share: 1 / 3,
      deliver: (place, chunks) => drainByCurl(["Connection: close"], place, chunks),
    },
    agent(AGENT, 2, {}),
    ...CONCURRENCIES.map((n) =>
      agent(`${AGENT}, \`upload_concurrency: ${n}\``, n, { upload_concurrency: n })
    ),
  ];
}

const CURL = "curl, one connection";
const AGENT = "recorder-agent";

/** In each run, all contestants take a turn. One that cannot take part is not tried again. */
async function takeTurns(
  all: readonly Contestant[],
  place: Place,
  { chunks, runs }: { chunks: number; runs: number },
): Promise<Map<string, Drain[]>> {
  const drains = new Map<string, Drain[]>(all.map(({ name }) => [name, []]));
  for (let turn = 0; turn < runs; turn++) {
    for (const { name, share, deliver } of all) {
      if (turn > 0 && drains.get(name)?.length === 0) continue;
      const drain = await deliver(place, Math.ceil(chunks * (place.roundTripMs > 0 ? share : 1)));
      if (drain !== null) drains.get(name)?.push(drain);
    }
  }
  return drains;
}

/** The compiled program outside its schedule, so that it only delivers. */
async function drainByAgent(
  program: string,
  config: Record<string, number>,
  { url, server, dir, originals, certificates }: Place,
  chunks: number,
): Promise<Drain | null> {
  const spoolDir = join(dir, "spool");
  const backlog = await linkBacklog(originals, chunks, join(spoolDir, "outbox"));
  const later = (hours: number) =>
    new Date(Date.now() + hours * 3_600_000).toTimeString().slice(0, 5);
  await server.take();
  try {
    await using agent = await AgentProcess.start({
      dir,
      program: [program],
      logLevel: "INFO",
      config: {
        spool_dir: spoolDir,
        ingest_base_url: url,
        ingest_token: TOKEN,
        tls_ca_file: certificates.caFile,
        schedule_start: later(3),
        schedule_end: later(4),
        min_free_gb: 0,
        ...config,
      },
    });
    try {
      await agent.said("recorder-agent starts.");
    } catch (error) {
      if (String(error).includes("upload_concurrency")) return null; // an older program
      throw error;
    }
    await server.waitFor(chunks, TIMEOUT_MS);
    const rssKb = peakRssKb(agent.pid);
    return judge(await server.take(), backlog, rssKb);
  } finally {
    await Deno.remove(spoolDir, { recursive: true });
  }
}

/** One curl process for all chunks. It keeps its connection unless `headers` say otherwise. */
async function drainByCurl(
  headers: readonly string[],
  { url, server, dir, originals, digests, certificates }: Place,
  chunks: number,
): Promise<Drain> {
  const backlogDir = join(dir, "backlog");
  const backlog = await linkBacklog(originals, chunks, backlogDir);
  const config = join(dir, "curl.conf");
  const requests = backlog.map(({ name, path, original }) => {
    const digest = digests[original] ?? "";
    const fields = {
      ...IDS,
      start_ts: formatTimestamp(name.startUnixUs, "unix"),
      end_ts: formatTimestamp(name.startUnixUs + name.durationUs, "unix"),
      codec: "opus",
      sample_rate: "48000",
      channels: "1",
    };
    return [
      `url = "${url}/api/v1/chunks"`,
      `cacert = "${certificates.caFile}"`,
      ...["silent", "show-error", "fail", "http1.1", 'output = "/dev/null"'],
      ...[
        `Authorization: Bearer ${TOKEN}`,
        `Idempotency-Key: ${name.key}`,
        `Repr-Digest: sha-256=:${digest}:`,
        `Digest: SHA-256=${digest}`,
        "Expect:",
        ...headers,
      ].map((header) => `header = "${header}"`),
      ...Object.entries(fields).map(([key, value]) => `form-string = "${key}=${value}"`),
      `form = "chunk_file=@${path};type=audio/ogg;filename=${name.key}.ogg"`,
    ].join("\n");
  });
  await Deno.writeTextFile(config, requests.join("\nnext\n") + "\n");
  await server.take();
  try {
    await run("curl", ["--config", config]);
    return judge(await server.take(), backlog, null);
  } finally {
    await Deno.remove(backlogDir, { recursive: true });
  }
}

/** @throws unless every chunk was accepted exactly once. */
function judge(
  accepted: readonly Accepted[],
  backlog: readonly BacklogChunk[],
  rssKb: number | null,
): Drain {
  const places = new Map(backlog.map(({ name }, index) => [name.key, index]));
  const distances = accepted.map(({ key }, at) => Math.abs(at - (places.get(key) ?? NaN)));
  if (new Set(accepted.map(({ key }) => key)).size !== backlog.length) {
    throw new Error(`${accepted.length} requests for ${backlog.length} chunks`);
  }
  const tookMs = (accepted.at(-1)?.atMs ?? NaN) - (accepted[0]?.atMs ?? NaN);
  return {
    chunks: accepted.length,
    perSecond: (accepted.length - 1) * 1000 / tookMs,
    displaced: distances.reduce((a, b) => Math.max(a, b), 0),
    peakRssKb: rssKb,
  };
}

function tabulate(
  drains: ReadonlyMap<string, readonly Drain[]>,
  at: { roundTripMs: number; runs: number; bytes: number },
): Table {
  const rate = (name: string) => {
    const rates = (drains.get(name) ?? []).map(({ perSecond }) => perSecond);
    return rates.length === 0 ? null : median(rates);
  };
  const curl = rate(CURL) ?? NaN;
  const single = rate(`${AGENT}, \`upload_concurrency: 1\``) ?? rate(AGENT) ?? NaN;
  const rows = [...drains].map(([name, runs]) => {
    const perSecond = rate(name);
    if (perSecond === null) return [name, "", "not supported by this program", "", "", "", ""];
    const rss = runs.map(({ peakRssKb }) => peakRssKb).filter((kb) => kb !== null);
    return [
      name,
      runs[0]?.chunks ?? 0,
      perSecond.toFixed(perSecond < 100 ? 1 : 0),
      `${(perSecond / curl).toFixed(2)} ×`,
      name.startsWith(AGENT) ? `${(perSecond / single).toFixed(2)} ×` : "",
      Math.max(...runs.map(({ displaced }) => displaced)),
      rss.length === 0 ? "" : (Math.max(...rss) / 1024).toFixed(0),
    ];
  });
  return {
    title: `Delivery of a backlog, ${at.roundTripMs} ms of latency`,
    note: `Chunks of 60 s (${at.bytes} B) over TLS, the server on the same machine; median ` +
      `of ${at.runs} runs in turn. "Displaced" is the largest distance between a chunk's place in ` +
      "the order of acceptance and in the order of time.",
    header: ["", "chunks", "chunks/s", "of curl", "of one at a time", "displaced", "peak RSS, MB"],
    rows,
  };
}

function median(values: readonly number[]): number {
  return values.toSorted((a, b) => a - b)[values.length >> 1] ?? NaN;
}

async function sha256Base64(bytes: Uint8Array): Promise<string> {
  return new Uint8Array(await crypto.subtle.digest("SHA-256", bytes.slice())).toBase64();
}

if (import.meta.main) {
  const { values } = parseArgs({
    args: Deno.args,
    options: {
      chunks: { type: "string" },
      runs: { type: "string" },
      seconds: { type: "string" },
      binary: { type: "string" },
      before: { type: "string" },
    },
  });
  const tables = await measure({
    ...(values.chunks === undefined ? {} : { chunks: Number(values.chunks) }),
    ...(values.runs === undefined ? {} : { runs: Number(values.runs) }),
    ...(values.seconds === undefined ? {} : { seconds: Number(values.seconds) }),
    ...(values.binary === undefined ? {} : { program: values.binary }),
    ...(values.before === undefined ? {} : { before: values.before }),
  });
  for (const table of tables) console.log(toMarkdown(table));
}
