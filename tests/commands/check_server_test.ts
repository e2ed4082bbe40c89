// The checks of the way to a server on this machine. tests/integration/servers has real servers and real
// handshakes in the way.

import { assert, assertEquals, assertMatch } from "@std/assert";
import { join } from "@std/path/join";
import { runCheck } from "../../src/commands/check.ts";
import { checkServer, probeBytes, SERVER_CHECKS } from "../../src/commands/check_server.ts";
import { failed, type Finding } from "../../src/commands/finding.ts";
import { ServerProbe } from "../../src/commands/server_probe.ts";
import { loadConfig } from "../../src/config/config.ts";
import { IDS } from "../fixtures/agent_process.ts";
import { IngestServer } from "../fixtures/ingest_server.ts";
import { variablesSetBy } from "../fixtures/set_variables.ts";
import { rawServer } from "../fixtures/tcp_server.ts";

const TOKEN = "t0ken-that-nobody-may-see";

function configOf(url: string, keys: Readonly<Record<string, string>> = {}) {
  const all = { ...IDS, ingest_base_url: url, ingest_token: TOKEN, ...keys };
  const variables = Object.entries(all).map(([name, value]) => [`RA_${name.toUpperCase()}`, value]);
  return loadConfig({ path: null, env: Object.fromEntries(variables) });
}

/** What is found about a server with these settings; the token never shows. */
async function check(
  url: string,
  keys: Readonly<Record<string, string>> = {},
  env: Readonly<Record<string, string>> = {},
): Promise<Finding[]> {
  const config = configOf(url, keys);
  const found = await checkServer(config, false, env);
  assert(!JSON.stringify(found).includes(TOKEN), "the token is shown");
  return found;
}

function verdicts(found: readonly Finding[]): Record<string, string> {
  return Object.fromEntries(found.map(({ name, verdict }) => [name, verdict]));
}

/** A server that answers each request in its own way. */
function serve(answer: (request: Request) => Response | Promise<Response>) {
  const requests: { headers: Headers; sizeBytes: number; text: string }[] = [];
  const server = Deno.serve(
    { hostname: "127.0.0.1", port: 0, onListen: () => {} },
    async (request) => {
      const { headers } = request;
      const bytes = await request.clone().arrayBuffer();
      const text = new TextDecoder().decode(bytes);
      requests.push({ headers, sizeBytes: bytes.byteLength, text });
      return await answer(request);
    },
  );
  return {
    requests,
    url: `http://127.0.0.1:${server.addr.port}`,
    [Symbol.asyncDispose]: () => server.shutdown(),
  };
}

const isRight = ({ headers }: Request) => headers.get("authorization") === `Bearer ${TOKEN}`;
const asApi = (request: Request) =>
  isRight(request)
    ? Response.json({ error: "no chunk_file" }, { status: 422 })
    : Response.json({ error: "no token" }, { status: 401 });

Deno.test("check is satisfied by an API that knows the token, and no probe is stored as a chunk", async () => {
  await using server = await IngestServer.start({ token: TOKEN });
  assertEquals(verdicts(await check(server.url)), {
    connection: "ok",
    tls: "warning", // plain HTTP
    api: "ok",
    token: "ok",
    size: "ok",
  });
  assertEquals(server.chunks, []);
});

Deno.test("nothing is sent if the service cannot read a file that the configuration names", async () => {
  await using server = serve(asApi);
  const files = [failed("files", "the service cannot read /root/secret", "chgrp")];
  const found = await checkServer(configOf(server.url), true, {}, files);
  assertEquals(new Set(found.map(({ because }) => because)), new Set(["files"]));
  assertEquals(found.map(({ name }) => name), [...SERVER_CHECKS, "test chunk"]);
  assertEquals(server.requests, []);
});

Deno.test("the probes differ in the token and in the size only; the last one is as large as a chunk", async () => {
  await using server = serve(asApi);
  const keys = { chunk_seconds: "10", opus_bitrate_kbps: "32" };
  assertEquals(verdicts(await check(server.url, keys))["size"], "ok");
  const [wrong, right, large, ...more] = server.requests;
  assertEquals(more, []);
  assert(wrong !== undefined && right !== undefined && large !== undefined);
  assertEquals(wrong.sizeBytes, right.sizeBytes);
  assert(wrong.sizeBytes < 1000);
  assert(large.sizeBytes > 10 * 32 * 125 && large.sizeBytes < 2 * 10 * 32 * 125);
  const names = ({ headers }: typeof wrong) => [...headers.keys()];
  assertEquals(names(wrong), names(right));
  assertEquals(names(wrong), names(large));
  assert(!names(wrong).includes("accept-encoding"), "an answer could be compressed");
  for (const { text } of server.requests) {
    assert(!/name="(chunk_file|start_ts|device_id)"/.test(text), "a server could store it");
  }
});

Deno.test("the large probe is bounded, whatever the settings are", () => {
  const hour = probeBytes({ chunkSeconds: 3600, opusBitrateKbps: 256 });
  assertEquals(hour, 16 * 1024 * 1024);
  assert(probeBytes({ chunkSeconds: 60, opusBitrateKbps: 24 }) > 180_000);
});

Deno.test("a limit that only the large probe exceeds is named", async () => {
  await using server = serve(async (request) => {
    const { byteLength } = await request.clone().arrayBuffer();
    return byteLength > 100_000 ? new Response(null, { status: 413 }) : asApi(request);
  });
  const found = await check(server.url);
  assertEquals(verdicts(found)["token"], "ok");
  assertEquals(verdicts(found)["size"], "failed");
});

Deno.test("a limit of requests a second does not change what check finds", async () => {
  for (const status of [429, 503]) {
    let count = 0;
    await using server = serve((request) =>
      count++ % 2 === 1
        ? new Response(null, { status, headers: { "retry-after": "0" } })
        : asApi(request)
    );
    const { api, token, size } = verdicts(await check(server.url));
    assertEquals([api, token, size], ["ok", "ok", "ok"]);
  }
});

Deno.test("a token that cannot be read is named, and the way is checked without it", async () => {
  await using server = serve(asApi);
  const dir = await Deno.makeTempDir({ prefix: "check-server-test-" });
  try {
    const tokenFile = join(dir, "token");
    await Deno.writeTextFile(tokenFile, TOKEN);
    const all = { ...IDS, ingest_base_url: server.url, ingest_token_file: tokenFile };
    const variables = Object.entries(all).map(([name, value]) => [
      `RA_${name.toUpperCase()}`,
      value,
    ]);
    const config = loadConfig({ path: null, env: Object.fromEntries(variables) });
    await Deno.writeTextFile(tokenFile, "two words\n");
    const found = verdicts(await checkServer(config, true));
    assertEquals(found, {
      connection: "ok",
      tls: "warning",
      token: "failed",
      api: "skipped",
      size: "skipped",
      "test chunk": "skipped",
    });
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
});

Deno.test("a port that nobody listens on fails the connection, and names the address that was tried", async () => {
  const found = await check("https://127.0.0.1:1");
  assertEquals(verdicts(found), {
    connection: "failed",
    tls: "skipped",
    api: "skipped",
    token: "skipped",
    size: "skipped",
  });
  assertMatch(found[0]?.message ?? "", /127\.0\.0\.1 port 1 does not answer \(127\.0\.0\.1: /);
});

Deno.test("a proxy is named by its variable, and dns and the connection are its own affair", async () => {
  const found = await check("https://nowhere.invalid", {}, { HTTPS_PROXY: "http://127.0.0.1:1" });
  assertEquals(verdicts(found), {
    proxy: "failed",
    tls: "skipped",
    api: "skipped",
    token: "skipped",
    size: "skipped",
  });
  assertMatch(found[0]?.message ?? "", /HTTPS_PROXY \(127\.0\.0\.1:1\) does not answer/);
});

Deno.test("a token that the server echoes is not shown", async () => {
  const echoes = [
    (said: string) => new Response(said, { status: 403 }),
    (said: string) => new Response(null, { status: 302, headers: { location: `/?${said}` } }),
  ];
  for (const echo of echoes) {
    await using server = serve(({ headers }) => echo(headers.get("authorization") ?? ""));
    const found = await check(server.url);
    assert(JSON.stringify(found).includes("[token]"), JSON.stringify(found));
  }
});

Deno.test("check finds the proxy of the service in the file with its variables", async () => {
  const dir = await Deno.makeTempDir({ prefix: "check-server-test-" });
  try {
    const installation = {
      config: join(dir, "config.yaml"),
      environment: join(dir, "env"),
      unit: join(dir, "unit"),
    };
    const keys = { ...IDS, ingest_base_url: "https://nowhere.invalid", ingest_token: TOKEN };
    const more = { audio_device: "usb:9-9", health_port: 1, spool_dir: join(dir, "spool") };
    await Deno.writeTextFile(
      installation.config,
      Object.entries({ ...keys, ...more }).map(([name, value]) => `${name}: ${value}\n`).join(""),
    );
    await Deno.writeTextFile(installation.environment, "HTTPS_PROXY=http://127.0.0.1:1\n");
    let text = "";
    await runCheck({
      ...{ config: undefined, json: true, sendTestChunk: false, installation },
      env: { HTTPS_PROXY: "http://127.0.0.1:2" }, // of the person who runs it
      print: (line) => text += line,
    });
    const { checks }: { checks: Finding[] } = JSON.parse(text);
    const proxy = checks.find(({ name }) => name === "proxy");
    assertEquals(proxy?.verdict, "failed", text);
    assertMatch(proxy?.message ?? "", /127\.0\.0\.1:1\)/);
    assertEquals(verdicts(checks)["dns"], undefined);
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
});

Deno.test("an answer of any size or nonsense is named in one short line", async () => {
  const endless = "HTTP/1.1 404 Not Found\r\ncontent-length: 1000000000\r\n\r\n" +
    "x".repeat(200_000);
  for (const said of ["garbage\r\n\r\n", "", endless, "HTTP/1.1 200 OK\r\n\r\n\u001b[2J"]) {
    await using server = rawServer(async (connection) => {
      await connection.read(new Uint8Array(65_536));
      const bytes = new TextEncoder().encode(said);
      for (let at = 0; at < bytes.length;) at += await connection.write(bytes.subarray(at));
      await connection.closeWrite();
    });
    const found = await check(server.url);
    const failures = found.filter(({ verdict }) => verdict === "failed");
    assertEquals(failures.map(({ name }) => name), ["api"], said.slice(0, 20));
    assert((failures[0]?.message.length ?? 0) < 400);
    assert(!/[\p{C}]/u.test(failures[0]?.message ?? ""));
  }
});

Deno.test("an answer that is packed is not unpacked, and not read beyond a limit", async () => {
  const packed = await new Response(
    new Blob([new Uint8Array(50_000_000)]).stream().pipeThrough(new CompressionStream("gzip")),
  ).bytes();
  let sent = 0;
  await using server = serve(async (request) => {
    assert(!/gzip|deflate|br/.test(request.headers.get("accept-encoding") ?? ""));
    await request.arrayBuffer();
    const body = new ReadableStream({
      pull(controller) {
        sent += packed.length;
        controller.enqueue(packed);
      },
    }, { highWaterMark: 0 });
    return new Response(body, { status: 404, headers: { "content-encoding": "gzip" } });
  });
  const found = await check(server.url);
  assert(found.some(({ name, verdict }) => name === "api" && verdict === "failed"));
  assert(sent < 500 * packed.length, `${sent} bytes`);
  assert(found.every(({ message }) => message.length < 400));
});

Deno.test("an http:// server beyond this machine gets nothing: neither the token nor a connection", async () => {
  const [first, ...others] = await check("http://ingest.example.com");
  assertEquals([first?.name, first?.verdict], ["tls", "failed"]);
  assertMatch(first?.message ?? "", /^nothing is sent/);
  assertMatch(first?.fix ?? "", /allow_insecure_http: true/);
  assertEquals(others.map(({ name }) => name), ["dns", "connection", "api", "token", "size"]);
  assertEquals(new Set(others.map(({ verdict }) => verdict)), new Set(["skipped"]));
});

Deno.test("with tls_ca_only the probes of check trust no public authority, as the uploads", async () => {
  const config = await configOf("https://ingest.invalid");
  const setBy = (tlsCaOnly: boolean) =>
    variablesSetBy(() => new ServerProbe({ ...config, tlsCaOnly }, {}, null)[Symbol.dispose]());
  assertEquals([setBy(false), setBy(true)], [[], ["DENO_TLS_CA_STORE="]]);
});
