// The HTTP server against clients that mean it ill, over real sockets: what it costs is bounded, and a
// client that asks properly gets its answer all the same.

import { assert, assertEquals, assertMatch } from "@std/assert";
import { retry } from "@std/async/retry";
import { type Clock, systemClock } from "../../src/system/clock.ts";
import { WRITE_MS } from "../../src/system/connection_life.ts";
import { HttpListener, type HttpListenerOptions } from "../../src/system/http_listener.ts";
import { MAX_HEAD_BYTES } from "../../src/system/http_request.ts";
import { WorkBudget } from "../../src/system/work_budget.ts";
import { HEALTH_LIMITS } from "../../src/web/health_server.ts";
import { SimulatedClock } from "../fixtures/simulated_clock.ts";
import { capturedLog } from "../fixtures/temp_spool.ts";

const { connections: MAX_CONNECTIONS, headMs: HEAD_MS, idleMs: IDLE_MS } = HEALTH_LIMITS;
/** Larger than what the sockets of both sides hold. */
const HUGE = "x".repeat(6_000_000);

/** A server on a free port that says which path was asked for; closed with its scope. */
function start(options: Partial<HttpListenerOptions> = {}) {
  const captured = capturedLog();
  const clock: Clock = options.clock ?? systemClock;
  const say = (status: number, body: string) => ({ status, headers: {}, body });
  const server = HttpListener.listen({
    name: "The health server",
    hostname: "127.0.0.1",
    port: 0,
    tls: null,
    limits: HEALTH_LIMITS,
    budget: new WorkBudget(),
    answer: ({ request: { path } }) => say(200, path === "/huge" ? HUGE : path),
    refuse: (status, reason) => say(status, reason),
    log: captured.log,
    ...options,
    clock,
  });
  const { port } = server;
  const clients: Deno.TcpConn[] = [];
  return {
    server,
    lines: captured.lines,
    port,
    /** A client that sends this and reads nothing yet. */
    async connect(text = ""): Promise<Deno.TcpConn> {
      const client = await Deno.connect({ hostname: "127.0.0.1", port });
      clients.push(client);
      await client.write(new TextEncoder().encode(text)).catch(() => 0);
      return client;
    },
    async [Symbol.asyncDispose]() {
      await server.close();
      for (const client of clients) client.close();
      captured[Symbol.dispose]();
    },
  };
}

/** What comes until the connection ends; "reset" at its end if it did not end in order. */
async function readAll(client: Deno.TcpConn): Promise<string> {
  const decoder = new TextDecoder("latin1");
  const buffer = new Uint8Array(65_536);
  let text = "";
  try {
    for (let count; (count = await client.read(buffer)) !== null;) {
      text += decoder.decode(buffer.subarray(0, count));
    }
    return text;
  } catch {
    return `${text}reset`;
  }
}

/** Resolves when the server has this many connections. */
function untilConnections(server: HttpListener, count: number): Promise<void> {
  return retry(() => assertEquals(server.connections, count), {
    maxAttempts: 400,
    minTimeout: 5,
    maxTimeout: 25,
  });
}

const ask = (path: string, line = "x: y") =>
  `GET ${path} HTTP/1.1\r\nhost: localhost\r\n${line}\r\n\r\n`;

Deno.test("requests of one connection are answered in order, also if they come at once", async () => {
  await using site = start();
  const client = await site.connect(ask("/a") + ask("/b") + ask("/c", "connection: close"));
  const answers = (await readAll(client)).split("HTTP/1.1 200 OK\r\n").slice(1);
  assertEquals(answers.map((answer) => answer.split("\r\n\r\n")[1]), ["/a", "/b", "/c"]);
  assertMatch(answers[0] ?? "", /^date: \w{3}, .* GMT\r\ncontent-length: 2\r\n\r\n/);
  assertMatch(answers[2] ?? "", /connection: close\r\n/);
});

Deno.test("a request that comes byte by byte is answered", async () => {
  await using site = start();
  const client = await site.connect();
  for (const character of ask("/slow", "connection: close")) {
    await client.write(new TextEncoder().encode(character));
  }
  assertMatch(await readAll(client), /\/slow$/);
});

Deno.test("what is not a request gets an answer that says so, and the end of the connection", async () => {
  await using site = start();
  const refused: readonly (readonly [text: string, answer: RegExp])[] = [
    ["PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", /^HTTP\/1.1 505 .*only HTTP\/1.1 is spoken$/s],
    ["\x16\x03\x01\x02\x00\x01\x00", /^HTTP\/1.1 400 /],
    [`GET /${"a".repeat(3 * MAX_HEAD_BYTES)}`, /^HTTP\/1.1 431 /],
    ["nonsense\r\n\r\n", /^HTTP\/1.1 400 /],
  ];
  for (const [text, answer] of refused) {
    assertMatch(await readAll(await site.connect(text)), answer, text.slice(0, 20));
  }
  const body = "POST /a HTTP/1.1\r\nhost: localhost\r\ncontent-length: 20000\r\n\r\n" +
    "b".repeat(20_000);
  assertMatch(await readAll(await site.connect(body)), /^HTTP\/1.1 200 .*\/a$/s);
  assertEquals(site.lines, []);
});

Deno.test("a flood of silent connections takes a bounded number of places, and others get answers", async () => {
  await using site = start();
  const flood = ["", "GET /never HTTP/1.1\r\nx: ", ask("/kept")];
  for (let client = 0; client < 3 * MAX_CONNECTIONS; client++) {
    await site.connect(flood[client % flood.length]);
  }
  await untilConnections(site.server, MAX_CONNECTIONS);
  const asked = await site.connect(ask("/through", "connection: close"));
  assertMatch(await readAll(asked), /\/through$/);
  assert(site.server.connections <= MAX_CONNECTIONS);
});

Deno.test("clients that read nothing take a bounded number of places, and others get answers", async () => {
  await using site = start({ clock: new SimulatedClock(0) });
  for (let client = 0; client < MAX_CONNECTIONS; client++) await site.connect(ask("/huge"));
  await untilConnections(site.server, MAX_CONNECTIONS);
  const asked = await site.connect(ask("/through", "connection: close"));
  assertMatch(await readAll(asked), /\/through$/);
});

Deno.test("every state of a connection has a time limit", async () => {
  const clock = new SimulatedClock(0);
  await using site = start({ clock });
  const within = async (ms: number, text: string, isAnswered: boolean) => {
    const client = await site.connect(text);
    if (isAnswered) await client.read(new Uint8Array(1000));
    await untilConnections(site.server, 1);
    // What has been sent is read by now, or after the next moment.
    await new Promise((resolve) => setTimeout(resolve, 20));
    await clock.advance(ms - 1000);
    assertEquals(site.server.connections, 1, text.slice(0, 20));
    await clock.advance(2000);
    assertEquals(site.server.connections, 0, text.slice(0, 20));
  };
  await within(HEAD_MS, "", false);
  await within(HEAD_MS, "GET / HTTP/1.1\r\n", false);
  await within(IDLE_MS, ask("/idle"), true);
  await within(WRITE_MS, ask("/huge"), false);
});

Deno.test("a client cannot keep its place by sending a byte now and then", async () => {
  const clock = new SimulatedClock(0);
  await using site = start({ clock });
  const client = await site.connect("GET / HTTP/1.1\r\n");
  await untilConnections(site.server, 1);
  for (let second = 0; second <= HEAD_MS / 1000; second++) {
    await client.write(new TextEncoder().encode("x")).catch(() => {});
    await clock.advance(1000);
  }
  assertEquals(site.server.connections, 0);
});

Deno.test("who asks without a pause gets a fifth of a processor at most", async () => {
  const clock = new SimulatedClock(0);
  await using site = start({ clock });
  let answers = 0;
  const client = await site.connect();
  const read = async () => {
    const buffer = new Uint8Array(65_536);
    const decoder = new TextDecoder();
    for (let count; (count = await client.read(buffer).catch(() => null)) !== null;) {
      answers += decoder.decode(buffer.subarray(0, count)).split("HTTP/1.1 ").length - 1;
    }
  };
  const reading = read();
  await client.write(new TextEncoder().encode(ask("/x").repeat(700)));
  await retry(() => assert(answers >= 499), { maxAttempts: 400, minTimeout: 5, maxTimeout: 25 });
  const before = answers;
  assert(before <= 500, `${before} answers at once`);
  for (let tenth = 0; tenth < 10; tenth++) await clock.advance(100);
  await retry(() => assert(answers > before + 100), {
    maxAttempts: 400,
    minTimeout: 5,
    maxTimeout: 25,
  });
  assert(answers <= before + 210, `${answers - before} answers in a second`);
  await site.server.close();
  await reading;
});

/** Listeners that are opened meanwhile fail to accept when this returns an error. */
function failingAccept(failure: () => Error | null): Disposable {
  const real = Deno.listen;
  Deno.listen = ((options: Deno.TcpListenOptions & { transport?: "tcp" }) => {
    const listener = real(options);
    const accept = listener.accept.bind(listener);
    listener.accept = () => {
      const error = failure();
      return error === null ? accept() : Promise.reject(error);
    };
    return listener;
  }) as typeof Deno.listen;
  return { [Symbol.dispose]: () => Deno.listen = real };
}

Deno.test("an error of accept() is logged, and the server accepts again", async () => {
  const clock = new SimulatedClock(0);
  let failures = 3;
  // The kernel refuses a descriptor; a test cannot take them all from its own process.
  using _failing = failingAccept(() =>
    failures-- > 0 ? new Error("Too many open files (os error 24)") : null
  );
  await using site = start({ clock });
  const client = await site.connect(ask("/after", "connection: close"));
  for (let second = 0; second < 4; second++) await clock.advance(1000);
  assertMatch(await readAll(client), /\/after$/);
  assertEquals(site.lines.map(({ message }) => message), [
    ...Array(3).fill("The health server cannot accept a connection."),
  ]);
});

Deno.test("a client that leaves before it is accepted costs no other client its connection", async () => {
  const clock = new SimulatedClock(0);
  const { NotConnected, ConnectionAborted } = Deno.errors;
  const gone = [
    new NotConnected("Transport endpoint is not connected (os error 107)"),
    new ConnectionAborted("Software caused connection abort (os error 103)"),
  ];
  const errors: Error[] = [];
  using _failing = failingAccept(() => errors.pop() ?? null);
  await using site = start({ clock });
  const clients = [];
  for (let at = 0; at < 12; at++) clients.push(await site.connect());
  await retry(() => assertEquals(site.server.connections, 12), { minTimeout: 5, maxAttempts: 400 });
  errors.push(...gone, ...gone);
  clients.push(await site.connect()); // accepted at once; then accept() fails
  await retry(() => assertEquals(errors.length, 0), { minTimeout: 5, maxAttempts: 400 });
  for (const client of clients) {
    await client.write(new TextEncoder().encode(ask("/still-there", "connection: close")));
    assertMatch(await readAll(client), /\/still-there$/);
  }
  assertEquals(site.lines, []);
});
