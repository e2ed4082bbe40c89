// deno-lint-ignore-file no-console -- a benchmark talks to a person
// Measures the receiver with many simulated tills on loopback: how many chunks a second it makes durable when
// all deliver as fast as they can, and what it uses when each delivers one chunk a minute. The tills are
// connections of this process that stay open; their processor time is not counted.
//
// `bench/receive.ts [--tills N] [--paced N] [--seconds N] [--dir DIR] [--binary PROGRAM] [--receivers N] [--bucket]`: N tills as fast
// as they can (default 200; 0: none), N tills at one chunk a minute (default 1000), each for N seconds (default 20).
// With --bucket, chunks go to a simulated object store in this process; `deno task test:s3` has a real one.

import { join } from "@std/path/join";
import { parseArgs } from "node:util";
import { concatBytes } from "../src/system/concat_bytes.ts";
import { makeChunk } from "../tests/fixtures/chunks.ts";
import { BUCKET, S3Double } from "../tests/fixtures/s3_double.ts";
import { ReceiverProcess } from "../tests/fixtures/receiver_process.ts";
import { cpuSeconds, peakRssKb } from "./process.ts";
import { type Table, toMarkdown } from "./table.ts";

const TOKEN = "bench-token";
/** A minute at 24 kbit/s. */
const CHUNK_BYTES = 183_000;
const START_S = 1_795_420_800;

interface Load {
  readonly tills: number;
  readonly seconds: number;
  /** Between two chunks of a till, s; 0: none. */
  readonly everyS: number;
}

/** One till: a connection that stays open, and one chunk after the other. */
class Till {
  readonly #port: number;
  readonly #device = crypto.randomUUID();
  readonly #file: Uint8Array;
  #conn: Deno.TcpConn | null = null;
  #count = 0;

  constructor(port: number, file: Uint8Array) {
    this.#port = port;
    this.#file = file;
  }

  /** Delivers one chunk, and tries again until it is accepted. Returns how long it took, ms, and how often. */
  async deliver(): Promise<{ tookMs: number; retries: number }> {
    const [start, key] = [START_S + this.#count++ * 60, crypto.randomUUID()];
    const startedMs = performance.now();
    for (let retries = 0;; retries++) {
      const said = await this.#attempt(start, key).catch(String);
      if (said.startsWith("HTTP/1.1 200 ")) {
        return { tookMs: performance.now() - startedMs, retries };
      }
      if (!/^(HTTP\/1.1 (408|503) |\w*Error|$)/.test(said)) {
        throw new Error(`not accepted: ${said}`);
      }
      this.close();
      await new Promise((resolve) => setTimeout(resolve, 1000));
    }
  }

  /** The beginning of the answer. @throws the error of the network. */
  async #attempt(start: number, key: string): Promise<string> {
    const conn = this.#conn ??= await Deno.connect({ hostname: "127.0.0.1", port: this.#port });
    const fields = {
      ...{ point_id: this.#device, register_id: this.#device, device_id: this.#device },
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
    const head = `POST /api/v1/chunks HTTP/1.1\r\nhost: a\r\nauthorization: Bearer ${TOKEN}\r\n` +
      `idempotency-key: ${key}\r\ncontent-length: ${body.length}\r\n` +
      "content-type: multipart/form-data; boundary=b\r\n\r\n";
    const bytes = concatBytes([encoder.encode(head), body]);
    for (let at = 0; at < bytes.length;) at += await conn.write(bytes.subarray(at));
    const answer = new Uint8Array(1024);
    const count = await conn.read(answer) ?? 0;
    return new TextDecoder().decode(answer.subarray(0, count));
  }

  close(): void {
    this.#conn?.close();
    this.#conn = null;
  }
}

/** Which receivers are measured. */
export interface Where {
  /** For the folder with the chunks. */
  readonly dir: string;
  /** Null: from source. */
  readonly program: readonly string[] | null;
  /** Default: 1; the tills are shared out among them. */
  readonly receivers?: number;
  /** Options of `receive` with another store than a folder. */
  readonly args?: readonly string[];
}

async function measureLoad(
  { tills: count, seconds, everyS }: Load,
  { dir, program, receivers: servers = 1, args }: Where,
): Promise<(string | number)[]> {
  const store = await Deno.makeTempDir({ dir, prefix: "bench-receive-" });
  await using started = new AsyncDisposableStack();
  const receivers: ReceiverProcess[] = [];
  for (let index = 0; index < servers; index++) {
    const receiver = await ReceiverProcess.start({
      ...{ dir: args === undefined ? join(store, "store") : null, args: args ?? [], token: TOKEN },
      ...(program === null ? {} : { program }),
    });
    receivers.push(started.use(receiver));
  }
  const ports = await Promise.all(
    receivers.map(async ({ url }) => Number(new URL(await url).port)),
  );
  const file = concatBytes([makeChunk(), crypto.getRandomValues(new Uint8Array(60_000))]);
  const padded = concatBytes([file, file, file]).subarray(0, CHUNK_BYTES);
  const tills = Array.from(
    { length: count },
    (_, index) => new Till(ports[index % ports.length] ?? 0, padded),
  );
  const tookMs: number[] = [];
  let retries = 0;
  const cpuSum = () => receivers.reduce((sum, { pid }) => sum + cpuSeconds(pid), 0);
  const cpuBefore = cpuSum();
  const startedMs = performance.now();
  const endMs = startedMs + seconds * 1000;
  await Promise.all(tills.map(async (till, at) => {
    let dueMs = startedMs + everyS * 1000 * at / count;
    while (true) {
      const waitMs = everyS === 0 ? 0 : dueMs - performance.now();
      if (performance.now() + Math.max(0, waitMs) >= endMs) return;
      if (waitMs > 0) await new Promise((resolve) => setTimeout(resolve, waitMs));
      const delivered = await till.deliver();
      tookMs.push(delivered.tookMs);
      retries += delivered.retries;
      dueMs += everyS * 1000;
    }
  }));
  const tookS = (performance.now() - startedMs) / 1000;
  const cpu = cpuSum() - cpuBefore;
  const peakMb = Math.max(...receivers.map(({ pid }) => peakRssKb(pid))) / 1024;
  for (const till of tills) till.close();
  const sorted = tookMs.toSorted((a, b) => a - b);
  const quantile = (share: number) => (sorted[Math.floor(sorted.length * share)] ?? NaN).toFixed(0);
  for (const receiver of receivers) await receiver.end("SIGTERM");
  await Deno.remove(store, { recursive: true });
  return [
    `${servers === 1 ? "" : `${servers} receivers, `}${count}, ${
      everyS === 0 ? "as fast as they can" : `one chunk per ${everyS} s`
    }`,
    tookMs.length,
    (tookMs.length / tookS).toFixed(1),
    (tookMs.length * CHUNK_BYTES / 1e6 / tookS).toFixed(1),
    `${quantile(0.5)} / ${quantile(0.99)}`,
    retries,
    (cpu / tookMs.length * 1000).toFixed(1),
    peakMb.toFixed(0),
  ];
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
    note:
      `Chunks of ${
        CHUNK_BYTES / 1000
      } kB over connections that stay open, without TLS, each durable ` +
      "before its answer. The simulated tills run on the same machine.",
    header: [
      ...["tills", "chunks", "chunks/s", "MB/s", "answer, ms, median / 99 %"],
      "retries",
      ...["CPU per chunk, ms", "peak memory, MB"],
    ],
    rows,
  };
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
  const where = { dir: values.dir, program, receivers: Number(values.receivers) };
  if (!values.bucket) console.log(toMarkdown(await measure(loads, where)));
  else {
    await using double = new S3Double();
    const credentials = await Deno.makeTempFile({ prefix: "bench-receive-" });
    await Deno.writeTextFile(credentials, double.credentials);
    const args = ["--store", `s3://${BUCKET}`, "--s3-credentials", credentials];
    console.log(toMarkdown(await measure(loads, { ...where, args })));
    await Deno.remove(credentials);
  }
}
