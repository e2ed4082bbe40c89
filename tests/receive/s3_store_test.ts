// Chunks in a bucket: what a folder promises holds here too, with two receivers on one bucket, and with a
// store that fails in every way. Against a strict double on loopback; `deno task test:s3` has a real store.

import { assert, assertEquals, assertRejects, assertStringIncludes } from "@std/assert";
import { S3Failure } from "../../src/receive/s3_answers.ts";
import { S3Client, type S3Limits } from "../../src/receive/s3_client.ts";
import { parseS3Access } from "../../src/receive/s3_settings.ts";
import { S3Store } from "../../src/receive/s3_store.ts";
import { type ChunkFacts, StoreFailure } from "../../src/receive/store.ts";
import type { Clock } from "../../src/system/clock.ts";
import { systemClock } from "../../src/system/clock.ts";
import { ids, makeName } from "../fixtures/chunks.ts";
import { BUCKET, problem, S3Double } from "../fixtures/s3_double.ts";
import { until } from "../fixtures/temp_spool.ts";

const PREFIX = "shop/7/";
const DEVICE = `${PREFIX}${ids.pointId}/${ids.registerId}/${ids.deviceId}`;
/** Retries at once. */
const clock: Clock = { ...systemClock, sleep: () => Promise.resolve() };

function openStore(double: S3Double, options: {
  readonly limits?: S3Limits;
  readonly memoryBytes?: number;
  readonly clock?: Clock;
  readonly bucket?: string;
  readonly credentials?: string;
} = {}) {
  const { bucket = BUCKET, credentials = double.credentials, limits } = options;
  const client = new S3Client({
    ...{ bucket, access: () => parseS3Access(credentials), caCerts: [] },
    ...{ clock, ...options, ...limits === undefined ? {} : { limits } },
  });
  const ready: boolean[] = [];
  const store = new S3Store({
    ...{ client, prefix: PREFIX, memoryBytes: options.memoryBytes ?? 1e6 },
    onReady: (isConditional) => ready.push(isConditional),
  });
  return {
    ready,
    store,
    turns: client.turns,
    async put(chunk: ChunkFacts, text: string) {
      const file = await store.begin(chunk.deviceId);
      try {
        const bytes = new TextEncoder().encode(text);
        for (let at = 0; at < bytes.length; at += 3) await file.write(bytes.subarray(at, at + 3));
        const sha256 = new Uint8Array(await crypto.subtle.digest("SHA-256", bytes));
        return await file.keep(chunk, sha256);
      } finally {
        await file.discard();
      }
    },
    [Symbol.dispose]: () => client[Symbol.dispose](),
  };
}

function chunk(changed: Partial<ChunkFacts> = {}): ChunkFacts {
  return { ...ids, ...makeName(), isProvisional: false, ...changed };
}

function textOf(double: S3Double, place: string): string {
  return new TextDecoder().decode(double.objects.get(place)?.bytes);
}

/** Names of chunks and notes. */
function kept(double: S3Double): string[] {
  return double.names().filter((name) => name !== `${PREFIX}.receiver`);
}

for (const conditional of ["respected", "refused", "ignored"] as const) {
  const words = `a store where If-None-Match is ${conditional}`;

  Deno.test(`${words}: the same key with the same bytes is one chunk; other bytes change nothing`, async () => {
    await using double = new S3Double();
    double.conditional = conditional;
    using a = openStore(double);
    using b = openStore(double);
    const key = "4f6c1c1e-0000-4000-8000-000000000000";
    const facts = chunk({ key, startUnixUs: Date.UTC(2026, 10, 23, 23, 59, 59, 999) * 1000 + 999 });
    const place = `${DEVICE}/2026-11-23/20261123T235959.999999Z_59993500us_${key}.ogg`;
    assertEquals(await a.put(facts, "sound"), { outcome: "stored", place });
    assertEquals(await a.put(facts, "sound"), { outcome: "repeated", place });
    assertEquals(await b.put(facts, "sound"), { outcome: "repeated", place });
    assertEquals(await b.put(facts, "other"), { outcome: "conflict", place });
    assertEquals(await a.put(facts, "longer than the first"), { outcome: "conflict", place });
    assertEquals(kept(double), [place]);
    assertEquals(textOf(double, place), "sound");
    assertEquals([...a.ready, ...b.ready], Array(2).fill(conditional === "respected"));
  });

  Deno.test(`${words}: a chunk whose time was unsure takes its true time when it comes again`, async () => {
    await using double = new S3Double();
    double.conditional = conditional;
    using a = openStore(double);
    using b = openStore(double);
    const unsure = chunk({ isProvisional: true });
    const { place } = await a.put(unsure, "sound");
    const marker = `${DEVICE}/.unsynchronized/${unsure.key}`;
    assertEquals(kept(double), [marker, place].sort());
    assertEquals(await b.put(unsure, "sound"), { outcome: "repeated", place });
    const sure = { ...unsure, startUnixUs: unsure.startUnixUs + 86_400e6, isProvisional: false };
    assertEquals((await b.put(sure, "other")).outcome, "conflict");
    assertEquals(kept(double), [marker, place].sort(), "a conflict changes nothing");
    const moved = await b.put(sure, "sound");
    assertEquals(moved.outcome, "repeated");
    assertStringIncludes(moved.place, "/2026-11-24/20261124T");
    assertEquals(kept(double), [moved.place]);
    assertEquals(await a.put(sure, "sound"), moved);
  });
}

Deno.test("of uploads of one key at the same time, at two receivers, one is stored and none overwritten", async () => {
  await using double = new S3Double();
  using a = openStore(double);
  using b = openStore(double);
  const facts = chunk();
  const texts = ["sound", "sound", "other", "sound", "other", "sound"];
  const all = await Promise.all(
    texts.map((text, index) => (index % 2 === 0 ? a : b).put(facts, text)),
  );
  const stored = texts.filter((_, index) => all[index]?.outcome === "stored");
  assertEquals(stored.length, 1);
  const [place = ""] = kept(double);
  assertEquals(kept(double).length, 1);
  assertEquals(textOf(double, place), stored[0]);
  for (const [index, { outcome }] of all.entries()) {
    assertEquals(outcome === "conflict", texts[index] !== stored[0], `${index}`);
  }
});

Deno.test("a move to the true time that is cut off anywhere is completed by the next attempt", async () => {
  for (let requests = 0; requests < 8; requests++) {
    await using double = new S3Double();
    using a = openStore(double);
    const unsure = chunk({ isProvisional: true });
    await a.put(unsure, "sound");
    const sure = { ...unsure, startUnixUs: unsure.startUnixUs + 3600e6, isProvisional: false };
    // The receiver is dead after so many requests of the move.
    let left = requests;
    double.fault = () => left-- > 0 ? null : "reset";
    await a.put(sure, "sound").catch(() => {});
    double.fault = () => null;
    using b = openStore(double);
    assertEquals((await b.put(sure, "sound")).outcome, "repeated", `after ${requests}`);
    assertEquals(kept(double).length, 1, `after ${requests}: ${kept(double)}`);
  }
});

Deno.test("an answer of the store that is lost stores nothing twice, and the chunk is accepted", async () => {
  await using double = new S3Double();
  using a = openStore(double);
  await a.store.tryOut();
  let puts = 0;
  double.fault = ({ method }) => method === "PUT" && puts++ === 0 ? "lost" : null;
  const facts = chunk();
  const { outcome, place } = await a.put(facts, "sound");
  assertEquals([outcome, kept(double)], ["repeated", [place]]);
});

Deno.test("a store that fails for a moment is tried again; one that fails for longer is a failure", async () => {
  await using double = new S3Double();
  using a = openStore(double);
  await a.store.tryOut();
  const faults = [
    () => problem(503, "SlowDown", "Please reduce your request rate."),
    () => problem(500, "InternalError", "We encountered an internal error."),
    () => problem(409, "ConditionalRequestConflict", "A conflicting operation occurred."),
    () => "reset" as const,
  ];
  for (const fault of faults) {
    let times = 2;
    double.fault = () => times-- > 0 ? fault() : null;
    assertEquals((await a.put(chunk(), "sound")).outcome, "stored");
    double.fault = fault;
    const before = kept(double);
    const failure = await assertRejects(() => a.put(chunk(), "sound"), S3Failure);
    assertEquals([failure.kind, failure.isFull], ["later", false]);
    assertEquals(kept(double), before, "nothing of it is kept");
    double.fault = () => null;
  }
});

Deno.test("a large chunk has a second more for each megabyte, in one attempt and in all of them together", async () => {
  await using double = new S3Double();
  using a = openStore(double, { limits: { attemptMs: 600, requestMs: 700 }, memoryBytes: 10e6 });
  await a.store.tryOut();
  const waits = new Map<string, number>();
  double.fault = async ({ method }) => {
    waits.set(method, (waits.get(method) ?? 0) + 1);
    if (method === "PUT") await new Promise((resolve) => setTimeout(resolve, 900));
    return null;
  };
  assertEquals((await a.put(chunk(), "sound".repeat(600_000))).outcome, "stored");
  assertEquals(waits.get("PUT"), 1);
  await assertRejects(() => a.put(chunk({ key: crypto.randomUUID() }), "sound"), S3Failure);
});

Deno.test("a store that cannot do it now gets fewer requests at a time; a wrong key changes nothing", async () => {
  const faults: [string, S3Double["fault"], boolean][] = [
    ["503", () => problem(503, "SlowDown", "Please reduce your request rate."), true],
    ["500", () => problem(500, "InternalError", "We encountered an internal error."), true],
    ["429", () => problem(429, "TooManyRequests", "Slow down."), true],
    ["reset", () => "reset", true],
    ["hang", () => "hang", true],
    ["403", () => problem(403, "AccessDenied", "No."), false],
    ["507", () => problem(507, "XMinioStorageFull", "No space"), false],
  ];
  for (const [what, fault, shrinks] of faults) {
    await using double = new S3Double();
    const limits = { attemptMs: 1000, requestMs: 1000 };
    using one = openStore(double, { limits });
    const { limit } = one.turns.state;
    double.fault = fault;
    await assertRejects(() => one.put(chunk(), "sound"), S3Failure);
    const { state } = one.turns;
    assertEquals([state.running, state.waiting, state.limit < limit], [0, 0, shrinks], what);
    double.fault = () => null;
    assertEquals((await one.put(chunk(), "sound")).outcome, "stored", what);
  }
});

Deno.test("as many uploads as the window permits are in the store, and the others follow", async () => {
  await using double = new S3Double();
  using one = openStore(double, { clock: systemClock });
  await one.store.tryOut();
  const { limit } = one.turns.state;
  const open = Promise.withResolvers<null>();
  const waiting = new Set<string>();
  let most = 0;
  double.fault = async ({ name }) => {
    waiting.add(name);
    most = Math.max(most, waiting.size);
    await open.promise;
    waiting.delete(name);
    return null;
  };
  const puts = Array.from(
    { length: 3 * limit },
    () => one.put(chunk({ key: crypto.randomUUID() }), "a"),
  );
  await until(() => waiting.size === limit && one.turns.state.waiting === 2 * limit);
  open.resolve(null);
  for (const { outcome } of await Promise.all(puts)) assertEquals(outcome, "stored");
  assertEquals(kept(double).length, 3 * limit);
  assert(most >= limit);
});

Deno.test("a new endpoint in the credentials is where the next request goes", async () => {
  await using before = new S3Double();
  await using after = new S3Double();
  let { credentials } = before;
  const access = () => parseS3Access(credentials);
  using client = new S3Client({ bucket: BUCKET, access, caCerts: [], clock });
  await client.look("a");
  ({ credentials } = after);
  await client.look("b");
  assertEquals(before.requests.map(({ name }) => name), ["a"]);
  assertEquals(after.requests.map(({ name }) => name), ["b"]);
});

Deno.test("each failure of a store has a sentence that says what to do", async () => {
  await using double = new S3Double();
  const { credentials } = double;
  const other = (from: RegExp, to: string) => credentials.replace(from, to);
  const cases: [string, Parameters<typeof openStore>[1], S3Double["fault"]?][] = [
    ["the object store does not know the access key (403 InvalidAccessKeyId", {
      credentials: other(/AKID\w+/, "AKIDOTHER"),
    }],
    ["the secret key is not that of the access key (403 SignatureDoesNotMatch", {
      credentials: other(/wJalr\S+/, "guess"),
    }],
    ["the object store has no bucket elsewhere (404 NoSuchBucket", { bucket: "elsewhere" }],
    ["the clock of this machine differs from that of the object store by 360", {
      clock: { ...clock, unixMs: () => Date.now() + 3_600_000 },
    }],
    [
      "the object store is full (507",
      {},
      ({ method }) => method === "PUT" ? problem(507, "XMinioStorageFull", "No space") : null,
    ],
    [
      "the object store is full (403 QuotaExceeded: Limit 9)",
      {},
      ({ method }) => method === "PUT" ? problem(403, "QuotaExceeded", "Limit 9") : null,
    ],
    [
      `the access key has no right to this in the bucket ${BUCKET} (403 AccessDenied: No.)`,
      {},
      () => problem(403, "AccessDenied", "No."),
    ],
    [
      "the bucket is in another region: set region = eu-west-3 (301 PermanentRedirect",
      {},
      () =>
        new Response("<Error><Code>PermanentRedirect</Code></Error>", {
          status: 301,
          headers: { "x-amz-bucket-region": "eu-west-3", location: "http://127.0.0.1:1/" },
        }),
    ],
    [
      "the object store refers to https://other.example/x: set endpoint_url",
      {},
      () => new Response(null, { status: 307, headers: { location: "https://other.example/x" } }),
    ],
    ["the session token has expired", {}, () => problem(400, "ExpiredToken", "Expired.")],
    [
      "the object store refuses this (400 EntityTooLarge: Too big)",
      {},
      () => problem(400, "EntityTooLarge", "Too big"),
    ],
    ["does not answer within 0 s", { limits: { attemptMs: 100, requestMs: 150 } }, () => "hang"],
    ["cannot be reached: ", { credentials: other(/127.0.0.1:\d+/, "127.0.0.1:1") }],
    ["cannot be reached: ", {}, () => "reset"],
  ];
  for (const [words, options, fault] of cases) {
    double.fault = fault ?? (() => null);
    using a = openStore(double, options);
    const failure = await assertRejects(() => a.put(chunk(), "sound"), S3Failure);
    assertStringIncludes(failure.message, words);
    assertEquals(failure.isFull, words.includes("full"), words);
    assertEquals(failure.kind === "settings", !/reached|within|full/.test(words), words);
    assert(!failure.message.includes("wJalr"), "no key is shown");
    double.fault = () => null;
    assertEquals(kept(double), []);
  }
});

Deno.test("a store that was away when the receiver began is used when it is back", async () => {
  await using double = new S3Double();
  using a = openStore(double);
  double.fault = () => problem(503, "ServiceUnavailable", "Later.");
  await assertRejects(() => a.store.tryOut(), S3Failure);
  double.fault = () => null;
  assertEquals((await a.put(chunk(), "sound")).outcome, "stored");
  assertEquals(a.ready, [true]);
});

Deno.test("an object that another program brought is compared by its bytes", async () => {
  await using double = new S3Double();
  using a = openStore(double);
  const facts = chunk();
  const { place } = await a.put(facts, "sound");
  double.objects.set(place, { bytes: new TextEncoder().encode("sound"), headers: {} });
  assertEquals((await a.put(facts, "sound")).outcome, "repeated");
  assertEquals((await a.put(facts, "noise")).outcome, "conflict");
});

Deno.test("uploads in progress hold no more memory than they may, and give it back", async () => {
  await using double = new S3Double();
  using a = openStore(double, { memoryBytes: 40 });
  const begin = (client: string) => a.store.begin(client);
  const files = [await begin("a"), await begin("a"), await begin("b"), await begin("c")];
  const write = (index: number, bytes: number) => files[index]?.write(new Uint8Array(bytes));
  const fails = async (work: () => Promise<unknown> | undefined, words: string) => {
    const failure = await assertRejects(async () => await work(), StoreFailure);
    assertStringIncludes(failure.message, words);
  };
  await write(0, 12);
  await fails(() => write(1, 9), "the uploads of one client fill the");
  await write(2, 20);
  await write(3, 9); // b holds most: it gives way
  const other = "needed the memory of this one";
  await fails(() => write(2, 1), other);
  await fails(() => files[2]?.keep(chunk(), new Uint8Array(32)), other);
  for (const file of files) {
    await file.discard();
    await file.discard();
  }
  assertEquals((await a.put(chunk(), "01234567890123456789")).outcome, "stored");
  assertEquals((await a.put(chunk(), "01234567890123456789")).outcome, "stored");
});

Deno.test("an upload that the store is slow to take counts until the store has ended with it", async () => {
  await using double = new S3Double();
  using a = openStore(double, { memoryBytes: 20 });
  await a.store.tryOut();
  const asked = Promise.withResolvers<void>();
  const slow = Promise.withResolvers<null>();
  double.fault = () => {
    asked.resolve();
    return slow.promise;
  };
  const [first, second] = [await a.store.begin("a"), await a.store.begin("a")];
  await first.write(new Uint8Array(6));
  const digest = await crypto.subtle.digest("SHA-256", new Uint8Array(6));
  const keeping = first.keep(chunk(), new Uint8Array(digest));
  const discarded = first.discard(); // its sender waits no longer
  await asked.promise;
  await assertRejects(() => second.write(new Uint8Array(5)), StoreFailure);
  slow.resolve(null);
  assertEquals((await keeping).outcome, "stored");
  await discarded;
  await second.write(new Uint8Array(5));
  await second.discard();
});

Deno.test("a web server that says 200 to everything is not taken for an object store", async () => {
  await using double = new S3Double();
  using a = openStore(double);
  await a.store.tryOut();
  double.fault = ({ method }) => method === "HEAD" ? null : new Response("<html>Welcome</html>");
  using b = openStore(double);
  for (const work of [() => b.store.tryOut(), () => a.put(chunk(), "sound")]) {
    const failure = await assertRejects(work, S3Failure);
    assertStringIncludes(failure.message, "answers like no object store (200 without an ETag)");
    assertEquals(failure.kind, "settings");
  }
});

Deno.test("a store that does not know parts of objects costs no more memory than was asked for", async () => {
  await using double = new S3Double();
  double.hasRanges = false;
  double.objects.set("large", { bytes: new Uint8Array(1_000_000).fill(7), headers: {} });
  using client = new S3Client({
    ...{ bucket: BUCKET, access: () => parseS3Access(double.credentials), caCerts: [], clock },
  });
  assertEquals(await client.read("large", 100), new Uint8Array(100).fill(7));
  assertEquals((await client.read("large", 1_000_000))?.length, 1_000_000);
});

Deno.test("a store that does not refuse to overwrite any more is tried out again", async () => {
  await using double = new S3Double();
  using a = openStore(double);
  assertEquals((await a.put(chunk(), "sound")).outcome, "stored");
  double.conditional = "refused";
  const failure = await assertRejects(() => a.put(chunk(), "sound"), S3Failure);
  assertEquals(failure.kind, "unsupported");
  assertEquals((await a.put(chunk(), "sound")).outcome, "stored");
  assertEquals(a.ready, [true, false]);
});
