// The delivery side is replaced while it delivers: real servers and files.

import { REQUEST_ROUNDS, settled } from "../fixtures/settled.ts";
import { assert, assertEquals } from "@std/assert";
import { Delivery } from "../../src/agent/delivery.ts";
import { Settings } from "../../src/agent/settings.ts";
import { type Config, loadConfig } from "../../src/config/config.ts";
import { phaseOf } from "../../src/config/phase.ts";
import { Status } from "../../src/status/status.ts";
import { type Clock, systemClock } from "../../src/system/clock.ts";
import { makeName } from "../fixtures/chunks.ts";
import { type Behaviour, IngestServer } from "../fixtures/ingest_server.ts";
import { capturedLog, TempSpool, until } from "../fixtures/temp_spool.ts";

const TOKEN = "t0ken-that-nobody-may-see";

/** Delivers the chunks of minutes 0 and 1 to the first of two servers. */
async function rig(
  behaviour: Behaviour,
  clock: Clock = systemClock,
  more: Record<string, string> = {},
) {
  const temp = await TempSpool.open();
  for (const minute of [0, 1]) await temp.store("outbox", makeName(minute));
  const first = await IngestServer.start({ token: TOKEN, behaviour });
  const second = await IngestServer.start({ token: TOKEN });
  const config = loadConfig({
    path: null,
    env: {
      RA_POINT_ID: "11111111-1111-1111-1111-111111111111",
      RA_REGISTER_ID: "22222222-2222-2222-2222-222222222222",
      RA_DEVICE_ID: "33333333-3333-3333-3333-333333333333",
      RA_INGEST_BASE_URL: first.url,
      RA_INGEST_TOKEN: TOKEN,
      RA_UPLOAD_CONCURRENCY: "1",
      ...more,
    },
  });
  const settings = new Settings(config);
  const status = new Status({ ...config, version: "1" }, clock);
  const { log, lines } = capturedLog();
  const boot = { id: "b", zeroMs: 0 };
  const delivery = new Delivery({
    settings,
    clock,
    status,
    spool: temp.spool,
    boot,
    log,
    env: {},
    timeZone: "UTC",
  });
  const stop = new AbortController();
  const ended = delivery.run(stop.signal);
  return {
    temp,
    first,
    second,
    settings,
    status,
    lines,
    to: (url: string, more: Partial<Config> = {}) =>
      settings.replace({ ...config, ingestBaseUrl: url, ...more }),
    async [Symbol.asyncDispose]() {
      stop.abort();
      await ended;
      for (const part of [first, second, temp]) await part[Symbol.asyncDispose]();
    },
  };
}

Deno.test("a request in flight finishes, and the next chunk goes to the new server", async () => {
  await using setup = await rig({ kind: "late", ms: 300 });
  const { first, second, to, temp } = setup;
  await first.waitUntil(({ requests }) => requests.length === 1, 20_000);
  to(second.url);
  await second.waitForChunks(1, 20_000);
  assertEquals([first.chunks.length, second.chunks.length, first.requests.length], [1, 1, 1]);
  await until(() => temp.files("outbox").length === 0);
});

Deno.test("a request without an answer is abandoned in time, and its chunk goes to the new server", async () => {
  const hurried: Clock = {
    ...systemClock,
    monotonicMs: () => systemClock.monotonicMs(),
    unixMs: () => systemClock.unixMs(),
    sleep: (ms, signal) => systemClock.sleep(ms / 50, signal),
  };
  await using setup = await rig({ kind: "silence" }, hurried);
  const { first, second, to } = setup;
  await first.waitUntil(({ requests }) => requests.length === 1, 20_000);
  to(second.url);
  await second.waitForChunks(2, 20_000);
  assertEquals(first.requests[0]?.key, second.chunks[0]?.key, "the same key");
});

Deno.test("a long wait for the old server ends at once, and so does the problem that it was", async () => {
  await using setup = await rig({ kind: "status", status: 401 });
  const { second, to, status, lines } = setup;
  await until(() => status.hasProblem("upload_misconfigured"));
  to(second.url);
  await second.waitForChunks(2, 20_000);
  assertEquals(status.hasProblem("upload_misconfigured"), false);
  assertEquals(
    lines.some(({ message, why }) =>
      String(message).startsWith("No longer") && why === "the settings were changed"
    ),
    true,
  );
});

Deno.test("the last chunk of a day waits for the turn of its till; the others do not", async () => {
  const { startUnixUs, durationUs } = makeName(1);
  const endMs = (startUnixUs + durationUs) / 1000;
  let nowMs = endMs;
  const clock: Clock = {
    monotonicMs: () => systemClock.monotonicMs(),
    unixMs: () => nowMs,
    sleep: (ms, signal) => systemClock.sleep(ms, signal),
  };
  const time = (ms: number) => new Date(ms).toISOString().slice(11, 16);
  const schedule = { RA_SCHEDULE_START: time(endMs - 6e6), RA_SCHEDULE_END: time(endMs) };
  await using setup = await rig({ kind: "ok" }, clock, schedule);
  const { first, temp } = setup;
  await first.waitForChunks(1, 20_000);
  await until(() => temp.files("outbox").length === 1);
  const phase = phaseOf("33333333-3333-3333-3333-333333333333");
  assert(phase > 0.1 && phase < 0.9);
  await settled(REQUEST_ROUNDS);
  assertEquals(first.requests.length, 1);
  nowMs = endMs + phase * 60_000;
  temp.spool.sealed.ring(); // it looks again
  await first.waitForChunks(2, 20_000);
});
