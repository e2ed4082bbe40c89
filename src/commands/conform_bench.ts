// Makes the uploads of `conform`, over the connections of the uploader, and judges their answers as the
// uploader does. Like the uploader it comes again when the server says so, and unlike it for a short time only.
// Unlike the uploader it can misbehave: cut an upload, send slowly, change a form. What an answer says about the
// server, conform_tests.ts decides.

import { OPUS_RATE } from "../chunk/opus.ts";
import { deadline, systemClock } from "../system/clock.ts";
import { concatBytes } from "../system/concat_bytes.ts";
import { messageOf } from "../system/error_text.ts";
import { Redactor } from "../system/redact.ts";
import { VERSION } from "../system/version.ts";
import type { Answer } from "../system/answer_reader.ts";
import { Connection, type Outgoing } from "../system/client_connection.ts";
import { formatTimestamp } from "../upload/ingest_client.ts";
import { encodeMultipart } from "../upload/multipart.ts";
import { systemNetwork } from "../system/network.ts";
import { openConnection } from "../system/open_connection.ts";
import { close, type Transport } from "../system/transport.ts";
import { judge, judgeEarly, type Verdict } from "../upload/verdict.ts";
import { noisyChunk } from "./probe_chunk.ts";

/** To a connection, and to an answer beside the pauses of the upload. */
const ANSWER_MS = 30_000;
/** Before the next attempt if the server has not said when, ms; and at least. */
const [PAUSE_MS, LEAST_PAUSE_MS] = [1000, 100];
/** The chunks begin a day ago: a server may refuse what is in the future, or old. */
const AGO_MS = 86_400_000;

export interface ConformTarget {
  /** Base URL of the API. */
  readonly url: URL;
  readonly token: string;
  /** PEM. */
  readonly caCerts: string[];
  readonly ids: {
    readonly point_id: string;
    readonly register_id: string;
    readonly device_id: string;
  };
  /** How long the slow upload takes, ms. */
  readonly slowMs: number;
  /** Length of the large chunk, at 240 kbit/s. */
  readonly largeSeconds: number;
  /** How long an upload is repeated while the server says that it comes too early, ms. */
  readonly patienceMs: number;
}

/** A chunk to send. */
export interface Sent {
  readonly key: string;
  readonly startUnixUs: number;
  readonly seconds: number;
  readonly bytes: Uint8Array;
}

/** What is changed in an upload. */
export interface Changes {
  readonly token?: string | null;
  readonly format?: "unix" | "iso8601";
  readonly fields?: Readonly<Record<string, string | null>>;
  readonly headers?: Readonly<Record<string, string>>;
  readonly bytes?: Uint8Array;
  /** The name of the field with the file. */
  readonly fileField?: string;
  readonly startUnixUs?: number;
}

/** In how many pieces a body is sent, and how long to wait between them. */
export interface Slowness {
  readonly pieces: number;
  readonly pauseMs: number;
}
const AT_ONCE: Slowness = { pieces: 1, pauseMs: 0 };

export type Outcome = Verdict & { readonly answer: Answer | null };

/** Head and body. */
type Upload = readonly [head: Uint8Array<ArrayBuffer>, body: Uint8Array<ArrayBuffer>];

export class Bench {
  readonly #beganUs = (systemClock.unixMs() - AGO_MS) * 1000;
  #count = 0;
  /** The keys of the chunks that were accepted under a chunk_id. */
  readonly #keysOf = new Map<string, Set<string>>();
  /** Whether the server was seen to keep a chunk twice that came twice: it ignores the key. */
  keepsDoubles = false;
  readonly #redactor: Redactor;
  readonly #network = systemNetwork();

  constructor(readonly target: ConformTarget) {
    this.#redactor = new Redactor(target.token);
  }

  /** How many chunks were accepted under one chunk_id: of all chunk_ids, the most; 0 if there were none. */
  get mostUnderOneId(): number {
    return Math.max(0, ...[...this.#keysOf.values()].map((keys) => keys.size));
  }

  /** When the next chunk begins, Unix microseconds; each is a minute after the last one. */
  nextUs(): number {
    return this.#beganUs + this.#count++ * 60e6;
  }

  /** A chunk with a new key; by default it begins a minute after the last one. */
  chunk({ seconds = 1, packetBytes = 60, startUnixUs = this.nextUs() } = {}): Sent {
    const { point_id, register_id, device_id } = this.target.ids;
    const key = crypto.randomUUID();
    const tags = { POINT_ID: point_id, REGISTER_ID: register_id, DEVICE_ID: device_id };
    return {
      ...{ key, seconds, startUnixUs },
      bytes: noisyChunk({ ...tags, CHUNK_ID: key }, { seconds, packetBytes }),
    };
  }

  /** One upload over a connection of its own, repeated while the server says when to come again. */
  upload(chunk: Sent, changes: Changes = {}, slowness = AT_ONCE): Promise<Outcome> {
    return this.#repeat(isAskedToWait, () => this.#once(chunk, changes, slowness));
  }

  /** The same, repeated also if the server says no time, or nothing. */
  settle(chunk: Sent, changes: Changes = {}): Promise<Outcome> {
    return this.#repeat(({ kind }) => kind === "retry", () => this.#once(chunk, changes, AT_ONCE));
  }

  /** Uploads over one connection, one after the other. @throws {TransportFailure} */
  async uploadInTurn(chunks: readonly Sent[]): Promise<Outcome[]> {
    using connection = await this.#connect();
    const outcomes: Outcome[] = [];
    for (const chunk of chunks) {
      const once = () => this.#exchange(connection, chunk, {}, AT_ONCE);
      outcomes.push(await this.#repeat(isAskedToWait, once));
    }
    return outcomes;
  }

  /** Sends a part of an upload, and closes the connection without reading. @throws as the connection does. */
  async cut(chunk: Sent, fraction: number): Promise<void> {
    const transport = await this.#open();
    try {
      const [head, body] = this.#encode(chunk, {});
      const bytes = concatBytes([head, body.subarray(0, Math.floor(body.length * fraction))]);
      for (let at = 0; at < bytes.length;) at += await transport.write(bytes.subarray(at));
    } finally {
      close(transport);
    }
  }

  /** What an outcome says, without the token. */
  words(outcome: Outcome): string {
    return outcome.kind === "delivered" ? "accepted" : this.#redactor.hide(outcome.reason);
  }

  /** Repeats an upload as long as the patience lasts, and once more at its end. */
  async #repeat(
    isEarly: (outcome: Outcome) => boolean,
    once: () => Promise<Outcome>,
  ): Promise<Outcome> {
    const endMs = systemClock.monotonicMs() + this.target.patienceMs;
    while (true) {
      const outcome = await once();
      const leftMs = endMs - systemClock.monotonicMs();
      if (outcome.kind !== "retry" || !isEarly(outcome) || leftMs <= 0) return outcome;
      const pauseMs = Math.max(outcome.retryAfterMs ?? PAUSE_MS, LEAST_PAUSE_MS);
      await systemClock.sleep(Math.min(pauseMs, leftMs));
    }
  }

  async #once(chunk: Sent, changes: Changes, slowness: Slowness): Promise<Outcome> {
    try {
      using connection = await this.#connect();
      return await this.#exchange(connection, chunk, changes, slowness);
    } catch (error) {
      return noAnswer(error);
    }
  }

  async #connect(): Promise<Connection> {
    return new Connection(await this.#open(), systemClock.monotonicMs());
  }

  /** @throws {TransportFailure} */
  async #open(): Promise<Transport> {
    const { url, caCerts } = this.target;
    using limit = deadline(ANSWER_MS);
    return await openConnection({
      ...{ url, proxy: null, tls: { caCerts, isCaOnly: false, client: null } },
      ...{ network: this.#network, clock: systemClock, signal: limit.signal, onStep: () => {} },
    });
  }

  /** A server may answer, and close, before it has read everything. */
  async #exchange(
    connection: Connection,
    chunk: Sent,
    changes: Changes,
    slowness: Slowness,
  ): Promise<Outcome> {
    using limit = deadline(ANSWER_MS + slowness.pieces * slowness.pauseMs);
    const upload = this.#encode(chunk, changes);
    try {
      const answer = await connection.exchange(slowly(upload, slowness), {
        sizeBytes: upload.reduce((sum, { length }) => sum + length, 0),
        ...{ mayWrite: (bytes) => Promise.resolve(bytes), onWriting: () => {}, onMoved: () => {} },
        signal: limit.signal,
      });
      const { status, headers, body, isRequestSent } = answer;
      const judged = isRequestSent ? judge : judgeEarly;
      const verdict = judged(status, headers, body, this.#redactor.hide);
      if (verdict.kind === "delivered") this.#note(chunk.key, verdict.chunkId);
      return { ...verdict, answer };
    } catch (error) {
      return noAnswer(error);
    }
  }

  #note(key: string, chunkId: string | null): void {
    if (chunkId === null) return;
    this.#keysOf.set(chunkId, (this.#keysOf.get(chunkId) ?? new Set()).add(key));
  }

  #encode(chunk: Sent, changes: Changes): Upload {
    const { url, ids } = this.target;
    const { token = this.target.token, format = "unix", bytes = chunk.bytes } = changes;
    const startUnixUs = changes.startUnixUs ?? chunk.startUnixUs;
    const fields: Readonly<Record<string, string | null>> = {
      ...ids,
      start_ts: formatTimestamp(startUnixUs, format),
      end_ts: formatTimestamp(startUnixUs + chunk.seconds * 1e6, format),
      ...{ codec: "opus", sample_rate: String(OPUS_RATE), channels: "1" },
      ...changes.fields,
    };
    const kept = Object.entries(fields).flatMap(([name, value]) =>
      value === null ? [] : [[name, value] as const]
    );
    const form = encodeMultipart(Object.fromEntries(kept), {
      field: changes.fileField ?? "chunk_file",
      ...{ fileName: `${chunk.key}.ogg`, type: "audio/ogg", sizeBytes: bytes.length },
    }, `recorder-agent-${chunk.key}`);
    const headers = {
      host: url.host,
      "content-length": String(form.sizeBytes),
      "content-type": form.contentType,
      "user-agent": `recorder-agent/${VERSION} conform`,
      "idempotency-key": chunk.key,
      ...(token === null ? {} : { authorization: `Bearer ${token}` }),
      ...changes.headers,
    };
    const head = [
      `POST ${url.pathname.replace(/\/$/, "")}/api/v1/chunks HTTP/1.1`,
      ...Object.entries(headers).map(([name, value]) => `${name}: ${value}`),
    ];
    return [
      new TextEncoder().encode(`${head.join("\r\n")}\r\n\r\n`),
      new Uint8Array(concatBytes([form.head, bytes, form.tail])),
    ];
  }
}

async function* slowly([head, body]: Upload, { pieces, pauseMs }: Slowness): Outgoing {
  yield head;
  for (let piece = 0; piece < pieces; piece++) {
    if (piece > 0) await systemClock.sleep(pauseMs);
    const [from, to] = [piece, piece + 1].map((at) => Math.floor(body.length * at / pieces));
    yield body.subarray(from, to);
  }
}

/** Whether the server has said when to come again: it asks for patience, and nothing is wrong. */
function isAskedToWait(outcome: Outcome): boolean {
  return outcome.kind === "retry" && outcome.retryAfterMs !== null;
}

function noAnswer(error: unknown): Outcome {
  return { kind: "retry", reason: messageOf(error), retryAfterMs: null, answer: null };
}
