import { assertEquals, assertMatch, assertRejects, assertThrows } from "@std/assert";
import { loadConfig } from "../../src/config/config.ts";
import { readTokenToSend } from "../../src/config/token.ts";
import { otlpHeadersToSend, refuseTransport } from "../../src/config/transport.ts";

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
    assertEquals(refuseTransport(config(url)), null, url);
    assertEquals(await readTokenToSend(config(url)), "a-token");
  }
  const beyond = [
    ...["http://ingest.example.com", "HTTP://10.0.0.1", "http://[::2]", "http://0.0.0.0"],
    ...["http://127.0.0.1.example.com", "http://localhost.example.com", "http://128.0.0.1"],
  ];
  for (const url of beyond) {
    const refusal = refuseTransport(config(url)) ?? "";
    assertMatch(refusal, /^ingest_base_url must begin with https:\/\/.*allow_insecure_http: true/);
    await assertRejects(() => readTokenToSend(config(url)), Error, "Cannot deliver as");
    assertEquals(refuseTransport(config(url, { RA_ALLOW_INSECURE_HTTP: "true" })), null, url);
  }
});

Deno.test("otlp_headers go to an http:// receiver beyond this machine only with allow_insecure_http", () => {
  const sent = (endpoint: string, more: Record<string, string> = {}) =>
    otlpHeadersToSend(config("https://ingest.example.com", {
      RA_OTLP_ENDPOINT: endpoint,
      ...more,
    }));
  const token = { RA_OTLP_HEADERS: "authorization=Bearer%20s3cret" };
  const fields = { authorization: "Bearer s3cret" };
  for (const endpoint of ["https://otlp.example.com:4318", "http://127.0.0.1:4318"]) {
    assertEquals(sent(endpoint, token), fields);
  }
  const beyond = "http://10.0.0.1:4318";
  assertEquals(sent(beyond), {}, "there is nothing to hide");
  assertEquals(sent(beyond, { ...token, RA_ALLOW_INSECURE_HTTP: "true" }), fields);
  const { message } = assertThrows(() => sent(beyond, token), Error);
  assertMatch(message, /otlp_endpoint must begin with https:\/\/.*"http:\/\/10\.0\.0\.1:4318"/);
  assertEquals(message.includes("s3cret"), false);
});
