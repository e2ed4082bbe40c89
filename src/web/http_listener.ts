// An HTTP/1.1 server for a few local clients that can cost the program little, whatever they do: bounded
// connections, bytes, times and work. It answers GET and HEAD, and reads no bodies. What is answered, its
// owner decides. Not Deno.serve(), which bounds none of these (measured: 3,500 connections whose heads
// never end took 1.7 GB, and where descriptors run out it ends the process).
//
// The states of a connection, each with a time limit (watched once a second):
//
//   reading ──head──► answering ──keep-alive──► idle ──first byte──► reading
//      │                  ├──body is a stream──► streaming ──end──► closed
//      └──refused─────────┴──close──► ending ──end of input──► closed
//
// When all places are taken, a new connection takes that of another: one that ends, else the one that has
// been without a complete request for longest, else the one that has been answered for longest. So a client
// that asks at once gets its answer even during a flood. Streams have places of their own, which their
// owner bounds.

import type { Clock } from "../system/clock.ts";
import { concatBytes } from "../system/concat_bytes.ts";
import { repeating } from "../system/held_lines.ts";
import type { Logger } from "../system/log.ts";
import { within } from "../system/within.ts";
import { type HttpRequest, MAX_HEAD_BYTES, parseHead } from "../system/http_request.ts";
import { WorkBudget } from "./work_budget.ts";

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

type State = "reading" | "idle" | "answering" | "streaming" | "ending";
/** Whose place a new connection takes. */
const LEAVING: readonly (readonly State[])[] = [["ending"], ["reading", "idle"], ["answering"]];

interface Connection {
  readonly conn: Deno.TcpConn;
  state: State;
  /** Monotonic. */
  sinceMs: number;
  limitMs: number;
  isClosed: boolean;
  /** Resolves when nothing works for it any more. */
  served: Promise<void>;
}

export class HttpListener {
  readonly #options: HttpListenerOptions;
  readonly #listener: Deno.TcpListener;
  readonly #connections = new Set<Connection>();
  readonly #budget = new WorkBudget();
  readonly #closing = new AbortController();
  /** Buffers of connections that have ended, for the next ones. */
  readonly #buffers: Uint8Array<ArrayBuffer>[] = [];
  readonly #accepting: Promise<void>;
  #watching: Promise<void> | null = null;
  #closed: Promise<void> | null = null;
  /** Resolves when the latest piece of work may begin. */
  #turn: Promise<void> = Promise.resolve();

  private constructor(options: HttpListenerOptions, listener: Deno.TcpListener) {
    this.#options = options;
    this.#listener = listener;
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
    const busy = all.filter(({ state }) => state === "answering" || state === "streaming");
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
        await this.#myTurn();
        this.#take(conn);
        this.#budget.spend(0, clock.monotonicMs());
      } catch (error) {
        if (signal.aborted) return;
        const fields = repeating("accept", { error: String(error) });
        log.warning("The health server cannot accept a connection.", fields);
        await clock.sleep(ACCEPT_PAUSE_MS, signal);
      }
    }
  }

  #take(conn: Deno.TcpConn): void {
    const nowMs = this.#options.clock.monotonicMs();
    const counted = [...this.#connections].filter(({ state }) => state !== "streaming");
    if (counted.length >= MAX_CONNECTIONS) {
      const leaving = LEAVING.map((states) =>
        counted.filter(({ state }) => states.includes(state))
          .sort((a, b) => a.sinceMs - b.sinceMs)[0]
      ).find((connection) => connection !== undefined);
      if (leaving !== undefined) this.#close(leaving);
    }
    const connection: Connection = {
      conn,
      state: "reading",
      sinceMs: nowMs,
      limitMs: HEAD_MS,
      isClosed: false,
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
    const { clock } = this.#options;
    this.#enter(connection, "answering");
    await this.#myTurn();
    if (connection.isClosed) return false;
    const startedMs = clock.monotonicMs();
    const { status, headers, body } = this.#make(request);
    const isStream = typeof body !== "string";
    const isLast = isStream || request.hasBody || !request.isKeptAlive ||
      this.#closing.signal.aborted;
    const bytes = this.#encode(status, headers, {
      body: isStream ? null : body,
      isHead: request.method === "HEAD",
      isLast,
    });
    const endedMs = clock.monotonicMs();
    this.#budget.spend(endedMs - startedMs, endedMs);
    await this.#write(connection, bytes);
    if (isStream) await this.#stream(connection, body);
    else if (request.hasBody) this.#enter(connection, "ending");
    return !isLast;
  }

  async #refuse(connection: Connection, status: number, reason: string): Promise<void> {
    const { clock, refuse } = this.#options;
    this.#enter(connection, "answering");
    await this.#myTurn();
    if (connection.isClosed) return;
    this.#budget.spend(0, clock.monotonicMs());
    const { headers, body } = refuse(status, reason);
    const text = typeof body === "string" ? body : null;
    const bytes = this.#encode(status, headers, { body: text, isHead: false, isLast: true });
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
    connection.sinceMs = this.#options.clock.monotonicMs();
    connection.limitMs = WRITE_MS;
    for (let at = 0; at < bytes.length;) at += await connection.conn.write(bytes.subarray(at));
    connection.limitMs = Infinity;
  }

  /** Writes a stream until it ends or the client has gone. */
  async #stream(connection: Connection, body: ReadableStream<Uint8Array>): Promise<void> {
    connection.state = "streaming";
    connection.conn.setNoDelay();
    const reader = body.getReader();
    try {
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
      for (const connection of this.#connections) {
        if (nowMs - connection.sinceMs >= connection.limitMs) this.#close(connection);
      }
    }
    this.#watching = null;
  }

  /** Resolves when the budget permits another piece of work; in the order of the calls. */
  #myTurn(): Promise<void> {
    const { clock } = this.#options;
    const wait = async () => {
      for (let ms; (ms = this.#budget.waitMs(clock.monotonicMs())) > 0;) {
        if (this.#closing.signal.aborted) return;
        await clock.sleep(ms, this.#closing.signal);
      }
    };
    this.#turn = this.#turn.then(wait);
    return this.#turn;
  }
}
