// deno-lint-ignore-file no-console -- a benchmark talks to a person
// What recording costs: the compiled program against an ffmpeg alone and against ffmpeg's segment muxer,
// all three at once on one simulated microphone, so that whatever else the machine does hits them
// alike. Processor time and memory from /proc, of every process and all its threads.
//
// `bench/cost.ts [SECONDS [PROGRAM]]`. The table goes to stdout.

import { delay } from "@std/async/delay";
import { join } from "@std/path/join";
import { AgentProcess } from "../tests/fixtures/agent_process.ts";
import { buildBinaries } from "../tests/fixtures/binaries.ts";
import { makeCertificates } from "../tests/fixtures/certificates.ts";
import { makeSpeech } from "../tests/fixtures/audio.ts";
import { IngestServer } from "../tests/fixtures/ingest_server.ts";
import { PulseMicrophone } from "../tests/fixtures/pulse_microphone.ts";
import { type Table, toMarkdown } from "./table.ts";

const WINDOW_S = 150;
const WARM_UP_S = 130;
const TICKS_PER_S = 100; // CLK_TCK of every Linux that Deno runs on
const TOKEN = "cost";
const ENCODER = ["-c:a", "libopus", "-b:a", "24k", "-frame_duration", "20"];

/** Of one process since its start. */
interface Usage {
  readonly cpuS: number;
  /** read(2) and write(2) and their like. */
  readonly readWriteCalls: number;
  readonly writtenBytes: number;
  /** Sent towards the disk. */
  readonly diskBytes: number;
  readonly switches: number;
  readonly rssKb: number;
  readonly pssKb: number;
}

interface Contestant {
  readonly name: string;
  readonly pid: number;
}

/** The three side by side for `seconds`; `program` is the compiled one, made if it is not given. */
export async function measure(seconds = WINDOW_S, program?: string): Promise<Table[]> {
  await using binaries = program === undefined ? await buildBinaries() : null;
  const dir = await Deno.makeTempDir({ prefix: "cost-" });
  await using microphone = await PulseMicrophone.start();
  const speech = join(dir, "speech.wav");
  await makeSpeech(speech, 20);
  await using _playing = microphone.playLooped(speech);
  const { caFile, certPem, keyPem } = await makeCertificates(dir);
  await using server = await IngestServer.start({ tls: { certPem, keyPem }, token: TOKEN });
  await using agent = await AgentProcess.start({
    dir,
    program: [program ?? binaries?.x64 ?? ""],
    env: microphone.env,
    logLevel: "INFO",
    config: {
      spool_dir: join(dir, "spool"),
      ingest_base_url: server.url,
      ingest_token: TOKEN,
      tls_ca_file: caFile,
      audio_device: microphone.device,
      schedule_start: "00:00",
      schedule_end: "00:00",
      min_free_gb: 0,
    },
  });
  await agent.said("Recording.");
  const plain = startFfmpeg(microphone, [join(dir, "plain.ogg")]);
  const segments = ["-f", "segment", "-segment_time", "60", join(dir, "segment-%d.ogg")];
  const segmented = startFfmpeg(microphone, segments);
  const own = await childNamed(agent.pid, "ffmpeg");
  const contestants: Contestant[] = [
    { name: "recorder-agent", pid: agent.pid },
    { name: "its ffmpeg", pid: own },
    { name: "ffmpeg alone", pid: plain.pid },
    { name: "ffmpeg's segment muxer", pid: segmented.pid },
  ];
  await delay(WARM_UP_S * 1000);
  const syncs = countSyncs(agent.pid, seconds, dir);
  const before = await Promise.all(contestants.map(usageOf));
  const beforeMs = performance.now();
  await delay(seconds * 1000);
  const after = await Promise.all(contestants.map(usageOf));
  const tookS = (performance.now() - beforeMs) / 1000;
  for (const ffmpeg of [plain, segmented]) {
    ffmpeg.kill("SIGKILL");
    await ffmpeg.status;
  }
  const alone = cpu(before, after, 2);
  const rows = contestants.map(({ name }, index) => {
    const [was, is] = [before[index], after[index]];
    if (was === undefined || is === undefined) throw new Error(`No figures of ${name}`);
    const perMinute = (key: "readWriteCalls" | "switches") =>
      Math.round((is[key] - was[key]) * 60 / tookS);
    return [
      name,
      ((is.cpuS - was.cpuS) / tookS * 3600).toFixed(1),
      `${(100 * (is.cpuS - was.cpuS) / alone).toFixed(0)} %`,
      `${(was.rssKb / 1024).toFixed(0)} → ${(is.rssKb / 1024).toFixed(0)}`,
      (is.pssKb / 1024).toFixed(0),
      perMinute("readWriteCalls"),
      perMinute("switches"),
      Math.round((is.writtenBytes - was.writtenBytes) / tookS),
    ];
  });
  void syncs;
  await Deno.remove(dir, { recursive: true });
  return [{
    title: "Cost of running",
    note: "",
    header: [
      "",
      "CPU s per hour",
      "of ffmpeg alone",
      "RSS MB",
      "PSS MB",
      "reads + writes / min",
      "wakes / min",
      "written B/s",
    ],
    rows,
  }];
}

function cpu(before: readonly Usage[], after: readonly Usage[], index: number): number {
  return (after[index]?.cpuS ?? NaN) - (before[index]?.cpuS ?? NaN);
}

function countSyncs(_pid: number, _seconds: number, _dir: string): null {
  return null;
}

function startFfmpeg(microphone: PulseMicrophone, output: readonly string[]): Deno.ChildProcess {
  const input = ["-f", "alsa", "-channels", "1", "-sample_rate", "48000", "-i", microphone.device];
  return new Deno.Command("ffmpeg", {
    args: ["-nostdin", "-nostats", "-loglevel", "error", ...input, ...ENCODER, ...output],
    env: microphone.env,
    stdin: "null",
    stdout: "null",
    stderr: "inherit",
  }).spawn();
}

async function childNamed(parent: number, name: string): Promise<number> {
  const { stdout } = await new Deno.Command("pgrep", {
    args: ["-P", String(parent), "-x", name],
  }).output();
  return Number(new TextDecoder().decode(stdout).trim());
}

async function usageOf({ pid }: Contestant): Promise<Usage> {
  const read = (name: string) => Deno.readTextFile(`/proc/${pid}/${name}`);
  const field = (text: string, key: string) =>
    Number(new RegExp(`^${key}:\\s*(\\d+)`, "m").exec(text)?.[1]);
  // proc(5): behind the name in brackets, utime is the 12th field and stime the 13th.
  const stat = (await read("stat")).replace(/^.*\) /, "").split(" ");
  const [io, status, smaps] = await Promise.all([read("io"), read("status"), read("smaps_rollup")]);
  let switches = 0;
  for await (const { name } of Deno.readDir(`/proc/${pid}/task`)) {
    const task = await Deno.readTextFile(`/proc/${pid}/task/${name}/status`).catch(() => "");
    switches += field(task, "voluntary_ctxt_switches") || 0;
  }
  return {
    cpuS: (Number(stat[11]) + Number(stat[12])) / TICKS_PER_S,
    readWriteCalls: field(io, "syscr") + field(io, "syscw"),
    writtenBytes: field(io, "wchar"),
    diskBytes: field(io, "write_bytes"),
    switches,
    rssKb: field(status, "VmRSS"),
    pssKb: field(smaps, "Pss"),
  };
}

if (import.meta.main) {
  const [seconds, program] = Deno.args;
  for (const table of await measure(seconds === undefined ? undefined : Number(seconds), program)) {
    console.log(toMarkdown(table));
  }
}
