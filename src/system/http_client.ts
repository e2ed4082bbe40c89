// The HTTP/1.1 client of one server, for everything that talks to it. It keeps connections that were just
// used, closes them after a failure or an answer 5xx (the server may have moved), and makes a new one at
// once, without an error, when the server closed an idle one just as a request went out, or had sent bytes
// over it that answer nothing. It never retries anything else, and does not know what an answer means.

import { type Clock, deadline, systemClock } from "./clock.ts";
import { messageOf } from "./error_text.ts";
import { onAbort, untilAborted } from "./on_abort.ts";
import { AttemptTime } from "./attempt_time.ts";
import { BodyFailure, Connection, type Reply } from "./client_connection.ts";
import { explainFailure, TransportFailure } from "./transport_failures.ts";
import { type Network, systemNetwork } from "./network.ts";
import { openConnection, peerOf, proxyFailure, type Step } from "./open_connection.ts";
import { type Proxy, proxyFor } from "./proxy.ts";
import { RateCap } from "./rate_cap.ts";
import { close, type TlsFiles } from "./transport.ts";

/** A connection serves no longer than this: an address that moved is found. */
const MAX_AGE_MS = 600_000;
/** An idle connection is closed after this. One length for all timers (see `Wakeup`). */
const MAX_IDLE_MS = 120_000;

/** How long the steps to a connection may take together. */
const MAX_OPENING_MS = 60_000;
/** How long the question may take what is wrong with a certificate. */
const DIAGNOSIS_MS = 10_000;

const FIX_CLIENT_CERTIFICATE = "if it happens each time, the server does not accept " +
  "tls_client_cert_file: check its authority and its dates";

export interface HttpClientOptions {
  /** Scheme, name and port of the server. */
  readonly url: URL;
  /** Asked for each connection: files may have changed. */
  readonly tls: () => Promise<TlsFiles>;
  /** Environment variables that may name a proxy. */
  readonly env?: Readonly<Record<string, string>>;
  /** How many idle connections are kept; default 1. */
  readonly maxIdle?: number;
  /** Cap of what all requests send together, kbit/s; null: none. */
  readonly maxKbps?: number | null;
  readonly clock?: Clock;
  readonly network?: Network;
}

export interface HttpRequest {
  /** Default: POST. */
  readonly method?: "GET" | "HEAD" | "POST" | "PUT" | "DELETE";
  /** Path with its query. */
  readonly path: string;
  readonly headers: Readonly<Record<string, string>>;
  /** Null: none. */
  readonly body: RequestBody | null;
  /** What is read of the body of the answer, bytes. @default 64 KiB */
  readonly maxAnswerBytes?: number;
}

export interface RequestBody {
  readonly sizeBytes: number;
  /** The bytes after `before`, from the beginning at each call; the next piece may overwrite each one. */
  pieces(before: Uint8Array<ArrayBuffer>): AsyncIterable<Uint8Array<ArrayBuffer>>;
}

export interface RequestOptions {
  readonly signal: AbortSignal;
  /** Of the whole request, ms; waits for the cap of the rate do not count. */
  readonly totalMs: number;
  /** How long nothing may move, ms, after so many bytes were sent in so much time. */
  readonly silenceMs: (writtenBytes: number, sendingMs: number) => number;
  /** Called when the first byte is about to be sent. */
  readonly onBegun?: () => void;
  readonly onStep?: (step: Step) => void;
}

/** The body of these bytes. */
export function bodyOf(bytes: Uint8Array<ArrayBuffer>): RequestBody {
  return {
    sizeBytes: bytes.length,
    async *pieces(before) {
      yield before;
      yield bytes;
    },
  };
}

async function* only(head: Uint8Array<ArrayBuffer>): AsyncGenerator<Uint8Array<ArrayBuffer>> {
  yield head;
}

function isTimeout(error: unknown): error is DOMException {
  return error instanceof DOMException && error.name === "TimeoutError";
}

interface Idle {
  readonly connection: Connection;
  readonly timer: ReturnType<typeof setTimeout>;
}

export class HttpClient implements Disposable {
  readonly #options: HttpClientOptions;
  readonly #clock: Clock;
  readonly #network: Network;
  readonly #cap: RateCap | null;
  /** The idle connections, the one that was used last at the end. */
  readonly #idle: Idle[] = [];
  /** Requests that wait for their connection, the oldest first. */
  readonly #waiting: PromiseWithResolvers<Connection>[] = [];
  /** Connections that are being made. */
  readonly #opening = new Set<AbortController>();
  /** While the files are being read: never twice at a time. */
  #readingTls: Promise<TlsFiles> | null = null;
  #isDisposed = false;

  constructor(options: HttpClientOptions) {
    this.#options = options;
    this.#clock = options.clock ?? systemClock;
    this.#network = options.network ?? systemNetwork();
    const { maxKbps = null } = options;
    this.#cap = maxKbps === null ? null : new RateCap(maxKbps, this.#clock);
  }

  [Symbol.dispose](): void {
    this.#isDisposed = true;
    for (const own of this.#opening) own.abort();
    this.#dropIdle();
  }

  /**
   * Sends a request and returns the complete answer, whatever its status is, also if it came before the
   * whole request was sent.
   * @throws {TransportFailure} if there is none; {BodyFailure}; the reason of the signal.
   */
  async send(request: HttpRequest, options: RequestOptions): Promise<Reply> {
    let writtenBytes = 0;
    let sendingSinceMs = 0;
    using time = new AttemptTime({
      ...options,
      clock: this.#clock,
      silenceMs: (tookMs) => options.silenceMs(writtenBytes, tookMs - sendingSinceMs),
    });
    const exchange = async (connection: Connection): Promise<Reply> => {
      writtenBytes = 0;
      sendingSinceMs = time.tookMs;
      options.onBegun?.();
      // What still waits to be sent when the exchange is over is not sent.
      const over = new AbortController();
      using _ = onAbort(time.signal, () => over.abort());
      using _end = { [Symbol.dispose]: () => over.abort() };
      return await connection.exchange(request.body?.pieces(head) ?? only(head), {
        sizeBytes: head.length + (request.body?.sizeBytes ?? 0),
        mayWrite: async (bytes) => {
          if (this.#cap === null) return bytes;
          const granted = await time.paused(this.#cap.take(bytes, over.signal));
          over.signal.throwIfAborted();
          return granted;
        },
        onWriting: (bytes) => writtenBytes += bytes,
        onMoved: () => time.moved(),
        signal: time.signal,
        shape: {
          isHead: request.method === "HEAD",
          ...request.maxAnswerBytes === undefined ? {} : { maxBodyBytes: request.maxAnswerBytes },
        },
      });
    };
    const onStep = (step: Step) => {
      time.moved();
      options.onStep?.(step);
    };
    let head: Uint8Array<ArrayBuffer>;
    try {
      head = this.#head(request);
      const first = await this.#takeIdle() ?? await this.#acquire(time.signal, onStep);
      try {
        return this.#finish(first, await exchange(first), onStep);
      } catch (error) {
        if (time.signal.aborted || error instanceof BodyFailure || !first.wasStale) throw error;
      }
      const second = await this.#open(time.signal, onStep);
      return this.#finish(second, await exchange(second), onStep);
    } catch (error) {
      this.#dropIdle();
      if (options.signal.aborted) throw options.signal.reason;
      if (error instanceof BodyFailure) throw error;
      throw await this.#explain(error, options.signal);
    }
  }

  /** The proxy on the way to the server, or null. @throws {TransportFailure} */
  #proxy(): Proxy | null {
    try {
      return proxyFor(this.#options.url, this.#options.env ?? {});
    } catch (error) {
      throw new TransportFailure("proxy", messageOf(error));
    }
  }

  /** Reading a pipe, or from a mount that hangs, may never end. */
  async #tls(signal: AbortSignal): Promise<TlsFiles> {
    this.#readingTls ??= this.#options.tls().finally(() => this.#readingTls = null);
    try {
      return await untilAborted(this.#readingTls, signal);
    } catch (error) {
      if (signal.aborted && !isTimeout(error)) throw error;
      const what = isTimeout(error) ? "the files of certificates cannot be read: " : "";
      throw new TransportFailure("misconfigured", `${what}${messageOf(error)}`);
    }
  }

  /**
   * Opens a connection, or takes one that another request frees before that: the new one is then kept for
   * a later request.
   */
  async #acquire(signal: AbortSignal, onStep: (step: Step) => void): Promise<Connection> {
    const own = new AbortController();
    using _ = onAbort(signal, () => own.abort(signal.reason));
    const freed = Promise.withResolvers<Connection>();
    this.#waiting.push(freed);
    this.#opening.add(own);
    const opened = this.#open(own.signal, onStep).finally(() => this.#opening.delete(own));
    try {
      const first = await Promise.race([opened, freed.promise]);
      for (const other of [opened, freed.promise]) {
        other.then((connection) => connection !== first && this.#keep(connection), () => {});
      }
      return first;
    } catch (error) {
      freed.promise.then((connection) => this.#keep(connection));
      throw error;
    } finally {
      const at = this.#waiting.indexOf(freed);
      if (at >= 0) this.#waiting.splice(at, 1);
    }
  }

  async #open(signal: AbortSignal, onStep: (step: Step) => void): Promise<Connection> {
    const { url } = this.#options;
    const proxy = this.#proxy();
    const [clock, network] = [this.#clock, this.#network];
    using limit = deadline(MAX_OPENING_MS, signal);
    const tls = await this.#tls(limit.signal);
    const transport = await openConnection({
      ...{ url, proxy, tls, network, clock, signal: limit.signal, onStep },
    });
    return new Connection(transport, this.#clock.monotonicMs());
  }

  #head({ method = "POST", path, headers, body }: HttpRequest): Uint8Array<ArrayBuffer> {
    const { url } = this.#options;
    const proxy = url.protocol === "http:" ? this.#proxy() : null;
    const lines = [
      `${method} ${proxy === null ? "" : url.origin}${path} HTTP/1.1`,
      `host: ${url.host}`,
      ...Object.entries({
        ...headers,
        accept: "*/*",
        ...(body === null ? {} : { "content-length": String(body.sizeBytes) }),
        ...(proxy?.authorization ? { "proxy-authorization": proxy.authorization } : {}),
      }).map(([name, value]) => `${name}: ${value}`),
    ];
    const unfit = lines.find((line) => !/^[\t\x20-\x7e]*$/.test(line));
    if (unfit !== undefined) {
      throw new TypeError(
        `Cannot send a header as it must be visible ASCII: ${unfit.split(":")[0]}`,
      );
    }
    return new TextEncoder().encode(`${lines.join("\r\n")}\r\n\r\n`);
  }

  #finish(connection: Connection, answer: Reply, onStep: (step: Step) => void): Reply {
    const { status } = answer;
    if (status === 407 && this.#options.url.protocol === "http:") {
      const proxy = this.#proxy();
      connection.close();
      if (proxy !== null) throw proxyFailure(proxy.shown, status, this.#options.url.host);
    }
    onStep({ kind: "answered", status });
    if (status >= 500) {
      connection.close();
      this.#dropIdle();
    } else this.#keep(connection);
    return answer;
  }

  #keep(connection: Connection): void {
    const { maxIdle = 1 } = this.#options;
    const isUsable = this.#isUsable(connection);
    const waiting = isUsable ? this.#waiting.shift() : undefined;
    if (waiting !== undefined) return waiting.resolve(connection);
    if (!isUsable || this.#isDisposed || this.#idle.length >= maxIdle) return connection.close();
    const remove = () => {
      const at = this.#idle.findIndex((idle) => idle.connection === connection);
      if (at >= 0) clearTimeout(this.#idle.splice(at, 1)[0]?.timer);
    };
    const timer = setTimeout(() => {
      remove();
      connection.close();
    }, MAX_IDLE_MS);
    this.#idle.push({ connection, timer });
    connection.rest(remove);
  }

  async #takeIdle(): Promise<Connection | null> {
    for (let idle = this.#idle.pop(); idle !== undefined; idle = this.#idle.pop()) {
      clearTimeout(idle.timer);
      // What has arrived while the program was busy ends the connection before the request begins.
      await new Promise((resolve) => setTimeout(resolve));
      if (this.#isUsable(idle.connection)) return idle.connection;
      idle.connection.close();
    }
    return null;
  }

  #dropIdle(): void {
    for (const { connection, timer } of this.#idle.splice(0)) {
      clearTimeout(timer);
      connection.close();
    }
  }

  #isUsable({ isClosed, openedMs }: Connection): boolean {
    return !isClosed && this.#clock.monotonicMs() - openedMs <= MAX_AGE_MS;
  }

  /**
   * The failure in words. With a client certificate the runtime does not say what is wrong with the server's
   * certificate: a handshake without one tells.
   */
  async #explain(error: unknown, signal: AbortSignal): Promise<unknown> {
    if (isTimeout(error)) return new TransportFailure("timeout", error.message);
    const { url } = this.#options;
    const failure = explainFailure(error, "exchange", peerOf(url, null));
    const isUnclear = ["reset", "other", "tls-other", "tls-unknown-issuer"].includes(failure.kind);
    if (url.protocol !== "https:" || !isUnclear) return failure;
    using limit = deadline(DIAGNOSIS_MS, signal);
    try {
      const files = await this.#tls(limit.signal);
      if (files.client === null) return failure;
      const [network, clock] = [this.#network, this.#clock];
      const how = { url, proxy: this.#proxy(), tls: { ...files, client: null }, network, clock };
      close(await openConnection({ ...how, signal: limit.signal, onStep: () => {} }));
    } catch (clearer) {
      if (clearer instanceof TransportFailure && clearer.kind.startsWith("tls-")) return clearer;
    }
    return failure.kind === "reset"
      ? new TransportFailure(failure.kind, failure.what, FIX_CLIENT_CERTIFICATE)
      : failure;
  }
}
