// Takes the body of an HTTP/1.1 request out of a connection's bytes: by its length, or in chunks (RFC 9112,
// sections 6 and 7.1). It reads no connection itself and does not know what a body means. Pure.

import { chunkSizeIn } from "./header_line.ts";
import type { HttpRequest } from "./http_request.ts";

/** The line before a chunk, its extensions included, and all trailer lines together, are not longer. */
const MAX_LINE_BYTES = 1024;

/** Why a body cannot be read; `status` is that of the answer. */
export class BodyFault extends Error {
  constructor(readonly status: 400 | 413 | 501, message: string) {
    super(message);
  }
}

/** A step through the bytes at hand: how many were used, and which of them belong to the body. */
export interface BodyStep {
  readonly used: number;
  readonly data: Uint8Array;
}

const NONE = new Uint8Array(0);

/** The size of a body, bytes; null if it comes in chunks. @throws {BodyFault} */
function bodySize(request: HttpRequest): number | null {
  const coding = request.headers.get("transfer-encoding");
  const length = request.headers.get("content-length");
  if (coding === undefined) return Number(length ?? "0");
  if (length !== undefined) throw new BodyFault(400, "both Content-Length and Transfer-Encoding");
  if (coding.toLowerCase() === "chunked") return null;
  throw new BodyFault(501, "a Transfer-Encoding other than chunked");
}

export class BodyReader {
  /** What follows: data, the line end after data, the line before data, or trailers. */
  #state: "data" | "data end" | "size" | "trailers" | "end";
  readonly #isChunked: boolean;
  readonly #maxBytes: number;
  /** Bytes of data until the next state. */
  #left: number;
  #total = 0;
  #trailerBytes = 0;

  /** @throws {BodyFault} if the size is announced and above `maxBytes`, or is not well formed. */
  constructor(request: HttpRequest, maxBytes: number) {
    const size = bodySize(request);
    this.#isChunked = size === null;
    this.#maxBytes = maxBytes;
    this.#left = size ?? 0;
    this.#state = size === null ? "size" : size === 0 ? "end" : "data";
    this.#count(this.#left);
  }

  get hasEnded(): boolean {
    return this.#state === "end";
  }

  /** The next step; null if it needs more bytes than these. @throws {BodyFault} */
  step(input: Uint8Array): BodyStep | null {
    switch (this.#state) {
      case "data": {
        const used = Math.min(this.#left, input.length);
        if (used === 0) return null;
        this.#left -= used;
        if (this.#left === 0) this.#state = this.#isChunked ? "data end" : "end";
        return { used, data: input.subarray(0, used) };
      }
      case "data end":
        if (input.length < 2) return null;
        if (input[0] !== 0x0d || input[1] !== 0x0a) throw malformed();
        this.#state = "size";
        return { used: 2, data: NONE };
      case "size": {
        const line = lineIn(input);
        if (line === null) return null;
        const size = chunkSizeIn(line);
        if (size === null) throw malformed();
        this.#left = size;
        this.#count(this.#left);
        this.#state = this.#left === 0 ? "trailers" : "data";
        return { used: line.length + 2, data: NONE };
      }
      case "trailers": {
        const line = lineIn(input);
        if (line === null) return null;
        this.#trailerBytes += line.length;
        if (this.#trailerBytes > MAX_LINE_BYTES) throw malformed();
        if (line === "") this.#state = "end";
        return { used: line.length + 2, data: NONE };
      }
      case "end":
        return null;
    }
  }

  #count(bytes: number): void {
    this.#total += bytes;
    if (this.#total <= this.#maxBytes) return;
    throw new BodyFault(413, `the body is larger than ${this.#maxBytes} bytes`);
  }
}

function malformed(): BodyFault {
  return new BodyFault(400, "a malformed chunk of Transfer-Encoding: chunked");
}

/** The first line, without its end; null if it is not complete. @throws {BodyFault} */
function lineIn(input: Uint8Array): string | null {
  const end = input.subarray(0, MAX_LINE_BYTES).indexOf(0x0a);
  if (end < 0 && input.length >= MAX_LINE_BYTES) throw malformed();
  if (end < 0) return null;
  if (input[end - 1] !== 0x0d) throw malformed();
  return String.fromCharCode(...input.subarray(0, end - 1));
}
