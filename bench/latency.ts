// deno-lint-ignore-file no-console -- a benchmark talks to a person
// Measures delays: from the end of a chunk to its acceptance by the server, from the start of the program
// to its first sample (compared with a bare ffmpeg on the same microphone), and from SIGTERM to the exit.
// It uses the compiled program, a simulated microphone and TLS; all clocks are those of this machine.
//
// `bench/latency.ts [--runs N] [--seconds N] [--binary PROGRAM]`. The table goes to stdout.

import { parseArgs } from "node:util";
import { delay } from "@std/async/delay";
import { join } from "@std/path/join";
import { MUXER_DELAY_MS } from "../src/capture/ffmpeg_arguments.ts";
import { OPUS_RATE, OpusStreamReader } from "../src/chunk/opus.ts";
import { buildBinaries } from "../tests/fixtures/binaries.ts";
import { type Certificates, makeCertificates } from "../tests/fixtures/certificates.ts";
import { makeSpeech } from "../tests/fixtures/audio.ts";
import { IngestServer, type ReceivedChunk } from "../tests/fixtures/ingest_server.ts";
import { PulseMicrophone } from "../tests/fixtures/pulse_microphone.ts";
import { startRecordingAgent } from "./recording_agent.ts";
import { type Table, toMarkdown } from "./table.ts";

const TOKEN = "latency";
const CHUNK_SECONDS = 2;
const RUNS = 10;
const SECONDS = 120;
/** Within this time a chunk of a run must arrive, ms. */
const TIMEOUT_MS = 30_000;

export interface LatencyOptions {
  /** How often the program is started and stopped. */
  readonly runs?: number;
  /** How long chunks are observed, seconds. */
  readonly seconds?: number;
  /** The compiled program; built if it is not given. */
  readonly program?: string;
}

interface Place {
  readonly dir: string;
  readonly program: string;
  readonly microphone: PulseMicrophone;
  readonly certificates: Certificates;
}

/** The times of one start, milliseconds after the start of the process. */
interface Start {
  /** To the first sample in the first chunk. */
  readonly soundMs: number;
  /** To the agent's log line that it records. */
  readonly saidMs: number;
  /** From SIGTERM to the exit. */
  readonly exitMs: number;
}

export async function measure(options: LatencyOptions = {}): Promise<Table[]> {
  const { runs = RUNS, seconds = SECONDS } = options;
  await using binaries = options.program === undefined ? await buildBinaries() : null;
  const dir = await Deno.makeTempDir({ prefix: "latency-" });
  try {
    await using microphone = await PulseMicrophone.start();
    const speech = join(dir, "speech.wav");
    await makeSpeech(speech, 20);
    await using _playing = microphone.playLooped(speech);
    const certificates = await makeCertificates(dir);
    const program = options.program ?? binaries?.x64 ?? "";
    const place = { dir, program, microphone, certificates };
    const [starts, bare]: [Start[], number[]] = [[], []];
    for (let run = 0; run < runs; run++) {
      starts.push(await startAndEnd(place, run));
      bare.push(await startBare(microphone));
    }
    const acceptedMs = await watchChunks(place, seconds);
    const row = (what: string, ms: readonly number[]) => [
      what,
      ms.length,
      ...[0.5, 0.95, 1].map((share) => quantile(ms, share).toFixed(0)),
    ];
    return [{
      title: "Latency",
      note: `Chunks of ${CHUNK_SECONDS} s over TLS to a server on the same machine; ` +
        "milliseconds. The end of a chunk is its `end_ts`, and the first sample is at its `start_ts`; " +
        "the first sample of a bare ffmpeg is calculated in the same way.",
      header: ["", "runs", "p50", "p95", "max"],
      rows: [
        row("end of a chunk → accepted by the server", acceptedMs),
        row("start of the program → first sample recorded", starts.map(({ soundMs }) => soundMs)),
        row("start of the program → log line that it records", starts.map(({ saidMs }) => saidMs)),
        row("start of a bare ffmpeg → first sample", bare),
        row("SIGTERM → exit, the last chunk kept", starts.map(({ exitMs }) => exitMs)),
      ],
    }];
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
}

function startAgent({ dir, program, microphone, certificates }: Place, url: string, spool: string) {
  return startRecordingAgent({
    dir,
    program,
    microphone,
    server: { url: url, token: TOKEN, caFile: certificates.caFile },
    config: { spool_dir: join(dir, spool), chunk_seconds: CHUNK_SECONDS },
  });
}

async function startAndEnd(place: Place, run: number): Promise<Start> {
  const { certPem, keyPem } = place.certificates;
  await using server = await IngestServer.start({ tls: { certPem, keyPem }, token: TOKEN });
  const startedMs = unixMs();
  await using agent = await startAgent(place, server.url, `spool-${run}`);
  await agent.said("Recording.");
  const saidMs = unixMs();
  await server.waitForChunks(1, TIMEOUT_MS);
  // Stops at a random moment in the next chunk, so that there is a chunk to finish.
  await delay(Math.random() * CHUNK_SECONDS * 1000);
  const askedMs = unixMs();
  await agent.end("SIGTERM");
  const exitMs = unixMs() - askedMs;
  const [first] = server.chunks;
  if (first === undefined) throw new Error("No chunk arrived");
  return { soundMs: startMsOf(first) - startedMs, saidMs: saidMs - startedMs, exitMs };
}

/** Time to the first sample, as the agent calculates it: the minimum of arrival - position in a second. */
async function startBare(microphone: PulseMicrophone): Promise<number> {
  const startedMs = unixMs();
  const ffmpeg = new Deno.Command("ffmpeg", {
    args: [
      ...["-nostdin", "-nostats", "-loglevel", "error", "-f", "alsa", "-channels", "1"],
      ...["-sample_rate", "48000", "-i", microphone.device, "-c:a", "libopus", "-b:a", "24k"],
      ...["-f", "ogg", "-page_duration", "20000", "pipe:1"],
    ],
    env: microphone.env,
    stdin: "null",
    stdout: "piped",
    stderr: "inherit",
  }).spawn();
  const reader = new OpusStreamReader();
  let soundMs = Infinity;
  for await (const part of ffmpeg.stdout) {
    const arrivedMs = unixMs() - startedMs - MUXER_DELAY_MS;
    let position = 0;
    for (const event of reader.push(part)) {
      if (event.kind === "packet") position = event.packet.endPosition;
    }
    if (position > 0) soundMs = Math.min(soundMs, arrivedMs - position * 1000 / OPUS_RATE);
    if (position > OPUS_RATE) break;
  }
  ffmpeg.kill("SIGKILL");
  await ffmpeg.status;
  return soundMs;
}

async function watchChunks(place: Place, seconds: number): Promise<number[]> {
  const { certPem, keyPem } = place.certificates;
  await using server = await IngestServer.start({ tls: { certPem, keyPem }, token: TOKEN });
  await using agent = await startAgent(place, server.url, "spool");
  const chunks = Math.ceil(seconds / CHUNK_SECONDS);
  await server.waitForChunks(chunks, seconds * 1000 + TIMEOUT_MS);
  await agent.end("SIGTERM");
  return server.chunks.slice(0, chunks).map((chunk) =>
    chunk.receivedAtMs - Number(chunk.fields["end_ts"]) * 1000
  );
}

function startMsOf({ fields }: ReceivedChunk): number {
  return Number(fields["start_ts"]) * 1000;
}

function unixMs(): number {
  return performance.timeOrigin + performance.now();
}

/** The value that this share of the values does not exceed. */
function quantile(values: readonly number[], share: number): number {
  const sorted = values.toSorted((a, b) => a - b);
  return sorted[Math.max(0, Math.ceil(share * sorted.length) - 1)] ?? NaN;
}

if (import.meta.main) {
  const { values } = parseArgs({
    args: Deno.args,
    options: {
      runs: { type: "string" },
      seconds: { type: "string" },
      binary: { type: "string" },
    },
  });
  const tables = await measure({
    ...(values.runs === undefined ? {} : { runs: Number(values.runs) }),
    ...(values.seconds === undefined ? {} : { seconds: Number(values.seconds) }),
    ...(values.binary === undefined ? {} : { program: values.binary }),
  });
  for (const table of tables) console.log(toMarkdown(table));
}
