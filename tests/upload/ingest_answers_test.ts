// The pure parts of the ingest client: the meaning of every answer, and the format of times.

import { assert, assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import { formatTimestamp } from "../../src/upload/ingest_client.ts";
import { judge, parseRetryAfter, type Verdict } from "../../src/upload/verdict.ts";

const OK = `{"status":"ok","chunk_id":"c-1"}`;
const answers: [what: string, status: number, body: string, expected: Verdict["kind"]][] = [
  ["200 with status ok", 200, OK, "delivered"],
  ["200 with status ok and a number for an id", 200, `{"status":"ok","chunk_id":7}`, "delivered"],
  ["200 with status ok and no id", 200, `{"status":"ok"}`, "delivered"],
  ["200 with another status", 200, `{"status":"error","chunk_id":"c-1"}`, "retry"],
  ["200 with only an id", 200, `{"chunk_id":"c-1"}`, "retry"],
  ["200 with an empty body", 200, "", "retry"],
  ["200 with a web page", 200, "<html>Welcome</html>", "retry"],
  ["200 with half an object", 200, `{"status": "ok", "chunk_`, "retry"],
  ["200 with an array", 200, `[${OK}]`, "retry"],
  ["200 with null", 200, "null", "retry"],
  ["200 with text", 200, `"ok"`, "retry"],
  ...[201, 202].flatMap((status): [string, number, string, Verdict["kind"]][] => [
    [`${status} with status ok and an id`, status, OK, "delivered"],
    [`${status} with status ok and no id`, status, `{"status":"ok"}`, "retry"],
    [`${status} with an empty id`, status, `{"status":"ok","chunk_id":""}`, "retry"],
    [`${status} with only an id`, status, `{"chunk_id":"c-1"}`, "retry"],
    [`${status} with another status`, status, `{"status":"queued","chunk_id":"c"}`, "retry"],
    [`${status} with an empty body`, status, "", "retry"],
    [`${status} with a web page`, status, "<html>Accepted</html>", "retry"],
  ]),
  ["203 with status ok and an id", 203, OK, "retry"],
  ["204", 204, "", "retry"],
  ["409 with an id", 409, `{"status":"duplicate","chunk_id":"c-1"}`, "delivered"],
  ["409 without an id", 409, `{"status":"error"}`, "retry"],
  ["409 with an empty id", 409, `{"chunk_id":""}`, "retry"],
  ...[408, 425, 429, 500, 501, 502, 503, 504, 507, 599].map((status) =>
    [`${status}`, status, OK, "retry"] as [string, number, string, "retry"]
  ),
  ...[
    300,
    301,
    302,
    303,
    304,
    307,
    308,
    399,
    401,
    403,
    404,
    402,
    405,
    407,
    410,
    411,
    418,
    426,
    431,
    451,
    499,
  ].map(
    (status) =>
      [`${status}`, status, OK, "misconfigured"] as [string, number, string, "misconfigured"],
  ),
  ...[400, 413, 415, 422].map((status) =>
    [`${status}`, status, OK, "refused"] as [string, number, string, "refused"]
  ),
];

for (const [what, status, body, expected] of answers) {
  Deno.test(`an answer ${what} means: ${expected}`, () => {
    const verdict = judge(status, new Headers(), body);
    assertEquals(verdict.kind, expected);
    if (verdict.kind !== "delivered") assertStringIncludes(verdict.reason, String(status));
    if (verdict.kind === "refused") assertEquals(verdict.status, status);
  });
}

function reasonOf(status: number, body: string): string {
  const verdict = judge(status, new Headers(), body);
  return "reason" in verdict ? verdict.reason : "";
}

Deno.test("a reason quotes the answer on one line, truncated", () => {
  assertEquals(
    reasonOf(400, `{\n  "error":  "bad codec"\n}\n`),
    `the server answered 400: { "error": "bad codec" }`,
  );
  assert(reasonOf(500, "x".repeat(60_000)).length < 300);
});

Deno.test("a reason quotes 200 characters of the answer at most", () => {
  const quoted = "the server answered 500: ";
  assertEquals(reasonOf(500, "x".repeat(200)), quoted + "x".repeat(200));
  const reason = reasonOf(500, "x".repeat(201));
  assertStringIncludes(reason, quoted + "x".repeat(199));
  assert(reason.length <= quoted.length + 201, reason);
});

Deno.test("a reason says what to look at: the token, the URL, or what else may have answered", () => {
  const reasons: [statuses: readonly number[], said: RegExp][] = [
    [[401, 403], /: the token is not accepted$/],
    [[300, 301, 308, 399], /the server redirects \(\d+\) to nowhere: .* set ingest_base_url/],
    [[402, 404, 405, 410, 499], /: ingest_base_url is not an Ingest API$/],
    [[200, 204, 299], /: not an answer of the Ingest API \(a captive portal\?\)$/],
    [[400, 408, 413, 425, 429, 500, 503, 599], /^the server answered \d+: x$/],
  ];
  for (const [statuses, said] of reasons) {
    for (const status of statuses) assertMatch(reasonOf(status, "x"), said);
  }
});

Deno.test("429 is about the rate of the requests, 503 perhaps, and nothing else is", () => {
  const rateOf = (status: number) => {
    const verdict = judge(status, new Headers(), "");
    return verdict.kind === "retry" ? verdict.isRate : null;
  };
  assertEquals([rateOf(429), rateOf(503)], ["surely", "perhaps"]);
  for (const status of [200, 204, 408, 409, 425, 500, 502, 504, 599]) {
    assertEquals(rateOf(status), undefined, `${status}`);
  }
});

Deno.test("parseRetryAfter() reads seconds, and a date relative to the server's own clock", () => {
  const wait = (headers: Record<string, string>) => parseRetryAfter(new Headers(headers));
  const date = "Mon, 23 Nov 2026 08:00:00 GMT";
  assertEquals(wait({ "retry-after": "7" }), 7000);
  assertEquals(wait({ "retry-after": "0" }), 0);
  assertEquals(wait({ "retry-after": "Mon, 23 Nov 2026 08:01:30 GMT", date }), 90_000);
  assertEquals(wait({ "retry-after": "Mon, 23 Nov 2026 07:00:00 GMT", date }), 0);
  assertEquals(wait({ "retry-after": "Mon, 23 Nov 2026 08:01:30 GMT" }), null);
  assertEquals(wait({ "retry-after": "soon", date }), null);
  assertEquals(wait({ "retry-after": "", date }), null);
  assertEquals(wait({ date }), null);
  assert((wait({ "retry-after": "9".repeat(400) }) ?? 0) > 1e12);
  // Each form of a date, between clocks that are years off but agree with each other.
  const asctime = { "retry-after": "Sun Nov  6 08:50:07 1994", date: "Sun Nov  6 08:49:37 1994" };
  assertEquals(wait(asctime), 30_000);
  const imf = "Sun, 06 Nov 1994 08:49:37 GMT";
  assertEquals(wait({ "retry-after": "Sunday, 06-Nov-94 08:49:47 GMT", date: imf }), 10_000);
  assertEquals(wait({ "retry-after": "Sun Nov  6 08:49:47 1994", date: imf }), 10_000);
  for (const nonsense of ["-5", "12.5", "Sun 2090", "1e3", "0x10", "7 s", "7, 8"]) {
    assertEquals(wait({ "retry-after": nonsense, date }), null, nonsense);
  }
});

Deno.test("formatTimestamp() gives six digits of fraction, exactly", () => {
  assertEquals(formatTimestamp(1_790_000_000_000_000, "unix"), "1790000000.000000");
  assertEquals(formatTimestamp(1_790_000_000_999_999, "unix"), "1790000000.999999");
  assertEquals(formatTimestamp(1_790_000_000_000_007, "iso8601"), "2026-09-21T14:13:20.000007Z");
});
