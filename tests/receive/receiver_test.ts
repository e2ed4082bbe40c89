// The receiver over real sockets: uploads of every kind, and clients that mean it ill. The agent itself
// delivers to it in tests/integration/receive_test.ts.

import { assert, assertEquals, assertMatch } from "@std/assert";
import { retry } from "@std/async/retry";
import { type IncomingFile, StoreFailure } from "../../src/receive/store.ts";
import { findGrant, parseTokens } from "../../src/receive/token_file.ts";
import { MAX_PLACES } from "../../src/receive/chunk_intake.ts";
import { RECEIVER_LIMITS } from "../../src/receive/receiver.ts";
import type { Overview } from "../../src/receive/overview.ts";
import { S3Client } from "../../src/receive/s3_client.ts";
import { parseS3Access } from "../../src/receive/s3_settings.ts";
import { S3Store } from "../../src/receive/s3_store.ts";
import { ADDRESS_PAGES, DEVICE_UPLOADS } from "../../src/receive/shares.ts";
import { systemClock } from "../../src/system/clock.ts";
import { concatBytes } from "../../src/system/concat_bytes.ts";
import { BUCKET, S3Double } from "../fixtures/s3_double.ts";
import { BODY_IDLE_MS } from "../../src/system/connection_life.ts";
import { ids, makeChunk, makeName } from "../fixtures/chunks.ts";
import { readAll, startReceiver, TOKEN } from "../fixtures/receive_rig.ts";
import { settled } from "../fixtures/settled.ts";
import { SimulatedClock } from "../fixtures/simulated_clock.ts";

const { connections: MAX_CONNECTIONS, headMs: HEAD_MS, idleMs: IDLE_MS } = RECEIVER_LIMITS;
const POST = "POST /api/v1/chunks HTTP/1.1\r\nhost: a\r\n";
const AUTH = `authorization: Bearer ${TOKEN}\r\n`;

Deno.test("a repeated delivery is the same chunk, and other bytes under its key are refused", async () => {
  await using rig = await startReceiver();
  const [name, bytes] = [makeName(), makeChunk()];
  const expected = { status: "ok", chunk_id: name.key };
  assertEquals((await rig.upload({ name, bytes })).body, expected);
  const iso = { start_ts: "2026-11-23T08:00:00.250000Z", end_ts: "2026-11-23T08:01:00.243500Z" };
  assertEquals((await rig.upload({ name, bytes, fields: iso })).body, expected);
  assertEquals(rig.files().length, 1);
  const other = await rig.upload({ name });
  // Not a 409, which would mean that the server has the chunk.
  assertEquals([other.status, "chunk_id" in other.body], [422, false]);
  assertEquals(rig.files().length, 1);
});

Deno.test("a server that knows only the form fields is enough: without headers, the same file is one chunk", async () => {
  await using rig = await startReceiver();
  const [bytes, name] = [makeChunk(), makeName()];
  const headers = { "idempotency-key": null };
  const first = await rig.upload({ name, bytes, headers });
  assertEquals(first.status, 200);
  assertMatch(first.body.chunk_id, /^[0-9a-f-]{36}$/);
  assertEquals((await rig.upload({ name, bytes, headers })).body, first.body);
  const other = await rig.upload({ name, headers });
  assert(other.body.chunk_id !== first.body.chunk_id);
  assertEquals(rig.files().length, 2);
  const words = { "idempotency-key": "../../not a uuid" };
  const named = await rig.upload({ name, bytes, headers: words });
  assertEquals((await rig.upload({ name, bytes, headers: words })).body, named.body);
  assertEquals(rig.files().length, 3);
});

Deno.test("what is wrong with an upload is said, and nothing of it is kept", async () => {
  await using rig = await startReceiver();
  const name = makeName();
  const no = (status: number, word: RegExp, upload: Parameters<typeof rig.upload>[0]) => ({
    ...{ status, word, upload },
  });
  const zeros = `${"A".repeat(43)}=`;
  const cases = [
    no(401, /token/, { token: null }),
    no(401, /token/, { token: "wrong" }),
    no(401, /token/, { token: null, headers: { authorization: `Basic ${btoa(`:${TOKEN}`)}` } }),
    no(400, /device_id must be a UUID/, { fields: { device_id: ".." } }),
    no(400, /start_ts is missing/, { fields: { start_ts: null } }),
    no(400, /codec must be opus/, { fields: { codec: "mp3" } }),
    no(400, /Repr-Digest/, { headers: { "repr-digest": `sha-256=:${zeros}:` } }),
    no(400, /Digest/, { headers: { digest: `SHA-256=${zeros}` } }),
    no(400, /repr-digest has no valid/, { headers: { "repr-digest": "sha-256=:short:" } }),
    no(400, /empty/, { bytes: new Uint8Array(0) }),
    no(415, /not an Ogg file/, { bytes: new TextEncoder().encode("<html>") }),
    no(400, /longer than 1024 bytes/, { fields: { more: "x".repeat(1025) } }),
    no(413, /larger than 4000000/, { bytes: new Uint8Array(4e6) }),
  ];
  for (const { status, word, upload } of cases) {
    const answer = await rig.upload({ name, ...upload });
    assertEquals(answer.status, status, JSON.stringify(answer.body));
    assertMatch(answer.body.error, word);
    assertEquals("chunk_id" in answer.body, false);
  }
  assertEquals(rig.files(), []);
  assertEquals((await rig.upload({ name })).status, 200, "the key is not used up");
  assertEquals((await rig.upload({ fields: { more: "x".repeat(1024) } })).status, 200);
  assert(!JSON.stringify(rig.lines).includes(TOKEN));
});

Deno.test("a token of one device delivers only for that device; a token of pages delivers nothing", async () => {
  const other = "00000000-0000-4000-8000-000000000000";
  const entries = parseTokens(`mine ${ids.deviceId}\nother ${other}\nwatch page\n`);
  await using rig = await startReceiver({
    tokens: { grantOf: (token) => findGrant(entries, token) },
  });
  assertEquals((await rig.upload({ token: "mine" })).status, 200);
  const answer = await rig.upload({ token: "other" });
  assertEquals([answer.status, answer.body.error], [403, "the token is that of another device_id"]);
  assertEquals((await rig.upload({ token: "watch" })).status, 401);
  assertEquals(rig.files().length, 1);
});

Deno.test("a file that says it is another till's is refused, with any form and token", async () => {
  const entries = parseTokens(`mine ${ids.deviceId}\n`);
  await using rig = await startReceiver({
    tokens: { grantOf: (token) => findGrant(entries, token) },
  });
  const tags = { POINT_ID: ids.pointId, REGISTER_ID: ids.registerId, DEVICE_ID: ids.deviceId };
  const upload = (changes: Record<string, string>) =>
    rig.upload({ token: "mine", bytes: makeChunk({ ...tags, ...changes }) });
  const other = "00000000-0000-4000-8000-000000000000";
  const refused = {
    POINT_ID: /the tag POINT_ID of chunk_file must be the field point_id: it is "0{8}-/,
    REGISTER_ID: /the tag REGISTER_ID .* the field register_id/,
    DEVICE_ID: /the tag DEVICE_ID .* the field device_id/,
  };
  for (const [tag, words] of Object.entries(refused)) {
    for (const more of [{}, { A: "x".repeat(12_000) }]) {
      const { status, body } = await upload({ ...more, [tag]: other });
      assertEquals(status, 400);
      assertMatch(body.error, words);
    }
  }
  assertEquals(rig.files(), []);
  assertEquals((await upload({})).status, 200);
  assertEquals((await upload({ DEVICE_ID: ids.deviceId.toUpperCase() })).status, 200);
});

Deno.test("a till cannot fill the page with registers that do not exist", async () => {
  const entries = parseTokens(`mine ${ids.deviceId}\nall\n`);
  await using rig = await startReceiver({
    tokens: { grantOf: (token) => findGrant(entries, token) },
  });
  const deliver = (token: string, count: number) => {
    const point_id = `00000000-0000-4000-8000-${String(count).padStart(12, "0")}`;
    return rig.upload({ token, name: makeName(), fields: { point_id } });
  };
  for (let count = 0; count < MAX_PLACES; count++) {
    assertEquals((await deliver("mine", count)).status, 200);
  }
  const refused = await deliver("mine", MAX_PLACES);
  assertEquals(refused.status, 403);
  assertMatch(refused.body.error, /at most 16 registers/);
  assertEquals((await deliver("mine", 3)).status, 200, "a place that it has");
  assertEquals((await deliver("all", MAX_PLACES)).status, 200, "a token of all tills");
  assertEquals(rig.files().length, MAX_PLACES + 2);
});

Deno.test("a till that holds as many uploads as it may keeps no other till from delivering", async () => {
  const other = "00000000-0000-4000-8000-000000000000";
  const entries = parseTokens(`mine ${ids.deviceId}\nother ${other}\n`);
  await using rig = await startReceiver({
    tokens: { grantOf: (token) => findGrant(entries, token) },
  });
  const stalled = `${POST}authorization: Bearer mine\r\ncontent-length: 900000\r\n` +
    "content-type: multipart/form-data; boundary=b\r\n";
  const held = [];
  for (let count = 0; count < DEVICE_UPLOADS; count++) {
    const client = await rig.connect(`${stalled}expect: 100-continue\r\n\r\n`);
    await client.read(new Uint8Array(100)); // "100 Continue": the upload is in progress
    held.push(client);
  }
  const { status, headers, body } = await rig.upload({ token: "mine" });
  assertEquals([status, headers.get("retry-after")], [429, "5"]);
  assertMatch(body.error, /has 16 uploads in progress/);
  assertEquals((await rig.upload({ token: "other", fields: { device_id: other } })).status, 200);
  await held[0]?.write(new TextEncoder().encode("nonsense".repeat(10_000)));
  assertMatch(await readAll(held[0] as Deno.Conn), /^HTTP\/1.1 400 /);
  assertEquals((await rig.upload({ token: "mine" })).status, 200);
  for (const client of held) await client.closeWrite(); // closing waits for uploads in progress
});

Deno.test("a till that fills the memory for uploads keeps no other till from delivering", async () => {
  await using double = new S3Double();
  using client = new S3Client({
    ...{ bucket: BUCKET, access: () => parseS3Access(double.credentials) },
    ...{ caCerts: [], clock: systemClock },
  });
  const store = new S3Store({ client, prefix: "", memoryBytes: 400_000, onReady: () => {} });
  const other = "00000000-0000-4000-8000-000000000000";
  await using rig = await startReceiver({ wrap: () => store });
  const part = (name: string, value: string, more = "") =>
    `--b\r\nContent-Disposition: form-data; name="${name}"${more}\r\n\r\n${value}`;
  // The token is that of all tills, as behind a proxy: the form says whose upload it is.
  const large = await rig.connect(
    `${POST}${AUTH}content-length: 900000\r\ncontent-type: multipart/form-data; boundary=b\r\n\r\n` +
      part("device_id", `${ids.deviceId}\r\n`) + part("chunk_file", "OggS", '; filename="x"'),
  );
  const noise = concatBytes([makeChunk(), new Uint8Array(150_000)]);
  await large.write(new Uint8Array(150_000));
  await retry(async () => assertEquals((await rig.upload({ bytes: noise })).status, 503), {
    ...{ minTimeout: 5, maxAttempts: 400, multiplier: 1 },
  });
  const theirs = { device_id: other };
  assertEquals((await rig.upload({ bytes: noise, fields: theirs })).status, 200);
  assert(rig.lines.some(({ error }) => String(error).startsWith("the uploads of one client fill")));
  await large.closeWrite();
});

Deno.test("a reader that takes no page has a few at a time, and tills deliver meanwhile", async () => {
  const overview = Promise.withResolvers<Overview>();
  await using rig = await startReceiver({ overview: { read: () => overview.promise } });
  const get = (path: string, more = "") =>
    rig.connect(`GET ${path} HTTP/1.1\r\nhost: a\r\n${AUTH}${more}\r\n`);
  const readers = [];
  for (let count = 0; count < ADDRESS_PAGES; count++) {
    readers.push(await get("/", "connection: close\r\n"));
  }
  await retry(async () => {
    const refused = await readAll(await get("/metrics", "connection: close\r\n"));
    assertMatch(refused, /^HTTP\/1.1 429 [^]*retry-after: 5\r\n/);
  }, { minTimeout: 5, maxAttempts: 10, multiplier: 1 });
  assertEquals((await rig.upload()).status, 200);
  overview.resolve({ tills: [], isCut: false, unseen: 0, lookedUnixMs: 0 });
  for (const reader of readers) assertMatch(await readAll(reader), /^HTTP\/1.1 200 /);
  assertMatch(await readAll(await get("/", "connection: close\r\n")), /^HTTP\/1.1 200 /);
});

Deno.test("without tokens everybody on the machine delivers, but no page in a browser does", async () => {
  await using rig = await startReceiver({ tokens: null });
  const refused = await rig.upload({ token: null, headers: { origin: "https://evil.example" } });
  assertEquals(refused.status, 403);
  assertEquals((await rig.upload({ token: null })).status, 200);
});

Deno.test("duplicates at the same time get one answer and leave one file, also across a restart", async () => {
  await using rig = await startReceiver();
  const [name, bytes] = [makeName(), makeChunk()];
  const answers = await Promise.all(Array.from({ length: 8 }, () => rig.upload({ name, bytes })));
  for (const { status, body } of answers) {
    assertEquals([status, body], [200, { status: "ok", chunk_id: name.key }]);
  }
  await rig.restart();
  assertEquals((await rig.upload({ name, bytes })).status, 200);
  assertEquals(rig.files().length, 1);
});

Deno.test("a store that is full or gone is an answer to try again, and nothing stays of the upload", async () => {
  const cases = [[true, 507, null, "30"], [false, 503, null, "30"], [
    false,
    503,
    17,
    "17",
  ]] as const;
  for (const [isFull, status, retryS, asked] of cases) {
    await using rig = await startReceiver({
      wrap: (store) => ({
        async begin(client) {
          const file = await store.begin(client);
          return {
            write: () => Promise.reject(new StoreFailure("it hurts", isFull, retryS)),
            keep: (chunk, sha256) => file.keep(chunk, sha256),
            discard: () => file.discard(),
          };
        },
      }),
    });
    const answer = await rig.upload();
    assertEquals([answer.status, answer.headers.get("retry-after")], [status, asked]);
    assertEquals(rig.files(), []);
    assert(!answer.body.error.includes("it hurts"), "details stay in the log");
    assert(rig.lines.some(({ error }) => error === "it hurts"));
  }
});

Deno.test("a store that hangs is answered with 503 after a minute, and after many of them at once", async () => {
  const clock = new SimulatedClock(Date.UTC(2026, 10, 23));
  const forever = Promise.withResolvers<never>();
  let begun = 0;
  await using rig = await startReceiver({
    clock,
    wrap: (store) => ({
      async begin(client) {
        const file = await store.begin(client);
        begun++;
        return { ...asFile(file), keep: () => forever.promise };
      },
    }),
  });
  const hanging = Array.from({ length: 16 }, (_, index) => rig.upload({ name: makeName(index) }));
  await retry(() => assertEquals(begun, 16), { minTimeout: 5, maxAttempts: 400, multiplier: 1 });
  // Each sleeps until its limit; the connections are watched by one more sleeper.
  await retry(() => assertEquals(clock.sleepers, 17), {
    ...{ minTimeout: 5, maxAttempts: 400, multiplier: 1 },
  });
  await clock.advance(60_000);
  for (const { status, headers } of await Promise.all(hanging)) {
    assertEquals([status, headers.get("retry-after")], [503, "30"]);
  }
  assertEquals((await rig.upload()).status, 503, "not one more begins");
  assertEquals(begun, 16);
  forever.reject(new StoreFailure("it has come back"));
});

/** The same file, without its class. */
function asFile(file: IncomingFile): IncomingFile {
  return {
    write: (bytes) => file.write(bytes),
    keep: (chunk, sha256) => file.keep(chunk, sha256),
    discard: () => file.discard(),
  };
}

Deno.test("a store may take a second longer for each megabyte", async () => {
  const clock = new SimulatedClock(Date.UTC(2026, 10, 23));
  const [forever, begun] = [Promise.withResolvers<never>(), Promise.withResolvers<void>()];
  await using rig = await startReceiver({
    clock,
    wrap: (store) => ({
      begin: async (client) => ({
        ...asFile(await store.begin(client)),
        keep: () => {
          begun.resolve();
          return forever.promise;
        },
      }),
    }),
  });
  const sound = crypto.getRandomValues(new Uint8Array(60_000));
  const bytes = concatBytes([makeChunk(), ...Array.from({ length: 50 }, () => sound)]);
  let isAnswered = false;
  const answer = rig.upload({ bytes: new Uint8Array(bytes) }).finally(() => isAnswered = true);
  await begun.promise;
  await clock.advance(62_900);
  assertEquals(isAnswered, false);
  await clock.advance(200);
  assertEquals((await answer).status, 503);
  forever.reject(new StoreFailure("it has come back"));
});

Deno.test("an upload may come in chunks, ask first, share its connection, or be cut into single bytes", async () => {
  await using rig = await startReceiver();
  const part = (name: string, value: string, more = "") =>
    `--b\r\nContent-Disposition: form-data; name="${name}"${more}\r\n\r\n${value}\r\n`;
  const form = (minute: number) =>
    part("point_id", ids.pointId) + part("register_id", ids.registerId) +
    part("chunk_file", "OggS and more", '; filename="x"') + part("device_id", ids.deviceId) +
    part("start_ts", `${1_795_420_800 + minute * 60}`) +
    part("end_ts", `${1_795_420_860 + minute * 60}`) + part("codec", "opus") +
    part("sample_rate", "16000") + part("channels", "1") + "--b--\r\n";
  const head = POST + AUTH + "content-type: multipart/form-data; boundary=b\r\n";
  const long = (minute: number, more = "") => {
    const body = form(minute);
    return `${head}${more}content-length: ${body.length}\r\n\r\n${body}`;
  };
  const chunked = (minute: number) => {
    const body = form(minute);
    const [a, b] = [body.slice(0, 333), body.slice(333)];
    const size = (text: string) => text.length.toString(16);
    return `${head}transfer-encoding: chunked\r\n\r\n` +
      `${size(a)}\r\n${a}\r\n${size(b)}\r\n${b}\r\n0\r\n\r\n`;
  };
  const client = await rig.connect(
    long(0) + chunked(1) + long(2) + "GET /health HTTP/1.1\r\nhost: a\r\n\r\n" +
      long(3, "connection: close\r\n"),
  );
  const said = await readAll(client);
  assertEquals(said.match(/HTTP\/1.1 200 OK/g)?.length, 5, said);
  assertEquals(said.match(/connection: close/g)?.length, 1);

  const asking = await rig.connect(
    `${head}expect: 100-continue\r\nconnection: close\r\ncontent-length: ${form(4).length}\r\n\r\n`,
  );
  const buffer = new Uint8Array(1000);
  const count = await asking.read(buffer) ?? 0;
  assertEquals(
    new TextDecoder().decode(buffer.subarray(0, count)),
    "HTTP/1.1 100 Continue\r\n\r\n",
  );
  for (const byte of new TextEncoder().encode(form(4))) await asking.write(Uint8Array.of(byte));
  assertMatch(await readAll(asking), /^HTTP\/1.1 200 OK/);
  assertEquals(rig.files().length, 5);

  const refused = await rig.connect(
    `${POST}expect: 100-continue\r\ncontent-length: 99999\r\n\r\n`,
  );
  assertMatch(await readAll(refused), /^HTTP\/1.1 401 /, "it is not asked for a body");
});

Deno.test("requests that are none, and other paths and methods, are answered", async () => {
  await using rig = await startReceiver();
  const cases: [string, RegExp][] = [
    ["\x16\x03\x01", /^HTTP\/1.1 400 /],
    [`${POST}content-length: 5\r\ntransfer-encoding: chunked\r\n\r\n`, /^HTTP\/1.1 400 /],
    [`${POST}content-length: 99999999999\r\n\r\n`, /^HTTP\/1.1 413 /],
    [`${POST}transfer-encoding: gzip\r\n\r\n`, /^HTTP\/1.1 501 /],
    [`${POST}${AUTH}content-length: 2\r\n\r\n{}`, /^HTTP\/1.1 415 /],
    [`${POST}x: ${"y".repeat(9000)}\r\n\r\n`, /^HTTP\/1.1 431 /],
    ["GET /api/v1/chunks HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n", /^HTTP\/1.1 405 /],
    ["GET /etc/passwd HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n", /^HTTP\/1.1 404 /],
    [
      "HEAD /health HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n",
      /^HTTP\/1.1 200 .*\r\n\r\n$/s,
    ],
  ];
  for (const [text, expected] of cases) {
    assertMatch(await readAll(await rig.connect(text)), expected, text);
  }
});

Deno.test("a client that is refused gets its answer even while it sends a large body", async () => {
  await using rig = await startReceiver();
  const client = await rig.connect(`${POST}content-length: 3000000\r\n\r\n`);
  const reading = readAll(client);
  const piece = new Uint8Array(100_000);
  for (let sent = 0; sent < 3_000_000; sent += piece.length) {
    for (let at = 0; at < piece.length;) at += await client.write(piece.subarray(at));
  }
  const said = await reading;
  assertMatch(said, /^HTTP\/1.1 401 /);
  assert(!said.includes("(reset)"));
});

Deno.test("an upload at which the receiver fails is counted, too", async () => {
  await using rig = await startReceiver({
    wrap: () => ({ begin: () => Promise.reject(new TypeError("a fault of the program")) }),
  });
  assertEquals((await rig.upload()).status, 500);
  const headers = { authorization: `Bearer ${TOKEN}` };
  const metrics = await (await fetch(`http://127.0.0.1:${rig.port}/metrics`, { headers })).text();
  assertMatch(metrics, /^recorder_receiver_uploads_total\{status="500"\} 1$/m);
});

Deno.test("uploads whose body is too large or too slow are counted and logged with their sender", async () => {
  const clock = new SimulatedClock(Date.UTC(2026, 10, 23));
  await using rig = await startReceiver({ clock, maxBodyBytes: 20_000 });
  const form = `${POST}${AUTH}content-type: multipart/form-data; boundary=b\r\n`;
  const begun = `--b\r\nX: ${"y".repeat(100)}`;
  const announced = await rig.connect(`${form}content-length: 20001\r\n\r\n`);
  assertMatch(await readAll(announced), /^HTTP\/1.1 413 /);
  const sent = await rig.connect(`${form}transfer-encoding: chunked\r\n\r\nffff\r\n`);
  assertMatch(await readAll(sent), /^HTTP\/1.1 413 /);
  const malformed = await rig.connect(`${form}transfer-encoding: chunked\r\n\r\nxyz\r\n`);
  assertMatch(await readAll(malformed), /^HTTP\/1.1 400 /);
  const coded = await rig.connect(`${form}transfer-encoding: gzip, chunked\r\n\r\n`);
  assertMatch(await readAll(coded), /^HTTP\/1.1 501 /);
  const slow = await rig.connect(`${form}content-length: 9000\r\n\r\n${begun}`);
  const answer = readAll(slow);
  await retry(() => assertEquals(clock.sleepers, 1), {
    ...{ minTimeout: 5, maxAttempts: 100, multiplier: 1 },
  });
  let isOver = false;
  answer.finally(() => isOver = true);
  while (!isOver) {
    await clock.advance(10_000);
    await settled();
  }
  assertMatch(await answer, /^HTTP\/1.1 408 /);
  const headers = { authorization: `Bearer ${TOKEN}` };
  const metrics = await (await fetch(`http://127.0.0.1:${rig.port}/metrics`, { headers })).text();
  const counted = [
    ...metrics.matchAll(/^recorder_receiver_uploads_total\{status="(\d+)"\} (\d+)$/gm),
  ];
  assertEquals(counted.map(([, status, count]) => `${status}: ${count}`), [
    ...["400: 1", "408: 1", "413: 2", "501: 1"],
  ]);
  const lines = rig.lines.filter(({ message }) =>
    String(message).startsWith("Refused an upload: ")
  );
  assertEquals(lines.map(({ status, peer }) => [status, peer]), [
    ...[413, 413, 400, 501, 408].map((status) => [status, "127.0.0.1"]),
  ]);
});

Deno.test("heads, idle connections and bodies that do not move have their time", async () => {
  const clock = new SimulatedClock(Date.UTC(2026, 10, 23));
  await using rig = await startReceiver({ clock });
  const { port } = rig;
  const head = await rig.connect("POST /api");
  const idle = await rig.connect("GET /health HTTP/1.1\r\nhost: a\r\n\r\n");
  const body = await rig.connect(
    `${POST}${AUTH}content-type: multipart/form-data; boundary=b\r\ncontent-length: 900000\r\n\r\n--b\r\nX: y`,
  );
  const slow = await rig.connect(
    `${POST}${AUTH}content-type: multipart/form-data; boundary=b\r\ncontent-length: 900000\r\n\r\n--b\r\nX: y`,
  );
  await retry(() => assertEquals(clock.sleepers, 1), {
    minTimeout: 5,
    maxAttempts: 100,
    multiplier: 1,
  });
  // Until all four are read, time stands still.
  const first = new Uint8Array(1000);
  assert((await idle.read(first) ?? 0) > 0);
  await new Promise((resolve) => setTimeout(resolve, 20));
  await clock.advance(HEAD_MS + 2000);
  assertEquals(await readAll(head), "");
  for (let ms = 0; ms < BODY_IDLE_MS; ms += 10_000) {
    await slow.write(new TextEncoder().encode("x")).catch(() => 0);
    await new Promise((resolve) => setTimeout(resolve, 5));
    await clock.advance(10_000);
  }
  for (const client of [body, slow]) {
    assertMatch(await readAll(client), /^HTTP\/1.1 408 .*too slowly/s);
  }
  await clock.advance(IDLE_MS);
  assertEquals(await readAll(idle), "");
  assertEquals(port, rig.port);
  assertEquals(rig.files(), []);
});

Deno.test("a flood of connections that ask for nothing does not keep a till from delivering", async () => {
  await using rig = await startReceiver();
  for (let opened = 0; opened < MAX_CONNECTIONS + 200; opened += 100) {
    await Promise.all(Array.from({ length: 100 }, () => rig.connect("POST /api")));
  }
  assertEquals((await rig.upload()).status, 200);
});

Deno.test("closing lets an upload in progress end, and closes what is idle", async () => {
  await using rig = await startReceiver();
  const body = '--b\r\nContent-Disposition: form-data; name="a"\r\n\r\n1\r\n--b--\r\n';
  const head = `${POST}${AUTH}content-type: multipart/form-data; boundary=b\r\n` +
    `content-length: ${body.length}\r\n\r\n`;
  const idle = await rig.connect("GET /health HTTP/1.1\r\nhost: a\r\n\r\n");
  const busy = await rig.connect(head + body.slice(0, 20));
  assert(await idle.read(new Uint8Array(1000)));
  await new Promise((resolve) => setTimeout(resolve, 20));
  const closed = rig.receiver.close();
  assertEquals(await readAll(idle), "");
  await busy.write(new TextEncoder().encode(body.slice(20)));
  assertMatch(await readAll(busy), /^HTTP\/1.1 400 .*point_id is missing/s);
  await closed;
});
