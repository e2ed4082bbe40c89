// deno-lint-ignore-file no-console -- a benchmark talks to a person
// Measures what a byte of sound costs the disk and the kernel: the compiled program against ffmpeg's
// segment muxer, both at the same time on one simulated microphone, each on its own ext4. Written bytes are
// those of the process (/proc/PID/io) and those that reached the block device. strace counts the system
// calls in a second window afterwards, because it slows the traced process.
//
// `bench/bytes.ts [--chunks N] [--binary PROGRAM]` observes N chunks of 60 s. The tables go to stdout.
// It needs root to mount images; without root, the block device's column is empty.

import { parseArgs } from "node:util";
import { delay } from "@std/async/delay";
import { join } from "@std/path/join";
import { buildBinaries } from "../tests/fixtures/binaries.ts";
import { makeCertificates } from "../tests/fixtures/certificates.ts";
import { makeSpeech } from "../tests/fixtures/audio.ts";
import { IngestServer } from "../tests/fixtures/ingest_server.ts";
import { PulseMicrophone } from "../tests/fixtures/pulse_microphone.ts";
import { SmallDisk } from "../tests/fixtures/small_disk.ts";
import { startRecordingAgent } from "./recording_agent.ts";
import { LoopDisk } from "./loop_disk.ts";
import { cpuSeconds, writtenBytes } from "./process.ts";
import { type Table, toMarkdown } from "./table.ts";

const TOKEN = "bytes";
const CHUNK_SECONDS = 60;
const CHUNKS = 4;
const STRACE_S = 60;
const DISK_MB = 100;

export interface BytesOptions {
  /** Chunks of 60 s in the window. */
  readonly chunks?: number;
  /** The compiled program; built if it is not given. */
  readonly program?: string;
}

/** What has been written so far. */
interface Written {
  readonly atMs: number;
  readonly soundBytes: number;
  readonly toDisk: number;
  readonly asked: number;
  /** Null if images cannot be mounted. */
  readonly byDevice: number | null;
  readonly cpuS: number;
}

interface Contestant {
  readonly name: string;
  readonly pid: number;
  readonly disk: LoopDisk | null;
  readonly soundBytes: () => number;
}

export async function measure(options: BytesOptions = {}): Promise<Table[]> {
  const { chunks = CHUNKS } = options;
  await using binaries = options.program === undefined ? await buildBinaries() : null;
  const dir = await Deno.makeTempDir({ prefix: "bytes-" });
  try {
    await using images = await openImages();
    await using agentDisk = images && await openDisk(images.dir, "agent");
    await using ffmpegDisk = images && await openDisk(images.dir, "ffmpeg");
    await using microphone = await PulseMicrophone.start();
    const speech = join(dir, "speech.wav");
    await makeSpeech(speech, 60);
    await using _playing = microphone.playLooped(speech);
    const { caFile, certPem, keyPem } = await makeCertificates(dir);
    await using server = await IngestServer.start({ tls: { certPem, keyPem }, token: TOKEN });
    await using agent = await startRecordingAgent({
      dir,
      program: options.program ?? binaries?.x64 ?? "",
      microphone,
      server: { url: server.url, token: TOKEN, caFile },
      config: { spool_dir: join(agentDisk?.dir ?? dir, "spool"), chunk_seconds: CHUNK_SECONDS },
    });
    const segments = join(ffmpegDisk?.dir ?? dir, "segments");
    await Deno.mkdir(segments);
    await using ffmpeg = startSegments(microphone, segments);
    const contestants: Contestant[] = [
      {
        name: "recorder-agent",
        pid: agent.pid,
        disk: agentDisk,
        soundBytes: () => server.chunks.reduce((sum, { bytes }) => sum + bytes.length, 0),
      },
      {
        name: "ffmpeg's segment muxer",
        pid: ffmpeg.pid,
        disk: ffmpegDisk,
        soundBytes: () => sizesIn(segments),
      },
    ];
    const patienceMs = (chunks + 2) * CHUNK_SECONDS * 1000;
    await server.waitForChunks(1, patienceMs);
    const before = await Promise.all(contestants.map(look));
    await server.waitForChunks(1 + chunks, patienceMs);
    const after = await Promise.all(contestants.map(look));
    const tookS = ((after[0]?.atMs ?? NaN) - (before[0]?.atMs ?? NaN)) / 1000;
    const traced = await Promise.all(contestants.map((contestant) => trace(contestant, dir)));
    return [
      tabulateBytes(contestants, before, after, tookS),
      tabulateCalls(contestants, traced, before, after, tookS),
    ];
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
}

/** A place for the images in memory, so that other writes on this machine do not delay their syncs. */
async function openImages(): Promise<SmallDisk | null> {
  try {
    return await SmallDisk.open(2.5 * DISK_MB);
  } catch {
    return null;
  }
}

async function openDisk(dir: string, name: string): Promise<LoopDisk | null> {
  try {
    return await LoopDisk.open(dir, name, DISK_MB);
  } catch (error) {
    console.error(`Cannot mount images: ${String(error).split("\n")[0]}`);
    return null;
  }
}

function startSegments(microphone: PulseMicrophone, folder: string) {
  const child = new Deno.Command("ffmpeg", {
    args: [
      ...["-nostdin", "-nostats", "-loglevel", "error", "-f", "alsa", "-channels", "1"],
      ...["-sample_rate", "48000", "-i", microphone.device, "-c:a", "libopus", "-b:a", "24k"],
      ...["-f", "segment", "-segment_time", String(CHUNK_SECONDS), join(folder, "%d.ogg")],
    ],
    env: microphone.env,
    stdin: "null",
    stdout: "null",
    stderr: "inherit",
  }).spawn();
  return {
    pid: child.pid,
    [Symbol.asyncDispose]: async () => {
      child.kill("SIGKILL");
      await child.status;
    },
  };
}

function sizesIn(folder: string): number {
  return [...Deno.readDirSync(folder)]
    .reduce((sum, { name }) => sum + Deno.statSync(join(folder, name)).size, 0);
}

async function look({ pid, disk, soundBytes }: Contestant): Promise<Written> {
  // This may take a while on a busy disk, so the other values are read after it, at one moment.
  const byDevice = disk === null ? null : await disk.writtenBytes();
  const { asked, toDisk } = writtenBytes(pid);
  return {
    atMs: performance.now(),
    soundBytes: soundBytes(),
    toDisk,
    asked,
    byDevice,
    cpuS: cpuSeconds(pid),
  };
}

/** System calls by name, and the processor time of the process in the same window. */
interface Traced {
  readonly calls: ReadonlyMap<string, number>;
  readonly cpuS: number;
}

/** Null without strace. */
async function trace(contestant: Contestant, dir: string): Promise<Traced | null> {
  const { pid } = contestant;
  const path = join(dir, `strace-${pid}`);
  const cpuS = cpuSeconds(pid);
  try {
    const strace = new Deno.Command("strace", {
      args: ["-f", "-c", "-o", path, "-p", String(pid)],
      stdin: "null",
      stdout: "null",
      stderr: "null",
    }).spawn();
    await delay(STRACE_S * 1000);
    strace.kill("SIGINT");
    await strace.status;
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return null;
    throw error;
  }
  return { calls: parseSummary(await Deno.readTextFile(path)), cpuS: cpuSeconds(pid) - cpuS };
}

/** "% time  seconds  usecs/call  calls  [errors]  syscall", as `strace -c` prints it. */
function parseSummary(text: string): Map<string, number> {
  const calls = new Map<string, number>();
  for (const line of text.split("\n")) {
    const [, count, name] = /^ *[\d.]+ +[\d.]+ +\d+ +(\d+) +(?:\d+ +)?([a-z]\w*)$/.exec(line) ?? [];
    if (count !== undefined && name !== undefined && name !== "total") {
      calls.set(name, Number(count));
    }
  }
  return calls;
}

function tabulateBytes(
  contestants: readonly Contestant[],
  before: readonly Written[],
  after: readonly Written[],
  tookS: number,
): Table {
  const grown = (index: number, key: keyof Written) => {
    const [was, is] = [before[index]?.[key] ?? null, after[index]?.[key] ?? null];
    return was === null || is === null ? null : is - was;
  };
  return {
    title: "Written to the disk",
    note: `${Math.round(tookS)} s, chunks of ${CHUNK_SECONDS} s at 24 kbit/s, each program on ` +
      "its own ext4 (default options). Files: the agent's chunks with their pre-roll, or the " +
      "muxer's segments. By the process: `write_bytes`, the pages that it made dirty. By the " +
      "device: everything that the file system wrote, including its journal. `write` does not " +
      "include sockets.",
    header: ["", "files, B", "by the process ÷ files", "by the device ÷ files", "`write` ÷ files"],
    rows: contestants.map(({ name }, index) => {
      const sound = grown(index, "soundBytes") ?? NaN;
      const per = (key: keyof Written) => {
        const bytes = grown(index, key);
        return bytes === null ? "not mounted" : (bytes / sound).toFixed(2);
      };
      return [name, sound, per("toDisk"), per("byDevice"), per("asked")];
    }),
  };
}

function tabulateCalls(
  contestants: readonly Contestant[],
  traced: readonly (Traced | null)[],
  before: readonly Written[],
  after: readonly Written[],
  tookS: number,
): Table {
  const perMinute = (count: number) => (count * 60 / STRACE_S).toFixed(0);
  return {
    title: "System calls",
    note: `Counted by \`strace -f -c\` for ${STRACE_S} s, after the window above. The ` +
      "processor time with and without strace shows what strace costs.",
    header: [
      "",
      "calls / min",
      "`fsync` and `fdatasync` / min",
      "most",
      "CPU s / min, traced",
      "CPU s / min, untraced",
    ],
    rows: contestants.map(({ name }, index) => {
      const found = traced[index] ?? null;
      const plain = ((after[index]?.cpuS ?? NaN) - (before[index]?.cpuS ?? NaN)) * 60 / tookS;
      if (found === null) return [name, "no strace", "", "", "", plain.toFixed(2)];
      const { calls, cpuS } = found;
      const all = [...calls.values()].reduce((sum, count) => sum + count, 0);
      const most = [...calls].sort(([, a], [, b]) => b - a).slice(0, 4)
        .map(([call, count]) => `${call} ${perMinute(count)}`).join(", ");
      return [
        name,
        perMinute(all),
        perMinute((calls.get("fsync") ?? 0) + (calls.get("fdatasync") ?? 0)),
        most,
        (cpuS * 60 / STRACE_S).toFixed(2),
        plain.toFixed(2),
      ];
    }),
  };
}

if (import.meta.main) {
  const { values } = parseArgs({
    args: Deno.args,
    options: { chunks: { type: "string" }, binary: { type: "string" } },
  });
  const tables = await measure({
    ...(values.chunks === undefined ? {} : { chunks: Number(values.chunks) }),
    ...(values.binary === undefined ? {} : { program: values.binary }),
  });
  for (const table of tables) console.log(toMarkdown(table));
}
