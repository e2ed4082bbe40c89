// What `install` writes into config.yaml: the settings it was given, asked for or found, put into the
// lines of a configuration text so that its comments stay. Pure but for the questions, which it asks
// through the caller. What to ask follows from the table of keys; whether a value is good, loadConfig says.

import { type Key, type KeyTable, shortMeaningOf, variableOf } from "../config/key.ts";
import { KEYS } from "../config/keys.ts";

/** Values by key of the configuration, as a person writes them. */
export type Settings = ReadonlyMap<string, string>;

/** Asks a person; what is typed is not shown if `secret`. Null: the person gave up. */
export type Ask = (question: string, options: {
  readonly suggestion?: string;
  readonly secret?: boolean;
}) => Promise<string | null>;

/** In a file of its own, which only root reads; never in config.yaml. */
export const TOKEN_KEY = "ingest_token";
/**
 * The settings of the command line (`key=value`) and, for keys it does not name, of the RA_ variables.
 * @throws Error naming what is no `key=value` or no key.
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
      // What stands behind the sign may be the token.
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

/** The keys that are asked for and that neither `settings` nor `known` have. */
export function missingKeys(settings: Settings, known: (key: string) => boolean): string[] {
  return namesWhere((key) => key.install !== undefined)
    .filter((name) => !settings.has(name) && !known(name));
}

/** The keys whose value in the example only stands for what each till has of its own. */
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

/** What a person is asked for a key of the table. */
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
 * The text with each setting in its line; one that has no line yet gets one at the end. Comments and
 * other lines stay as they are. The token never gets into it: a line that holds one is emptied.
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

/** YAML as a person would write it: bare where that is safe, else in double quotes. */
function scalar(value: string): string {
  if (value === "") return "null";
  return /^[\w/][\w./+-]*(:[\w/][\w./+-]*)*$/.test(value) ? value : JSON.stringify(value);
}
