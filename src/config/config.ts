/**
 * The configuration: a YAML file and RA_* environment variables become one readonly `Config`, or an
 * error that lists every problem at once. What a key is, the table in keys.ts says. This module never
 * writes anything, never logs, and never shows a token.
 */

import { readNamedTextSync } from "../system/disk.ts";
import { type ConfigFile, EMPTY_FILE, parseConfigFile, UNREADABLE_FILE } from "./config_file.ts";
import { fileFailure, type ReadTextFile } from "./file_failure.ts";
import { type ConfigOf, fieldOf, type KeyTable } from "./key.ts";
import { capProblems, contentProblems, orderProblems, readKeyValues } from "./key_values.ts";
import { KEYS } from "./keys.ts";
import { mergeSources, unknownKeys, unknownVariables } from "./sources.ts";
import { tlsProblems } from "./tls_files.ts";
import { NO_SERVER } from "./transport.ts";
import { TOKEN_KEYS, tokenProblems, withUsualToken } from "./token.ts";

/**
 * A checked configuration: each key in camelCase, `max_spool_gb` as `maxSpoolGb`. Units are those of
 * the names: `S` seconds, `Gb` 10^9 bytes; a time of day is its minute, 0..1439. UUIDs are in lower
 * case; paths are absolute and URLs whole, both without a slash at the end.
 */
export interface Config extends ConfigOf<typeof KEYS> {}

export interface LoadOptions {
  /** The YAML file; null: there is none. */
  readonly path: string | null;
  readonly env: Readonly<Record<string, string>>;
  /** Whether files that keys name are read to see that they can be used. @default true */
  readonly checksFiles?: boolean;
  /** Keys that count as left out, whatever is written. Nothing is delivered without a server. */
  readonly without?: readonly string[];
  readonly readTextFile?: ReadTextFile;
}

/** Stands for a server and a token that cannot be used; nothing is ever sent to it. */
const WITHOUT_DELIVERY = { ingest_base_url: NO_SERVER, ingest_token: "none" };

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

/**
 * The configuration of a file (none if `path` is null), each key overridden by its variable in
 * `env`. An empty variable counts as unset. A token variable of either name replaces both token
 * keys of the file. Files that keys name (token, CA) are read once to see that they can be used.
 * @throws ConfigError with all problems
 */
export function loadConfig(options: LoadOptions): Config {
  return loadTable(KEYS, options);
}

/** As `loadConfig`, of any table that has the keys of the token. */
export function loadTable<Table extends KeyTable>(
  table: Table,
  { path, env, checksFiles = true, without = [], readTextFile = readNamedTextSync }: LoadOptions,
): ConfigOf<Table> {
  const problems: string[] = [];
  const file = path === null ? EMPTY_FILE : readConfigFile(table, path, readTextFile, problems);
  const merged = new Map(mergeSources(table, file, env, TOKEN_KEYS));
  for (const name of without) merged.delete(name);
  for (const [name, value] of Object.entries(WITHOUT_DELIVERY)) {
    if (without.includes(name)) merged.set(name, { place: name, value });
  }
  const given = withUsualToken(merged, env);
  const sources = { path, isUnderstood: file.isUnderstood, given };
  const values = readKeyValues(table, sources, problems);
  problems.push(
    ...tokenProblems(sources),
    ...orderProblems(table, values, given),
    ...capProblems(values, given),
    ...tlsProblems(sources, values, readTextFile, checksFiles),
    ...contentProblems(table, values, given, (path, refuseContent) => {
      if (!checksFiles) return null;
      try {
        return refuseContent(readTextFile(path));
      } catch (error) {
        return fileFailure(error);
      }
    }),
    ...unknownKeys(table, file),
    ...unknownVariables(table, env),
  );
  if (problems.length > 0) throw new ConfigError(problems);
  const fields = [...values].map(([name, value]) => [fieldOf(name), value]);
  // Without a problem each key has a value of its kind, which is what the type says.
  return Object.fromEntries(fields) as ConfigOf<Table>;
}

function readConfigFile(
  table: KeyTable,
  path: string,
  read: ReadTextFile,
  problems: string[],
): ConfigFile {
  let source: string;
  try {
    source = read(path).replace(/^\ufeff/, "");
  } catch (error) {
    problems.push(`${path}: the configuration file ${fileFailure(error)}`);
    return UNREADABLE_FILE;
  }
  return parseConfigFile(path, source, (name) => Object.hasOwn(table, name), problems);
}
