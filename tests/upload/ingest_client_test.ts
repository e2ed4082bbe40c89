// One attempt against real servers: the bytes of the request, and the verdict on answers, silence and
// broken connections.

import {
  assert,
  assertEquals,
  assertMatch,
  assertRejects,
  assertStringIncludes,
} from "@std/assert";
import { delay } from "@std/async/delay";
import { retry } from "@std/async/retry";
import { IngestClient, type IngestClientOptions } from "../../src/upload/ingest_client.ts";
import { PUBLIC_TLS } from "../fixtures/public_tls.ts";
import { FileFailure, inMemory, type UploadFile } from "../../src/upload/upload_file.ts";
import type { Verdict } from "../../src/upload/verdict.ts";
import { temporaryCertificates } from "../fixtures/certificates.ts";
import { ids, makeChunk, makeName } from "../fixtures/chunks.ts";
import { type Behaviour, IngestServer } from "../fixtures/ingest_server.ts";
import { variablesSetBy } from "../fixtures/set_variables.ts";
import { rawServer } from "../fixtures/tcp_server.ts";
import { TOKEN } from "../fixtures/upload_rig.ts";

const never = new AbortController().signal;

type ClientOptions = Partial<IngestClientOptions> & { tlsCaFile?: string | null };

function makeClient(
  baseUrl: string,
  { tlsCaFile = null, ...options }: ClientOptions = {},
): IngestClient {
  return new IngestClient({
    baseUrl,
    readToken: () => Promise.resolve(TOKEN),
    ids,
    timestampFormat: "unix",
    timeoutMs: 5000,
    tls: { ...PUBLIC_TLS, tlsCaFile },
    ...options,
  });
}

function reasonOf(verdict: Verdict): string {
  return "reason" in verdict ? verdict.reason : "";
}

// ---- what is sent

Deno.test("a chunk is sent exactly as the protocol says, with Content-Length", async () => {
  let seen = "";
  await using server = rawServer(async (connection) => {
    const buffer = new Uint8Array(65_536);
    while (!/--(\r\n)?$/.test(seen)) {
      seen += new TextDecoder().decode(
        buffer.subarray(0, await connection.read(buffer) ?? 0),
      );
    }
    const body = `{"status":"ok","chunk_id":"c-1"}`;
    const head = `HTTP/1.1 200 OK\r\ncontent-length: ${body.length}\r\n\r\n`;
    await connection.write(new TextEncoder().encode(head + body));
  });
  using client = makeClient(`${server.url}/base`);
  const name = {
    startUnixUs: 1_790_000_000_000_042,
    durationUs: 60_000_000,
    key: crypto.randomUUID(),
  };
  const file = new TextEncoder().encode("OggS of no sound");
  assertEquals(await client.upload(name, inMemory(file), never), {
    kind: "delivered",
    chunkId: "c-1",
  });

  const [head = "", ...rest] = seen.split("\r\n\r\n");
  const [requestLine, ...lines] = head.split("\r\n");
  assertEquals(requestLine, "POST /base/api/v1/chunks HTTP/1.1");
  const headers = new Headers(lines.map((line) => line.split(": ") as [string, string]));
  const boundary = /^multipart\/form-data; ?boundary=(.+)$/.exec(headers.get("content-type") ?? "");
  const hash = "OaFJiK5/uuL5Jc2eUfAN03HClQ3jZNzc0I0odyE7kFI=";
  assertEquals(headers.get("authorization"), `Bearer ${TOKEN}`);
  assertEquals(headers.get("idempotency-key"), name.key);
  assertEquals(headers.get("digest"), `SHA-256=${hash}`);
  assertEquals(headers.get("repr-digest"), `sha-256=:${hash}:`);
  assertMatch(headers.get("user-agent") ?? "", /^recorder-agent\/\d/);
  assertEquals(headers.get("transfer-encoding"), null);
  assertEquals(Number(headers.get("content-length")), rest.join("\r\n\r\n").length);

  const parts = rest.join("\r\n\r\n").split(`--${boundary?.[1]}`).slice(1, -1).map((part) => {
    const [partHead = "", content = ""] = part.split("\r\n\r\n");
    return [partHead.trim().toLowerCase(), content.trimEnd()];
  });
  const field = (
    name: string,
    value: string,
  ) => [`content-disposition: form-data; name="${name}"`, value];
  assertEquals(parts, [
    field("point_id", ids.pointId),
    field("register_id", ids.registerId),
    field("device_id", ids.deviceId),
    field("start_ts", "1790000000.000042"),
    field("end_ts", "1790000060.000042"),
    field("codec", "opus"),
    field("sample_rate", "48000"),
    field("channels", "1"),
    [
      `content-disposition: form-data; name="chunk_file"; filename="${name.key}.ogg"\r\n` +
      `content-type: audio/ogg`,
      "OggS of no sound",
    ],
  ]);
});

Deno.test("ids and sample rate are those that the chunk was recorded with, else those of the configuration", async () => {
  await using server = await IngestServer.start({ token: TOKEN });
  using client = makeClient(server.url);
  const before = {
    POINT_ID: crypto.randomUUID(),
    REGISTER_ID: crypto.randomUUID(),
    DEVICE_ID: crypto.randomUUID(),
  };
  const { DEVICE_ID: _, ...some } = before;
  const files = [makeChunk(before, 44_100), makeChunk(some, 0), new Uint8Array(0)];
  for (const file of files) {
    assertEquals((await client.upload(makeName(), inMemory(file), never)).kind, "delivered");
  }
  const sent = server.chunks.map(({ fields: f }) =>
    [f.point_id, f.register_id, f.device_id, f.sample_rate].join()
  );
  assertEquals(sent, [
    [before.POINT_ID, before.REGISTER_ID, before.DEVICE_ID, "44100"].join(),
    [before.POINT_ID, before.REGISTER_ID, ids.deviceId, "48000"].join(),
    [ids.pointId, ids.registerId, ids.deviceId, "48000"].join(),
  ]);
  assertEquals(server.chunks.map(({ bytes }) => bytes), files);
  assertEquals(server.violations, []);
});

Deno.test("timestamps are sent as ISO 8601 in UTC if the configuration asks for it", async () => {
  await using server = await IngestServer.start({ token: TOKEN, timestampFormat: "iso8601" });
  using client = makeClient(server.url, { timestampFormat: "iso8601" });
  const name = { ...makeName(), startUnixUs: 1_790_000_000_250_000, durationUs: 59_993_500 };
  assertEquals((await client.upload(name, inMemory(makeChunk()), never)).kind, "delivered");
  assertEquals(server.chunks[0]?.fields.start_ts, "2026-09-21T14:13:20.250000Z");
  assertEquals(server.chunks[0]?.fields.end_ts, "2026-09-21T14:14:20.243500Z");
  assertEquals(server.violations, []);
});

Deno.test("several chunks are sent in the order of the calls, even if the first one has to wait", async () => {
  await using server = await IngestServer.start({ token: TOKEN });
  using client = makeClient(server.url, { concurrency: 4 });
  assertEquals((await client.upload(makeName(), inMemory(makeChunk()), never)).kind, "delivered");
  /** A file whose hash is known after as long as this. */
  const slow = (waitMs: number, error?: Error): UploadFile => {
    const file = inMemory(makeChunk());
    const sha256 = async (signal: AbortSignal) => {
      await delay(waitMs);
      if (error !== undefined) throw error;
      return file.sha256(signal);
    };
    return { ...file, sha256 };
  };
  const stop = new AbortController();
  const stopped = client.upload(makeName(), slow(30), stop.signal).catch(() => "stopped");
  stop.abort();
  const names = [0, 1, 2].map(makeName);
  const [first = makeName(), ...others] = names;
  const verdicts = await Promise.all([
    client.upload(first, slow(40), never),
    client.upload(makeName(), slow(30, new FileFailure("cannot be read")), never),
    ...others.map((name, index) => client.upload(name, slow(20 - 10 * index), never)),
  ]);
  const kinds = verdicts.map(({ kind }) => kind);
  assertEquals([await stopped, ...kinds], [
    "stopped",
    "delivered",
    "retry",
    "delivered",
    "delivered",
  ]);
  assertEquals(server.requests.slice(1).map(({ key }) => key), names.map(({ key }) => key));
});

Deno.test("the file is closed after every attempt: accepted, without a token, aborted before it began", async () => {
  await using server = await IngestServer.start({ token: TOKEN });
  let closed = 0;
  const file = () => ({ ...inMemory(makeChunk()), close: () => void closed++ });
  using client = makeClient(server.url);
  assertEquals((await client.upload(makeName(), file(), never)).kind, "delivered");
  assertEquals(closed, 1);
  using unable = makeClient(server.url, { readToken: () => Promise.reject(new Error("none")) });
  assertEquals((await unable.upload(makeName(), file(), never)).kind, "misconfigured");
  assertEquals(closed, 2);
  await assertRejects(() => client.upload(makeName(), file(), AbortSignal.abort()));
  assertEquals(closed, 3);
});

// ---- connections

for (const scheme of ["http", "https"] as const) {
  Deno.test(`over ${scheme} all chunks use one connection, and a closed connection is not an error`, async () => {
    await using files = await temporaryCertificates();
    const tls = scheme === "https" ? { tls: files } : {};
    await using server = await IngestServer.start({ token: TOKEN, ...tls });
    using client = makeClient(server.url, { tlsCaFile: files.caFile });
    const upload = async () => (await client.upload(makeName(), inMemory(makeChunk()), never)).kind;
    for (let i = 0; i < 20; i++) assertEquals(await upload(), "delivered");
    assertEquals(server.connections, 1);

    server.goOffline();
    await delay(20); // the end of the connection arrives
    await server.goOnline();
    assertEquals(await upload(), "delivered");
    assertEquals([server.connections, server.requests.length], [2, 21]);
    assertEquals([server.chunks.length, server.violations], [21, []]);
  });

  Deno.test(`over ${scheme} a connection that the network has dropped silently costs one attempt`, async () => {
    await using files = await temporaryCertificates();
    const tls = scheme === "https" ? { tls: files } : {};
    await using server = await IngestServer.start({ token: TOKEN, ...tls });
    // On a busy machine a TLS handshake takes half a second.
    using client = makeClient(server.url, { tlsCaFile: files.caFile, timeoutMs: 2000 });
    const kinds: string[] = [];
    for (let i = 0; i < 4; i++) {
      if (i === 1) server.freezeConnections();
      kinds.push((await client.upload(makeName(), inMemory(makeChunk()), never)).kind);
    }
    assertEquals(kinds, ["delivered", "retry", "delivered", "delivered"]);
    assertEquals(server.connections, 2);
  });
}

Deno.test("a CA file that cannot be used is a failure of the configuration that names it", async () => {
  await using server = await IngestServer.start({ token: TOKEN });
  using client = makeClient(server.url, { tlsCaFile: "/nowhere/ca.pem" });
  const verdict = await client.upload(makeName(), inMemory(makeChunk()), never);
  assertEquals(verdict, {
    kind: "misconfigured",
    reason: 'Cannot use tls_ca_file: "/nowhere/ca.pem" does not exist',
  });
  assertEquals(server.requests, []);
});

Deno.test("with tls_ca_only the runtime is told to trust no public authority, before any connection", () => {
  // It reads the variable once, with the first connection.
  const setBy = (tlsCaOnly: boolean) => {
    const tls = { ...PUBLIC_TLS, tlsCaOnly };
    return variablesSetBy(() => makeClient("https://ingest.invalid", { tls })[Symbol.dispose]());
  };
  assertEquals([setBy(false), setBy(true)], [[], ["DENO_TLS_CA_STORE="]]);
});

Deno.test("a client that is not needed any longer closes the connections that it has kept", async () => {
  await using server = await IngestServer.start({ token: TOKEN });
  {
    using client = makeClient(server.url, { concurrency: 2 });
    const uploads = [makeName(), makeName()].map((name) =>
      client.upload(name, inMemory(makeChunk()), never)
    );
    assertEquals((await Promise.all(uploads)).map(({ kind }) => kind), ["delivered", "delivered"]);
    assertEquals(server.openConnections, server.connections, "they are kept");
  }
  await retry(() => assertEquals(server.openConnections, 0), {
    maxAttempts: 400,
    minTimeout: 5,
    maxTimeout: 25,
  });
});

// ---- answers

const oddAnswers: [Behaviour, Verdict["kind"], RegExp][] = [
  [{ kind: "html200" }, "retry", /200: <html>.*captive portal/],
  [{ kind: "broken-json" }, "retry", /200: \{"status": "ok", "chunk_: not an answer/],
  [{ kind: "status", status: 503, headers: { "retry-after": "7" } }, "retry", /503/],
  [{ kind: "status", status: 403, body: "" }, "misconfigured", /403: the token is not accepted/],
  // Too long to be read to the end.
  [
    { kind: "status", status: 200, body: " ".repeat(5e6) + `{"status":"ok"}` },
    "retry",
    /captive portal/,
  ],
  [{ kind: "reset-before-body" }, "retry", /^no answer: /],
  [{ kind: "accept-then-reset" }, "retry", /^no answer: /],
];

Deno.test("the client understands real answers, and can continue after each", async () => {
  await using server = await IngestServer.start({ token: TOKEN });
  using client = makeClient(server.url);
  for (const [behaviour, kind, reason] of oddAnswers) {
    // A request over a connection that was used before is sent once more if it gets no answer.
    server.script.push(behaviour, ...(behaviour.kind.includes("reset") ? [behaviour] : []));
    const verdict = await client.upload(makeName(), inMemory(makeChunk()), never);
    assertEquals(verdict.kind, kind, JSON.stringify(behaviour).slice(0, 100));
    assertMatch(reasonOf(verdict), reason);
    if (verdict.kind === "retry") {
      assertEquals(verdict.retryAfterMs, reason.source === "503" ? 7000 : null);
    }
    assertEquals((await client.upload(makeName(), inMemory(makeChunk()), never)).kind, "delivered");
  }
  assertEquals(server.violations, []);
});

Deno.test("an answer before the whole chunk was sent never counts as delivered; a refusal counts", async () => {
  const body = JSON.stringify({ status: "ok", chunk_id: "id" });
  const kinds: Record<number, string> = {
    ...{ 200: "retry", 201: "retry", 202: "retry", 409: "retry" },
    ...{ 413: "refused", 401: "misconfigured", 503: "retry" },
  };
  for (const [status, kind] of Object.entries(kinds)) {
    await using server = rawServer(async (connection) => {
      await connection.read(new Uint8Array(300));
      const head = `HTTP/1.1 ${status} X\r\ncontent-length: ${body.length}\r\n\r\n`;
      await connection.write(new TextEncoder().encode(head + body));
    });
    using client = makeClient(server.url);
    const verdict = await client.upload(makeName(), inMemory(new Uint8Array(20_000_000)), never);
    assertEquals(verdict.kind, kind, status);
    if (Number(status) < 400 || status === "409") {
      assertStringIncludes(reasonOf(verdict), `answered ${status} before it had the whole request`);
    }
  }
});

Deno.test("a redirect is not followed: its target gets no request and no token", async () => {
  await using elsewhere = await IngestServer.start({ token: TOKEN });
  await using server = await IngestServer.start({ token: TOKEN });
  using client = makeClient(server.url);
  for (const status of [301, 302, 303, 307, 308]) {
    server.behaviour = { kind: "status", status, headers: { location: `${elsewhere.url}/here` } };
    const verdict = await client.upload(makeName(), inMemory(makeChunk()), never);
    assertEquals(verdict.kind, "misconfigured");
    assertStringIncludes(reasonOf(verdict), `redirects (${status}) to ${elsewhere.url}/here`);
  }
  assertEquals([elsewhere.connections, elsewhere.requests], [0, []]);
});

Deno.test("no reason and no id contains the token, even if the server repeats it", async () => {
  await using server = await IngestServer.start({ token: TOKEN });
  using client = makeClient(server.url);
  const verdicts: Verdict[] = [];
  for (const status of [200, 400, 401, 404, 409, 500]) {
    const padding = " ".repeat(170) + "-".repeat(150); // the quotation ends inside the token
    const body = `{"status":"ok","chunk_id":"${TOKEN}","padding":"${padding}"}`;
    for (const text of [body, "-".repeat(190) + TOKEN]) {
      server.script.push({ kind: "status", status, body: text });
      verdicts.push(await client.upload(makeName(), inMemory(makeChunk()), never));
    }
  }
  const location = `https://elsewhere.invalid/?token=${TOKEN}`;
  server.script.push({ kind: "redirect", location });
  verdicts.push(await client.upload(makeName(), inMemory(makeChunk()), never));
  const text = JSON.stringify(verdicts);
  assertStringIncludes(text, "[token]");
  assert(!text.includes(TOKEN.slice(0, 8)), text);
});

Deno.test("an unusable token is a failure of the configuration, and is read again for each attempt", async () => {
  await using server = await IngestServer.start({ token: TOKEN });
  const tokens = [
    () => Promise.reject(new Error("Cannot read the token: it is gone")),
    () => Promise.resolve("old"),
    () => Promise.resolve(TOKEN),
  ];
  using client = makeClient(server.url, {
    readToken: () => (tokens.shift() ?? (() => Promise.resolve("")))(),
  });
  const verdicts: Verdict[] = [];
  for (let i = 0; i < 3; i++) {
    verdicts.push(await client.upload(makeName(), inMemory(makeChunk()), never));
  }
  assertEquals(verdicts.map(({ kind }) => kind), ["misconfigured", "misconfigured", "delivered"]);
  assertEquals(verdicts[0], { kind: "misconfigured", reason: "Cannot read the token: it is gone" });
  assertEquals(server.requests.length, 2);
});

// ---- no answer

Deno.test("a token that cannot be read in time is a failure of the configuration, and is not read twice at once", async () => {
  await using server = await IngestServer.start({ token: TOKEN });
  let reads = 0;
  const token = Promise.withResolvers<string>();
  const readToken = () => (reads++, token.promise);
  using client = makeClient(server.url, { readToken, timeoutMs: 100 });
  const upload = (signal = never) => client.upload(makeName(), inMemory(makeChunk()), signal);
  for (let attempt = 0; attempt < 2; attempt++) {
    for (const verdict of await Promise.all([upload(), upload()])) {
      assertEquals(verdict, {
        kind: "misconfigured",
        reason: "the token cannot be read: timed out after 0.1 s",
      });
    }
  }
  const own = new AbortController();
  const stopped = upload(own.signal);
  own.abort(new Error("stop!"));
  await assertRejects(() => stopped, Error, "stop!");
  assertEquals(reads, 1);
  token.resolve(TOKEN);
  assertEquals((await upload()).kind, "delivered");
});

Deno.test("one deadline covers a whole attempt: silence, a slow answer, a body that the server does not read", async () => {
  await using server = await IngestServer.start({ token: TOKEN });
  await using deaf = rawServer(async () => {}); // accepts and never reads
  const large = new Uint8Array(20_000_000);
  const cases: [string, Behaviour, Uint8Array<ArrayBuffer>][] = [
    [server.url, { kind: "silence" }, makeChunk()],
    [server.url, { kind: "drip", bytesPerSecond: 20 }, makeChunk()],
    [deaf.url, { kind: "ok" }, large],
  ];
  for (const [url, behaviour, file] of cases) {
    server.behaviour = behaviour;
    using client = makeClient(url, { timeoutMs: 400 });
    // A chunk may take its duration in addition. The key is a new one: a busy server may still read the last.
    const name = { ...makeName(), durationUs: 1 };
    const started = performance.now();
    const verdict = await client.upload(name, inMemory(file), never);
    const tookMs = performance.now() - started;
    assertEquals(verdict.kind, "retry");
    assertMatch(
      reasonOf(verdict),
      /^no complete answer: (timed out after|nothing moved for) 0\.4 s$/,
    );
    assert(tookMs > 350 && tookMs < 20_000, `${behaviour.kind} took ${tookMs} ms`);
  }
});

Deno.test("an aborted attempt ends at once with the reason of the signal", async () => {
  await using server = await IngestServer.start({ token: TOKEN });
  for (const behaviour of [{ kind: "silence" }, { kind: "drip", bytesPerSecond: 5 }] as const) {
    server.behaviour = behaviour;
    using client = makeClient(server.url);
    const stop = new AbortController();
    const attempt = client.upload(makeName(), inMemory(makeChunk()), stop.signal);
    setTimeout(() => stop.abort(new Error("stop!")), 100);
    const started = performance.now();
    await assertRejects(() => attempt, Error, "stop!");
    assert(performance.now() - started < 4000, "before its deadline");
    await assertRejects(
      () => client.upload(makeName(), inMemory(makeChunk()), stop.signal),
      Error,
      "stop!",
    );
  }
});

Deno.test("every failure of the network has a readable message", async () => {
  await using files = await temporaryCertificates();
  await using server = await IngestServer.start({ token: TOKEN, tls: files });
  const wrongHost = Deno.serve({
    ...{ hostname: "127.0.0.2", port: 0, onListen: () => {} },
    ...{ cert: files.certPem, key: files.keyPem },
  }, () => new Response());
  const plain = await IngestServer.start();
  await plain[Symbol.asyncDispose]();
  const { caFile } = files;
  const cases: [url: string, tlsCaFile: string | null, RegExp][] = [
    [plain.url, null, /Connection refused/],
    ["https://ingest.invalid", null, /the name ingest\.invalid is not known/],
    [server.url, null, /certificate.*UnknownIssuer.*tls_ca_file/],
    [
      `https://127.0.0.2:${wrongHost.addr.port}`,
      caFile,
      /certificate.*not valid for.*127\.0\.0\.2/,
    ],
    [server.url.replace("https", "http"), null, /./],
    [plain.url.replace("http", "https"), null, /Connection refused/],
  ];
  for (const [url, tlsCaFile, expected] of cases) {
    using client = makeClient(url, { tlsCaFile });
    const verdict = await client.upload(makeName(), inMemory(makeChunk()), never);
    assertEquals(verdict.kind, "retry");
    assertMatch(reasonOf(verdict), expected);
    assertMatch(reasonOf(verdict), /^no answer: /);
    assert(!JSON.stringify(verdict).includes(TOKEN));
  }
  await wrongHost.shutdown();
});
