// Kills the real agent with SIGKILL at random moments, repeatedly on one spool, with real ffmpeg, a
// microphone that always hears something, and an Ingest API over TLS. This module only gathers what is
// visible from outside; judge.ts evaluates it.

import { delay } from "@std/async/delay";
import { join } from "@std/path/join";
import { parseChunkName } from "../../src/chunk/chunk_name.ts";
import { AgentProcess } from "../fixtures/agent_process.ts";
import { makeCertificates } from "../fixtures/certificates.ts";
import { IngestServer, type ReceivedChunk } from "../fixtures/ingest_server.ts";
import { PulseMicrophone } from "../fixtures/pulse_microphone.ts";
import { seededRandom } from "../fixtures/random.ts";
import { Witness } from "./witness.ts";

const TOKEN = "a-token-that-is-nowhere-else";
/** Every process of a life has this in its environment, including ffmpeg. */
const TAG = "KILL_TEST_LIFE";
/** A process that outlives its agent by more than this is an orphan. */
export const ORPHAN_MS = 5000;
/** The last life must deliver all waiting chunks within this. */
const DRAIN_MS = 60_000;

export interface KillOptions {
  readonly runs: number;
  readonly seed: number;
  /** The compiled program; without it, main.ts of this source runs. */
  readonly binary?: string;
  /** Called when the end of a life is known. */
  readonly onLife?: (life: Life, number: number) => void;
}

/** One agent, from its start to its end; times are those of `performance.now()`. */
export interface Life {
  readonly moment: MomentName;
  readonly chunkSeconds: number;
  readonly spawnedMs: number;
  readonly killedMs: number;
  /** When it reported that it records; null if it never did. */
  readonly recordingMs: number | null;
  /** When it was asked to stop, before it was killed. */
  readonly askedMs: number | null;
  /** How long its last child outlived it; Infinity if longer than ORPHAN_MS. */
  readonly survivedMs: number;
}

/** A file in one of the visible folders of the spool, with its content at some kill. */
export interface VisibleFile {
  readonly dir: string;
  readonly name: string;
  readonly bytes: Uint8Array;
}

export interface KillRecord {
  readonly lives: readonly Life[];
  /** Every visible file with every content that it had at a kill or at the end. */
  readonly visible: readonly VisibleFile[];
  /** The accepted chunks, in this order. */
  readonly received: readonly ReceivedChunk[];
  /** The violations that the server found, above all a key that arrived with two contents. */
  readonly violations: readonly string[];
  /** Files in recording/ and rejected/ at the end: there should be none. */
  readonly left: readonly string[];
  /** Files in outbox/ at the end: the last chunk may have been too late for delivery. */
  readonly waiting: readonly string[];
  readonly witness: Witness;
}

/** A moment of a life for the kill; it resolves at that moment. */
type Moment = (life: {
  agent: AgentProcess;
  ingest: IngestServer;
  chunkSeconds: number;
  random: () => number;
  ask: () => void;
}) => Promise<void>;

export type MomentName = keyof typeof MOMENTS;

const MOMENTS = {
  "start": ({ random }) => delay(random() * 1500),
  "recovery": async ({ agent, random }) => {
    await agent.said("recorder-agent starts.");
    await delay(random() * 40);
  },
  "first sound": async ({ agent, random }) => {
    await agent.said("Recording.");
    await delay(random() * 800);
  },
  "mid-chunk": async ({ agent, random }) => {
    await agent.said("Recording.");
    await delay(800 + random() * 4000);
  },
  // The first chunk is sealed: kill around the end and the sealing of the second and the begin of the third.
  "seam": async ({ agent, chunkSeconds, random }) => {
    await agent.said("Recorded.");
    await delay(chunkSeconds * 1000 - 300 + random() * 500);
  },
  // Kill before the answer (which may never arrive), while waiting for it, and while the file is moved.
  "upload": async ({ ingest, random }) => {
    const seen = ingest.requests.length;
    const kinds = [{ kind: "ok" }, { kind: "slow", ms: 150 }, {
      kind: "accept-then-reset",
    }] as const;
    const [behaviour] = kinds.slice(Math.floor(random() * kinds.length));
    if (behaviour !== undefined) ingest.script.push(behaviour);
    await ingest.waitUntil(({ requests }) => requests.length > seen, 20_000, "a request");
    await delay(random() * 200);
    ingest.script.length = 0;
  },
  "stopping": async ({ agent, random, ask }) => {
    await agent.said("Recording.");
    await delay(random() * 2500);
    ask();
    await delay(random() * 500);
  },
} satisfies Record<string, Moment>;

const NAMES = Object.keys(MOMENTS) as MomentName[];
/** These wait until a chunk is sealed. */
const SHORT_CHUNKS: readonly MomentName[] = ["seam", "upload"];

/** Does `runs` kills and then one life without a kill, and returns the observations. */
export async function runKills(options: KillOptions): Promise<KillRecord> {
  const dir = await Deno.makeTempDir({ prefix: "kill-test-" });
  try {
    await using microphone = await PulseMicrophone.start();
    await using witness = await Witness.start(microphone, options.seed);
    const { caFile, certPem, keyPem } = await makeCertificates(dir);
    await using ingest = await IngestServer.start({ tls: { certPem, keyPem }, token: TOKEN });
    const config = {
      ingest_base_url: ingest.url,
      ingest_token: TOKEN,
      tls_ca_file: caFile,
      audio_device: microphone.device,
      spool_dir: join(dir, "spool"),
      schedule_start: "00:00",
      schedule_end: "00:00",
      retry_min_s: 0.1,
      retry_max_s: 1,
      min_free_gb: 0,
      max_clock_wait_s: 0,
    };
    const rig = { dir, config, env: microphone.env, ingest, visible: new VisibleFiles(dir) };
    const lives = await liveAndDie(rig, options);
    await liveToTheEnd(rig, options);
    const { visible } = rig;
    return {
      lives,
      visible: visible.files,
      received: ingest.chunks,
      violations: ingest.violations,
      left: ["recording", "rejected"].flatMap((sub) => visible.names(sub)),
      waiting: visible.names("outbox"),
      witness,
    };
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
}

interface Rig {
  readonly dir: string;
  readonly config: Readonly<Record<string, string | number>>;
  readonly env: Readonly<Record<string, string>>;
  readonly ingest: IngestServer;
  readonly visible: VisibleFiles;
}

async function liveAndDie(rig: Rig, options: KillOptions): Promise<Life[]> {
  const random = seededRandom(options.seed);
  const lives: Promise<Life>[] = [];
  for (let number = 0; number < options.runs; number++) {
    // Each round has every moment once, in another order.
    const round = shuffledNames(seededRandom(options.seed + Math.floor(number / NAMES.length)));
    const moment = round[number % NAMES.length] ?? "start";
    const chunkSeconds = SHORT_CHUNKS.includes(moment) || random() < 0.5 ? 2 : 60;
    const life = await liveOnce(rig, options, { moment, chunkSeconds, random });
    lives.push(life.ended);
    life.ended.then((ended) => options.onLife?.(ended, number));
    await rig.visible.look();
  }
  return await Promise.all(lives);
}

/** Resolves at the kill; `ended` resolves when the child processes of the agent have ended. */
async function liveOnce(
  { ingest, ...rig }: Rig,
  { binary }: KillOptions,
  { moment, chunkSeconds, random }: Pick<Life, "moment" | "chunkSeconds"> & { random(): number },
): Promise<{ ended: Promise<Life> }> {
  const tag = `${TAG}=${crypto.randomUUID()}`;
  const spawnedMs = performance.now();
  await using agent = await startAgent(rig, { binary, chunkSeconds, tag });
  let recordingMs: number | null = null;
  agent.said("Recording.").then(() => recordingMs = performance.now(), () => {});
  let askedMs: number | null = null;
  const ask = () => {
    askedMs = performance.now();
    agent.end("SIGTERM").catch(() => {});
  };
  await MOMENTS[moment]({ agent, ingest, chunkSeconds, random, ask });
  const killedMs = performance.now();
  await agent[Symbol.asyncDispose]();
  const seen = { moment, chunkSeconds, spawnedMs, killedMs, recordingMs, askedMs };
  return { ended: survival(tag, killedMs).then((survivedMs) => ({ ...seen, survivedMs })) };
}

/** The last life is not killed: it delivers everything that waits, and stops when asked. */
async function liveToTheEnd(rig: Rig, { binary }: KillOptions): Promise<void> {
  await using agent = await startAgent(rig, { binary, chunkSeconds: 2, tag: `${TAG}=last` });
  await agent.said("Recording.");
  await delay(1000);
  const endMs = performance.now() + DRAIN_MS;
  while (rig.visible.names("outbox").length > 0) {
    if (performance.now() > endMs) throw new Error(`Not delivered within ${DRAIN_MS} ms`);
    await delay(50);
  }
  const code = await agent.end("SIGTERM");
  if (code !== 0) throw new Error(`The last agent ended with ${code}`);
  await rig.visible.look();
}

function startAgent(
  { dir, config, env }: Pick<Rig, "dir" | "config" | "env">,
  life: { binary: string | undefined; chunkSeconds: number; tag: string },
): Promise<AgentProcess> {
  const [name = "", value = ""] = life.tag.split("=");
  return AgentProcess.start({
    dir,
    config: { ...config, chunk_seconds: life.chunkSeconds },
    env: { ...env, [name]: value },
    ...(life.binary === undefined ? {} : { program: [life.binary] }),
  });
}

/** How long after `killedMs` the last process with this tag in its environment ended, or Infinity. */
async function survival(tag: string, killedMs: number): Promise<number> {
  while (performance.now() - killedMs < ORPHAN_MS) {
    const lookedMs = performance.now();
    if (!processes().some((environment) => environment.includes(tag))) return lookedMs - killedMs;
    await delay(20);
  }
  return Infinity;
}

/** The environments of all processes that this user can read. */
function processes(): string[] {
  return [...Deno.readDirSync("/proc")].filter(({ name }) => /^\d+$/.test(name)).map(({ name }) => {
    try {
      return Deno.readTextFileSync(`/proc/${name}/environ`);
    } catch {
      return ""; // it has just ended, or belongs to another user
    }
  });
}

/** The files of the folders in which a chunk must never vanish or change. */
class VisibleFiles {
  readonly files: VisibleFile[] = [];
  readonly #spool: string;
  readonly #seen = new Set<string>();

  constructor(dir: string) {
    this.#spool = join(dir, "spool");
  }

  names(sub: string): string[] {
    try {
      return [...Deno.readDirSync(join(this.#spool, sub))].map(({ name }) => name).sort();
    } catch (error) {
      if (error instanceof Deno.errors.NotFound) return []; // killed before it was created
      throw error;
    }
  }

  /** Reads new files. A chunk that is in both folders, or has moved, is read again. */
  async look(): Promise<void> {
    for (const dir of ["outbox", "uploaded", "rejected"]) {
      for (const name of this.names(dir)) {
        if (this.#seen.has(`${dir}/${name}`)) continue;
        this.#seen.add(`${dir}/${name}`);
        this.files.push({ dir, name, bytes: await Deno.readFile(join(this.#spool, dir, name)) });
      }
    }
  }
}

/** The key in the name of a visible file; null if it is not a name of a chunk. */
export function keyOf({ name }: VisibleFile): string | null {
  return parseChunkName(name)?.key ?? null;
}

function shuffledNames(random: () => number): MomentName[] {
  return NAMES.map((name) => ({ name, order: random() }))
    .sort((a, b) => a.order - b.order).map(({ name }) => name);
}
