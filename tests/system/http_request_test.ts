// The head of a request: what is understood, what is refused, and that no bytes at all do harm.

import { assert, assertEquals } from "@std/assert";
import { type Head, MAX_HEAD_BYTES, parseHead } from "../../src/system/http_request.ts";
import { mutateBytes } from "../fixtures/mutations.ts";
import { seededRandom } from "../fixtures/random.ts";

const bytes = (text: string) => Uint8Array.from(text, (character) => character.charCodeAt(0));
const parse = (text: string): Head => parseHead(bytes(text));
const GOOD = "GET /health?x=1 HTTP/1.1\r\nHost: localhost\r\nAccept: */*\r\naccept: a/b\r\n\r\n";

Deno.test("a head gives method, path, headers and its length", () => {
  const head = parse(`${GOOD}GET /next`);
  assert(head.kind === "request");
  assertEquals(head.length, GOOD.length);
  const { headers, ...request } = head.request;
  assertEquals(request, { method: "GET", path: "/health", isKeptAlive: true });
  assertEquals([...headers], [["host", "localhost"], ["accept", "*/*, a/b"]]);
});

Deno.test("a whole URL as the target of a request replaces its host", () => {
  const targets: readonly (readonly [target: string, path: string, host: string])[] = [
    ["http://localhost:8042/health?x=1", "/health", "localhost:8042"],
    ["HTTP://[::1]:8042/", "/", "[::1]:8042"],
    ["https://evil.example", "/", "evil.example"],
    ["http://evil.example?x", "/", "evil.example"],
    ["/http://localhost/", "/http://localhost/", "a"],
  ];
  for (const [target, path, host] of targets) {
    const head = parse(`GET ${target} HTTP/1.1\r\nhost: a\r\n\r\n`);
    assert(head.kind === "request", target);
    assertEquals([head.request.path, head.request.headers.get("host")], [path, host], target);
  }
});

Deno.test("the beginning of a head is incomplete at every length", () => {
  for (let length = 0; length < GOOD.length; length++) {
    assertEquals(parse(GOOD.slice(0, length)).kind, "incomplete", `${length}`);
  }
});

Deno.test("what is not well formed is refused, never guessed", () => {
  const head = (line: string) => `GET / HTTP/1.1\r\nhost: localhost\r\n${line}\r\n\r\n`;
  const refused: readonly (readonly [text: string, status: number])[] = [
    ["GET / HTTP/1.1\nhost: localhost\n\r\n\r\n", 400],
    ["GET  / HTTP/1.1\r\nhost: a\r\n\r\n", 400],
    ["GET /a b HTTP/1.1\r\nhost: a\r\n\r\n", 400],
    ["GET localhost/ HTTP/1.1\r\nhost: a\r\n\r\n", 400],
    ["GET http:///health HTTP/1.1\r\nhost: a\r\n\r\n", 400],
    ["GET ftp://localhost/ HTTP/1.1\r\nhost: a\r\n\r\n", 400],
    ["GET http://user@localhost/ HTTP/1.1\r\nhost: a\r\n\r\n", 400],
    ["GET http://localhost/ HTTP/1.1\r\n\r\n", 400],
    ["GET ?a HTTP/1.1\r\nhost: a\r\n\r\n", 400],
    ["OPTIONS * HTTP/1.1\r\nhost: a\r\n\r\n", 400],
    ["CONNECT localhost:22 HTTP/1.1\r\nhost: a\r\n\r\n", 400],
    ["GET /\r\n\r\n", 400],
    ["\r\n\r\n\r\n\r\n", 400],
    ["G\u00e9T / HTTP/1.1\r\nhost: a\r\n\r\n", 400],
    ["GET /\x00 HTTP/1.1\r\nhost: a\r\n\r\n", 400],
    ["GET / HTTP/1.1\r\n\r\n", 400],
    ["PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505],
    ["GET / HTTP/2.0\r\nhost: a\r\n\r\n", 505],
    ["\x16\x03\x01\x02\x00\x01", 400], // TLS
    ["\x80\x2e", 400],
    [head("a b: c"), 400],
    [head("a : c"), 400],
    [head(": c"), 400],
    [head(" folded"), 400],
    [head("a: b\0c"), 400],
    [head("a: b\rc"), 400],
    [head("a: b\x1b]0;c\x07"), 400],
    [head("host: other"), 400],
    [head("content-length: 1\r\ncontent-length: 1"), 400],
    [head("content-length: -1"), 400],
    [head("content-length: 1, 1"), 400],
    [head("content-length: 99999999999999999999"), 400],
    [head(Array.from({ length: 64 }, (_, i) => `a${i}: b`).join("\r\n")), 431],
    // Not complete, and looked at again with every byte that comes.
    ["G" + "\n".repeat(67), 431],
    [`GET / HTTP/1.1\r\n${"a: b\r\n".repeat(65)}`, 431],
    [head(`a: ${"b".repeat(MAX_HEAD_BYTES)}`), 431],
    [`GET /${"a".repeat(MAX_HEAD_BYTES)}`, 431],
  ];
  for (const [text, status] of refused) {
    const head = parse(text);
    assertEquals<unknown>(
      head.kind === "refused" ? head.status : head.kind,
      status,
      JSON.stringify(text),
    );
  }
});

Deno.test("a head says whether the client keeps the connection", () => {
  const look = (version: string, line = "x: y") => {
    const head = parse(`POST / HTTP/${version}\r\nhost: localhost\r\n${line}\r\n\r\n`);
    return head.kind === "request" ? head.request.isKeptAlive : head.kind;
  };
  assertEquals(look("1.1"), true);
  assertEquals(look("1.0"), false);
  assertEquals(look("1.1", "connection: Keep-Alive, Close"), false);
  assertEquals(look("1.1", "connection: close\r\ncontent-length: 5"), false);
});

Deno.test("no mutation of a request throws, and what is accepted is well formed", () => {
  const random = seededRandom(7);
  const seeds = [
    GOOD,
    "HEAD / HTTP/1.0\r\n\r\n",
    "POST /a HTTP/1.1\r\nhost: a\r\ncontent-length: 9\r\n\r\n",
  ];
  const kinds = new Set<string>();
  for (let run = 0; run < 20_000; run++) {
    const head = parseHead(mutateBytes(bytes(seeds[run % seeds.length] ?? ""), random));
    kinds.add(head.kind);
    if (head.kind !== "request") continue;
    assert(head.length <= MAX_HEAD_BYTES);
    assert(head.request.path.startsWith("/"));
    // deno-lint-ignore no-control-regex -- what must not be there
    const control = /[\x00-\x08\x0a-\x1f\x7f]/;
    for (const [name, value] of head.request.headers) {
      assert(!control.test(name + value + head.request.path + head.request.method));
    }
  }
  assertEquals([...kinds].sort(), ["incomplete", "refused", "request"]);
});
