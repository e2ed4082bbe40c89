// What an HTTP/1.1 server says, as bytes (RFC 9112). It decides nothing about the answer, and writes nothing.
// Pure: the time is an argument.

import { concatBytes } from "./concat_bytes.ts";

const REASONS: Readonly<Record<number, string>> = {
  200: "OK",
  400: "Bad Request",
  401: "Unauthorized",
  403: "Forbidden",
  404: "Not Found",
  405: "Method Not Allowed",
  408: "Request Timeout",
  413: "Content Too Large",
  415: "Unsupported Media Type",
  422: "Unprocessable Content",
  429: "Too Many Requests",
  431: "Request Header Fields Too Large",
  500: "Internal Server Error",
  501: "Not Implemented",
  503: "Service Unavailable",
  505: "HTTP Version Not Supported",
  507: "Insufficient Storage",
};

export interface HttpAnswer<Body = string | ReadableStream<Uint8Array>> {
  readonly status: number;
  /** Nothing that came from outside. */
  readonly headers: Readonly<Record<string, string>>;
  /** HEAD gets none of it. */
  readonly body: Body;
  /** Called once when it was sent, or cannot be sent any more. */
  readonly onEnd?: () => void;
}

/** The head of the answer; after it a text, unless the request was HEAD. A stream follows by itself. */
export function encodeAnswer(
  { status, headers, body }: HttpAnswer,
  { unixMs, isHead, isLast }: { unixMs: number; isHead: boolean; isLast: boolean },
): Uint8Array {
  const encoder = new TextEncoder();
  const content = typeof body === "string" ? encoder.encode(body) : null;
  const lines = [
    `HTTP/1.1 ${status} ${REASONS[status] ?? ""}`,
    `date: ${new Date(unixMs).toUTCString()}`,
    ...Object.entries(headers).map(([name, value]) => `${name}: ${value}`),
    ...(content === null ? [] : [`content-length: ${content.length}`]),
    ...(isLast ? ["connection: close"] : []),
  ];
  const head = encoder.encode(lines.join("\r\n") + "\r\n\r\n");
  return isHead || content === null ? head : concatBytes([head, content]);
}
