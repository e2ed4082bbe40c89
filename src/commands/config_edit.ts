// Writes settings into the lines of a configuration text, so that its comments and its order stay. What it
// wrote is parsed and compared with what was meant: a text that it cannot change like that is refused, and
// never half changed. Pure.

import { parse as parseYaml } from "@std/yaml/parse";
import { DEFAULT_CONFIG_PATH } from "../config/places.ts";
import { TOKEN_KEYS } from "../config/token.ts";
import { type Settings, TOKEN_KEY } from "./install_settings.ts";

/** A value of the configuration has fewer parts. */
const MAX_PARTS = 10_000;

/**
 * The text with each setting in its line; a setting that has no line gets one at the end. The text never
 * contains the token: a new one empties both keys that could give another one.
 * @throws an error that names the key if the text has it in a form that cannot be replaced.
 */
export function applySettings(text: string, settings: Settings): string {
  let result = text;
  for (const [key, value] of settings) {
    if (key !== TOKEN_KEY) result = setKey(result, key, scalar(value));
    else {for (const name of TOKEN_KEYS) {
        if (hasKey(result, name)) result = setKey(result, name, "null");
      }}
  }
  return result;
}

function hasKey(text: string, key: string): boolean {
  const content = parse(text);
  return content === null ? linesOf(key).test(text) : Object.hasOwn(content, key);
}

/** @param written as it stands in YAML. */
function setKey(text: string, key: string, written: string): string {
  const line = `${key}: ${written}`;
  const before = parse(text);
  const edits = [
    // Lines that are indented more belong to the value, or are comments behind it.
    ...[linesOf(key), linesOf(key, true)].flatMap((lines) =>
      [...text.matchAll(lines)].map(({ index, 0: { length }, 1: indent }) =>
        `${text.slice(0, index)}${indent}${line}${text.slice(index + length)}`
      )
    ),
    `${text}${text === "" || text.endsWith("\n") ? "" : "\n"}${line}\n`,
  ];
  // A text that is not understood is reported as a whole, with the place of the mistake.
  const edited = before === null
    ? edits[0]
    : edits.find((edit) => isMeant(before, edit, line, key));
  if (edited !== undefined) return edited;
  throw new Error(
    `Cannot set ${key} in ${DEFAULT_CONFIG_PATH} as it must be on a line of its own there, \`${key}: VALUE\`: ` +
      `write it like that by hand (sudoedit ${DEFAULT_CONFIG_PATH}), then try again`,
  );
}

/** The line of a top-level key, plain or quoted; with `isLong` also the lines that continue it. */
function linesOf(key: string, isLong = false): RegExp {
  const more = isLong ? "(?:\\n(?:\\1[ \\t]+\\S.*|[ \\t]*(?=\\n)))*" : "";
  return new RegExp(`^([ \\t]*)(?:${key}|"${key}"|'${key}')[ \\t]*:(?:[ \\t].*)?$${more}`, "gm");
}

/** Whether only this key has changed, and has the value of the line. */
function isMeant(
  before: Readonly<Record<string, unknown>>,
  edited: string,
  line: string,
  key: string,
): boolean {
  const after = parse(edited);
  if (after === null) return false;
  const wanted: Readonly<Record<string, unknown>> = { ...before, ...parse(line) };
  const names = new Set([...Object.keys(wanted), ...Object.keys(after)]);
  try {
    return Object.hasOwn(after, key) &&
      [...names].every((name) => textOf(after[name]) === textOf(wanted[name]));
  } catch {
    return false;
  }
}

/** @throws for a list that holds itself, or others without an end. */
function textOf(value: unknown): string {
  let left = MAX_PARTS;
  return JSON.stringify(value, (_, part) => {
    if (left-- === 0) throw new RangeError("too many parts");
    return part;
  });
}

/** The top-level keys; null if the text is not a YAML mapping. */
function parse(text: string): Record<string, unknown> | null {
  try {
    const content = parseYaml(text, { schema: "core", onWarning: () => {} }) ?? {};
    return typeof content === "object" && !Array.isArray(content) ? { ...content } : null;
  } catch {
    return null;
  }
}

/**
 * YAML as a person would write it: without quotes where that is safe, otherwise in double quotes. Nothing at all
 * becomes null, which leaves the key out; the text "null", which is the name of a sound device, stays a text.
 */
function scalar(value: string): string {
  if (value === "") return "null";
  const isPlain = /^[\w/][\w./+-]*(:[\w/][\w./+-]*)*$/.test(value) &&
    String(parse(`key: ${value}`)?.key ?? "") === value;
  return isPlain ? value : JSON.stringify(value);
}
