// The server always fails on one chunk: the queue continues without it, and nothing is lost. A server
// that fails on everything gets no more requests than before.

import { assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import { parseChunkName } from "../../src/chunk/chunk_name.ts";
import { problems } from "../../src/status/problems.ts";
import { PROBE_AFTER } from "../../src/upload/blame.ts";
import type { Behaviour } from "../fixtures/ingest_server.ts";
import { REQUEST_ROUNDS, settled } from "../fixtures/settled.ts";
import { SimulatedClock } from "../fixtures/simulated_clock.ts";
import { until } from "../fixtures/temp_spool.ts";
import { type RigOptions, UploadRig } from "../fixtures/upload_rig.ts";

const START_MS = Date.UTC(2026, 10, 23, 9);
const RETRY_MAX_MS = 300_000;
const DOWN: Behaviour = { kind: "status", status: 503 };

/** The chunk of each request, by its place in the queue: "aab" is the first, twice, then the second. */
function order(rig: UploadRig, keys: readonly string[]): string {
  return rig.server.requests.map(({ key }) => "abcdefgh"[keys.indexOf(key ?? "")] ?? "?").join("");
}

/** A rig without a backoff, with a clock that stands still, and waiting chunks. */
async function startRig(minutes: number[], options: RigOptions = {}) {
  const clock = new SimulatedClock(START_MS);
  // The interval of the order is retry_max_s; a random number of nearly one makes the backoff short.
  const { random } = Math;
  Math.random = () => 0.999_99;
  const rig = await UploadRig.start(minutes, { clock, retryMaxMs: RETRY_MAX_MS, ...options });
  const keyOf = (fileName: string) => parseChunkName(fileName)?.key ?? "";
  const keys = rig.temp.files("outbox").map(keyOf);
  return {
    rig,
    clock,
    keys,
    async [Symbol.asyncDispose]() {
      Math.random = random;
      await rig[Symbol.asyncDispose]();
    },
  };
}

/** A rig that starts while the server is down, so that a test can prepare its answer to a chunk. */
async function withPoison(behaviour: Behaviour, minutes = [0, 1, 2]) {
  const setup = await startRig(minutes, { behaviour: DOWN });
  const { rig, keys } = setup;
  rig.server.byKey.set(keys[0] ?? "", behaviour);
  await rig.requests(1);
  rig.server.behaviour = { kind: "ok" };
  return setup;
}

const poisons: [what: string, Behaviour][] = [
  ["answered with 500", { kind: "status", status: 500 }],
  ["cut off before its body", { kind: "reset-before-body" }],
  ["answered with a web page", { kind: "html200" }],
  ["answered with 409 and no id", { kind: "status", status: 409 }],
];

Deno.test("the probe follows directly after a failure of the oldest, before the backoff", async () => {
  await using setup = await startRig([0, 1], { behaviour: DOWN, retryMinMs: RETRY_MAX_MS });
  const { rig, keys } = setup;
  // From the failure on that makes the probe, a backoff takes five minutes, and the clock stands still.
  Math.random = () => rig.server.requests.length < PROBE_AFTER ? 1 : 0;
  await rig.requests(PROBE_AFTER + 1);
  await until(() => rig.report.upload_errors_total === PROBE_AFTER + 1);
  await settled(REQUEST_ROUNDS);
  assertEquals(order(rig, keys), "a".repeat(PROBE_AFTER) + "b");
});

Deno.test("a server that sends Retry-After gets no requests for other chunks", async () => {
  const headers = { "retry-after": "1" };
  await using setup = await startRig([0, 1], {
    behaviour: { kind: "status", status: 503, headers },
  });
  const { rig, clock, keys } = setup;
  for (let asked = 1; asked <= PROBE_AFTER + 2; asked++) {
    await rig.requests(asked);
    await until(() => clock.sleepers === 1);
    await clock.advance(1000);
  }
  assertEquals(order(rig, keys).replaceAll("a", ""), "");
});

for (const [what, behaviour] of poisons) {
  Deno.test(`a chunk that is ${what}, while others are accepted, is passed over and tried every retry_max_s`, async () => {
    await using setup = await withPoison(behaviour);
    const { rig, clock, keys } = setup;
    await rig.delivered(2);
    // A kept connection that breaks without an answer costs a second request at once, on a new one.
    const again = behaviour.kind === "reset-before-body" ? "aa" : "a";
    assertEquals(order(rig, keys), "a".repeat(PROBE_AFTER) + `b${again}c`);
    assertEquals(rig.temp.files("outbox").length, 1);
    assertEquals([rig.problems, rig.report.status], [["chunks_passed_over"], "degraded"]);
    assertStringIncludes(rig.report.problems[0]?.message ?? "", keys[0] ?? "-");
    assertEquals(rig.uploader.idle, true);
    assertEquals(rig.said("WARNING").map((line) => line.replace(/[\d.]+ s/, "N s")), [
      rig.said("WARNING")[0],
      "Resolved after N s: upload_failing.",
      "The server fails on one chunk and takes others: it is passed over.",
      problems.chunksPassedOver(1, keys[0] ?? "-").message,
    ]);

    for (let tried = 1; tried <= 3; tried++) {
      await until(() => clock.sleepers === 1);
      const before = rig.server.requests.length;
      await clock.advance(RETRY_MAX_MS - 1000);
      await settled(REQUEST_ROUNDS);
      assertEquals(rig.server.requests.length, before);
      if (tried === 3) rig.server.byKey.clear();
      await clock.advance(1000);
      await rig.requests(before + 1);
    }
    await rig.delivered(3);
    assertEquals([rig.problems, rig.report.queue_size, rig.report.status], [[], 0, "ok"]);
    const [resolved, ...more] = rig.said("WARNING").slice(4); // nothing else was logged twice
    assertMatch(resolved ?? "", /^Resolved after [\d.]+ s: chunks_passed_over\.$/);
    assertEquals(more, []);
  });
}

Deno.test("a server that is down gets another chunk than the oldest in one request of nine", async () => {
  await using setup = await startRig([0, 1, 2], { behaviour: DOWN });
  const { rig, keys } = setup;
  await rig.requests(27);
  const sent = order(rig, keys).slice(0, 27);
  assertEquals(sent, ["b", "c", "b"].map((probe) => "a".repeat(PROBE_AFTER) + probe).join(""));
  assertEquals(rig.problems, ["upload_failing"]);
  rig.server.behaviour = { kind: "ok" };
  await rig.delivered(3);
  assertEquals([rig.problems, rig.said("WARNING").length], [[], 2]);
});

Deno.test("the only chunk is tried repeatedly, and passed over once another has arrived", async () => {
  await using setup = await withPoison({ kind: "status", status: 500 }, [0]);
  const { rig, keys } = setup;
  await rig.requests(PROBE_AFTER + 5);
  assertEquals(rig.problems, ["upload_failing"]);
  await rig.put(1);
  await rig.delivered(1);
  await until(() => rig.problems.join() === "chunks_passed_over");
  assertMatch(order(rig, keys), /^a{13,}\?a$/);
});

Deno.test("a Retry-After for a chunk that is passed over delays only that chunk", async () => {
  const headers = { "retry-after": "3600" };
  await using setup = await withPoison({ kind: "status", status: 500 });
  const { rig, clock, keys } = setup;
  await rig.delivered(2);
  rig.server.byKey.set(keys[0] ?? "", { kind: "status", status: 503, headers });
  await until(() => clock.sleepers === 1);
  await clock.advance(RETRY_MAX_MS);
  await rig.requests(PROBE_AFTER + 4);
  rig.server.byKey.clear();
  await rig.put(3);
  await rig.delivered(3);
  await until(() => clock.sleepers === 1);
  await clock.advance(3_600_000 - 1000);
  await settled(REQUEST_ROUNDS);
  assertEquals([rig.report.uploaded_total, rig.problems], [3, ["chunks_passed_over"]]);
  await clock.advance(1000);
  await rig.delivered(4);
});

Deno.test("during an outage a chunk passed over is only sent in place of the one in doubt, after all others", async () => {
  await using setup = await withPoison({ kind: "status", status: 500 });
  const { rig, clock, keys } = setup;
  await rig.delivered(2);
  rig.server.behaviour = DOWN;
  await rig.put(3);
  const known = rig.server.requests.length;
  await until(() => clock.sleepers === 0 && rig.server.requests.length > known);
  await clock.advance(2 * RETRY_MAX_MS);
  await rig.requests(known + 20);
  assertMatch(order(rig, keys).slice(known), /^\?{7,8}a(\?{8}a)*\?*$/);
  rig.server.behaviour = { kind: "ok" };
  await rig.delivered(3);
  await until(() => clock.sleepers === 1);
  await clock.advance(RETRY_MAX_MS);
  await until(() => order(rig, keys).endsWith("a"));
});

Deno.test("a chunk passed over that is then refused goes to rejected/ after three tries, when another is accepted", async () => {
  await using setup = await withPoison({ kind: "status", status: 500 });
  const { rig, clock, keys } = setup;
  await rig.delivered(2);
  rig.server.byKey.set(keys[0] ?? "", { kind: "status", status: 422 });
  await until(() => clock.sleepers === 1);
  await clock.advance(RETRY_MAX_MS);
  await rig.requests(PROBE_AFTER + 5);
  assertEquals([rig.report.chunks_rejected, rig.report.queue_size], [0, 1]);
  await rig.put(3);
  await until(() => rig.report.chunks_rejected_total === 1);
  assertMatch(order(rig, keys).slice(PROBE_AFTER), /^baca{2,}\?a$/);
  assertEquals(rig.problems, ["chunks_rejected"]);
});

Deno.test("a chunk passed over that the janitor deleted is forgotten when its next try is due", async () => {
  await using setup = await withPoison({ kind: "status", status: 500 });
  const { rig, clock } = setup;
  await rig.delivered(2);
  await until(() => clock.sleepers === 1);
  await rig.temp.spool.remove("outbox", rig.temp.files("outbox")[0] ?? "");
  await clock.advance(RETRY_MAX_MS);
  await until(() => rig.problems.length === 0);
  assertEquals(rig.server.requests.length, PROBE_AFTER + 3);
});
