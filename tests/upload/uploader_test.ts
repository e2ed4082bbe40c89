// The queue against a real server with a real spool: the order, the times and the number of attempts,
// what is logged, and how the uploader stops.

import { assertAlmostEquals, assertEquals, assertMatch } from "@std/assert";
import { parseChunkName } from "../../src/chunk/chunk_name.ts";
import { ids, makeName } from "../fixtures/chunks.ts";
import type { Behaviour } from "../fixtures/ingest_server.ts";
import { REQUEST_ROUNDS, settled } from "../fixtures/settled.ts";
import { shortTimers } from "../fixtures/short_timers.ts";
import { SimulatedClock } from "../fixtures/simulated_clock.ts";
import { until } from "../fixtures/temp_spool.ts";
import { type RigOptions, UploadRig } from "../fixtures/upload_rig.ts";

const START_MS = Date.UTC(2026, 10, 23, 9);

/** Math.random() returns this until disposal; 0 makes a backoff with full jitter as long as possible. */
function fixedRandom(value: number): Disposable {
  const { random } = Math;
  Math.random = () => value;
  return { [Symbol.dispose]: () => void (Math.random = random) };
}

// ---- delivered

Deno.test("waiting chunks are delivered oldest first over one connection, and moved to uploaded/", async () => {
  await using rig = await UploadRig.start([3, 1, 0, 2], { concurrency: 1 });
  await rig.delivered(4);
  await rig.put(4); // wakes the uploader
  await rig.delivered(5);
  const times = rig.server.chunks.map(({ fields }) => Number(fields.start_ts));
  assertEquals(times, times.toSorted());
  assertEquals([rig.server.connections, rig.server.violations], [1, []]);
  assertEquals([rig.temp.files("outbox").length, rig.temp.files("uploaded").length], [0, 5]);
  const keys = rig.temp.files("uploaded").map((name) => name.slice(-40, -4));
  assertEquals(rig.server.chunks.map(({ key }) => key), keys);
  const { queue_size, upload_errors_total, last_upload_ts, status } = rig.report;
  assertEquals([queue_size, upload_errors_total, status], [0, 0, "ok"]);
  assertAlmostEquals(last_upload_ts ?? 0, Date.now() / 1000, 5);
  assertEquals(rig.said(), Array(5).fill("Delivered."));
});

Deno.test("an empty chunk is sent with the ids of the configuration, and the server judges it", async () => {
  await using rig = await UploadRig.start();
  await rig.temp.store("outbox", makeName(), 0);
  await rig.delivered(1);
  assertEquals(rig.server.chunks[0]?.bytes.length, 0);
  assertEquals(rig.server.chunks[0]?.fields.point_id, ids.pointId);
});

Deno.test("after a lost answer the chunk is sent again under the same key, in the same order", async () => {
  await using rig = await UploadRig.start();
  rig.server.script.push({ kind: "accept-then-reset" }, { kind: "reset-before-body" });
  await rig.put(0);
  await rig.put(1);
  await rig.delivered(2);
  const [first, second] = rig.server.chunks.map(({ key }) => key);
  assertEquals(
    rig.server.requests.map(({ key }) => key),
    [first, first, first, second].map(String),
  );
  assertEquals([rig.server.duplicates, rig.server.chunks.length], [1, 2]);
  assertEquals(Object.fromEntries(rig.status.counters.attempts), { retry: 2, delivered: 2 });
});

Deno.test("an older chunk that appears during an outage is sent before those that wait", async () => {
  const behaviour: Behaviour = { kind: "status", status: 500 };
  await using rig = await UploadRig.start([5, 6], { behaviour, concurrency: 1 });
  await rig.requests(3);
  const key = parseChunkName(await rig.put(1))?.key;
  await rig.server.waitUntil(({ requests }) => requests.at(-1)?.key === key, 5000);
  rig.server.behaviour = { kind: "ok" };
  await rig.delivered(3);
  const times = rig.server.chunks.map(({ fields }) => Number(fields.start_ts));
  assertEquals(times, times.toSorted());
});

// ---- outages

Deno.test("an outage of many attempts is logged once, and its end once", async () => {
  await using rig = await UploadRig.start([], { retryMaxMs: 2 });
  rig.server.goOffline();
  await rig.put(0);
  await until(() => rig.report.upload_errors_total >= 50);
  assertEquals(rig.problems, ["upload_failing"]);
  assertMatch(
    rig.report.problems[0]?.message ?? "",
    /^Chunks wait because delivery fails: no answer: .*refused/,
  );
  assertEquals([rig.report.queue_size, rig.report.status], [1, "degraded"]);
  assertEquals(rig.said().length, 1);
  assertMatch(rig.said("WARNING")[0] ?? "", /^Chunks wait because delivery fails: /);

  await rig.server.goOnline();
  await rig.delivered(1);
  await rig.put(1);
  await rig.delivered(2);
  const [, ...resolved] = rig.said("WARNING").map((line) => line.replace(/[\d.]+ s/, "N s"));
  assertEquals(resolved, ["Resolved after N s: upload_failing."]);
  assertEquals(rig.said("INFO"), ["Delivered.", "Delivered."]);
  assertEquals([rig.problems, rig.report.status], [[], "ok"]);
});

Deno.test("the backoff doubles from retry_min_s to retry_max_s, and starts over after a success", async () => {
  using _ = fixedRandom(0);
  const [first, second, most] = [2_001, 4_002, 7_003]; // lengths that no other timer has
  using timers = shortTimers([first, second, most]);
  await using rig = await UploadRig.start([], { retryMinMs: first, retryMaxMs: most });
  const failure: Behaviour = { kind: "status", status: 500 };
  const success: Behaviour = { kind: "ok" };
  rig.server.script.push(...Array(5).fill(failure), success, failure, failure, success);
  await rig.put(0);
  await rig.put(1);
  await rig.delivered(2);
  assertEquals(timers.startedMs, [first, second, most, most, most, first, second]);
});

Deno.test("the backoff has full jitter: it may be almost zero", async () => {
  using _ = fixedRandom(0.9999);
  await using rig = await UploadRig.start([], { retryMinMs: 10_000, retryMaxMs: 20_000 });
  rig.server.script.push(...Array(5).fill({ kind: "status", status: 500 }));
  await rig.put(0);
  await rig.delivered(1);
});

Deno.test("the removal of chunks during an outage does not restart the backoff", async () => {
  using _ = fixedRandom(0);
  using timers = shortTimers([2_001, 4_002, 7_003]);
  const options: RigOptions = { retryMinMs: 2_001, retryMaxMs: 7_003 };
  options.behaviour = { kind: "status", status: 500 };
  await using rig = await UploadRig.start([0, 1, 2, 3], options);
  await rig.requests(5);
  const tried = () => new Set(rig.server.requests.map(({ key }) => key)).size;
  for (let removed = 1; removed <= 3; removed++) {
    const [oldest = ""] = rig.temp.files("outbox");
    // A chunk in flight stays until the attempt has ended.
    while (await rig.temp.spool.remove("outbox", oldest) === null) await settled(1);
    await until(() => tried() > removed);
  }
  assertEquals(new Set(timers.startedMs.slice(2)), new Set([7_003]));
  assertEquals(tried(), 4);
});

for (const [seconds, waitMs] of [["120", 120_000], ["999999", 3_600_000]] as const) {
  Deno.test(`a Retry-After of ${seconds} s is obeyed for ${waitMs / 1000} s`, async () => {
    const clock = new SimulatedClock(START_MS);
    await using rig = await UploadRig.start([], { clock });
    const headers = { "retry-after": seconds };
    rig.server.script.push({ kind: "status", status: 429, headers });
    await rig.put(0);
    await until(() => clock.sleepers === 1 && rig.report.upload_errors_total === 1);
    await clock.advance(waitMs - 1000);
    await settled(REQUEST_ROUNDS);
    assertEquals(rig.server.requests.length, 1);
    await clock.advance(1000);
    await rig.delivered(1);
  });
}

// ---- stopping

const waits: [during: string, Behaviour, sleepers: number][] = [
  ["an attempt", { kind: "silence" }, 0],
  ["an answer", { kind: "drip", bytesPerSecond: 1 }, 0],
  ["a backoff", { kind: "status", status: 500 }, 1],
  ["a wait for Retry-After", { kind: "status", status: 503, headers: { "retry-after": "60" } }, 1],
  ["a wait for another configuration", { kind: "status", status: 401 }, 1],
  ["the attempts for a refused chunk", { kind: "status", status: 400 }, 1],
];

for (const [during, behaviour, sleepers] of waits) {
  Deno.test(`stopping during ${during} ends at once, and the chunk stays`, async () => {
    using _ = fixedRandom(0);
    const clock = new SimulatedClock(START_MS);
    const options = { clock, behaviour, retryMinMs: 60_000, retryMaxMs: 60_000 };
    await using rig = await UploadRig.start([0], options);
    await rig.requests(1);
    await until(() => clock.sleepers === sleepers);
    await settled(REQUEST_ROUNDS);
    assertEquals(clock.sleepers, sleepers);
    await rig.stop();
    assertEquals(rig.server.requests.length, 1);
    assertEquals(rig.temp.files("outbox").length, 1);
    assertEquals(clock.sleepers, 0);
  });
}

Deno.test("stopping with an empty queue ends at once", async () => {
  await using rig = await UploadRig.start();
  await settled();
  await rig.stop();
});

Deno.test("idle is true while nothing waits, or while delivery does not work", async () => {
  await using rig = await UploadRig.start([], {
    retryMaxMs: 5,
    behaviour: { kind: "slow", ms: 50 },
  });
  assertEquals(rig.uploader.idle, true);
  await rig.put(0);
  assertEquals(rig.uploader.idle, false);
  await rig.delivered(1);
  assertEquals(rig.uploader.idle, true);
  rig.server.behaviour = { kind: "status", status: 500 };
  await rig.put(1);
  await until(() => rig.report.upload_errors_total > 0);
  assertEquals(rig.uploader.idle, true);
  rig.server.behaviour = { kind: "slow", ms: 50 };
  await rig.delivered(2);
  await rig.put(2);
  assertEquals(rig.uploader.idle, false);
  await rig.delivered(3);
});
