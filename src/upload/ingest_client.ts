// The client of the Ingest API: makes one attempt to deliver one chunk and interprets the answer. It never
// retries, never waits and never touches the spool. Only this module turns network errors into words.

import { bytesOf } from "../system/byte_stream.ts";
import { deadline } from "../system/clock.ts";
import { VERSION } from "../system/version.ts";
import { readChunkHeader } from "../chunk/chunk_file.ts";
import { OPUS_RATE } from "../chunk/opus.ts";
import type { ChunkName } from "../chunk/chunk_name.ts";
import { encodeMultipart } from "./multipart.ts";
import { messageOf } from "../system/error_text.ts";

/** The client reads no more of an answer than this. The answers of the Ingest API are shorter. */
const MAX_ANSWER_BYTES = 65_536;
/** How much of an answer a reason quotes, and how much is kept for a refused chunk; characters. */
const MAX_EXCERPT = 200;
const MAX_KEPT_ANSWER = 2000;
/** The three forms of RFC 9110, section 5.6.7. Date.parse() alone accepts any number as a year. */
const HTTP_DATE = /^[A-Z][a-z]+,? .*\d\d:\d\d:\d\d( GMT| \d{4})$/;

/** What an answer, or a missing answer, means for the chunk. */
export type Verdict =
  | { readonly kind: "delivered"; readonly chunkId: string | null }
  /** Try again later, and not before `retryAfterMs` if the server asked for a delay. */
  | { readonly kind: "retry"; readonly reason: string; readonly retryAfterMs: number | null }
  /** The configuration is wrong, and not the chunk. */
  | { readonly kind: "misconfigured"; readonly reason: string }
  /** The server refuses this chunk and would refuse it again. */
  | {
    readonly kind: "refused";
    readonly status: number;
    readonly reason: string;
    /** The URL, the fields that were sent and the beginning of the answer, all without the token. */
    readonly exchange?: Readonly<Record<string, string>>;
  };

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
    const hide = (text: string) => text.replaceAll(token, "[token]");
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
      verdict = judge(answer.status, answer.headers, said, hide(said));
      if (verdict.kind === "refused") {
        const answerBody = hide(said).slice(0, MAX_KEPT_ANSWER);
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

/**
 * What an answer means (docs/reference/protocol.md). A status that the page does not list never costs a
 * chunk: any other 2xx does not promise that the chunk is stored, so it is sent again; any other 4xx is a
 * fault of the configuration. Pure.
 * @param shown the body as reasons may quote it.
 */
export function judge(status: number, headers: Headers, body: string, shown = body): Verdict {
  const content = parseObject(body);
  const chunkId = chunkIdOf(content);
  const said = `the server answered ${status}${excerpt(shown)}`;
  if (status === 200 && content["status"] === "ok") return { kind: "delivered", chunkId };
  if (status === 409 && chunkId !== null) return { kind: "delivered", chunkId };
  if (status >= 300 && status < 400) {
    const location = headers.get("location");
    return {
      kind: "misconfigured",
      reason: `the server redirects (${status}) to ${location ?? "nowhere"}: ` +
        `the token is not sent there; set ingest_base_url to the API itself`,
    };
  }
  if (status === 401 || status === 403) {
    return { kind: "misconfigured", reason: `${said}: the token is not accepted` };
  }
  if ([400, 413, 415, 422].includes(status)) return { kind: "refused", status, reason: said };
  if (status >= 400 && status < 500 && ![408, 409, 425, 429].includes(status)) {
    return { kind: "misconfigured", reason: `${said}: ingest_base_url is not an Ingest API` };
  }
  return {
    kind: "retry",
    reason: status < 300 ? `${said}: not an answer of the Ingest API (a captive portal?)` : said,
    retryAfterMs: parseRetryAfter(headers),
  };
}

/**
 * The delay that an answer asks for, milliseconds. The header holds seconds or a date (RFC 9110, section
 * 10.2.3). A date counts from the date of the answer, because the local clock may be wrong. Null if the
 * answer has no valid delay.
 */
export function parseRetryAfter(headers: Headers): number | null {
  const value = headers.get("retry-after")?.trim() ?? "";
  if (/^\d+$/.test(value)) return Number(value) * 1000;
  const waitMs = parseHttpDate(value) - parseHttpDate(headers.get("date") ?? "");
  return Number.isNaN(waitMs) ? null : Math.max(0, waitMs);
}

/** Unix milliseconds; NaN if the text is not an HTTP date. The form without a zone means UTC, too. */
function parseHttpDate(text: string): number {
  if (!HTTP_DATE.test(text)) return NaN;
  return Date.parse(text.endsWith("GMT") ? text : `${text} GMT`);
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

function parseObject(body: string): Record<string, unknown> {
  try {
    const value: unknown = JSON.parse(body);
    return typeof value === "object" && value !== null ? { ...value } : {};
  } catch {
    return {};
  }
}

function chunkIdOf(content: Record<string, unknown>): string | null {
  const id = content["chunk_id"];
  if (typeof id === "number") return String(id);
  return typeof id === "string" && id !== "" ? id.slice(0, MAX_EXCERPT) : null;
}

function excerpt(body: string): string {
  const text = body.replaceAll(/\s+/g, " ").trim();
  return text === ""
    ? ""
    : `: ${text.slice(0, MAX_EXCERPT)}${text.length > MAX_EXCERPT ? "…" : ""}`;
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
