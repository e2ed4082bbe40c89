// Reads a form (multipart/form-data, RFC 7578 and RFC 2046) from pieces of any size, with little memory:
// values are passed on as they arrive. It refuses what is not well formed, and knows no field. Pure.
//
//   preamble ──delimiter──► delimiter ──CRLF──► head ──empty line──► value ──delimiter──► delimiter
//                               └──"--"──► epilogue

import { concatBytes } from "../system/concat_bytes.ts";

/** The head of a part may be this long, and so may the text before the first part. */
const MAX_HEAD_BYTES = 4096;
/** What comes byte by byte is looked at each time: these bound what that costs. */
const MAX_HEAD_LINES = 32;
const MAX_SPACES = 64;
const MAX_PARTS = 32;

/** Why a form is refused, in words for its sender. */
export class FormFault extends Error {}

/** What was read. The bytes of `data` are valid until the next event. */
export type FormEvent =
  | { readonly kind: "part"; readonly name: string; readonly isFile: boolean }
  | { readonly kind: "data"; readonly bytes: Uint8Array }
  | { readonly kind: "end of part" };

type State = "preamble" | "delimiter" | "head" | "value" | "epilogue";

/** The boundary that a Content-Type announces; null if it is not that of a form (RFC 2046, section 5.1). */
export function boundaryOf(contentType: string): string | null {
  if (!/^multipart\/form-data[ \t]*;/i.test(contentType)) return null;
  const match = /;[ \t]*boundary=(?:"([^"]{1,70})"|([^\s;,"]{1,70}))[ \t]*(?:;|$)/i.exec(
    contentType,
  );
  const boundary = match?.[1] ?? match?.[2] ?? "";
  return /^[ -~]*[!-~]$/.test(boundary) ? boundary : null;
}

export class MultipartReader {
  readonly #delimiter: Uint8Array<ArrayBuffer>;
  #state: State = "preamble";
  /** Bytes that cannot be understood yet. The first delimiter needs no line feed before it. */
  #rest: Uint8Array = new Uint8Array([0x0d, 0x0a]);
  #parts = 0;

  constructor(boundary: string) {
    this.#delimiter = new TextEncoder().encode(`\r\n--${boundary}`);
  }

  /** What these bytes complete. @throws {FormFault} */
  *push(bytes: Uint8Array): Generator<FormEvent> {
    let input: Uint8Array = concatBytes([this.#rest, bytes]);
    for (let used: number | null = 0; used !== null;) {
      input = input.subarray(used);
      switch (this.#state) {
        case "preamble":
          used = this.#preamble(input);
          break;
        case "delimiter":
          used = this.#afterDelimiter(input);
          break;
        case "head": {
          const length: number | null = this.#headLength(input);
          if (length !== null) yield this.#part(input.subarray(0, length));
          used = length;
          break;
        }
        case "value": {
          const end = this.#find(input);
          if (end.at > 0) yield { kind: "data", bytes: input.subarray(0, end.at) };
          if (!end.isWhole) {
            input = input.subarray(end.at);
            used = null;
            break;
          }
          yield { kind: "end of part" };
          this.#state = "delimiter";
          used = end.at + this.#delimiter.length;
          break;
        }
        case "epilogue":
          input = input.subarray(input.length);
          used = null;
          break;
      }
    }
    this.#rest = input.slice();
  }

  /** To be called when the body has ended. @throws {FormFault} if the form has not. */
  end(): void {
    if (this.#state === "epilogue") return;
    throw new FormFault(
      this.#parts === 0
        ? "the body does not contain the boundary that Content-Type names"
        : "the form is cut short: its last boundary is missing",
    );
  }

  #preamble(input: Uint8Array): number | null {
    const found = this.#find(input);
    if (found.at > MAX_HEAD_BYTES) {
      throw new FormFault("the body does not begin with the boundary that Content-Type names");
    }
    if (!found.isWhole) return null;
    this.#state = "delimiter";
    return found.at + this.#delimiter.length;
  }

  /** RFC 2046, section 5.1.1: "--" ends the form; spaces may follow the boundary. */
  #afterDelimiter(input: Uint8Array): number | null {
    let at = 0;
    while (input[at] === 0x20 || input[at] === 0x09) at++;
    if (at > MAX_SPACES) throw new FormFault("a boundary is followed by too many spaces");
    if (input.length < at + 2) return null;
    if (input[0] === 0x2d && input[1] === 0x2d) {
      this.#state = "epilogue";
      return 2;
    }
    if (input[at] !== 0x0d || input[at + 1] !== 0x0a) {
      throw new FormFault("a boundary is followed by something other than a line end");
    }
    this.#state = "head";
    if (++this.#parts > MAX_PARTS) throw new FormFault(`it has more than ${MAX_PARTS} parts`);
    return at + 2;
  }

  /** With the empty line; null if it is not complete. */
  #headLength(input: Uint8Array): number | null {
    let lines = 0;
    for (let at = input.indexOf(0x0a); at >= 0; at = input.indexOf(0x0a, at + 1)) {
      if (at + 1 > MAX_HEAD_BYTES) break;
      if (++lines > MAX_HEAD_LINES) {
        throw new FormFault(
          `the head of part ${this.#parts} has more than ${MAX_HEAD_LINES} lines`,
        );
      }
      if (input[at - 1] !== 0x0d) continue;
      if (at === 1 || (input[at - 2] === 0x0a && input[at - 3] === 0x0d)) return at + 1;
    }
    if (input.length < MAX_HEAD_BYTES) return null;
    throw new FormFault(`the head of part ${this.#parts} is longer than ${MAX_HEAD_BYTES} bytes`);
  }

  #part(head: Uint8Array): FormEvent {
    const headers = new Map<string, string>();
    for (const line of new TextDecoder().decode(head).split("\r\n").filter((line) => line !== "")) {
      const colon = line.indexOf(":");
      if (colon < 1) throw new FormFault(`part ${this.#parts} has a header line without a name`);
      headers.set(line.slice(0, colon).toLowerCase(), line.slice(colon + 1).trim());
    }
    const disposition = headers.get("content-disposition") ?? "";
    const name = /^form-data\b.*?;\s*name=(?:"([^"]*)"|([^\s;"]+))/i.exec(disposition);
    if (name === null) {
      throw new FormFault(`part ${this.#parts} has no Content-Disposition: form-data with a name`);
    }
    const encoding = headers.get("content-transfer-encoding") ?? "binary";
    if (!/^(binary|8bit|7bit)$/i.test(encoding)) {
      throw new FormFault(`part ${this.#parts} has a Content-Transfer-Encoding: send the bytes`);
    }
    this.#state = "value";
    const isFile = /;\s*filename\*?=/i.test(disposition);
    return { kind: "part", name: name[1] ?? name[2] ?? "", isFile };
  }

  /** Where the next delimiter begins, or where one may begin that is not complete. */
  #find(input: Uint8Array): { at: number; isWhole: boolean } {
    const delimiter = this.#delimiter;
    for (let at = input.indexOf(0x0d); at >= 0; at = input.indexOf(0x0d, at + 1)) {
      const length = Math.min(delimiter.length, input.length - at);
      let matched = 1;
      while (matched < length && input[at + matched] === delimiter[matched]) matched++;
      if (matched === length) return { at, isWhole: length === delimiter.length };
    }
    return { at: input.length, isWhole: false };
  }
}
