// Reads the head of an HTTP/1.1 request (RFC 9112), strictly: what is not well formed is refused, never
// guessed. It reads no bodies, decides nothing about the answer, and knows no connection. Pure.

import { listIn, splitHeaderLine } from "./header_line.ts";

/** A head may be this long, its line feeds included. */
export const MAX_HEAD_BYTES = 8192;
const MAX_HEADERS = 64;
const TOO_MANY = `more than ${MAX_HEADERS} header lines`;

/** `token` of RFC 9110, section 5.6.2. */
const TOKEN = "[!#$%&'*+.^_`|~0-9A-Za-z-]+";
const REQUEST_LINE = new RegExp(`^(${TOKEN}) ([!-~]+) HTTP/(\\d)\\.(\\d)$`);
/** Origin form, or absolute form with its authority (RFC 9112, section 3.2). */
const TARGET = /^(?:https?:\/\/(?<host>[\w.:[\]%~-]+)(?=[/?]|$))?(?<path>[/?][!-~]*)?$/i;
// deno-lint-ignore no-control-regex -- RFC 9110, section 5.5: a value has no control characters but tabs
const VALUE = /^[^\x00-\x08\x0a-\x1f\x7f]*$/;
/** Two values of these would be two messages in one. */
const SINGLE = ["host", "content-length", "transfer-encoding"];

export interface HttpRequest {
  /** As it was sent, for instance `GET`; methods are case-sensitive. */
  readonly method: string;
  /** Without the query. It begins with a slash and is not decoded. */
  readonly path: string;
  /** By lower-case name; values of one name are joined with commas. */
  readonly headers: ReadonlyMap<string, string>;
  /** Whether the client may send another request over this connection. */
  readonly isKeptAlive: boolean;
}

/** What the first bytes of a connection are. */
export type Head =
  | { readonly kind: "incomplete" }
  | { readonly kind: "refused"; readonly status: 400 | 431 | 505; readonly reason: string }
  /** `length`: the number of bytes of the head. */
  | { readonly kind: "request"; readonly request: HttpRequest; readonly length: number };

/** Reads the head at the beginning of `bytes`. */
export function parseHead(bytes: Uint8Array): Head {
  const length = headLength(bytes);
  if (length === "too many lines") return refused(431, TOO_MANY);
  if (length === null) {
    if (bytes.length >= MAX_HEAD_BYTES) return refused(431, "the head is longer than 8 KiB");
    // What speaks TLS to this port is told so at once, not after a time limit.
    const [first = 0x47] = bytes;
    return first > 0x20 && first < 0x7f ? { kind: "incomplete" } : refused(400, "not HTTP");
  }
  if (length > MAX_HEAD_BYTES) return refused(431, "the head is longer than 8 KiB");
  // Latin-1, of which every byte is a character: no text is malformed.
  const text = String.fromCharCode(...bytes.subarray(0, length - 4));
  const [requestLine = "", ...lines] = text.split("\r\n");
  const [, method, form = "", major, minor] = REQUEST_LINE.exec(requestLine) ?? [];
  const { host, path: target = "/" } = TARGET.exec(form)?.groups ?? {};
  if (method === undefined || (host === undefined && !form.startsWith("/"))) {
    return / HTTP\/[02-9]\.\d$/.test(requestLine)
      ? refused(505, "only HTTP/1.1 is spoken")
      : refused(400, "malformed request line");
  }
  if (major !== "1") return refused(505, "only HTTP/1.1 is spoken");
  if (lines.length > MAX_HEADERS) return refused(431, TOO_MANY);
  const headers = new Map<string, string>();
  for (const line of lines) {
    const [name, value] = splitHeaderLine(line) ?? ["", ""];
    if (name === "" || !VALUE.test(value)) return refused(400, "malformed header line");
    const key = name.toLowerCase();
    const before = headers.get(key);
    if (before !== undefined && SINGLE.includes(key)) return refused(400, `two values of ${key}`);
    headers.set(key, before === undefined ? value : `${before}, ${value}`);
  }
  if (minor !== "0" && !headers.has("host")) return refused(400, "no host");
  // The authority of an absolute form replaces it (RFC 9112, section 3.2.2).
  if (host !== undefined) headers.set("host", host);
  const size = headers.get("content-length") ?? "0";
  if (!/^\d{1,15}$/.test(size)) return refused(400, "malformed content-length");
  const wishes = listIn(headers.get("connection"));
  const path = target.split(/[?#]/, 1)[0] || "/";
  const isKeptAlive = minor !== "0" && !wishes.includes("close");
  return { kind: "request", request: { method, path, headers, isKeptAlive }, length };
}

/**
 * The number of bytes up to the first empty line, that line included; null if it is not there yet. A head that
 * comes byte by byte is looked at each time: so no more lines are looked at than it may have.
 */
function headLength(bytes: Uint8Array): number | null | "too many lines" {
  let lines = 0;
  for (let at = bytes.indexOf(0x0a); at >= 0; at = bytes.indexOf(0x0a, at + 1)) {
    if (bytes[at - 1] === 0x0d && bytes[at - 2] === 0x0a && bytes[at - 3] === 0x0d) return at + 1;
    if (++lines > MAX_HEADERS + 1) return "too many lines";
  }
  return null;
}

function refused(status: 400 | 431 | 505, reason: string): Head {
  return { kind: "refused", status, reason };
}
