import { assert, assertEquals, assertMatch, assertRejects, assertThrows } from "@std/assert";
import { join } from "@std/path/join";
import { type Config, ConfigError, loadConfig } from "../../src/config/config.ts";
import type { KeyTable } from "../../src/config/key.ts";
import { KEYS } from "../../src/config/keys.ts";
import { findConfigPath } from "../../src/config/places.ts";
import { readToken } from "../../src/config/token.ts";
import { makeSelfSigned } from "../fixtures/certificates.ts";
import { configurationKeys } from "../fixtures/code_tables.ts";
import { threadMs } from "../fixtures/thread_time.ts";

const REQUIRED = {
  RA_POINT_ID: "11111111-1111-1111-1111-111111111111",
  RA_REGISTER_ID: "22222222-2222-2222-2222-222222222222",
  RA_DEVICE_ID: "33333333-3333-3333-3333-333333333333",
  RA_INGEST_BASE_URL: "https://ingest.example.com",
  RA_INGEST_TOKEN: "s3cret-token",
};

const REQUIRED_YAML = `point_id: 11111111-1111-1111-1111-111111111111
register_id: 22222222-2222-2222-2222-222222222222
device_id: 33333333-3333-3333-3333-333333333333
ingest_base_url: https://ingest.example.com
ingest_token: s3cret-token
`;

const FILE = "/etc/recorder-agent/config.yaml";

/** The keys of the first version; a later one needs no line here. */
const DEFAULTS: Partial<Config> = {
  pointId: "11111111-1111-1111-1111-111111111111",
  registerId: "22222222-2222-2222-2222-222222222222",
  deviceId: "33333333-3333-3333-3333-333333333333",
  ingestBaseUrl: "https://ingest.example.com",
  ingestToken: "s3cret-token",
  ingestTokenFile: null,
  scheduleStart: 8 * 60,
  scheduleEnd: 22 * 60,
  chunkSeconds: 60,
  opusBitrateKbps: 24,
  audioDevice: null,
  sampleRate: 48000,
  spoolDir: "/var/lib/recorder-agent/spool",
  maxSpoolDays: 7,
  maxSpoolGb: 20,
  retryMinS: 2,
  retryMaxS: 300,
  healthPort: 8042,
  tlsCaFile: null,
  uploadTimeoutS: 30,
  uploadConcurrency: 6,
  maxClockWaitS: 600,
  timestampFormat: "unix",
  minFreeGb: 1,
  maxWaitingDays: 7,
  syncIntervalS: 5,
};

// --- What is accepted ----------------------------------------------------------------------------
Deno.test("loadConfig() returns every default if only the required keys are given", () => {
  assertConfig(fromEnv({}), DEFAULTS);
  assertConfig(fromYaml(REQUIRED_YAML), DEFAULTS);
});

Deno.test("loadConfig() reads every key from the environment", () => {
  const config = fromEnv({
    RA_POINT_ID: "AAAAAAAA-bbbb-CCCC-dddd-EEEEEEEEEEEE",
    RA_INGEST_BASE_URL: "HTTP://Ingest.example.com:8080/tills/v2//",
    RA_SCHEDULE_START: "22:30",
    RA_SCHEDULE_END: "6:05",
    RA_CHUNK_SECONDS: "5",
    RA_OPUS_BITRATE_KBPS: "32",
    RA_AUDIO_DEVICE: "plughw:CARD=Mic,DEV=0",
    RA_SAMPLE_RATE: "16000",
    RA_SPOOL_DIR: "/srv/spool/",
    RA_MAX_SPOOL_DAYS: "0.5",
    RA_MAX_SPOOL_GB: "1.5",
    RA_RETRY_MIN_S: "0.1",
    RA_RETRY_MAX_S: "0.1",
    RA_HEALTH_PORT: "0",
    RA_UPLOAD_TIMEOUT_S: "10",
    RA_TIMESTAMP_FORMAT: "iso8601",
    RA_MIN_FREE_GB: "0",
    RA_SYNC_INTERVAL_S: "1",
  });
  assertConfig(config, {
    ...DEFAULTS,
    pointId: "aaaaaaaa-bbbb-cccc-dddd-eeeeeeeeeeee",
    ingestBaseUrl: "http://ingest.example.com:8080/tills/v2",
    scheduleStart: 22 * 60 + 30,
    scheduleEnd: 6 * 60 + 5,
    chunkSeconds: 5,
    opusBitrateKbps: 32,
    audioDevice: "plughw:CARD=Mic,DEV=0",
    sampleRate: 16000,
    spoolDir: "/srv/spool",
    maxSpoolDays: 0.5,
    maxSpoolGb: 1.5,
    retryMinS: 0.1,
    retryMaxS: 0.1,
    healthPort: 0,
    uploadTimeoutS: 10,
    timestampFormat: "iso8601",
    minFreeGb: 0,
    maxWaitingDays: 0.5,
    syncIntervalS: 1,
  });
});

Deno.test("a variable overrides its key, and an empty one does not", () => {
  const yaml = REQUIRED_YAML + "chunk_seconds: 30\nsample_rate: 16000\n";
  const config = fromYaml(yaml, {
    RA_CHUNK_SECONDS: "10",
    RA_SAMPLE_RATE: "",
    RA_AUDIO_DEVICE: "",
  });
  assertEquals([config.chunkSeconds, config.sampleRate, config.audioDevice], [10, 16000, null]);
});

Deno.test("a variable of either token key replaces both token keys of the file", () => {
  const file = REQUIRED_YAML.replace("ingest_token:", "ingest_token_file: /run/t #");
  assertEquals(fromYaml(file, { RA_INGEST_TOKEN: "other" }).ingestTokenFile, null);
});

Deno.test("unquoted times in YAML are read as they are written", () => {
  for (
    const [written, minute] of [
      ["22:00", 1320],
      ["'22:00'", 1320],
      ["8:00", 480],
      ["08:00", 480],
      ["0:30", 30],
      ["00:00", 0],
      ["23:59  # late", 1439],
    ] as const
  ) {
    assertEquals(fromYaml(`${REQUIRED_YAML}schedule_end: ${written}\n`).scheduleEnd, minute);
  }
  assertMatch(onlyProblem("schedule_end: 1320"), /: 1320 is not a time: expected local time HH:MM/);
  assertMatch(onlyProblem("schedule_end: 1:20:30"), /: "1:20:30" is not a time/);
});

Deno.test("numbers in quotes, CRLF, a BOM, flow style and quoted keys are accepted", () => {
  const lines = `${REQUIRED_YAML}chunk_seconds: "30"\n`;
  const flow = `{${lines.trim().replaceAll("\n", ", ")}}`;
  const quoted = lines.replaceAll(/^(\w+):/gm, '"$1":');
  for (const yaml of [lines, lines.replaceAll("\n", "\r\n"), `\ufeff${lines}`, flow, quoted]) {
    assertEquals(fromYaml(yaml).chunkSeconds, 30);
  }
});

Deno.test("a key without a default may have an empty value", () => {
  for (const nothing of ["", "null", "~", '""']) {
    const yaml = `${REQUIRED_YAML}audio_device: ${nothing}\nmax_waiting_days: ${nothing}\n`;
    assertConfig(fromYaml(yaml), DEFAULTS);
  }
});

// --- What is refused -----------------------------------------------------------------------------

Deno.test("all problems are reported at once, each with its place", () => {
  const yaml = `# a comment
point_id: 11111111-1111-1111-1111-111111111111
register_id: till 4
device_id: "33333333-3333-3333-3333-333333333333"
ingest_base_url: ftp://ingest.example.com
ingest_token: s3cret-token
schedule_end: 25:00
chunk_second: 60
'sample_rate' :  44100
`;
  assertEquals(problems({ yaml, env: { RA_CHUNK_SECONDS: "abc", RA_HELTH_PORT: "1" } }), [
    `${FILE}:3:14: register_id: "till 4" is not a UUID: expected a UUID such as` +
    " 123e4567-e89b-12d3-a456-426614174000",
    `${FILE}:5:18: ingest_base_url: "ftp://ingest.example.com" is not an http or https URL:` +
    " expected an http:// or https:// URL without user, query and fragment, such as" +
    " https://ingest.example.com",
    `${FILE}:7:15: schedule_end: "25:00" is not a time: expected local time HH:MM from 00:00 to 23:59`,
    'RA_CHUNK_SECONDS: "abc" is not a number: expected an integer from 1 to 3600',
    `${FILE}:9:18: sample_rate: 44100 is out of range: expected 8000, 12000, 16000, 24000 or 48000`,
    `${FILE}:8:1: chunk_second: is not a key of the configuration: did you mean chunk_seconds?`,
    "RA_HELTH_PORT: is not a variable of the configuration: did you mean RA_HEALTH_PORT?",
  ]);
});

Deno.test("the message of ConfigError lists its problems, one per line", () => {
  const error = assertThrows(() => loadConfig({ path: null, env: {} }), ConfigError);
  assertEquals(error.message.split("\n"), [...error.problems]);
});

Deno.test("each key refuses what is just outside its range", () => {
  const refused: Record<string, readonly string[]> = {
    RA_GAIN_DB: ["-20.1", "40.1", "loud"],
    RA_HIGHPASS_HZ: ["-1", "1001"],
    RA_AUDIO_CHANNEL: ["0", "33", "1.5", "left", "-1"],
    RA_POINT_ID: ["123", "1111111111111111111111111111111111111", "{11111111-1111}"],
    RA_INGEST_BASE_URL: [
      "ingest.example.com",
      "https://",
      "https://a b",
      "https://host?x=1",
      "https://host/#",
      "https:\\\\host",
      "https://host/api/v1/chunks",
    ],
    RA_INGEST_TOKEN: ["two words", "tab\there", "umläut", "Bearer abc"],
    RA_SCHEDULE_START: ["24:00", "8", "12:60"],
    RA_SCHEDULE: ["mon 8-22", "mon-fri", "24:00", "always", "2026-12-31 off"],
    RA_CHUNK_SECONDS: ["0", "3601", "60.5", "1e1", "-1", "60s"],
    RA_OPUS_BITRATE_KBPS: ["5", "257", "24.5"],
    RA_SAMPLE_RATE: ["44100", "0"],
    RA_SPOOL_DIR: ["spool", "./spool", "~/spool"],
    RA_MAX_SPOOL_DAYS: ["0", "-1", "Infinity", "NaN", "1,5"],
    RA_MAX_SPOOL_GB: ["0", "-1"],
    RA_RETRY_MIN_S: ["0", "301"],
    RA_RETRY_MAX_S: ["1", "86401"],
    RA_HEALTH_PORT: ["-1", "65536", "80.5"],
    RA_UPLOAD_TIMEOUT_S: ["0"],
    RA_TIMESTAMP_FORMAT: ["Unix", "iso"],
    RA_MIN_FREE_GB: ["-0.1"],
    RA_MAX_WAITING_DAYS: ["0"],
    RA_SYNC_INTERVAL_S: ["0.9", "61"],
  };
  for (const [variable, values] of Object.entries(refused)) {
    for (const value of values) {
      const found = problems({ env: { ...REQUIRED, [variable]: value } });
      assertEquals(found.length, 1, `${variable}=${value}: ${found}`);
      assert(found[0]?.startsWith(`${variable}: `), found[0]);
      assertMatch(found[0] ?? "", /: expected .+/);
    }
  }
});

Deno.test("the problem of a missing key names both ways to set it", () => {
  const inFile = problems({ yaml: "" });
  assertEquals(inFile.length, 5);
  assertEquals(
    inFile[0],
    `${FILE}: point_id: is missing: expected a UUID such as 123e4567-e89b-12d3-a456-426614174000;` +
      ' write "point_id: …" in this file or set the variable RA_POINT_ID',
  );
  assertMatch(
    inFile[4] ?? "",
    /"ingest_token: …" or "ingest_token_file: …".*RA_INGEST_TOKEN or RA_INGEST_TOKEN_FILE$/,
  );
  const inEnvironment = problems({ env: {} });
  assertEquals(inEnvironment.length, 5);
  assertMatch(
    inEnvironment[0] ?? "",
    /^point_id: is missing.*-c FILE or set the variable RA_POINT/,
  );
});

Deno.test("retry_max_s below retry_min_s is a problem of the key that was given", () => {
  assertMatch(onlyProblem("retry_min_s: 400"), /:6:14: retry_min_s: 400 is too long.* 300$/);
  assertMatch(onlyProblem("retry_max_s: 1"), /:6:14: retry_max_s: 1 is too short.* 2$/);
});

Deno.test("the problem of a wrong type names it: a list, a mapping, nothing", () => {
  assertMatch(onlyProblem("chunk_seconds: [60]"), /:6:16: chunk_seconds: is a list: expected an/);
  assertMatch(onlyProblem("chunk_seconds:\n  a: 1"), /:6:1: chunk_seconds: is a mapping: expected/);
  assertMatch(onlyProblem("chunk_seconds:"), /:6:1: .*has no value: .*; without the key it is 60$/);
  assertMatch(onlyProblem("chunk_seconds: ''"), /"" is not a number/);
  assertMatch(onlyProblem("chunk_seconds: yes"), /"yes" is not a number/);
  assertMatch(onlyProblem("max_spool_gb: .inf"), /is not a number/);
  assertMatch(onlyProblem("audio_device: 1"), /1 is a number to YAML, not text \(put it in quotes/);
  assertMatch(onlyProblem("spool_dir: true"), /true is a boolean to YAML, not text/);
});

Deno.test("a value is shown on one short line, whatever it contains", () => {
  for (const value of ["a\nb\u2028c\u009bd", "x".repeat(5000)]) {
    const [line = ""] = problems({ env: { ...REQUIRED, RA_SPOOL_DIR: value } });
    assert(line.length < 250, line);
    assertMatch(line, /^[\x20-\x7e…]+$/);
  }
});

Deno.test("places are found in every style of YAML", () => {
  const place = (yaml: string) => /yaml(:\d+:\d+)?: chunk_seconds/.exec(onlyProblem(yaml, ""))?.[1];
  const rest = REQUIRED_YAML;
  assertEquals(place(`---\n${rest}chunk_seconds: x`), ":7:16");
  assertEquals(place(`\ufeffchunk_seconds: x\n${rest}`), ":1:16");
  assertEquals(place(`${rest.replaceAll("\n", "\r\n")}\r\n\r\nchunk_seconds: x\r\n`), ":8:16");
  assertEquals(place(`# chunk_seconds: 1\n\n"chunk_seconds":\tx\n${rest}`), ":3:18");
  assertEquals(place(`  ${rest.trim().replaceAll("\n", "\n  ")}\n  chunk_seconds: x`), ":6:18");
  assertEquals(place(`${rest}audio_device: |\n  chunk_seconds: 1\nchunk_seconds: x`), ":8:16");
  assertEquals(place(`{chunk_seconds: x, ${rest.trim().replaceAll("\n", ", ")}}`), ":1:17");
  assertEquals(place(`{${rest.trim().replaceAll("\n", ",\n")},\n chunk_seconds: x}`), ":6:17");
  assertEquals(place(`${rest}? chunk_seconds\n: x`), undefined);
});

Deno.test("the problem of an unknown key suggests a similar key, if there is one", () => {
  const hints = {
    pointId: "point_id",
    "ingest-token": "ingest_token",
    RA_CHUNK_SECONDS: "chunk_seconds",
    shcedule_start: "schedule_start",
    piont_id: "point_id",
    max_spool_day: "max_spool_days",
  };
  for (const [written, meant] of Object.entries(hints)) {
    assertMatch(onlyProblem(`${written}: x`), new RegExp(`6:\\d+: .*did you mean ${meant}\\?$`));
  }
  assertMatch(onlyProblem("colour: blue"), /colour: is not a key.*: see config.yaml.example/);
  assertMatch(onlyProblem("__proto__: {a: 1}"), /is not a key/);
  assertMatch(problems({ env: { ...REQUIRED, RA_COLOUR: "" } }).join(), /^RA_COLOUR: is not/);
  assertEquals(problems({ env: { ...REQUIRED, RAINBOW: "1", TZ: "UTC" } }), []);
});

Deno.test("a file that is not YAML, or not a mapping, is one clear problem with its place", () => {
  const parts = (yaml: string) => problems({ yaml });
  for (const yaml of ["- a\n- b\n", "just words", "42"]) {
    assertEquals(parts(yaml).length, 1);
    assertMatch(parts(yaml)[0] ?? "", /config.yaml: is not a mapping: expected lines "key: value"/);
  }
  assertMatch(
    parts(`${REQUIRED_YAML}chunk_seconds: 1\nchunk_seconds: 2\n`).join("\n"),
    /^\S+config.yaml:7:1: has a key for the second time: expected each key once$/,
  );
  assertMatch(parts("a: [1\n").join("\n"), /^\S+config.yaml:2:1: is not YAML, .*expected lines/);
  assertMatch(parts("a: 1\n---\nb: 2\n").join("\n"), /^\S+config.yaml:2:1: is not YAML/);
  assertConfig(fromYaml(REQUIRED_YAML.replaceAll(": ", ":\t")), DEFAULTS);
});

Deno.test("a file of any form costs a moment, and is a problem in one short line each", () => {
  const times = (count: number, line: (index: number) => string) =>
    Array.from({ length: count }, (_, index) => line(index)).join("");
  const files: readonly string[] = [
    "[".repeat(20_000),
    "{a: ".repeat(10_000),
    times(10_000, (index) => `key${index}: 1\n`),
    times(100, (index) => `key${index}: 1\n${"#\n".repeat(100)}`),
    `${" ".repeat(900_000)}point_id: b`,
    "a:".repeat(300_000),
    `${"a".repeat(300_000)}: b`,
    `point_id: &a [x]\nspool_dir: [${"*a,".repeat(50_000)}*a]`,
  ];
  for (const yaml of files) {
    let found: readonly string[] = [];
    const ms = threadMs(() => found = problems({ yaml }));
    assert(ms < 3000, `${ms} ms: ${yaml.slice(0, 20)}`);
    assert(found.length > 0);
    for (const problem of found) assert(problem.length < 500, problem.slice(0, 1000));
  }
});

Deno.test("an unreadable file is a problem, listed with those of the environment", () => {
  using folder = temporaryFolder();
  const path = join(folder.path, "none.yaml");
  const found = (path: string) => {
    const env = { RA_CHUNK_SECONDS: "0" };
    return [...assertThrows(() => loadConfig({ path, env }), ConfigError).problems];
  };
  assertEquals(found(path).length, 2);
  assertEquals(found(path)[0], `${path}: the configuration file does not exist`);
  assertEquals(found("/")[0], "/: the configuration file is a directory");
});

// --- Secrets -------------------------------------------------------------------------------------

Deno.test("no problem shows the token", () => {
  const secret = "s3cr3tS3CR3T";
  const yaml = [
    `ingest_token: ${secret} with words`,
    `ingest_token: "${secret}\\q"`,
    `ingest_token: ${secret}: x`,
    `ingest_token: [${secret}]`,
    `ingest_token: [${secret}`,
    `ingest_token: {${secret}: 1}`,
    `ingest_token: '${secret}`,
    `ingest_token: '${secret}' x`,
    `ingest_token: @${secret}`,
    `ingest_token: *${secret}`,
    `ingest_token: !${secret} x`,
    `ingest_token: !!${secret} x`,
    `ingest_token: !<${secret} x> x`,
    `ingest_token: !${secret}! x`,
    `ingest_token: >${secret}`,
    `ingest_token: ${secret}\n  more: x`,
    `ingest_token ${secret}`,
    `ingest_token:${secret}`,
    `ingest_token:\n${secret}: x`,
    `ingest_token:\n${secret}:`,
    `? ${secret}\n: x`,
    `[${secret}]: x`,
    `"${secret}": x`,
    `ingest_${secret}: x`,
    `ingest_token=${secret}`,
    `{ingest_token:${secret}}`,
    `{ingest_token ${secret}}`,
    `? ingest_token:${secret}\n: x`,
    `%${secret}\n---\n[]`,
    `ingest_token: ${secret}\ningest_token: ${secret}`,
    `ingest_token_file: ${secret}`,
    `ingest_token: ${secret}\ningest_token_file: /x`,
    `ingest_base_url: https://user:${secret}@host`,
    `ingest_base_url: https://user:a/${secret}@host`,
    `ingest_base_url: user:${secret}@host`,
    `ingest_base_url: https://host/?token=${secret}`,
    `ingest_tokn: ${secret}`,
  ];
  for (const text of yaml) {
    for (const content of [text, `${text}\npoint_id: x\n`]) {
      const found = problems({ yaml: content });
      assert(found.length > 0, content);
      assert(!found.join("\n").includes(secret), `${content} gives ${found.join("\n")}`);
    }
  }
  for (const variable of ["RA_INGEST_TOKEN", "RA_INGEST_TOKEN_FILE", "RA_INGEST_TOKN"]) {
    const found = problems({ env: { [variable]: `${secret} x` } });
    assert(!found.join("\n").includes(secret), found.join("\n"));
  }
});

Deno.test("a token that is all digits must be in quotes", () => {
  const yaml = (token: string) => REQUIRED_YAML.replace("s3cret-token", token);
  assertEquals(
    problems({ yaml: yaml("0012345") }),
    [
      `${FILE}:5:15: ingest_token: the value (not shown) is a number to YAML, not text (put it in` +
      " quotes): expected a token of visible ASCII characters without spaces (without the word" +
      " Bearer)",
    ],
  );
  assertEquals(fromYaml(yaml('"0012345"')).ingestToken, "0012345");
});

// --- Files that keys name ------------------------------------------------------------------------

Deno.test("readToken() returns the token, or the present content of its file", async () => {
  assertEquals(await readToken(fromEnv({})), "s3cret-token");
  using folder = temporaryFolder();
  const path = join(folder.path, "token");
  await Deno.writeTextFile(path, "  first\r\n");
  const config = fromEnv({ RA_INGEST_TOKEN: "", RA_INGEST_TOKEN_FILE: path });
  assertEquals([config.ingestToken, config.ingestTokenFile], [null, path]);
  assertEquals(await readToken(config), "first");
  await Deno.writeTextFile(path, "second");
  assertEquals(await readToken(config), "second");
  await Deno.writeTextFile(path, "two words");
  const unusable = await assertRejects(() => readToken(config), Error, `"${path}" holds no usable`);
  assert(!unusable.message.includes("words"));
  await Deno.remove(path);
  await assertRejects(() => readToken(config), Error, `Cannot read the token: ingest_token_file "`);
});

Deno.test("exactly one of ingest_token and ingest_token_file is expected", async () => {
  using folder = temporaryFolder();
  const path = join(folder.path, "token");
  await Deno.writeTextFile(path, "abc\n");
  assertEquals(onlyProblem(`ingest_token_file: ${path}`).split(": ").slice(1), [
    "ingest_token_file",
    "is given beside ingest_token",
    "expected one of the two",
  ]);
  const both = problems({ env: { ...REQUIRED, RA_INGEST_TOKEN_FILE: path } });
  assertMatch(both.join("\n"), /^RA_INGEST_TOKEN_FILE: is given beside/);
});

Deno.test("a token file that is missing, a directory, empty or without a valid token is a problem", async () => {
  using folder = temporaryFolder();
  const dir = folder.path;
  await Deno.writeTextFile(join(dir, "empty"), "\n");
  const reason = (path: string) => {
    const env = { ...REQUIRED, RA_INGEST_TOKEN: "", RA_INGEST_TOKEN_FILE: path };
    const [line = "", ...more] = problems({ env });
    assertEquals(more, []);
    assert(line.startsWith(`RA_INGEST_TOKEN_FILE: "${path}" `), line);
    return line.slice(line.indexOf('" ') + 2, line.indexOf(": expected"));
  };
  assertEquals(reason(join(dir, "none")), "does not exist");
  assertEquals(reason(dir), "is a directory");
  assertEquals(reason(join(dir, "empty")), "holds no usable token");
});

Deno.test("tls_ca_file must be readable and hold PEM certificates that are whole", async () => {
  using folder = temporaryFolder();
  const dir = folder.path;
  const [good, bad, key] = [join(dir, "ca.pem"), join(dir, "bad.pem"), join(dir, "key.pem")];
  const pem = (what: string) => `-----BEGIN ${what}-----\nMIIB\n-----END ${what}-----\n`;
  await makeSelfSigned(good, key);
  const whole = `Subject: a comment\n${await Deno.readTextFile(good)}`;
  await Deno.writeTextFile(good, whole);
  await Deno.writeTextFile(bad, `${whole}${pem("CERTIFICATE")}`);
  await Deno.writeTextFile(key, pem("PRIVATE KEY"));
  assertEquals(fromEnv({ RA_TLS_CA_FILE: good }).tlsCaFile, good);
  assertMatch(onlyProblem(`tls_ca_file: ${bad}`), /bad.pem" holds a PEM certificate that is dama/);
  assertMatch(onlyProblem(`tls_ca_file: ${key}`), /:6:14: .*key.pem" holds no PEM certificate/);
  assertMatch(onlyProblem(`tls_ca_file: ${dir}/none`), /none" does not exist: expected the absol/);
});

Deno.test("findConfigPath() returns the named file, else the usual one if it exists", async () => {
  using folder = temporaryFolder();
  const usual = join(folder.path, "config.yaml");
  assertEquals(findConfigPath("/named.yaml", usual), "/named.yaml");
  assertEquals(findConfigPath(undefined, usual), null);
  await Deno.writeTextFile(usual, "");
  assertEquals(findConfigPath(undefined, usual), usual);
});

// --- The examples --------------------------------------------------------------------------------

const EXAMPLE: Partial<Config> = {
  ...DEFAULTS,
  pointId: "00000000-0000-0000-0000-000000000001",
  registerId: "00000000-0000-0000-0000-000000000002",
  deviceId: "00000000-0000-0000-0000-000000000003",
  ingestToken: "replace-this-token",
};

Deno.test("config.yaml.example loads, and explains every key with its default", async () => {
  const yaml = await Deno.readTextFile(new URL("../../config.yaml.example", import.meta.url));
  assertConfig(fromYaml(yaml), EXAMPLE);
  assertEquals(
    explained(yaml, /^(\w+): (.*)$/, "null"),
    configurationKeys().map((key) => [key.name, key.default]).sort(),
  );
});

Deno.test(".env.example loads, and explains every variable with its default", async () => {
  const text = await Deno.readTextFile(new URL("../../.env.example", import.meta.url));
  const lines = text.split("\n").filter((line) => line !== "" && !line.startsWith("#"));
  const pairs = lines.map((line) => [line.split("=", 1)[0], line.slice(line.indexOf("=") + 1)]);
  assertConfig(loadConfig({ path: null, env: Object.fromEntries(pairs) }), EXAMPLE);
  assertEquals(
    explained(text, /^(\w+)=(.*)$/, ""),
    configurationKeys().map((key) => [key.variable, key.default]).sort(),
  );
});

/** Name and default of each setting in an example, each of which must follow a comment. */
function explained(example: string, setting: RegExp, nothing: string): (string | null)[][] {
  const hasDefault = new Set(
    configurationKeys().filter((key) => key.default !== null).flatMap((
      key,
    ) => [key.name, key.variable]),
  );
  const lines = example.split("\n");
  return lines.flatMap((line, i) => {
    const [, name, value] = setting.exec(line) ?? [];
    if (name === undefined || value === undefined) return [];
    assertMatch(lines[i - 1] ?? "", /^# \S.+\.$/, `${name} is explained`);
    if (hasDefault.has(name)) return [[name, value]];
    const table: KeyTable = KEYS;
    const { placeholder = nothing } = table[name.toLowerCase().replace(/^ra_/, "")] ?? {};
    assertEquals(value, placeholder, name);
    return [[name, null]];
  }).sort();
}

/** Asserts the fields that are expected; there may be more. */
function assertConfig(config: Config, expected: Partial<Config>): void {
  const fields = Object.entries(config).filter(([field]) => Object.hasOwn(expected, field));
  assertEquals(Object.fromEntries(fields), expected);
}

function temporaryFolder(): Disposable & { readonly path: string } {
  const path = Deno.makeTempDirSync();
  return { path, [Symbol.dispose]: () => Deno.removeSync(path, { recursive: true }) };
}

function fromEnv(env: Record<string, string>): Config {
  return loadConfig({ path: null, env: { ...REQUIRED, ...env } });
}

function fromYaml(yaml: string, env: Record<string, string> = {}): Config {
  return loadConfig({ path: FILE, env, readTextFile: () => yaml });
}

/** The problems that loadConfig() reports; all files but the configuration are real. */
function problems(
  { yaml, env = {} }: { yaml?: string; env?: Record<string, string> },
): readonly string[] {
  const path = yaml === undefined ? null : FILE;
  const readTextFile = (file: string) => file === FILE ? yaml ?? "" : Deno.readTextFileSync(file);
  try {
    loadConfig({ path, env, readTextFile });
    return [];
  } catch (error) {
    if (error instanceof ConfigError) return error.problems;
    throw error;
  }
}

/** The one problem of a file with all required keys and some more lines. */
function onlyProblem(lines: string, required = REQUIRED_YAML): string {
  const found = problems({ yaml: required + lines });
  assertEquals(found.length, 1, found.join("\n"));
  return found[0] ?? "";
}
