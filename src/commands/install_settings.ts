// The settings of `install`: from the command line, from the environment and from the person. Pure except
// for the questions, which it asks through the caller. The table of keys defines what to ask; loadConfig
// decides whether a value is valid; config_edit.ts writes them into a file.

import { type Key, shortMeaningOf, variableOf } from "../config/key.ts";
import { isSecret } from "../config/config_values.ts";
import { refusalOf } from "../config/key_values.ts";
import { KEY_TABLE } from "../config/keys.ts";

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
  const keys = Object.keys(KEY_TABLE);
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
    const key = KEY_TABLE[name];
    if (key !== undefined && isSecret(key.kind)) throw new Error(sayExposed(name, key));
    settings.set(name, pair.slice(at + 1));
  }
  return settings;
}

/** Why a secret is not taken from the command line, and how to give it. */
function sayExposed(name: string, { install }: Key): string {
  const variable = variableOf(name);
  const onTerminal = install === undefined ? "" : "run install on a terminal, where it asks, or ";
  return `Cannot use --set ${name}=… as a secret must not be on a command line, which every user of ` +
    `this machine can read: ${onTerminal}give it as a variable: ` +
    `${variable}=$(cat FILE) sudo --preserve-env=${variable} recorder-agent install`;
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

/** Asks for each missing key, again after an answer that is not valid. Null: the person gave up. */
export async function askFor(missing: readonly string[], ask: Ask): Promise<Settings | null> {
  const answers = new Map<string, string>();
  for (const [name, key] of Object.entries(KEY_TABLE)) {
    if (!missing.includes(name)) continue;
    const options = {
      ...(key.install === "suggests_uuid" ? { suggestion: crypto.randomUUID() } : {}),
      secret: key.install === "asks_secretly",
    };
    let refusal: string | null = null;
    do {
      const before: string = refusal === null ? "" : `${refusal}\n`;
      const answer = await ask(before + questionOf(name, key), options);
      if (answer === null) return null;
      refusal = refusalOf(name, key, answer.trim());
      answers.set(name, answer.trim());
    } while (refusal !== null);
  }
  return answers;
}

/** The question for a key. */
export function questionOf(name: string, key: Key): string {
  const hint = key.install === "asks_secretly"
    ? " (not shown)"
    : key.install === "asks_with_example"
    ? `, for instance ${key.placeholder}`
    : "";
  return `${name}, ${shortMeaningOf(key)}${hint}`;
}

function namesWhere(isWanted: (key: Key) => boolean): string[] {
  return Object.entries(KEY_TABLE).filter(([, key]) => isWanted(key)).map(([name]) => name);
}
