import { assertEquals, assertMatch, assertRejects, assertThrows } from "@std/assert";
import { loadConfig } from "../../src/config/config.ts";
import { readTokenToSend } from "../../src/config/token.ts";
import { assertTransport, refuseTransport, refuseTransports } from "../../src/config/transport.ts";

function config(url: string, more: Record<string, string> = {}) {
  return loadConfig({
    path: null,
    env: {
      RA_POINT_ID: "11111111-1111-4111-8111-111111111111",
      RA_REGISTER_ID: "22222222-2222-4222-8222-222222222222",
      RA_DEVICE_ID: "33333333-3333-4333-8333-333333333333",
      RA_INGEST_TOKEN: "a-token",
      RA_INGEST_BASE_URL: url,
      ...more,
    },
  });
}

Deno.test("http:// beyond this machine is refused unless allow_insecure_http is true", async () => {
  const here = [
    "http://127.0.0.1:8000",
    "http://127.8.9.1",
    "http://[::1]:80/x",
    "http://localhost",
  ];
  for (const url of ["https://ingest.example.com", ...here]) {
    assertEquals(refuseTransport(config(url), "ingest_base_url"), null, url);
    assertEquals(await readTokenToSend(config(url)), "a-token");
  }
  const beyond = [
    ...["http://ingest.example.com", "HTTP://10.0.0.1", "http://[::2]", "http://0.0.0.0"],
    ...["http://127.0.0.1.example.com", "http://localhost.example.com", "http://128.0.0.1"],
  ];
  for (const url of beyond) {
    const refusal = refuseTransport(config(url), "ingest_base_url") ?? "";
    assertMatch(refusal, /^ingest_base_url must begin with https:\/\/.*allow_insecure_http: true/);
    await assertRejects(() => readTokenToSend(config(url)), Error, "Cannot deliver as");
    const allowed = config(url, { RA_ALLOW_INSECURE_HTTP: "true" });
    assertEquals(refuseTransport(allowed, "ingest_base_url"), null, url);
  }
});

Deno.test("metrics and heartbeats go to an http:// server beyond this machine only with allow_insecure_http", () => {
  const both = (host: string, more: Record<string, string> = {}) =>
    config("https://ingest.example.com", {
      RA_OTLP_ENDPOINT: `${host}:4318`,
      RA_HEARTBEAT_URL: `${host}/ping/s3cret?s3cret`,
      ...more,
    });
  for (const host of ["https://example.com", "http://127.0.0.1", "http://localhost"]) {
    assertEquals(refuseTransports(both(host)), [], host);
  }
  const beyond = "http://10.0.0.1";
  assertEquals(refuseTransports(both(beyond, { RA_ALLOW_INSECURE_HTTP: "true" })), []);
  const [metrics = "", heartbeat = "", ...others] = refuseTransports(both(beyond));
  assertMatch(metrics, /^otlp_endpoint must begin with https:\/\/.*"http:\/\/10\.0\.0\.1:4318"/);
  assertMatch(heartbeat, /^heartbeat_url must begin with https:\/\/.*"http:\/\/10\.0\.0\.1\/…"/);
  assertEquals([heartbeat.includes("s3cret"), others], [false, []]);
  for (const key of ["otlp_endpoint", "heartbeat_url"] as const) {
    assertThrows(() => assertTransport(both(beyond), key), Error, `Cannot send as ${key} must`);
  }
});
