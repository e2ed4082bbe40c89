// The parser of answers: every form of a correct answer in pieces of every size, every kind of nonsense as a
// clear error, and random damage within bounds.

import { assert, assertEquals, assertMatch, assertThrows } from "@std/assert";
import { type Answer, AnswerReader, BadAnswer } from "../../src/system/answer_reader.ts";
import { seededRandom } from "../fixtures/random.ts";

const bytesOf = (text: string) => Uint8Array.from(text, (letter) => letter.charCodeAt(0));

/** Reads the text in pieces of this size; `ends` closes the connection behind it. */
function read(text: string, { size = Infinity, ends = false, opensTunnel = false } = {}) {
  const reader = new AnswerReader({ opensTunnel });
  const bytes = bytesOf(text);
  for (let at = 0; at < bytes.length; at += size) reader.push(bytes.subarray(at, at + size));
  if (ends) reader.end();
  return reader;
}

const answer = (...lines: string[]) => lines.join("\r\n");

/** What arrives, whether the connection then ends, and what is read. */
const correct: [
  what: string,
  text: string,
  ends: boolean,
  status: number,
  body: string,
  reusable: boolean,
][] = [
  [
    "with a length",
    answer("HTTP/1.1 200 OK", "Content-Length: 2", "", "hi"),
    false,
    200,
    "hi",
    true,
  ],
  ["without a reason", answer("HTTP/1.1 200", "content-length: 0", "", ""), false, 200, "", true],
  [
    "with an empty reason",
    answer("HTTP/1.1 200 ", "content-length: 0", "", ""),
    false,
    200,
    "",
    true,
  ],
  [
    "with UTF-8",
    answer("HTTP/1.1 400 No", "Content-Length: 2", "", "\xc3\xa9"),
    false,
    400,
    "é",
    true,
  ],
  [
    "with bytes that are not UTF-8",
    answer("HTTP/1.1 400 No", "Content-Length: 1", "", "\xff"),
    false,
    400,
    "\ufffd",
    true,
  ],
  [
    "with spaces around a value",
    answer("HTTP/1.1 200 OK", "Content-Length: \t 2 \t", "", "hi"),
    false,
    200,
    "hi",
    true,
  ],
  [
    "with its length twice",
    answer("HTTP/1.1 200 OK", "Content-Length: 2", "Content-Length: 2", "", "hi"),
    false,
    200,
    "hi",
    true,
  ],
  [
    "that closes",
    answer("HTTP/1.1 200 OK", "Connection: x, Close", "Content-Length: 2", "", "hi"),
    false,
    200,
    "hi",
    false,
  ],
  ["up to the end of the connection", answer("HTTP/1.1 502 Bad", "", "hi"), true, 502, "hi", false],
  [
    "of nothing up to the end of the connection",
    answer("HTTP/1.1 502 Bad", "", ""),
    true,
    502,
    "",
    false,
  ],
  [
    "of HTTP/1.0",
    answer("HTTP/1.0 200 OK", "Content-Length: 2", "", "hi"),
    false,
    200,
    "hi",
    false,
  ],
  [
    "of HTTP/1.0 that keeps the connection",
    answer("HTTP/1.0 200 OK", "Connection: Keep-Alive", "Content-Length: 2", "", "hi"),
    false,
    200,
    "hi",
    true,
  ],
  ["204", answer("HTTP/1.1 204 No Content", "", ""), false, 204, "", true],
  [
    "304 with a length, which has no body",
    answer("HTTP/1.1 304 Not Modified", "Content-Length: 9", "", ""),
    false,
    304,
    "",
    true,
  ],
  [
    "after interim answers",
    answer(
      "HTTP/1.1 100 Continue",
      "",
      "HTTP/1.1 103 Early Hints",
      "link: x",
      "",
      "HTTP/1.1 200 OK",
      "Content-Length: 2",
      "",
      "hi",
    ),
    false,
    200,
    "hi",
    true,
  ],
  [
    "in chunks",
    answer(
      "HTTP/1.1 200 OK",
      "Transfer-Encoding: Chunked",
      "",
      "2",
      "hi",
      "0003;ext=1",
      " yo",
      "0",
      "",
      "",
    ),
    false,
    200,
    "hi yo",
    true,
  ],
  [
    "in chunks with trailers",
    answer("HTTP/1.1 200 OK", "Transfer-Encoding: chunked", "", "1", "x", "0", "Digest: y", "", ""),
    false,
    200,
    "x",
    true,
  ],
  [
    "in chunks of no data",
    answer("HTTP/1.1 200 OK", "Transfer-Encoding: chunked", "", "0", "", ""),
    false,
    200,
    "",
    true,
  ],
  // Two readings are possible: the answer counts, the connection does not.
  [
    "in chunks with a length",
    answer(
      "HTTP/1.1 200 OK",
      "Transfer-Encoding: chunked",
      "Content-Length: 9",
      "",
      "1",
      "x",
      "0",
      "",
      "",
    ),
    false,
    200,
    "x",
    false,
  ],
  [
    "in chunks of HTTP/1.0",
    answer(
      "HTTP/1.0 200 OK",
      "Connection: keep-alive",
      "Transfer-Encoding: chunked",
      "",
      "1",
      "x",
      "0",
      "",
      "",
    ),
    false,
    200,
    "x",
    false,
  ],
  ["with bare line feeds", "HTTP/1.1 200 OK\nContent-Length: 2\n\nhi", false, 200, "hi", false],
  [
    "followed by another one",
    answer("HTTP/1.1 200 OK", "Content-Length: 2", "", "hiHTTP/1.1 200 OK"),
    false,
    200,
    "hi",
    false,
  ],
  [
    "204 in chunks",
    answer("HTTP/1.1 204 No", "Transfer-Encoding: chunked", "", ""),
    false,
    204,
    "",
    false,
  ],
];

for (const [what, text, ends, status, body, isReusable] of correct) {
  Deno.test(`an answer ${what} is read, whatever the pieces are`, () => {
    for (const size of [1, 2, 3, 7, 50, Infinity]) {
      const found = read(text, { size, ends }).answer;
      const { headers: _, bytes: __, ...rest } = found ?? { headers: null, bytes: null };
      assertEquals(rest, { status, body, isReusable }, `pieces of ${size}`);
    }
  });
}

Deno.test("an answer is not complete before its last byte", () => {
  for (const [what, text, ends] of correct) {
    const own = what.startsWith("followed") ? text.slice(0, -"HTTP/1.1 200 OK".length) : text;
    for (let size = 0; size < own.length; size++) {
      assertEquals(read(own.slice(0, size)).answer, null, `${what}, ${size} bytes`);
    }
    if (ends) assertEquals(read(own).answer, null, what);
  }
});

Deno.test("headers of one name are joined, and interim headers are forgotten", () => {
  const text = answer(
    ...["HTTP/1.1 103 Early", "x-a: 0", "", "HTTP/1.1 200 OK", "X-A: 1", "x-a: 2", "X-B: \xe9"],
    ...["content-length: 0", "", ""],
  );
  const headers = read(text).answer?.headers;
  assertEquals([headers?.get("x-a"), headers?.get("x-b")], ["1, 2", "\xe9"]);
});

Deno.test("nothing follows the headers of an answer to HEAD, whatever they announce", () => {
  for (const head of ["Content-Length: 5", "Transfer-Encoding: chunked", "X: y"]) {
    for (const status of [200, 404]) {
      const reader = new AnswerReader({ isHead: true });
      reader.push(bytesOf(answer(`HTTP/1.1 ${status} X`, head, "", "")));
      assertEquals([reader.answer?.status, reader.answer?.isReusable], [status, true], head);
      reader.push(bytesOf("HTTP/1.1 200 OK"));
      assertEquals(reader.answer?.isReusable, false);
    }
  }
});

Deno.test("as much of a body is kept as its owner wants, byte for byte", () => {
  const body = String.fromCharCode(...Array.from({ length: 256 }, (_, byte) => byte)).repeat(400);
  const text = answer("HTTP/1.1 200 OK", `Content-Length: ${body.length}`, "", body);
  for (const [maxBodyBytes, isReusable] of [[10, false], [body.length, true]] as const) {
    const reader = new AnswerReader({ maxBodyBytes });
    for (let at = 0; at < text.length; at += 999) reader.push(bytesOf(text.slice(at, at + 999)));
    const found = reader.answer;
    assertEquals(found?.bytes, bytesOf(body.slice(0, maxBodyBytes)));
    assertEquals(found?.isReusable, isReusable);
  }
});

Deno.test("what follows a 2xx answer to CONNECT is not a body; a refusal has one", () => {
  for (const head of ["Content-Length: 5", "Transfer-Encoding: chunked", "X: y"]) {
    const text = answer("HTTP/1.1 200 Connection established", head, "", "");
    assertEquals(read(text, { opensTunnel: true }).answer?.isReusable, true, head);
  }
  const refused = answer("HTTP/1.1 407 No", "Content-Length: 2", "", "no");
  assertEquals(read(refused, { opensTunnel: true }).answer?.body, "no");
  const eager = answer("HTTP/1.1 200 OK", "", "SSH-2.0");
  assertEquals(read(eager, { opensTunnel: true }).answer?.isReusable, false);
});

const head = (line: string) => answer("HTTP/1.1 200 OK", line, "", "");
const nonsense: [what: string, text: string, reason: RegExp][] = [
  ["another protocol", "SSH-2.0-OpenSSH_9.2\r\n", /status: "S/],
  ["another protocol that waits", "SSH", /begin with an HTTP/],
  ["HTML", "<html>", /status: "</],
  ["HTTP/2", "HTTP/2 200\r\n", /"HTTP\/2/],
  ["HTTP/1.2", "HTTP/1.2 200 OK\r\n", /HTTP\/1\.1/],
  ["HTTP/0.9", "hello\n", /HTTP\/1\.1/],
  ["zeros", "\0\0\0\0", /HTTP\/1\.1/],
  ["a status of two digits", "HTTP/1.1 20 OK\r\n", /HTTP\/1\.1 status/],
  ["a status of four digits", "HTTP/1.1 2000 OK\r\n", /HTTP\/1\.1 status/],
  ["a status of 0", "HTTP/1.1 000 OK\r\n", /HTTP\/1\.1 status/],
  ["two spaces before the status", "HTTP/1.1  200 OK\r\n", /HTTP\/1\.1 status/],
  ["a control character in the reason", "HTTP/1.1 200 O\rK\r\n", /HTTP\/1\.1 status/],
  ["a TLS alert", "\x15\x03\x01\x00\x02\x02\x46", /speaks TLS/],
  ["a TLS handshake", "\x16\x03\x03\x00\x02", /speaks TLS/],
  ["nearly a TLS alert", "\x15\x04", /"\?\?"/],
  ["a header without a colon", head("nonsense"), /header that is not valid: "nonsense"/],
  ["a header without a name", head(": x"), /header that is not valid/],
  ["a space before the colon", head("Content-Length : 2"), /header that is not valid/],
  ["a folded header", head("X: 1\r\n 2"), /header that is not valid/],
  ["a control character in a header", head("X: a\0b"), /header that is not valid/],
  ["a bare carriage return in a header", head("X: a\rContent-Length: 2"), /not valid/],
  ["two lengths", head("Content-Length: 2\r\nContent-Length: 3"), /Content-Length "2, 3"/],
  ["a negative length", head("Content-Length: -1"), /Content-Length "-1"/],
  ["a length with a sign", head("Content-Length: +1"), /Content-Length/],
  ["a length in hexadecimal", head("Content-Length: 0x2"), /Content-Length/],
  ["an empty length", head("Content-Length:"), /Content-Length ""/],
  ["a length beyond numbers", head(`Content-Length: ${"9".repeat(30)}`), /Content-Length/],
  ["an unknown coding", head("Transfer-Encoding: gzip"), /transfer coding "gzip"/],
  ["two codings", head("Transfer-Encoding: gzip, chunked"), /transfer coding/],
  ["chunked twice", head("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked"), /coding/],
  ["another protocol on request", answer("HTTP/1.1 101 Switching", "", ""), /another protocol/],
  ["a chunk size of nothing", head("Transfer-Encoding: chunked") + "\r\n", /size ""/],
  ["a negative chunk size", head("Transfer-Encoding: chunked") + "-1\r\n", /size "-1"/],
  ["a chunk size with a sign", head("Transfer-Encoding: chunked") + "+1\r\n", /size "\+1"/],
  ["a huge chunk size", head("Transfer-Encoding: chunked") + "fffffffff\r\n", /size "f/],
  ["a chunk that is too long", head("Transfer-Encoding: chunked") + "1\r\nab\r\n", /wrong size/],
  [
    "a chunk size that does not end",
    head("Transfer-Encoding: chunked") + "0".repeat(300),
    /too long/,
  ],
  ["interim answers alone", answer("HTTP/1.1 100 C", "", "").repeat(9), /interim/],
  ["a header that does not end", head("X: y").slice(0, -2) + "x".repeat(40_000), /32768 bytes/],
  ["too many headers", "HTTP/1.1 200 OK\r\n" + "a: b\r\n".repeat(201), /200 headers/],
  [
    "endless interim headers",
    answer("HTTP/1.1 100 C", "a: " + "x".repeat(8000), "", "").repeat(5),
    /32768/,
  ],
  [
    "too many trailers",
    head("Transfer-Encoding: chunked") + "0\r\n" + "a: b\r\n".repeat(300),
    /200 headers/,
  ],
];

for (const [what, text, reason] of nonsense) {
  Deno.test(`${what} is not an answer, and the error says why`, () => {
    for (const size of [1, 5, Infinity]) {
      const { message } = assertThrows(() => read(text, { size }), BadAnswer);
      assertMatch(message, reason);
      assertMatch(message, /^[\x20-\x7e…]+$/);
    }
  });
}

Deno.test("a connection that ends early is an error, with or without the beginning of an answer", () => {
  assertThrows(() => read("", { ends: true }), BadAnswer, "without an answer");
  for (const text of ["HTTP", "HTTP/1.1 200 OK\r\n", head("Content-Length: 2") + "h"]) {
    assertThrows(() => read(text, { ends: true }), BadAnswer, "middle of an answer");
  }
  const chunked = head("Transfer-Encoding: chunked");
  for (const text of ["", "2\r\nh", "2\r\nhi", "2\r\nhi\r\n", "2\r\nhi\r\n0\r\n"]) {
    assertThrows(() => read(chunked + text, { ends: true }), BadAnswer, "middle of an answer");
  }
});

Deno.test("a body of any length is read up to 64 KiB, and its connection is not used again", () => {
  const texts = [
    head("Content-Length: 5000000000") + "x".repeat(65_537),
    answer("HTTP/1.1 200 OK", "", "") + "x".repeat(70_000),
    head("Transfer-Encoding: chunked") + "1\r\nx\r\n".repeat(65_537),
    head("Transfer-Encoding: chunked") + "11171\r\n" + "x".repeat(70_000),
  ];
  for (const text of texts) {
    const found = read(text, { size: 1000 }).answer;
    assertEquals([found?.body.length, found?.isReusable], [65_536, false]);
  }
  const exact = read(head("Content-Length: 65536") + "x".repeat(65_536)).answer;
  assertEquals([exact?.body.length, exact?.isReusable], [65_536, true]);
});

Deno.test("isStarted tells nothing at all from the first byte", () => {
  assertEquals(new AnswerReader().isStarted, false);
  assertEquals(read("H").isStarted, true);
  assertEquals(read("HTTP/1.1 100 Continue\r\n\r\n").isStarted, true);
});

Deno.test("5000 damaged answers give an answer or a clear error, the same in any pieces", () => {
  const random = seededRandom(20_261_129);
  const pick = (most: number) => Math.floor(random() * most);
  const seen = { read: 0, refused: 0, waiting: 0 };
  for (let run = 0; run < 5000; run++) {
    const bytes = [...correct[pick(correct.length)]?.[1] ?? ""].map((c) => c.charCodeAt(0));
    for (let change = 0; change <= pick(3); change++) {
      const at = pick(bytes.length);
      const odd = [0, 10, 13, 32, 58, 48, 255, pick(256)][pick(8)] ?? 0;
      if (random() < 0.4) bytes[at] = odd;
      else if (random() < 0.5) bytes.splice(at, 1 + pick(4));
      else bytes.splice(at, 0, odd);
    }
    const text = String.fromCharCode(...bytes);
    const outcome = (size: number): string => {
      try {
        const found: Answer | null = read(text, { size }).answer;
        if (found === null) return "waiting";
        assert(found.status >= 100 && found.status <= 999 && found.body.length <= 65_536);
        return JSON.stringify([found.status, found.body, found.isReusable, [...found.headers]]);
      } catch (error) {
        assert(error instanceof BadAnswer, String(error));
        assertMatch(error.message, /^[\x20-\x7e…]{10,200}$/);
        return "refused";
      }
    };
    const whole = outcome(Infinity);
    // More bytes than an answer are noticed with it or after it.
    assertEquals(outcome(1), whole, JSON.stringify(text));
    assertEquals(outcome(1 + pick(20)), whole, JSON.stringify(text));
    seen[whole === "refused" || whole === "waiting" ? whole : "read"]++;
  }
  assert(Math.min(...Object.values(seen)) > 300, JSON.stringify(seen));
});
