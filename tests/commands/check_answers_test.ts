// What `check` concludes from answers to its probes. The bodies are those of the real programs, as
// tests/servers meets them.

import { assert, assertEquals, assertMatch } from "@std/assert";
import { judgeSize, judgeToken, type ProbeAnswer } from "../../src/commands/check_answers.ts";

function answer(
  status: number,
  body = "",
  headers: Record<string, string> = {},
): ProbeAnswer {
  return { status, body, headers: new Headers(headers) };
}

const nginx = (title: string) =>
  `<html>\r\n<head><title>${title}</title></head>\r\n<body>\r\n<center><h1>${title}</h1></center>\r\n` +
  "<hr><center>nginx/1.22.1</center>\r\n</body>\r\n</html>\r\n";
const apache = '<!DOCTYPE HTML PUBLIC "-//W3C//DTD HTML 4.01//EN"><title>403 Forbidden</title>';
const haproxy =
  "<html><body><h1>403 Forbidden</h1>\nRequest forbidden by administrative rules.\n</body></html>";
const flask =
  "<!doctype html>\n<html lang=en>\n<title>400 Bad Request</title>\n<h1>Bad Request</h1>";
const multer = '<!DOCTYPE html>\n<html lang="en"><pre>MulterError: Unexpected field</pre></html>';

/** What is found, as "name verdict". */
function verdicts(wrong: ProbeAnswer, right: ProbeAnswer): string[] {
  return judgeToken(wrong, right).map(({ name, verdict }) => `${name} ${verdict}`);
}

Deno.test("whatever an API answers, a wrong token that alone is refused shows that it is the API", () => {
  const refusals = [answer(401, '{"detail":"Invalid token"}'), answer(401, flask), answer(403)];
  const answers = [
    answer(422, '{"detail":[{"loc":["body","chunk_file"]}]}'),
    answer(400, flask),
    answer(400, "http: no such file\n"),
    answer(400),
    answer(500, multer),
    answer(200, '{"status":"ok","chunk_id":"1"}'),
  ];
  for (const wrong of refusals) {
    for (const right of answers) assertEquals(verdicts(wrong, right), ["api ok", "token ok"]);
  }
});

Deno.test("a token that is refused is the token's fault", () => {
  // nginx asks the API for each request (auth_request), and answers itself.
  const page = answer(401, nginx("401 Authorization Required"));
  assertEquals(verdicts(page, page), ["api ok", "token failed"]);
  for (const status of [401, 403]) {
    const refused = answer(status, '{"error":"invalid token"}');
    const [api, token] = judgeToken(refused, refused);
    assertEquals([api?.verdict, token?.verdict], ["ok", "failed"]);
    assertMatch(token?.message ?? "", new RegExp(`answers ${status}: {"error":"invalid token"}`));
  }
});

Deno.test("an answer that is the same for every token counts only if it is JSON, and then not the token", () => {
  const json = answer(422, '{"detail":"no chunk_file"}');
  assertEquals(verdicts(json, json), ["api ok", "token warning"]);
  for (const body of ["", "Bad Request", flask]) {
    assertEquals(verdicts(answer(400, body), answer(400, body)), ["api warning"], body);
  }
  const all = answer(200, '{"status":"ok","chunk_id":"1"}');
  assertEquals(verdicts(all, all), ["api warning"]);
});

Deno.test("a page of a server on the way is named, and is never an answer of the API", () => {
  const pages: [ProbeAnswer, who: RegExp][] = [
    [answer(400, nginx("400 Bad Request")), /^nginx answers 400: 400 Bad Request/],
    [answer(403, nginx("403 Forbidden")), /^nginx answers 403/],
    [answer(403, apache, { server: "Apache/2.4.71 (Debian)" }), /^Apache answers 403/],
    [answer(403, haproxy), /^HAProxy answers 403: 403 Forbidden/],
    [
      answer(403, "<html></html>", { "x-squid-error": "ERR_ACCESS_DENIED 0" }),
      /^squid answers 403/,
    ],
    [answer(403, "<p>cloudflare</p>", { server: "cloudflare" }), /^Cloudflare answers 403/],
    [answer(500, nginx("500 Internal Server Error")), /^nginx answers 500/],
  ];
  for (const [page, who] of pages) {
    const [found, ...more] = judgeToken(page, page);
    assertEquals([found?.name, found?.verdict, more], ["api", "failed", []]);
    assertMatch(found?.message ?? "", who);
    assert(found?.fix);
  }
});

Deno.test("an answer that tells its own cause gets the fix of that cause", () => {
  const told: [ProbeAnswer, name: string, fix: RegExp][] = [
    [answer(400, nginx("400 The plain HTTP request was sent to HTTPS port")), "api", /https:\/\//],
    [answer(400, nginx("400 No required SSL certificate was sent")), "api", /tls_client_cert_file/],
    [answer(400, nginx("400 The SSL certificate error")), "api", /its authority/],
    [answer(413, nginx("413 Request Entity Too Large")), "size", /client_max_body_size/],
    [answer(302, "", { location: "https://login/" }), "api", /API itself/],
    [answer(404, nginx("404 Not Found")), "api", /name and the path/],
    [answer(421), "api", /name and the path/],
    [answer(502, nginx("502 Bad Gateway")), "api", /Wait/],
    [answer(200, "<title>Welcome</title>"), "api", /browser/],
    [answer(204), "api", /browser/],
    [answer(200, '{"status":"ok"'), "api", /browser/],
  ];
  for (const [right, name, fix] of told) {
    // Even if a wrong token is refused.
    for (const wrong of [right, answer(401)]) {
      const [found] = judgeToken(wrong, right);
      assertEquals([found?.name, found?.verdict], [name, "failed"], String(right.status));
      assertMatch(found?.fix ?? "", fix);
    }
  }
  assertEquals(verdicts(answer(429), answer(429)), ["api warning"]);
});

Deno.test("a large probe must get the answer of a small one; 413 names the limit and the size", () => {
  const small = answer(400, flask);
  assertEquals(judgeSize(small, small, 180_000).verdict, "ok");
  const limited = judgeSize(small, answer(413, nginx("413 Request Entity Too Large")), 1_990_000);
  assertEquals(limited.verdict, "failed");
  assertMatch(limited.message, /1\.9 MB is too large for nginx \(413\)/);
  assertMatch(limited.fix ?? "", /client_max_body_size/);
  assertEquals(judgeSize(small, answer(429), 180_000).verdict, "warning");
  assertEquals(judgeSize(answer(429), answer(429), 180_000).verdict, "warning");
  const other = judgeSize(small, answer(502, nginx("502 Bad Gateway")), 180_000);
  assertMatch(other.message, /176 kB gets another answer than a small one: nginx answers 502/);
});

Deno.test("nothing that a server says can write to a terminal, however long it is", () => {
  const evil = `\u001b[2J\u202egnp\r\n${"x".repeat(10_000)}`;
  for (
    const right of [answer(400, evil), answer(403, evil), answer(404, `<title>${evil}</title>`)]
  ) {
    for (const { message } of judgeToken(right, right)) {
      assert(!/[\p{C}]/u.test(message), message);
      assert(message.length < 400, `${message.length} characters`);
    }
  }
});
