// A Pi that boots in the past: real ffmpeg, real files, a real server, and a clock that is corrected during
// the recording.

import { assert, assertEquals } from "@std/assert";
import { getLogger } from "@logtape/logtape";
import { join } from "@std/path/join";
import { runAgent, type RunningAgent } from "../../src/agent.ts";
import { readChunkHeader } from "../../src/chunk/chunk_file.ts";
import type { HealthReport } from "../../src/status/status.ts";
import { type Clock, systemClock } from "../../src/system/clock.ts";
import { loadConfig } from "../../src/config/config.ts";
import { IDS } from "../fixtures/agent_process.ts";
import { IngestServer } from "../fixtures/ingest_server.ts";
import { SINE } from "../fixtures/recorder_rig.ts";

const TWO_WEEKS = 14 * 86_400_000;

/** The agent, in this process, with a clock that is `offsetMs` wrong until it is corrected. */
async function wrongClock(offsetMs: number, config: Record<string, unknown>) {
  const dir = await Deno.makeTempDir();
  const ingest = await IngestServer.start({ token: "only-for-this-test" });
  const state = { offsetMs, synchronized: false };
  const clock: Clock = {
    ...systemClock,
    unixMs: () => Date.now() + state.offsetMs,
    // Long waits for the clock end early, so that it is checked again soon.
    sleep: (ms, signal) => systemClock.sleep(Math.min(ms, 300), signal),
  };
  const settings = {
    ...IDS,
    ingest_base_url: ingest.url,
    ingest_token: "only-for-this-test",
    spool_dir: join(dir, "spool"),
    schedule_start: "00:00",
    schedule_end: "00:00",
    chunk_seconds: 1,
    health_port: 0,
    min_free_gb: 0,
    max_spool_days: 7,
    ...config,
  };
  const text = Object.entries(settings).map(([key, value]) => `${key}: ${JSON.stringify(value)}\n`);
  const stop = new AbortController();
  const started = Promise.withResolvers<RunningAgent>();
  const running = runAgent({
    onRunning: started.resolve,
    config: loadConfig({ path: "test.yaml", env: {}, readTextFile: () => text.join("") }),
    log: getLogger("test"),
    clock,
    clockProbe: () => Promise.resolve(state.synchronized),
    microphone: {
      name: "tone",
      reason: "a test",
      attempts: [{ kind: "lavfi", graph: SINE }],
    },
  }, stop.signal);
  const { healthPort } = await Promise.race([
    started.promise,
    running.then(() => Promise.reject(new Error("it has ended"))),
  ]);
  return {
    ingest,
    spoolDir: join(dir, "spool"),
    health: async () => await (await fetch(`http://127.0.0.1:${healthPort}/health`)).json(),
    outbox: () => [...Deno.readDirSync(join(dir, "spool", "outbox"))].map(({ name }) => name),
    setRight() {
      state.offsetMs = 0;
      state.synchronized = true;
    },
    async stop() {
      stop.abort();
      await running;
    },
    async [Symbol.asyncDispose]() {
      stop.abort();
      await running;
      await ingest[Symbol.asyncDispose]();
      await Deno.remove(dir, { recursive: true });
    },
  };
}

for (const [what, offsetMs] of [["past", -TWO_WEEKS], ["future", TWO_WEEKS]] as const) {
  Deno.test(`a clock two weeks in the ${what}: chunks wait for clock sync, and none is lost`, async () => {
    const startedMs = Date.now();
    await using agent = await wrongClock(offsetMs, {});
    while (agent.outbox().length < 3) await systemClock.sleep(50);
    assertEquals(agent.ingest.chunks.length, 0, "no chunk is sent with a wrong time");
    agent.setRight();
    await agent.ingest.waitForChunks(5, 20_000);
    await agent.stop();
    const endedMs = Date.now();
    const { chunks, violations, duplicates } = agent.ingest;
    assertEquals([violations, duplicates], [[], 0]);
    let sample = 0;
    let endMs: number | null = null;
    // The chunks that waited are sent together: the server may accept a newer one first.
    const startOf = ({ fields }: typeof chunks[number]) => Number(fields["start_ts"]);
    const inOrder = chunks.toSorted((a, b) => startOf(a) - startOf(b));
    for (const { fields, headers, bytes } of inOrder) {
      assertEquals(headers["x-clock-synchronized"], undefined);
      const [start, end] = [Number(fields["start_ts"]) * 1000, Number(fields["end_ts"]) * 1000];
      assert(
        start >= startedMs - 50 && start < endedMs,
        `begins ${start - startedMs} ms after all`,
      );
      if (endMs !== null) {
        assert(Math.abs(start - endMs) < 50, `${start - endMs} ms between chunks`);
      }
      endMs = end;
      const header = readChunkHeader(bytes);
      assertEquals(Number(header?.tags["STREAM_SAMPLE"]), sample, "the step causes no hole");
      sample += sample === 0 ? 48_000 - 312 : 48_000;
    }
  });
}

Deno.test("the wait for clock sync is limited; after it, the chunks are marked as unsynchronized", async () => {
  await using agent = await wrongClock(-TWO_WEEKS, { max_clock_wait_s: 2 });
  await agent.ingest.waitForChunks(2, 20_000);
  for (const { headers } of agent.ingest.chunks) {
    assertEquals(headers["x-clock-synchronized"], "false");
  }
  assertEquals(agent.ingest.violations, []);
});

Deno.test("hours that a wrong clock kept from being recorded are declared when it is right", async () => {
  const now = Temporal.Now.zonedDateTimeISO();
  const clockTime = (hours: number) => now.add({ hours }).toPlainTime().toString().slice(0, 5);
  const hours = { schedule_start: clockTime(-2), schedule_end: clockTime(2) };
  await using agent = await wrongClock(-12 * 3_600_000, hours);
  const waits = (health: HealthReport) =>
    !health.in_schedule && health.problems.some(({ code }) => code === "clock_not_synchronized");
  while (!waits(await agent.health())) await systemClock.sleep(50);
  assertEquals(agent.outbox(), [], "by this clock it is not time to record");
  agent.setRight();
  await agent.ingest.waitForChunks(2, 20_000);
  await agent.stop();
  const gaps = (await Deno.readTextFile(join(agent.spoolDir, "gaps.jsonl"))).trim().split("\n")
    .map((line) => JSON.parse(line)).filter(({ cause }) => cause === "clock_not_synchronized");
  assertEquals(gaps.length, 1);
  const { start, ms } = gaps[0];
  assert(Math.abs(Date.parse(start) - now.epochMilliseconds) < 10_000, start);
  assert(0 < ms && ms < 10_000, `${ms} ms`);
  const first =
    agent.ingest.chunks.toSorted((a, b) =>
      Number(a.fields["start_ts"]) - Number(b.fields["start_ts"])
    )[0];
  assertEquals(first?.headers["x-clock-synchronized"], undefined);
  const known = JSON.parse(await Deno.readTextFile(join(agent.spoolDir, "boot_time.json")));
  assert(
    Date.parse(known.began) < Date.now(),
    "a later start can give chunks of this boot their time",
  );
});
