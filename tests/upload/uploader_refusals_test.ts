// The uploader in cases where waiting does not help: a wrong configuration, refused chunks, and files
// that are gone or cannot be read or moved.

import {
  assert,
  assertAlmostEquals,
  assertEquals,
  assertMatch,
  assertStringIncludes,
} from "@std/assert";
import { Janitor } from "../../src/spool/janitor.ts";
import { systemClock } from "../../src/system/clock.ts";
import { Status } from "../../src/status/status.ts";
import { Uploader } from "../../src/upload/uploader.ts";
import { ids, makeName } from "../fixtures/chunks.ts";
import type { Behaviour } from "../fixtures/ingest_server.ts";
import { REQUEST_ROUNDS, settled } from "../fixtures/settled.ts";
import { SimulatedClock } from "../fixtures/simulated_clock.ts";
import { capturedLog, LIMITS, TempSpool, until } from "../fixtures/temp_spool.ts";
import { TOKEN, UploadRig } from "../fixtures/upload_rig.ts";

const START_MS = Date.UTC(2026, 10, 23, 9);

// ---- a wrong configuration

Deno.test("with a wrong token all chunks stay, one probe is sent every retry_max_s, and the token is reread", async () => {
  const clock = new SimulatedClock(START_MS);
  await using rig = await UploadRig.start([], { clock, retryMaxMs: 300_000 });
  await Deno.writeTextFile(rig.tokenFile, "expired");
  for (const minute of [0, 1, 2]) await rig.put(minute);
  for (let probe = 1; probe <= 3; probe++) {
    await until(() => rig.report.upload_errors_total === probe && clock.sleepers === 1);
    await clock.advance(299_000);
    await settled(REQUEST_ROUNDS);
    assertEquals(rig.server.requests.length, probe);
    if (probe === 3) await Deno.writeTextFile(rig.tokenFile, TOKEN);
    assertEquals([rig.problems, rig.report.queue_size], [["upload_misconfigured"], 3]);
    assertStringIncludes(rig.report.problems[0]?.message ?? "", "the token is not accepted");
    await clock.advance(1000);
  }
  await rig.delivered(3);
  assertEquals(rig.server.requests.length, 6);
  assertEquals([rig.problems, rig.temp.files("rejected")], [[], []]);
  assertEquals(rig.said("WARNING").length, 2);
  assertMatch(rig.said("WARNING")[1] ?? "", /^Resolved after [\d.]+ s: upload_misconfigured\.$/);
});

Deno.test("an outage that turns into another failure is logged again, and one problem is listed", async () => {
  const clock = new SimulatedClock(START_MS);
  const options = { clock, retryMinMs: 300_000, retryMaxMs: 300_000 };
  await using rig = await UploadRig.start([], options);
  rig.server.script.push({ kind: "html200" }, { kind: "redirect", location: "https://x.invalid" });
  rig.server.behaviour = { kind: "status", status: 500, body: `the token ${TOKEN} is fine` };
  await rig.put(0);
  const waitsFor = (code: string) =>
    until(() => rig.problems.join() === code && clock.sleepers === 1);
  await waitsFor("upload_failing");
  await clock.advance(300_000);
  await waitsFor("upload_misconfigured");
  await clock.advance(300_000);
  await waitsFor("upload_failing");
  assertEquals(rig.said().map((line) => line.split(":")[0]), [
    "Chunks wait because delivery fails",
    "Nothing can be delivered with these settings",
    "Chunks wait because delivery fails",
  ]);
});

// ---- refused

Deno.test("a refused chunk is tried twice, then once more when another was accepted, then rejected with the reason", async () => {
  await using rig = await UploadRig.start([0, 1, 2]);
  const refusal: Behaviour = { kind: "status", status: 422, body: `{"error":"too short"}` };
  const refused = rig.refuse(0, refusal);
  await rig.delivered(2);
  await until(() => rig.said("ERROR").length === 1);
  const keys = rig.server.requests.map(({ key }) => key);
  assertEquals(keys.map((key) => key === keys[0] ? "a" : "-").join(""), "aa-a-");
  assertEquals(rig.temp.files("rejected"), [refused, `${refused}.reason.json`]);
  const path = rig.temp.spool.path("rejected", `${refused}.reason.json`);
  const { rejected_at, ...reason } = JSON.parse(await Deno.readTextFile(path));
  assertEquals(reason, {
    reason: `the server answered 422: {"error":"too short"}`,
    http_status: 422,
    attempts: 3,
    key: rig.server.requests[0]?.key,
    url: `${rig.server.url}/api/v1/chunks`,
    point_id: ids.pointId,
    register_id: ids.registerId,
    device_id: ids.deviceId,
    start_ts: "1795420800.250000",
    end_ts: "1795420860.243500",
    codec: "opus",
    sample_rate: "48000",
    channels: "1",
    answer: `{"error":"too short"}`,
  });
  assertAlmostEquals(Date.parse(rejected_at), Date.now(), 5000);
  const { chunks_rejected_total, upload_errors_total, status } = rig.report;
  assertEquals([chunks_rejected_total, upload_errors_total, status], [1, 3, "degraded"]);
  assertEquals(rig.problems, ["chunks_rejected"]);
  assertEquals(rig.said("ERROR").length, 1);
});

Deno.test("chunks refused twice and then accepted are delivered; refusals count per chunk", async () => {
  await using rig = await UploadRig.start();
  const twice: Behaviour[] = [{ kind: "status", status: 400 }, { kind: "status", status: 413 }];
  rig.server.script.push(...twice, { kind: "ok" }, ...twice);
  await rig.put(0);
  await rig.delivered(1);
  await rig.put(1);
  await rig.delivered(2);
  assertEquals([rig.problems, rig.temp.files("rejected")], [[], []]);
});

Deno.test("rejected chunks are a problem until none is left", async () => {
  await using rig = await UploadRig.start([0, 1, 2, 3]);
  const names = [0, 1].map((index) => rig.refuse(index, { kind: "status", status: 400 }));
  await until(() => rig.report.chunks_rejected === 2);
  await rig.delivered(2);
  await until(() => rig.temp.spool.sending.size === 0); // until then no chunk can be deleted
  for (const [left, name] of names.entries()) {
    assertEquals(rig.problems, ["chunks_rejected"]);
    const said = left === 0 ? "refused 2 chunks" : "refused 1 chunk";
    assertStringIncludes(rig.report.problems[0]?.message ?? "", said);
    await rig.temp.spool.remove("rejected", name); // as the janitor does
  }
  assertEquals([rig.problems, rig.report.chunks_rejected], [[], 0]);
});

Deno.test("chunks rejected by an earlier run are a problem from the start", async () => {
  await using temp = await TempSpool.open();
  await temp.store("rejected", makeName(0));
  using captured = capturedLog();
  const status = new Status({ ...ids, version: "1" }, systemClock);
  const client = { upload: () => Promise.reject(new Error("nothing waits")) };
  const deps = { clock: systemClock, status, log: captured.log };
  const uploader = new Uploader(temp.spool, client, { retryMinMs: 1, retryMaxMs: 1 }, deps);
  await uploader.run(AbortSignal.abort());
  assert(status.hasProblem("chunks_rejected"));
});

// ---- files

Deno.test("a chunk that is removed while it is sent is still delivered, without an error", async () => {
  const clock = new SimulatedClock(START_MS); // a pause would block the second chunk forever
  await using rig = await UploadRig.start([], { clock });
  rig.server.script.push({ kind: "slow", ms: 100 });
  const first = await rig.put(0);
  await rig.put(1);
  await rig.server.waitForChunks(1, 5000);
  await rig.temp.spool.remove("outbox", first);
  await rig.delivered(2);
  assertEquals([rig.report.upload_errors_total, rig.problems, rig.report.queue_size], [0, [], 0]);
});

Deno.test("chunks that another process deleted are skipped at once", async () => {
  await using rig = await UploadRig.start([0, 1, 2, 3, 4], {
    behaviour: { kind: "slow", ms: 100 },
  });
  await rig.server.waitForChunks(1, 5000); // the names are listed
  for (const name of rig.temp.files("outbox").slice(1, 4)) {
    await Deno.remove(rig.temp.spool.path("outbox", name));
  }
  await rig.delivered(2);
  assertEquals([rig.server.requests.length, rig.report.upload_errors_total], [2, 0]);
});

Deno.test("a chunk that another process deletes before it is set aside is not counted as refused, and leaves no reason", async () => {
  await using rig = await UploadRig.start([0, 1, 2]);
  rig.refuse(0, { kind: "status", status: 422 });
  const { spool } = rig.temp;
  const { reject } = spool;
  let isOver = false;
  spool.reject = async (fileName, reason) => {
    await Deno.remove(spool.path("outbox", fileName));
    const isMoved = await reject.call(spool, fileName, reason);
    isOver = true;
    return isMoved;
  };
  await until(() => isOver && rig.report.uploaded_total === 2);
  await rig.put(3);
  await rig.delivered(3);
  assertEquals([rig.report.chunks_rejected_total, rig.report.ledger.refused_s], [0, 0]);
  assertEquals([rig.temp.files("rejected"), rig.said("ERROR"), rig.problems], [[], [], []]);
});

/** Three chunks, of which the second, or the last of two, cannot be read. */
async function withUnreadable(minutes: number[]) {
  const rig = await UploadRig.start(minutes, { behaviour: { kind: "slow", ms: 100 } });
  await rig.server.waitForChunks(1, 5000); // the names are listed
  const name = rig.temp.files("outbox")[1] ?? "";
  await Deno.remove(rig.temp.spool.path("outbox", name));
  await Deno.mkdir(rig.temp.spool.path("outbox", name));
  return { rig, name, [Symbol.asyncDispose]: () => rig[Symbol.asyncDispose]() };
}

Deno.test("an unreadable chunk is set aside when another was accepted, and the queue continues", async () => {
  await using setup = await withUnreadable([0, 1, 2]);
  const { rig, name } = setup;
  await rig.delivered(2);
  await until(() => rig.said("ERROR").length === 1);
  assertEquals(rig.temp.files("rejected"), [name, `${name}.reason.json`]);
  const path = rig.temp.spool.path("rejected", `${name}.reason.json`);
  const reason = JSON.parse(await Deno.readTextFile(path));
  assertEquals([reason.http_status, reason.attempts], [null, 3]);
  assertMatch(reason.reason, /^the file cannot be read: .*not a regular file/);
  assertEquals(rig.server.requests.length, 2);
});

Deno.test("while nothing else can be sent, a chunk that cannot be read stays: it may be the disk", async () => {
  await using setup = await withUnreadable([0, 1]);
  const { rig } = setup;
  await until(() => rig.problems.join() === "spool_failed");
  assertMatch(
    rig.report.problems[0]?.message ?? "",
    /cannot be read, listed or moved: .*not a regular file/,
  );
  assertEquals([rig.temp.files("rejected"), rig.uploader.idle], [[], true]);
});

Deno.test("an accepted chunk that cannot be moved to uploaded/ stays, and is moved after retry_max_s, not sent again", async () => {
  const clock = new SimulatedClock(START_MS);
  await using rig = await UploadRig.start([], { clock, retryMaxMs: 300_000 });
  const uploaded = rig.temp.spool.path("uploaded", "");
  await Deno.remove(uploaded);
  await Deno.writeTextFile(uploaded.replace(/\/$/, ""), "in the way");
  await rig.put(0);
  await until(() => rig.problems.includes("spool_failed") && clock.sleepers === 1);
  assertMatch(
    rig.report.problems[0]?.message ?? "",
    /^1 chunk cannot be moved after delivery: .*Not a directory/,
  );
  assertEquals([rig.report.queue_size, rig.report.uploaded_total, rig.uploader.idle], [1, 0, true]);
  await clock.advance(299_000);
  assertEquals(rig.server.requests.length, 1);

  await Deno.remove(uploaded.replace(/\/$/, ""));
  await Deno.mkdir(uploaded);
  await clock.advance(1000);
  await rig.delivered(1);
  assertEquals(rig.server.requests.length, 1);
  assertEquals([rig.problems, rig.temp.files("uploaded").length], [[], 1]);
  assertEquals(rig.said("WARNING").length, 2);
});

/** A chunk that the server has, on a disk that does not let it be moved to uploaded/. */
async function acceptedAndStuck() {
  const clock = new SimulatedClock(START_MS);
  const rig = await UploadRig.start([], { clock, retryMaxMs: 300_000 });
  const { spool } = rig.temp;
  const { markUploaded } = spool;
  spool.markUploaded = () => Promise.reject(new Error("No space left on device (os error 28)"));
  await rig.put(0);
  await until(() => rig.problems.includes("spool_failed") && clock.sleepers === 1);
  const repair = () => void (spool.markUploaded = markUploaded);
  return { rig, clock, repair, ...capturedLog() };
}

Deno.test("an accepted chunk that cannot be moved and that the janitor deletes is delivered, and the problem ends", async () => {
  const { rig, clock, log, repair } = await acceptedAndStuck();
  await using _ = rig;
  const { spool } = rig.temp;
  const limits = { ...LIMITS, maxSpoolBytes: 0 };
  await new Janitor(spool, limits, { clock, status: rig.status, log }).makeRoom();
  assertEquals(rig.temp.files("outbox"), []);
  const { uploaded_total, chunks_lost_total, gaps_total } = rig.report;
  assertEquals([uploaded_total, chunks_lost_total, gaps_total], [1, 0, 0]);
  repair();
  await rig.put(1);
  await rig.delivered(2);
  assertEquals([rig.server.requests.length, rig.problems], [2, []]);
});

Deno.test("a chunk that the janitor reserves just after it was chosen is not sent, and stays known", async () => {
  await using rig = await UploadRig.start();
  const { spool } = rig.temp;
  const { oldest } = spool;
  const reserved: string[] = [];
  spool.oldest = async (...args) => {
    const name = await oldest.apply(spool, args);
    if (name === null || reserved.length > 0) return name;
    reserved.push(name.key);
    spool.deleting.add(name.key);
    return name;
  };
  await rig.put(0);
  await until(() => reserved.length > 0);
  await rig.put(1);
  await rig.delivered(1);
  assertEquals(rig.server.chunks.some(({ key }) => reserved.includes(key)), false);
  spool.deleting.clear();
  await rig.put(2);
  await rig.delivered(3);
});

Deno.test("an accepted chunk that cannot be moved is not sent again after the settings were changed", async () => {
  const { rig, clock, log, repair } = await acceptedAndStuck();
  await using _ = rig;
  const { spool } = rig.temp;
  await rig.stop();
  repair();
  const client = { upload: () => Promise.reject(new Error("it is sent again")) };
  const options = { retryMinMs: 1, retryMaxMs: 300_000 };
  const stop = new AbortController();
  const uploader = new Uploader(spool, client, options, { clock, status: rig.status, log });
  const running = uploader.run(stop.signal);
  await rig.delivered(1);
  assertEquals([rig.temp.files("uploaded").length, uploader.idle], [1, true]);
  stop.abort();
  await running;
});

for (const what of ["refused", "not recordings"]) {
  Deno.test(`chunks that are ${what} and cannot be moved to rejected/ hold up no other, and one is tried every retry_max_s`, async () => {
    const clock = new SimulatedClock(START_MS);
    const minutes = [0, 1, 2, 3, 4];
    await using rig = await UploadRig.start(minutes, { clock, retryMaxMs: 300_000 });
    const { spool } = rig.temp;
    const { reject } = spool;
    const bad = [0, 1].map((index) => rig.refuse(index, { kind: "status", status: 422 }));
    if (what !== "refused") {
      for (const name of bad) await Deno.truncate(spool.path("outbox", name), 200 * 1024 * 1024);
    }
    let tries = 0;
    spool.reject = () => {
      tries++;
      return Promise.reject(new Error("Structure needs cleaning (os error 117)"));
    };
    await rig.delivered(3);
    await until(() => tries >= 2 && clock.sleepers === 1);
    const requests = rig.server.requests.length;
    for (let hour = 1; hour <= 4; hour++) {
      assertEquals([rig.temp.files("outbox"), rig.problems], [bad, ["spool_failed"]]);
      const { message = "" } = rig.report.problems[0] ?? {};
      assertMatch(message, /^2 chunks cannot be moved to rejected\/: Structure needs cleaning/);
      assertEquals([tries, rig.uploader.idle], [hour + 1, true]);
      for (let minute = 1; minute <= 5; minute++) {
        await clock.advance(60_000);
        await until(() => clock.sleepers === 1); // an attempt has ended
      }
    }
    assertEquals(rig.server.requests.length - requests, what === "refused" ? 4 : 0);
    await rig.put(5);
    await rig.delivered(4);

    spool.reject = reject;
    await clock.advance(300_000);
    await until(() => rig.problems.join() === "chunks_rejected");
    assertEquals(rig.temp.files("rejected").filter((name) => name.endsWith(".ogg")), bad);
  });
}

Deno.test("a chunk that cannot be moved is never sent in place of another that fails", async () => {
  const clock = new SimulatedClock(START_MS);
  await using rig = await UploadRig.start([0, 1], { clock, retryMinMs: 1000, retryMaxMs: 300_000 });
  const { spool } = rig.temp;
  const [bad = ""] = rig.temp.files("outbox");
  await Deno.truncate(spool.path("outbox", bad), 200 * 1024 * 1024);
  let tries = 0;
  spool.reject = () => {
    tries++;
    return Promise.reject(new Error("Structure needs cleaning (os error 117)"));
  };
  await rig.delivered(1);
  rig.server.behaviour = { kind: "status", status: 500 };
  await rig.put(2);
  while (rig.server.requests.length < 20) {
    await clock.advance(10_000);
    await until(() => clock.sleepers === 1);
  }
  assertEquals(tries, 1);
});

Deno.test("if many accepted chunks cannot be moved, it is the disk: no more is sent until one is moved", async () => {
  const clock = new SimulatedClock(START_MS);
  const minutes = Array.from({ length: 120 }, (_, minute) => minute);
  await using rig = await UploadRig.start(minutes, { clock, retryMaxMs: 300_000 });
  const { spool } = rig.temp;
  const { markUploaded } = spool;
  spool.markUploaded = () => Promise.reject(new Error("Read-only file system"));
  await until(() => rig.server.chunks.length >= 100 && clock.sleepers === 1);
  const sent = rig.server.requests.length;
  assert(sent < 104, `${sent}`);
  await clock.advance(900_000);
  assertEquals([rig.server.requests.length, rig.problems], [sent, ["spool_failed"]]);
  spool.markUploaded = markUploaded;
  await clock.advance(300_000);
  await rig.delivered(120);
  assertEquals([rig.server.requests.length, rig.problems], [120, []]);
});

Deno.test("an outbox that cannot be listed is a problem, and is read again after retry_max_s", async () => {
  const clock = new SimulatedClock(START_MS);
  await using rig = await UploadRig.start([], { clock, retryMaxMs: 300_000 });
  const outbox = rig.temp.spool.path("outbox", "");
  await Deno.remove(outbox);
  rig.temp.spool.sealed.ring();
  await until(() => rig.problems.includes("spool_failed") && clock.sleepers === 1);
  await Deno.mkdir(outbox);
  await rig.put(0);
  await clock.advance(300_000);
  await rig.delivered(1);
  assertEquals(rig.problems, []);
});

Deno.test("a chunk that cannot be filed begins a problem after the outage of the disk that its delivery ends", async () => {
  const clock = new SimulatedClock(START_MS);
  await using rig = await UploadRig.start([], { clock, retryMaxMs: 300_000 });
  const { spool } = rig.temp;
  const outbox = spool.path("outbox", "");
  await Deno.remove(outbox);
  spool.sealed.ring();
  await until(() => rig.problems.includes("spool_failed") && clock.sleepers === 1);
  spool.markUploaded = () => Promise.reject(new Error("Read-only file system"));
  await Deno.mkdir(outbox);
  await rig.put(0);
  await clock.advance(300_000);
  await until(() => rig.server.chunks.length === 1 && clock.sleepers === 1);
  assertEquals(rig.problems, ["spool_failed"]);
  const told = rig.said("WARNING").map((line) => line.split(/:| after/)[0]);
  assertEquals(told, [
    "Chunks cannot be read, listed or moved",
    "Resolved",
    "1 chunk cannot be moved",
  ]);
});
