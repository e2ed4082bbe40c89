// GET /health over real sockets: who gets an answer, which, and how the server ends.

import { assert, assertEquals, assertMatch, assertRejects } from "@std/assert";
import { delay } from "@std/async/delay";
import { type HealthServer, startHealthServer } from "../src/status/health_server.ts";
import { type HealthReport, Status } from "../src/status/status.ts";
import { ids } from "./fixtures/chunks.ts";
import { SimulatedClock } from "./fixtures/simulated_clock.ts";
import { capturedLog } from "./fixtures/temp_spool.ts";

const nothing = { files: 0, bytes: 0, durationUs: 0 };
const emptySpool = {
  tally: { outbox: nothing, uploaded: nothing, rejected: nothing },
  totalBytes: 0,
};

/** A server on a free port, with what it says of itself; closed with its scope. */
function start(port = 0, report?: () => HealthReport) {
  const captured = capturedLog();
  const clock = new SimulatedClock(Date.UTC(2026, 10, 23, 9));
  const status = new Status({ ...ids, version: "1" }, clock);
  report ??= () => status.report(emptySpool);
  const server = startHealthServer({ port, report, status, log: captured.log });
  return {
    status,
    clock,
    server,
    lines: captured.lines,
    url: `http://127.0.0.1:${server?.port}/health`,
    async [Symbol.asyncDispose]() {
      await server?.close();
      captured[Symbol.dispose]();
    },
  };
}

/** What the server answers to these bytes until it closes or says nothing for a while. */
async function ask(server: HealthServer | null, text: string): Promise<string> {
  using connection = await Deno.connect({ hostname: "127.0.0.1", port: server?.port ?? 0 });
  await connection.write(new TextEncoder().encode(text));
  const buffer = new Uint8Array(65_536);
  return new TextDecoder().decode(buffer.subarray(0, await connection.read(buffer) ?? 0));
}

Deno.test("GET /health answers with the report as JSON that is not kept", async () => {
  await using health = start();
  const answer = await fetch(health.url);
  assertEquals(answer.status, 200);
  assertEquals(answer.headers.get("content-type"), "application/json");
  assertEquals(answer.headers.get("cache-control"), "no-store");
  assertEquals(await answer.json(), JSON.parse(JSON.stringify(health.status.report(emptySpool))));
});

Deno.test("the answer is 200 while ok or degraded, 503 when it should record and does not", async () => {
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

Deno.test("HEAD answers as GET does, without a body; other methods and paths are refused", async () => {
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
  for (const path of ["/", "/health/", "/healthz", "/metrics", "//health", "/Health"]) {
    assertEquals(await look(path, "GET"), [404, null]);
  }
  assertEquals(await look("/", "POST"), [404, null]);
});

Deno.test("only who asks for this machine by its own names is answered", async () => {
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

Deno.test("no other address of this machine is listened on", async () => {
  await using health = start();
  const port = health.server?.port ?? 0;
  const others = Deno.networkInterfaces()
    .filter(({ family, address }) => family === "IPv4" && address !== "127.0.0.1")
    .map(({ address }) => address);
  for (const hostname of ["127.0.0.2", "::1", ...others]) {
    await assertRejects(() => Deno.connect({ hostname, port }), Error, undefined);
  }
});

Deno.test("a port that is taken is a problem that says what to do, and no more", async () => {
  await using first = start();
  const port = first.server?.port ?? 0;
  await using second = start(port);
  assertEquals(second.server, null);
  const [problem] = second.status.report(emptySpool).problems;
  assertEquals(problem?.code, "health_port_unavailable");
  assertMatch(
    problem?.message ?? "",
    new RegExp(`127\\.0\\.0\\.1:${port}: AddrInUse.*health_port`),
  );
  assertEquals(second.lines.map(({ level }) => level), ["ERROR"]);
});

Deno.test("a report that fails is a 500, and says nothing of why", async () => {
  await using health = start(0, () => {
    throw new Error("inner workings");
  });
  const answer = await fetch(health.url);
  assertEquals([answer.status, await answer.json()], [500, { error: "internal error" }]);
  assertEquals(health.lines.at(-1)?.error, "Error: inner workings");
});

Deno.test("close() does not wait for who keeps a connection open or says nothing, and frees the port", async () => {
  const health = start();
  const port = health.server?.port ?? 0;
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
  Deno.listen({ hostname: "127.0.0.1", port }).close();
});

Deno.test("close() lets an answer under way finish", async () => {
  let closing: Promise<void> | undefined;
  await using health = start(0, () => {
    closing = health.server?.close();
    return health.status.report(emptySpool);
  });
  health.status.setProblem("long", "x".repeat(200_000));
  const answer = await fetch(health.url);
  assertEquals((await answer.json()).problems[0].message.length, 200_000);
  await closing;
  await assertRejects(() => fetch(health.url), TypeError);
});
