// GET /health over real sockets: who gets which answer, and how the server closes.

import { assert, assertEquals, assertMatch, assertRejects } from "@std/assert";
import { delay } from "@std/async/delay";
import type { HealthServer } from "../../src/web/health_server.ts";
import { MAX_CLIENTS } from "../../src/web/page_events.ts";
import type { HealthReport } from "../../src/status/status.ts";
import { listenAgain } from "../fixtures/ingest_server.ts";
import { SimulatedClock } from "../fixtures/simulated_clock.ts";
import { startStatusRig } from "../fixtures/status_rig.ts";

/** A server on a free port with its report; closed with its scope. */
function start(port = 0, options: { report?: () => HealthReport } = {}) {
  const clock = new SimulatedClock(Date.UTC(2026, 10, 23, 9));
  const rig = startStatusRig({ port, clock, ...options });
  return Object.assign(rig, { clock, url: `${rig.url}health`, site: rig.url });
}

/** What the server answers to these bytes, until it closes the connection or is silent for a while. */
async function ask(server: HealthServer, text: string): Promise<string> {
  using connection = await Deno.connect({ hostname: "127.0.0.1", port: server.port ?? 0 });
  await connection.write(new TextEncoder().encode(text));
  const buffer = new Uint8Array(65_536);
  return new TextDecoder().decode(buffer.subarray(0, await connection.read(buffer) ?? 0));
}

Deno.test("GET /health answers with the report as JSON that may not be cached", async () => {
  await using health = start();
  const answer = await fetch(health.url);
  assertEquals(answer.status, 200);
  assertEquals(answer.headers.get("content-type"), "application/json");
  assertEquals(answer.headers.get("cache-control"), "no-store");
  assertEquals(await answer.json(), JSON.parse(JSON.stringify(health.view().report)));
});

Deno.test("the answer is 200 while ok or degraded, and 503 when the agent should record and does not", async () => {
  await using health = start();
  const look = async () => {
    const answer = await fetch(health.url);
    return [answer.status, (await answer.json()).status];
  };
  assertEquals(await look(), [200, "ok"]);
  health.status.setProblem("upload_failing", "no network");
  assertEquals(await look(), [200, "degraded"]);
  health.status.schedule(true);
  await health.clock.advance(10_001);
  assertEquals(await look(), [503, "error"]);
});

Deno.test("HEAD answers like GET without a body; other methods and paths are refused", async () => {
  await using health = start();
  const head = await ask(health.server, "HEAD /health HTTP/1.1\r\nhost: localhost\r\n\r\n");
  assertMatch(head, /^HTTP\/1.1 200 OK\r\n/);
  assertMatch(head, /content-length: [1-9]/);
  assert(head.endsWith("\r\n\r\n"));
  const look = async (path: string, method: string) => {
    const answer = await fetch(health.url.replace("/health", path), { method });
    assertEquals(typeof (await answer.json()).error, "string");
    return [answer.status, answer.headers.get("allow")];
  };
  for (const method of ["POST", "PUT", "DELETE", "OPTIONS", "PATCH"]) {
    assertEquals(await look("/health", method), [405, "GET, HEAD"]);
  }
  for (const path of ["/health/", "/healthz", "//health", "/Health", "/favicon.ico"]) {
    assertEquals(await look(path, "GET"), [404, null]);
  }
  for (const path of ["/", "/metrics", "/events"]) {
    assertEquals(await look(path, "POST"), [405, "GET, HEAD"]);
  }
  assertEquals(await look("/healthz", "POST"), [404, null]);
});

Deno.test("only requests with a host name of this machine are answered", async () => {
  await using health = start();
  const look = async (host: string) =>
    (await ask(health.server, `GET /health HTTP/1.1\r\n${host}\r\n\r\n`)).slice(9, 12);
  for (const name of ["localhost", "127.0.0.1", "[::1]", "LocalHost"]) {
    assertEquals(await look(`host: ${name}`), "200");
    assertEquals(await look(`host: ${name}:9000`), "200"); // a forwarded port
  }
  const foreign = [
    "evil.example",
    "evil.example:8042",
    "localhost.evil.example",
    "10.0.0.7",
    "a b",
    "[",
  ];
  for (const name of foreign) assertEquals(await look(`host: ${name}`), "403", name);
  assertEquals((await ask(health.server, "GET /health HTTP/1.0\r\n\r\n")).slice(9, 12), "200");
  assertEquals(health.lines.filter(({ level }) => level !== "INFO"), []);
});

Deno.test("/ is the page for clients that ask for HTML, and the report for all others", async () => {
  await using health = start();
  const look = async (accept: string) => {
    const answer = await fetch(health.site, { headers: { accept } });
    await answer.body?.cancel();
    return answer.headers.get("content-type");
  };
  const browser = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8";
  assertEquals(await look(browser), "text/html; charset=utf-8");
  assertEquals(await look("text/html"), "text/html; charset=utf-8");
  for (const accept of ["*/*", "application/json", "application/json, text/html", "image/png"]) {
    assertEquals(await look(accept), "application/json", accept);
  }
});

Deno.test("the page may not load other resources, be framed or be cached", async () => {
  await using health = start();
  const look = async () => {
    const answer = await fetch(health.site, { headers: { accept: "text/html" } });
    return { headers: answer.headers, text: await answer.text() };
  };
  const { headers, text } = await look();
  const policy = headers.get("content-security-policy") ?? "";
  const [, nonce = ""] = /script-src 'nonce-([^']+)'/.exec(policy) ?? [];
  assertEquals(
    policy,
    `default-src 'none'; script-src 'nonce-${nonce}'; style-src 'nonce-${nonce}'; ` +
      "connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
  );
  assertEquals(text.split(`nonce="${nonce}"`).length, 3);
  assert(!(await look()).text.includes(nonce), "a nonce is used only once");
  assertEquals(headers.get("x-frame-options"), "DENY");
  assertEquals(headers.get("x-content-type-options"), "nosniff");
  assertEquals(headers.get("referrer-policy"), "no-referrer");
  assertEquals(headers.get("cache-control"), "no-store");
  assertEquals(headers.get("access-control-allow-origin"), null);
  assert(!/(src|href)="(https?:)?\/\//.test(text), "nothing from elsewhere");
  assert(new TextEncoder().encode(text).length < 100_000);
});

Deno.test("only the page of this site gets events, up to the limit of clients", async () => {
  await using health = start();
  const open = (headers: Record<string, string> = {}) => fetch(`${health.site}events`, { headers });
  for (const site of ["cross-site", "same-site"]) {
    const refused = await open({ "sec-fetch-site": site });
    assertEquals(refused.status, 403);
    assertEquals(typeof (await refused.json()).error, "string");
  }
  const watching = [];
  for (let client = 0; client < MAX_CLIENTS; client++) watching.push(await open());
  for (const { status, headers } of watching) {
    assertEquals([status, headers.get("content-type")], [200, "text/event-stream"]);
  }
  const full = await open();
  assertEquals(full.status, 503);
  assertEquals(typeof (await full.json()).error, "string");
  for (const { body } of watching) await body?.cancel();
});

Deno.test("close() ends all event streams, even of clients that never read", async () => {
  const health = start();
  const reading = await fetch(`${health.site}events`, { headers: { "sec-fetch-site": "none" } });
  const port = health.server.port ?? 0;
  using mute = await Deno.connect({ hostname: "127.0.0.1", port });
  await mute.write(new TextEncoder().encode("GET /events HTTP/1.1\r\nhost: localhost\r\n\r\n"));
  await delay(20);
  const started = performance.now();
  const closed = health[Symbol.asyncDispose]();
  const text = await reading.text();
  await closed;
  assertMatch(text, /^event:hello\ndata:1.2.3 \d+\nretry:2000\n\nevent:parts\ndata:\{"title":/);
  assert(performance.now() - started < 800);
});

Deno.test("the server listens on no other address of this machine", async () => {
  await using health = start();
  const port = health.server.port ?? 0;
  const others = Deno.networkInterfaces()
    .filter(({ family, address }) => family === "IPv4" && address !== "127.0.0.1")
    .map(({ address }) => address);
  for (const hostname of ["127.0.0.2", "::1", ...others]) {
    await assertRejects(() => Deno.connect({ hostname, port }), Error, undefined);
  }
});

Deno.test("a port in use is a problem that says what to do, until another program gives it up", async () => {
  const other = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const { port } = other.addr;
  await using second = start(port);
  assertEquals(second.server.port, null);
  const [problem] = second.view().report.problems;
  assertEquals(problem?.code, "health_port_unavailable");
  assertMatch(
    problem?.message ?? "",
    new RegExp(`127\\.0\\.0\\.1:${port}: Address already in use.*health_port`),
  );
  assertEquals(second.lines.map(({ level }) => level), ["ERROR"]);
  await second.clock.advance(60_000);
  assertEquals(second.lines.length, 1, "the line is not repeated");
  other.close();
  // A program that another test just starts may have the port for some milliseconds longer.
  while (second.server.port === null) await second.clock.advance(60_000);
  const answer = await fetch(`http://127.0.0.1:${port}/health`);
  assertEquals([answer.status, (await answer.json()).problems], [200, []]);
  assertEquals(second.lines.map(({ level }) => level), ["ERROR", "WARNING", "INFO"]);
});

Deno.test("a report that fails is a 500 without the reason", async () => {
  await using health = start(0, {
    report: () => {
      throw new Error("inner workings");
    },
  });
  const answer = await fetch(health.url);
  assertEquals([answer.status, await answer.json()], [500, { error: "internal error" }]);
  assertEquals(health.lines.at(-1)?.error, "Error: inner workings");
});

Deno.test("close() frees the port without waiting for open or silent connections", async () => {
  const health = start();
  const port = health.server.port ?? 0;
  const open: Deno.TcpConn[] = [];
  for (const text of ["", "GET /hea", "GET /health HTTP/1.1\r\nhost: localhost\r\n\r\n"]) {
    const connection = await Deno.connect({ hostname: "127.0.0.1", port });
    open.push(connection);
    await connection.write(new TextEncoder().encode(text));
  }
  await open[2]?.read(new Uint8Array(65_536));
  await delay(20);
  const started = performance.now();
  await health[Symbol.asyncDispose]();
  const tookMs = performance.now() - started;
  assert(tookMs < 800, `it took ${tookMs} ms`);
  for (const connection of open) connection.close();
  (await listenAgain(port)).close();
});

Deno.test("close() lets an answer in progress finish", async () => {
  let closing: Promise<void> | undefined;
  await using health = start(0, {
    report: () => {
      closing = health.server.close();
      const { report } = health.view();
      const problem = { code: "disk_low", message: "x".repeat(2000), since: 0 } as const;
      return { ...report, problems: Array(100).fill(problem) };
    },
  });
  const answer = await fetch(health.url);
  assertEquals((await answer.json()).problems.length, 100);
  await closing;
  await assertRejects(() => fetch(health.url), TypeError);
});
