// One connection of an HTTP/1.1 server: reads its requests, has them answered, and ends so that the client can
// read the last answer. It never keeps a body in memory. What is asked and answered, its owner decides; how
// long a state may last, and whose place a new connection takes, is in connection_life.ts.

import type { Clock } from "./clock.ts";
import { ConnectionInput } from "./connection_input.ts";
import {
  BodyPace,
  ConnectionLife,
  type ConnectionState,
  type Patience,
} from "./connection_life.ts";
import { repeating } from "./held_lines.ts";
import { encodeAnswer, type HttpAnswer } from "./http_answer.ts";
import { BodyFault, BodyReader } from "./http_body.ts";
import { type HttpRequest, parseHead } from "./http_request.ts";
import type { Logger } from "./log.ts";
import type { ServerConn } from "./tls_listener.ts";
import type { Turns } from "./turns.ts";
import { within } from "./within.ts";

/** What remains to be done at a stop, and a last word, have this long. */
export const LAST_MS = 500;
const CONTINUE = "HTTP/1.1 100 Continue\r\n\r\n";

/** What the clients may cost. */
export interface HttpLimits extends Patience {
  /** Connections that are not streams. */
  readonly connections: number;
  /** A body may be this long. */
  readonly bodyBytes: number;
  /** Whether a request keeps its place, once its head is read, until its answer is made. */
  readonly keepsWork: boolean;
  /** Requests in progress at a stop have this long. */
  readonly closingMs: number;
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

/** Whom the connection works for. */
export interface HttpOwner {
  /** In the log, at the beginning of a sentence. */
  readonly name: string;
  readonly limits: HttpLimits;
  /** Answers a request. It may leave the body, or a part of it, unread. An error becomes a 500. */
  readonly answer: (incoming: Incoming) => HttpAnswer | Promise<HttpAnswer>;
  /** The answer to what is not a request, or cannot be read. @param peer address of the other side. */
  readonly refuse: (status: number, reason: string, peer: string) => HttpAnswer<string>;
  readonly clock: Clock;
  readonly log: Logger;
}

export class HttpConnection {
  readonly life: ConnectionLife;
  /** Resolves when nothing works for it any more. */
  readonly served: Promise<void>;
  readonly #conn: ServerConn;
  readonly #input: ConnectionInput;
  readonly #owner: HttpOwner;
  readonly #turns: Turns;
  readonly #stop: AbortSignal;
  /** Of the body that is read now. */
  #pace: BodyPace | null = null;
  #isClosed = false;
  /** Resolves when a closed connection has no descriptor any more. */
  #gone: void | Promise<void> = undefined;

  /** @param head a buffer of MAX_HEAD_BYTES, used until the connection is `served`. */
  constructor(
    conn: ServerConn,
    head: Uint8Array<ArrayBuffer>,
    { owner, turns, stop }: { owner: HttpOwner; turns: Turns; stop: AbortSignal },
  ) {
    this.#conn = conn;
    this.#input = new ConnectionInput(conn, head);
    this.#owner = owner;
    this.#turns = turns;
    this.#stop = stop;
    this.life = new ConnectionLife(owner.clock.monotonicMs());
    this.served = this.#serve();
  }

  /** Ends what is read or written now. */
  close(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#gone = this.#conn.close();
  }

  /** Closes what has exceeded its time. */
  async watch(): Promise<void> {
    const { clock, limits, refuse } = this.#owner;
    const nowMs = clock.monotonicMs();
    if (this.life.isOver(nowMs, limits)) return this.close();
    if (!this.#pace?.isTooSlow(nowMs)) return;
    const answer = refuse(408, "the body arrives too slowly", this.#peer);
    const form = { unixMs: clock.unixMs(), isHead: false, isLast: true };
    // It is closed anyway.
    await within(LAST_MS, this.#conn.write(encodeAnswer(answer, form))).catch(() => {});
    this.close();
  }

  get #peer(): string {
    const { remoteAddr } = this.#conn;
    return remoteAddr.transport === "tcp" ? remoteAddr.hostname : "";
  }

  /** Never rejects. */
  async #serve(): Promise<void> {
    try {
      while (await this.#next());
      if (this.#isClosed) return;
      const discarded = this.#discard();
      await (this.#stop.aborted ? within(LAST_MS, discarded) : discarded);
    } catch {
      /* the client has gone, or the connection was closed here */
    } finally {
      this.close();
      await this.#gone;
    }
  }

  /** Reads and answers one request. Returns whether another one may follow. */
  async #next(): Promise<boolean> {
    const input = this.#input;
    const head = parseHead(input.bytes);
    switch (head.kind) {
      case "request": {
        input.take(head.length);
        const isOpen = await this.#answer(head.request);
        if (isOpen) this.#enter(input.bytes.length > 0 ? "reading" : "idle");
        return isOpen;
      }
      case "refused": {
        const { status, reason } = head;
        const answer = await this.#turn(() => this.#owner.refuse(status, reason, this.#peer));
        if (answer !== null) await this.#say(answer, { isHead: false, isLast: true });
        return false;
      }
      case "incomplete":
        if (await input.fill() === null) this.close();
        else if (this.life.state === "idle") this.#enter("reading");
        return !this.#isClosed;
    }
  }

  async #answer(request: HttpRequest): Promise<boolean> {
    const made = await this.#turn(() => this.#make(request));
    if (made === null) return false;
    const { answer, hasRest } = made;
    try {
      if (this.#isClosed) return false;
      this.#input.resize(false);
      const isLast = typeof answer.body !== "string" || hasRest || !request.isKeptAlive ||
        this.#stop.aborted;
      await this.#say(answer, { isHead: request.method === "HEAD", isLast });
      this.life.answers++;
      return !isLast;
    } finally {
      answer.onEnd?.();
    }
  }

  /** The answer, and whether bytes of the body are left. @throws {ClientGone} */
  async #make(request: HttpRequest): Promise<{ answer: HttpAnswer; hasRest: boolean }> {
    const { limits, answer, refuse, name: server, log } = this.#owner;
    const peer = this.#peer;
    try {
      const reader = new BodyReader(request, limits.bodyBytes);
      const body = this.#body(request, reader);
      return { answer: await answer({ request, peer, body }), hasRest: !reader.hasEnded };
    } catch (error) {
      if (error instanceof ClientGone) throw error;
      if (error instanceof BodyFault) {
        return { answer: refuse(error.status, error.message, peer), hasRest: true };
      }
      const fields = repeating("answer", { server, error: String(error) });
      log.error("{server} failed to answer a request.", fields);
      return { answer: refuse(500, "internal error", peer), hasRest: true };
    }
  }

  async *#body({ headers }: HttpRequest, reader: BodyReader): AsyncGenerator<Uint8Array> {
    if (reader.hasEnded) return;
    const { clock } = this.#owner;
    const [input, pace] = [this.#input, new BodyPace()];
    this.#pace = pace;
    input.resize(true);
    if (headers.get("expect")?.toLowerCase() === "100-continue" && input.bytes.length === 0) {
      await this.#write(new TextEncoder().encode(CONTINUE), "writing");
      this.#enter("working");
    }
    while (!reader.hasEnded) {
      const step = reader.step(input.bytes);
      if (step !== null) {
        input.take(step.used);
        if (step.data.length > 0) yield step.data;
        continue;
      }
      pace.wait(clock.monotonicMs());
      const count = await input.fill().catch(() => null);
      if (count === null) throw new ClientGone();
      pace.arrived(count, clock.monotonicMs());
    }
  }

  async #say(answer: HttpAnswer, form: { isHead: boolean; isLast: boolean }): Promise<void> {
    const bytes = encodeAnswer(answer, { unixMs: this.#owner.clock.unixMs(), ...form });
    if (typeof answer.body === "string") await this.#write(bytes, "writing");
    else await this.#stream(bytes, answer.body);
  }

  async #write(bytes: Uint8Array, state: "writing" | "sending"): Promise<void> {
    this.#enter(state);
    for (let at = 0; at < bytes.length;) at += await this.#conn.write(bytes.subarray(at));
  }

  /** Writes a stream after its head, until it ends or the client has gone, and closes. */
  async #stream(head: Uint8Array, body: ReadableStream<Uint8Array>): Promise<void> {
    const reader = body.getReader();
    try {
      (this.#conn as Partial<Deno.TcpConn>).setNoDelay?.();
      for (let piece: Uint8Array | undefined = head; piece !== undefined;) {
        await this.#write(piece, "sending");
        this.#enter("streaming");
        piece = (await reader.read()).value;
      }
    } finally {
      reader.cancel().catch(() => {}); // it has failed already
      this.close();
    }
  }

  /** A connection that is closed with unread bytes is reset, and the client may lose the answer. */
  async #discard(): Promise<void> {
    const input = this.#input;
    this.#enter("ending");
    await this.#conn.closeWrite();
    for (let left = this.#owner.limits.bodyBytes; left > 0;) {
      left -= input.bytes.length;
      input.take(input.bytes.length);
      if (await input.fill() === null) return;
    }
  }

  #enter(state: ConnectionState): void {
    this.life.enter(state, this.#owner.clock.monotonicMs());
  }

  /** Does the work when it is its turn; null if the connection is closed by then. */
  #turn<T>(work: () => T | Promise<T>): Promise<T | null> {
    this.#enter("working");
    const isUrgent = this.life.answers === 0;
    return this.#turns.do(work, { isUrgent, isWanted: () => !this.#isClosed });
  }
}
