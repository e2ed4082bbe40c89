// The Ingest API: one attempt to deliver one chunk, and what its answer means. It never retries,
// never waits and never touches the spool. The only place that translates network errors into words.

import { bytesOf } from "../system/byte_stream.ts";
import { deadline } from "../system/clock.ts";
import { VERSION } from "../system/version.ts";
import { readChunkHeader } from "../chunk/chunk_file.ts";
import { OPUS_RATE } from "../chunk/opus.ts";
import type { ChunkName } from "../chunk/chunk_name.ts";
import { encodeMultipart } from "./multipart.ts";

/** No answer of ours is longer; more is not read. */
const MAX_ANSWER_BYTES = 65_536;
/** So much of an answer is quoted in a reason, and kept for a refused chunk, characters. */
const MAX_EXCERPT = 200;
const MAX_KEPT_ANSWER = 2000;
/** The three forms of RFC 9110, section 5.6.7; Date.parse() alone takes any number for a year. */
const HTTP_DATE = /^[A-Z][a-z]+,? .*\d\d:\d\d:\d\d( GMT| \d{4})$/;

/** What an answer, or the lack of one, means for the chunk. */
export type Verdict =
  | { readonly kind: "delivered"; readonly chunkId: string | null }
  /** Try again later, not before `retryAfterMs` if the server said so. */
  | { readonly kind: "retry"; readonly reason: string; readonly retryAfterMs: number | null }
  /** The configuration is wrong, not the chunk. */
  | { readonly kind: "misconfigured"; readonly reason: string }
  /** This chunk is refused, and would be again. */
  | {
    readonly kind: "refused";
    readonly status: number;
    readonly reason: string;
    /** What was sent where, and the beginning of the answer; the token is in neither. */
    readonly exchange?: Readonly<Record<string, string>>;
  };

export interface IngestClientOptions {
  /** Base URL, without a slash at its end. */
  readonly baseUrl: string;
  /** Asked before every attempt, so that a token that was renewed is used at once. */
  readonly readToken: () => Promise<string>;
  readonly ids: DeviceIds;
  readonly timestampFormat: "unix" | "iso8601";
  /** For all of an attempt: connecting, sending, and the whole answer. */
  readonly timeoutMs: number;
  /** A PEM file with certificates to trust besides the public ones. */
  readonly tlsCaFile: string | null;
  /** So many connections are kept; default 1. */
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
  /** Resolves when the request that was asked for last has been handed to the network. */
  #handedOver: Promise<void> = Promise.resolve();

  /** @throws if the CA file cannot be read. */
  constructor(options: IngestClientOptions) {
    this.#options = options;
    const caCerts = options.tlsCaFile === null ? [] : [Deno.readTextFileSync(options.tlsCaFile)];
    // Connections are kept alive between chunks; a chunk a minute is well within the idle time.
    // HTTP/1.1 alone, as an attempt that times out then takes its connection with it. One of HTTP/2
    // would stay in the pool, and if the network has forgotten it, every later attempt hangs in it.
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
   * One attempt. Resolves with a verdict whatever the network does. Several may be under way: they go
   * out in the order in which they were asked for.
   * @throws only the reason of `signal`, when that aborts.
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
      handOver(); // also if there was nothing to be handed over
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
      return { kind: "misconfigured", reason: error instanceof Error ? error.message : `${error}` };
    }
    // A server may repeat what it was sent, and reasons are logged and shown.
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
 * What an answer means; docs/reference/protocol.md. A status that is in no row of it never costs a chunk:
 * other 2xx do not promise that it is stored (try again), other 4xx are a matter of the configuration.
 * Pure.
 * @param shown the body as it may be quoted.
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
 * The wait that an answer asks for, milliseconds: seconds, or a date (RFC 9110, section 10.2.3), which
 * is taken relative to the answer's own, as our clock may be wrong. Null if there is none to be read.
 */
export function parseRetryAfter(headers: Headers): number | null {
  const value = headers.get("retry-after")?.trim() ?? "";
  if (/^\d+$/.test(value)) return Number(value) * 1000;
  const waitMs = parseHttpDate(value) - parseHttpDate(headers.get("date") ?? "");
  return Number.isNaN(waitMs) ? null : Math.max(0, waitMs);
}

/** Unix milliseconds; NaN for anything else. The form without a zone means UTC, too. */
function parseHttpDate(text: string): number {
  if (!HTTP_DATE.test(text)) return NaN;
  return Date.parse(text.endsWith("GMT") ? text : `${text} GMT`);
}

/** The text fields of an upload. The ids are those that the chunk was recorded under. */
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

/** 128 bits: no file has it by chance. */
function randomBoundary(): string {
  return `recorder-agent-${crypto.getRandomValues(new Uint8Array(16)).toHex()}`;
}

/** Unix seconds with six digits of fraction, or ISO 8601 in UTC with the same. */
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
    if (text.length > MAX_ANSWER_BYTES) break; // leaving the loop cancels the rest
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

/** Network errors in words. Deno's fetch says little itself and hides the reason in causes. */
function explain(error: unknown): Verdict {
  if (error instanceof DOMException && error.name === "TimeoutError") {
    return { kind: "retry", reason: `no whole answer: ${error.message}`, retryAfterMs: null };
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
