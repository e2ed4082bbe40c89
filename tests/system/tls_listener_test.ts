// TLS connections over real sockets: a client that stops in its handshake costs nothing after its
// time, and what is written arrives.

import { assertEquals, assertRejects, assertThrows } from "@std/assert";
import { type HttpLimits } from "../../src/system/http_connection.ts";
import { HttpListener } from "../../src/system/http_listener.ts";
import { HeldSockets } from "../../src/system/plain_conn.ts";
import { type ServerTls, TlsListener, tryTls } from "../../src/system/tls_listener.ts";
import { temporaryCertificates } from "../fixtures/certificates.ts";
import { shortTimers } from "../fixtures/short_timers.ts";
import { SimulatedClock } from "../fixtures/simulated_clock.ts";
import { settled } from "../fixtures/settled.ts";
import { capturedLog } from "../fixtures/temp_spool.ts";

const LIMITS: HttpLimits = {
  ...{ connections: 8, headMs: 5000, idleMs: 30_000, bodyBytes: 65_536 },
  ...{ keepsWork: true, closingMs: 1000 },
};
/** The first bytes of a client hello of 200 bytes. */
const HALF_HELLO = new Uint8Array([0x16, 3, 1, 0, 200, 1, 0, 0]);

async function certificates() {
  const files = await temporaryCertificates();
  const tls: ServerTls = { cert: files.certPem, key: files.keyPem };
  const caCerts = [await Deno.readTextFile(files.caFile)];
  return { tls, caCerts, [Symbol.asyncDispose]: () => files[Symbol.asyncDispose]() };
}

Deno.test("a client that stops in its handshake is disconnected when its time is over", async () => {
  await using files = await certificates();
  const clock = new SimulatedClock(0);
  using captured = capturedLog();
  const say = (status: number, body: string) => ({ status, headers: {}, body });
  const server = HttpListener.listen({
    ...{ name: "The server", hostname: "127.0.0.1", port: 0, tls: files.tls, limits: LIMITS },
    ...{ budget: null, answer: () => say(200, "hello"), refuse: say, clock, log: captured.log },
  });
  const { port } = server;
  for (const sent of [new Uint8Array(0), HALF_HELLO]) {
    using client = await Deno.connect({ hostname: "127.0.0.1", port });
    await client.write(sent);
    while (server.connections === 0) await settled(1);
    const ended = client.read(new Uint8Array(100)).catch(() => null);
    await clock.advance(LIMITS.headMs + 1000);
    assertEquals(await ended, null);
  }
  assertEquals(server.connections, 0);
  await server.close();
});

Deno.test("what is written arrives before the end, and each side may end first", async () => {
  await using files = await certificates();
  const listener = new TlsListener(
    { hostname: "127.0.0.1", port: 0 },
    () => files.tls,
    new HeldSockets(),
  );
  const accepting = listener.accept();
  const options = { hostname: "localhost", port: listener.port, caCerts: files.caCerts };
  const client = await Deno.connectTls(options);
  const server = await accepting;
  const bytes = crypto.getRandomValues(new Uint8Array(60_000));
  const writing = (async () => {
    for (let at = 0; at < bytes.length;) at += await server.write(bytes.subarray(at));
    await server.closeWrite();
  })();
  const got = new Uint8Array(await new Response(readable(client)).arrayBuffer());
  await writing;
  assertEquals(got, bytes);
  await client.write(new Uint8Array([7]));
  await client.closeWrite();
  const buffer = new Uint8Array(10);
  assertEquals([await server.read(buffer), buffer[0], await server.read(buffer)], [1, 7, null]);
  assertEquals(server.remoteAddr, client.localAddr);
  client.close();
  await server.close();
  const waiting = assertRejects(() => listener.accept());
  listener.close();
  await waiting;
});

Deno.test("a client that was told nothing is disconnected without a wait: others need its place", async () => {
  await using files = await certificates();
  const listener = new TlsListener(
    { hostname: "127.0.0.1", port: 0 },
    () => files.tls,
    new HeldSockets(),
  );
  const accepting = listener.accept();
  using client = await Deno.connect({ hostname: "127.0.0.1", port: listener.port });
  const server = await accepting;
  const real = globalThis.setTimeout;
  globalThis.setTimeout = (() => {
    throw new Error("it waits");
  }) as never;
  try {
    await server.close();
  } finally {
    globalThis.setTimeout = real;
  }
  assertEquals(await client.read(new Uint8Array(1)).catch(() => null), null);
  listener.close();
});

Deno.test("a connection that is lost inside the program does not stop the others from being accepted", async () => {
  await using files = await certificates();
  const address = { hostname: "127.0.0.1", port: 0 };
  const listener = new TlsListener(address, () => files.tls, new HeldSockets());
  using elsewhere = Deno.listen(address);
  using first = await Deno.connect({ ...address, port: listener.port });
  const { connect } = Deno;
  Object.assign(Deno, { connect: () => connect({ ...address, port: elsewhere.addr.port }) });
  try {
    using _ = shortTimers([5000]);
    await assertRejects(() => listener.accept(), DOMException, "timed out");
  } finally {
    Object.assign(Deno, { connect });
  }
  assertEquals(await first.read(new Uint8Array(1)).catch(() => null), null);
  using _second = await Deno.connect({ ...address, port: listener.port });
  const accepted = await listener.accept();
  await accepted.close();
  listener.close();
});

Deno.test("a certificate that does not fit its key is refused before anybody connects", async () => {
  await using files = await certificates();
  await using other = await certificates();
  tryTls(files.tls);
  assertThrows(() => tryTls({ ...files.tls, key: other.tls.key }));
});

/** What a connection receives, to its end. */
function readable(conn: Deno.Conn): ReadableStream<Uint8Array<ArrayBuffer>> {
  return new ReadableStream({
    async pull(controller) {
      const buffer = new Uint8Array(8192);
      const count = await conn.read(buffer);
      if (count === null) controller.close();
      else controller.enqueue(buffer.slice(0, count));
    },
  });
}
