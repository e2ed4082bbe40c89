// A till whose chunks wait already: the real program as a process, with a spool that was filled before it
// starts, and no recording by its schedule. What has arrived at an endpoint is compared with what waited,
// byte by byte and in order.

import { assert, assertEquals } from "@std/assert";
import { delay } from "@std/async/delay";
import { join } from "@std/path/join";
import { encodePage, END_OF_STREAM } from "../../src/chunk/ogg.ts";
import { BEGIN_OF_STREAM } from "../../src/chunk/ogg.ts";
import { encodeOpusHead, encodeOpusTags } from "../../src/chunk/opus.ts";
import { type ChunkName, formatChunkName } from "../../src/chunk/chunk_name.ts";
import { concatBytes } from "../../src/system/concat_bytes.ts";
import { AgentProcess } from "../fixtures/agent_process.ts";
import type { Arrival } from "./endpoints.ts";

const MINUTE_US = 60_000_000;
const LOOK_MS = 50;
/** Default of `upload_concurrency`. */
const IN_FLIGHT = 6;
const PACKET_BYTES = 180;
const PACKETS_PER_PAGE = 20;
const FRAME_SAMPLES = 960;

export const TOKEN = "t0ken-that-nobody-may-see";

/** How to set up a till. */
export interface TillOptions {
  /** `ingest_base_url`. */
  readonly url: string;
  /** Chunks that wait, one a minute. */
  readonly chunks: number;
  /** Size of each, at least; default: a few hundred bytes. */
  readonly chunkBytes?: number;
  /** More keys of the configuration. */
  readonly config?: Readonly<Record<string, string | number | boolean>>;
  readonly env?: Readonly<Record<string, string>>;
}

/** What /health reports, as far as a test here reads it. */
export interface Health {
  readonly status: string;
  readonly queue_size: number;
  readonly uploaded_total: number;
  readonly upload_errors_total: number;
  readonly problems: readonly { readonly code: string; readonly message: string }[];
}

/** The environment of a shop without a proxy. */
const NO_PROXY = Object.fromEntries(
  ["HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"]
    .flatMap((name) => [[name, ""], [name.toLowerCase(), ""]]),
);

/** A till that delivers; release it with `await using`. */
export class Till implements AsyncDisposable {
  private constructor(
    readonly dir: string,
    readonly agent: AgentProcess,
    /** What waited at the start, in the order of time. */
    readonly waited: readonly Arrival[],
  ) {}

  static async start({ url, chunks, chunkBytes = 0, config, env }: TillOptions): Promise<Till> {
    const dir = await Deno.makeTempDir({ prefix: "recorder-agent-till-" });
    const spool = join(dir, "spool");
    await Deno.mkdir(join(spool, "outbox"), { recursive: true });
    const waited = await fillOutbox(join(spool, "outbox"), chunks, chunkBytes);
    await Deno.writeTextFile(join(dir, "token"), `${TOKEN}\n`);
    const agent = await AgentProcess.start({
      dir,
      env: { ...NO_PROXY, ...env },
      config: {
        ingest_base_url: url,
        ingest_token_file: join(dir, "token"),
        audio_device: "none",
        spool_dir: spool,
        ...scheduleWithoutNow(),
        retry_min_s: 0.05,
        retry_max_s: 0.4,
        min_free_gb: 0,
        ...config as Record<string, string | number>,
      },
    });
    return new Till(dir, agent, waited);
  }

  /** File names in `outbox/`, `uploaded/` or `rejected/`, the oldest first. */
  files(folder: "outbox" | "uploaded" | "rejected"): string[] {
    try {
      return [...Deno.readDirSync(join(this.dir, "spool", folder))].map(({ name }) => name).sort();
    } catch (error) {
      if (error instanceof Deno.errors.NotFound) return [];
      throw error;
    }
  }

  async health(): Promise<Health> {
    return (await this.agent.health()).body as unknown as Health;
  }

  /** The first report of /health of which this is true; rejects with the last one, and the log. */
  async until(
    what: string,
    isTrue: (health: Health) => boolean,
    limitMs = 20_000,
  ): Promise<Health> {
    const endMs = performance.now() + limitMs;
    while (true) {
      const health = await this.health();
      if (isTrue(health)) return health;
      if (performance.now() > endMs) {
        const { queue_size, uploaded_total, upload_errors_total, problems } = health;
        const seen = { queue_size, uploaded_total, upload_errors_total, problems };
        throw new Error(
          `not within ${limitMs} ms: ${what}; ${JSON.stringify(seen)}\n${this.log()}`,
        );
      }
      await delay(LOOK_MS);
    }
  }

  /** Resolves when this problem is reported; returns all that is reported. */
  problem(pattern: RegExp, limitMs?: number): Promise<Health> {
    return this.until(
      `a problem like ${pattern}`,
      ({ problems }) => problems.some(({ message }) => pattern.test(message)),
      limitMs,
    );
  }

  /** Resolves when everything has been delivered. */
  delivered(limitMs?: number): Promise<Health> {
    const { length } = this.waited;
    return this.until(
      `${length} chunks are delivered`,
      ({ uploaded_total }) => uploaded_total >= length,
      limitMs,
    );
  }

  /** Asserts that nothing has left `outbox/`. */
  assertAllWait(): void {
    assertEquals(this.files("rejected"), [], "rejected/");
    assertEquals(this.files("outbox").length, this.waited.length, "chunks in outbox/");
  }

  /**
   * Asserts that everything has arrived once, byte by byte, in the promised order, and that nothing was
   * rejected: no chunk is further ahead of an older one than the requests in flight allow.
   */
  assertArrived(arrivals: readonly Arrival[]): void {
    const byTime = arrivals.toSorted((a, b) => Number(a.startTs) - Number(b.startTs));
    assertEquals(byTime, this.waited);
    for (const [at, { startTs }] of arrivals.entries()) {
      const ahead = this.waited.findIndex((waited) => waited.startTs === startTs) - at;
      assert(ahead < IN_FLIGHT, `${startTs} came ${ahead} places too early`);
    }
    assertEquals(this.files("outbox"), []);
    assertEquals(this.files("rejected"), []);
    assertEquals(this.files("uploaded").length, this.waited.length);
  }

  /** The last lines of the log of the program. */
  log(lines = 20): string {
    return this.agent.log.slice(-lines).map((line) => JSON.stringify(line)).join("\n");
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.agent[Symbol.asyncDispose]();
    await Deno.remove(this.dir, { recursive: true });
  }
}

async function fillOutbox(outbox: string, count: number, bytes: number): Promise<Arrival[]> {
  const firstUs = Math.floor(Date.now() / 60_000 - count - 1) * MINUTE_US;
  const waited: Arrival[] = [];
  for (let minute = 0; minute < count; minute++) {
    const startUnixUs = firstUs + minute * MINUTE_US + 250_000;
    const name: ChunkName = { startUnixUs, durationUs: MINUTE_US, key: crypto.randomUUID() };
    const file = chunkOf(bytes);
    await Deno.writeFile(join(outbox, formatChunkName(name)), file);
    const hash = new Uint8Array(await crypto.subtle.digest("SHA-256", file));
    const startTs = `${Math.floor(startUnixUs / 1e6)}.250000`;
    waited.push({ startTs, sizeBytes: file.length, sha256: hash.toHex() });
  }
  return waited;
}

/** A chunk of at least this size, with noise instead of sound. */
function chunkOf(bytes: number): Uint8Array<ArrayBuffer> {
  const page = (sequence: number, packets: Uint8Array[], flags: number, granulePosition: number) =>
    encodePage({ flags, granulePosition, serial: 1, sequence, packets });
  const pages = [
    page(
      0,
      [encodeOpusHead({ channels: 1, preSkip: 312, inputSampleRate: 48_000 })],
      BEGIN_OF_STREAM,
      0,
    ),
    page(1, [encodeOpusTags("test", {})], 0, 0),
  ];
  const soundPages = Math.max(1, Math.ceil(bytes / (PACKET_BYTES * PACKETS_PER_PAGE)));
  for (let index = 1; index <= soundPages; index++) {
    const packets = Array.from(
      { length: PACKETS_PER_PAGE },
      () => crypto.getRandomValues(new Uint8Array(PACKET_BYTES)),
    );
    const flags = index === soundPages ? END_OF_STREAM : 0;
    pages.push(page(index + 1, packets, flags, index * PACKETS_PER_PAGE * FRAME_SAMPLES));
  }
  return new Uint8Array(concatBytes(pages));
}

/** A schedule of one hour that begins in six hours. */
function scheduleWithoutNow(): { schedule_start: string; schedule_end: string } {
  const inHours = (hours: number) => {
    const hour = (new Date().getHours() + hours) % 24;
    return `${String(hour).padStart(2, "0")}:00`;
  };
  return { schedule_start: inHours(6), schedule_end: inHours(7) };
}
