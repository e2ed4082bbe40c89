// The program under a service manager that only listens: from source with a microphone, and compiled, with
// the permissions of the binary.

import { assert, assertEquals, assertMatch } from "@std/assert";
import { join } from "@std/path/join";
import { AgentProcess, IDS } from "../fixtures/agent_process.ts";
import { buildBinaries } from "../fixtures/binaries.ts";
import { FakeServiceManager } from "../fixtures/notify_socket.ts";
import { PulseMicrophone } from "../fixtures/pulse_microphone.ts";
import { until } from "../fixtures/sockets.ts";

/** An address of this machine without a server. */
const NOBODY = "http://127.0.0.1:9";

function supervised(manager: FakeServiceManager, watchdogMs: number): Record<string, string> {
  return {
    NOTIFY_SOCKET: manager.path,
    RUNTIME_DIRECTORY: manager.runtimeDir,
    WATCHDOG_USEC: String(watchdogMs * 1000),
  };
}

function sleep(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

Deno.test("systemd is notified of sound, of its loss, and of the stop; only sound feeds the watchdog", async () => {
  const dir = await Deno.makeTempDir({ prefix: "systemd-test-" });
  try {
    await using manager = await FakeServiceManager.start();
    await using microphone = await PulseMicrophone.start();
    await using agent = await AgentProcess.start({
      dir,
      config: {
        ingest_base_url: NOBODY,
        ingest_token: "t",
        audio_device: microphone.device,
        spool_dir: join(dir, "spool"),
        schedule_start: "00:00",
        schedule_end: "00:00",
        min_free_gb: 0,
      },
      env: { ...microphone.env, ...supervised(manager, 1200) }, // fed every 200 ms
    });
    const ready = await manager.told("READY", "1");
    assertMatch(
      ready.STATUS ?? "",
      /^Recording usbmic since .*; nothing waits; none delivered yet/,
    );

    const [before, startMs] = [manager.count("WATCHDOG"), performance.now()];
    while (manager.count("WATCHDOG") < before + 10) {
      await manager.told("WATCHDOG", "1", manager.heard.length);
    }
    const tookMs = performance.now() - startMs;
    assert(tookMs < 10 * 1200, `fed 10 times in ${tookMs} ms: systemd would have ended it`);

    // The microphone is present and delivers nothing; the program and its timers run.
    await microphone.suspend();
    await sleep(1_000);
    const starved = manager.count("WATCHDOG");
    await sleep(4_000);
    assertEquals(manager.count("WATCHDOG"), starved);
    assertEquals((await agent.health()).status, 200);
    // Opening it again also feeds the watchdog.
    await agent.said("delivered no sound for 10 s");
    await manager.told("WATCHDOG", "1", manager.heard.length);
    const isNamed = ({ STATUS = "" }) => /^NOT recording.*; microphone_stalled: /.test(STATUS);
    await until("the status names the problem", () => manager.heard.some(isNamed));

    assertEquals(await agent.end("SIGTERM"), 0);
    const stopping = await manager.told("STOPPING", "1");
    assertEquals(stopping.EXTEND_TIMEOUT_USEC, "10000000");
    assertEquals([...Deno.readDirSync(manager.runtimeDir)], []);
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
});

Deno.test("the binary can notify systemd, and finds the token in a credential", async () => {
  const dir = await Deno.makeTempDir({ prefix: "systemd-test-" });
  try {
    await using binaries = await buildBinaries();
    await using manager = await FakeServiceManager.start();
    const hour = Temporal.Now.zonedDateTimeISO("UTC").hour;
    const hourIn = (hours: number) => `${(hour + hours) % 24}`.padStart(2, "0") + ":00";
    await Deno.writeTextFile(join(dir, "ingest-token"), "t\n");
    const child = new Deno.Command(binaries.x64, {
      clearEnv: true,
      env: {
        ...Object.fromEntries(
          Object.entries(IDS).map(([key, id]) => [`RA_${key.toUpperCase()}`, id]),
        ),
        ...supervised(manager, 1200),
        PATH: "/usr/bin:/bin",
        TZ: "UTC",
        CREDENTIALS_DIRECTORY: dir,
        RA_INGEST_BASE_URL: NOBODY,
        RA_SPOOL_DIR: join(dir, "spool"),
        RA_SCHEDULE_START: hourIn(3),
        RA_SCHEDULE_END: hourIn(6),
        RA_HEALTH_PORT: "0",
      },
      stdin: "null",
      stdout: "null",
      stderr: "piped",
    }).spawn();
    const output = child.output();
    const ended = output.then(({ stderr }) => {
      throw new Error(`The program ended: ${new TextDecoder().decode(stderr)}`);
    });
    ended.catch(() => {});
    const ready = await Promise.race([manager.told("READY", "1"), ended]);
    assertMatch(ready.STATUS ?? "", /^Outside the schedule since /);
    // The loop that waits for the schedule polls every 5 s.
    await Promise.race([manager.told("WATCHDOG", "1", manager.heard.length), ended]);
    child.kill("SIGTERM");
    assertEquals((await output).code, 0);
    await manager.told("STOPPING", "1");
    assertEquals([...Deno.readDirSync(manager.runtimeDir)], []);
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
});
