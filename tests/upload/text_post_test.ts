// What short texts to another server have of their own: the status of any answer, and words that name the right
// key of the configuration.

import { assertEquals, assertMatch, assertRejects } from "@std/assert";
import { PUBLIC_TLS } from "../fixtures/public_tls.ts";
import { TransportFailure } from "../../src/system/transport_failures.ts";
import { TextPost } from "../../src/upload/text_post.ts";
import { rawServer } from "../fixtures/tcp_server.ts";

const signal = new AbortController().signal;
const options = { key: "heartbeat_url", tls: PUBLIC_TLS, env: {} };
const text = { type: "text/plain", content: "ok" };

Deno.test("a text is answered with any status, and a failure names the key that has the URL", async () => {
  await using server = rawServer(async (connection) => {
    await connection.read(new Uint8Array(1000));
    await connection.write(new TextEncoder().encode("HTTP/1.1 404 X\r\ncontent-length: 0\r\n\r\n"));
  });
  using post = new TextPost(new URL(server.url), options);
  assertEquals(await post.post("/ping", text, {}, signal), 404);
  using lost = new TextPost(new URL("http://monitor.invalid"), options);
  const failure = await assertRejects(() => lost.post("/", text, {}, signal), TransportFailure);
  assertEquals(failure.kind, "dns");
  assertMatch(failure.message, /monitor\.invalid is not known .* spelling in heartbeat_url,/);
  assertEquals(failure.message.includes("ingest_base_url"), false);
});
