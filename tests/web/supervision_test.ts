// The messages to the service manager: over a real socket, and on a simulated clock.

import { Supervision } from "../../src/web/supervision.ts";
import { assert, assertEquals, assertMatch, assertThrows } from "@std/assert";
import { getLogger } from "@logtape/logtape";
import { join } from "@std/path/join";
import type { Microphones } from "../../src/microphone/microphones.ts";
import { Recorder, type RecorderOptions } from "../../src/capture/recorder.ts";
import { ChunkChain } from "../../src/capture/chunk_chain.ts";
import { StreamCutter } from "../../src/capture/stream_cutter.ts";
import { ConfigError, loadConfig } from "../../src/config/config.ts";
import { type HealthReport, Status } from "../../src/status/status.ts";
import { connectServiceManager, NotifySocket } from "../../src/system/notify_socket.ts";
import { ids } from "../fixtures/chunks.ts";
import { FakeServiceManager } from "../fixtures/notify_socket.ts";
import { SimulatedClock } from "../fixtures/simulated_clock.ts";
import { capturedLog, TempSpool } from "../fixtures/temp_spool.ts";

const START_MS = Date.UTC(2026, 10, 23, 9);
/** The interval of the simulated service manager, and of recorder-agent.service. */
const WATCHDOG_MS = 18_000;
const UNIT_WATCHDOG_MS = 180_000;

// --- The socket ----------------------------------------------------------------------------------

function filesIn(dir: string): string[] {
  return [...Deno.readDirSync(dir)].map(({ name }) => name);
}

Deno.test("messages arrive in order, and no socket is left behind", async () => {
  await using manager = await FakeServiceManager.start();
  {
    using socket = NotifySocket.open(manager.path, manager.runtimeDir);
    const sent = [socket.send("READY=1\nSTATUS=a = b"), socket.send("WATCHDOG=1")];
    assertEquals(await Promise.all(sent), [true, true]);
  }
  await manager.told("WATCHDOG");
  assertEquals(manager.heard, [{ READY: "1", STATUS: "a = b" }, { WATCHDOG: "1" }]);
  assertEquals(filesIn(manager.runtimeDir), []);
});

Deno.test("a socket file that a killed process left behind does not stop the next one", async () => {
  await using manager = await FakeServiceManager.start();
  await Deno.writeTextFile(join(manager.runtimeDir, "notify.sock"), "");
  await Deno.symlink("/nowhere", join(manager.runtimeDir, "notify.link"));
  using socket = NotifySocket.open(manager.path, manager.runtimeDir);
  assertEquals(await socket.send("READY=1"), true);
});

Deno.test("a service manager that does not read blocks nothing, and gets the message again later", async () => {
  await using manager = await FakeServiceManager.start({ deaf: true });
  using socket = NotifySocket.open(manager.path, manager.runtimeDir);
  let taken = 0; // the kernel queues a few: net.unix.max_dgram_qlen
  while (taken < 10_000 && await socket.send("WATCHDOG=1")) taken++;
  assert(taken < 10_000, "the queue was never full");
  manager.listen();
  assertEquals(await socket.send("READY=1"), true);
  await manager.told("READY");
  assertEquals(manager.count("WATCHDOG"), taken);
});

Deno.test("a missing socket is a result, not an error", async () => {
  await using manager = await FakeServiceManager.start();
  using socket = NotifySocket.open(join(manager.runtimeDir, "nobody"), manager.runtimeDir);
  assertEquals(await socket.send("READY=1"), false);
});

Deno.test("without NOTIFY_SOCKET nothing is sent; a socket that cannot be used is logged", () => {
  using captured = capturedLog();
  assertEquals(connectServiceManager({}, "/nowhere", captured.log), null);
  assertEquals(captured.lines.length, 0);
  for (const path of ["@abstract", "/run/systemd/notify"]) {
    assertEquals(connectServiceManager({ NOTIFY_SOCKET: path }, "/nowhere", captured.log), null);
  }
  assertEquals(captured.lines.length, 2);
});

Deno.test("the token comes from the credential, unless the configuration has one", async () => {
  const dir = await Deno.makeTempDir();
  try {
    const env = {
      RA_POINT_ID: ids.pointId,
      RA_REGISTER_ID: ids.registerId,
      RA_DEVICE_ID: ids.deviceId,
      RA_INGEST_BASE_URL: "https://ingest.example.com",
      CREDENTIALS_DIRECTORY: dir,
    };
    const file = join(dir, "ingest-token");
    // The text that the unit sets when /etc/recorder-agent/token is missing.
    await Deno.writeTextFile(file, "there is no token in /etc/recorder-agent/token");
    const error = assertThrows(() => loadConfig({ path: null, env }), ConfigError);
    assertMatch(
      error.message,
      /credential ingest-token .*\/etc\/recorder-agent\/token .*no usable/,
    );
    await Deno.writeTextFile(file, "secret\n");
    assertEquals(loadConfig({ path: null, env }).ingestTokenFile, file);
    const given = loadConfig({ path: null, env: { ...env, RA_INGEST_TOKEN: "given" } });
    assertEquals([given.ingestToken, given.ingestTokenFile], ["given", null]);
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
});

// --- The messages --------------------------------------------------------------------------------

function start(options: { taken?: () => boolean } = {}) {
  const clock = new SimulatedClock(START_MS);
  const status = new Status({ ...ids, version: "1" }, clock);
  const outbox = { files: 0, bytes: 0, durationUs: 0 };
  const told: string[] = [];
  const notifier = {
    send(message: string) {
      told.push(message);
      return Promise.resolve(options.taken?.() ?? true);
    },
  };
  const watchdogUsec = String(WATCHDOG_MS * 1000);
  const supervision = new Supervision({ notifier, watchdogUsec, timeZone: "Asia/Tokyo" }, clock);
  const [stopping, end] = [new AbortController(), new AbortController()];
  const report = (): HealthReport =>
    status.report({ tally: { outbox, uploaded: outbox, rejected: outbox }, totalBytes: 0 });
  return {
    ...{ clock, status, outbox, told, supervision, stopping, end },
    run: () => supervision.run(report, stopping.signal, end.signal),
    async [Symbol.asyncDispose]() {
      stopping.abort();
      end.abort();
      await clock.advance(0);
      assertEquals(clock.sleepers, 0);
    },
  };
}

Deno.test("READY is sent with the first sound", async () => {
  await using setup = start();
  setup.status.schedule(true);
  setup.run();
  await setup.clock.advance(5_000);
  assertEquals(setup.told, [
    "STATUS=NOT recording since 11-23 18:00:00; nothing waits; none delivered yet",
  ]);
  setup.status.recording("USB Mic");
  await setup.clock.advance(2_000);
  assertEquals(setup.told.slice(1), [
    "READY=1\nSTATUS=Recording USB Mic since 11-23 18:00:06; nothing waits; none delivered yet",
  ]);
});

Deno.test("READY is sent at once outside the schedule", async () => {
  await using setup = start();
  setup.status.schedule(false);
  setup.run();
  await setup.clock.advance(0);
  assertMatch(setup.told.join(), /^READY=1\nSTATUS=Outside the schedule since /);
});

Deno.test("READY is sent after 10 s without a microphone, and STATUS says what is missing", async () => {
  await using setup = start();
  setup.status.schedule(true);
  setup.status.setProblem("clock_not_synchronized", "The clock is wrong");
  setup.status.setProblem("microphone_missing", "Plug it\nin");
  setup.run();
  await setup.clock.advance(9_000);
  assertEquals(setup.told.filter((message) => message.includes("READY")), []);
  await setup.clock.advance(1_000);
  assertEquals(setup.told.at(-1)?.split("\n"), [
    "READY=1",
    "STATUS=NOT recording since 11-23 18:00:00; nothing waits; none delivered yet; " +
    "microphone_missing: Plug it in (and 1 more)",
  ]);
});

Deno.test("STATUS names silence before any other problem of the sound, and a hint last", async () => {
  await using setup = start();
  const { status, told, clock } = setup;
  status.schedule(true);
  status.recording("USB Mic");
  status.setProblem("microphone_too_quiet", "Hint");
  status.setProblem("microphone_stand_in", "Another one");
  setup.run();
  await clock.advance(60_000);
  assertMatch(told.at(-1) ?? "", /; microphone_stand_in: Another one \(and 1 more\)$/);
  status.setProblem("microphone_silent", "Nothing");
  await clock.advance(10_000);
  assertMatch(told.at(-1) ?? "", /; microphone_silent: Nothing \(and 2 more\)$/);
});

Deno.test("STATUS is sent when it has changed, and only then", async () => {
  await using setup = start();
  const { clock, status, outbox, told } = setup;
  status.schedule(true);
  status.recording("USB Mic");
  setup.run();
  await clock.advance(60_000);
  assertEquals(told.length, 1);
  outbox.files = 2;
  status.uploaded(60e6);
  await clock.advance(10_000);
  assertEquals(told.slice(1), [
    "STATUS=Recording USB Mic since 11-23 18:00:00; 2 chunks wait; 2 refused; last delivery 11-23 18:01:00",
  ]);
  status.setProblem("disk_failing", "x".repeat(5_000));
  await clock.advance(2_000);
  assert((told.at(-1)?.length ?? 0) < 350);
});

Deno.test("a message that was not accepted is sent again, at growing intervals", async () => {
  let taken = false;
  await using setup = start({ taken: () => taken });
  setup.run();
  await setup.clock.advance(600_000);
  assert(setup.told.length > 5 && setup.told.length < 20, `${setup.told.length} times`);
  assert(setup.told.every((message) => message.startsWith("READY=1\n")));
  taken = true;
  const before = setup.told.length;
  await setup.clock.advance(90_000);
  assertEquals(setup.told.length, before + 1);
});

Deno.test("STOPPING asks for more time until the agent has stopped, for at most a minute", async () => {
  await using setup = start();
  const running = setup.run();
  await setup.clock.advance(500);
  setup.stopping.abort();
  await setup.clock.advance(10_000);
  const told = setup.told.slice(1);
  assertEquals(told.length, 6);
  assertMatch(told[0] ?? "", /^STOPPING=1\nEXTEND_TIMEOUT_USEC=10000000\nSTATUS=Finishing/);
  await setup.clock.advance(600_000);
  assertEquals(setup.told.length - 1, 30);
  setup.end.abort();
  await running;
});

// --- The watchdog --------------------------------------------------------------------------------

Deno.test("sound feeds the watchdog often enough, and no timer does", async () => {
  await using setup = start();
  const { clock, status, supervision, told } = setup;
  status.schedule(true);
  status.recording("USB Mic");
  setup.run();
  await clock.advance(WATCHDOG_MS);
  assertEquals(told.length, 1);
  for (let atMs = 0; atMs < WATCHDOG_MS; atMs += 500) {
    for (let packet = 0; packet < 25; packet++) supervision.alive();
    await clock.advance(500);
  }
  assertEquals(told.slice(1), Array(6).fill("WATCHDOG=1"));
});

Deno.test("without a watchdog, or without a service manager, nothing is sent", async () => {
  const clock = new SimulatedClock(START_MS);
  const told: string[] = [];
  const notifier = {
    send(message: string) {
      told.push(message);
      return Promise.resolve(true);
    },
  };
  new Supervision({ notifier, timeZone: "UTC" }, clock).alive();
  assertEquals(told, []);
  const alone = new Supervision({ notifier: null, watchdogUsec: "1", timeZone: "UTC" }, clock);
  alone.alive();
  await alone.run(
    () => { // never called
      throw new Error("report");
    },
    AbortSignal.abort(),
    AbortSignal.abort(),
  );
});

/** Runs a recorder on a simulated clock that reports that it is alive; returns the longest silence. */
async function longestSilence(
  forMs: number,
  options: Partial<RecorderOptions & Pick<Microphones, "find">> = {},
  release = () => {},
): Promise<number> {
  await using temp = await TempSpool.open();
  const clock = new SimulatedClock(START_MS);
  const alive = [clock.monotonicMs()];
  const recorder = new Recorder({
    schedule: { startMinute: 0, endMinute: 0 },
    timeZone: "UTC",
    stream: {
      chunkSeconds: 60,
      sampleRate: 48000,
      bitrateKbps: 24,
      socketDir: null,
      vendor: "",
    },
    syncIntervalMs: 5000,
    tags: {},
    provisional: () => undefined,
    microphones: {
      find: options.find ?? (() => Promise.reject(new Error("no microphone"))),
      plugged: () => Promise.resolve(false),
      waitForNews: (ms, clock, signal) => clock.sleep(ms, signal),
      remember: () => Promise.resolve(),
      knownChannels: () => Promise.resolve(null),
      rememberChannels: () => Promise.resolve(),
      countStandIn: () => Promise.resolve(0),
      explain: (diagnosis) => Promise.resolve(diagnosis),
    },
    ...(options.schedule === undefined ? {} : { schedule: options.schedule }),
  }, {
    clock,
    spool: temp.spool,
    status: new Status({ ...ids, version: "1" }, clock),
    log: getLogger("test"),
    onAlive: () => alive.push(clock.monotonicMs()),
  });
  const stop = new AbortController();
  const running = recorder.run(stop.signal);
  await clock.advance(forMs);
  alive.push(clock.monotonicMs());
  stop.abort();
  release();
  await running;
  return Math.max(...alive.slice(1).map((atMs, i) => atMs - (alive[i] ?? 0)));
}

Deno.test("a pause feeds the watchdog, and so does a microphone that is absent for long", async () => {
  const pause = { schedule: { startMinute: 0, endMinute: 60 } };
  assertEquals(await longestSilence(60_000, pause), 5_000);
  // alive() may skip calls for a sixth of the interval; missing packets are noticed up to 30 s later.
  const silenceMs = await longestSilence(400_000);
  assert(silenceMs + UNIT_WATCHDOG_MS / 6 + 30_000 < UNIT_WATCHDOG_MS, `${silenceMs} ms`);
});

Deno.test("a recorder that hangs does not feed the watchdog, even though timers run", async () => {
  const hung = Promise.withResolvers<never>();
  const release = () => hung.reject(new Error("no microphone"));
  const options = { find: () => hung.promise };
  assertEquals(await longestSilence(UNIT_WATCHDOG_MS, options, release), UNIT_WATCHDOG_MS);
});

Deno.test("packets feed the watchdog, even if writes to the disk fail", () => {
  for (const isFull of [false, true]) {
    let alive = 0;
    const clock = new SimulatedClock(START_MS);
    const cutter = new StreamCutter(null, { chunkSeconds: 60, vendor: "", tags: {} }, {
      clock,
      writer: { push: () => {}, isFull },
      log: getLogger("test"),
      provisional: () => undefined,
      gapCause: "starting",
      chain: new ChunkChain(),
      onSound: () => {},
      onDropping: () => {},
      onAlive: () => alive++,
    });
    const head = { channels: 1, preSkip: 312, inputSampleRate: 48_000 };
    cutter.take([{ kind: "head", head }], 0);
    assertEquals(alive, 0);
    const packet = { data: new Uint8Array(60), samples: 960, endPosition: 960, trimSamples: 0 };
    cutter.take([{ kind: "packet", packet }], 20);
    assertEquals(alive, 1);
  }
});
