// One connection to a server, over which requests go one after the other (HTTP/1.1, RFC 9112). It reads
// while it sends, because a server may refuse a request before it has all of it. While it is idle it keeps
// a read open, so that it learns at once when the server closes. It knows no limits of time and no names.
//
//   idle ─► sending and receiving ─► idle
//     └──────────┴── end, failure, early or unclear answer, bytes without a request ─► closed

import { onAbort } from "./on_abort.ts";
import { type Answer, AnswerReader, type AnswerShape, BadAnswer } from "./answer_reader.ts";
import { close, type Transport } from "./transport.ts";

const READ_BYTES = 8192;
/** The largest part of a request that is written at once: when it was taken, the line moves. */
const WRITE_BYTES = 65_536;

/** A request in pieces, headers included; the next piece may overwrite each one. */
export type Outgoing = AsyncIterable<Uint8Array<ArrayBuffer>>;

/** The answer to a request. */
export interface Reply extends Answer {
  /**
   * Whether the connection had taken the whole request when the answer came. If not, the server cannot have
   * stored what was sent, whatever it says. The last write is awaited only where it may say so, see `mayHave`.
   */
  readonly isRequestSent: boolean;
}

/** The body of a request cannot be read: that says nothing about the server. */
export class BodyFailure extends Error {}

/** The owner of an exchange. */
export interface ExchangeOptions {
  /** Of the whole request, headers included. */
  readonly sizeBytes: number;
  /** Waits until some of these bytes may be sent, and says how many. */
  readonly mayWrite: (bytes: number) => Promise<number>;
  /** These bytes are offered to the connection, which may hold them back. */
  readonly onWriting: (bytes: number) => void;
  /** The connection took bytes, or some came. */
  readonly onMoved: () => void;
  readonly signal: AbortSignal;
  /** Of the answer. */
  readonly shape?: AnswerShape;
}

export class Connection implements Disposable {
  readonly #transport: Transport;
  readonly #buffer = new Uint8Array(READ_BYTES);
  /** The read that was begun while the connection was idle. */
  #ahead: Promise<number | null> | null = null;
  #isIdle = false;
  #isClosed = false;
  #requests = 0;
  /** Bytes of this request that were offered to the connection. */
  #offeredBytes = 0;
  #hasAnswered = false;

  /** @param openedMs monotonic */
  constructor(transport: Transport, readonly openedMs: number) {
    this.#transport = transport;
  }

  /**
   * Whether the last request failed only because the connection could not be used again: the request was not
   * the first one, and no byte of an answer to it came.
   */
  get wasStale(): boolean {
    return this.#requests > 1 && !this.#hasAnswered;
  }

  get isClosed(): boolean {
    return this.#isClosed;
  }

  close(): void {
    this.#isClosed = true;
    close(this.#transport);
  }

  [Symbol.dispose](): void {
    this.close();
  }

  /** The connection is idle; `onEnd` is called if the server closes the connection or sends something. */
  rest(onEnd: () => void): void {
    this.#isIdle = true;
    this.#ahead ??= this.#transport.read(this.#buffer);
    const ended = () => {
      if (!this.#isIdle) return;
      this.close();
      onEnd();
    };
    this.#ahead.then(ended, ended);
  }

  /** Sends a request and returns its answer. Closes unless another request may follow. */
  async exchange(request: Outgoing, options: ExchangeOptions): Promise<Reply> {
    this.#isIdle = false;
    this.#requests++;
    this.#offeredBytes = 0;
    this.#hasAnswered = false;
    const { signal, sizeBytes } = options;
    using _ = onAbort(signal, () => this.close());
    let isKept = false;
    try {
      const receiving = this.#receive(options);
      const sending = this.#send(request, options);
      for (const part of [receiving, sending]) part.catch(() => {}); // awaited below, or closed
      const answer = await Promise.race([
        receiving,
        sending.catch((error) => {
          if (error instanceof BodyFailure) throw error; // else what the server said tells more
        }).then(() => receiving),
      ]);
      let isRequestSent = false;
      const ended = sending.then(() => isRequestSent = true, () => {});
      // The connection may still be taking the last bytes of a request that the server has.
      if (this.#offeredBytes === sizeBytes) await (mayHave(answer.status) ? ended : oneTurn());
      isKept = answer.isReusable && isRequestSent;
      return Object.assign(answer, { isRequestSent });
    } catch (error) {
      signal.throwIfAborted();
      throw error;
    } finally {
      if (!isKept) this.close();
    }
  }

  async #send(request: Outgoing, { mayWrite, onWriting, onMoved }: ExchangeOptions): Promise<void> {
    for await (const bytes of request) {
      for (let at = 0; at < bytes.length;) {
        const size = await mayWrite(Math.min(WRITE_BYTES, bytes.length - at));
        onWriting(size);
        this.#offeredBytes += size;
        for (const end = at + size; at < end;) {
          at += await this.#transport.write(bytes.subarray(at, end));
          onMoved();
        }
      }
    }
  }

  async #receive({ onMoved, shape }: ExchangeOptions): Promise<Answer> {
    const reader = new AnswerReader(shape);
    while (reader.answer === null) {
      const reading = this.#ahead ?? this.#transport.read(this.#buffer);
      this.#ahead = null;
      const size = await reading;
      if (size === null && !reader.isStarted) {
        throw new Deno.errors.UnexpectedEof("the connection was closed without an answer");
      }
      // The second answer to the request before, or that the server gave the idle connection up.
      if (this.#offeredBytes === 0 && this.#requests > 1) {
        throw new BadAnswer("the server sent an answer before the request");
      }
      this.#hasAnswered = true;
      onMoved();
      if (size === null) reader.end();
      else reader.push(this.#buffer.subarray(0, size));
    }
    return reader.answer;
  }
}

/** Whether the server may say that it has what was sent, now or from before (409). */
function mayHave(status: number): boolean {
  return status < 300 || status === 409;
}

/** A write that has ended is known after this. */
function oneTurn(): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve));
}
