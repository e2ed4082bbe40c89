// What the answers to the probes of `check` say: whether the API itself has answered, whether it accepts
// the token, and whether a request as large as a chunk gets through. Anything else that may answer on the
// way (a web server in front, a proxy, a captive portal) is named. Pure: server_probe.ts sends the probes.
//
// No probe has the form of a chunk, so even the API refuses it. What proves that the API has answered is
// the difference between two requests that differ in nothing but their token: a wrong one is answered 401
// or 403, the right one is not. Without that difference, only an answer in JSON counts. docs/reference/
// command-line.md has the rule.

import { objectInJson, printable } from "../system/printable.ts";
import { judge } from "../upload/verdict.ts";
import { failed, type Finding, ok, warning } from "./finding.ts";

/** An answer to a probe, without the token. */
export interface ProbeAnswer {
  readonly status: number;
  readonly headers: Headers;
  readonly body: string;
}

const SEND_A_CHUNK =
  "recorder-agent check --send-test-chunk delivers a second of silence and shows";
const COMPARE =
  "Compare ingest_base_url and the token with those from the operator of the Ingest API";
const LATER = "There are too many requests at present: run it again later";
const MAX_QUOTE = 160;

/** How programs that stand before an API sign the pages that they make themselves. */
const FRONTS: readonly (readonly [name: string, signs: (answer: ProbeAnswer) => boolean])[] = [
  ["nginx", ({ body }) => /<center>(nginx|openresty|tengine)\b/i.test(body)],
  ["an AWS load balancer", ({ body }) => /<center>awselb/i.test(body)],
  ["squid", ({ headers }) => headers.has("x-squid-error")],
  [
    "Cloudflare",
    ({ headers, body }) =>
      /^cloudflare/i.test(headers.get("server") ?? "") && /cloudflare/i.test(body),
  ],
  ["Varnish", ({ body }) => /Guru Meditation/.test(body)],
  ["Apache", ({ headers, body }) =>
    /<address>Apache/i.test(body) ||
    (/^Apache/i.test(headers.get("server") ?? "") && /^<!DOCTYPE HTML PUBLIC/i.test(body))],
  ["HAProxy", ({ body }) => /^<html><body><h1>\d{3} [^<]*<\/h1>\n/.test(body)],
  [
    "IIS",
    ({ headers, body }) =>
      /^Microsoft-(IIS|HTTPAPI)/i.test(headers.get("server") ?? "") && isPage(body),
  ],
];

/** Answers that name their own cause: what is wrong, and how to fix it. */
const TELLING: readonly (readonly [said: RegExp, what: string, fix: string])[] = [
  [
    /plain HTTP request was sent to HTTPS port|speaking plain HTTP to an SSL-enabled server/i,
    "this port speaks TLS, and ingest_base_url does not",
    "Use https:// in ingest_base_url",
  ],
  [
    /No required SSL certificate was sent/i,
    "it requires a client certificate",
    "Set tls_client_cert_file and tls_client_key_file",
  ],
  [
    /The SSL certificate error/i,
    "it does not accept the client certificate",
    "Check tls_client_cert_file: its authority and its dates",
  ],
];

/** Whether the API has answered, and whether it accepts the token if that can be said. */
export function judgeToken(wrong: ProbeAnswer, right: ProbeAnswer): Finding[] {
  const foreign = explainForeign(right);
  if (foreign !== null) return [foreign];
  const isRefused = ({ status }: ProbeAnswer) => status === 401 || status === 403;
  if (isRefused(right)) {
    return [
      ok("api", `answers ${right.status}`),
      failed("token", `is not accepted: ${sayAnswer(right)}`, COMPARE),
    ];
  }
  if (isRefused(wrong)) {
    const difference = `answers ${wrong.status} to a wrong token and ${right.status} to this one`;
    return [ok("api", difference), ok("token", "is accepted")];
  }
  if (judge(right.status, right.headers, right.body).kind === "delivered") {
    return [warning(
      "api",
      "the server accepts a request without a chunk, with any token",
      "Ask the operator of the server whether this is the Ingest API",
    )];
  }
  const same = `the server answers ${right.status} to any token${quote(right)}`;
  if (objectInJson(right.body) === null) {
    return [warning("api", `who answers is not certain: ${same}`, `${SEND_A_CHUNK} it`)];
  }
  return [
    ok("api", `answers ${right.status} in JSON`),
    warning("token", same, `${SEND_A_CHUNK} whether this one is accepted`),
  ];
}

/** The same request as large as a chunk: is it answered like the small one? */
export function judgeSize(small: ProbeAnswer, large: ProbeAnswer, sizeBytes: number): Finding {
  const size = sayBytes(sizeBytes);
  if (large.status === 413) return tooLarge(large, size);
  if (isBusy(large)) return warning("size", sayAnswer(large), LATER);
  return large.status === small.status ? ok("size", `a request of ${size} passes`) : failed(
    "size",
    `a request of ${size} gets another answer than a small one: ${sayAnswer(large)}`,
    "Ask the operator of the server which limits apply to requests of this size",
  );
}

/** Whether the server has no time at present: nginx answers 503 to too many requests, others 429. */
export function isBusy({ status }: ProbeAnswer): boolean {
  return status === 429 || status === 503;
}

/** Bytes in the unit that server configurations use. */
export function sayBytes(bytes: number): string {
  return bytes < 1024 * 1024
    ? `${Math.ceil(bytes / 1024)} kB`
    : `${(bytes / 1024 / 1024).toFixed(1)} MB`;
}

/** What is wrong if this is certainly not an answer of the API, else null. */
function explainForeign(answer: ProbeAnswer): Finding | null {
  const { status, headers, body } = answer;
  const front = frontOf(answer);
  const told = TELLING.find(([said]) => said.test(body));
  if (told !== undefined) {
    const [, what, fix] = told;
    return failed("api", `${front ?? "a web server"} answers ${status}: ${what}`, fix);
  }
  if (status >= 300 && status < 400) {
    return failed(
      "api",
      `the server redirects (${status}) to ${
        excerpt(headers.get("location") ?? "nowhere")
      }: the token is ` +
        "not sent there",
      "Set ingest_base_url to the address of the API itself",
    );
  }
  if (status === 413) return tooLarge(answer, "less than 2 kB");
  if (status === 429) return warning("api", sayAnswer(answer), LATER);
  if (status >= 200 && status < 300 && judge(status, headers, body).kind !== "delivered") {
    return failed(
      "api",
      `${sayAnswer(answer)}: this is not an answer of the Ingest API (a captive portal?)`,
      "Open a web page in this network with a browser, and check ingest_base_url",
    );
  }
  if ([502, 503, 504].includes(status)) {
    return failed(
      "api",
      `${sayAnswer(answer)}: the API behind it does not work at present`,
      "Wait, or ask the operator of the server; chunks wait meanwhile",
    );
  }
  if ([404, 405, 410, 421].includes(status)) {
    return failed(
      "api",
      `${sayAnswer(answer)}: there is no Ingest API at this address`,
      "Check the name and the path in ingest_base_url",
    );
  }
  if (front === null || status === 401) return null;
  return failed(
    "api",
    `${sayAnswer(answer)}: the Ingest API has not been asked`,
    front === "squid"
      ? "Ask who runs the proxy to let requests to this server pass"
      : `Ask the operator of the server why ${front} refuses the request`,
  );
}

function tooLarge(answer: ProbeAnswer, size: string): Finding {
  const front = frontOf(answer);
  const limit = front === "nginx"
    ? "client_max_body_size of nginx"
    : front === "Apache"
    ? "LimitRequestBody of Apache"
    : "the size limit for requests (nginx: client_max_body_size)";
  return failed(
    "size",
    `a request of ${size} is too large for ${front ?? "the server"} (413)`,
    `Raise ${limit} on the server above the size of a chunk; a smaller chunk_seconds makes smaller ` +
      "chunks",
  );
}

function frontOf(answer: ProbeAnswer): string | null {
  return FRONTS.find(([, signs]) => signs(answer))?.[0] ?? null;
}

/** `nginx answers 403: Forbidden` */
function sayAnswer(answer: ProbeAnswer): string {
  return `${frontOf(answer) ?? "the server"} answers ${answer.status}${quote(answer)}`;
}

/** The title of a page, or the beginning of the text. */
function quote({ body }: ProbeAnswer): string {
  const title = isPage(body) ? /<(title|h1)[^>]*>([^<]+)</i.exec(body)?.[2] : undefined;
  const text = excerpt(title ?? body);
  return text === "" ? ", without a text" : `: ${text}`;
}

function isPage(body: string): boolean {
  return /^\s*</.test(body);
}

/** The beginning, on one line: a terminal shows it. */
function excerpt(text: string): string {
  return printable(text.replaceAll(/\s+/g, " "), MAX_QUOTE);
}
