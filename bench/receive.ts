// deno-lint-ignore-file no-console -- a benchmark talks to a person
// Measures receivers with many simulated tills on loopback: how many chunks a second they make durable when all
// deliver as fast as they can, and what they use when each delivers one chunk a minute. A till has a token of its
// own and a connection that stays open. The tills are in this process, and their processor time is not counted.
// In the end every chunk that was accepted must be there once.
//
// `bench/receive.ts [--tills N] [--paced N] [--seconds N] [--dir DIR] [--binary PROGRAM] [--receivers N,N]
// [--bucket]`: N tills as fast as they can (default 200; 0: none), and N tills at one chunk a minute (default 1000),
// each for N seconds (default 20). With --bucket, chunks go to an object store that does next to nothing
// (light_store.ts), from each of these numbers of receivers (default 1) behind HAProxy; `deno task test:s3` has a
// real store.

import { join } from "@std/path/join";
import { parseArgs } from "node:util";
import { parseChunkName } from "../src/chunk/chunk_name.ts";
import { S3Client } from "../src/receive/s3_client.ts";
import { parseS3Access } from "../src/receive/s3_settings.ts";
import { systemClock } from "../src/system/clock.ts";
import { concatBytes } from "../src/system/concat_bytes.ts";
import { makeChunk } from "../tests/fixtures/chunks.ts";
import { ReceiverProcess } from "../tests/fixtures/receiver_process.ts";
import { bucketShelf, folderShelf, type Shelf } from "../tests/receiving/shelf.ts";
import { startHaproxy } from "../tests/servers/haproxy.ts";
import { LightStore } from "./light_store.ts";
import { cpuSeconds, peakRssKb } from "./process.ts";
import { type Table, toMarkdown } from "./table.ts";

/** A minute at 24 kbit/s. */
const CHUNK_BYTES = 183_000;
const START_S = 1_795_420_800;
/** A connection through the balancer stays open between two chunks of a till. */
const BALANCER_IDLE = "180s";

interface Load {
  readonly tills: number;
  readonly seconds: number;
  /** Between two chunks of a till, s; 0: none. */
  readonly everyS: number;
}

/** One till: a token, a connection that stays open, and one chunk after the other. */
class Till {
  readonly device = crypto.randomUUID();
  readonly token = crypto.randomUUID();
  /** Keys of accepted chunks. */
  readonly accepted: string[] = [];
  readonly #file: Uint8Array;
  #conn: Deno.TcpConn | null = null;
  #count = 0;

  constructor(file: Uint8Array) {
    this.#file = file;
  }

  /** Delivers one chunk, and tries again until it is accepted. Returns how long it took, ms, and how often. */
  async deliver(port: number): Promise<{ tookMs: number; retries: number }> {
    const [start, key] = [START_S + this.#count++ * 60, crypto.randomUUID()];
    const startedMs = performance.now();
    for (let retries = 0;; retries++) {
      const said = await this.#attempt(port, start, key).catch(String);
      if (said.startsWith("HTTP/1.1 200 ")) {
        this.accepted.push(key);
        return { tookMs: performance.now() - startedMs, retries };
      }
      if (!/^(HTTP\/1.1 (408|429|503) |\w*Error|$)/.test(said)) {
        throw new Error(`not accepted: ${said}`);
      }
      this.close();
      // As a till does, which waits for as long as the server asks it to.
      const [, askedS = "1"] = /\r\nretry-after: (\d+)/i.exec(said) ?? [];
      await new Promise((resolve) => setTimeout(resolve, Number(askedS) * 1000));
    }
  }

  /** The beginning of the answer. @throws the error of the network. */
  async #attempt(port: number, start: number, key: string): Promise<string> {
    const fields = {
      ...{ point_id: this.device, register_id: this.device, device_id: this.device },
      ...{ start_ts: `${start}.000000`, end_ts: `${start + 60}.000000`, codec: "opus" },
      ...{ sample_rate: "48000", channels: "1" },
    };
    const texts = Object.entries(fields).map(([name, value]) =>
      `--b\r\nContent-Disposition: form-data; name="${name}"\r\n\r\n${value}\r\n`
    ).join("");
    const encoder = new TextEncoder();
    const body = concatBytes([
      encoder.encode(
        `${texts}--b\r\nContent-Disposition: form-data; name="chunk_file"; filename="x.ogg"\r\n\r\n`,
      ),
      this.#file,
      encoder.encode("\r\n--b--"),
    ]);
    const head =
      `POST /api/v1/chunks HTTP/1.1\r\nhost: a\r\nauthorization: Bearer ${this.token}\r\n` +
      `idempotency-key: ${key}\r\ncontent-length: ${body.length}\r\n` +
      "content-type: multipart/form-data; boundary=b\r\n\r\n";
    const bytes = concatBytes([encoder.encode(head), body]);
    // Not earlier: a receiver waits for the head of a request for some seconds only.
    const conn = this.#conn ??= await Deno.connect({ hostname: "127.0.0.1", port });
    const answer = new Uint8Array(1024);
    const reading = conn.read(answer); // a receiver may refuse before it has everything
    const writing = (async () => {
      for (let at = 0; at < bytes.length;) at += await conn.write(bytes.subarray(at));
    })();
    const count = await Promise.race([reading, writing.catch(() => {}).then(() => reading)]) ?? 0;
    return new TextDecoder().decode(answer.subarray(0, count));
  }

  close(): void {
    this.#conn?.close();
    this.#conn = null;
  }
}

/** Which receivers are measured. */
export interface Where {
  /** For what must be on a disk. */
  readonly dir: string;
  /** Null: from source. */
  readonly program: readonly string[] | null;
  /** Where chunks go: a new place in this folder each time. */
  readonly shelf: (dir: string) => Shelf;
  /** How many receivers, behind a balancer; null: one, without a balancer. */
  readonly receivers: number | null;
}

async function measureLoad(
  { tills: count, seconds, everyS }: Load,
  { dir, program, receivers: servers, shelf: newShelf }: Where,
): Promise<(string | number)[]> {
  const place = await Deno.makeTempDir({ dir, prefix: "bench-receive-" });
  await using started = new AsyncDisposableStack();
  started.defer(() => Deno.remove(place, { recursive: true }));
  const file = concatBytes([makeChunk(), crypto.getRandomValues(new Uint8Array(60_000))]);
  const padded = concatBytes([file, file, file]).subarray(0, CHUNK_BYTES);
  const tills = Array.from({ length: count }, () => new Till(padded));
  const tokens = join(place, "tokens");
  const lines = tills.map(({ token, device }) => `${token} ${device}\n`);
  await Deno.writeTextFile(tokens, lines.join(""));
  const shelf = newShelf(place);
  const receivers: ReceiverProcess[] = [];
  for (let index = 0; index < (servers ?? 1); index++) {
    const receiver = await ReceiverProcess.start({
      ...{ dir: null, args: [...shelf.args, "--tokens", tokens], token: "" },
      ...(program === null ? {} : { program }),
    });
    receivers.push(started.use(receiver));
  }
  const ports = await Promise.all(
    receivers.map(async ({ url }) => Number(new URL(await url).port)),
  );
  const port = servers === null ? ports[0] ?? 0 : started.use(await balance(ports)).port;
  const tookMs: number[] = [];
  let retries = 0;
  const cpuBefore = receivers.map(({ pid }) => cpuSeconds(pid));
  const startedMs = performance.now();
  const endMs = startedMs + seconds * 1000;
  await Promise.all(tills.map(async (till, at) => {
    let dueMs = startedMs + everyS * 1000 * at / count;
    while (true) {
      const waitMs = everyS === 0 ? 0 : dueMs - performance.now();
      if (performance.now() + Math.max(0, waitMs) >= endMs) return;
      if (waitMs > 0) await new Promise((resolve) => setTimeout(resolve, waitMs));
      const delivered = await till.deliver(port);
      tookMs.push(delivered.tookMs);
      retries += delivered.retries;
      dueMs += everyS * 1000;
    }
  }));
  const tookS = (performance.now() - startedMs) / 1000;
  const cpuS = receivers.map(({ pid }, index) => cpuSeconds(pid) - (cpuBefore[index] ?? 0));
  const peakMb = receivers.map(({ pid }) => peakRssKb(pid) / 1024);
  for (const till of tills) till.close();
  const sorted = tookMs.toSorted((a, b) => a - b);
  const quantile = (share: number) => (sorted[Math.floor(sorted.length * share)] ?? NaN).toFixed(0);
  const kept = (await shelf.paths()).map((path) => parseChunkName(path.replace(/.*\//, ""))?.key);
  const keys = new Set(kept);
  const lost = tills.flatMap(({ accepted }) => accepted).filter((key) => !keys.has(key)).length;
  for (const receiver of receivers) await receiver.end("SIGTERM");
  return [
    `${servers === null ? "1, no balancer" : servers}`,
    `${count}, ${everyS === 0 ? "as fast as they can" : `one chunk per ${everyS} s`}`,
    tookMs.length,
    (tookMs.length / tookS).toFixed(1),
    `${quantile(0.5)} / ${quantile(0.99)}`,
    retries,
    `${lost} / ${kept.length - keys.size}`,
    (cpuS.reduce((sum, own) => sum + own, 0) / tookMs.length * 1000).toFixed(1),
    cpuS.map((own) => own.toFixed(1)).join(", "),
    peakMb.map((own) => own.toFixed(0)).join(", "),
  ];
}

/** HAProxy in front of these ports: each request goes to the next receiver that says that it is well. */
async function balance(ports: readonly number[]) {
  const servers = ports.map((port, at) => `server r${at} 127.0.0.1:${port} check`);
  return await startHaproxy({
    frontend: `no log\n  timeout client ${BALANCER_IDLE}`,
    backend: [
      "balance roundrobin",
      "option httpchk GET /health",
      `timeout server ${BALANCER_IDLE}`,
      ...servers,
    ]
      .join("\n  "),
  });
}

/** The table of these loads. */
export async function measure(
  loads: readonly Load[],
  where: Where,
): Promise<Table> {
  const rows: (string | number)[][] = [];
  for (const load of loads) rows.push(await measureLoad(load, where));
  return {
    title: "The receiver",
    note: `Chunks of ${CHUNK_BYTES / 1000} kB over connections that stay open, without TLS, each ` +
      "durable before its answer. The simulated tills and everything else run on the same machine.",
    header: [
      ...["receivers", "tills", "chunks", "chunks/s", "answer, ms, median / 99 %", "retries"],
      ...[
        "lost / doubled",
        "CPU per chunk, ms",
        "CPU of each receiver, s",
        "peak memory of each, MB",
      ],
    ],
    rows,
  };
}

/** Places for chunks in a bucket, each under a prefix of its own. The store is to be disposed later. */
export function bucketPlaces(
  client: S3Client,
  credentials: string,
): (dir: string) => Shelf {
  return (dir) => bucketShelf({ client, prefix: `${dir.replace(/.*\//, "")}/`, credentials });
}

if (import.meta.main) {
  const { values } = parseArgs({
    args: Deno.args,
    options: {
      tills: { type: "string", default: "200" },
      paced: { type: "string", default: "1000" },
      seconds: { type: "string", default: "20" },
      dir: { type: "string", default: "/var/tmp" },
      binary: { type: "string" },
      receivers: { type: "string", default: "1" },
      bucket: { type: "boolean", default: false },
    },
  });
  const seconds = Number(values.seconds);
  const loads = [
    { tills: Number(values.tills), seconds, everyS: 0 },
    { tills: Number(values.paced), seconds, everyS: 60 },
  ].filter(({ tills }) => tills > 0);
  const program = values.binary === undefined ? null : [values.binary];
  const where = { dir: values.dir, program };
  if (!values.bucket) {
    const shelf = (dir: string) => folderShelf(join(dir, "store"));
    console.log(toMarkdown(await measure(loads, { ...where, shelf, receivers: null })));
  } else {
    await using store = await LightStore.start();
    const credentials = await Deno.makeTempFile({ prefix: "bench-receive-" });
    await Deno.writeTextFile(credentials, store.credentials);
    const access = parseS3Access(store.credentials);
    const options = { bucket: "recordings", access: () => access, caCerts: [], clock: systemClock };
    using client = new S3Client(options);
    const shelf = bucketPlaces(client, credentials);
    for (const receivers of values.receivers.split(",").map(Number)) {
      console.log(toMarkdown(await measure(loads, { ...where, shelf, receivers })));
    }
    await Deno.remove(credentials);
  }
}
