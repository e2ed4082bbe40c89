/**
 * The configuration: a YAML file and RA_* environment variables become one readonly `Config`, or an
 * error that lists every problem at once. One table (`KEYS`) describes each key and drives parsing,
 * the check for unknown keys, and the tests of the documentation. This module is the only one that
 * reads the environment. It never writes anything, never logs, and never shows a token.
 */

import { closestString } from "@std/text/closest-string";
import { levenshteinDistance } from "@std/text/levenshtein-distance";
import {
  type ConfigFile,
  EMPTY_FILE,
  type Given,
  parseConfigFile,
  safeName,
  UNREADABLE_FILE,
} from "./config_file.ts";
import {
  absolutePath,
  AUDIO_DEVICE,
  BASE_URL,
  integer,
  type Kind,
  number,
  oneOf,
  positive,
  quote,
  Refusal,
  SAMPLE_RATE,
  type Scalar,
  TIME,
  TOKEN,
  TOKEN_FILE,
  UUID,
} from "./config_values.ts";

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

function readConfigFile(path: string, read: ReadTextFile, problems: string[]): ConfigFile {
  let source: string;
  try {
    source = read(path).replace(/^\ufeff/, "");
  } catch (error) {
    problems.push(`${path}: the configuration file ${failure(error)}`);
    return UNREADABLE_FILE;
  }
  return parseConfigFile(path, source, isKnown, problems);
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

// --- Words ---------------------------------------------------------------------------------------

function variableOf(name: string): string {
  return `RA_${name.toUpperCase()}`;
}

function isKnown(name: string): boolean {
  return TABLE.some((key) => key.name === name);
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
  const closest = closestString(written, TABLE.map((key) => key.name));
  const isClose = levenshteinDistance(written, closest) <= Math.max(2, written.length / 4);
  return isClose ? closest : null;
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
