// Reads the answer to one HTTP/1.1 request (RFC 9112) from the bytes of a connection, in pieces of any size.
// It reads strictly and within bounds: an answer of any size, or no answer at all, costs bounded memory.
// Where two readings of an answer are possible, the connection is not used again. It never reads from a
// connection itself. Pure.
//
//   status ─► headers ─┬─► sized ────────────────────────► done
//     ▲          │     ├─► chunk size ◄─► chunk ◄─► chunk end
//     └── 1xx ◄──┘     │       └─► trailers ────────────► done
//                      └─► until the end of the connection ► done

import { concatBytes } from "./concat_bytes.ts";
import { chunkSizeIn, listIn, splitHeaderLine } from "./header_line.ts";

/** Bytes of all status lines, headers and trailers together, and their number. */
const MAX_HEAD_BYTES = 32_768;
const MAX_HEADERS = 200;
/** Interim answers (1xx) before the final one. */
const MAX_INTERIM = 8;
/** The reader keeps no more of a body than this, unless its owner wants more. */
const MAX_BODY_BYTES = 65_536;
/** A line of a chunked body: a size with extensions. */
const MAX_SIZE_LINE = 256;
/** How much of a chunked body may be other than its data. */
const MAX_CHUNK_OVERHEAD = 524_288;

const STATUS_LINE = /^HTTP\/1\.([01]) ([1-9]\d\d)(?: .*)?$/s;
// deno-lint-ignore no-control-regex -- RFC 9110, section 5.5: a value has no control characters but tabs
const CONTROL = /[\u0000-\u0008\u000a-\u001f\u007f]/;

/** A complete answer. */
export interface Answer {
  readonly status: number;
  readonly headers: Headers;
  /** No more than `maxBodyBytes`. */
  readonly bytes: Uint8Array<ArrayBuffer>;
  /** The same as UTF-8. */
  readonly body: string;
  /** Whether another request may be sent over the same connection. */
  readonly isReusable: boolean;
}

/** What follows the headers of an answer. */
export interface AnswerShape {
  /** The request is CONNECT: what follows a 2xx answer is not a body. */
  readonly opensTunnel?: boolean;
  /** The request is HEAD: no body follows, whatever the headers say. */
  readonly isHead?: boolean;
  /** What is kept of a body; the rest is not read. */
  readonly maxBodyBytes?: number;
}

/** These bytes are not an answer of an HTTP/1.1 server. */
export class BadAnswer extends Error {
  constructor(message: string, readonly isTls = false) {
    super(message);
    this.name = "BadAnswer";
  }
}

type State =
  | "status"
  | "headers"
  | "sized"
  | "chunk size"
  | "chunk"
  | "chunk end"
  | "trailers"
  | "until the end"
  | "done";

const LINES: readonly State[] = ["status", "headers", "chunk size", "chunk end", "trailers"];

/** Reads one answer. Give it what arrives until `answer` is there. */
export class AnswerReader {
  #state: State = "status";
  /** The beginning of a line whose end has not arrived. */
  #line = "";
  #headBytes = 0;
  #headerLines = 0;
  #interim = 0;
  #minor = 1;
  #status = 0;
  #headers = new Headers();
  /** Bytes left of a sized body or of a chunk. */
  #left = 0;
  #overhead = 0;
  #bodyBytes = 0;
  readonly #body: Uint8Array<ArrayBuffer>[] = [];
  #isReusable = true;
  readonly #shape: Required<AnswerShape>;

  constructor(
    { opensTunnel = false, isHead = false, maxBodyBytes = MAX_BODY_BYTES }: AnswerShape = {},
  ) {
    this.#shape = { opensTunnel, isHead, maxBodyBytes };
  }

  /** Whether a byte of an answer has arrived. */
  get isStarted(): boolean {
    return this.#state !== "status" || this.#line !== "" || this.#interim > 0;
  }

  /** The answer once it is complete, or null. */
  get answer(): Answer | null {
    if (this.#state !== "done") return null;
    const bytes = concatBytes(this.#body);
    return {
      status: this.#status,
      headers: this.#headers,
      bytes,
      get body() {
        return new TextDecoder().decode(bytes);
      },
      isReusable: this.#isReusable,
    };
  }

  /** Takes the next bytes; keeps no reference to them. @throws {BadAnswer} */
  push(bytes: Uint8Array): void {
    for (let rest = bytes; rest.length > 0;) {
      if (this.#state === "done") {
        this.#isReusable = false; // more than one answer to one request
        return;
      }
      rest = LINES.includes(this.#state) ? this.#takeLine(rest) : this.#takeBody(rest);
    }
  }

  /** The connection has ended. @throws {BadAnswer} unless the answer is complete. */
  end(): void {
    this.#isReusable = false;
    if (this.#state === "until the end") this.#state = "done";
    if (this.#state === "done") return;
    throw new BadAnswer(
      this.isStarted
        ? "the connection ended in the middle of an answer"
        : "the connection was closed without an answer",
    );
  }

  /** Takes the bytes up to the end of the line. */
  #takeLine(bytes: Uint8Array): Uint8Array {
    const end = bytes.indexOf(10);
    const part = bytes.subarray(0, end < 0 ? bytes.length : end + 1);
    this.#count(part.length);
    for (const byte of part) this.#line += String.fromCharCode(byte);
    if (this.#state === "status" && this.#interim === 0) refuseForeign(this.#line);
    if (end < 0) return bytes.subarray(bytes.length);
    const line = this.#line.slice(0, -1);
    this.#line = "";
    if (!line.endsWith("\r")) this.#isReusable = false; // a bare LF (RFC 9112, section 2.2)
    this.#takeWholeLine(line.endsWith("\r") ? line.slice(0, -1) : line);
    return bytes.subarray(end + 1);
  }

  /** @throws {BadAnswer} if lines take more bytes than they may. */
  #count(bytes: number): void {
    if (this.#state === "chunk size" || this.#state === "chunk end") {
      this.#overhead += bytes;
      if (this.#line.length + bytes > MAX_SIZE_LINE || this.#overhead > MAX_CHUNK_OVERHEAD) {
        throw new BadAnswer("the answer has a chunked body whose chunk sizes are too long");
      }
      return;
    }
    this.#headBytes += bytes;
    if (this.#headBytes > MAX_HEAD_BYTES) {
      throw new BadAnswer(`the answer has more than ${MAX_HEAD_BYTES} bytes of headers`);
    }
  }

  #takeWholeLine(line: string): void {
    switch (this.#state) {
      case "status":
        return this.#takeStatus(line);
      case "headers":
        return line === "" ? this.#endHead() : this.#takeHeader(line);
      case "trailers":
        return line === "" ? this.#finish() : this.#countHeader();
      case "chunk end":
        if (line !== "") throw new BadAnswer("the answer has a chunked body with a wrong size");
        this.#state = "chunk size";
        return;
      case "chunk size":
        return this.#takeSize(line);
    }
  }

  #takeStatus(line: string): void {
    const found = STATUS_LINE.exec(line);
    if (found === null || CONTROL.test(line)) {
      throw new BadAnswer(`the answer does not begin with an HTTP/1.1 status: ${quote(line)}`);
    }
    this.#minor = Number(found[1]);
    this.#status = Number(found[2]);
    this.#state = "headers";
  }

  #takeHeader(line: string): void {
    this.#countHeader();
    const header = splitHeaderLine(line);
    if (header === null || CONTROL.test(header[1])) {
      throw new BadAnswer(`the answer has a header that is not valid: ${quote(line)}`);
    }
    this.#headers.append(...header);
  }

  #countHeader(): void {
    this.#headerLines++;
    if (this.#headerLines > MAX_HEADERS) {
      throw new BadAnswer(`the answer has more than ${MAX_HEADERS} headers`);
    }
  }

  /** The empty line after the headers: decides how the body ends (RFC 9112, section 6.3). */
  #endHead(): void {
    if (this.#status === 101) throw new BadAnswer("the server switches to another protocol (101)");
    if (this.#status < 200) {
      this.#interim++;
      if (this.#interim > MAX_INTERIM) throw new BadAnswer("the server sends only interim answers");
      this.#headers = new Headers();
      this.#state = "status";
      return;
    }
    if (this.#shape.opensTunnel && this.#status < 300) return this.#finish();
    const connection = listIn(this.#headers.get("connection"));
    const stays = this.#minor === 1
      ? !connection.includes("close")
      : connection.includes("keep-alive");
    if (!stays) this.#isReusable = false;
    const coding = this.#headers.get("transfer-encoding");
    const length = this.#contentLength();
    if (this.#shape.isHead) return this.#finish();
    if (this.#status === 204 || this.#status === 304) {
      if (coding !== null) this.#isReusable = false;
      return this.#finish();
    }
    if (coding !== null) {
      if (coding.toLowerCase() !== "chunked") {
        throw new BadAnswer(`the answer has the unknown transfer coding ${quote(coding)}`);
      }
      if (length !== null || this.#minor === 0) this.#isReusable = false;
      this.#state = "chunk size";
    } else if (length === null) {
      this.#isReusable = false;
      this.#state = "until the end";
    } else if (length === 0) {
      this.#finish();
    } else {
      this.#left = length;
      this.#state = "sized";
    }
  }

  /** @throws {BadAnswer} if it is not one number. */
  #contentLength(): number | null {
    const text = this.#headers.get("content-length");
    if (text === null) return null;
    const values = new Set(text.split(",").map((value) => value.trim()));
    const [value = ""] = values;
    if (values.size > 1 || !/^\d{1,15}$/.test(value)) {
      throw new BadAnswer(`the answer has the Content-Length ${quote(text)}`);
    }
    return Number(value);
  }

  #takeSize(line: string): void {
    const size = chunkSizeIn(line);
    if (size === null) throw new BadAnswer(`the answer has a chunk of the size ${quote(line)}`);
    this.#left = size;
    this.#state = this.#left === 0 ? "trailers" : "chunk";
  }

  #takeBody(bytes: Uint8Array): Uint8Array {
    const isSized = this.#state !== "until the end";
    const part = isSized ? bytes.subarray(0, this.#left) : bytes;
    const kept = part.slice(0, this.#shape.maxBodyBytes - this.#bodyBytes);
    if (kept.length > 0) this.#body.push(kept);
    this.#bodyBytes += kept.length;
    if (kept.length < part.length) {
      this.#isReusable = false;
      this.#finish();
      return bytes.subarray(bytes.length);
    }
    if (isSized) {
      this.#left -= part.length;
      if (this.#left === 0 && this.#state === "sized") this.#finish();
      else if (this.#left === 0) this.#state = "chunk end";
    }
    return bytes.subarray(part.length);
  }

  #finish(): void {
    this.#state = "done";
  }
}

/** Whether this can still become a status line: other protocols may send nothing more. */
function refuseForeign(line: string): void {
  const start = "HTTP/1.";
  if (line.startsWith(start.slice(0, line.length))) return;
  // A TLS record (RFC 8446, section 5.1): an alert or a handshake of version 3.x.
  const [type, version] = [line.charCodeAt(0), line.charCodeAt(1)];
  if (type === 0x15 || type === 0x16) {
    if (line.length === 1) return;
    if (version === 3) throw new BadAnswer("the server speaks TLS on this port", true);
  }
  throw new BadAnswer(`the answer does not begin with an HTTP/1.1 status: ${quote(line)}`);
}

/** Bytes of a server on one line of printable ASCII. */
function quote(text: string): string {
  const shown = text.slice(0, 60).replaceAll(/[^\x20-\x7e]/g, "?");
  return `"${shown}${text.length > 60 ? "…" : ""}"`;
}
