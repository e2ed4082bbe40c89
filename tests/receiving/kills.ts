// The agent delivers a backlog to one receiver, or to several behind a load balancer that share a bucket, and
// all are killed at random moments: whatever was accepted must be there once and whole, at every moment, and
// in the end everything is. Real processes; the seed decides the moments and the sizes of the chunks.

import { join } from "@std/path/join";
import { type ChunkName, formatChunkName, parseChunkName } from "../../src/chunk/chunk_name.ts";
import { concatBytes } from "../../src/system/concat_bytes.ts";
import { AgentProcess, IDS } from "../fixtures/agent_process.ts";
import { makeChunk } from "../fixtures/chunks.ts";
import { seededRandom, seededUuid } from "../fixtures/random.ts";
import { Balancer } from "../fixtures/balancer.ts";
import { ReceiverProcess } from "../fixtures/receiver_process.ts";
import { folderShelf, type Shelf } from "./shelf.ts";

const TOKEN = "the-token";
const START_US = Date.UTC(2026, 10, 23, 23, 30) * 1000; // the backlog crosses midnight
/** The agent and the receiver are killed this many ms after they work, at most. */
const MAX_LIFE_MS = 700;

export interface KillOptions {
  readonly seed: number;
  /** Kills of each of the two. */
  readonly kills: number;
  /** Chunks that wait at the start, and as many again before each kill of the agent. */
  readonly chunks: number;
  /** Default: a folder. */
  readonly shelf?: Shelf;
  /** Default: 1. More of them need a bucket. */
  readonly receivers?: number;
  readonly onKill?: (kills: number) => void;
}

export interface KillReport {
  readonly kills: number;
  readonly chunks: number;
  /** Uploads that the receiver had accepted before. */
  readonly repeated: number;
  /** Sentences; empty if everything is as promised. */
  readonly faults: readonly string[];
}

/** Runs one schedule. */
export async function runReceiverKills(options: KillOptions): Promise<KillReport> {
  const random = seededRandom(options.seed);
  const root = await Deno.makeTempDir({ prefix: "receiver-kills-" });
  try {
    const shelf = options.shelf ?? folderShelf(join(root, "store"));
    await using balancer = new Balancer();
    return await new Schedule({ root, random, shelf, balancer }).run(options);
  } finally {
    await Deno.remove(root, { recursive: true });
  }
}

class Schedule {
  readonly #root: string;
  readonly #random: () => number;
  readonly #spool: string;
  readonly #shelf: Shelf;
  readonly #balancer: Balancer;
  /** Paths whose bytes were right. */
  readonly #read = new Set<string>();
  /** What was recorded, by key. */
  readonly #made = new Map<string, { name: ChunkName; bytes: Uint8Array }>();
  readonly #faults = new Set<string>();
  #repeated = 0;

  constructor(
    { root, random, shelf, balancer }: {
      readonly root: string;
      readonly random: () => number;
      readonly shelf: Shelf;
      readonly balancer: Balancer;
    },
  ) {
    this.#root = root;
    this.#random = random;
    this.#spool = join(root, "spool");
    this.#shelf = shelf;
    this.#balancer = balancer;
  }

  async run({ kills, chunks, onKill, receivers: count = 1 }: KillOptions): Promise<KillReport> {
    await Deno.mkdir(join(this.#spool, "outbox"), { recursive: true });
    await this.#record(chunks);
    const receivers = await Promise.all(
      Array.from({ length: count }, (_, index) => this.#startReceiver(index)),
    );
    let agent = await this.#startAgent();
    let done = { receiver: 0, agent: 0 };
    try {
      while (done.receiver + done.agent < 2 * kills) {
        await pause(this.#random() * MAX_LIFE_MS);
        if (done.agent >= kills || (done.receiver < kills && this.#random() < 0.5)) {
          const index = done.receiver % count;
          await receivers[index]?.end("SIGKILL");
          this.#count(receivers[index]);
          await this.#look();
          receivers[index] = await this.#startReceiver(index);
          done = { ...done, receiver: done.receiver + 1 };
        } else {
          await this.#record(chunks);
          await agent.end("SIGKILL");
          await this.#look();
          agent = await this.#startAgent();
          done = { ...done, agent: done.agent + 1 };
        }
        onKill?.(done.receiver + done.agent);
      }
      await this.#untilDelivered(agent);
    } finally {
      await agent[Symbol.asyncDispose]();
      for (const receiver of receivers) await receiver[Symbol.asyncDispose]();
    }
    for (const receiver of receivers) this.#count(receiver);
    const refused = this.#namesIn("rejected");
    if (refused.length > 0) this.#faults.add(`${refused.length} chunks were refused`);
    const here = await this.#look();
    const lost = [...this.#made.keys()].filter((key) => !here.has(key));
    if (lost.length > 0) this.#faults.add(`${lost.length} chunks are lost`);
    await using last = await this.#startReceiver(0);
    if (await last.end("SIGTERM") !== 0) this.#faults.add("the receiver did not stop in order");
    const left = await this.#shelf.leftovers();
    if (left.length > 0) this.#faults.add(`left over: ${left.join(", ")}`);
    return {
      kills: 2 * kills,
      chunks: this.#made.size,
      repeated: this.#repeated,
      faults: [...this.#faults],
    };
  }

  /** Puts new chunks into the outbox, each by one rename, as the agent does. */
  async #record(count: number): Promise<void> {
    for (let made = 0; made < count; made++) {
      const name = {
        startUnixUs: START_US + this.#made.size * 60e6,
        durationUs: 60e6,
        key: seededUuid(this.#random),
      };
      const noise = crypto.getRandomValues(
        new Uint8Array(Math.floor(this.#random() ** 3 * 60_000)),
      );
      const bytes = concatBytes([makeChunk(), noise, noise, noise]);
      this.#made.set(name.key, { name, bytes });
      const draft = join(this.#root, "draft");
      await Deno.writeFile(draft, bytes);
      await Deno.rename(draft, join(this.#spool, "outbox", formatChunkName(name)));
    }
  }

  /** Each receiver keeps its port. */
  async #startReceiver(index: number): Promise<ReceiverProcess> {
    const { ports } = this.#balancer;
    const receiver = await ReceiverProcess.start({
      ...{ dir: null, args: this.#shelf.args, token: TOKEN, port: ports[index] ?? 0 },
    });
    ports[index] = Number(new URL(await receiver.url).port);
    return receiver;
  }

  /** It never records: its schedule is half a day away. */
  async #startAgent(): Promise<AgentProcess> {
    const hour = (new Date().getUTCHours() + 12) % 24;
    const at = (minute: string) => `${String(hour).padStart(2, "0")}:${minute}`;
    const agent = await AgentProcess.start({
      dir: this.#root,
      env: { TZ: "UTC" },
      logLevel: "INFO",
      config: {
        ...{ ingest_base_url: `http://127.0.0.1:${this.#balancer.port}`, ingest_token: TOKEN },
        ...{ spool_dir: this.#spool, schedule_start: at("00"), schedule_end: at("01") },
        ...{ retry_min_s: 0.1, retry_max_s: 0.5, upload_timeout_s: 10, min_free_gb: 0 },
      },
    });
    await agent.said("Health is at", { timeoutMs: 60_000 });
    return agent;
  }

  /** Waits until nothing is in the outbox, while chunks are delivered. */
  async #untilDelivered(agent: AgentProcess): Promise<void> {
    let [left, sinceMs] = [Infinity, performance.now()];
    while (left > 0) {
      const now = this.#namesIn("outbox").length;
      if (now < left) [left, sinceMs] = [now, performance.now()];
      if (performance.now() - sinceMs > 60_000) {
        this.#faults.add(`not delivered: ${JSON.stringify(agent.log.slice(-3))}`);
        return;
      }
      await pause(50);
    }
  }

  #count(receiver: ReceiverProcess | undefined): void {
    const lines = receiver?.lines ?? [];
    this.#repeated += lines.filter(({ outcome }) => outcome === "repeated").length;
  }

  /** Checks what is there now, while a receiver or the agent is dead. Returns the keys. */
  async #look(): Promise<Set<string>> {
    const accepted = this.#namesIn("uploaded");
    const keys = new Set<string>();
    const device = `${IDS.point_id}/${IDS.register_id}/${IDS.device_id}/`;
    for (const path of await this.#shelf.paths()) {
      const file = path.slice(path.lastIndexOf("/") + 1);
      const key = parseChunkName(file)?.key ?? "";
      const made = this.#made.get(key);
      if (made === undefined) this.#faults.add(`not a chunk that was sent: ${path}`);
      if (keys.has(key)) this.#faults.add(`there twice: ${path}`);
      keys.add(key);
      if (made === undefined) continue;
      const day = new Date(made.name.startUnixUs / 1000).toISOString().slice(0, 10);
      const right = `${device}${day}/${formatChunkName(made.name)}`;
      if (path !== right) this.#faults.add(`at the wrong place: ${path}`);
      if (!this.#shelf.isReadAgain && this.#read.has(path)) continue;
      if (isEqual(await this.#shelf.read(path), made.bytes)) this.#read.add(path);
      else this.#faults.add(`not whole: ${path}`);
    }
    for (const name of accepted) {
      const key = parseChunkName(name)?.key ?? "";
      if (!keys.has(key)) this.#faults.add(`accepted and not there: ${name}`);
    }
    return keys;
  }

  #namesIn(sub: string): string[] {
    try {
      return [...Deno.readDirSync(join(this.#spool, sub))].map(({ name }) => name)
        .filter((name) => name.endsWith(".ogg"));
    } catch {
      return []; // the agent has not made it yet
    }
  }
}

function isEqual(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && a.every((byte, at) => byte === b[at]);
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
