// What a change of each key does to a running service: every key of the table, one after the other.

import { assert, assertEquals } from "@std/assert";
import { CaptureOptionsMaker } from "../../src/agent/capture.ts";
import { changedKeys, Settings } from "../../src/agent/settings.ts";
import { opensOtherwise } from "../../src/capture/recorder.ts";
import { type Config, loadConfig } from "../../src/config/config.ts";
import { fieldOf, type KeyTable } from "../../src/config/key.ts";
import { KEYS } from "../../src/config/keys.ts";
import { SoundEvents } from "../../src/microphone/sound_events.ts";
import { Status } from "../../src/status/status.ts";
import { systemClock } from "../../src/system/clock.ts";
import { ClockSync } from "../../src/system/clock_sync.ts";
import { ids } from "../fixtures/chunks.ts";
import { capturedLog } from "../fixtures/temp_spool.ts";

const TABLE: KeyTable = KEYS;
const UUID = "44444444-4444-4444-8444-444444444444";
/** A value of each key that is not its default. */
const OTHER: Readonly<Record<keyof typeof KEYS, string>> = {
  point_id: UUID,
  register_id: UUID,
  device_id: UUID,
  ingest_base_url: "https://other.example.com",
  allow_insecure_http: "true",
  ingest_token: "another-token",
  ingest_token_file: "/etc/other-token",
  schedule_start: "07:00",
  schedule_end: "23:00",
  schedule: "mon-fri 08:00-22:00",
  chunk_seconds: "30",
  opus_bitrate_kbps: "32",
  audio_device: "hw:7",
  audio_channel: "2",
  capture_volume: "80",
  capture_agc: "off",
  gain_db: "6",
  highpass_hz: "80",
  sample_rate: "16000",
  spool_dir: "/srv/spool",
  max_spool_days: "3",
  max_spool_gb: "5",
  keep_delivered_days: "1",
  max_waiting_days: "2",
  min_free_gb: "2",
  sync_interval_s: "10",
  retry_min_s: "3",
  retry_max_s: "200",
  upload_timeout_s: "40",
  upload_concurrency: "2",
  upload_max_kbps: "100",
  max_clock_wait_s: "60",
  tls_ca_file: "/etc/ca.pem",
  tls_ca_only: "true",
  tls_client_cert_file: "/etc/cert.pem",
  tls_client_key_file: "/etc/key.pem",
  timestamp_format: "iso8601",
  health_port: "9000",
  otlp_endpoint: "https://otlp.example.com",
  otlp_headers: "a=b",
  otlp_interval_s: "30",
  heartbeat_url: "https://ping.example.com/x",
  heartbeat_interval_s: "30",
};
const BASE = loadConfig({
  path: null,
  env: {
    RA_POINT_ID: "11111111-1111-1111-1111-111111111111",
    RA_REGISTER_ID: "22222222-2222-2222-2222-222222222222",
    RA_DEVICE_ID: "33333333-3333-3333-3333-333333333333",
    RA_INGEST_BASE_URL: "https://ingest.example.com",
    RA_INGEST_TOKEN: "s3cret-token",
  },
});
const NAMES = Object.keys(OTHER) as (keyof typeof OTHER)[];

/** The configuration with other values of these keys. */
function with_(...names: (keyof typeof OTHER)[]): Config {
  const fields = names.map((name) => [fieldOf(name), KEYS[name].kind.read(OTHER[name])]);
  return { ...BASE, ...Object.fromEntries(fields) };
}

function valueOf(config: Config, name: string): unknown {
  return new Map(Object.entries(config)).get(fieldOf(name));
}

Deno.test("every key has another value in this test", () => {
  assertEquals(NAMES.toSorted(), Object.keys(TABLE).toSorted());
  for (const name of NAMES) assertEquals(changedKeys(BASE, with_(name)), [name]);
});

Deno.test("each key is in force at once, except those that the table leaves to a restart", () => {
  for (const name of NAMES) {
    const settings = new Settings(BASE);
    const next = with_(name);
    const waits = TABLE[name]?.applies === "restart";
    assertEquals(settings.replace(next), { changed: [name], atRestart: waits ? [name] : [] });
    assertEquals(valueOf(settings.config, name), valueOf(waits ? BASE : next, name), name);
    assertEquals(settings.replace(BASE).changed, waits ? [] : [name], "and back again");
  }
});

Deno.test("a CA stays while it is the only one that counts, until the restart that changes this", () => {
  const settings = new Settings(with_("tls_ca_only", "tls_ca_file"));
  const { atRestart } = settings.replace(BASE);
  assertEquals(atRestart, ["tls_ca_file", "tls_ca_only"]);
  assertEquals(settings.config.tlsCaFile, OTHER.tls_ca_file);
});

Deno.test("exactly the keys that say so open the microphone again, and exactly the ids wait for a chunk", () => {
  const clock = systemClock;
  const { log } = capturedLog();
  const boot = { id: "b", zeroMs: 0 };
  const maker = new CaptureOptionsMaker({
    status: new Status({ ...ids, version: "1" }, clock),
    clockSync: new ClockSync({ clock, log }),
    soundEvents: new SoundEvents({ clock, log }),
    boot,
    before: { chunk: null, wasCutOff: false, declaredEndsMs: [], boot },
    env: { RUNTIME_DIRECTORY: "/run/recorder-agent" },
    timeZone: "UTC",
    microphone: undefined,
  });
  const applies = (name: string) => TABLE[name]?.applies;
  for (const name of NAMES) {
    const before = maker.optionsOf(BASE);
    const settings = new Settings(BASE);
    settings.replace(with_(name));
    const after = maker.optionsOf(settings.config);
    assertEquals(opensOtherwise(before, after), applies(name) === "reopens", name);
    const hasOtherTags = JSON.stringify(before.tags) !== JSON.stringify(after.tags);
    assertEquals(hasOtherTags, applies(name) === "at_seam", name);
  }
});

Deno.test("a part is replaced when a key of its groups changes, and not otherwise", async () => {
  const settings = new Settings(BASE);
  const stop = new AbortController();
  const turns: number[] = [];
  const running = settings.runWith(["delivery"], async (config, signal) => {
    turns.push(config.retryMaxS);
    await new Promise<void>((resolve) => signal.addEventListener("abort", () => resolve()));
  }, stop.signal);
  const settle = () => new Promise((resolve) => setTimeout(resolve, 0));
  settings.replace(with_("gain_db"));
  await settle();
  assertEquals(turns, [300]);
  settings.replace(with_("gain_db", "retry_max_s"));
  await settle();
  assertEquals(turns, [300, 200]);
  settings.replace(BASE);
  settings.replace(with_("retry_max_s"));
  await settle();
  assert(turns.length <= 3 && turns.at(-1) === 200, "what was taken back has not happened");
  stop.abort();
  await running;
});

Deno.test("what a part reads is always what is in force", () => {
  const settings = new Settings(BASE);
  const live = settings.live(({ maxSpoolGb }) => ({ bytes: maxSpoolGb * 1e9 }));
  assertEquals(live.bytes, 20e9);
  settings.replace(with_("max_spool_gb"));
  assertEquals(live.bytes, 5e9);
});

Deno.test("a change of one date of the schedule is noticed", () => {
  const on = (hours: string) => {
    const schedule = KEYS.schedule.kind.read(`mon-fri 08:00-22:00; 2026-12-31 ${hours}`);
    return { ...BASE, schedule } as Config;
  };
  assertEquals(changedKeys(on("08:00-18:00"), on("08:00-17:00")), ["schedule"]);
  assertEquals(changedKeys(on("08:00-18:00"), on("08:00-18:00")), []);
});
