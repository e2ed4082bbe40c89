// Refused chunks are tried again by themselves; limits of the rate, and of the size; what /health says.

import { assert, assertAlmostEquals, assertEquals, assertStringIncludes } from "@std/assert";
import type { Behaviour } from "../fixtures/ingest_server.ts";
import { MAX_CHUNK_BYTES } from "../../src/chunk/chunk_file.ts";
import { formatPartName } from "../../src/chunk/chunk_name.ts";
import { REQUEST_ROUNDS, settled } from "../fixtures/settled.ts";
import { SimulatedClock } from "../fixtures/simulated_clock.ts";
import { byHand, chunksIn, until } from "../fixtures/temp_spool.ts";
import { makeName } from "../fixtures/chunks.ts";
import { UploadRig } from "../fixtures/upload_rig.ts";

const START_MS = Date.UTC(2026, 10, 23, 9);

/** A rig with as many chunks in rejected/, which an earlier run has put there. */
async function withRefused(count: number, behaviour: Behaviour, waiting: number[] = []) {
  const clock = new SimulatedClock(START_MS);
  const refused = Array.from({ length: count }, (_, minute) => minute);
  const rig = await UploadRig.start(waiting, { clock, behaviour, refused });
  /** Lets minutes pass; the uploader looks every 10 s. */
  const pass = async (minutes: number) => {
    await until(() => clock.sleepers === 1);
    await clock.advance((minutes - 1) * 60_000);
    for (let step = 0; step < 6; step++) {
      await until(() => clock.sleepers === 1);
      await clock.advance(10_000);
    }
  };
  return { rig, pass, [Symbol.asyncDispose]: () => rig[Symbol.asyncDispose]() };
}

Deno.test("a refused chunk that is tried again and still refused stays, with a line in the log", async () => {
  await using setup = await withRefused(2, { kind: "status", status: 422 });
  const { rig, pass } = setup;
  await pass(62);
  await until(() => rig.said("INFO").length === 1);
  assertEquals([rig.server.requests.length, rig.problems], [1, ["chunks_rejected"]]);
  const { message, next_in_s } = rig.lines("INFO")[0] ?? {};
  assertEquals(message, "A refused chunk was tried again, and was not accepted.");
  assertEquals([next_in_s, rig.report.chunks_rejected], [7200, 2]);
  assertEquals([rig.report.ledger.unaccounted_s, rig.report.chunks_rejected_total], [0, 0]);
});

Deno.test("when the server has changed its mind all refused chunks are delivered, without their reasons, and the account balances", async () => {
  await using setup = await withRefused(5, { kind: "ok" });
  const { rig, pass } = setup;
  const before = rig.report.ledger;
  assertAlmostEquals(before.refused_s, 5 * 59.9935, 1e-6);
  await pass(59);
  assertEquals(rig.server.requests.length, 0);
  await pass(2);
  await rig.delivered(5);
  const times = rig.server.chunks.map(({ fields }) => Number(fields.start_ts));
  assertEquals(times, times.toSorted());
  assertEquals([rig.temp.files("rejected"), rig.temp.files("uploaded").length], [[], 5]);
  assertEquals([rig.problems, rig.report.chunks_rejected, rig.report.status], [[], 0, "ok"]);
  const { delivered_s, refused_s, unaccounted_s } = rig.report.ledger;
  assertAlmostEquals(delivered_s, before.refused_s, 1e-6);
  assertEquals([refused_s, unaccounted_s], [0, 0]);
});

Deno.test("with keep_delivered_days 0 a refused chunk that is accepted later is deleted, and its problem ends", async () => {
  await using setup = await withRefused(2, { kind: "ok" });
  const { rig, pass } = setup;
  rig.temp.spool.keepsDelivered = false;
  assertEquals(rig.problems, ["chunks_rejected"]);
  await pass(61);
  await rig.delivered(2);
  await until(() => rig.problems.length === 0);
  assertEquals([rig.temp.files("rejected"), rig.temp.files("uploaded")], [[], []]);
  assertEquals([rig.report.status, rig.report.ledger.unaccounted_s], ["ok", 0]);
});

Deno.test("a refused chunk that another process requeues meanwhile is delivered once", async () => {
  await using setup = await withRefused(2, { kind: "slow", ms: 200 });
  const { rig, pass } = setup;
  await pass(60);
  await rig.requests(1);
  const { spool } = rig.temp;
  const [name = ""] = chunksIn(spool, "rejected");
  await byHand(() => Deno.rename(spool.path("rejected", name), spool.path("outbox", name)));
  await pass(1);
  await until(() => rig.server.chunks.length === 2 && rig.report.queue_size === 0);
  assertEquals([chunksIn(spool, "rejected"), rig.report.ledger.unaccounted_s], [[], 0]);
});

Deno.test("a chunk being tried again stays until the answer, even if the janitor wants to delete it", async () => {
  await using setup = await withRefused(1, { kind: "slow", ms: 200 });
  const { rig, pass } = setup;
  await pass(60);
  await rig.requests(1);
  const [name = ""] = chunksIn(rig.temp.spool, "rejected");
  assertEquals(await rig.temp.spool.remove("rejected", name), null);
  await rig.delivered(1);
  assertEquals(rig.report.chunks_lost_total, 0);
});

Deno.test("a delay that the server asks for when a refused chunk is tried again holds for the waiting ones, and that chunk is tried more rarely", async () => {
  await using setup = await withRefused(2, { kind: "ok" }, [10]);
  const { rig, pass } = setup;
  await rig.delivered(1);
  const headers = { "retry-after": "600" };
  rig.server.behaviour = { kind: "status", status: 503, headers };
  await pass(60);
  await rig.requests(2);
  rig.server.behaviour = { kind: "ok" };
  await rig.put(11);
  await until(() => rig.problems.includes("upload_failing"));
  await pass(9);
  await settled(REQUEST_ROUNDS);
  assertEquals(rig.server.requests.length, 2);
  await pass(3);
  await rig.delivered(2);
  assertEquals(chunksIn(rig.temp.spool, "rejected").length, 2);
  await until(() => rig.problems.join() === "chunks_rejected");
  const [{ next_in_s = 0 } = {}] = rig.lines("INFO").filter(({ message }) =>
    String(message).startsWith("A refused chunk was tried again")
  );
  assertEquals(next_in_s, 7200);
});

Deno.test("what was set aside as the first in rejected/ is tried no earlier than an hour later, like a refused chunk", async () => {
  const clock = new SimulatedClock(START_MS);
  await using rig = await UploadRig.start([], { clock });
  const pass = async (minutes: number) => {
    for (let minute = 0; minute < minutes; minute++) {
      await until(() => clock.sleepers === 1);
      await clock.advance(60_000);
    }
  };
  const tries = () => rig.said("INFO").filter((line) => line.includes("tried again")).length;
  await pass(90);
  const { spool } = rig.temp;
  const name = makeName(1);
  const part = await spool.create(name);
  await part.append(new Uint8Array(100));
  await Deno.truncate(spool.path("recording", formatPartName(name)), MAX_CHUNK_BYTES + 1);
  await part.seal(name);
  await until(() => chunksIn(spool, "rejected").length === 1);
  await pass(55);
  assertEquals(tries(), 0);
  await pass(10);
  await until(() => tries() === 1);
});

// ---- limits

for (const status of [429, 503]) {
  Deno.test(`a backlog follows a limit of the rate (${status} without Retry-After), without an outage for each chunk`, async () => {
    const clock = new SimulatedClock(START_MS);
    const nowMs = () => clock.monotonicMs();
    const behaviour: Behaviour = { kind: "rate", everyMs: 100, status, nowMs };
    const minutes = [...Array(40).keys()];
    const options = { clock, behaviour, retryMinMs: 240, retryMaxMs: 2000 };
    await using rig = await UploadRig.start(minutes, options);
    while (rig.report.uploaded_total < 40) {
      await settled(1);
      // Time passes only while the uploader waits for it.
      if (clock.sleepers > 0) await clock.advance(20);
    }
    const { upload_errors_total } = rig.report;
    assert(upload_errors_total <= 15, `${upload_errors_total} errors`);
    assertEquals([rig.problems, rig.temp.files("rejected"), rig.server.duplicates], [[], [], 0]);
    assert(rig.said("WARNING").length <= 8, rig.said("WARNING").join("\n"));
  });
}

Deno.test("while only smaller chunks are accepted, those that are too large stay in outbox/ and are named with their size", async () => {
  await using rig = await UploadRig.start([], { behaviour: { kind: "limit", bytes: 1000 } });
  // When the largest is accepted, the limit is over for the others, too.
  const sizes = [5000, 500, 5100, 400, 300, 5200];
  for (const [minute, size] of sizes.entries()) {
    await rig.temp.store("outbox", makeName(minute), size);
  }
  await rig.delivered(3);
  await until(() => rig.problems.includes("chunks_passed_over"));
  assertEquals([rig.report.chunks_rejected, rig.report.queue_size], [0, 3]);
  const passedOver = rig.report.problems.find(({ code }) => code === "chunks_passed_over");
  assertStringIncludes(passedOver?.message ?? "", "kB and more");
  assertStringIncludes(passedOver?.message ?? "", "client_max_body_size");
  rig.server.behaviour = { kind: "ok" };
  await rig.delivered(6);
  await until(() => rig.problems.length === 0);
});

Deno.test("/health says when the next attempt is made", async () => {
  const cases: [Behaviour, waitS: number][] = [
    [{ kind: "status", status: 503, headers: { "retry-after": "120" } }, 120],
    [{ kind: "status", status: 401 }, 300],
  ];
  for (const [behaviour, waitS] of cases) {
    const clock = new SimulatedClock(START_MS);
    await using rig = await UploadRig.start([0], { clock, behaviour, retryMaxMs: 300_000 });
    await until(() => clock.sleepers === 1);
    const { since = 0, retry_at = 0 } = rig.report.problems[0] ?? {};
    assertAlmostEquals(retry_at - since, waitS, 0.1);
    await clock.advance(1000 * waitS - 500);
    await settled(REQUEST_ROUNDS);
    assertEquals(rig.server.requests.length, 1);
  }
});
