// The table of keys: released keys stay, every entry is complete, and a new key needs only a new entry.

import { assert, assertEquals, assertMatch, assertStringIncludes, assertThrows } from "@std/assert";
import { questionOf } from "../../src/commands/install_settings.ts";
import { type Config, ConfigError, loadConfig, loadTable } from "../../src/config/config.ts";
import { integer } from "../../src/config/config_values.ts";
import { fieldOf, type KeyTable } from "../../src/config/key.ts";
import { isRequired } from "../../src/config/key_values.ts";
import { KEYS } from "../../src/config/keys.ts";
import { generatedFiles } from "../../.ci/generate/generated_files.ts";

const TABLE: KeyTable = KEYS;
const ENV = {
  RA_POINT_ID: "11111111-1111-1111-1111-111111111111",
  RA_REGISTER_ID: "22222222-2222-2222-2222-222222222222",
  RA_DEVICE_ID: "33333333-3333-3333-3333-333333333333",
  RA_INGEST_BASE_URL: "https://ingest.example.com",
  RA_INGEST_TOKEN: "s3cret-token",
};

/**
 * The released keys with their defaults as written: null means no default, a name is the key that it
 * follows. The release of a version adds its keys.
 */
const RELEASED: Readonly<Record<string, string | null>> = {
  point_id: null,
  register_id: null,
  device_id: null,
  ingest_base_url: null,
  ingest_token: null,
  schedule_start: "08:00",
  schedule_end: "22:00",
  chunk_seconds: "60",
  opus_bitrate_kbps: "24",
  audio_device: null,
  sample_rate: "48000",
  spool_dir: "/var/lib/recorder-agent/spool",
  max_spool_days: "7",
  max_spool_gb: "20",
  retry_min_s: "2",
  retry_max_s: "300",
  health_port: "8042",
  // Since 0.1.0, in addition to those of the contract.
  ingest_token_file: null,
  tls_ca_file: null,
  upload_timeout_s: "30",
  upload_concurrency: "6",
  max_clock_wait_s: "600",
  timestamp_format: "unix",
  min_free_gb: "1",
  max_waiting_days: "max_spool_days",
  sync_interval_s: "5",
  // Since 0.3.0.
  allow_insecure_http: "false",
  schedule: null,
  audio_channel: "auto",
  capture_volume: null,
  capture_agc: null,
  gain_db: "0",
  highpass_hz: "0",
  keep_delivered_days: "max_spool_days",
  upload_max_kbps: null,
  tls_ca_only: "false",
  tls_client_cert_file: null,
  tls_client_key_file: null,
  otlp_endpoint: null,
  otlp_headers: null,
  otlp_interval_s: "60",
  heartbeat_url: null,
  heartbeat_interval_s: "60",
};

Deno.test("a released key keeps its name and its default", () => {
  for (const [name, expected] of Object.entries(RELEASED)) {
    const key = TABLE[name];
    assert(key !== undefined, name);
    assertEquals(key.default ?? key.sameAs ?? null, expected, name);
  }
  for (const [name, { since }] of Object.entries(TABLE)) {
    assert(since !== undefined || Object.hasOwn(RELEASED, name), `${name} says its version`);
  }
});

Deno.test("every entry of the table is complete and agrees with the others", () => {
  const names = Object.keys(TABLE);
  assertEquals(new Set(names.map(fieldOf)).size, names.length);
  for (const [name, key] of Object.entries(TABLE)) {
    assertMatch(name, /^[a-z][a-z0-9]*(_[a-z0-9]+)*$/);
    const defaults = [key.default, key.sameAs, key.absent].filter((value) => value !== undefined);
    assert(defaults.length <= 1, `${name} has one default`);
    if (isRequired(key)) assert(key.install !== undefined, `install asks for ${name}`);
    if (isRequired(key)) assert(key.placeholder !== undefined, `the examples fill in ${name}`);
    // A key that another one follows is read before it.
    if (key.sameAs !== undefined) {
      assert(names.indexOf(key.sameAs) >= 0 && names.indexOf(key.sameAs) < names.indexOf(name));
    }
    if (key.atLeast !== undefined) assert(names.includes(key.atLeast), name);
    for (const words of [key.meaning, ...(key.absent === undefined ? [] : [key.absent])]) {
      for (const text of Object.values(words)) assertMatch(text, /[^.;\s]$/, name);
    }
  }
});

Deno.test("install asks for each key of the first version that it needs, with its meaning", () => {
  const asked = Object.entries(TABLE)
    .filter(([, { install, since }]) => install !== undefined && since === undefined)
    .map(([name, key]) => questionOf(name, key));
  assertEquals(asked, [
    "point_id, UUID of the point of sale",
    "register_id, UUID of the till",
    "device_id, UUID of this device",
    "ingest_base_url, base URL of the Ingest API, for instance https://ingest.example.com",
    "ingest_token, Bearer token of the Ingest API (not shown)",
  ]);
});

// --- A new key -----------------------------------------------------------------------------------

/** A copy of the table with one more entry. */
function tableWithBeep() {
  return {
    ...KEYS,
    beep_interval_s: {
      group: "sound",
      applies: "restart",
      kind: integer(0, 60, "seconds"),
      default: "10",
      since: "0.2.0",
      meaning: { en: "time between two beeps; 0 is silent", ru: "интервал сигнала; 0 — без него" },
      placeholder: "15",
      install: "asks",
    },
  } as const satisfies KeyTable;
}

Deno.test("a new key is one entry: it is read, and its problems are reported", () => {
  const table = tableWithBeep();
  const load = (env: Record<string, string>) =>
    loadTable(table, { path: null, env: { ...ENV, ...env } });
  // Its type also follows.
  const seconds: number = load({}).beepIntervalS;
  assertEquals(seconds, 10);
  assertEquals(load({ RA_BEEP_INTERVAL_S: "20" }).beepIntervalS, 20);
  const yaml = (text: string) =>
    loadTable(table, { path: "/config.yaml", env: ENV, readTextFile: () => text });
  assertEquals(yaml("beep_interval_s: 30").beepIntervalS, 30);
  const { problems } = assertThrows(() => yaml("beep_interval_s: 61"), ConfigError);
  assertEquals(problems, [
    "/config.yaml:1:18: beep_interval_s: 61 is out of range: expected an integer from 0 to 60",
  ]);
  assertThrows(
    () => load({ RA_BEEP_INTERVL_S: "1" }),
    ConfigError,
    "did you mean RA_BEEP_INTERVAL_S?",
  );
});

Deno.test("a new key is one entry: it is in the examples, the reference and the questions of install", () => {
  const table = tableWithBeep();
  const read = (path: string) => Deno.readTextFileSync(new URL(`../../${path}`, import.meta.url));
  const files = generatedFiles({ keys: table }, read);
  const explained =
    "# Time between two beeps, in seconds; 0 is silent; since 0.2.0. Accepted: an integer from 0 to " +
    "60.\n";
  const expected = {
    "config.yaml.example": [`${explained}beep_interval_s: 15\n`],
    ".env.example": [`${explained}RA_BEEP_INTERVAL_S=15\n`],
    "docs/reference/configuration.md": [
      "time between two beeps, in seconds; 0 is silent; since 0.2.0 ",
      "- `beep_interval_s`: an integer from 0 to 60\n",
    ],
    "docs/ru/reference/configuration.md": [
      "интервал сигнала, в секундах; 0 — без него; начиная с версии 0.2.0 ",
      "- `beep_interval_s`: целое число от 0 до 60\n",
    ],
  };
  for (const [path, texts] of Object.entries(expected)) {
    for (const text of texts) assertStringIncludes(files.get(path) ?? "", text, path);
  }
  assertMatch(
    files.get("docs/reference/configuration.md") ?? "",
    /^\| beep_interval_s +\| RA_BEEP_INTERVAL_S +\| 10 +\| at a restart +\| time/m,
  );
  assertEquals(
    questionOf("beep_interval_s", table.beep_interval_s),
    "beep_interval_s, time between two beeps",
  );
});

Deno.test("the type of the configuration follows from the table", () => {
  const config: Config = loadConfig({ path: null, env: ENV });
  const optional: string | null = config.audioDevice;
  const oneOf: "unix" | "iso8601" = config.timestampFormat;
  const following: number = config.maxWaitingDays;
  assertEquals([optional, oneOf, following], [null, "unix", 7]);
  // @ts-expect-error an optional key may be null
  const wrong: string = config.tlsCaFile;
  // @ts-expect-error an unknown key
  assertEquals([wrong, config.noSuchKey], [null, undefined]);
});
