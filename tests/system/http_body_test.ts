// The body reader against lengths, chunks, and what is neither.

import { assertEquals, assertThrows } from "@std/assert";
import { BodyFault, BodyReader } from "../../src/system/http_body.ts";
import { parseHead } from "../../src/system/http_request.ts";
import { mutateBytes } from "../fixtures/mutations.ts";
import { seededRandom } from "../fixtures/random.ts";

function request(...lines: string[]) {
  const head = parseHead(
    new TextEncoder().encode(["POST / HTTP/1.1", "host: a", ...lines, "", ""].join("\r\n")),
  );
  if (head.kind !== "request") throw new Error(head.kind);
  return head.request;
}

/** The body and what follows it; "…" for a body that has not ended. */
function read(lines: string[], input: Uint8Array | string, size = 1_000_000, max = 1000) {
  const all = typeof input === "string" ? new TextEncoder().encode(input) : input;
  const reader = new BodyReader(request(...lines), max);
  let [body, start] = ["", 0];
  for (let end = Math.min(size, all.length);; end = Math.min(all.length, end + size)) {
    for (let step; (step = reader.step(all.subarray(start, end))) !== null; start += step.used) {
      body += String.fromCharCode(...step.data);
    }
    if (reader.hasEnded) return [body, String.fromCharCode(...all.subarray(start))];
    if (end === all.length) return [body, "…"];
  }
}

const CHUNKED = "transfer-encoding: chunked";

Deno.test("a body ends where its length or its last chunk says", () => {
  for (const size of [1, 2, 5, 100]) {
    assertEquals(read(["content-length: 5"], "helloGET", size), ["hello", "GET"]);
    assertEquals(read([], "GET", size), ["", "GET"]);
    assertEquals(read(["content-length: 0"], "GET", size), ["", "GET"]);
    assertEquals(read(["content-length: 9"], "hello", size), ["hello", "…"]);
    const chunks = "5;a=b\r\nhello\r\n0A \r\n, world!!!\r\n0\r\nX: y\r\n\r\nGET";
    assertEquals(read([CHUNKED], chunks, size), ["hello, world!!!", "GET"]);
    assertEquals(read([CHUNKED], "5\r\nhello\r\n", size), ["hello", "…"]);
  }
});

Deno.test("a body that two readers could read in two ways, or that is too large, is refused", () => {
  const refused: [string[], string, number][] = [
    [[CHUNKED, "content-length: 5"], "", 400],
    [["transfer-encoding: gzip, chunked"], "", 501],
    [["content-length: 1001"], "", 413],
    [[CHUNKED], "3e9\r\n", 413],
    [[CHUNKED], "5\r\nhello0\r\n\r\n", 400],
    [[CHUNKED], "5\r\nhello\rX0\r\n\r\n", 400],
    [[CHUNKED], "5\r\nhelloX\n0\r\n\r\n", 400],
    [[CHUNKED], "5\r\nhello\n\r0\r\n\r\n", 400],
    [[CHUNKED], "5\nhello", 400],
    [[CHUNKED], "\n", 400],
    [[CHUNKED], "0\r\n\n", 400],
    [[CHUNKED], "0x5\r\nhello\r\n", 400],
    [[CHUNKED], "-5\r\n", 400],
    [[CHUNKED], "\r\n", 400],
    [[CHUNKED], "123456789\r\n", 400],
    [[CHUNKED], `5;${"x".repeat(2000)}`, 400],
    [[CHUNKED], `0\r\n${"X: y\r\n".repeat(1000)}`, 400],
  ];
  for (const [lines, input, status] of refused) {
    for (const size of [1, 1_000_000]) {
      const error = assertThrows(() => read(lines, input, size), BodyFault);
      assertEquals(error.status, status, input.slice(0, 40));
    }
  }
});

Deno.test("a body may be as large as the limit, and not a byte larger, by its length or by all its chunks", () => {
  const body = "x".repeat(1000);
  const max = `3e7\r\n${body.slice(1)}\r\n1\r\nx\r\n0\r\n\r\n`;
  for (const size of [7, 10_000]) {
    assertEquals(read(["content-length: 1000"], `${body}GET`, size), [body, "GET"]);
    assertEquals(read([CHUNKED], `3e8\r\n${body}\r\n0\r\n\r\nGET`, size), [body, "GET"]);
    assertEquals(read([CHUNKED], `${max}GET`, size), [body, "GET"]);
    const larger = max.replace("\r\n1\r\nx", "\r\n2\r\nxx");
    const error = assertThrows(() => read([CHUNKED], larger, size), BodyFault);
    assertEquals([error.status, error.message], [413, "the body is larger than 1000 bytes"]);
    assertEquals(read(["content-length: 0"], "GET", size, 0), ["", "GET"]);
    assertEquals(read([CHUNKED], "0\r\n\r\nGET", size, 0), ["", "GET"]);
  }
});

Deno.test("the line before a chunk with its end, and all trailers together, have at most 1024 bytes", () => {
  const line = (length: number) => `5;${"x".repeat(length - 4)}\r\n`;
  const trailers = (length: number) =>
    `${`X: ${"y".repeat(253)}\r\n`.repeat(3)}${"z".repeat(length)}\r\n`;
  for (const size of [5, 10_000]) {
    assertEquals(read([CHUNKED], `${line(1024)}hello\r\n0\r\n\r\n`, size), ["hello", ""]);
    assertEquals(read([CHUNKED], `0\r\n${trailers(256)}\r\nGET`, size), ["", "GET"]);
    for (const input of [line(1025), line(1024).slice(0, -1) + "x", `0\r\n${trailers(257)}`]) {
      assertEquals(assertThrows(() => read([CHUNKED], input, size), BodyFault).status, 400);
    }
  }
});

Deno.test("no mutation of a chunked body does anything but be read or be refused", () => {
  const random = seededRandom(5);
  const seed = new TextEncoder().encode("5;a=b\r\nhello\r\n0a\r\n, world!!!\r\n0\r\nX: y\r\n\r\n");
  const outcomes = new Set<string>();
  for (let run = 0; run < 2000; run++) {
    const input = mutateBytes(seed, random);
    const outcome = (size: number) => {
      try {
        return JSON.stringify(read([CHUNKED], input, size));
      } catch (error) {
        if (error instanceof BodyFault) return `refused ${error.status}`;
        throw error;
      }
    };
    const whole = outcome(input.length + 1);
    assertEquals(outcome(3), whole);
    outcomes.add(whole.startsWith("refused") ? whole : "read");
  }
  assertEquals([...outcomes].sort(), ["read", "refused 400", "refused 413"]);
});
