// The live half of the status page: server-sent events to the few who watch. Nobody watching costs
// nothing. A client that does not read holds a few messages at most, misses the rest, and is dropped.
// https://html.spec.whatwg.org/multipage/server-sent-events.html

import { ServerSentEventStream } from "@std/http/server-sent-event-stream";
import type { Clock } from "../system/clock.ts";
import type { PageParts } from "./page.ts";

export const MAX_CLIENTS = 8;
/** How often levels are sent; and every PARTS_EACH times what has changed on the page. */
const TURN_MS = 200;
const PARTS_EACH = 5;
/** Messages that may wait for a client to read. */
const MAX_WAITING = 4;
/** A client that has read nothing for so long is gone. */
const STALLED_MS = 20_000;
/** After this a client comes back, should the connection end. */
const RETRY_MS = 2000;

/** A message as `@std/http` takes it. */
interface Message {
  readonly event: string;
  readonly data: string;
  readonly retry?: number;
}

interface Client {
  readonly controller: ReadableStreamDefaultController<Message>;
  /** What the client's page holds. */
  sent: PageParts;
  /** Monotonic; null: it reads. */
  stalledSinceMs: number | null;
}

export interface PageEventsOptions {
  readonly clock: Clock;
  /** Tells the page that it is of another program than the one that answers now. */
  readonly program: () => string;
  readonly parts: () => PageParts;
  /** Peaks in dBFS since the last call, one each 100 ms. */
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

  /** How many watch. */
  get clients(): number {
    return this.#clients.size;
  }

  /** The stream of one more who watches; null if there are too many, or it is about to end. */
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

  /** Until nobody watches. */
  async #run(): Promise<void> {
    const { clock, levels } = this.#options;
    levels(); // those of before are no news
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
      return null; // GET / says so; the page says that nothing comes
    }
  }

  /** Only what the client does not have yet; at times nothing, which says that all is well. */
  #sendParts(client: Client, parts: PageParts): void {
    const changed = Object.entries(parts).filter(([id, text]) => client.sent[id] !== text);
    if (this.#send(client, "parts", Object.fromEntries(changed))) client.sent = parts;
  }

  /** False: the client has not read what came before. */
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
