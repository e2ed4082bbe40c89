// The client of the Ingest API: makes one attempt to deliver one chunk; verdict.ts interprets the answer.
// It never retries, never waits between attempts and never touches the spool.

import { readChunkHeader } from "../chunk/chunk_file.ts";
import type { ChunkName } from "../chunk/chunk_name.ts";
import { OPUS_RATE } from "../chunk/opus.ts";
import type { Config } from "../config/config.ts";
import { trustNoPublicAuthority } from "../config/places.ts";
import { readTlsFiles, type TlsConfig } from "../config/tls_files.ts";
import { readTokenToSend } from "../config/token.ts";
import { type Clock, deadline, systemClock } from "../system/clock.ts";
import { concatBytes } from "../system/concat_bytes.ts";
import { messageOf } from "../system/error_text.ts";
import { untilAborted } from "../system/on_abort.ts";
import { printable } from "../system/printable.ts";
import { Redactor } from "../system/redact.ts";
import { VERSION } from "../system/version.ts";
import { TransportFailure } from "../system/transport_failures.ts";
import { HttpClient, type HttpRequest, type RequestBody } from "../system/http_client.ts";
import { LinePatience } from "./line_patience.ts";
import { encodeMultipart, type MultipartForm } from "./multipart.ts";
import type { Network } from "../system/network.ts";
import { FileFailure, type UploadFile } from "./upload_file.ts";
import { judge, judgeEarly, type Verdict } from "./verdict.ts";

/** How much of an answer is kept for a refused chunk, characters; with "…" at its end, 2000. */
const MAX_KEPT_ANSWER = 1999;

export interface IngestClientOptions {
  /** Base URL without a trailing slash. */
  readonly baseUrl: string;
  /** Called before every attempt, so that a renewed token is used at once. */
  readonly readToken: () => Promise<string>;
  readonly ids: DeviceIds;
  readonly timestampFormat: "unix" | "iso8601";
  /** How long nothing may move; a whole attempt may take this and the duration of the chunk. */
  readonly timeoutMs: number;
  readonly tls: TlsConfig;
  /** Environment variables that may name a proxy. */
  readonly env?: Readonly<Record<string, string>>;
  /** How many idle connections are kept; default 1. */
  readonly concurrency?: number;
  /** Cap of what all attempts send together, kbit/s; null: none. */
  readonly maxKbps?: number | null;
  readonly clock?: Clock;
  readonly network?: Network;
}

export interface DeviceIds {
  readonly pointId: string;
  readonly registerId: string;
  readonly deviceId: string;
}

/** The client that a configuration describes. @param env variables that may name a proxy */
export function ingestClientOf(
  config: Config,
  env: Readonly<Record<string, string>> = {},
  options: Partial<IngestClientOptions> = {},
): IngestClient {
  return new IngestClient({
    baseUrl: config.ingestBaseUrl,
    readToken: () => readTokenToSend(config),
    ids: config,
    timestampFormat: config.timestampFormat,
    timeoutMs: config.uploadTimeoutS * 1000,
    tls: config,
    env,
    concurrency: config.uploadConcurrency,
    maxKbps: config.uploadMaxKbps,
    ...options,
  });
}

export class IngestClient implements Disposable {
  readonly #options: IngestClientOptions;
  readonly #http: HttpClient;
  readonly #clock: Clock;
  readonly #patience = new LinePatience();
  /** While the token is being read: never twice at a time. */
  #readingToken: Promise<string> | null = null;
  /** Resolves when the latest request has been handed to the network. */
  #handedOver: Promise<void> = Promise.resolve();

  constructor(options: IngestClientOptions) {
    this.#options = options;
    const { concurrency = 1, clock = systemClock } = options;
    this.#clock = clock;
    if (options.tls.tlsCaOnly) trustNoPublicAuthority();
    this.#http = new HttpClient({
      ...options,
      url: new URL(options.baseUrl),
      tls: () => readTlsFiles(options.tls),
      maxIdle: concurrency,
    });
  }

  [Symbol.dispose](): void {
    this.#http[Symbol.dispose]();
  }

  /**
   * Makes one attempt, and closes the file. Resolves with a verdict whatever the network does. Attempts may
   * overlap: their requests are sent in the order of the calls.
   * @throws only the reason of `signal`, when it aborts.
   */
  async upload(name: ChunkName, file: UploadFile, signal: AbortSignal): Promise<Verdict> {
    const before = this.#handedOver;
    const { promise, resolve: handOver } = Promise.withResolvers<void>();
    this.#handedOver = promise;
    try {
      signal.throwIfAborted();
      return await this.#attempt(name, file, { before, handOver }, signal);
    } finally {
      before.then(handOver); // also if no request was made: the next one waits for those before it
      file.close();
    }
  }

  async #attempt(
    name: ChunkName,
    file: UploadFile,
    turn: { readonly before: Promise<void>; readonly handOver: () => void },
    signal: AbortSignal,
  ): Promise<Verdict> {
    let token: string;
    try {
      token = await this.#readToken(signal);
    } catch (error) {
      if (signal.aborted) throw signal.reason;
      return { kind: "misconfigured", reason: messageOf(error) };
    }
    // A server may echo what it was sent, and reasons are logged and shown.
    const { hide } = new Redactor(token);
    const url = `${this.#options.baseUrl}/api/v1/chunks`;
    let verdict: Verdict;
    try {
      const fields = chunkFields(name, file, this.#options);
      const hash = await file.sha256(signal);
      const form = encodeMultipart(fields, {
        field: "chunk_file",
        fileName: `${name.key}.ogg`,
        type: "audio/ogg",
        sizeBytes: file.sizeBytes,
      }, randomBoundary());
      await turn.before;
      signal.throwIfAborted();
      const headers = {
        authorization: `Bearer ${token}`,
        "content-type": form.contentType,
        "user-agent": `recorder-agent/${VERSION}`,
        "idempotency-key": name.key,
        "repr-digest": `sha-256=:${hash}:`,
        digest: `SHA-256=${hash}`,
        ...(name.provisional === undefined ? {} : { "x-clock-synchronized": "false" }),
      };
      const request = { path: new URL(url).pathname, headers, body: bodyOf(form, file) };
      const answer = await this.#post(request, name.durationUs / 1000, turn.handOver, signal);
      const said = answer.body;
      const judged = answer.isRequestSent ? judge : judgeEarly;
      verdict = judged(answer.status, answer.headers, said, hide);
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

  /** Reading a pipe, or from a mount that hangs, may never end. */
  async #readToken(signal: AbortSignal): Promise<string> {
    const { timeoutMs, readToken } = this.#options;
    using limit = deadline(timeoutMs, signal);
    this.#readingToken ??= readToken().finally(() => this.#readingToken = null);
    try {
      return await untilAborted(this.#readingToken, limit.signal);
    } catch (error) {
      if (error !== limit.signal.reason) throw error;
      throw new Error(`the token cannot be read: ${messageOf(error)}`);
    }
  }

  /** Sends the form within the limits of an attempt, and learns how fast the line is. */
  async #post(
    request: HttpRequest & { readonly body: RequestBody },
    durationMs: number,
    onBegun: () => void,
    signal: AbortSignal,
  ) {
    const { timeoutMs } = this.#options;
    const { sizeBytes } = request.body;
    let begunMs = this.#clock.monotonicMs();
    try {
      const answer = await this.#http.send(request, {
        signal,
        totalMs: timeoutMs + durationMs,
        silenceMs: (writtenBytes, sendingMs) => {
          const progress = { sizeBytes, durationMs, writtenBytes, sendingMs };
          return this.#patience.silenceMs(timeoutMs, progress);
        },
        onBegun: () => {
          begunMs = this.#clock.monotonicMs();
          onBegun();
        },
      });
      this.#patience.delivered(sizeBytes, this.#clock.monotonicMs() - begunMs);
      return answer;
    } catch (error) {
      this.#patience.failed();
      throw error;
    }
  }
}

function bodyOf({ sizeBytes, head, tail }: MultipartForm, file: UploadFile): RequestBody {
  return {
    sizeBytes,
    async *pieces(before) {
      yield concatBytes([before, head]);
      yield* file.pieces();
      yield tail;
    },
  };
}

/** The text fields of an upload. The ids are those from the chunk's tags, if it has them. */
function chunkFields(
  name: ChunkName,
  file: UploadFile,
  options: Pick<IngestClientOptions, "ids" | "timestampFormat">,
): Record<string, string> {
  const recorded = readChunkHeader(file.head);
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

/** Why there is no answer, as a verdict. */
function explain(error: unknown): Verdict {
  if (error instanceof FileFailure) {
    return { kind: "retry", reason: `not sent: ${error.message}`, retryAfterMs: null };
  }
  if (!(error instanceof TransportFailure)) {
    return { kind: "retry", reason: `no answer: ${messageOf(error)}`, retryAfterMs: null };
  }
  const { kind, message } = error;
  if (kind === "misconfigured") return { kind, reason: message };
  const what = kind === "timeout" ? "no complete answer" : "no answer";
  return { kind: "retry", reason: `${what}: ${message}`, retryAfterMs: null };
}
