// The client's connections against real servers on loopback, and against a network of the test's own: when a
// connection is kept, closed, made again; what passes a proxy; and that each failure has its kind.

import {
  assert,
  assertEquals,
  assertMatch,
  assertRejects,
  assertStringIncludes,
} from "@std/assert";
import { readTlsFiles } from "../../src/config/tls_files.ts";
import { concatBytes } from "../../src/system/concat_bytes.ts";
import { Connection } from "../../src/system/client_connection.ts";
import { PUBLIC_TLS } from "../fixtures/public_tls.ts";
import { type FailureKind, TransportFailure } from "../../src/system/transport_failures.ts";
import {
  HttpClient,
  type HttpClientOptions,
  type RequestBody,
} from "../../src/system/http_client.ts";
import { type Network, systemNetwork } from "../../src/system/network.ts";
import type { Step } from "../../src/system/open_connection.ts";
import { close } from "../../src/system/transport.ts";
import { type Clock, deadline, systemClock } from "../../src/system/clock.ts";
import { settled } from "../fixtures/settled.ts";
import { temporaryCertificates } from "../fixtures/certificates.ts";
import { SimulatedClock } from "../fixtures/simulated_clock.ts";
import { rawServer } from "../fixtures/tcp_server.ts";
import { until } from "../fixtures/temp_spool.ts";

const never = new AbortController().signal;
const BODY = "the body";

function bodyOf(text: string): RequestBody {
  return {
    sizeBytes: text.length,
    async *pieces(before) {
      yield concatBytes([before, new TextEncoder().encode(text)]);
    },
  };
}

function makeClient(url: string, options: Partial<HttpClientOptions> = {}): HttpClient {
  return new HttpClient({
    url: new URL(url),
    tls: () => readTlsFiles(PUBLIC_TLS),
    maxIdle: 4,
    ...options,
  });
}

function post(
  client: HttpClient,
  { text = BODY, totalMs = 5000, silenceMs = 5000, signal = never, onStep = (_: Step) => {} } = {},
) {
  return client.send({ path: "/p?q", headers: { "x-a": "b" }, body: bodyOf(text) }, {
    ...{ signal, totalMs, silenceMs: () => silenceMs, onStep },
  });
}

async function failureOf(client: HttpClient, options = {}): Promise<TransportFailure> {
  const error = await assertRejects(() => post(client, options), TransportFailure);
  assertMatch(error.message, /^[^\n]{10,}$/);
  return error;
}

/** What a server does with the n-th request of a connection. */
type Reply = string | "close" | "silence";

/** A server that counts connections, keeps requests, and answers each one as the test says. */
function scripted(reply: (request: number, connection: number, ofConnection: number) => Reply) {
  const seen = { connections: 0, requests: [] as string[], ended: 0 };
  const server = rawServer(async (connection) => {
    const own = seen.connections++;
    const buffer = new Uint8Array(65_536);
    const serve = async () => {
      let text = "";
      for (let count = 0;;) {
        const size = await connection.read(buffer);
        if (size === null) return void seen.ended++;
        text += new TextDecoder().decode(buffer.subarray(0, size));
        if (!text.endsWith(BODY)) continue;
        const said = reply(seen.requests.push(text) - 1, own, count++);
        text = "";
        if (said === "close") return connection.close();
        if (said === "silence") continue;
        await connection.write(new TextEncoder().encode(said));
      }
    };
    serve().catch(() => seen.ended++);
    await Promise.resolve();
  });
  return { ...server, seen };
}

const answer = (status: number, body = "ok", ...headers: string[]) =>
  [`HTTP/1.1 ${status} X`, `content-length: ${body.length}`, ...headers, "", body].join("\r\n");

Deno.test("a request is exactly what was asked for, and reports its steps", async () => {
  await using server = scripted(() => answer(200));
  using client = makeClient(server.url);
  const steps: Step[] = [];
  const { status, body } = await post(client, { onStep: (step: Step) => steps.push(step) });
  assertEquals([status, body], [200, "ok"]);
  const { host, port } = new URL(server.url);
  assertEquals(server.seen.requests, [
    `POST /p?q HTTP/1.1\r\nhost: ${host}\r\nx-a: b\r\naccept: */*\r\ncontent-length: 8\r\n\r\n${BODY}`,
  ]);
  assertEquals(steps, [
    { kind: "looked up", hostname: "127.0.0.1", addresses: ["127.0.0.1"] },
    { kind: "connected", address: "127.0.0.1", port: Number(port) },
    { kind: "answered", status: 200 },
  ]);
});

Deno.test("a header that would end the headers is never sent", async () => {
  await using server = scripted(() => answer(200));
  using client = makeClient(server.url);
  for (const value of ["a\r\nb: c", "a\nb", "é", "\0"]) {
    const headers = { "x-odd": value };
    const sending = client.send({ path: "/", headers, body: bodyOf("") }, {
      ...{ signal: never, totalMs: 1000, silenceMs: () => 1000 },
    });
    assertStringIncludes((await assertRejects(() => sending, TransportFailure)).message, "x-odd");
  }
  assertEquals(server.seen.requests, []);
});

// ---- kept connections

Deno.test("a connection is kept after 2xx and 4xx, and closed after 5xx, with all idle ones", async () => {
  const statuses = [200, 422, 404, 503, 200];
  await using server = scripted((request) => answer(statuses[request] ?? 200));
  using client = makeClient(server.url);
  const connections: number[] = [];
  for (const status of statuses) {
    assertEquals((await post(client)).status, status);
    connections.push(server.seen.connections);
  }
  assertEquals(connections, [1, 1, 1, 1, 2]);
  await until(() => server.seen.ended === 1);

  // Two idle connections, one of which is answered with 503: both are closed.
  const two = scripted((request) => answer(request < 2 ? 200 : 503));
  await using _two = two;
  using other = makeClient(two.url);
  await Promise.all([post(other), post(other)]);
  assertEquals(two.seen.connections, 2);
  await post(other);
  await until(() => two.seen.ended === 2);
});

Deno.test("an answer that says close, or more than an answer, ends the connection without an error", async () => {
  const replies = [answer(200, "ok", "connection: close"), answer(200) + "more", answer(200)];
  await using server = scripted((request) => replies[request] ?? answer(200));
  using client = makeClient(server.url);
  for (let request = 0; request < 4; request++) assertEquals((await post(client)).status, 200);
  assertEquals(server.seen.connections, 3);
});

Deno.test("a kept connection that closes just as a request goes out does not count: once more, at once", async () => {
  await using server = scripted((_, connection, own) =>
    connection === 0 && own === 1 ? "close" : answer(200)
  );
  using client = makeClient(server.url);
  assertEquals((await post(client)).status, 200);
  assertEquals((await post(client)).status, 200);
  assertEquals([server.seen.connections, server.seen.requests.length], [2, 3]);
});

Deno.test("a request is sent once more only over a used connection, and only without a byte of an answer", async () => {
  const cases: [string, (connection: number, own: number) => Reply, number][] = [
    ["on a new connection", () => "close", 1],
    ["twice", (connection, own) => connection === 0 && own === 0 ? answer(200) : "close", 3],
    ["after a part of an answer", (_, own) => own === 0 ? answer(200) : "HTTP/1.1 2", 2],
    ["in silence", (_, own) => own === 0 ? answer(200) : "silence", 2],
  ];
  for (const [what, reply, requests] of cases) {
    await using server = scripted((_, connection, own) => reply(connection, own));
    using client = makeClient(server.url);
    let failure: TransportFailure | null = null;
    while (failure === null) {
      failure = await post(client, { silenceMs: 300 }).then(() => null, (error) => error);
    }
    assertEquals(
      failure.kind,
      what.includes("silence") || what.includes("part") ? "timeout" : "reset",
      what,
    );
    assertEquals(server.seen.requests.length, requests, what);
  }
});

Deno.test("an idle connection that the server closes is noticed before the next request", async () => {
  let close = () => {};
  await using server = rawServer(async (connection) => {
    const buffer = new Uint8Array(1000);
    await connection.read(buffer);
    await connection.write(new TextEncoder().encode(answer(200)));
    close = () => connection.close();
  });
  using client = makeClient(server.url);
  for (let request = 0; request < 3; request++) {
    assertEquals((await post(client)).status, 200);
    close();
  }
});

Deno.test("a connection serves 10 minutes and rests 2 at most; then the name is looked up again", async () => {
  await using server = scripted(() => answer(200));
  const clock = new SimulatedClock(Date.UTC(2026, 10, 29));
  const lookups: string[] = [];
  const network: Network = {
    ...systemNetwork(),
    lookup: (name) => Promise.resolve(lookups.push(name) ? ["127.0.0.1"] : []),
  };
  using client = makeClient(server.url.replace("127.0.0.1", "ingest.test"), { clock, network });
  for (let minute = 0; minute <= 21; minute++) {
    assertEquals((await post(client, { totalMs: 1e9, silenceMs: 1e9 })).status, 200);
    await clock.advance(60_000);
  }
  assertEquals([lookups, server.seen.connections], [Array(2).fill("ingest.test"), 2]);
});

Deno.test("after a failure the name is looked up again: an address that moved is found at once", async () => {
  await using old = scripted(() => answer(503));
  await using moved = scripted(() => answer(200));
  const real = systemNetwork();
  const ports: Record<string, number> = {
    "192.0.2.1": Number(new URL(old.url).port),
    "192.0.2.2": Number(new URL(moved.url).port),
  };
  const addresses = ["192.0.2.1"];
  const network: Network = {
    ...real,
    lookup: () => Promise.resolve([...addresses]),
    connect: (address, _, signal) => real.connect("127.0.0.1", ports[address] ?? 0, signal),
  };
  using client = makeClient("http://ingest.test", { network });
  assertEquals((await post(client)).status, 503);
  addresses[0] = "192.0.2.2";
  assertEquals((await post(client)).status, 200);
  assertEquals([old.seen.requests.length, moved.seen.requests.length], [1, 1]);
});

Deno.test("where the program cannot connect to itself, TLS works over the connection with the server", async () => {
  await using files = await temporaryCertificates();
  const { certPem: cert, keyPem: key, caFile } = files;
  const server = Deno.serve(
    { hostname: "127.0.0.1", port: 0, cert, key, onListen() {} },
    () => new Response("secured"),
  );
  const { connect, listen } = Deno;
  let refused = 0;
  const refuse = () => {
    refused++;
    throw new Deno.errors.AddrNotAvailable("there is no loopback interface");
  };
  const ways: Partial<typeof Deno>[] = [
    {
      connect:
        ((options: Deno.ConnectOptions) =>
          options.port === server.addr.port ? connect(options) : refuse()) as typeof Deno.connect,
    },
    { listen: refuse as unknown as typeof Deno.listen },
  ];
  for (const way of ways) {
    Object.assign(Deno, way);
    try {
      const tls = { ...PUBLIC_TLS, tlsCaFile: caFile };
      const url = `https://localhost:${server.addr.port}`;
      using client = makeClient(url, { tls: () => readTlsFiles(tls) });
      assertEquals((await post(client)).body, "secured");
    } finally {
      Object.assign(Deno, { connect, listen });
    }
  }
  assertEquals(refused, 2);
  await server.shutdown();
});

Deno.test("requests that overlap have a connection each, and as many as wanted are kept", async () => {
  await using server = scripted(() => answer(200));
  using client = makeClient(server.url, { maxIdle: 2 });
  await Promise.all([post(client), post(client), post(client)]);
  await until(() => server.seen.ended === 1);
  await Promise.all([post(client), post(client)]);
  assertEquals(server.seen.connections, 3);
});

// ---- sending and answers

Deno.test("an answer that comes before the whole request is read, and ends the sending", async () => {
  await using server = rawServer(async (connection) => {
    await connection.read(new Uint8Array(1000));
    await connection.write(new TextEncoder().encode(answer(413, "too large")));
    // It reads no more, as a server that refuses does.
  });
  using client = makeClient(server.url);
  const { status, body, isRequestSent } = await post(client, { text: "x".repeat(20_000_000) });
  assertEquals([status, body, isRequestSent], [413, "too large", false]);
});

for (const status of [200, 202, 409, 302, 413, 422, 503]) {
  const waits = [200, 202, 409].includes(status);
  const what = waits ? "waits until the request was sent" : "does not wait for the last write";
  Deno.test(`an answer ${status} ${what}`, async () => {
    const taken = Promise.withResolvers<number>();
    const offered = Promise.withResolvers<void>();
    using connection = new Connection({
      read: async (buffer) => {
        const bytes = new TextEncoder().encode(answer(status));
        buffer.set(bytes);
        await offered.promise;
        return bytes.length;
      },
      write: () => {
        offered.resolve();
        return taken.promise;
      },
      close: () => taken.reject(new Deno.errors.BadResource("closed")),
    }, 0);
    let isReplied = false;
    const replied = connection.exchange(bodyOf("x").pieces(new Uint8Array()), {
      sizeBytes: 1,
      mayWrite: (bytes) => Promise.resolve(bytes),
      onWriting: () => {},
      onMoved: () => {},
      signal: never,
    }).finally(() => isReplied = true);
    if (waits) {
      await settled();
      assert(!isReplied);
      taken.resolve(1);
    }
    const { isRequestSent } = await replied;
    assertEquals([isRequestSent, connection.isClosed], [waits, !waits]);
  });
}

Deno.test("an answer that comes behind the whole request is never taken for an early one", async () => {
  await using files = await temporaryCertificates();
  const { certPem: cert, keyPem: key, caFile } = files;
  const echo = async (request: Request) => new Response(String((await request.text()).length));
  const server = Deno.serve({ hostname: "127.0.0.1", port: 0, onListen() {} }, echo);
  const secure = Deno.serve(
    { ...{ hostname: "127.0.0.1", port: 0, cert, key }, onListen() {} },
    echo,
  );
  const tls = () => readTlsFiles({ ...PUBLIC_TLS, tlsCaFile: caFile });
  const clients = [
    makeClient(`http://127.0.0.1:${server.addr.port}`),
    makeClient(`https://localhost:${secure.addr.port}`, { tls }),
  ];
  for (const client of clients) {
    for (let request = 0; request < 40; request++) {
      const { body, isRequestSent } = await post(client, { text: "x".repeat(request * 9000) });
      assertEquals([body, isRequestSent], [String(request * 9000), true]);
    }
    client[Symbol.dispose]();
  }
  await Promise.all([server.shutdown(), secure.shutdown()]);
});

for (const when of ["while the program is busy", "while a request waits for its rate"]) {
  Deno.test(`what a server sends before a request, ${when}, is not taken for its answer`, async () => {
    let connections = 0;
    let sendSecond = () => {};
    await using server = rawServer(async (connection) => {
      const own = connections++;
      const say = (text: string) => connection.write(new TextEncoder().encode(answer(200, text)));
      const serve = async () => {
        const buffer = new Uint8Array(65_536);
        for (let text = ""; await connection.read(buffer) !== null;) {
          text += new TextDecoder().decode(buffer);
          if (!text.includes("end")) continue;
          text = "";
          await say(own === 0 ? "first" : "true");
          sendSecond = () => void say("stale");
        }
      };
      serve().catch(() => {});
      await Promise.resolve();
    });
    const isBusy = when.includes("busy");
    using client = makeClient(server.url, { maxKbps: isBusy ? null : 64 });
    // The rate lets the request after this one wait for a quarter of a second.
    assertEquals((await post(client, { text: `${"x".repeat(1800)}end` })).body, "first");
    const request = { path: "/", headers: {}, body: bodyOf("end") };
    const limits = { signal: never, totalMs: 5000, silenceMs: () => 5000 };
    if (isBusy) sendSecond();
    const reply = await client.send(request, isBusy ? limits : { ...limits, onBegun: sendSecond });
    assertEquals([reply.body, connections], ["true", 2]);
  });
}

Deno.test("a request that is sent once more under a cap of the rate keeps its time limits", async () => {
  let isFirst = true;
  const got = { bytes: 0 };
  await using server = rawServer(async (connection) => {
    const isOld = isFirst;
    isFirst = false;
    const serve = async () => {
      const buffer = new Uint8Array(65_536);
      let text = "";
      for (let size; (size = await connection.read(buffer)) !== null;) {
        if (!isOld) got.bytes += size;
        text += new TextDecoder().decode(buffer.subarray(0, size));
        if (!text.endsWith("end")) continue;
        text = "";
        if (!isOld) continue; // it never answers
        await connection.write(new TextEncoder().encode(answer(200)));
        await connection.read(buffer); // the second request has begun
        return connection.close();
      }
    };
    serve().catch(() => {});
    await Promise.resolve();
  });
  // A machine that has run for days.
  const clock = { ...systemClock, monotonicMs: () => performance.now() + 3 * 86_400_000 };
  using client = makeClient(server.url, { maxKbps: 64, clock });
  // Longer than a piece: the rest waits for its rate when the connection ends.
  const text = `${"x".repeat(3500)}end`;
  await post(client, { text });
  using limit = deadline(20_000);
  const { signal } = limit;
  const failure = await failureOf(client, { text, totalMs: 600, silenceMs: 9000, signal });
  assertEquals([failure.kind, failure.message], ["timeout", "timed out after 0.6 s"]);
  assert(got.bytes > 3500 && got.bytes < 3700, `${got.bytes}`);
});

Deno.test("an answer ends the wait of the request for its rate", async () => {
  await using server = rawServer(async (connection) => {
    await connection.read(new Uint8Array(1000));
    await connection.write(new TextEncoder().encode(answer(413)));
  });
  let sleepers = 0;
  const clock: Clock = {
    ...systemClock,
    sleep: (ms, signal) => (sleepers++, systemClock.sleep(ms, signal).finally(() => sleepers--)),
  };
  using client = makeClient(server.url, { maxKbps: 1, clock });
  const text = "x".repeat(5000); // 40 s
  assertEquals((await post(client, { text, totalMs: 90_000 })).status, 413);
  await settled();
  assertEquals(sleepers, 0);
});

Deno.test("certificate files that cannot be read in time are an error that says so, and are not read twice at once", async () => {
  await using server = scripted(() => answer(200));
  let reads = 0;
  const files = Promise.withResolvers<Awaited<ReturnType<HttpClientOptions["tls"]>>>();
  using client = makeClient(server.url, { tls: () => (reads++, files.promise) });
  for (let attempt = 0; attempt < 2; attempt++) {
    const { kind, message } = await failureOf(client, { silenceMs: 100 });
    assertEquals(kind, "misconfigured");
    assertMatch(message, /^the files of certificates cannot be read: nothing moved for 0.1 s$/);
  }
  const own = new AbortController();
  const stopped = post(client, { signal: own.signal });
  own.abort(new Error("stop!"));
  await assertRejects(() => stopped, Error, "stop!");
  assertEquals(reads, 1);
  files.resolve(await readTlsFiles(PUBLIC_TLS));
  assertEquals((await post(client)).status, 200);
});

Deno.test("nonsense in place of an answer has a kind and is told in words", async () => {
  const cases: [string, FailureKind, RegExp][] = [
    ["SSH-2.0-OpenSSH_9.2\r\n", "bad-answer", /does not begin with an HTTP\/1.1 status/],
    ["\x15\x03\x03\x00\x02\x02\x28", "plain-to-tls", /speaks TLS: use https:\/\//],
    ["HTTP/1.1 200 OK\r\ncontent-length: x\r\n\r\n", "bad-answer", /Content-Length "x"/],
    ["close", "reset", /closed without an answer/],
  ];
  for (const [reply, kind, reason] of cases) {
    await using server = scripted(() => reply);
    using client = makeClient(server.url);
    const failure = await failureOf(client);
    assertEquals(failure.kind, kind);
    assertMatch(failure.message, reason);
  }
});

Deno.test("an abort ends a request at once, wherever it is, with the reason of the signal", async () => {
  await using silent = scripted(() => "silence");
  const hang = new Promise<never>(() => {});
  const networks: Network[] = [
    systemNetwork(),
    { ...systemNetwork(), lookup: () => hang },
    { ...systemNetwork(), connect: () => hang },
  ];
  for (const network of networks) {
    using client = makeClient(silent.url.replace("127.0.0.1", "localhost"), { network });
    const stop = new AbortController();
    setTimeout(() => stop.abort(new Error("stop!")), 50);
    await assertRejects(() => post(client, { signal: stop.signal }), Error, "stop!");
    await assertRejects(() => post(client, { signal: stop.signal }), Error, "stop!");
    const failure = await failureOf(client, { silenceMs: 100 });
    assertEquals([failure.kind, failure.message], ["timeout", "nothing moved for 0.1 s"]);
  }
});

/** The descriptors of this process with a connection to this port of the machine; others come and go meanwhile. */
function connectionsTo(url: string): number {
  const port = Number(new URL(url).port).toString(16).toUpperCase().padStart(4, "0");
  // sl, own address, other address, state, …; the tenth is the inode (man 5 proc).
  const rows = ["tcp", "tcp6"].flatMap((name) =>
    Deno.readTextFileSync(`/proc/self/net/${name}`).split("\n").map((row) =>
      row.trim().split(/\s+/)
    )
  );
  const inodes = rows.filter(([, , other]) => other?.endsWith(`:${port}`)).map((row) => row[9]);
  const sockets = [...Deno.readDirSync("/proc/self/fd")].map(({ name }) => {
    try {
      return Deno.readLinkSync(`/proc/self/fd/${name}`);
    } catch {
      return ""; // it was closed meanwhile
    }
  });
  return sockets.filter((socket) => inodes.some((inode) => socket === `socket:[${inode}]`)).length;
}

Deno.test("a server that stays silent in each TLS handshake takes no descriptors", async () => {
  const ended: number[] = [];
  let connections = 0;
  await using server = rawServer((connection) => {
    const own = connections++;
    const drain = async () => {
      const buffer = new Uint8Array(4096);
      while (await connection.read(buffer) !== null);
    };
    drain().catch(() => {}).then(() => ended.push(own));
    return Promise.resolve();
  });
  using client = makeClient(server.url.replace("http://127.0.0.1", "https://localhost"));
  // On a busy machine an attempt may end before it has a connection.
  for (let attempt = 0; connections < 10; attempt++) {
    assert(attempt < 1000, `${connections} connections`);
    assertEquals((await failureOf(client, { silenceMs: 50 })).kind, "timeout");
  }
  await until(() => connections === ended.length);
  await until(() => connectionsTo(server.url) === 0);
});

Deno.test("an attempt that fails before its TLS handshake takes no descriptors", async () => {
  const unusable = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
  const rows: readonly (readonly [hostname: string, caCerts: string[], said: RegExp])[] = [
    ["ends-.test", [], /Invalid hostname/],
    ["localhost", [unusable], /BadEncoding/],
    ["aborted.test", [], /Bad resource ID/],
  ];
  await using server = rawServer(() => Promise.resolve());
  const { port } = new URL(server.url);
  const network = systemNetwork();
  for (const [hostname, caCerts, said] of rows) {
    const outer = await network.connect("127.0.0.1", Number(port), never);
    const tls = { caCerts, isCaOnly: false, client: null };
    assertEquals(connectionsTo(server.url), 1);
    const securing = network.secure(outer, hostname, tls, never);
    if (hostname === "aborted.test") outer.close(); // as its owner does when it gives up
    assertMatch((await assertRejects(() => securing, Error)).message, said);
    close(outer);
  }
  await until(() => connectionsTo(server.url) === 0);
});

Deno.test("a connection that is made at the moment of an abort is closed", async () => {
  let ended = 0;
  await using server = rawServer(async (connection) => {
    while (await connection.read(new Uint8Array(16)).catch(() => null) !== null);
    ended++;
  });
  const stop = new AbortController();
  const real = Deno.connect;
  // As Deno does: what it was told to abort is not returned, even if it has been made.
  Deno.connect =
    (({ signal, ...options }: Deno.ConnectOptions) =>
      real(options).then((connection) => {
        stop.abort(new Error("stop!"));
        signal?.throwIfAborted();
        return connection;
      })) as typeof Deno.connect;
  try {
    using client = makeClient(server.url);
    await assertRejects(() => post(client, { signal: stop.signal }), Error, "stop!");
    await until(() => ended === 1);
  } finally {
    Deno.connect = real;
  }
});

// ---- names and addresses

Deno.test("a name whose first address is dead is reached at its second one, and localhost and ::1 work", async () => {
  await using server = scripted(() => answer(200));
  const { port } = new URL(server.url);
  const addresses = ["127.0.0.9", "127.0.0.1"]; // nothing listens on the first one
  const network = { ...systemNetwork(), lookup: () => Promise.resolve(addresses) };
  using client = makeClient(`http://ingest.test:${port}`, { network });
  assertEquals((await post(client)).status, 200);
  using local = makeClient(`http://localhost:${port}`);
  assertEquals((await post(local)).status, 200);

  const six = Deno.serve({ hostname: "::1", port: 0, onListen() {} }, () => new Response("six"));
  using literal = makeClient(`http://[::1]:${six.addr.port}`);
  assertEquals((await post(literal)).body, "six");
  literal[Symbol.dispose]();
  await six.shutdown();
});

Deno.test("a name without an address, and addresses that do not answer, are told apart", async () => {
  const network = { ...systemNetwork(), lookup: () => Promise.resolve(["127.0.0.9", "127.0.0.8"]) };
  using unknown = makeClient("http://ingest.invalid");
  const dns = await failureOf(unknown);
  assertEquals(dns.kind, "dns");
  assertMatch(dns.message, /^the name ingest\.invalid is not known \(.*\): check its spelling/);
  using refused = makeClient("http://ingest.test:9", { network });
  const connection = await failureOf(refused);
  assertEquals(connection.kind, "connection");
  assertMatch(
    connection.message,
    /ingest\.test port 9 does not answer \(127\.0\.0\.9: Connection refused.*; 127\.0\.0\.8: /,
  );
});

// ---- proxies

/** A proxy that answers CONNECT with this and then passes everything on. */
function connectProxy(reply: string, target: URL) {
  const requests: string[] = [];
  const server = rawServer(async (client) => {
    const buffer = new Uint8Array(4096);
    requests.push(new TextDecoder().decode(buffer.subarray(0, await client.read(buffer) ?? 0)));
    await client.write(new TextEncoder().encode(reply));
    if (!reply.startsWith("HTTP/1.1 200")) return client.close();
    const onward = await Deno.connect({ hostname: target.hostname, port: Number(target.port) });
    await Promise.allSettled([
      client.readable.pipeTo(onward.writable),
      onward.readable.pipeTo(client.writable),
    ]);
  });
  return { ...server, requests };
}

Deno.test("a proxy gets user and password, and resolves the name itself", async () => {
  const proxy = connectProxy("HTTP/1.1 403 No\r\n\r\n", new URL("http://x.invalid"));
  await using _proxy = proxy;
  const env = { HTTPS_PROXY: proxy.url.replace("//", "//till:s3cret@") };
  using client = makeClient("https://only-the-proxy-knows.invalid", { env });
  const failure = await failureOf(client);
  assertEquals(failure.kind, "proxy");
  const { host } = new URL(proxy.url);
  assertStringIncludes(
    failure.message,
    `the proxy HTTPS_PROXY (${host}) answered 403 and does not connect to ` +
      "only-the-proxy-knows.invalid:443",
  );
  const [request = ""] = proxy.requests;
  assertMatch(request, /^CONNECT only-the-proxy-knows\.invalid:443 HTTP\/1\.1\r\nhost: only/);
  assertStringIncludes(request, "proxy-authorization: Basic dGlsbDpzM2NyZXQ=\r\n");
  assert(!failure.message.includes("s3cret"));
});

Deno.test("a failure of the proxy names the proxy, and not the server", async () => {
  const cases: [string, RegExp][] = [
    [
      "HTTP/1.1 407 Auth\r\n\r\n",
      /requires a user and a password \(407\): write them as http:\/\/USER/,
    ],
    ["HTTP/1.1 502 Bad\r\ncontent-length: 3\r\n\r\nbad", /answered 502 and does not connect/],
    ["SSH-2.0\r\n", /does not connect to api\.invalid port 443 .*HTTP\/1\.1 status/],
    ["HTTP/1.1 200 OK\r\n\r\nmore", /more than an answer/],
    ["", /does not connect .*without an answer/],
  ];
  for (const [reply, reason] of cases) {
    await using proxy = connectProxy(reply, new URL("http://127.0.0.1:9"));
    using client = makeClient("https://api.invalid", { env: { HTTPS_PROXY: proxy.url } });
    const failure = await failureOf(client);
    assertEquals(failure.kind, "proxy", failure.message);
    assertMatch(failure.message, reason);
    assertMatch(failure.message, /the proxy HTTPS_PROXY \(127\.0\.0\.1:\d+\)/);
  }
  const down: [string, RegExp][] = [
    ["http://127.0.0.1:9", /the proxy HTTPS_PROXY \(127\.0\.0\.1:9\) does not answer \(.*refused/],
    ["http://proxy.invalid", /the name of the proxy HTTPS_PROXY \(proxy\.invalid\) is not known/],
    ["socks5://p", /Cannot use the proxy in HTTPS_PROXY as it must be http/],
  ];
  for (const [url, reason] of down) {
    using client = makeClient("https://api.invalid", { env: { HTTPS_PROXY: url } });
    const failure = await failureOf(client);
    assertEquals(failure.kind, "proxy");
    assertMatch(failure.message, reason);
  }
});

Deno.test("over a proxy plain http has the whole URL and the password, and 407 is the proxy's", async () => {
  await using proxy = scripted((request) => answer(request === 0 ? 200 : 407));
  const env = { http_proxy: proxy.url.replace("//", "//u:p@") };
  using client = makeClient("http://api.invalid:81", { env });
  assertEquals((await post(client)).status, 200);
  assertMatch(
    proxy.seen.requests[0] ?? "",
    /^POST http:\/\/api\.invalid:81\/p\?q HTTP\/1\.1\r\nhost: api\.invalid:81\r\n.*proxy-authorization: Basic dTpw\r\n/s,
  );
  assertMatch((await failureOf(client)).message, /the proxy http_proxy .* requires a user/);
});
