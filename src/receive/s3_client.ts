// Requests to one bucket of an object store with the S3 API: signed, with limits on time and number, and
// repeated when the store is not able for a moment. It knows objects by their names, not what they mean.

import { AwsV4Signer } from "aws4fetch";
import type { Answer } from "../system/answer_reader.ts";
import type { Reply } from "../system/client_connection.ts";
import { type Clock, deadline } from "../system/clock.ts";
import { messageOf } from "../system/error_text.ts";
import { bodyOf, HttpClient } from "../system/http_client.ts";
import { printable } from "../system/printable.ts";
import { TransportFailure } from "../system/transport_failures.ts";
import { failureOf, parseListing, S3Failure, type S3Listing } from "./s3_answers.ts";
import type { S3Access } from "./s3_settings.ts";
import { transferMs } from "./store.ts";
import { StoreTurns } from "./store_turns.ts";
import { MOST, type Outcome } from "./store_window.ts";

/** Before the second and the third attempt, ms. */
const PAUSES_MS = [200, 1000];
/** A listing is not larger: a thousand names of 1024 bytes that XML escapes, and what is around them. */
const MAX_TEXT_BYTES = 8_000_000;
/** A day has at most 86,400 chunks: a store that continues with more pages lists without an end. */
const MAX_PAGES = 200;
/** An error is not larger. */
const MAX_ERROR_BYTES = 65_536;

/** Each is in addition to what the body needs (`transferMs`). */
export interface S3Limits {
  /** One attempt may take this long, ms. */
  readonly attemptMs: number;
  /** All attempts of a request together, ms. */
  readonly requestMs: number;
}

/** Below the 60 s that the receiver waits for its store. */
const LIMITS: S3Limits = { attemptMs: 20_000, requestMs: 25_000 };

export interface S3ClientOptions {
  readonly bucket: string;
  /** What is valid at the moment. */
  readonly access: () => S3Access;
  /** Certificates to trust beside the public ones, PEM. */
  readonly caCerts: readonly string[];
  /** Environment variables that may name a proxy. */
  readonly env?: Readonly<Record<string, string>>;
  readonly clock: Clock;
  readonly limits?: S3Limits;
}

interface S3Request {
  readonly method: "GET" | "HEAD" | "PUT" | "DELETE";
  /** "" for the bucket itself. Letters, digits, ".", "_", "-" and "/" only. */
  readonly name: string;
  readonly query?: Readonly<Record<string, string>>;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: Uint8Array<ArrayBuffer>;
  /** Statuses that are answers, beside 200 to 299. */
  readonly answers?: readonly number[];
  /** What is read of a body, if it is more than an error may have. */
  readonly maxBytes?: number;
}

/** What is known of an object without reading it. */
export interface S3Object {
  readonly sizeBytes: number;
  /** Lower-case hex, as it was given to `put`; null for an object from elsewhere. */
  readonly sha256: string | null;
}

const NOTHING = new Uint8Array(0);
const SHA256_OF_NOTHING = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

export class S3Client implements Disposable {
  readonly #options: S3ClientOptions;
  readonly #limits: S3Limits;
  /** Whose work may be done now. Requests outside of a turn are sent at once. */
  readonly turns: StoreTurns;
  /** The client of the endpoint that is valid at the moment. */
  #http: { readonly endpoint: string; readonly client: HttpClient } | null = null;
  /** Keys made from the secret key, which hold for a day; aws4fetch fills it. */
  readonly #signing = new Map<string, ArrayBuffer>();

  constructor(options: S3ClientOptions) {
    this.#options = options;
    this.#limits = options.limits ?? LIMITS;
    this.turns = new StoreTurns(options.clock);
  }

  [Symbol.dispose](): void {
    this.#http?.client[Symbol.dispose]();
  }

  get bucket(): string {
    return this.#options.bucket;
  }

  /**
   * Writes an object; when this resolves, the store has confirmed it.
   * @param sha256 of the bytes, lower-case hex; the store compares it.
   * @param onlyNew leave an object as it is if there is one: "exists". A store may not support this.
   * @throws {S3Failure}
   */
  async put(
    name: string,
    body: Uint8Array<ArrayBuffer>,
    { sha256, onlyNew = false }: { readonly sha256: string; readonly onlyNew?: boolean },
  ): Promise<"stored" | "exists"> {
    const headers = {
      "content-type": name.endsWith(".ogg") ? "audio/ogg" : "text/plain",
      "x-amz-content-sha256": sha256,
      "x-amz-meta-sha256": sha256,
      ...onlyNew ? { "if-none-match": "*" } : {},
    };
    const answers = onlyNew ? [412] : [];
    const answer = await this.#request({ method: "PUT", name, headers, body, answers });
    if (answer.status === 412) return "exists";
    // A web server or a portal may say 200 to everything: what it was sent would be lost.
    if (answer.headers.has("etag")) return "stored";
    const { endpoint } = this.#options.access();
    throw new S3Failure(
      `${endpoint} answers like no object store (${answer.status} without an ETag): ` +
        `check endpoint_url`,
      "settings",
    );
  }

  /** Null if the object does not exist. @throws {S3Failure} */
  async look(name: string): Promise<S3Object | null> {
    const { status, headers } = await this.#request({ method: "HEAD", name, answers: [404] });
    if (status === 404) return null;
    const sha256 = headers.get("x-amz-meta-sha256") ?? "";
    return {
      sizeBytes: Number(headers.get("content-length") ?? NaN),
      sha256: /^[0-9a-f]{64}$/.test(sha256) ? sha256 : null,
    };
  }

  /**
   * The bytes of an object, or its first ones; null if the object does not exist.
   * @throws {S3Failure}
   */
  async read(name: string, maxBytes: number): Promise<Uint8Array<ArrayBuffer> | null> {
    const headers = { range: `bytes=0-${maxBytes - 1}` };
    const request = { method: "GET", name, headers, answers: [404, 416], maxBytes } as const;
    const answer = await this.#request(request);
    if (answer.status === 404) {
      // A missing object is an answer; a missing bucket is not.
      const { status, headers, body } = answer;
      if (body.includes("<Code>NoSuchBucket</Code>")) throw this.#failure(status, headers, body);
      return null;
    }
    return answer.status === 416 ? NOTHING : answer.bytes.subarray(0, maxBytes);
  }

  /** Also resolves if the object does not exist. @throws {S3Failure} */
  async remove(name: string): Promise<void> {
    await this.#request({ method: "DELETE", name, answers: [404] });
  }

  /**
   * Names that begin with this, in order.
   * @param delimiter "/": only up to the next slash, and as prefixes what continues behind it.
   * @throws {S3Failure}
   */
  async *list(prefix: string, delimiter: "" | "/"): AsyncGenerator<S3Listing> {
    let token: string | null = "";
    for (let pages = 0; token !== null; pages++) {
      if (pages === MAX_PAGES) {
        throw new S3Failure("the object store lists names without an end", "settings");
      }
      const query = {
        ...{ "list-type": "2", "max-keys": "1000", prefix },
        ...delimiter === "" ? {} : { delimiter },
        ...token === "" ? {} : { "continuation-token": token },
      };
      const { body } = await this.#request({
        ...{ method: "GET", name: "", query, maxBytes: MAX_TEXT_BYTES },
      });
      const page = parseListing(body);
      yield page;
      token = page.next;
    }
  }

  async #request(request: S3Request): Promise<Answer> {
    const { clock } = this.#options;
    const sizeBytes = request.body?.length ?? 0;
    using over = deadline(this.#limits.requestMs + transferMs(sizeBytes));
    for (const pauseMs of [...PAUSES_MS, null]) {
      const begunMs = clock.monotonicMs();
      const ended = (kind: Outcome["kind"]) =>
        this.turns.ended({ kind, begunMs, endedMs: clock.monotonicMs(), sizeBytes });
      try {
        const answer = await this.#attempt(request, over.signal);
        ended(request.name === "" ? "other" : "done"); // a listing takes long in any store
        return answer;
      } catch (error) {
        const isLater = error instanceof S3Failure && error.kind === "later" && !error.isFull;
        ended(isLater ? "failed" : "other");
        if (!isLater || over.signal.aborted || pauseMs === null) throw error;
        await clock.sleep(pauseMs, over.signal);
      }
    }
    throw new S3Failure("the object store does not answer", "later");
  }

  async #attempt(request: S3Request, signal: AbortSignal): Promise<Answer> {
    const { method, name, query = {}, body, answers = [], maxBytes = 0 } = request;
    const { bucket, access, clock } = this.#options;
    const { endpoint, sessionToken, ...keys } = access();
    const url = new URL(`${endpoint}/${bucket}${name === "" ? "" : `/${name}`}`);
    for (const [key, value] of Object.entries(query)) url.searchParams.set(key, value);
    const signed = await new AwsV4Signer({
      ...{ ...keys, url: url.href, method, service: "s3", cache: this.#signing },
      headers: { "x-amz-content-sha256": SHA256_OF_NOTHING, ...request.headers },
      datetime: new Date(clock.unixMs()).toISOString().replace(/[:-]|\.\d{3}/g, ""),
      ...sessionToken === null ? {} : { sessionToken },
    }).sign();
    const limitMs = this.#limits.attemptMs + transferMs(body?.length ?? 0);
    const { pathname, search } = signed.url;
    let answer: Reply;
    try {
      answer = await this.#client(endpoint).send({
        ...{ method, path: `${pathname}${search}`, headers: Object.fromEntries(signed.headers) },
        ...{
          body: body === undefined ? null : bodyOf(body),
          maxAnswerBytes: Math.max(maxBytes, MAX_ERROR_BYTES),
        },
      }, { signal, totalMs: limitMs, silenceMs: () => limitMs });
    } catch (error) {
      const isLate = signal.aborted ||
        (error instanceof TransportFailure && error.kind === "timeout");
      const why = isLate
        ? `does not answer within ${Math.round(limitMs / 1000)} s`
        : `cannot be reached: ${printable(reasonOf(error), 300)}`;
      throw new S3Failure(`the object store at ${endpoint} ${why}`, "later");
    }
    const { status, headers } = answer;
    if (status < 300 && !answer.isRequestSent) {
      const what = `answered ${status} before it had the whole request`;
      throw new S3Failure(`the object store at ${endpoint} ${what}`, "later");
    }
    if ((status >= 200 && status < 300) || answers.includes(status)) return answer;
    throw this.#failure(status, headers, answer.body);
  }

  /** The client of this endpoint: the file with the credentials may name another one than before. */
  #client(endpoint: string): HttpClient {
    if (this.#http?.endpoint === endpoint) return this.#http.client;
    this.#http?.client[Symbol.dispose]();
    const { caCerts, env = {} } = this.#options;
    const client = new HttpClient({
      ...{ url: new URL(endpoint), env, maxIdle: MOST },
      tls: () => Promise.resolve({ caCerts, isCaOnly: false, client: null }),
    });
    this.#http = { endpoint, client };
    return client;
  }

  #failure(status: number, headers: Headers, text: string): S3Failure {
    const { bucket, access, clock } = this.#options;
    const { region } = access();
    return failureOf({ status, text, headers, bucket, region, nowUnixMs: clock.unixMs() });
  }
}

/** What went wrong, with a fix that names the settings of the receiver. */
function reasonOf(error: unknown): string {
  return messageOf(error).replaceAll("ingest_base_url", "endpoint_url")
    .replaceAll("tls_ca_file", "--tls-ca");
}
