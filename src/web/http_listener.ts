// An HTTP/1.1 server for a few local clients that can cost the program little, whatever they do: bounded
// connections, bytes, times and work. It answers GET and HEAD, and reads no bodies. What is answered, its
// owner decides. Not Deno.serve(), which bounds none of these (measured: 3,500 connections whose heads
// never end took 1.7 GB, and where descriptors run out it ends the process).
//
// The states of a connection, all but `waiting` with a time limit (watched once a second):
//
//   reading ──head──► waiting ──its turn──► writing ──keep-alive──► idle ──first byte──► reading
//      │                                       ├──body is a stream──► streaming ──end──► closed
//      └──refused──► waiting, writing ─────────┴──close──► ending ──end of input──► closed
//
// New connections and their first requests take turns, in the order in which they came and before all other
// requests, as the budget permits. When all places are taken, a new connection takes that of another: first
// of one that has had an answer, then of one that has been without a complete request for longest. So a
// client that asks at once gets its answer even during a flood. Streams have places of their own, which
// their owner bounds.

import type { Clock } from "../system/clock.ts";
import { concatBytes } from "../system/concat_bytes.ts";
import { repeating } from "../system/held_lines.ts";
import type { Logger } from "../system/log.ts";
import { within } from "../system/within.ts";
import { type HttpRequest, MAX_HEAD_BYTES, parseHead } from "../system/http_request.ts";
import { Turns } from "./turns.ts";

/** Connections that are not streams. */
export const MAX_CONNECTIONS = 32;
/** From the connection, or the first byte of a further request, to the end of the head. */
export const HEAD_MS = 5_000;
/** Between two requests. */
export const IDLE_MS = 30_000;
/** Until the system has taken an answer, or a piece of a stream. */
export const WRITE_MS = 10_000;
/** What a client still sends after its last answer is discarded, so that it can read the answer. */
const ENDING_MS = 1_000;
const WATCH_MS = 1_000;
/** Answers in progress are complete after this: an answer is made at once and fits into the socket. */
const CLOSING_MS = 50;
/** After an error of accept(): without descriptors the next one would fail, too. */
const ACCEPT_PAUSE_MS = 1_000;

const REASONS: Readonly<Record<number, string>> = {
  200: "OK",
  400: "Bad Request",
  403: "Forbidden",
  404: "Not Found",
  405: "Method Not Allowed",
  431: "Request Header Fields Too Large",
  500: "Internal Server Error",
  503: "Service Unavailable",
  505: "HTTP Version Not Supported",
};

export interface HttpAnswer {
  readonly status: number;
  /** Nothing that came from outside. */
  readonly headers: Readonly<Record<string, string>>;
  /** HEAD gets none of it. */
  readonly body: string | ReadableStream<Uint8Array>;
}

export interface HttpListenerOptions {
  readonly hostname: string;
  /** 0: any free port. */
  readonly port: number;
  /** Makes an answer, at once. An error becomes a 500. */
  readonly answer: (request: HttpRequest) => HttpAnswer;
  /** The answer to what is not a request. */
  readonly refuse: (status: number, reason: string) => HttpAnswer;
  readonly clock: Clock;
  readonly log: Logger;
}

type State = "reading" | "idle" | "waiting" | "writing" | "streaming" | "ending";
const LIMIT_MS: Readonly<Record<State, number>> = {
  reading: HEAD_MS,
  idle: IDLE_MS,
  waiting: Infinity,
  writing: WRITE_MS,
  streaming: WRITE_MS,
  ending: ENDING_MS,
};
/** Whose place a new connection takes, if none has had an answer. */
const LEAVING: readonly State[] = ["ending", "reading", "writing", "waiting"];

interface Connection {
  readonly conn: Deno.TcpConn;
  state: State;
  /** Monotonic. */
  sinceMs: number;
  limitMs: number;
  isClosed: boolean;
  /** How many requests were answered. */
  answers: number;
  /** Resolves when nothing works for it any more. */
  served: Promise<void>;
}

export class HttpListener {
  readonly #options: HttpListenerOptions;
  readonly #listener: Deno.TcpListener;
  readonly #connections = new Set<Connection>();
  readonly #closing = new AbortController();
  /** Buffers of connections that have ended, for the next ones. */
  readonly #buffers: Uint8Array<ArrayBuffer>[] = [];
  readonly #turns: Turns;
  readonly #accepting: Promise<void>;
  #watching: Promise<void> | null = null;
  #closed: Promise<void> | null = null;

  private constructor(options: HttpListenerOptions, listener: Deno.TcpListener) {
    this.#options = options;
    this.#listener = listener;
    this.#turns = new Turns(options.clock, this.#closing.signal);
    this.#accepting = this.#accept();
  }

  /** @throws if the port is in use. */
  static listen(options: HttpListenerOptions): HttpListener {
    const { hostname, port } = options;
    return new HttpListener(options, Deno.listen({ hostname, port }));
  }

  get port(): number {
    return this.#listener.addr.port;
  }

  /** Connections now, streams included. */
  get connections(): number {
    return this.#connections.size;
  }

  /** Frees the port, and gives answers in progress a moment to finish. */
  close(): Promise<void> {
    return this.#closed ??= this.#end();
  }

  async #end(): Promise<void> {
    this.#closing.abort();
    this.#listener.close();
    const all = [...this.#connections];
    const busy = all.filter(({ state }) => ["waiting", "writing", "streaming"].includes(state));
    await within(CLOSING_MS, Promise.all(busy.map(({ served }) => served)));
    for (const connection of all) this.#close(connection);
    await Promise.all([this.#accepting, this.#watching, ...all.map(({ served }) => served)]);
  }

  async #accept(): Promise<void> {
    const { clock, log } = this.#options;
    const { signal } = this.#closing;
    while (!signal.aborted) {
      try {
        const conn = await this.#listener.accept();
        await this.#turns.do(() => {}, { isUrgent: true });
        await this.#makePlace();
        if (signal.aborted) return conn.close();
        this.#take(conn);
      } catch (error) {
        if (signal.aborted) return;
        const fields = repeating("accept", { error: String(error) });
        log.warning("The health server cannot accept a connection.", fields);
        await clock.sleep(ACCEPT_PAUSE_MS, signal);
      }
    }
  }

  /** Closes another connection if all places are taken. */
  async #makePlace(): Promise<void> {
    const counted = [...this.#connections].filter(({ state }) => state !== "streaming");
    if (counted.length < MAX_CONNECTIONS) return;
    const rank = ({ state, answers }: Connection) => answers > 0 ? 0 : LEAVING.indexOf(state);
    const [leaving] = counted.sort((a, b) => rank(a) - rank(b) || a.sinceMs - b.sinceMs);
    if (leaving === undefined) return;
    this.#close(leaving);
    // Its descriptor is free when what was read or written over it has ended.
    await within(CLOSING_MS, leaving.served);
  }

  #take(conn: Deno.TcpConn): void {
    const connection: Connection = {
      conn,
      state: "reading",
      sinceMs: this.#options.clock.monotonicMs(),
      limitMs: HEAD_MS,
      isClosed: false,
      answers: 0,
      served: Promise.resolve(),
    };
    this.#connections.add(connection);
    connection.served = this.#serve(connection);
    this.#watching ??= this.#watch();
  }

  /** Never rejects. */
  async #serve(connection: Connection): Promise<void> {
    const buffer = this.#buffers.pop() ?? new Uint8Array(MAX_HEAD_BYTES);
    try {
      let filled = 0;
      let isOpen = true;
      while (isOpen) {
        const head = parseHead(buffer.subarray(0, filled));
        if (head.kind === "request") {
          isOpen = await this.#answer(connection, head.request);
          buffer.copyWithin(0, head.length, filled);
          filled -= head.length;
          if (isOpen) this.#enter(connection, filled > 0 ? "reading" : "idle");
        } else if (head.kind === "refused") {
          isOpen = false;
          await this.#refuse(connection, head.status, head.reason);
        } else {
          const count = await connection.conn.read(buffer.subarray(filled));
          if (count === null) return;
          filled += count;
          if (connection.state === "idle") this.#enter(connection, "reading");
        }
      }
      if (connection.state === "ending") await this.#discard(connection, buffer);
    } catch {
      /* the client has gone, or the connection was closed here */
    } finally {
      this.#close(connection);
      this.#buffers.push(buffer);
    }
  }

  /** Returns whether another request may follow. */
  async #answer(connection: Connection, request: HttpRequest): Promise<boolean> {
    const answer = await this.#myTurn(connection, () => {
      const { status, headers, body } = this.#make(request);
      const stream = typeof body === "string" ? null : body;
      const isLast = stream !== null || request.hasBody || !request.isKeptAlive ||
        this.#closing.signal.aborted;
      const isHead = request.method === "HEAD";
      const bytes = this.#encode(status, headers, {
        body: typeof body === "string" ? body : null,
        isHead,
        isLast,
      });
      return { bytes, stream, isLast };
    });
    if (answer === null) return false;
    const { bytes, stream, isLast } = answer;
    if (stream !== null) await this.#stream(connection, bytes, stream);
    else await this.#write(connection, bytes);
    connection.answers++;
    if (stream === null && request.hasBody) this.#enter(connection, "ending");
    return !isLast;
  }

  async #refuse(connection: Connection, status: number, reason: string): Promise<void> {
    const bytes = await this.#myTurn(connection, () => {
      const { headers, body } = this.#options.refuse(status, reason);
      const text = typeof body === "string" ? body : null;
      return this.#encode(status, headers, { body: text, isHead: false, isLast: true });
    });
    if (bytes === null) return;
    await this.#write(connection, bytes);
    this.#enter(connection, "ending");
  }

  #make(request: HttpRequest): HttpAnswer {
    try {
      return this.#options.answer(request);
    } catch (error) {
      const fields = repeating("answer", { error: String(error) });
      this.#options.log.error("The health server failed to answer a request.", fields);
      return this.#options.refuse(500, "internal error");
    }
  }

  /** @param answer `body`: null for a stream, whose length is not known. */
  #encode(
    status: number,
    headers: Readonly<Record<string, string>>,
    answer: { body: string | null; isHead: boolean; isLast: boolean },
  ): Uint8Array {
    const { body, isHead, isLast } = answer;
    const encoder = new TextEncoder();
    const content = encoder.encode(body ?? "");
    const lines = [
      `HTTP/1.1 ${status} ${REASONS[status] ?? ""}`,
      `date: ${new Date(this.#options.clock.unixMs()).toUTCString()}`,
      ...Object.entries(headers).map(([name, value]) => `${name}: ${value}`),
      ...(body === null ? [] : [`content-length: ${content.length}`]),
      ...(isLast ? ["connection: close"] : []),
    ];
    const head = encoder.encode(lines.join("\r\n") + "\r\n\r\n");
    return isHead ? head : concatBytes([head, content]);
  }

  async #write(connection: Connection, bytes: Uint8Array): Promise<void> {
    this.#enter(connection, connection.state === "streaming" ? "streaming" : "writing");
    for (let at = 0; at < bytes.length;) at += await connection.conn.write(bytes.subarray(at));
    connection.limitMs = Infinity;
  }

  /** Writes a stream after its head, until it ends or the client has gone. */
  async #stream(
    connection: Connection,
    head: Uint8Array,
    body: ReadableStream<Uint8Array>,
  ): Promise<void> {
    connection.state = "streaming";
    const reader = body.getReader();
    try {
      connection.conn.setNoDelay();
      await this.#write(connection, head);
      for (let part; !(part = await reader.read()).done;) await this.#write(connection, part.value);
    } finally {
      reader.cancel().catch(() => {}); // it has failed already
    }
  }

  /** A connection that is closed with unread bytes is reset, and the client may lose the answer. */
  async #discard({ conn }: Connection, buffer: Uint8Array): Promise<void> {
    await conn.closeWrite();
    for (let left = 8 * MAX_HEAD_BYTES; left > 0;) {
      const count = await conn.read(buffer);
      if (count === null) return;
      left -= count;
    }
  }

  #enter(connection: Connection, state: State): void {
    connection.state = state;
    connection.sinceMs = this.#options.clock.monotonicMs();
    connection.limitMs = LIMIT_MS[state];
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
      for (const connection of this.#connections) {
        if (nowMs - connection.sinceMs >= connection.limitMs) this.#close(connection);
      }
    }
    this.#watching = null;
  }

  /** Makes an answer when it is its turn; null if the connection is closed by then. */
  #myTurn<T>(connection: Connection, make: () => T): Promise<T | null> {
    this.#enter(connection, "waiting");
    const isUrgent = connection.answers === 0;
    return this.#turns.do(make, { isUrgent, isWanted: () => !connection.isClosed });
  }
}
