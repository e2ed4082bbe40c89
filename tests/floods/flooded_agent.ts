// Floods the health port of a recording agent, one kind of flood after the other, and measures what that
// costs the agent. It judges nothing.

import { join } from "@std/path/join";
import { cpuSeconds, footprintOf } from "../../bench/process.ts";
import { AgentProcess } from "../fixtures/agent_process.ts";
import { IngestServer } from "../fixtures/ingest_server.ts";
import { PulseMicrophone } from "../fixtures/pulse_microphone.ts";

const CHUNK_S = 5;
/** A client that waits longer for /health gives up. */
const PATIENCE_MS = 5_000;

export interface FloodedOptions {
  /** The program, and the arguments before its own; default: main.ts of this source. */
  readonly program?: readonly string[];
  /** How long each flood lasts. */
  readonly seconds: number;
  readonly kinds: readonly string[];
  /** The user that floods; default: the same user. It needs root. */
  readonly user?: string;
}

/** What one flood cost. */
export interface FloodCost {
  readonly kind: string;
  /** Connections that the flood made. */
  readonly connections: number;
  readonly peakRssKb: number;
  readonly peakDescriptors: number;
  /** Parts of a core. */
  readonly cpu: number;
  /** Requests of /health, one a second, during the flood. */
  readonly asked: number;
  readonly answered: number;
  /** From the end of the flood to the next answer of /health. */
  readonly answersAfterMs: number;
  readonly rssAfterKb: number;
}

export interface FloodedRun {
  readonly before: { readonly rssKb: number; readonly descriptors: number };
  readonly floods: readonly FloodCost[];
  /** Gaps but those at the beginning and the end of a recording. */
  readonly gaps: readonly unknown[];
  readonly exitCode: number;
  /** Sound that the server has, s, and the time from the first to the last sample of it. */
  readonly deliveredS: number;
  readonly spanS: number;
  readonly warnings: readonly string[];
}

/** Runs all floods against one agent that records a microphone of PulseAudio and delivers. */
export async function floodAgent(options: FloodedOptions): Promise<FloodedRun> {
  const dir = await Deno.makeTempDir({ prefix: "floods-" });
  try {
    await using microphone = await PulseMicrophone.start();
    await using ingest = await IngestServer.start();
    await using agent = await AgentProcess.start({
      dir,
      env: microphone.env,
      logLevel: "INFO",
      config: {
        ingest_base_url: ingest.url,
        ingest_token: ingest.token,
        audio_device: microphone.device,
        spool_dir: join(dir, "spool"),
        schedule_start: "00:00",
        schedule_end: "00:00",
        chunk_seconds: CHUNK_S,
        min_free_gb: 0,
        max_clock_wait_s: 0,
      },
      ...(options.program === undefined ? {} : { program: options.program }),
    });
    await agent.said("Recording.");
    const { port } = await agent.said("Health is at");
    await agent.said("Delivered.");
    const before = await footprintOf(agent.pid);
    const attacker = await makeAttacker(dir, options.user);
    const floods: FloodCost[] = [];
    for (const kind of options.kinds) {
      floods.push(await flood(kind, { agent, port: Number(port), attacker }, options.seconds));
    }
    const exitCode = await agent.end("SIGTERM");
    const chunks = ingest.chunks.toSorted((a, b) =>
      Number(a.fields.start_ts) - Number(b.fields.start_ts)
    );
    const lengths = chunks.map(({ fields }) => Number(fields.end_ts) - Number(fields.start_ts));
    return {
      before,
      floods,
      gaps: agent.log.filter(({ message, level }) =>
        message === "Sound is missing." && level === "WARNING"
      ),
      exitCode,
      deliveredS: lengths.reduce((sum, length) => sum + length, 0),
      spanS: Number(chunks.at(-1)?.fields.end_ts) - Number(chunks[0]?.fields.start_ts),
      warnings: agent.log.filter(({ level }) => level !== "INFO").map(({ message }) => message),
    };
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
}

/** The command line of the flood, before its arguments. */
async function makeAttacker(dir: string, user: string | undefined): Promise<string[]> {
  const script = join(import.meta.dirname ?? "", "flood.ts");
  const run = ["run", "--no-config", "--no-check", "--quiet", "--allow-net=127.0.0.1"];
  if (user === undefined) return ["prlimit", "--nofile=8192", Deno.execPath(), ...run, script];
  // Copies that the other user may read, wherever this project and Deno are.
  const [deno, copy] = [join(dir, "deno"), join(dir, "flood.ts")];
  await Deno.copyFile(Deno.execPath(), deno);
  await Deno.copyFile(script, copy);
  for (const path of [dir, deno, copy]) await Deno.chmod(path, 0o755);
  const drop = [
    "setpriv",
    `--reuid=${user}`,
    "--clear-groups",
    "env",
    "-i",
    "DENO_DIR=/tmp/.flood",
  ];
  return ["prlimit", "--nofile=8192", ...drop, deno, ...run, copy];
}

async function flood(
  kind: string,
  target: { agent: AgentProcess; port: number; attacker: readonly string[] },
  seconds: number,
): Promise<FloodCost> {
  const { agent, port, attacker: [program = "", ...args] } = target;
  const flooding = new Deno.Command(program, {
    args: [...args, kind, String(port)],
    stdin: "null",
    stdout: "piped",
    stderr: "inherit",
  }).spawn();
  let connections = 0;
  const counting = (async () => {
    for await (const text of flooding.stdout.pipeThrough(new TextDecoderStream())) {
      connections = Number(text.trim().split("\n").at(-1));
    }
  })();
  const cpuBefore = cpuSeconds(agent.pid);
  const startedMs = performance.now();
  const endMs = startedMs + seconds * 1000;
  let [peakRssKb, peakDescriptors, asked, answered] = [0, 0, 0, 0];
  while (performance.now() < endMs) {
    asked++;
    if (await answers(port)) answered++;
    const { rssKb, descriptors } = await footprintOf(agent.pid);
    peakRssKb = Math.max(peakRssKb, rssKb);
    peakDescriptors = Math.max(peakDescriptors, descriptors);
    await new Promise((resolve) => setTimeout(resolve, 1000));
  }
  const cpu = (cpuSeconds(agent.pid) - cpuBefore) / ((performance.now() - startedMs) / 1000);
  flooding.kill("SIGKILL");
  await flooding.status;
  await counting;
  const overMs = performance.now();
  while (!await answers(port) && performance.now() - overMs < 60_000);
  const answersAfterMs = performance.now() - overMs;
  const { rssKb: rssAfterKb } = await footprintOf(agent.pid);
  return {
    kind,
    connections,
    peakRssKb,
    peakDescriptors,
    cpu,
    asked,
    answered,
    answersAfterMs,
    rssAfterKb,
  };
}

/** Whether /health answers a client that is in no hurry. */
async function answers(port: number): Promise<boolean> {
  try {
    const answer = await fetch(`http://127.0.0.1:${port}/health`, {
      signal: AbortSignal.timeout(PATIENCE_MS),
      headers: { connection: "close" },
    });
    await answer.json();
    return answer.status === 200;
  } catch {
    return false;
  }
}
