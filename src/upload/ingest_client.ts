// The client of the Ingest API: makes one attempt to deliver one chunk; verdict.ts interprets the answer.
// It never retries, never waits and never touches the spool. Only this module turns network errors into
// words.

import { bytesOf } from "../system/byte_stream.ts";
import { deadline } from "../system/clock.ts";
import { printable } from "../system/printable.ts";
import { VERSION } from "../system/version.ts";
import { readChunkHeader } from "../chunk/chunk_file.ts";
import { OPUS_RATE } from "../chunk/opus.ts";
import type { ChunkName } from "../chunk/chunk_name.ts";
import { encodeMultipart } from "./multipart.ts";
import { messageOf } from "../system/error_text.ts";
import { Redactor } from "../system/redact.ts";
import { judge, type Verdict } from "./verdict.ts";

/** The client reads no more of an answer than this. The answers of the Ingest API are shorter. */
const MAX_ANSWER_BYTES = 65_536;
/** How much of an answer is kept for a refused chunk, characters; with "…" at its end, 2000. */
const MAX_KEPT_ANSWER = 1999;

export interface IngestClientOptions {
  /** Base URL without a trailing slash. */
  readonly baseUrl: string;
  /** Called before every attempt, so that a renewed token is used at once. */
  readonly readToken: () => Promise<string>;
  readonly ids: DeviceIds;
  readonly timestampFormat: "unix" | "iso8601";
  /** Limit of a whole attempt: connecting, sending, and reading the answer. */
  readonly timeoutMs: number;
  /** A PEM file with certificates to trust in addition to the public ones. */
  readonly tlsCaFile: string | null;
  /** How many idle connections are kept; default 1. */
  readonly concurrency?: number;
}

export interface DeviceIds {
  readonly pointId: string;
  readonly registerId: string;
  readonly deviceId: string;
}

export class IngestClient implements Disposable {
  readonly #options: IngestClientOptions;
  readonly #http: Deno.HttpClient;
  /** Resolves when the latest request has been handed to the network. */
  #handedOver: Promise<void> = Promise.resolve();

  /** @throws if the CA file cannot be read. */
  constructor(options: IngestClientOptions) {
    this.#options = options;
    const caCerts = options.tlsCaFile === null ? [] : [Deno.readTextFileSync(options.tlsCaFile)];
    // Connections are kept alive between chunks: with one chunk a minute, the idle time does not expire.
    // Only HTTP/1.1, because an attempt that times out then closes its connection. An HTTP/2 connection
    // would stay in the pool, and if the network had dropped it, every later attempt would hang on it.
    this.#http = Deno.createHttpClient({
      caCerts,
      http2: false,
      poolMaxIdlePerHost: options.concurrency ?? 1,
      poolIdleTimeout: 120_000,
    });
  }

  [Symbol.dispose](): void {
    this.#http.close();
  }

  /**
   * Makes one attempt. Resolves with a verdict whatever the network does. Attempts may overlap: their
   * requests are sent in the order of the calls.
   * @throws only the reason of `signal`, when it aborts.
   */
  async upload(
    name: ChunkName,
    file: Uint8Array<ArrayBuffer>,
    signal: AbortSignal,
  ): Promise<Verdict> {
    const before = this.#handedOver;
    const { promise, resolve: handOver } = Promise.withResolvers<void>();
    this.#handedOver = promise;
    try {
      return await this.#attempt(name, file, { before, handOver }, signal);
    } finally {
      handOver(); // also if no request was made
    }
  }

  async #attempt(
    name: ChunkName,
    file: Uint8Array<ArrayBuffer>,
    turn: { readonly before: Promise<void>; readonly handOver: () => void },
    signal: AbortSignal,
  ): Promise<Verdict> {
    let token: string;
    try {
      token = await this.#options.readToken();
    } catch (error) {
      return { kind: "misconfigured", reason: messageOf(error) };
    }
    // A server may echo what it was sent, and reasons are logged and shown.
    const { hide } = new Redactor(token);
    using limit = deadline(this.#options.timeoutMs, signal);
    const url = `${this.#options.baseUrl}/api/v1/chunks`;
    let verdict: Verdict;
    try {
      const fields = chunkFields(name, file, this.#options);
      const hash = await sha256Base64(file);
      const chunkFile = {
        field: "chunk_file",
        fileName: `${name.key}.ogg`,
        type: "audio/ogg",
        bytes: file,
      };
      const { contentType, body } = encodeMultipart(fields, chunkFile, randomBoundary());
      await turn.before;
      const answering = fetch(url, {
        method: "POST",
        client: this.#http,
        headers: {
          authorization: `Bearer ${token}`,
          "content-type": contentType,
          "user-agent": `recorder-agent/${VERSION}`,
          "idempotency-key": name.key,
          "repr-digest": `sha-256=:${hash}:`,
          digest: `SHA-256=${hash}`,
          ...(name.provisional === undefined ? {} : { "x-clock-synchronized": "false" }),
        },
        body,
        redirect: "manual",
        signal: limit.signal,
      });
      turn.handOver();
      const answer = await answering;
      const said = await readBody(answer);
      verdict = judge(answer.status, answer.headers, said, hide);
      if (verdict.kind === "refused") {
        const answerBody = printable(hide(said), MAX_KEPT_ANSWER);
        const exchange = { url: hide(url), ...fields, answer: answerBody };
        verdict = { ...verdict, exchange };
      }
    } catch (error) {
      if (signal.aborted) throw signal.reason;
      verdict = explain(error);
    }
    return verdict.kind === "delivered"
      ? { ...verdict, chunkId: verdict.chunkId && hide(verdict.chunkId) }
      : { ...verdict, reason: hide(verdict.reason) };
  }
}

/** The text fields of an upload. The ids are those from the chunk's tags, if it has them. */
function chunkFields(
  name: ChunkName,
  file: Uint8Array<ArrayBuffer>,
  options: Pick<IngestClientOptions, "ids" | "timestampFormat">,
): Record<string, string> {
  const recorded = readChunkHeader(file);
  const { ids, timestampFormat } = options;
  return {
    point_id: recorded?.tags["POINT_ID"] ?? ids.pointId,
    register_id: recorded?.tags["REGISTER_ID"] ?? ids.registerId,
    device_id: recorded?.tags["DEVICE_ID"] ?? ids.deviceId,
    start_ts: formatTimestamp(name.startUnixUs, timestampFormat),
    end_ts: formatTimestamp(name.startUnixUs + name.durationUs, timestampFormat),
    codec: "opus",
    sample_rate: String(recorded?.head.inputSampleRate || OPUS_RATE),
    channels: "1",
  };
}

/** 128 random bits: no file contains them by chance. */
function randomBoundary(): string {
  return `recorder-agent-${crypto.getRandomValues(new Uint8Array(16)).toHex()}`;
}

/** Unix seconds, or ISO 8601 in UTC; both with microseconds. */
export function formatTimestamp(unixUs: number, format: "unix" | "iso8601"): string {
  const seconds = Math.floor(unixUs / 1e6);
  const fraction = String(unixUs - seconds * 1e6).padStart(6, "0");
  if (format === "unix") return `${seconds}.${fraction}`;
  return `${new Date(seconds * 1000).toISOString().slice(0, 19)}.${fraction}Z`;
}

async function sha256Base64(bytes: Uint8Array<ArrayBuffer>): Promise<string> {
  const hash = new Uint8Array(await crypto.subtle.digest("SHA-256", bytes));
  return hash.toBase64();
}

async function readBody(answer: Response): Promise<string> {
  if (answer.body === null) return "";
  const decoder = new TextDecoder();
  let text = "";
  for await (const part of bytesOf(answer.body)) {
    text += decoder.decode(part, { stream: true });
    if (text.length > MAX_ANSWER_BYTES) break; // leaving the loop cancels the stream
  }
  return text;
}

/** Network errors in words. The error of Deno's fetch says little; its causes hold the reason. */
function explain(error: unknown): Verdict {
  if (error instanceof DOMException && error.name === "TimeoutError") {
    return { kind: "retry", reason: `no complete answer: ${error.message}`, retryAfterMs: null };
  }
  const words: string[] = [];
  for (let cause: unknown = error; cause instanceof Error; cause = cause.cause) {
    if (!words.some((word) => word.includes(cause.message))) words.push(cause.message);
  }
  const text = words.join(": ") || String(error);
  const hint = /certificate|UnknownIssuer/i.test(text)
    ? " (is the clock right? a private CA goes into tls_ca_file)"
    : "";
  return { kind: "retry", reason: `no answer: ${text}${hint}`, retryAfterMs: null };
}
