// An HTTP/1.1 server with bodies for a port that anybody can reach: bounded connections, bytes and times.
// It never keeps a body in memory, and does not know what is asked or answered. TLS is optional. Not
// Deno.serve(), which bounds none of these (docs/explanation/findings.md, "Deno and V8"). Longer than most
// modules, because the places, the times and the bytes of a connection are one set of rules.
//
// The states of a connection, each with a time limit (watched once a second):
//
//   reading ──head──► working ──keep-alive──► idle ──first byte──► reading
//      │                 ├──body too slow──► 408, closed
//      └──refused────────┴──close──► ending ──end of input──► closed
//
// When all places are taken, a new connection takes that of another: one that ends, else the idle one that
// was used longest ago, else the one that has waited longest for its head. What works keeps its place; it
// has shown that it knows what to ask. A body costs its sender time: it must move, at a least rate.

import type { Clock } from "../system/clock.ts";
import { concatBytes } from "../system/concat_bytes.ts";
import { repeating } from "../system/held_lines.ts";
import { type HttpRequest, MAX_HEAD_BYTES, parseHead } from "../system/http_request.ts";
import type { Logger } from "../system/log.ts";
import { within } from "../system/within.ts";
import { BodyFault, BodyReader } from "./body_reader.ts";

/** Each may also have a file open: the program needs twice as many descriptors. */
export const MAX_CONNECTIONS = 1024;
/** From the connection, or the first byte of a further request, to the end of the head; with TLS, too. */
export const HEAD_MS = 10_000;
/** Between two requests. Longer than the two minutes for which an agent keeps a connection. */
export const IDLE_MS = 150_000;
/** A body must move within this, and after this at the least rate. */
export const BODY_IDLE_MS = 60_000;
/** The slowest bitrate that an agent records at is 6 kbit/s: 750 bytes a second. */
export const MIN_BYTES_PER_S = 500;
/** Until the system has taken an answer. */
const WRITE_MS = 10_000;
/** What a client still sends after its last answer is discarded, so that it can read the answer. */
const ENDING_MS = 5_000;
/** The same at a stop. */
const LAST_MS = 500;
const WATCH_MS = 1_000;
/** Requests in progress at a stop have this long. */
const CLOSING_MS = 15_000;
/** After an error of accept(): without descriptors the next one would fail, too. */
const ACCEPT_PAUSE_MS = 200;
/** How long there are fewer connections after that, and how many there may always be. */
const FEWER_MS = 60_000;
const MIN_CONNECTIONS = 8;
const PIECE_BYTES = 65_536;

const REASONS: Readonly<Record<number, string>> = {
  200: "OK",
  400: "Bad Request",
  401: "Unauthorized",
  403: "Forbidden",
  404: "Not Found",
  405: "Method Not Allowed",
  408: "Request Timeout",
  413: "Content Too Large",
  415: "Unsupported Media Type",
  422: "Unprocessable Content",
  429: "Too Many Requests",
  431: "Request Header Fields Too Large",
  500: "Internal Server Error",
  501: "Not Implemented",
  503: "Service Unavailable",
  505: "HTTP Version Not Supported",
  507: "Insufficient Storage",
};

export interface Reply {
  readonly status: number;
  /** Nothing that came from outside. */
  readonly headers: Readonly<Record<string, string>>;
  /** HEAD gets none of it. */
  readonly body: string;
}

/** The client has gone in the middle of a body: nobody waits for an answer. */
export class ClientGone extends Error {}

export interface Incoming {
  readonly request: HttpRequest;
  /** Address of the other side. */
  readonly peer: string;
  /**
   * The pieces of the body; the next one overwrites each. Reading asks a client that waits to be asked
   * (`Expect: 100-continue`).
   * @throws {BodyFault}; {ClientGone}
   */
  readonly body: AsyncIterable<Uint8Array>;
}

export interface HttpServerOptions {
  readonly hostname: string;
  /** 0: any free port. */
  readonly port: number;
  /** PEM; null: without TLS. */
  readonly tls: { readonly cert: string; readonly key: string } | null;
  readonly maxBodyBytes: number;
  /** Answers a request. It may leave the body, or a part of it, unread. */
  readonly answer: (incoming: Incoming) => Promise<Reply>;
  /** The answer to what is not a request, or cannot be read. */
  readonly refuse: (status: number, reason: string) => Reply;
  readonly clock: Clock;
  readonly log: Logger;
}

type State = "reading" | "idle" | "working" | "ending";
/** Whose place a new connection takes. */
const LEAVING: readonly State[] = ["ending", "idle", "reading"];

class Connection {
  state: State = "reading";
  /** Monotonic. */
  sinceMs: number;
  limitMs = HEAD_MS;
  isClosed = false;
  /** Resolves when nothing works for it any more. */
  served: Promise<void> = Promise.resolve();
  /** Waits for a piece of a body since then, monotonic; null: does not. */
  waitingSinceMs: number | null = null;
  /** Of the body so far: how long it was waited for, and its bytes. */
  waitedMs = 0;
  bodyBytes = 0;
  #buffer = new Uint8Array(MAX_HEAD_BYTES);
  #start = 0;
  #end = 0;

  constructor(readonly conn: Deno.Conn, nowMs: number) {
    this.sinceMs = nowMs;
  }

  /** The bytes that arrived and were not taken. */
  get input(): Uint8Array {
    return this.#buffer.subarray(this.#start, this.#end);
  }

  take(count: number): void {
    this.#start += count;
  }

  /** Makes room for pieces of a body, or takes it back when nothing is in it. */
  resize(isLarge: boolean): void {
    const size = isLarge ? PIECE_BYTES : MAX_HEAD_BYTES;
    if (this.#buffer.length === size || this.input.length > size) return;
    const buffer = new Uint8Array(size);
    buffer.set(this.input);
    [this.#end, this.#start] = [this.input.length, 0];
    this.#buffer = buffer;
  }

  /** Waits for more bytes. Returns false at the end of the input. */
  async fill(): Promise<boolean> {
    if (this.#start > 0) {
      this.#buffer.copyWithin(0, this.#start, this.#end);
      [this.#end, this.#start] = [this.#end - this.#start, 0];
    }
    const count = await this.conn.read(this.#buffer.subarray(this.#end));
    this.#end += count ?? 0;
    return count !== null;
  }
}

export class HttpServer {
  readonly #options: HttpServerOptions;
  readonly #listener: Deno.Listener<Deno.Conn, Deno.NetAddr>;
  readonly #connections = new Set<Connection>();
  readonly #closing = new AbortController();
  readonly #accepting: Promise<void>;
  /** How many connections there may be while descriptors are missing, and until when (monotonic). */
  #places = MAX_CONNECTIONS;
  #fewerUntilMs = -Infinity;
  #watching: Promise<void> | null = null;
  #closed: Promise<void> | null = null;

  private constructor(
    options: HttpServerOptions,
    listener: Deno.Listener<Deno.Conn, Deno.NetAddr>,
  ) {
    this.#options = options;
    this.#listener = listener;
    this.#accepting = this.#accept();
  }

  /** @throws if the address cannot be used, or the certificate and the key do not fit. */
  static listen(options: HttpServerOptions): HttpServer {
    const { hostname, port, tls } = options;
    const listener = tls === null
      ? Deno.listen({ hostname, port })
      : Deno.listenTls({ hostname, port, ...tls, alpnProtocols: ["http/1.1"] });
    return new HttpServer(options, listener);
  }

  get port(): number {
    return this.#listener.addr.port;
  }

  /** Connections now. */
  get connections(): number {
    return this.#connections.size;
  }

  /** Frees the port, and lets requests in progress end within a limit. */
  close(): Promise<void> {
    return this.#closed ??= this.#end();
  }

  async #end(): Promise<void> {
    this.#closing.abort();
    this.#listener.close();
    const all = [...this.#connections];
    for (const connection of all) {
      if (connection.state === "idle" || connection.state === "reading") this.#close(connection);
    }
    const served = (state: State) =>
      Promise.all(all.filter((one) => one.state === state).map((one) => one.served));
    await Promise.all([within(CLOSING_MS, served("working")), within(LAST_MS, served("ending"))]);
    for (const connection of all) this.#close(connection);
    await Promise.all([this.#accepting, this.#watching, ...all.map(({ served }) => served)]);
  }

  async #accept(): Promise<void> {
    const { clock, log } = this.#options;
    const { signal } = this.#closing;
    while (!signal.aborted) {
      try {
        this.#take(await this.#listener.accept());
      } catch (error) {
        if (signal.aborted) return;
        const fields = repeating("accept", { error: String(error) });
        log.warning("The receiver cannot accept a connection.", fields);
        // Descriptors are missing: those of half of the connections become free, and stay so for a while.
        this.#places = Math.max(MIN_CONNECTIONS, this.#connections.size >> 1);
        this.#fewerUntilMs = clock.monotonicMs() + FEWER_MS;
        while (this.#connections.size > this.#places && this.#makeRoom());
        await clock.sleep(ACCEPT_PAUSE_MS, signal);
      }
    }
  }

  #take(conn: Deno.Conn): void {
    const nowMs = this.#options.clock.monotonicMs();
    const places = nowMs < this.#fewerUntilMs ? this.#places : MAX_CONNECTIONS;
    if (this.#connections.size >= places && !this.#makeRoom()) return conn.close();
    const connection = new Connection(conn, nowMs);
    this.#connections.add(connection);
    connection.served = this.#serve(connection);
    this.#watching ??= this.#watch();
  }

  /** Closes the connection that is needed least. Returns false if all of them work. */
  #makeRoom(): boolean {
    for (const state of LEAVING) {
      let leaving: Connection | null = null;
      for (const one of this.#connections) {
        if (one.state === state && (leaving === null || one.sinceMs < leaving.sinceMs)) {
          leaving = one;
        }
      }
      if (leaving === null) continue;
      this.#close(leaving);
      return true;
    }
    return false;
  }

  /** Never rejects. */
  async #serve(connection: Connection): Promise<void> {
    try {
      for (let isOpen = true; isOpen;) {
        const head = parseHead(connection.input);
        if (head.kind === "request") {
          connection.take(head.length);
          isOpen = await this.#answer(connection, head.request);
          if (isOpen) this.#enter(connection, connection.input.length > 0 ? "reading" : "idle");
        } else if (head.kind === "refused") {
          isOpen = false;
          this.#enter(connection, "working");
          const reply = this.#options.refuse(head.status, head.reason);
          await this.#write(connection, this.#encode(reply, { isHead: false, isLast: true }));
        } else {
          if (!await connection.fill()) return;
          if (connection.state === "idle") this.#enter(connection, "reading");
        }
      }
      const discarded = this.#discard(connection);
      await (this.#closing.signal.aborted ? within(LAST_MS, discarded) : discarded);
    } catch {
      /* the client has gone, or the connection was closed here */
    } finally {
      this.#close(connection);
    }
  }

  /** Returns whether another request may follow. */
  async #answer(connection: Connection, request: HttpRequest): Promise<boolean> {
    this.#enter(connection, "working");
    let reader: BodyReader | null = null;
    let reply: Reply;
    try {
      reader = new BodyReader(request, this.#options.maxBodyBytes);
      const body = this.#body(connection, request, reader);
      const peer = connection.conn.remoteAddr;
      const address = peer.transport === "tcp" ? peer.hostname : "";
      reply = await this.#options.answer({ request, peer: address, body });
    } catch (error) {
      if (connection.isClosed || error instanceof ClientGone) return false;
      if (!(error instanceof BodyFault)) {
        const fields = repeating("answer", { error: String(error) });
        this.#options.log.error("The receiver failed to answer a request.", fields);
      }
      reply = error instanceof BodyFault
        ? this.#options.refuse(error.status, error.message)
        : this.#options.refuse(500, "internal error");
    }
    if (connection.isClosed) return false;
    connection.resize(false);
    const isLast = !(reader?.hasEnded ?? false) || !request.isKeptAlive ||
      this.#closing.signal.aborted;
    const isHead = request.method === "HEAD";
    await this.#write(connection, this.#encode(reply, { isHead, isLast }));
    return !isLast;
  }

  async *#body(
    connection: Connection,
    { headers }: HttpRequest,
    reader: BodyReader,
  ): AsyncGenerator<Uint8Array> {
    if (reader.hasEnded) return;
    const { clock } = this.#options;
    connection.resize(true);
    [connection.waitedMs, connection.bodyBytes] = [0, 0];
    if (headers.get("expect")?.toLowerCase() === "100-continue" && connection.input.length === 0) {
      await this.#write(connection, new TextEncoder().encode("HTTP/1.1 100 Continue\r\n\r\n"));
    }
    while (!reader.hasEnded) {
      const step = reader.step(connection.input);
      if (step !== null) {
        connection.take(step.used);
        connection.bodyBytes += step.used;
        if (step.data.length > 0) yield step.data;
        continue;
      }
      connection.waitingSinceMs = clock.monotonicMs();
      const hasMore = await connection.fill().catch(() => false);
      connection.waitedMs += clock.monotonicMs() - connection.waitingSinceMs;
      connection.waitingSinceMs = null;
      if (!hasMore) throw new ClientGone();
    }
  }

  #encode(
    { status, headers, body }: Reply,
    { isHead, isLast }: { isHead: boolean; isLast: boolean },
  ): Uint8Array {
    const encoder = new TextEncoder();
    const content = encoder.encode(body);
    const lines = [
      `HTTP/1.1 ${status} ${REASONS[status] ?? ""}`,
      `date: ${new Date(this.#options.clock.unixMs()).toUTCString()}`,
      ...Object.entries(headers).map(([name, value]) => `${name}: ${value}`),
      `content-length: ${content.length}`,
      ...(isLast ? ["connection: close"] : []),
    ];
    const head = encoder.encode(lines.join("\r\n") + "\r\n\r\n");
    return isHead ? head : concatBytes([head, content]);
  }

  async #write(connection: Connection, bytes: Uint8Array): Promise<void> {
    connection.sinceMs = this.#options.clock.monotonicMs();
    connection.limitMs = WRITE_MS;
    for (let at = 0; at < bytes.length;) at += await connection.conn.write(bytes.subarray(at));
    connection.limitMs = Infinity;
  }

  /** A connection that is closed with unread bytes is reset, and the client may lose the answer. */
  async #discard(connection: Connection): Promise<void> {
    this.#enter(connection, "ending");
    await connection.conn.closeWrite();
    for (let left = this.#options.maxBodyBytes; left > 0;) {
      left -= connection.input.length;
      connection.take(connection.input.length);
      if (!await connection.fill()) return;
    }
  }

  #enter(connection: Connection, state: State): void {
    connection.state = state;
    connection.sinceMs = this.#options.clock.monotonicMs();
    connection.limitMs = state === "reading"
      ? HEAD_MS
      : state === "idle"
      ? IDLE_MS
      : state === "ending"
      ? ENDING_MS
      : Infinity;
  }

  /** Ends what is read or written over the connection now. */
  #close(connection: Connection): void {
    this.#connections.delete(connection);
    if (connection.isClosed) return;
    connection.isClosed = true;
    connection.conn.close();
  }

  /** Closes what has exceeded its time, while there are connections. Never rejects. */
  async #watch(): Promise<void> {
    const { clock } = this.#options;
    while (this.#connections.size > 0 && !this.#closing.signal.aborted) {
      await clock.sleep(WATCH_MS, this.#closing.signal);
      const nowMs = clock.monotonicMs();
      const slow: Promise<void>[] = [];
      for (const connection of this.#connections) {
        if (nowMs - connection.sinceMs >= connection.limitMs) this.#close(connection);
        else if (isTooSlow(connection, nowMs)) slow.push(this.#tooSlow(connection));
      }
      await Promise.all(slow);
    }
    this.#watching = null;
  }

  /** Says so as well as it can, and closes. */
  async #tooSlow(connection: Connection): Promise<void> {
    const reply = this.#options.refuse(408, "the body arrives too slowly");
    const bytes = this.#encode(reply, { isHead: false, isLast: true });
    await within(WATCH_MS, connection.conn.write(bytes)).catch(() => {}); // it is closed anyway
    this.#close(connection);
  }
}

/** Whether a body has not moved, or too slowly, while its client was waited for. */
function isTooSlow({ waitingSinceMs, waitedMs, bodyBytes }: Connection, nowMs: number): boolean {
  if (waitingSinceMs === null) return false;
  const nowWaitedMs = nowMs - waitingSinceMs;
  const allMs = waitedMs + nowWaitedMs;
  return nowWaitedMs >= BODY_IDLE_MS ||
    (allMs >= BODY_IDLE_MS && bodyBytes < (allMs - BODY_IDLE_MS / 2) / 1000 * MIN_BYTES_PER_S);
}
