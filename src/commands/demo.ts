// deno-lint-ignore-file no-console -- this command talks to a person
// The demo: the whole way from sound to server in one process, for someone who has neither a
// microphone nor a server. It runs the real agent on a synthetic source; the server it delivers to
// is a small one of its own on loopback, which writes what it receives into a folder.

import { join } from "@std/path/join";
import { runAgent, type RunningAgent } from "../agent.ts";
import { cutToLastPage, readChunkHeader } from "../chunk/chunk_file.ts";
import { type Config, loadConfig } from "../config/config.ts";
import { HeldLines } from "../system/held_lines.ts";
import { type LevelName, startLog } from "../system/log.ts";
import { deadline, systemClock } from "../system/clock.ts";
import { OPUS_RATE } from "../chunk/opus.ts";

export interface DemoOptions {
  /** 0: until the signal. */
  readonly seconds: number;
  readonly dir: string;
  readonly logLevel: LevelName | undefined;
}

const TOKEN = "demo-token";
const CHUNK_SECONDS = 5;
/** Three tones that come and go, so that the level has something to show. */
const GRAPH = "aevalsrc='0.6*abs(sin(PI*t/7))*(0.5*sin(2*PI*220*t)+0.3*sin(2*PI*330*t)" +
  "+0.2*sin(2*PI*440*t))':s=48000:c=mono";

interface Received {
  readonly file: string;
  readonly startUnixMs: number;
  readonly seconds: number;
  readonly bytes: number;
  /** Number, in the stream that was recorded, of the sample behind its last one; 48 kHz. */
  readonly endSample: number;
}

/** Exit code: 0 if every chunk arrived and no sample is missing. */
export async function runDemo(options: DemoOptions, stop: AbortSignal): Promise<number> {
  const dir = join(options.dir, new Date().toISOString().slice(0, 19).replaceAll(":", "-"));
  await Deno.mkdir(dir, { recursive: true });
  const received: Received[] = [];
  let agent: RunningAgent | undefined;
  await using server = startIngest(dir, (chunk) => {
    received.push(chunk);
    printChunk(chunk, agent);
  });
  const held = new HeldLines(systemClock);
  const log = startLog({ level: options.logLevel ?? "WARNING", journal: false, held });
  const spoolDir = await Deno.makeTempDir({ prefix: "recorder-agent-demo-" });
  try {
    using limit = deadline(options.seconds > 0 ? options.seconds * 1000 : 2 ** 31 - 1, stop);
    await runAgent({
      config: demoConfig(spoolDir, server.url),
      log,
      microphone: {
        name: "synthetic tones",
        reason: "the demo needs no microphone",
        attempts: [{ kind: "lavfi", graph: GRAPH }],
      },
      onRunning: (running) => {
        agent = running;
        printHeader(options, running, dir);
      },
    }, limit.signal);
    return await printSummary(received, agent, dir);
  } finally {
    held.flush();
    await Deno.remove(spoolDir, { recursive: true });
  }
}

/** The defaults, but for what makes a run short and leaves no trace. */
function demoConfig(spoolDir: string, url: string): Config {
  return loadConfig({
    path: null,
    env: {
      RA_POINT_ID: crypto.randomUUID(),
      RA_REGISTER_ID: crypto.randomUUID(),
      RA_DEVICE_ID: crypto.randomUUID(),
      RA_INGEST_BASE_URL: url,
      RA_INGEST_TOKEN: TOKEN,
      RA_SCHEDULE_START: "00:00",
      RA_SCHEDULE_END: "00:00",
      RA_CHUNK_SECONDS: String(CHUNK_SECONDS),
      RA_SPOOL_DIR: spoolDir,
      RA_MAX_SPOOL_DAYS: "1",
      RA_MAX_SPOOL_GB: "1",
      RA_RETRY_MIN_S: "1",
      RA_RETRY_MAX_S: "10",
      RA_HEALTH_PORT: "0",
      RA_UPLOAD_TIMEOUT_S: "10",
      RA_MAX_CLOCK_WAIT_S: "0",
      RA_MIN_FREE_GB: "0",
    },
  });
}

/** An Ingest API for one run: takes every chunk, writes it down, answers with an id. */
function startIngest(
  dir: string,
  onChunk: (chunk: Received) => void,
): { url: string } & AsyncDisposable {
  const known = new Map<string, string>();
  const server = Deno.serve(
    { hostname: "127.0.0.1", port: 0, onListen: () => {} },
    async (request) => {
      if (new URL(request.url).pathname !== "/api/v1/chunks" || request.method !== "POST") {
        return new Response("not found", { status: 404 });
      }
      if (request.headers.get("authorization") !== `Bearer ${TOKEN}`) {
        return new Response("unauthorized", { status: 401 });
      }
      const form = await request.formData();
      const file = form.get("chunk_file");
      if (!(file instanceof File)) return new Response("no chunk_file", { status: 400 });
      const key = request.headers.get("idempotency-key") ?? crypto.randomUUID();
      if (!known.has(key)) {
        known.set(key, crypto.randomUUID());
        const start = Number(form.get("start_ts"));
        const name = `${new Date(start * 1000).toISOString().replaceAll(":", "-")}.ogg`;
        const bytes = await file.bytes();
        await Deno.writeFile(join(dir, name), bytes);
        onChunk({
          file: name,
          startUnixMs: start * 1000,
          seconds: Number(form.get("end_ts")) - start,
          bytes: bytes.length,
          endSample: Number(readChunkHeader(bytes)?.tags["STREAM_SAMPLE"]) +
            (cutToLastPage(bytes)?.samples ?? NaN),
        });
      }
      return Response.json({ status: "ok", chunk_id: known.get(key) });
    },
  );
  return {
    url: `http://127.0.0.1:${server.addr.port}`,
    [Symbol.asyncDispose]: () => server.shutdown(),
  };
}

function printHeader(options: DemoOptions, agent: RunningAgent, dir: string): void {
  const duration = options.seconds > 0 ? `for ${options.seconds} s` : "until Ctrl-C";
  console.log(`
  recorder-agent demo: three tones instead of a microphone, recorded ${duration},
  cut into chunks of ${CHUNK_SECONDS} s and delivered to a server inside this program.

  health      http://127.0.0.1:${agent.healthPort}/health
  recordings  ${dir}/

  heard at      length    size      level
  ────────────  ────────  ────────  ──────────────────────────────`);
}

function printChunk(chunk: Received, agent: RunningAgent | undefined): void {
  const time = new Date(chunk.startUnixMs).toISOString().slice(11, 23);
  const length = `${chunk.seconds.toFixed(3)} s`.padEnd(8);
  const size = `${(chunk.bytes / 1000).toFixed(1)} kB`.padEnd(8);
  const rms = agent?.report().last_chunk?.rms_dbfs ?? undefined;
  console.log(`  ${time}  ${length}  ${size}  ${levelBar(rms)}`);
}

/** -60 dBFS is empty, 0 is full. */
function levelBar(rmsDbfs: number | undefined): string {
  if (rmsDbfs === undefined) return "not measured";
  const filled = Math.max(0, Math.min(20, Math.round((rmsDbfs + 60) / 3)));
  return `${"█".repeat(filled)}${"░".repeat(20 - filled)} ${rmsDbfs.toFixed(1)} dB`;
}

async function printSummary(
  received: readonly Received[],
  agent: RunningAgent | undefined,
  dir: string,
): Promise<number> {
  const made = agent?.report().chunks_recorded_total ?? 0;
  let samples = 0;
  for (const { file } of received) samples += await decodedSamples(join(dir, file));
  // What was recorded, as counted while it was heard, against what a decoder makes of the files.
  const missing = (received.at(-1)?.endSample ?? 0) - samples;
  const good = made > 0 && received.length === made && missing === 0;
  console.log(`
  ${made} chunks made, ${received.length} delivered, ${missing} samples missing
  ${(samples / OPUS_RATE).toFixed(3)} s of sound
  play them: ffplay -autoexit -nodisp ${dir}/*.ogg
  ${
    good
      ? "✔ every chunk delivered, no sample missing at any seam"
      : "✘ something is missing: run it again with --log-level DEBUG"
  }
`);
  return good ? 0 : 1;
}

/** Samples at 48 kHz that a decoder gives out for a file. */
async function decodedSamples(path: string): Promise<number> {
  const { stdout } = await new Deno.Command("ffmpeg", {
    args: ["-v", "error", "-i", path, "-f", "s16le", "-ar", String(OPUS_RATE), "pipe:1"],
    stdin: "null",
    stderr: "inherit",
  }).output();
  return stdout.length / 2;
}
