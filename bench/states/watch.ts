// Starts the program in several states at the same time, each with its own process and spool, and samples
// all of them at an interval. It judges nothing.

import { delay } from "@std/async/delay";
import { join } from "@std/path/join";
import { within } from "../../src/system/within.ts";
import { AgentProcess } from "../../tests/fixtures/agent_process.ts";
import { makeSpeech } from "../../tests/fixtures/audio.ts";
import { makeCertificates } from "../../tests/fixtures/certificates.ts";
import { PulseMicrophone } from "../../tests/fixtures/pulse_microphone.ts";
import { SmallDisk } from "../../tests/fixtures/small_disk.ts";
import { childrenOf, cpuSeconds, footprintOf } from "../process.ts";
import { unitEnvironment } from "../unit_environment.ts";
import { childrenIn, requireStrace, traced } from "./children.ts";
import type { Sample } from "./judge.ts";
import { Scene, type Setting, type State, USUAL } from "./scene.ts";

/** Room for the chunks of all states, a backlog included. */
const DISK_MB = 4000;
const LAST_LINES = 5;
/** How long the events around the programs may take to end. */
const LIVES_END_MS = 5_000;
/** Fills the pipe at stderr, then executes the program, so that nobody reads its log. */
const FILL_LOG = ["sh", "-c", 'head -c 65536 /dev/zero >&2; exec "$@"', "sh"];

export interface WatchOptions {
  /** The compiled program. */
  readonly program: string;
  readonly seconds: number;
  /** The length of a chunk in every state, seconds. */
  readonly chunkSeconds: number;
  /** Interval between two samples, seconds. */
  readonly everyS: number;
  /** False: children are not counted, and strace is not needed. @default true */
  readonly isTraced?: boolean;
  /** Ends the run early. */
  readonly signal?: AbortSignal;
  /** Called after each sample. */
  readonly onLook?: (atS: number) => void;
}

export interface Watched {
  readonly state: State;
  readonly samples: readonly Sample[];
  /** Why it could not be observed to the end. */
  readonly failure: string | null;
}

/** @throws if a state cannot be set up. */
export async function watch(states: readonly State[], options: WatchOptions): Promise<Watched[]> {
  if (options.isTraced ?? true) await requireStrace();
  await using resources = new AsyncDisposableStack();
  const dir = await openDir(resources);
  const certificates = await makeCertificates(dir);
  const microphone = resources.use(await PulseMicrophone.start());
  const speech = join(dir, "speech.wav");
  await makeSpeech(speech, 20);
  resources.use(microphone.playLooped(speech));

  const prepared: { state: State; dir: string; setting: Setting }[] = [];
  for (const state of states) {
    const own = join(dir, state.name);
    await Deno.mkdir(own);
    const scene = new Scene({ dir: own, resources, certificates, microphone });
    prepared.push({ state, dir: own, setting: await state.set(scene) });
  }
  const over = new AbortController();
  const processes = await Promise.all(prepared.map(async ({ state, dir, setting }) => {
    const file = options.isTraced ?? true ? join(dir, "trace") : null;
    const program = [
      ...(setting.readsLog ?? true ? [] : FILL_LOG),
      ...(file === null ? [] : traced(file)),
      options.program,
    ];
    const agent = await AgentProcess.start({
      ...{ logLevel: "INFO", ...setting, dir, program },
      config: {
        ...USUAL,
        chunk_seconds: options.chunkSeconds,
        spool_dir: join(dir, "spool"),
        ...setting.config,
      },
      env: { ...unitEnvironment(), ...setting.env },
    });
    resources.use(agent);
    return new WatchedProcess(agent, { state, file });
  }));
  // Resources end in reverse order: first the events around the programs, then the programs.
  const lives = Promise.all(
    prepared.map(({ setting }, at) => processes[at]?.live(setting, over.signal)),
  );
  resources.defer(async () => {
    over.abort();
    await within(LIVES_END_MS, lives); // what still waits for an answer ends with the program
  });
  const startedMs = performance.now();
  const passedS = () => (performance.now() - startedMs) / 1000;
  for (let looks = 1; passedS() < options.seconds && !options.signal?.aborted; looks++) {
    const untilS = Math.min(looks * options.everyS, options.seconds);
    await delay(Math.max(0, 1000 * (untilS - passedS())), options).catch(() => {});
    await Promise.all(processes.map((process) => process.look(passedS())));
    options.onLook?.(passedS());
  }
  return processes;
}

class WatchedProcess implements Watched {
  readonly state: State;
  readonly samples: Sample[] = [];
  failure: string | null = null;
  readonly #agent: AgentProcess;
  readonly #file: string | null;

  constructor(agent: AgentProcess, { state, file }: { state: State; file: string | null }) {
    this.#agent = agent;
    this.state = state;
    this.#file = file;
  }

  async look(atS: number): Promise<void> {
    if (this.failure !== null) return;
    const { pid } = this.#agent;
    try {
      this.samples.push({
        ...await footprintOf(pid),
        atS,
        cpuS: cpuSeconds(pid),
        hasFfmpeg: childrenOf(pid, "ffmpeg").length > 0,
        children: this.#file === null ? null : childrenIn(await Deno.readTextFile(this.#file), pid),
      });
    } catch (error) {
      const lines = this.#agent.log.slice(-LAST_LINES).map((line) => JSON.stringify(line));
      this.failure = [`it ended by itself (${error})`, ...lines].join("\n");
    }
  }

  async live({ live }: Setting, signal: AbortSignal): Promise<void> {
    try {
      await live?.(this.#agent, signal);
    } catch (error) {
      this.failure ??= `its surroundings failed: ${error}`;
    }
  }
}

/** In memory, because the disk is not measured; on the disk if this user cannot mount. */
async function openDir(resources: AsyncDisposableStack): Promise<string> {
  const disk = await SmallDisk.open(DISK_MB).catch(() => null);
  if (disk !== null) return resources.use(disk).dir;
  const dir = await Deno.makeTempDir({ prefix: "states-" });
  resources.defer(() => Deno.remove(dir, { recursive: true }));
  return dir;
}
