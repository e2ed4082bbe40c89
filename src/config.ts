/**
 * The configuration: a YAML file and RA_* environment variables become one readonly `Config`, or an
 * error that lists every problem at once. One table (`KEYS`) describes each key and drives parsing,
 * the check for unknown keys, and the tests of the documentation. This module is the only one that
 * reads the environment. It never writes anything, never logs, and never shows a token.
 */

import { parse as parseYaml } from "@std/yaml/parse";
import { parseAudioDevice } from "./capture/microphone_choice.ts";
import { parseMinute } from "./schedule.ts";

/** Where the configuration is looked for when no file is named. */
export const DEFAULT_CONFIG_PATH = "/etc/recorder-agent/config.yaml";

/** A checked configuration. Units are in the names: `S` seconds, `Gb` 10^9 bytes. */
export interface Config {
  /** UUID of the point of sale, lower case. */
  readonly pointId: string;
  /** UUID of the till, lower case. */
  readonly registerId: string;
  /** UUID of the device, lower case. */
  readonly deviceId: string;
  /** http(s) URL without a slash at its end, credentials, query or fragment; may have a path. */
  readonly ingestBaseUrl: string;
  /** The Bearer token, or null when it is in `ingestTokenFile`. Use `readToken`. */
  readonly ingestToken: string | null;
  /** Absolute path of the file that holds the token, or null when `ingestToken` does. */
  readonly ingestTokenFile: string | null;
  /** Minute of the local day, 0..1439. */
  readonly scheduleStartMinute: number;
  /** Minute of the local day, 0..1439. */
  readonly scheduleEndMinute: number;
  /** Length of a chunk, an integer 1..3600. */
  readonly chunkSeconds: number;
  /** An integer 6..256. */
  readonly opusBitrateKbps: number;
  /** ALSA PCM name, or a well-formed `usb:…` or `name:…`; null to find the microphone. */
  readonly audioDevice: string | null;
  /** Capture rate in Hz: 8000, 12000, 16000, 24000 or 48000. */
  readonly sampleRate: number;
  /** Absolute path, no slash at its end. */
  readonly spoolDir: string;
  /** Age at which a chunk goes, delivered or not; more than 0. */
  readonly maxSpoolDays: number;
  /** Largest storage in 10^9 bytes; more than 0. */
  readonly maxSpoolGb: number;
  /** Smallest delay before a retry; more than 0. */
  readonly retryMinS: number;
  /** Largest delay before a retry; at least `retryMinS`. */
  readonly retryMaxS: number;
  /** Port of the health server; 0 is any free one. */
  readonly healthPort: number;
  /** Absolute path of a PEM file with the CA to trust beside the usual ones, or null. */
  readonly tlsCaFile: string | null;
  /** Time limit of one upload attempt as a whole. */
  readonly uploadTimeoutS: number;
  /** Requests in flight while a backlog is delivered, an integer 1..16. */
  readonly uploadConcurrency: number;
  /** So long chunks of unsure time wait for the system clock to be synchronized; may be 0. */
  readonly maxClockWaitS: number;
  /** How `start_ts` and `end_ts` are written. */
  readonly timestampFormat: "unix" | "iso8601";
  /** Space on the disk that is kept free, in 10^9 bytes; may be 0. */
  readonly minFreeGb: number;
  /** Age at which a chunk that still waits for delivery is given up; more than 0. */
  readonly maxWaitingDays: number;
  /** Time between two `fdatasync` of the growing chunk: what a power cut may cost. */
  readonly syncIntervalS: number;
}

/** What the documentation says about a key of the configuration. */
export interface ConfigKey {
  /** Name in the YAML file. */
  readonly name: string;
  /** Environment variable that overrides it. */
  readonly variable: string;
  /** Default as one would write it; null when it has none: see `whenAbsent`. */
  readonly default: string | null;
  /** What it means to leave the key out: the default, or a few words. */
  readonly whenAbsent: string;
  /** What values are accepted, for people. */
  readonly accepted: string;
}

/** The configuration cannot be used; `problems` has one line for each thing that is wrong. */
export class ConfigError extends Error {
  /** Lines "place: key: value and what is accepted", free of secrets. */
  readonly problems: readonly string[];

  constructor(problems: readonly string[]) {
    super(problems.join("\n"));
    this.name = "ConfigError";
    this.problems = problems;
  }
}

// --- What values look like -----------------------------------------------------------------------

type Scalar = string | number | boolean;

/** A value that is not accepted; the reason reads on from the value: `"25:00"` + `is not a time`. */
class Refusal {
  constructor(readonly reason: string) {}
}

/** A sort of value: how it is read, what is accepted, and how a refused one may be shown. */
interface Kind<T> {
  readonly accepted: string;
  readonly read: (value: Scalar) => T | Refusal;
  readonly show?: (value: Scalar) => string;
}

const HIDDEN = "the value (not shown)";

// deno-lint-ignore no-control-regex
const CONTROL = /[\u0000-\u001f\u007f-\u009f\u2028\u2029]/;

function text<T>(accepted: string, read: (value: string) => T | Refusal): Kind<T> {
  return {
    accepted,
    // YAML has already lost what was written: 007 is 7, and long numbers are rounded.
    read: (value) =>
      typeof value === "string"
        ? read(value)
        : new Refusal(`is a ${typeof value} to YAML, not text (put it in quotes)`),
  };
}

function oneOf<T extends string>(...words: readonly T[]): Kind<T> {
  const accepted = words.join(" or ");
  return text(
    accepted,
    (value) => words.find((word) => word === value) ?? new Refusal("is unknown"),
  );
}

function number(
  accepted: string,
  isAccepted: (value: number) => boolean,
): Kind<number> {
  return {
    accepted,
    read: (value) => {
      const isNumber = typeof value === "number"
        ? Number.isFinite(value)
        : typeof value === "string" && /^[+-]?(\d+\.?\d*|\.\d+)$/.test(value);
      if (!isNumber) return new Refusal("is not a number");
      return isAccepted(Number(value)) ? Number(value) : new Refusal("is out of range");
    },
  };
}

function integer(lowest: number, highest: number): Kind<number> {
  return number(
    `an integer from ${lowest} to ${highest}`,
    (value) => Number.isInteger(value) && lowest <= value && value <= highest,
  );
}

/** More than 0. The upper limit keeps a delay within what a timer can hold (2^31 ms). */
function positive(unit: string, highest = 1_000_000): Kind<number> {
  return number(
    `a number of ${unit} above 0, up to ${highest}`,
    (value) => 0 < value && value <= highest,
  );
}

function absolutePath(what: string): Kind<string> {
  return text(`the absolute path of ${what}`, (value) => {
    if (!value.startsWith("/")) return new Refusal("is not an absolute path");
    if (CONTROL.test(value)) return new Refusal("has a control character");
    return value.replace(/\/+$/, "") || "/";
  });
}

const UUID = text(
  "a UUID such as 123e4567-e89b-12d3-a456-426614174000",
  (value) =>
    /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i.test(value)
      ? value.toLowerCase()
      : new Refusal("is not a UUID"),
);

const TIME = {
  accepted: "local time HH:MM from 00:00 to 23:59",
  read: (value: Scalar) =>
    (typeof value === "string" ? parseMinute(value) : null) ?? new Refusal("is not a time"),
};

const BASE_URL: Kind<string> = {
  ...text(
    "an http:// or https:// URL without user, query and fragment, such as https://ingest.example.com",
    (value) => {
      if (!/^https?:\/\/[^/]/i.test(value) || /[\s\\]/.test(value) || !URL.canParse(value)) {
        return new Refusal("is not an http or https URL");
      }
      const url = new URL(value);
      if (url.username !== "" || url.password !== "") {
        return new Refusal("has a user or password");
      }
      if (/[?#]/.test(value)) return new Refusal("has a query or fragment");
      if (/\/api\/v1\/chunks\/*$/.test(url.pathname)) {
        return new Refusal("ends with /api/v1/chunks, which is added to it");
      }
      return url.origin + url.pathname.replace(/\/+$/, "");
    },
  ),
  // Whatever stands where a password or an access key would is left out.
  show: (value) =>
    quote(String(value).replace(/^(https?:\/\/)?.*@/s, "$1…@").replace(/[?#].*/s, "?…")),
};

const TOKEN: Kind<string> = {
  ...text(
    "a token of visible ASCII characters without spaces (without the word Bearer)",
    (value) =>
      /^[\x21-\x7e]+$/.test(value)
        ? value
        : new Refusal("is empty or has a space, control or non-ASCII character"),
  ),
  show: () => HIDDEN,
};

const TOKEN_FILE: Kind<string> = {
  ...absolutePath("a readable file with the token alone"),
  // Something that is not a path may be the token itself.
  show: (value) => typeof value === "string" && value.startsWith("/") ? quote(value) : HIDDEN,
};

const AUDIO_DEVICE = text(
  "usb:PATH (usb:1-1.2), usb:VID:PID[:SERIAL] (usb:0d8c:0014), name:TEXT or an ALSA PCM name " +
    '(plughw:1,0); "recorder-agent devices" lists what there is, with the words to paste',
  (value) => {
    if (value === "" || CONTROL.test(value)) return new Refusal("is not a PCM name");
    if (parseAudioDevice(value) === null) return new Refusal("names no microphone");
    return value;
  },
);

/** The rates that Opus knows (RFC 6716, section 2.1.3). */
const SAMPLE_RATE = number(
  "8000, 12000, 16000, 24000 or 48000",
  (value) => [8000, 12000, 16000, 24000, 48000].includes(value),
);

// --- The table -----------------------------------------------------------------------------------

/** One key. It has a `default`, or `absent` says what null means; with neither it is required. */
interface Key<T> {
  readonly name: string;
  readonly kind: Kind<NonNullable<T>>;
  readonly default?: string;
  readonly absent?: string;
}

const KEYS: { readonly [Property in keyof Config]: Key<Config[Property]> } = {
  pointId: { name: "point_id", kind: UUID },
  registerId: { name: "register_id", kind: UUID },
  deviceId: { name: "device_id", kind: UUID },
  ingestBaseUrl: { name: "ingest_base_url", kind: BASE_URL },
  ingestToken: { name: "ingest_token", kind: TOKEN, absent: "required, or ingest_token_file" },
  ingestTokenFile: { name: "ingest_token_file", kind: TOKEN_FILE, absent: "ingest_token is used" },
  scheduleStartMinute: { name: "schedule_start", kind: TIME, default: "08:00" },
  scheduleEndMinute: { name: "schedule_end", kind: TIME, default: "22:00" },
  chunkSeconds: { name: "chunk_seconds", kind: integer(1, 3600), default: "60" },
  opusBitrateKbps: { name: "opus_bitrate_kbps", kind: integer(6, 256), default: "24" },
  audioDevice: { name: "audio_device", kind: AUDIO_DEVICE, absent: "auto-detect" },
  sampleRate: { name: "sample_rate", kind: SAMPLE_RATE, default: "48000" },
  spoolDir: {
    name: "spool_dir",
    kind: absolutePath("a directory"),
    default: "/var/lib/recorder-agent/spool",
  },
  maxSpoolDays: { name: "max_spool_days", kind: positive("days"), default: "7" },
  maxSpoolGb: { name: "max_spool_gb", kind: positive("GB"), default: "20" },
  retryMinS: { name: "retry_min_s", kind: positive("seconds", 86_400), default: "2" },
  retryMaxS: { name: "retry_max_s", kind: positive("seconds", 86_400), default: "300" },
  healthPort: { name: "health_port", kind: integer(0, 65_535), default: "8042" },
  tlsCaFile: {
    name: "tls_ca_file",
    kind: absolutePath("a readable file with a PEM certificate"),
    absent: "the usual authorities",
  },
  uploadTimeoutS: { name: "upload_timeout_s", kind: positive("seconds", 86_400), default: "30" },
  uploadConcurrency: { name: "upload_concurrency", kind: integer(1, 16), default: "6" },
  maxClockWaitS: {
    name: "max_clock_wait_s",
    kind: number("a number of seconds from 0 to 86400", (value) => value >= 0 && value <= 86_400),
    default: "600",
  },
  timestampFormat: { name: "timestamp_format", kind: oneOf("unix", "iso8601"), default: "unix" },
  minFreeGb: {
    name: "min_free_gb",
    kind: number("a number of GB, 0 or more", (value) => value >= 0),
    default: "1",
  },
  maxWaitingDays: {
    name: "max_waiting_days",
    kind: positive("days"),
    absent: "same as max_spool_days",
  },
  syncIntervalS: {
    name: "sync_interval_s",
    kind: number("a number of seconds from 1 to 60", (value) => 1 <= value && value <= 60),
    default: "5",
  },
};

const TABLE: readonly Key<unknown>[] = Object.values(KEYS);

/** The two ways to give the token. */
const TOKEN_NAMES = [KEYS.ingestToken.name, KEYS.ingestTokenFile.name];
/** The systemd credential that holds the token if neither is given: LoadCredential= of the unit. */
const CREDENTIAL = "ingest-token";
/** Where `install` puts the token and the unit takes the credential from; commands run by root use it. */
export const INSTALLED_TOKEN_PATH = "/etc/recorder-agent/token";
const CREDENTIAL_PLACE =
  `ingest_token: is not given, so the credential ${CREDENTIAL} is used, which the unit loads from ` +
  `${INSTALLED_TOKEN_PATH} (write the token there, or set ingest_token)`;
const INSTALLED_TOKEN_PLACE = `ingest_token: is not given, so ${INSTALLED_TOKEN_PATH} is used`;

/** Every key in the order of the documentation. */
export function configKeys(): readonly ConfigKey[] {
  return TABLE.map((key) => ({
    name: key.name,
    variable: variableOf(key.name),
    default: key.default ?? null,
    whenAbsent: key.default ?? key.absent ?? "required",
    accepted: key.kind.accepted,
  }));
}

// --- Loading -------------------------------------------------------------------------------------

/** Reads a text file; throws as `Deno.readTextFileSync` does. */
export type ReadTextFile = (path: string) => string;

/**
 * The configuration of a file (none if `path` is null), each key overridden by its variable in
 * `env`. An empty variable counts as unset. A token variable of either name replaces both token
 * keys of the file. Files that keys name (token, CA) are read once to see that they can be used.
 * @throws ConfigError with all problems
 */
export function loadConfig(
  options: {
    readonly path: string | null;
    readonly env: Readonly<Record<string, string>>;
    readonly readTextFile?: ReadTextFile;
  },
): Config {
  const { path, env, readTextFile = Deno.readTextFileSync } = options;
  const problems: string[] = [];
  const file = path === null ? EMPTY_FILE : readConfigFile(path, readTextFile, problems);
  const given = mergeSources(file, env);

  const values: Partial<Record<keyof Config, unknown>> = {};
  for (const property of Object.keys(KEYS) as (keyof Config)[]) {
    const key: Key<unknown> = KEYS[property];
    const value = given.get(key.name);
    if (value !== undefined) {
      values[property] = readValue(key, value, problems);
    } else if (key.default !== undefined) {
      values[property] = key.kind.read(key.default);
    } else if (key.absent !== undefined) {
      values[property] = null;
    } else if (file.isUnderstood) {
      problems.push(missing(path, [key.name], key.kind.accepted));
    }
  }
  values.maxWaitingDays ??= values.maxSpoolDays;
  // What was missing or refused is undefined here, but then the error below is all anybody gets.
  const config = values as unknown as Config;

  const tokens = TOKEN_NAMES.flatMap((name) => given.get(name) ?? []);
  if (tokens.length === 0 && file.isUnderstood) {
    problems.push(missing(path, TOKEN_NAMES, TOKEN.accepted));
  }
  if (tokens.length > 1) {
    problems.push(`${tokens[1]?.place}: is given beside ingest_token: expected one of the two`);
  }
  problems.push(
    ...retryProblems(config, given),
    ...fileProblems(KEYS.ingestTokenFile, config.ingestTokenFile, given, readTextFile, refuseToken),
    ...fileProblems(KEYS.tlsCaFile, config.tlsCaFile, given, readTextFile, refuseCertificate),
    ...unknownKeys(file),
    ...unknownVariables(env),
  );
  if (problems.length > 0) throw new ConfigError(problems);
  return config;
}

/**
 * The Bearer token: the configured one, or what its file holds now (trimmed), so that a token that
 * was replaced is found without a restart.
 * @throws Error naming the file if it cannot be read or holds no usable token
 */
export async function readToken(
  config: Pick<Config, "ingestToken" | "ingestTokenFile">,
): Promise<string> {
  if (config.ingestToken !== null) return config.ingestToken;
  const path = config.ingestTokenFile ?? "";
  let content;
  try {
    content = await Deno.readTextFile(path);
  } catch (error) {
    throw new Error(`Cannot read the token: ingest_token_file ${quote(path)} ${failure(error)}`);
  }
  const refusal = refuseToken(content);
  if (refusal === null) return content.trim();
  throw new Error(`Cannot read the token: ingest_token_file ${quote(path)} ${refusal}`);
}

/**
 * The environment variables this program looks at: all that begin with RA_, and a few of the
 * system's. The compiled program may see no others: it runs with `--ignore-env`, so that listing
 * the environment gives those it is permitted.
 */
export function readEnvironment(): Record<string, string> {
  const system = [
    ...["NOTIFY_SOCKET", "WATCHDOG_USEC", "RUNTIME_DIRECTORY", "CREDENTIALS_DIRECTORY"],
    ...["JOURNAL_STREAM", "TZ"],
  ];
  return Object.fromEntries(
    Object.entries(Deno.env.toObject())
      .filter(([name]) => name.startsWith("RA_") || system.includes(name)),
  );
}

/**
 * The configuration file to read: the one named, else the usual one unless it does not exist (one
 * that cannot be looked at is returned, so that reading it says why), else null.
 */
export function findConfigPath(
  explicit: string | undefined,
  usual: string = DEFAULT_CONFIG_PATH,
): string | null {
  if (explicit !== undefined) return explicit;
  try {
    Deno.statSync(usual);
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return null;
  }
  return usual;
}

// --- Sources of values ---------------------------------------------------------------------------

/** A value and where it came from: "file:line:column: key" or a variable. */
interface Given {
  readonly place: string;
  readonly value: unknown;
}

interface ConfigFile {
  readonly entries: ReadonlyMap<string, Given>;
  /** False if the file could not be read or parsed, so that nothing is known to be missing. */
  readonly isUnderstood: boolean;
}

const EMPTY_FILE: ConfigFile = { entries: new Map(), isUnderstood: true };
const UNREADABLE_FILE: ConfigFile = { entries: new Map(), isUnderstood: false };

function readConfigFile(path: string, read: ReadTextFile, problems: string[]): ConfigFile {
  let source: string;
  try {
    source = read(path).replace(/^\ufeff/, "");
  } catch (error) {
    problems.push(`${path}: the configuration file ${failure(error)}`);
    return UNREADABLE_FILE;
  }
  let content: unknown;
  try {
    content = parseYaml(source, { schema: "core", onWarning: () => {} });
  } catch (error) {
    problems.push(`${path}${yamlProblem(error)}`);
    return UNREADABLE_FILE;
  }
  if (content === null) return EMPTY_FILE;
  if (typeof content !== "object" || Array.isArray(content)) {
    problems.push(`${path}: is not a mapping: expected lines "key: value" (mind the space)`);
    return UNREADABLE_FILE;
  }
  const entries = new Map<string, Given>();
  for (const [name, value] of Object.entries(content)) {
    const at = locate(source, name, isKnown(name) ? "value" : "key");
    entries.set(name, { place: `${path}${at}: ${safeName(name)}`, value });
  }
  return { entries, isUnderstood: true };
}

function mergeSources(
  file: ConfigFile,
  env: Readonly<Record<string, string>>,
): ReadonlyMap<string, Given> {
  const given = new Map(file.entries);
  // A key without a default may be written with nothing behind it: that is leaving it out.
  for (const key of TABLE) {
    const value = given.get(key.name)?.value;
    if (key.absent !== undefined && (value === null || value === "")) given.delete(key.name);
  }
  const isSet = (name: string) => (env[variableOf(name)] ?? "").trim() !== "";
  if (TOKEN_NAMES.some(isSet)) TOKEN_NAMES.forEach((name) => given.delete(name));
  for (const { name } of TABLE) {
    const variable = variableOf(name);
    if (isSet(name)) given.set(name, { place: variable, value: env[variable] });
  }
  if (!TOKEN_NAMES.some((name) => given.has(name))) {
    const credentials = env.CREDENTIALS_DIRECTORY ?? "";
    const place = credentials === "" ? INSTALLED_TOKEN_PLACE : CREDENTIAL_PLACE;
    if (credentials !== "") {
      given.set(KEYS.ingestTokenFile.name, { place, value: `${credentials}/${CREDENTIAL}` });
    } else if (isThere(INSTALLED_TOKEN_PATH)) {
      given.set(KEYS.ingestTokenFile.name, { place, value: INSTALLED_TOKEN_PATH });
    }
  }
  return given;
}

function isThere(path: string): boolean {
  try {
    Deno.statSync(path);
    return true;
  } catch {
    return false;
  }
}

/** The value of a key, or undefined after saying what is wrong with it. */
function readValue<T>(key: Key<T>, given: Given, problems: string[]): T | undefined {
  const { accepted, read, show = quote } = key.kind;
  const { place, value } = given;
  if (value === null || value === undefined) {
    const otherwise = key.default === undefined ? "" : `; without the key it is ${key.default}`;
    problems.push(`${place}: has no value: expected ${accepted}${otherwise}`);
    return undefined;
  }
  if (typeof value === "object") {
    const what = Array.isArray(value) ? "a list" : "a mapping";
    problems.push(`${place}: is ${what}: expected ${accepted}`);
    return undefined;
  }
  const scalar = typeof value === "string" ? value.trim() : value as Scalar;
  const result = read(scalar);
  if (!(result instanceof Refusal)) return result;
  problems.push(`${place}: ${show(scalar)} ${result.reason}: expected ${accepted}`);
  return undefined;
}

function retryProblems(config: Config, given: ReadonlyMap<string, Given>): string[] {
  const { retryMinS, retryMaxS } = config;
  if (!(retryMinS > retryMaxS)) return [];
  const max = given.get(KEYS.retryMaxS.name);
  if (max === undefined) {
    const place = given.get(KEYS.retryMinS.name)?.place;
    return [`${place}: ${retryMinS} is too long: expected at most retry_max_s, ${retryMaxS}`];
  }
  return [`${max.place}: ${retryMaxS} is too short: expected at least retry_min_s, ${retryMinS}`];
}

// --- Places in the file --------------------------------------------------------------------------

/**
 * ":line:column" (from 1) of a top-level key or its value; of the key, too, if the value does not
 * begin on the same line. The parser keeps no positions, so the text is searched for the key as people write it;
 * "" if it is written in some other way YAML allows.
 */
function locate(source: string, name: string, part: "key" | "value"): string {
  const escaped = name.replace(/[^\w-]/g, "\\$&");
  const key = `(?<key>"${escaped}"|'${escaped}'|${escaped})`;
  // The first line that is not blank, a comment, a directive or a document marker.
  const first = /^(?![ \t]*(?:#|$)|%|---|\.\.\.)(?<indent>[ \t]*)(?<brace>\{?)/m.exec(source);
  const { indent = "", brace = "" } = first?.groups ?? {};
  const before = brace === "" ? `^${indent}` : "[{,]\\s*";
  const pattern = new RegExp(`(?<=${before})${key}[ \\t]*:(?<gap>[ \\t]*)(?<value>[^\\s#]?)`, "m");
  const found = pattern.exec(source);
  if (found === null) return "";
  const isValue = part === "value" && (found.groups?.value ?? "") !== "";
  const at = isValue ? found.index + found[0].length - 1 : found.index;
  const line = source.slice(0, at).split("\n");
  return `:${line.length}:${(line.at(-1) ?? "").length + 1}`;
}

/**
 * ":line:column: what is wrong" of a YAML error. Its message ends with the line of the file, and may
 * quote words of it, which may be the token: only the parser's own words before those are kept.
 */
function yamlProblem(error: unknown): string {
  const message = error instanceof Error ? error.message : "";
  const [, line, column] = / at line (\d+), column (\d+):\n/.exec(message) ?? [];
  const place = line === undefined ? "" : `:${line}:${column}`;
  if (message.includes("duplicated key")) {
    return `${place}: has a key for the second time: expected each key once`;
  }
  const words = message.replace(/ at line \d[^]*$/, "").replace(/["'!][^]*$/, "…");
  return `${place}: is not YAML, here or on the line before: ${words}: expected lines "key: value"` +
    ` (mind the space), special characters in quotes`;
}

// --- Words ---------------------------------------------------------------------------------------

function variableOf(name: string): string {
  return `RA_${name.toUpperCase()}`;
}

function isKnown(name: string): boolean {
  return TABLE.some((key) => key.name === name);
}

/** A value on one line, whatever is in it. */
function quote(value: Scalar): string {
  const shown = JSON.stringify(value).replace(
    new RegExp(CONTROL, "g"),
    (character) => `\\u${character.charCodeAt(0).toString(16).padStart(4, "0")}`,
  );
  return shown.length <= 120 ? shown : `${shown.slice(0, 119)}…`;
}

/** A key as a person may see it: `{ingest_token:secret}` is one key to YAML, with the token in it. */
function safeName(name: string): string {
  return /^[A-Za-z_][\w-]{0,39}$/.test(name) ? name : "a key (not shown)";
}

function missing(path: string | null, names: readonly string[], accepted: string): string {
  const place = path === null ? "" : `${path}: `;
  const file = path === null ? "a file named by -c FILE" : "this file";
  const keys = names.map((name) => `"${name}: …"`).join(" or ");
  const variables = names.map(variableOf).join(" or ");
  return `${place}${names[0]}: is missing: expected ${accepted}; write ${keys} in ${file}` +
    ` or set the variable ${variables}`;
}

function unknownKeys(file: ConfigFile): string[] {
  const unknown = [...file.entries].filter(([name]) => !isKnown(name));
  return unknown.map(([name, { place }]) => {
    const meant = closestKey(name);
    const hint = meant === null ? "see config.yaml.example for all keys" : `did you mean ${meant}?`;
    return `${place}: is not a key of the configuration: ${hint}`;
  });
}

function unknownVariables(env: Readonly<Record<string, string>>): string[] {
  const known = new Set(TABLE.map((key) => variableOf(key.name)));
  const unknown = Object.keys(env).filter((name) => name.startsWith("RA_") && !known.has(name));
  return unknown.map((name) => {
    const meant = closestKey(name);
    const hint = meant === null
      ? "see .env.example for all variables"
      : `did you mean ${variableOf(meant)}?`;
    return `${safeName(name)}: is not a variable of the configuration: ${hint}`;
  });
}

/** The key that somebody who wrote `name` most likely meant, or null. */
function closestKey(name: string): string | null {
  const written = name.toLowerCase().replace(/^ra_/, "").replaceAll("-", "_");
  let best: string | null = null;
  let lowest = Math.max(2, Math.floor(written.length / 4)) + 1;
  for (const key of TABLE) {
    const distance = editDistance(written, key.name);
    if (distance < lowest) [best, lowest] = [key.name, distance];
  }
  return best;
}

/** Damerau-Levenshtein distance (optimal string alignment): edits, and swaps of neighbours. */
function editDistance(a: string, b: string): number {
  let beforeLast: number[] = [];
  let last = Array.from({ length: b.length + 1 }, (_, j) => j);
  for (let i = 1; i <= a.length; i++) {
    const row = [i];
    for (let j = 1; j <= b.length; j++) {
      const cost = a[i - 1] === b[j - 1] ? 0 : 1;
      const swapped = a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1];
      row.push(Math.min(
        (last[j] ?? 0) + 1,
        (row[j - 1] ?? 0) + 1,
        (last[j - 1] ?? 0) + cost,
        swapped && i > 1 && j > 1 ? (beforeLast[j - 2] ?? 0) + 1 : Infinity,
      ));
    }
    [beforeLast, last] = [last, row];
  }
  return last[b.length] ?? 0;
}

// --- Files that keys name ------------------------------------------------------------------------

/** What is wrong with a file's content, or null. */
type ContentCheck = (content: string) => string | null;

function fileProblems(
  key: Key<string | null>,
  path: string | null | undefined,
  given: ReadonlyMap<string, Given>,
  read: ReadTextFile,
  refuse: ContentCheck,
): string[] {
  if (path === null || path === undefined) return [];
  let refusal;
  try {
    refusal = refuse(read(path));
  } catch (error) {
    refusal = failure(error);
  }
  if (refusal === null) return [];
  const place = given.get(key.name)?.place;
  return [`${place}: ${quote(path)} ${refusal}: expected ${key.kind.accepted}`];
}

function refuseToken(content: string): string | null {
  return TOKEN.read(content.trim()) instanceof Refusal ? "holds no usable token" : null;
}

function refuseCertificate(content: string): string | null {
  const pem = /-----BEGIN CERTIFICATE-----[A-Za-z0-9+/=\s]+-----END CERTIFICATE-----/;
  return pem.test(content) ? null : "holds no PEM certificate";
}

/** Why a file could not be read, to follow its name. */
function failure(error: unknown): string {
  if (error instanceof Deno.errors.NotFound) return "does not exist";
  if (error instanceof Deno.errors.IsADirectory) return "is a directory";
  if (error instanceof Deno.errors.PermissionDenied) return "may not be read by this user";
  if (error instanceof Deno.errors.NotCapable) return "may not be read with Deno's permissions";
  return `cannot be read (${error instanceof Error ? error.name : "unknown error"})`;
}
