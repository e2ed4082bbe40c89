// An HTTP/1.1 server whose clients can cost the program little, whatever they do: bounded connections, bytes,
// times and, if wanted, work. It accepts, gives places, and stops; it never reads what a client sends. Not
// Deno.serve(), which bounds none of these (docs/explanation/findings.md, "Deno and V8").
//
// New connections and their first requests take turns, in the order in which they came and before all other
// requests, as the budget permits. So a client that asks at once gets its answer even during a flood.

import { type ConnectionState, firstToLeave } from "./connection_life.ts";
import { repeating } from "./held_lines.ts";
import { HttpConnection, type HttpOwner, LAST_MS } from "./http_connection.ts";
import { MAX_HEAD_BYTES } from "./http_request.ts";
import { hasLeft } from "./loopback.ts";
import { HeldSockets, PlainConn } from "./plain_conn.ts";
import {
  type ServerConn,
  type ServerListener,
  type ServerTls,
  TlsListener,
  tryTls,
} from "./tls_listener.ts";
import { Turns } from "./turns.ts";
import { within } from "./within.ts";
import type { WorkBudget } from "./work_budget.ts";

const WATCH_MS = 1_000;
/** The descriptor of a connection that makes room is free after this. */
const LEAVING_MS = 50;
/** After an error of accept(): without descriptors the next one would fail, too. */
const ACCEPT_PAUSE_MS = 200;
/** Errors of a system that is out of memory or descriptors: ENOMEM, ENFILE, EMFILE, ENOBUFS. */
const OUT_OF_RESOURCES = /os error (12|23|24|105)\b/;
/** How long there are fewer connections after that, and how many there may always be. */
const FEWER_MS = 60_000;
const MIN_CONNECTIONS = 8;
/** Buffers of connections that have ended, for the next ones: a flood takes no new memory for each. */
const MAX_SPARE_BUFFERS = 32;

export interface HttpListenerOptions extends HttpOwner {
  readonly hostname: string;
  /** 0: any free port. */
  readonly port: number;
  /** Null: without TLS. */
  readonly tls: ServerTls | null;
  /** Of the answers together; null: they take what they need. */
  readonly budget: WorkBudget | null;
}

export class HttpListener {
  readonly #options: HttpListenerOptions;
  readonly #listener: ServerListener;
  #tls: ServerTls | null;
  readonly #connections = new Set<HttpConnection>();
  readonly #buffers: Uint8Array<ArrayBuffer>[] = [];
  readonly #held = new HeldSockets();
  readonly #closing = new AbortController();
  readonly #turns: Turns;
  readonly #accepting: Promise<void>;
  /** How many connections there may be while descriptors are missing, and until when (monotonic). */
  #fewer = { places: 0, untilMs: -Infinity };
  #watching: Promise<void> | null = null;
  #closed: Promise<void> | null = null;

  private constructor(options: HttpListenerOptions) {
    const { hostname, port, tls } = options;
    if (tls !== null) tryTls(tls);
    this.#options = options;
    this.#tls = tls;
    this.#listener = tls === null
      ? listenPlain({ hostname, port }, this.#held)
      : new TlsListener({ hostname, port }, () => this.#tls ?? tls, this.#held);
    this.#turns = new Turns(options.clock, options.budget, this.#closing.signal);
    this.#accepting = this.#accept();
  }

  /** @throws if the address cannot be used, or the certificate and the key do not fit. */
  static listen(options: HttpListenerOptions): HttpListener {
    return new HttpListener(options);
  }

  get port(): number {
    return this.#listener.port;
  }

  /** Connections now, streams included. */
  get connections(): number {
    return this.#connections.size;
  }

  /** Shows new connections another certificate. @throws if it and the key do not fit: the old one stays. */
  renew(tls: ServerTls): void {
    tryTls(tls);
    this.#tls = tls;
  }

  /** Frees the port, and lets requests in progress end within a limit. */
  close(): Promise<void> {
    return this.#closed ??= this.#end();
  }

  async #end(): Promise<void> {
    const { closingMs } = this.#options.limits;
    this.#closing.abort();
    this.#listener.close();
    const all = [...this.#connections];
    const are = (...states: ConnectionState[]) =>
      all.filter(({ life }) => states.includes(life.state));
    const served = (some: HttpConnection[]) => Promise.all(some.map(({ served }) => served));
    for (const connection of are("reading", "idle")) connection.close();
    await Promise.all([
      within(closingMs, served(are("working", "writing", "streaming", "sending"))),
      within(Math.min(LAST_MS, closingMs), served(are("ending"))),
    ]);
    for (const connection of all) connection.close();
    await Promise.all([this.#accepting, this.#watching, served(all)]);
  }

  async #accept(): Promise<void> {
    const { clock, log, name: server } = this.#options;
    const { signal } = this.#closing;
    while (!signal.aborted) {
      try {
        const conn = await this.#listener.accept();
        await this.#turns.do(() => {}, { isUrgent: true });
        if (await this.#hasPlace() && !signal.aborted) this.#take(conn);
        else await conn.close();
      } catch (error) {
        if (signal.aborted) return;
        if (hasLeft(error)) continue;
        const fields = repeating("accept", { server, error: String(error) });
        log.warning("{server} cannot accept a connection.", fields);
        if (OUT_OF_RESOURCES.test(String(error))) await this.#halve();
        await clock.sleep(ACCEPT_PAUSE_MS, signal);
      }
    }
  }

  /** The descriptors of half of the connections become free, and stay so for a while. */
  async #halve(): Promise<void> {
    const places = Math.max(MIN_CONNECTIONS, this.#connections.size >> 1);
    this.#fewer = { places, untilMs: this.#options.clock.monotonicMs() + FEWER_MS };
    while (this.#connections.size > places && await this.#makeRoom());
  }

  /** Whether there is a place for one more connection, perhaps because another one has left it. */
  async #hasPlace(): Promise<boolean> {
    const { clock, limits } = this.#options;
    if (this.#held.count >= limits.connections) return false;
    const isFewer = clock.monotonicMs() < this.#fewer.untilMs;
    const places = isFewer ? this.#fewer.places : limits.connections;
    if (this.#connections.size < places) return true;
    const taken = [...this.#connections].filter(({ life }) => !life.isStream).length;
    return taken < places || await this.#makeRoom();
  }

  /** Closes the connection that is needed least. Returns false if all of them work. */
  async #makeRoom(): Promise<boolean> {
    const leaving = firstToLeave(this.#connections, this.#options.limits.keepsWork);
    if (leaving === null) return false;
    leaving.close();
    this.#connections.delete(leaving);
    // Its descriptor is free when what was read or written over it has ended.
    await within(LEAVING_MS, leaving.served);
    return true;
  }

  #take(conn: ServerConn): void {
    const head = this.#buffers.pop() ?? new Uint8Array(MAX_HEAD_BYTES);
    const connection = new HttpConnection(conn, head, {
      ...{ owner: this.#options, turns: this.#turns, stop: this.#closing.signal },
    });
    this.#connections.add(connection);
    connection.served.then(() => {
      this.#connections.delete(connection);
      if (this.#buffers.length < MAX_SPARE_BUFFERS) this.#buffers.push(head);
    });
    this.#watching ??= this.#watch();
  }

  /** Closes what has exceeded its time, while there are connections. Never rejects. */
  async #watch(): Promise<void> {
    const { signal } = this.#closing;
    while (this.#connections.size > 0 && !signal.aborted) {
      await this.#options.clock.sleep(WATCH_MS, signal);
      await Promise.all([...this.#connections].map((connection) => connection.watch()));
    }
    this.#watching = null;
  }
}

/** @throws if the address cannot be used. */
function listenPlain(
  address: { hostname: string; port: number },
  held: HeldSockets,
): ServerListener {
  const listener = Deno.listen(address);
  return {
    port: listener.addr.port,
    accept: async () => new PlainConn(await listener.accept(), held),
    close: () => listener.close(),
  };
}
