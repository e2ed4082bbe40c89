// The text of a configuration file becomes entries that know their place in it, for messages that a
// person can follow. It never shows a token, wherever in the file that stands.

import { parse as parseYaml } from "@std/yaml/parse";

/** There are fewer keys; the text is searched for each one. */
const MAX_KEYS = 200;
/** Of a longer key the place is not searched: an expression has a largest size. */
const MAX_SOUGHT = 200;

/** A value and where it came from: "file:line:column: key" or a variable. */
export interface Given {
  readonly place: string;
  readonly value: unknown;
}

export interface ConfigFile {
  readonly entries: ReadonlyMap<string, Given>;
  /** False if the file could not be read or parsed, so that nothing is known to be missing. */
  readonly isUnderstood: boolean;
}

export const EMPTY_FILE: ConfigFile = { entries: new Map(), isUnderstood: true };
export const UNREADABLE_FILE: ConfigFile = { entries: new Map(), isUnderstood: false };

/**
 * The top-level keys of a YAML mapping; what it cannot be understood for is added to `problems`.
 * @param isKnown a known key's place is that of its value.
 */
export function parseConfigFile(
  path: string,
  source: string,
  isKnown: (name: string) => boolean,
  problems: string[],
): ConfigFile {
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
  const found = Object.entries(content);
  if (found.length > MAX_KEYS) {
    problems.push(`${path}: has ${found.length} keys: expected ${MAX_KEYS} at most`);
    return UNREADABLE_FILE;
  }
  for (const [name, value] of found) {
    const at = locate(source, name, isKnown(name) ? "value" : "key");
    entries.set(name, { place: `${path}${at}: ${safeName(name)}`, value });
  }
  return { entries, isUnderstood: true };
}

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
  if (name.length + indent.length > MAX_SOUGHT) return "";
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

/**
 * A key as a person may see it. Only what looks like one is shown, words without digits: a line break or a
 * missing space makes a key of the token, as in `{ingest_token:secret}`.
 */
export function safeName(name: string): string {
  return KEY.test(name) ? name : "a key (not shown)";
}

const WORD = "(?:[A-Z]?[a-z]{1,14}(?:[A-Z][a-z]{1,14}){0,3}|[A-Z]{1,14})";
const KEY = new RegExp(`^${WORD}(?:[_-]${WORD}){0,5}$`);
