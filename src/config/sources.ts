/**
 * The sources of values: a YAML file, and the RA_ variables, which override it. It says which value
 * of which place counts for each key, which keys are missing, and which are not in the table; whether
 * a value is good is said in key_values.ts. Pure.
 */

import { closestString } from "@std/text/closest-string";
import { levenshteinDistance } from "@std/text/levenshtein-distance";
import { type ConfigFile, type Given, safeName } from "./config_file.ts";
import { type KeyTable, mayBeEmpty, variableOf } from "./key.ts";

/** What was given for keys, by name, and from where. */
export interface Sources {
  /** The file, or null. */
  readonly path: string | null;
  /** False if the file could not be read or parsed, so that nothing is known to be missing. */
  readonly isUnderstood: boolean;
  readonly given: ReadonlyMap<string, Given>;
}

/**
 * The entries of the file, each overridden by its variable. An empty variable counts as unset.
 * @param eitherOf keys of which a variable of any replaces all in the file
 */
export function mergeSources(
  table: KeyTable,
  file: ConfigFile,
  env: Readonly<Record<string, string>>,
  eitherOf: readonly string[],
): ReadonlyMap<string, Given> {
  const given = new Map(file.entries);
  for (const [name, key] of Object.entries(table)) {
    const value = given.get(name)?.value;
    if (mayBeEmpty(key) && (value === null || value === "")) given.delete(name);
  }
  const isSet = (name: string) => (env[variableOf(name)] ?? "").trim() !== "";
  if (eitherOf.some(isSet)) eitherOf.forEach((name) => given.delete(name));
  for (const name of Object.keys(table)) {
    const variable = variableOf(name);
    if (isSet(name)) given.set(name, { place: variable, value: env[variable] });
  }
  return given;
}

/** That none of these keys is given, and how to give one. */
export function missing(
  path: string | null,
  names: readonly string[],
  accepted: string,
): string {
  const place = path === null ? "" : `${path}: `;
  const file = path === null ? "a file named by -c FILE" : "this file";
  const keys = names.map((name) => `"${name}: …"`).join(" or ");
  const variables = names.map(variableOf).join(" or ");
  return `${place}${names[0]}: is missing: expected ${accepted}; write ${keys} in ${file}` +
    ` or set the variable ${variables}`;
}

/** The entries of the file that are not keys, each with what was probably meant. */
export function unknownKeys(table: KeyTable, file: ConfigFile): string[] {
  const unknown = [...file.entries].filter(([name]) => !Object.hasOwn(table, name));
  return unknown.map(([name, { place }]) => {
    const meant = closestKey(table, name);
    const hint = meant === null ? "see config.yaml.example for all keys" : `did you mean ${meant}?`;
    return `${place}: is not a key of the configuration: ${hint}`;
  });
}

/** The RA_ variables that belong to no key, each with what was probably meant. */
export function unknownVariables(
  table: KeyTable,
  env: Readonly<Record<string, string>>,
): string[] {
  const known = new Set(Object.keys(table).map(variableOf));
  const unknown = Object.keys(env).filter((name) => name.startsWith("RA_") && !known.has(name));
  return unknown.map((name) => {
    const meant = closestKey(table, name);
    const hint = meant === null
      ? "see .env.example for all variables"
      : `did you mean ${variableOf(meant)}?`;
    return `${safeName(name)}: is not a variable of the configuration: ${hint}`;
  });
}

/** The key that somebody who wrote `name` most likely meant, or null. */
function closestKey(table: KeyTable, name: string): string | null {
  const written = name.toLowerCase().replace(/^ra_/, "").replaceAll("-", "_");
  const closest = closestString(written, Object.keys(table));
  const isClose = levenshteinDistance(written, closest) <= Math.max(2, written.length / 4);
  return isClose ? closest : null;
}
