// What the service starts with when its configuration is wrong: it records whenever it can.

import { assert, assertEquals, assertMatch, assertRejects, assertThrows } from "@std/assert";
import { join } from "@std/path/join";
import { ConfigError, loadConfig } from "../../src/config/config.ts";
import { KEYS } from "../../src/config/keys.ts";
import { lastGoodPath, readLastGood, saveLastGood } from "../../src/config/last_good.ts";
import { loadStartConfig, type StartConfig } from "../../src/config/start_config.ts";
import { readTokenToSend } from "../../src/config/token.ts";

const GOOD = {
  point_id: "11111111-1111-1111-1111-111111111111",
  register_id: "22222222-2222-2222-2222-222222222222",
  device_id: "33333333-3333-3333-3333-333333333333",
  ingest_base_url: "https://ingest.example.com",
  ingest_token: "s3cret-token",
  chunk_seconds: "30",
  health_port: "8050",
};

/** A machine: its configuration file and its state folder. */
async function machine() {
  const dir = await Deno.makeTempDir({ prefix: "start-config-" });
  const path = join(dir, "config.yaml");
  const env = { STATE_DIRECTORY: `${dir}:${dir}/spool` };
  const write = (keys: Readonly<Record<string, string | null>>) => {
    const lines = Object.entries({ ...GOOD, ...keys })
      .flatMap(([key, value]) => value === null ? [] : [`${key}: ${value}\n`]);
    Deno.writeTextFileSync(path, lines.join(""));
  };
  const start = (more: Record<string, string> = {}): StartConfig =>
    loadStartConfig({ explicit: path, env: { ...env, ...more }, executable: "" });
  return {
    dir,
    path,
    env,
    write,
    start,
    /** As a service that was ready does. */
    keep: async (more: Record<string, string> = {}) => {
      const { config } = start(more);
      await saveLastGood(lastGoodPath(env) ?? "", config, { ...env, ...more });
    },
    async [Symbol.asyncDispose]() {
      await Deno.remove(dir, { recursive: true });
    },
  };
}

/** Why nothing can be delivered. */
async function refusal({ config }: StartConfig): Promise<string> {
  return (await assertRejects(() => readTokenToSend(config), Error)).message;
}

Deno.test("a configuration that is right is used as it is written", async () => {
  await using till = await machine();
  till.write({});
  const { config, from, problems } = till.start();
  assertEquals([from, problems, config.chunkSeconds], ["as_written", [], 30]);
});

Deno.test("a wrong file leaves the settings in force that worked last, and says what is wrong", async () => {
  await using till = await machine();
  till.write({});
  await till.keep();
  for (
    const wrong of [
      { chunk_seconds: "0" },
      { point_id: null },
      { chunk_secnds: "60" },
      { ingest_base_url: "nonsense" },
      { chunk_seconds: "[broken" },
    ]
  ) {
    till.write(wrong);
    const { config, from, problems } = till.start();
    assertEquals([from, config.chunkSeconds, config.ingestToken], [
      "last_good",
      30,
      "s3cret-token",
    ]);
    assert(problems.length > 0);
  }
  await Deno.remove(till.path);
  assertEquals(till.start().from, "last_good", "without the file, too");
});

Deno.test("without settings that worked, what recording needs must be right", async () => {
  await using till = await machine();
  for (
    const wrong of [
      { point_id: null },
      { schedule_start: "25:00" },
      { spool_dir: "relative" },
      { gain_db: "loud" },
      { not_a_key: "1" },
    ]
  ) {
    till.write({ ...wrong, ingest_base_url: "nonsense" });
    const error = assertThrows(() => till.start(), ConfigError);
    assertEquals(error.problems.length, 2, "all problems at once");
  }
});

Deno.test("what concerns delivery alone never keeps the program from recording", async () => {
  await using till = await machine();
  const missing = join(till.dir, "nowhere");
  const cases: readonly [Record<string, string | null>, StartConfig["from"], RegExp][] = [
    [{ ingest_base_url: "nonsense" }, "without_delivery", /recorder-agent check/],
    [{ ingest_base_url: null }, "without_delivery", /recorder-agent check/],
    [{ ingest_token: null }, "without_delivery", /recorder-agent check/],
    [{ retry_max_s: "1" }, "without_delivery", /recorder-agent check/],
    [{ upload_max_kbps: "1" }, "without_delivery", /recorder-agent check/],
    [{ ingest_token: null, ingest_token_file: missing }, "as_written", /nowhere/],
  ];
  for (const [wrong, from, why] of cases) {
    till.write(wrong);
    const started = till.start();
    assertEquals(started.from, from, JSON.stringify(wrong));
    assert(started.problems.length > 0);
    assertEquals([started.config.chunkSeconds, started.config.healthPort], [30, 8050]);
    assertMatch(await refusal(started), why);
  }
  till.write({ tls_ca_file: missing });
  assertEquals(till.start().config.tlsCaFile, missing, "it is read again for each connection");
});

Deno.test("a wrong key of reporting or of the port leaves delivery as it is written", async () => {
  await using till = await machine();
  for (const wrong of [{ health_port: "x" }, { otlp_endpoint: "x" }, { heartbeat_url: "x" }]) {
    till.write(wrong);
    const { from, config } = till.start();
    assertEquals([from, config.ingestToken], ["without_delivery", "s3cret-token"]);
  }
});

Deno.test("the settings that worked are private, whole, and without a token that comes from elsewhere", async () => {
  await using till = await machine();
  till.write({});
  await till.keep();
  const path = lastGoodPath(till.env) ?? "";
  assertEquals((Deno.statSync(path).mode ?? 0) & 0o777, 0o600);
  assertEquals(readLastGood(path, {}), till.start().config);
  till.write({ ingest_token: null });
  const variable = { RA_INGEST_TOKEN: "t0ken-of-the-environment" };
  await till.keep(variable);
  assert(!Deno.readTextFileSync(path).includes("t0ken"));
  assertEquals(readLastGood(path, { RA_INGEST_TOKEN: "renewed" })?.ingestToken, "renewed");
});

Deno.test("settings that an older release has kept are used, with defaults for what is new", async () => {
  await using till = await machine();
  till.write({});
  const { config } = till.start();
  const path = lastGoodPath(till.env) ?? "";
  await saveLastGood(path, config, {});
  const kept = JSON.parse(Deno.readTextFileSync(path));
  assertEquals(Object.keys(kept), Object.keys(KEYS));
  delete kept.gain_db;
  // A value that this release would refuse, and one of another type.
  Deno.writeTextFileSync(path, JSON.stringify({ ...kept, chunk_seconds: 7200, retry_max_s: "x" }));
  const read = readLastGood(path, {});
  assertEquals([read?.gainDb, read?.chunkSeconds, read?.retryMaxS], [0, 7200, 300]);
  for (const broken of ["", "[]", "null", '{"point_id":1', "{}"]) {
    Deno.writeTextFileSync(path, broken);
    assertEquals(readLastGood(path, {}), null, broken);
  }
});

Deno.test("kept settings that are a pipe, a link or a device do not hold the start up", async () => {
  await using till = await machine();
  till.write({});
  await till.keep();
  const path = lastGoodPath(till.env) ?? "";
  const elsewhere = join(till.dir, "elsewhere.json");
  await Deno.rename(path, elsewhere);
  await new Deno.Command("mkfifo", { args: [path] }).output();
  // Without a writer a pipe could not even be opened.
  const writer = new Deno.Command("sh", { args: ["-c", 'cat "$1" > "$2"', "sh", elsewhere, path] })
    .spawn();
  try {
    assertEquals(readLastGood(path, {}), null);
  } finally {
    writer.kill("SIGKILL");
    await writer.status;
  }
  for (const target of [elsewhere, "/dev/zero", till.dir]) {
    await Deno.remove(path);
    await Deno.symlink(target, path);
    assertEquals(readLastGood(path, {}), null, target);
  }
});

Deno.test("settings are kept only for the service, which has a state folder", () => {
  assertEquals(lastGoodPath({}), null);
  assertEquals(
    lastGoodPath({ STATE_DIRECTORY: "/var/lib/a:/b" }),
    "/var/lib/a/last_good_config.json",
  );
});

Deno.test("every configuration survives being kept", () => {
  const config = loadConfig({
    path: null,
    env: {
      ...Object.fromEntries(Object.entries(GOOD).map(([k, v]) => [`RA_${k.toUpperCase()}`, v])),
      RA_AUDIO_CHANNEL: "3",
      RA_AUDIO_DEVICE: "hw:1",
      RA_SCHEDULE: "mon-fri 08:00-22:00; 2026-12-31 08:00-18:00",
      RA_OTLP_HEADERS: "a=b,c=d",
    },
  });
  const path = Deno.makeTempFileSync();
  return saveLastGood(path, config, {}).then(() => {
    assertEquals(readLastGood(path, {}), config);
    Deno.removeSync(path);
  });
});
