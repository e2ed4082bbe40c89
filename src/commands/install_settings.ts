// What `install` writes into config.yaml: the settings it was given, asked for or found, put into the
// lines of a configuration text so that its comments stay. Pure but for the questions, which it asks
// through the caller. Whether a value is good is config.ts's to say.

import { configKeys } from "../config/config.ts";

/** Values by key of the configuration, as a person writes them. */
export type Settings = ReadonlyMap<string, string>;

/** Asks a person; what is typed is not shown if `secret`. Null: the person gave up. */
export type Ask = (question: string, options: {
  readonly suggestion?: string;
  readonly secret?: boolean;
}) => Promise<string | null>;

/** In a file of its own, which only root reads; never in config.yaml. */
export const TOKEN_KEY = "ingest_token";
/** What a till cannot record without, with the words to ask for it. */
const REQUIRED: readonly (readonly [key: string, question: string])[] = [
  ["point_id", "point_id, the UUID of the point of sale"],
  ["register_id", "register_id, the UUID of the till"],
  ["device_id", "device_id, the UUID of this device"],
  ["ingest_base_url", "ingest_base_url, for instance https://ingest.example.com"],
  [TOKEN_KEY, "ingest_token, the Bearer token of the Ingest API (not shown)"],
];
/** Ids that a technician may make up on the spot; the point of sale exists already. */
const FRESH_IDS = ["register_id", "device_id"];

/**
 * The settings of the command line (`key=value`) and, for keys it does not name, of the RA_ variables.
 * @throws Error naming what is no `key=value` or no key.
 */
export function readSettings(
  pairs: readonly string[],
  env: Readonly<Record<string, string>>,
): Map<string, string> {
  const settings = new Map<string, string>();
  const keys = configKeys();
  for (const { name, variable } of keys) {
    const value = env[variable]?.trim() ?? "";
    if (value !== "") settings.set(name, value);
  }
  for (const pair of pairs) {
    const at = pair.indexOf("=");
    const name = pair.slice(0, Math.max(0, at));
    if (!keys.some((key) => key.name === name)) {
      // What stands behind the sign may be the token.
      throw new Error(
        `Cannot use --set ${
          at < 0 ? "…" : `${name}=…`
        } as it must be KEY=VALUE with one of the keys ` +
          keys.map((key) => key.name).join(", "),
      );
    }
    settings.set(name, pair.slice(at + 1));
  }
  return settings;
}

/** The required keys that neither `settings` nor `known` have. */
export function missingKeys(settings: Settings, known: (key: string) => boolean): string[] {
  return REQUIRED.map(([key]) => key).filter((key) => !settings.has(key) && !known(key));
}

/** Asks for each missing key. Null: the person gave up. */
export async function askFor(missing: readonly string[], ask: Ask): Promise<Settings | null> {
  const answers = new Map<string, string>();
  for (const key of missing) {
    const question = REQUIRED.find(([name]) => name === key)?.[1] ?? key;
    const answer = await ask(question, {
      ...(FRESH_IDS.includes(key) ? { suggestion: crypto.randomUUID() } : {}),
      secret: key === TOKEN_KEY,
    });
    if (answer === null) return null;
    answers.set(key, answer.trim());
  }
  return answers;
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
