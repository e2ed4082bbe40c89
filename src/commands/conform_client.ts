// Raw HTTP/1.1 connections to a server under test. Unlike the client of the agent it can misbehave: cut an
// upload, not wait for the answer, send slowly. It judges nothing.

import { deadline } from "../system/clock.ts";
import { concatBytes } from "../system/concat_bytes.ts";
import { splitHeaderLine } from "../system/header_line.ts";

/** The answer is waited for this long. */
const ANSWER_MS = 30_000;
const MAX_ANSWER_BYTES = 65_536;

export interface Answer {
  readonly status: number;
  readonly headers: Headers;
  readonly body: string;
  /** Whether the server lets the connection be used again. */
  readonly isKeptAlive: boolean;
}

/** What is sent. */
export interface RawRequest {
  readonly headers: Readonly<Record<string, string>>;
  readonly body: Uint8Array;
}

export class RawConnection implements Disposable {
  readonly #conn: Deno.Conn;
  readonly #url: URL;
  #rest: Uint8Array = new Uint8Array(0);
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
    let headEnd = -1;
    while ((headEnd = indexOfEmptyLine(this.#rest)) < 0) {
      if (!await this.#fill()) {
        throw new Error("the server closed the connection without an answer");
      }
    }
    const lines = new TextDecoder().decode(this.#rest.subarray(0, headEnd)).split("\r\n");
    const status = Number(/^HTTP\/1\.[01] (\d{3})(?: |$)/.exec(lines[0] ?? "")?.[1] ?? NaN);
    if (Number.isNaN(status)) throw new Error("the answer is not HTTP/1.1");
    const headers = new Headers();
    for (const line of lines.slice(1)) {
      const header = splitHeaderLine(line);
      if (header !== null) headers.append(...header);
    }
    this.#rest = this.#rest.slice(headEnd + 4);
    if (status < 200) return await this.#read();
    const body = await this.#body(headers);
    const isKeptAlive = !this.#isClosed && /^HTTP\/1\.1/.test(lines[0] ?? "") &&
      !/\bclose\b/i.test(headers.get("connection") ?? "");
    return { status, headers, body: new TextDecoder().decode(body), isKeptAlive };
  }

  async #body(headers: Headers): Promise<Uint8Array> {
    if (/\bchunked\b/i.test(headers.get("transfer-encoding") ?? "")) return await this.#chunks();
    const length = headers.get("content-length");
    if (length !== null) return await this.#take(Number(length));
    while (await this.#fill());
    this[Symbol.dispose]();
    return this.#rest;
  }

  async #chunks(): Promise<Uint8Array> {
    const parts: Uint8Array[] = [];
    while (true) {
      let end: number;
      while ((end = this.#rest.indexOf(0x0a)) < 0) {
        if (!await this.#fill()) throw new Error("the answer is cut short");
      }
      const size = parseInt(new TextDecoder().decode(this.#rest.subarray(0, end)), 16);
      if (Number.isNaN(size)) throw new Error("the answer has a malformed chunk");
      this.#rest = this.#rest.slice(end + 1);
      parts.push((await this.#take(size + 2)).subarray(0, size));
      if (size === 0) return concatBytes(parts);
    }
  }

  async #take(count: number): Promise<Uint8Array> {
    if (!(count <= MAX_ANSWER_BYTES)) throw new Error("the answer is longer than 64 KiB");
    while (this.#rest.length < count) {
      if (!await this.#fill()) throw new Error("the answer is cut short");
    }
    const taken = this.#rest.slice(0, count);
    this.#rest = this.#rest.slice(count);
    return taken;
  }

  async #fill(): Promise<boolean> {
    if (this.#rest.length > 2 * MAX_ANSWER_BYTES) {
      throw new Error("the answer is longer than 64 KiB");
    }
    const buffer = new Uint8Array(16_384);
    const count = await this.#conn.read(buffer);
    if (count === null) return false;
    this.#rest = concatBytes([this.#rest, buffer.subarray(0, count)]);
    return true;
  }

  async #write(bytes: Uint8Array): Promise<void> {
    for (let at = 0; at < bytes.length;) at += await this.#conn.write(bytes.subarray(at));
  }
}

function indexOfEmptyLine(bytes: Uint8Array): number {
  for (let at = bytes.indexOf(0x0d); at >= 0; at = bytes.indexOf(0x0d, at + 1)) {
    if (bytes[at + 1] === 0x0a && bytes[at + 2] === 0x0d && bytes[at + 3] === 0x0a) return at;
  }
  return -1;
}
