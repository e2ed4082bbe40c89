/**
 * The values of keys: what was given is read as the table says, what was not gets its default, and
 * everything wrong becomes a line with the place, the value and what is accepted. It never touches a
 * file itself, and never shows a token. Pure.
 */

import type { Given } from "./config_file.ts";
import { quote, Refusal, type Scalar } from "./config_values.ts";
import { type Key, type KeyTable, mayBeEmpty } from "./key.ts";
import { missing, type Sources } from "./sources.ts";

/** The value of each key, by name; one that is missing or refused is not there. */
export type KeyValues = ReadonlyMap<string, unknown>;

/** Reads each key of the table; what is wrong is added to `problems`. */
export function readKeyValues(
  table: KeyTable,
  { path, isUnderstood, given }: Sources,
  problems: string[],
): KeyValues {
  const values = new Map<string, unknown>();
  for (const [name, key] of Object.entries(table)) {
    const found = given.get(name);
    const value = found === undefined ? defaultValue(key, values) : readGiven(key, found, problems);
    if (value !== undefined) values.set(name, value);
    else if (found === undefined && isRequired(key) && isUnderstood) {
      problems.push(missing(path, [name], key.kind.accepted.en));
    }
  }
  return values;
}

/** Whether a key without a value is a problem. */
export function isRequired(key: Key): boolean {
  return key.default === undefined && !mayBeEmpty(key);
}

/** The keys that are less than the one they must not be less than. */
export function orderProblems(
  table: KeyTable,
  values: KeyValues,
  given: ReadonlyMap<string, Given>,
): string[] {
  return Object.entries(table).flatMap(([name, { atLeast }]) => {
    if (atLeast === undefined) return [];
    const [value, least] = [Number(values.get(name)), Number(values.get(atLeast))];
    if (!(least > value)) return [];
    const place = given.get(name)?.place;
    if (place !== undefined) {
      return [`${place}: ${value} is too short: expected at least ${atLeast}, ${least}`];
    }
    const other = given.get(atLeast)?.place;
    return [`${other}: ${least} is too long: expected at most ${name}, ${value}`];
  });
}

/** What a request adds to the sound: the container, the form, the headers. */
const OVERHEAD = 1.1;

/** A cap under which the queue could never keep up with the sound. */
export function capProblems(values: KeyValues, given: ReadonlyMap<string, Given>): string[] {
  const [cap, bitrate] = [values.get("upload_max_kbps"), values.get("opus_bitrate_kbps")];
  if (typeof cap !== "number" || typeof bitrate !== "number") return [];
  const least = Math.ceil(bitrate * OVERHEAD);
  if (cap >= bitrate * OVERHEAD) return [];
  const place = given.get("upload_max_kbps")?.place;
  return [
    `${place}: ${cap} is less than the sound itself needs: expected at least ${least}, ` +
    `${OVERHEAD} × opus_bitrate_kbps (${bitrate})`,
  ];
}

/**
 * The files that keys name and that cannot be used.
 * @param refuse why a file cannot be read or its content, which is then checked, not be used, or null
 */
export function contentProblems(
  table: KeyTable,
  values: KeyValues,
  given: ReadonlyMap<string, Given>,
  refuse: (path: string, refuseContent: (content: string) => string | null) => string | null,
): string[] {
  return Object.entries(table).flatMap(([name, { kind: { accepted, refuseContent } }]) => {
    const path = values.get(name);
    if (refuseContent === undefined || typeof path !== "string") return [];
    const refusal = refuse(path, refuseContent);
    if (refusal === null) return [];
    return [`${given.get(name)?.place}: ${quote(path)} ${refusal}: expected ${accepted.en}`];
  });
}

/** The value of a key that is left out; undefined if it is required. */
export function defaultValue(key: Key, earlier: KeyValues): unknown {
  if (key.sameAs !== undefined) return earlier.get(key.sameAs);
  if (key.default !== undefined) return key.kind.read(key.default);
  return key.absent === undefined ? undefined : null;
}

/** What is wrong with text that a person gives as the value of a key, or null. */
export function refusalOf(name: string, key: Key, text: string): string | null {
  const problems: string[] = [];
  readGiven(key, { place: name, value: text === "" ? null : text }, problems);
  return problems[0] ?? null;
}

/** The value of a key, or undefined after saying what is wrong with it. */
function readGiven(key: Key, { place, value }: Given, problems: string[]): unknown {
  const { accepted, read, show = quote } = key.kind;
  if (value === null || value === undefined) {
    const otherwise = key.default === undefined ? "" : `; without the key it is ${key.default}`;
    problems.push(`${place}: has no value: expected ${accepted.en}${otherwise}`);
    return undefined;
  }
  if (typeof value === "object") {
    const what = Array.isArray(value) ? "a list" : "a mapping";
    problems.push(`${place}: is ${what}: expected ${accepted.en}`);
    return undefined;
  }
  const scalar = typeof value === "string" ? value.trim() : value as Scalar;
  const result = read(scalar);
  if (!(result instanceof Refusal)) return result;
  problems.push(`${place}: ${show(scalar)} ${result.reason}: expected ${accepted.en}`);
  return undefined;
}
