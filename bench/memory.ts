// deno-lint-ignore-file no-console -- a benchmark talks to a person
// Measures whether memory grows: the compiled program records and delivers 50,000 chunks, as many as in 35
// days of 24 h, within minutes. A replacement for ffmpeg, mounted over it for the agent alone, delivers sound
// many times faster than real time. The chunks are 1 s long and go over TLS to a server. Delivered chunks are
// kept until `max_spool_gb` is full, so that the janitor works, too. The spool is in memory, because the disk
// is not measured. The times in the names of the chunks are meaningless, because the sound is faster than the
// clock; nothing here reads them.
//
// `bench/memory.ts [--chunks N] [--speed X] [--binary PROGRAM]`. The table goes to stdout. It
// needs root, to mount.

import { parseArgs } from "node:util";
import { delay } from "@std/async/delay";
import { join } from "@std/path/join";
import { AgentProcess } from "../tests/fixtures/agent_process.ts";
import { buildBinaries } from "../tests/fixtures/binaries.ts";
import { makeCertificates } from "../tests/fixtures/certificates.ts";
import { SmallDisk } from "../tests/fixtures/small_disk.ts";
import { PROGRAMS } from "../src/system/programs.ts";
import { FastServer } from "./fast_server.ts";
import { type Footprint, footprintOf } from "./process.ts";
import { makeRealChunks } from "./real_chunks.ts";
import { slope } from "./statistics.ts";
import { type Table, toMarkdown } from "./table.ts";
import { unitEnvironment } from "./unit_environment.ts";

const TOKEN = "memory";
const CHUNKS = 50_000;
/** The most seconds of sound per second. If delivery falls behind, recording slows down. */
const SPEED = 100;
const ROWS = 10;
const SAMPLES = 100;
/** If no chunk arrives for this long, something hangs. */
const PATIENCE_MS = 60_000;
/** Holds some 7,000 chunks of 1 s at 24 kbit/s. */
const SPOOL_GB = 0.05;
const DISK_MB = 150;

const MEMORY = ["rssKb", "pssKb", "privateKb", "anonymousKb"] as const;

interface Sample extends Footprint {
  readonly chunks: number;
  readonly atS: number;
}

export interface MemoryOptions {
  readonly chunks?: number;
  readonly speed?: number;
  /** The compiled program; built if it is not given. */
  readonly program?: string;
}

export async function measure(options: MemoryOptions = {}): Promise<Table[]> {
  const { chunks = CHUNKS, speed = SPEED } = options;
  await using binaries = options.program === undefined ? await buildBinaries() : null;
  const dir = await Deno.makeTempDir({ prefix: "memory-" });
  try {
    const certificates = await makeCertificates(dir);
    await using server = await FastServer.start(certificates);
    await using disk = await SmallDisk.open(DISK_MB);
    await using agent = await AgentProcess.start({
      dir,
      program: [
        ...inPlaceOfFfmpeg(await makeFastFfmpeg(dir, speed)),
        options.program ?? binaries?.x64 ?? "",
      ],
      logLevel: "INFO",
      env: unitEnvironment(),
      config: {
        spool_dir: join(disk.dir, "spool"),
        ingest_base_url: server.url,
        ingest_token: TOKEN,
        tls_ca_file: certificates.caFile,
        audio_device: "fast",
        chunk_seconds: 1,
        schedule_start: "00:00",
        schedule_end: "00:00",
        max_spool_gb: SPOOL_GB,
        min_free_gb: 0,
        max_clock_wait_s: 0,
      },
    });
    await agent.said("Recording.");
    const samples = await sampleUntil(chunks, agent, server);
    const { body } = await agent.health();
    return [tabulate(samples, { chunks, body })];
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
}

/** Makes the program that replaces ffmpeg; returns its path. */
async function makeFastFfmpeg(dir: string, speed: number): Promise<string> {
  const [program, sound] = [join(dir, "ffmpeg"), join(dir, "sound.ogg")];
  const [chunk] = await makeRealChunks(1, 60, dir);
  if (chunk === undefined) throw new Error("ffmpeg produced no sound");
  await Deno.writeFile(sound, chunk);
  const script = new URL("fast_ffmpeg.ts", import.meta.url).pathname;
  await Deno.writeTextFile(
    program,
    `#!/bin/sh\nexport FAST_FFMPEG_SOUND='${sound}' FAST_FFMPEG_SPEED=${speed}\n` +
      `exec '${Deno.execPath()}' run -A --no-check '${script}' "$@"\n`,
    { mode: 0o755 },
  );
  return program;
}

/** The words before a command that let it see `program` as ffmpeg: the agent takes no other path. */
function inPlaceOfFfmpeg(program: string): string[] {
  const script = `mount --bind "$0" ${PROGRAMS.ffmpeg} && exec "$@"`;
  return ["unshare", "--mount", "sh", "-c", script, program];
}

/** Takes a sample of the agent each time another 1 / SAMPLES of the chunks has arrived. */
async function sampleUntil(
  chunks: number,
  agent: AgentProcess,
  server: FastServer,
): Promise<Sample[]> {
  const startedMs = performance.now();
  const samples: Sample[] = [];
  let [arrived, sinceMs] = [0, startedMs];
  while (arrived < chunks) {
    await delay(200);
    const count = await server.count();
    if (count > arrived) [arrived, sinceMs] = [count, performance.now()];
    else if (performance.now() - sinceMs > PATIENCE_MS) {
      const log = agent.log.slice(-5).map((line) => JSON.stringify(line)).join("\n");
      throw new Error(`${count} chunks, and then none for ${PATIENCE_MS / 1000} s:\n${log}`);
    }
    if (arrived < (samples.length + 1) * chunks / SAMPLES) continue;
    const atS = (performance.now() - startedMs) / 1000;
    samples.push({ chunks: arrived, atS, ...await footprintOf(agent.pid) });
  }
  return samples;
}

function tabulate(
  samples: readonly Sample[],
  { chunks, body }: { chunks: number; body: Record<string, unknown> },
): Table {
  const mb = (kb: number) => (kb / 1024).toFixed(1);
  const shown = samples.filter((_, index) => (index + 1) % Math.ceil(samples.length / ROWS) === 0);
  const half = samples.filter((sample) => sample.chunks >= chunks / 2);
  const slopeMb = (key: keyof Footprint) =>
    slope(half.map((sample) => [sample.chunks, sample[key] / 1024])) * 10_000;
  const growth = MEMORY.map((key) => slopeMb(key).toFixed(2));
  const tookS = samples.at(-1)?.atS ?? NaN;
  return {
    title: "Memory",
    note: `${chunks} chunks recorded and delivered in ${Math.round(tookS)} s by the compiled ` +
      `program, ${(chunks / 1440).toFixed(0)} days' worth of chunks of 60 s; at the end ` +
      `${body["spool_files"]} files were in the spool and ${
        body["queue_size"]
      } waited. Growth is ` +
      "the slope of a straight line through the second half, per 10,000 chunks (7 days).",
    header: [
      "chunks",
      "RSS, MB",
      "PSS, MB",
      "private, MB",
      "anonymous, MB",
      "descriptors",
      "threads",
    ],
    rows: [
      ...shown.map((sample) => [
        sample.chunks,
        ...MEMORY.map((key) => mb(sample[key])),
        sample.descriptors,
        sample.threads,
      ]),
      [
        "growth per 10,000",
        ...growth,
        slope(half.map((s) => [s.chunks, s.descriptors])).toFixed(4),
        "",
      ],
    ],
  };
}

if (import.meta.main) {
  const { values } = parseArgs({
    args: Deno.args,
    options: {
      chunks: { type: "string" },
      speed: { type: "string" },
      binary: { type: "string" },
    },
  });
  const tables = await measure({
    ...(values.chunks === undefined ? {} : { chunks: Number(values.chunks) }),
    ...(values.speed === undefined ? {} : { speed: Number(values.speed) }),
    ...(values.binary === undefined ? {} : { program: values.binary }),
  });
  for (const table of tables) console.log(toMarkdown(table));
}
