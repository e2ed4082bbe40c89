// What an answer of the Ingest API means for the chunk that was sent (docs/reference/protocol.md). Pure: it
// sends nothing, and decides neither when to try again nor where a chunk goes.

import { objectInJson, printable } from "../system/printable.ts";

/** How much of an answer a reason quotes, characters. */
const MAX_EXCERPT = 200;
/** The three forms of RFC 9110, section 5.6.7. Date.parse() alone accepts any number as a year. */
const HTTP_DATE = /^[A-Z][a-z]+,? .*\d\d:\d\d:\d\d( GMT| \d{4})$/;

/** What an answer, or a missing answer, means for the chunk. */
export type Verdict =
  | { readonly kind: "delivered"; readonly chunkId: string | null }
  /** Try again later, and not before `retryAfterMs` if the server asked for a delay. */
  | {
    readonly kind: "retry";
    readonly reason: string;
    readonly retryAfterMs: number | null;
    /** The server may mean the rate of the requests: surely with 429, perhaps with 503. */
    readonly isRate?: "surely" | "perhaps";
  }
  /** The configuration is wrong, and not the chunk. */
  | { readonly kind: "misconfigured"; readonly reason: string }
  /** The server refuses this chunk and would refuse it again. */
  | {
    readonly kind: "refused";
    readonly status: number;
    readonly reason: string;
    /** The URL, the fields that were sent and the beginning of the answer, all without the token. */
    readonly exchange?: Readonly<Record<string, string>>;
  };

/**
 * What an answer means (docs/reference/protocol.md). A status that the page does not list never costs a
 * chunk: any other 2xx does not promise that the chunk is stored, so it is sent again; any other 4xx is a
 * fault of the configuration. Pure.
 * @param hide takes the token out of what is quoted.
 */
export function judge(
  status: number,
  headers: Headers,
  body: string,
  hide = (text: string): string => text,
): Verdict {
  const content = objectInJson(body) ?? {};
  const chunkId = chunkIdOf(content, hide);
  const said = `the server answered ${status}${excerpt(hide(body))}`;
  const isOk = content["status"] === "ok";
  if (status === 200 && isOk) return { kind: "delivered", chunkId };
  // Without both it may only promise to do something later.
  if ([201, 202].includes(status) && isOk && chunkId !== null) {
    return { kind: "delivered", chunkId };
  }
  if (status === 409 && chunkId !== null) return { kind: "delivered", chunkId };
  if (status >= 300 && status < 400) {
    const location = printable(hide(headers.get("location") ?? "nowhere"), MAX_EXCERPT);
    return {
      kind: "misconfigured",
      reason: `the server redirects (${status}) to ${location}: ` +
        `the token is not sent there; set ingest_base_url to the API itself`,
    };
  }
  if (status === 401 || status === 403) {
    return { kind: "misconfigured", reason: `${said}: the token is not accepted` };
  }
  if ([400, 413, 415, 422].includes(status)) return { kind: "refused", status, reason: said };
  if (status >= 400 && status < 500 && ![408, 409, 425, 429].includes(status)) {
    return { kind: "misconfigured", reason: `${said}: ingest_base_url is not an Ingest API` };
  }
  return {
    kind: "retry",
    reason: status < 300 ? `${said}: not an answer of the Ingest API (a captive portal?)` : said,
    retryAfterMs: parseRetryAfter(headers),
    ...(status === 429 ? { isRate: "surely" } : status === 503 ? { isRate: "perhaps" } : {}),
  };
}

/** As `judge`, of an answer that came before the whole request: nobody can have stored the chunk. */
export function judgeEarly(...answer: Parameters<typeof judge>): Verdict {
  const [status] = answer;
  const verdict = judge(...answer);
  if (verdict.kind !== "delivered") return verdict;
  const reason = `the server answered ${status} before it had the whole request`;
  return { kind: "retry", reason, retryAfterMs: null };
}

/**
 * The delay that an answer asks for, milliseconds. The header holds seconds or a date (RFC 9110, section
 * 10.2.3). A date counts from the date of the answer, because the local clock may be wrong. Null if the
 * answer has no valid delay.
 */
export function parseRetryAfter(headers: Headers): number | null {
  const value = headers.get("retry-after")?.trim() ?? "";
  if (/^\d+$/.test(value)) return Number(value) * 1000;
  const waitMs = parseHttpDate(value) - parseHttpDate(headers.get("date") ?? "");
  return Number.isNaN(waitMs) ? null : Math.max(0, waitMs);
}

/** Unix milliseconds; NaN if the text is not an HTTP date. The form without a zone means UTC, too. */
function parseHttpDate(text: string): number {
  if (!HTTP_DATE.test(text)) return NaN;
  return Date.parse(text.endsWith("GMT") ? text : `${text} GMT`);
}

function chunkIdOf(
  content: Record<string, unknown>,
  hide: (text: string) => string,
): string | null {
  const id = content["chunk_id"];
  if (typeof id === "number") return String(id);
  return typeof id === "string" && id !== "" ? printable(hide(id), MAX_EXCERPT) : null;
}

function excerpt(body: string): string {
  const text = printable(body.replaceAll(/\s+/g, " "), MAX_EXCERPT);
  return text === "" ? "" : `: ${text}`;
}
