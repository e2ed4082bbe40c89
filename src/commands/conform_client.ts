// Raw HTTP/1.1 connections to a server under test. Unlike the client of the agent it can misbehave: cut an
// upload, not wait for the answer, send slowly. It reads answers as the agent does, and judges nothing.

import { deadline } from "../system/clock.ts";
import { type Answer, AnswerReader } from "../upload/answer_reader.ts";

/** The answer is waited for this long. */
const ANSWER_MS = 30_000;

/** What is sent. */
export interface RawRequest {
  readonly headers: Readonly<Record<string, string>>;
  readonly body: Uint8Array;
}

export class RawConnection implements Disposable {
  readonly #conn: Deno.Conn;
  readonly #url: URL;
  #isClosed = false;

  private constructor(conn: Deno.Conn, url: URL) {
    this.#conn = conn;
    this.#url = url;
  }

  /** @param caCerts PEM, trusted in addition to the public ones. @throws the error of the network. */
  static async open(url: URL, caCerts: string[]): Promise<RawConnection> {
    const isTls = url.protocol === "https:";
    const hostname = url.hostname.replace(/^\[|\]$/g, "");
    const port = Number(url.port) || (isTls ? 443 : 80);
    const conn = isTls
      ? await Deno.connectTls({ hostname, port, caCerts, alpnProtocols: ["http/1.1"] })
      : await Deno.connect({ hostname, port });
    return new RawConnection(conn, url);
  }

  [Symbol.dispose](): void {
    if (!this.#isClosed) this.#conn.close();
    this.#isClosed = true;
  }

  /**
   * Sends a request, in pieces with pauses if `pieces` is more than one.
   * @param fraction how much of the body is sent.
   */
  async send(
    { headers, body }: RawRequest,
    { fraction = 1, pieces = 1, pauseMs = 0 } = {},
  ): Promise<void> {
    const path = `${this.#url.pathname.replace(/\/$/, "")}/api/v1/chunks`;
    const lines = [
      `POST ${path} HTTP/1.1`,
      `host: ${this.#url.host}`,
      `content-length: ${body.length}`,
      ...Object.entries(headers).map(([name, value]) => `${name}: ${value}`),
    ];
    await this.#write(new TextEncoder().encode(`${lines.join("\r\n")}\r\n\r\n`));
    const end = Math.floor(body.length * fraction);
    for (let piece = 0; piece < pieces; piece++) {
      if (piece > 0) await new Promise((resolve) => setTimeout(resolve, pauseMs));
      const [from, to] = [piece, piece + 1].map((at) => Math.floor(end * at / pieces));
      await this.#write(body.subarray(from, to));
    }
  }

  /** The answer to the request that was sent last. @throws if there is none, or it is not HTTP. */
  async answer(): Promise<Answer> {
    using limit = deadline(ANSWER_MS);
    limit.signal.addEventListener("abort", () => this[Symbol.dispose]());
    try {
      return await this.#read();
    } catch (error) {
      throw limit.signal.aborted ? new Error(`no answer within ${ANSWER_MS / 1000} s`) : error;
    }
  }

  async #read(): Promise<Answer> {
    const reader = new AnswerReader();
    const buffer = new Uint8Array(16_384);
    while (reader.answer === null) {
      const count = await this.#conn.read(buffer);
      if (count === null) reader.end();
      else reader.push(buffer.subarray(0, count));
    }
    return reader.answer;
  }

  async #write(bytes: Uint8Array): Promise<void> {
    for (let at = 0; at < bytes.length;) at += await this.#conn.write(bytes.subarray(at));
  }
}
