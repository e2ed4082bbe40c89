// The live updates of the status page: server-sent events for a few clients. Without clients no work is
// done. For a client that does not read, a few messages at most are kept; it misses the rest and is dropped.
// https://html.spec.whatwg.org/multipage/server-sent-events.html

import { ServerSentEventStream } from "@std/http/server-sent-event-stream";
import type { Clock } from "../system/clock.ts";
import type { PageParts } from "./page.ts";

export const MAX_CLIENTS = 8;
/** How often levels are sent. Changed parts of the page are sent every PARTS_EACH turns. */
const TURN_MS = 200;
const PARTS_EACH = 5;
/** Messages that may wait for a client to read. */
const MAX_WAITING = 4;
/** How long a client may read nothing before it is dropped. */
const STALLED_MS = 20_000;
/** The delay after which a client reconnects when the connection ends. */
const RETRY_MS = 2000;

/** A message in the form that `@std/http` accepts. */
interface Message {
  readonly event: string;
  readonly data: string;
  readonly retry?: number;
}

interface Client {
  readonly controller: ReadableStreamDefaultController<Message>;
  /** The parts that the client's page shows. */
  sent: PageParts;
  /** Since when the client has not read, monotonic; null while it reads. */
  stalledSinceMs: number | null;
}

export interface PageEventsOptions {
  readonly clock: Clock;
  /** Identifies the running program, so that a page from an earlier run reloads itself. */
  readonly program: () => string;
  readonly parts: () => PageParts;
  /** Peaks in dBFS since the last call, one per 100 ms. */
  readonly levels: () => readonly number[];
}

export class PageEvents {
  readonly #options: PageEventsOptions;
  readonly #clients = new Set<Client>();
  readonly #closing = new AbortController();
  #running: Promise<void> | null = null;

  constructor(options: PageEventsOptions) {
    this.#options = options;
  }

  /** The number of clients. */
  get clients(): number {
    return this.#clients.size;
  }

  /** Opens a stream for a new client. Null if there are too many clients, or after `close`. */
  open(): ReadableStream<Uint8Array<ArrayBuffer>> | null {
    if (this.#closing.signal.aborted || this.#clients.size >= MAX_CLIENTS) return null;
    let client: Client | null = null;
    const messages = new ReadableStream<Message>({
      start: (controller) => {
        client = { controller, sent: {}, stalledSinceMs: null };
        this.#clients.add(client);
        controller.enqueue({ event: "hello", data: this.#options.program(), retry: RETRY_MS });
      },
      cancel: () => {
        if (client !== null) this.#clients.delete(client);
      },
    }, { highWaterMark: MAX_WAITING });
    this.#running ??= this.#run();
    return messages.pipeThrough(new ServerSentEventStream());
  }

  /** Ends every stream. */
  async close(): Promise<void> {
    this.#closing.abort();
    for (const { controller } of this.#clients) controller.close();
    this.#clients.clear();
    await this.#running;
  }

  /** Sends messages until there are no clients. */
  async #run(): Promise<void> {
    const { clock, levels } = this.#options;
    levels(); // discards the levels from before
    for (let turn = 0; this.#clients.size > 0; turn++) {
      const peaks = levels();
      const parts = turn % PARTS_EACH === 0 ? this.#parts() : null;
      for (const client of this.#clients) {
        if (parts !== null) this.#sendParts(client, parts);
        if (peaks.length > 0) this.#send(client, "levels", peaks);
      }
      await clock.sleep(TURN_MS, this.#closing.signal);
    }
    this.#running = null;
  }

  #parts(): PageParts | null {
    try {
      return this.#options.parts();
    } catch {
      return null; // GET / reports the error; the page says that no data arrives
    }
  }

  /** Sends only changed parts. An empty message shows that the connection works. */
  #sendParts(client: Client, parts: PageParts): void {
    const changed = Object.entries(parts).filter(([id, text]) => client.sent[id] !== text);
    if (this.#send(client, "parts", Object.fromEntries(changed))) client.sent = parts;
  }

  /** Returns false if the client has not read the earlier messages. */
  #send(client: Client, event: string, data: unknown): boolean {
    if ((client.controller.desiredSize ?? 0) > 0) {
      client.stalledSinceMs = null;
      client.controller.enqueue({ event, data: JSON.stringify(data) });
      return true;
    }
    const nowMs = this.#options.clock.monotonicMs();
    client.stalledSinceMs ??= nowMs;
    if (nowMs - client.stalledSinceMs > STALLED_MS) {
      this.#clients.delete(client);
      client.controller.error(new Error("the client does not read"));
    }
    return false;
  }
}
