// What the receiver shows: how complete a day is, from the names of its files, and who may see it.

import { assert, assertEquals, assertMatch } from "@std/assert";
import { join } from "@std/path/join";
import { formatChunkName } from "../../src/chunk/chunk_name.ts";
import { coverageOf, missingHoles, missingUs } from "../../src/receive/day_coverage.ts";
import { FolderOverview, MAX_AGE_MS } from "../../src/receive/folder_overview.ts";
import type { Overview, Till } from "../../src/receive/overview.ts";
import { HoleCauses } from "../../src/receive/hole_causes.ts";
import { formatReceiverMetrics, renderTills } from "../../src/receive/pages.ts";
import { findGrant, parseTokens } from "../../src/receive/token_file.ts";
import { ids, makeChunk, makeName } from "../fixtures/chunks.ts";
import { Document } from "../fixtures/documents.ts";
import { startReceiver, TOKEN } from "../fixtures/receive_rig.ts";
import { SimulatedClock } from "../fixtures/simulated_clock.ts";
import { SimulatedTill } from "../fixtures/simulated_till.ts";

const LOOKED = Date.UTC(2026, 10, 23, 13);

function overviewOf(tills: readonly Till[], changes: Partial<Overview> = {}): Overview {
  return { tills, isCut: false, unseen: 0, lookedUnixMs: LOOKED, ...changes };
}

Deno.test("the page says how old it is, and what could not be looked at", () => {
  const page = (minutes: number, changes: Partial<Overview> = {}) =>
    renderTills(overviewOf([], changes), LOOKED + minutes * 60_000);
  assertMatch(page(15), /<p class=""><small>as the store was at 2026-11-23T13:00:00Z/);
  assertMatch(page(16), /<p class="late"><small>as the store was at 2026-11-23T13:00:00Z/);
  assert(!page(0).includes("could not be looked at"));
  assertMatch(page(0, { unseen: 3 }), /3 tills or groups of tills could not be looked at yet/);
});

Deno.test("a day is complete if each chunk begins where one ends; holes and overlaps are found in any order", () => {
  const span = (startUnixUs: number, durationUs: number) => ({ startUnixUs, durationUs });
  assertEquals(coverageOf([]), null);
  const whole = coverageOf([span(2000, 1000), span(1000, 1000), span(3000, 500)]);
  const expected = { chunks: 3, fromUnixUs: 1000, toUnixUs: 3500, presentUs: 2500, holes: [] };
  assertEquals(whole, expected);
  assertEquals(coverageOf([span(0, 1000), span(1080, 920)])?.holes, [], "a rounding is not a hole");
  const torn = coverageOf([span(0, 1000), span(500, 1000), span(5000, 1000), span(5100, 10)]);
  assertEquals(torn?.presentUs, 2500);
  assertEquals(torn?.holes, [{ fromUnixUs: 1500, toUnixUs: 5000 }]);
  assertEquals(torn === null ? 0 : missingUs(torn), 3500);
});

Deno.test("the page has each till with its last chunk and what is missing; the metrics have the same", async () => {
  const clock = new SimulatedClock(Date.UTC(2026, 10, 23, 9));
  await using rig = await startReceiver({ clock });
  const get = async (path: string, authorization?: string) => {
    const headers = authorization === undefined ? {} : { authorization };
    const answer = await fetch(`http://127.0.0.1:${rig.port}${path}`, { headers });
    return { status: answer.status, text: await answer.text() };
  };
  const bearer = `Bearer ${TOKEN}`;
  assertMatch((await get("/", bearer)).text, /No chunk has been received yet/);
  const names = [0, 1, 3].map((minute) => ({ ...makeName(minute), durationUs: 60e6 }));
  for (const name of names) assertEquals((await rig.upload({ name })).status, 200);
  await rig.upload({ token: "wrong" });
  await clock.advance(MAX_AGE_MS);
  const { text } = await get("/", bearer);
  assert(text.includes(ids.deviceId));
  assertMatch(text, /<td class="n late">08:04:00<br><small>56 min ago/);
  assertMatch(text, /2026-11-23<br><small>08:00:00 – 08:04:00/);
  assertMatch(text, /0:03:00\.000<br><small>3 chunks/);
  assertMatch(text, /0:01:00\.000 in 1<br><small>08:02:00 – 08:03:00 \(0:01:00\.000\)/);
  const metrics = (await get("/metrics", bearer)).text;
  assertMatch(metrics, /^recorder_receiver_uploads_total\{status="200"\} 3$/m);
  assertMatch(metrics, /^recorder_receiver_uploads_total\{status="401"\} 1$/m);
  assertMatch(metrics, /^recorder_receiver_chunks_stored_total 3$/m);
  assertMatch(metrics, /^recorder_receiver_day_missing_seconds\{.*device_id="9f.*"\} 60$/m);
  assertMatch(metrics, /^recorder_receiver_looked_seconds 1795424410$/m);
  assertMatch(metrics, /^recorder_receiver_last_chunk_end_seconds\{.*\} 1795421040\.25$/m);
  const listed = new Document("docs/reference/receive.md").text.matchAll(
    /`(recorder_receiver_\w+)/g,
  );
  const described = metrics.matchAll(/^# TYPE (\w+) /gm);
  const sorted = (found: Iterable<RegExpMatchArray>) =>
    [...found].map(([, name = ""]) => name).sort();
  assertEquals(sorted(listed), sorted(described), "the reference has every metric");
});

Deno.test("a till that sends more chunks than a day can have does not occupy the receiver with them", async () => {
  const clock = new SimulatedClock(Date.UTC(2026, 10, 23, 9));
  const dir = await Deno.makeTempDir({ prefix: "overview-" });
  const day = join(dir, ids.pointId, ids.registerId, ids.deviceId, "2026-11-23");
  await Deno.mkdir(day, { recursive: true });
  for (let minute = 0; minute < 5; minute++) {
    await Deno.writeTextFile(join(day, formatChunkName(makeName(minute))), "");
  }
  const chunks = async (maxNames?: number) =>
    (await new FolderOverview(dir, clock, maxNames).read()).tills[0]?.coverage.chunks;
  assertEquals([await chunks(), await chunks(3)], [5, 3]);
  await Deno.remove(dir, { recursive: true });
});

Deno.test("the longest holes of a day have their causes, as far as the chunks around them say them", async () => {
  const till = new SimulatedTill();
  till.start();
  till.hear(11);
  till.stop();
  till.pass(30_000);
  till.start("microphone_missing");
  till.hear(11);
  // Nothing waits any more but the chunk that follows.
  till.waits(till.chunks[4] ?? null);
  till.hear(5);
  till.stop();
  const away = [1, 4];
  assertEquals(till.chunks.length, 7);
  const dir = await Deno.makeTempDir({ prefix: "causes-" });
  const device = join(dir, ids.pointId, ids.registerId, ids.deviceId);
  await till.deliver(join(device, "2026-11-23"), (index) => !away.includes(index));
  const overview = new FolderOverview(dir, new SimulatedClock(Date.now()));
  const { tills } = await overview.read();
  const causes = tills[0]?.coverage.holes.map(({ fromUnixUs, toUnixUs, why }) =>
    [Math.round((toUnixUs - fromUnixUs) / 1e5) / 10, why] as const
  );
  assertEquals(causes, [[5, ["will not come"]], [30, ["microphone_missing"]], [5, [
    "not received yet",
  ]]]);
  const text = renderTills(overviewOf(tills), Date.UTC(2026, 10, 23, 13));
  assertMatch(text, /\(0:00:30\.\d+\) microphone_missing<br>/);
  await Deno.remove(dir, { recursive: true });
});

Deno.test("time outside the schedule and pauses are shown with their cause, and not counted as missing", async () => {
  const till = new SimulatedTill();
  for (const cause of ["outside_schedule", "paused", "microphone_missing"] as const) {
    till.start(cause);
    till.hear(11);
    till.stop();
    till.pass(30_000);
  }
  till.start("outside_schedule");
  till.hear(11);
  till.stop();
  const dir = await Deno.makeTempDir({ prefix: "schedule-" });
  await till.deliver(
    join(dir, ids.pointId, ids.registerId, ids.deviceId, "2026-11-23"),
    () => true,
  );
  const clock = new SimulatedClock(Date.UTC(2026, 10, 23, 13));
  const { tills } = await new FolderOverview(dir, clock).read();
  const [coverage] = tills.map(({ coverage }) => coverage);
  assert(coverage);
  const causes = coverage.holes.map(({ why }) => why);
  assertEquals(causes, [["paused"], ["microphone_missing"], ["outside_schedule"]]);
  assertEquals(missingHoles(coverage).length, 1);
  assertEquals(Math.round(missingUs(coverage) / 1e6), 30);
  const text = renderTills(overviewOf(tills), Date.UTC(2026, 10, 23, 13));
  assertMatch(text, /0:00:30\.\d+ in 1<br><small>.* paused<br>.* outside_schedule<br>/);
  const counts = { answers: new Map(), stored: 0, repeated: 0, storedBytes: 0, connections: 0 };
  assertMatch(formatReceiverMetrics(overviewOf(tills), counts), /day_holes\{.*\} 1$/m);
  const wanted = tills.map((one) => ({
    ...one,
    coverage: { ...coverage, holes: coverage.holes.filter(({ why }) => why?.[0] === "paused") },
  }));
  const page = renderTills(overviewOf(wanted), Date.UTC(2026, 10, 23, 13));
  assertMatch(page, />nothing<br><small>.* paused<br>/);
  await Deno.remove(dir, { recursive: true });
});

Deno.test("a chunk with a time in the future hides no till that has stopped, and is shown if there is no other", async () => {
  const nowMs = Date.now() + 60_000; // the folders have been at rest
  const dayOf = (unixMs: number) => new Date(unixMs).toISOString().slice(0, 10);
  const clock = new SimulatedClock(nowMs);
  const dir = await Deno.makeTempDir({ prefix: "future-" });
  const device = join(dir, ids.pointId, ids.registerId, ids.deviceId);
  const put = async (unixMs: number) => {
    const name = { ...makeName(), startUnixUs: unixMs * 1000, durationUs: 60e6 };
    const day = join(device, dayOf(unixMs));
    await Deno.mkdir(day, { recursive: true });
    await Deno.writeTextFile(join(day, formatChunkName(name)), "");
  };
  const overview = new FolderOverview(dir, clock);
  const look = async () => {
    await clock.advance(MAX_AGE_MS);
    const { tills } = await overview.read();
    const found = tills.map(({ day, coverage, hasFuture }) => [day, coverage.chunks, hasFuture]);
    return { tills, found };
  };
  const [hour, day] = [3_600_000, 86_400_000];
  await put(nowMs + 400 * day);
  assertEquals((await look()).found, [[dayOf(nowMs + 400 * day), 1, true]], "there is no other");
  await Deno.mkdir(join(device, dayOf(nowMs + 500 * day)));
  await put(nowMs - 3 * day);
  assertEquals((await look()).found, [[dayOf(nowMs - 3 * day), 1, true]]);
  await Deno.remove(join(device, dayOf(nowMs + 400 * day)), { recursive: true });
  assertEquals(
    (await look()).found,
    [[dayOf(nowMs - 3 * day), 1, false]],
    "an empty folder has no chunk",
  );
  await put(nowMs + 2 * hour);
  const { tills, found } = await look();
  assertEquals(found, [[dayOf(nowMs - 3 * day), 1, true]]);
  const text = renderTills(overviewOf(tills), nowMs);
  assertMatch(
    text,
    /<td class="n late">[\d:]+<br><small>71 h ago.*\n?.*others are in the future/,
  );
  const counts = { answers: new Map(), stored: 0, repeated: 0, storedBytes: 0, connections: 0 };
  assertMatch(formatReceiverMetrics(overviewOf(tills), counts), /future_chunks\{.*\} 1$/m);
  await clock.advance(hour + 60_000);
  assertEquals(
    (await look()).found,
    [[dayOf(nowMs + 2 * hour), 1, false]],
    "an hour ahead is a clock",
  );
  await Deno.remove(dir, { recursive: true });
});

Deno.test("a cause that is hostile text is shown as text, and files that say nothing have unknown causes", async () => {
  const tag = "<script>alert(1)</script>";
  const files = [0, 2, 4].map((minute) => ({
    name: { ...makeName(minute), durationUs: 60e6 },
    path: String(minute),
  }));
  const coverage = coverageOf(files.map(({ name }) => name));
  assert(coverage);
  const [first, second] = files;
  const stream = (index: number) => ({
    STREAM_ID: String(index),
    STREAM_SAMPLE: "0",
    CHUNK_ID: files[index]?.name.key ?? "",
  });
  const causes = new HoleCauses((path) => {
    if (path === first?.path) return Promise.resolve(makeChunk(stream(0)));
    if (path !== second?.path) return Promise.reject(new Error("unreadable"));
    const gap = { PREVIOUS_CHUNK_ID: first?.name.key ?? "", GAP_BEFORE_MS: "60000" };
    return Promise.resolve(makeChunk({ ...stream(1), ...gap, GAP_CAUSE: tag }));
  });
  const explained = await causes.explain(coverage, files);
  assertEquals(explained.holes.map(({ why }) => why), [[tag], []]);
  const till = { ...ids, day: "2026-11-23", coverage: explained, hasFuture: false };
  const text = renderTills(overviewOf([till]), Date.UTC(2026, 10, 23, 13));
  assert(!text.includes("<script"));
  assert(text.includes("&lt;script&gt;alert"));
});

Deno.test("the pages need the token of all, or one for pages; a browser gives it as a password", async () => {
  const entries = parseTokens(`all\nmine ${ids.deviceId}\nwatch page\n`);
  await using rig = await startReceiver({
    tokens: { grantOf: (token) => findGrant(entries, token) },
  });
  const status = async (authorization: string | null, path = "/") => {
    const headers = authorization === null ? {} : { authorization };
    const answer = await fetch(`http://127.0.0.1:${rig.port}${path}`, { headers });
    await answer.body?.cancel();
    if (answer.status === 401) assertMatch(answer.headers.get("www-authenticate") ?? "", /^Basic /);
    return answer.status;
  };
  const cases: [string | null, number][] = [
    [null, 401],
    ["Bearer mine", 401],
    ["Bearer unknown", 401],
    ["Bearer watch", 200],
    ["Bearer all", 200],
    [`Basic ${btoa("me:watch")}`, 200],
    [`Basic ${btoa("watch")}`, 200],
    [`Basic ${btoa("watch:")}`, 401],
    ["Basic %%%", 401],
  ];
  for (const [authorization, expected] of cases) {
    assertEquals(await status(authorization), expected, String(authorization));
    assertEquals(await status(authorization, "/metrics"), expected, String(authorization));
  }
  assertEquals(await status(null, "/health"), 200);
});

Deno.test("an overview reads a folder again when it changed, passes over foreign files, and is kept for a while", async () => {
  const dir = await Deno.makeTempDir({ prefix: "overview-" });
  const clock = new SimulatedClock(Date.now() + 60_000); // the folders have been at rest
  const overview = new FolderOverview(dir, clock);
  const device = join(dir, ids.pointId, ids.registerId, ids.deviceId);
  const put = async (day: string, minute: number) => {
    await Deno.mkdir(join(device, day), { recursive: true });
    const time = `${day.replaceAll("-", "")}T08${String(minute).padStart(2, "0")}00.000000Z`;
    const name = `${time}_60000000us_${crypto.randomUUID()}.ogg`;
    await Deno.writeTextFile(join(device, day, name), "");
    return join(device, day, name);
  };
  const look = async () => {
    await clock.advance(MAX_AGE_MS);
    return (await overview.read()).tills.map(({ day, coverage }) => [day, coverage.chunks]);
  };
  assertEquals(await look(), []);
  await put("2026-11-22", 0);
  const [first] = [await put("2026-11-23", 0), await put("2026-11-23", 1)];
  await Deno.mkdir(join(device, "2026-11-24"));
  await Deno.mkdir(join(dir, "lost+found"));
  await Deno.writeTextFile(join(dir, ids.deviceId), "a file");
  await Deno.writeTextFile(join(device, "2026-11-23", "notes.txt"), "");
  assertEquals(await look(), [["2026-11-23", 2]]);
  assertEquals(await look(), [["2026-11-23", 2]]);
  await new Promise((resolve) => setTimeout(resolve, 20)); // another time stamp
  await Deno.remove(first ?? "");
  assertEquals((await overview.read()).tills[0]?.coverage.chunks, 2, "not looked at yet");
  assertEquals(await look(), [["2026-11-23", 1]]);
  await Deno.remove(join(dir, ids.pointId), { recursive: true });
  assertEquals(await look(), []);
  await Deno.remove(dir, { recursive: true });
});
