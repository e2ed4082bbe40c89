// What `install` writes into config.yaml: the settings from the command line, from the environment and
// from the person, written into the lines of a configuration text so that its comments stay. Pure except
// for the questions, which it asks through the caller. The table of keys defines what to ask; loadConfig
// decides whether a value is valid.

import { type Key, type KeyTable, shortMeaningOf, variableOf } from "../config/key.ts";
import { KEYS } from "../config/keys.ts";

/** Values by key of the configuration, as a person writes them. */
export type Settings = ReadonlyMap<string, string>;

/** Asks a person; with `secret` the input is not shown. Null: the person gave up. */
export type Ask = (question: string, options: {
  readonly suggestion?: string;
  readonly secret?: boolean;
}) => Promise<string | null>;

/** Stored in a separate file that only root can read; never in config.yaml. */
export const TOKEN_KEY = "ingest_token";
/**
 * The settings of the command line (`key=value`) and, for keys that are not among them, of the RA_
 * variables.
 * @throws an error that names what is not `key=value` or not a key.
 */
export function readSettings(
  pairs: readonly string[],
  env: Readonly<Record<string, string>>,
): Map<string, string> {
  const settings = new Map<string, string>();
  const keys = Object.keys(KEYS);
  for (const name of keys) {
    const value = env[variableOf(name)]?.trim() ?? "";
    if (value !== "") settings.set(name, value);
  }
  for (const pair of pairs) {
    const at = pair.indexOf("=");
    const name = pair.slice(0, Math.max(0, at));
    if (!keys.includes(name)) {
      // The text after the sign may be the token.
      throw new Error(
        `Cannot use --set ${
          at < 0 ? "…" : `${name}=…`
        } as it must be KEY=VALUE with one of the keys ` +
          keys.join(", "),
      );
    }
    settings.set(name, pair.slice(at + 1));
  }
  return settings;
}

/** The keys that `install` asks for and that neither `settings` nor `known` have. */
export function missingKeys(settings: Settings, known: (key: string) => boolean): string[] {
  return namesWhere((key) => key.install !== undefined)
    .filter((name) => !settings.has(name) && !known(name));
}

/** The keys whose value in the example is only a placeholder, because each till has its own. */
export function placeholderKeys(): string[] {
  return namesWhere((key) => key.placeholder !== undefined);
}

/** Asks for each missing key. Null: the person gave up. */
export async function askFor(missing: readonly string[], ask: Ask): Promise<Settings | null> {
  const table: KeyTable = KEYS;
  const answers = new Map<string, string>();
  for (const name of missing) {
    const { install } = table[name] ?? {};
    const answer = await ask(questionOf(name, table), {
      ...(install === "suggests_uuid" ? { suggestion: crypto.randomUUID() } : {}),
      secret: install === "asks_secretly",
    });
    if (answer === null) return null;
    answers.set(name, answer.trim());
  }
  return answers;
}

/** The question for a key of the table. */
export function questionOf(name: string, table: KeyTable): string {
  const key = table[name];
  if (key === undefined) return name;
  const hint = key.install === "asks_secretly"
    ? " (not shown)"
    : key.install === "asks_with_example"
    ? `, for instance ${key.placeholder}`
    : "";
  return `${name}, ${shortMeaningOf(key)}${hint}`;
}

function namesWhere(isWanted: (key: Key) => boolean): string[] {
  return Object.entries(KEYS).filter(([, key]) => isWanted(key)).map(([name]) => name);
}

/**
 * Returns the text with each setting in its line; a setting that has no line gets one at the end. Comments
 * and other lines do not change. The text never contains the token: a line that has one is emptied.
 */
export function applySettings(text: string, settings: Settings): string {
  let result = text;
  for (const [key, value] of settings) {
    const line = new RegExp(`^${key}[ \\t]*:.*$`, "m");
    if (key === TOKEN_KEY) {
      result = result.replace(line, `${key}: null`);
      continue;
    }
    const written = `${key}: ${scalar(value)}`;
    if (line.test(result)) result = result.replace(line, () => written);
    else result = `${result}${result === "" || result.endsWith("\n") ? "" : "\n"}${written}\n`;
  }
  return result;
}

/** YAML as a person would write it: without quotes where that is safe, otherwise in double quotes. */
function scalar(value: string): string {
  if (value === "") return "null";
  return /^[\w/][\w./+-]*(:[\w/][\w./+-]*)*$/.test(value) ? value : JSON.stringify(value);
}
