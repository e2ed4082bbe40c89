// deno-lint-ignore-file no-console -- a benchmark talks to a person
// Measures what recording costs: the compiled program against ffmpeg alone and against ffmpeg's segment
// muxer, all three at the same time on one simulated microphone, so that other load on the machine affects
// them equally. Processor time and memory come from /proc, for every process with all its threads.
//
// `bench/cost.ts [SECONDS [PROGRAM [OLDER]]]`. With OLDER, a program of an earlier state of this repository runs at the
// same time. The table goes to stdout.

import { delay } from "@std/async/delay";
import { join } from "@std/path/join";
import { buildBinaries } from "../tests/fixtures/binaries.ts";
import { makeCertificates } from "../tests/fixtures/certificates.ts";
import { makeSpeech } from "../tests/fixtures/audio.ts";
import { IngestServer } from "../tests/fixtures/ingest_server.ts";
import { PulseMicrophone } from "../tests/fixtures/pulse_microphone.ts";
import { startRecordingAgent } from "./recording_agent.ts";
import { childrenOf, cpuSeconds, type Footprint, footprintOf } from "./process.ts";
import { type Table, toMarkdown } from "./table.ts";

const WINDOW_S = 120;
const WARM_UP_S = 130;
const TOKEN = "cost";
const ENCODER = ["-c:a", "libopus", "-b:a", "24k", "-frame_duration", "20"];

/** What a process has used since its start, and what it holds now. */
interface Usage extends Footprint {
  readonly cpuS: number;
  /** System calls such as read(2) and write(2). */
  readonly calls: number;
  /** How often a thread has waited for something and woken up. */
  readonly wakes: number;
}

interface Contestant {
  readonly name: string;
  readonly pid: number;
}

/**
 * Runs the three for `seconds`.
 * @param program the compiled program; built if it is not given.
 * @param older another one, to compare it with.
 */
export async function measure(
  seconds = WINDOW_S,
  program?: string,
  older?: string,
): Promise<Table[]> {
  await using binaries = program === undefined ? await buildBinaries() : null;
  const dir = await Deno.makeTempDir({ prefix: "cost-" });
  await using microphone = await PulseMicrophone.start();
  const speech = join(dir, "speech.wav");
  await makeSpeech(speech, 20);
  await using _playing = microphone.playLooped(speech);
  const { caFile, certPem, keyPem } = await makeCertificates(dir);
  await using server = await IngestServer.start({ tls: { certPem, keyPem }, token: TOKEN });
  const start = async (dir: string, program: string) => {
    await Deno.mkdir(dir, { recursive: true });
    return await startRecordingAgent({
      ...{ dir, program, microphone },
      server: { url: server.url, token: TOKEN, caFile },
    });
  };
  await using agent = await start(dir, program ?? binaries?.x64 ?? "");
  await using earlier = older === undefined ? null : await start(join(dir, "older"), older);
  for (const one of [agent, earlier]) await one?.said("Recording.");
  const plain = startFfmpeg(microphone, [join(dir, "plain.ogg")]);
  const segments = ["-f", "segment", "-segment_time", "60", join(dir, "segment-%d.ogg")];
  const segmented = startFfmpeg(microphone, segments);
  const ffmpegOf = ({ pid }: { pid: number }) => childrenOf(pid, "ffmpeg")[0] ?? NaN;
  const contestants: Contestant[] = [
    { name: "recorder-agent", pid: agent.pid },
    { name: "its ffmpeg", pid: ffmpegOf(agent) },
    { name: "ffmpeg alone", pid: plain.pid },
    { name: "ffmpeg's segment muxer", pid: segmented.pid },
    ...(earlier === null ? [] : [
      { name: "the older recorder-agent", pid: earlier.pid },
      { name: "its ffmpeg", pid: ffmpegOf(earlier) },
    ]),
  ];
  await delay(WARM_UP_S * 1000);

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
    const perMinute = (key: "calls" | "wakes") => Math.round((is[key] - was[key]) * 60 / tookS);
    const mb = (kb: number) => (kb / 1024).toFixed(0);
    return [
      name,
      ((is.cpuS - was.cpuS) / tookS * 3600).toFixed(1),
      `${(100 * (is.cpuS - was.cpuS) / alone).toFixed(1)} %`,
      mb(was.rssKb),
      mb(is.rssKb),
      mb(is.pssKb),
      mb(is.anonymousKb),
      perMinute("calls"),
      perMinute("wakes"),
    ];
  });
  await Deno.remove(dir, { recursive: true });
  return [{
    title: "Cost of running",
    note:
      `All processes record the same simulated microphone at the same time, for ${
        Math.round(tookS)
      } s after a ` +
      `warm-up of ${WARM_UP_S} s; the program also delivers chunks of 60 s over TLS. The microphone is ` +
      "PulseAudio's; its ALSA plugin causes most of ffmpeg's cost here. RSS is at the start and at the " +
      "end of the window.",
    header: [
      "",
      "CPU s an hour",
      "of ffmpeg alone",
      "RSS, MB, before",
      "and after",
      "PSS, MB",
      "anonymous, MB",
      "reads and writes a minute",
      "wakes a minute",
    ],
    rows,
  }];
}

function cpu(before: readonly Usage[], after: readonly Usage[], index: number): number {
  return (after[index]?.cpuS ?? NaN) - (before[index]?.cpuS ?? NaN);
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

async function usageOf({ pid }: Contestant): Promise<Usage> {
  const read = (name: string) => Deno.readTextFileSync(`/proc/${pid}/${name}`);
  const field = (text: string, key: string) =>
    Number(new RegExp(`^${key}:\\s*(\\d+)`, "m").exec(text)?.[1]);
  let wakes = 0;
  for (const { name } of Deno.readDirSync(`/proc/${pid}/task`)) {
    wakes += field(read(`task/${name}/status`), "voluntary_ctxt_switches");
  }
  const calls = field(read("io"), "syscr") + field(read("io"), "syscw");
  return { ...await footprintOf(pid), cpuS: cpuSeconds(pid), calls, wakes };
}

if (import.meta.main) {
  const [seconds, program, older] = Deno.args;
  const windowS = seconds === undefined ? undefined : Number(seconds);
  for (const table of await measure(windowS, program, older)) console.log(toMarkdown(table));
}
