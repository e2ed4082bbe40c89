// What `check` says about the configuration itself, for given files. tests/integration/check_test.ts runs
// the command.

import { assert, assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import { join } from "@std/path/join";
import { checkConfig, type CheckOptions, runCheck } from "../../src/commands/check.ts";
import { checkSchedule } from "../../src/commands/check_schedule.ts";
import { type Config, loadConfig } from "../../src/config/config.ts";
import type { Finding } from "../../src/commands/finding.ts";

const SETTINGS = {
  RA_POINT_ID: "11111111-1111-1111-1111-111111111111",
  RA_REGISTER_ID: "22222222-2222-2222-2222-222222222222",
  RA_DEVICE_ID: "33333333-3333-3333-3333-333333333333",
  RA_INGEST_BASE_URL: "https://ingest.example.com",
  RA_INGEST_TOKEN: "token",
};

/** A machine with these files. */
async function machine(files: { config?: string; environment?: string; unit?: string }) {
  const dir = await Deno.makeTempDir({ prefix: "check-command-test-" });
  for (const [name, text] of Object.entries(files)) {
    await Deno.writeTextFile(join(dir, name), text, { mode: 0o640 });
  }
  const installation = {
    config: join(dir, "config"),
    environment: join(dir, "environment"),
    unit: join(dir, "unit"),
  };
  const given: CheckOptions = {
    ...{ config: undefined, env: {}, json: false, sendTestChunk: false, installation },
    executable: "/usr/local/bin/recorder-agent",
  };
  return {
    installation,
    check: async (options: Partial<CheckOptions> = {}): Promise<Finding[]> =>
      (await checkConfig({ ...given, ...options })).found,
    /** What the whole command prints, and its exit code. */
    run: async (): Promise<[number, string]> => {
      let text = "";
      const code = await runCheck({ ...given, print: (line) => text += line });
      return [code, text];
    },
    [Symbol.asyncDispose]: () => Deno.remove(dir, { recursive: true }),
  };
}

Deno.test("a configuration that this user may not read needs another user, not another line", async () => {
  await using till = await machine({ config: "chunk_seconds: 5\n" });
  const readTextFile = () => {
    throw new Deno.errors.PermissionDenied("");
  };
  const [found] = await till.check({ readTextFile });
  assertEquals(found?.verdict, "failed");
  assertStringIncludes(found?.message ?? "", "may not be read by this user");
  assertEquals(found?.fix, "Run the check as root: sudo recorder-agent check");
  const config = till.installation.config;
  const [named] = await till.check({ readTextFile, config, executable: "" });
  assertEquals(
    named?.fix,
    `Run the check as root: sudo deno run -A main.ts check -c ${config}`,
  );
});

Deno.test("a missing key is to be added, a wrong one to be corrected", async () => {
  await using till = await machine({ config: "chunk_seconds: x\n" });
  const found = await till.check();
  const fixOf = (key: string) => found.find(({ message }) => message.includes(`${key}: `))?.fix;
  assertMatch(fixOf("point_id") ?? "", /^Add it/);
  assertMatch(fixOf("chunk_seconds") ?? "", /^Correct it/);
  const [absent] = await till.check({ config: "/nonexistent/config.yaml" });
  assertEquals(absent?.fix, "Check the name of the file");
});

Deno.test("a till that is configured by variables, or whose unit is installed, is set up", async () => {
  await using till = await machine({ environment: "RA_CHUNK_SECONDS=5\n" });
  const found = await till.check();
  assert(found.some(({ message }) => message.includes("point_id: is missing")));
  await using installed = await machine({ unit: "" });
  const [nothing] = await installed.check();
  assertMatch(nothing?.message ?? "", /^The service is installed, but there is neither /);
  await using fresh = await machine({});
  const [code, text] = await fresh.run();
  assertEquals(code, 2);
  assertStringIncludes(text, "recorder-agent is not set up yet");
});

Deno.test("a token that every user can read is reported for the file that has it", async () => {
  const ids = ["point_id", "register_id", "device_id"]
    .map((key) => `${key}: 11111111-1111-4111-8111-111111111111\n`).join("");
  await using till = await machine({
    config: `${ids}ingest_base_url: http://127.0.0.1:1\nhealth_port: 1\naudio_device: usb:9-9\n`,
    environment: "RA_INGEST_TOKEN=a-token\n",
  });
  const { config, environment } = till.installation;
  for (const path of [config, environment]) await Deno.chmod(path, 0o644);
  const found = await till.check();
  assertEquals(found.map(({ verdict }) => verdict), ["ok", "warning"]);
  assertEquals(found[0]?.message, `${config} and ${environment}`);
  assertStringIncludes(found[1]?.message ?? "", environment);
});

Deno.test("check says what the schedule means now, and names what overlaps", () => {
  const config = loadConfig({
    path: null,
    env: { ...SETTINGS, RA_SCHEDULE: "mon-fri 08:00-22:00" },
  });
  const nowMs = Date.parse("2026-06-19T20:30:00Z"); // a Friday evening
  const say = (config: Config) =>
    checkSchedule(config, nowMs, "Europe/Berlin").map(({ verdict, message }) =>
      `${verdict} ${message}`
    );
  assertEquals(say(config), [
    "ok mon-fri 08:00-22:00; sat-sun off; now off, until 2026-06-22 08:00 (Europe/Berlin)",
  ]);
  assertEquals(say(loadConfig({ path: null, env: { ...SETTINGS, RA_SCHEDULE_END: "08:00" } })), [
    "ok all day, every day; now on, always (Europe/Berlin)",
  ]);
  const twice = "mon-fri 08:00-23:00; fri 20:00-02:00";
  assertEquals(say(loadConfig({ path: null, env: { ...SETTINGS, RA_SCHEDULE: twice } })), [
    "ok mon-thu 08:00-23:00; fri 08:00-23:00, 20:00-02:00; sat-sun off; now on, until " +
    "2026-06-20 02:00 (Europe/Berlin)",
    'warning The schedule overlaps itself: "mon-fri 08:00-23:00" and "fri 20:00-02:00" overlap on ' +
    "fri 20:00-23:00",
  ]);
});
