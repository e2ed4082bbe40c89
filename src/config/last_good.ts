/**
 * The last settings that worked: those that the service has run with, kept in its state folder, so that a
 * slip in the file, or a rule that a new release brings, costs no recordings. The file holds values, not
 * what was written, because the release that wrote them has checked them. It never logs.
 */

import { join } from "@std/path/join";
import { readOwnTextSync, writeWhole } from "../system/disk.ts";
import type { Config } from "./config.ts";
import { Refusal } from "./config_values.ts";
import { fieldOf, type Key, valueOf } from "./key.ts";
import { defaultValue } from "./key_values.ts";
import { KEY_TABLE } from "./keys.ts";
import { decodeValue, encodeValue } from "./value_text.ts";

type Environment = Readonly<Record<string, string>>;

export const LAST_GOOD_FILE = "last_good_config.json";
/** Its variable is still there when the file is wrong: the token need not be in two places. */
const TOKEN_KEY = "ingest_token";

/** Where the service keeps them; null if it has no state folder, because systemd did not start it. */
export function lastGoodPath(env: Environment): string | null {
  const [dir = ""] = (env.STATE_DIRECTORY ?? "").split(":");
  return dir === "" ? null : join(dir, LAST_GOOD_FILE);
}

/** Keeps settings, readable by the service alone. @throws the errors of the disk. */
export async function saveLastGood(path: string, config: Config, env: Environment): Promise<void> {
  const kept = tokenIn(env) === null ? config : { ...config, [fieldOf(TOKEN_KEY)]: null };
  const entries = Object.keys(KEY_TABLE).map((name) => [name, valueOf(kept, name)]);
  await writeWhole(path, `${encodeValue(Object.fromEntries(entries), 2)}\n`);
}

/**
 * The settings that were kept; null if there are none that this release can use. A key that is new has its
 * default. They are not checked again, except that each value has the type of its key.
 */
export function readLastGood(path: string, env: Environment): Config | null {
  let kept: unknown;
  try {
    kept = decodeValue(readOwnTextSync(path));
  } catch {
    return null;
  }
  if (typeof kept !== "object" || kept === null) return null;
  const found = new Map<string, unknown>(Object.entries(kept));
  if (tokenIn(env) !== null) found.set(TOKEN_KEY, tokenIn(env));
  const values = new Map<string, unknown>();
  for (const [name, key] of Object.entries(KEY_TABLE)) {
    const value = found.get(name);
    const otherwise = defaultValue(key, values);
    if (value !== undefined && fits(key, value)) values.set(name, value);
    else if (otherwise !== undefined) values.set(name, otherwise);
    else return null;
  }
  // Each key has a value of its type.
  return Object.fromEntries(
    [...values].map(([name, value]) => [fieldOf(name), value]),
  ) as unknown as Config;
}

function tokenIn(env: Environment): string | null {
  const token = (env.RA_INGEST_TOKEN ?? "").trim();
  return token === "" ? null : token;
}

/** Whether a value has the type of the key; that of one without a default is a text or an object. */
function fits(key: Key, value: unknown): boolean {
  if (value === null) return key.absent !== undefined;
  if (key.default === undefined) {
    return ["string", "number", "object"].includes(typeof value);
  }
  const example = key.kind.read(key.default);
  // Some keys take a word or a number.
  return example instanceof Refusal || typeof example === typeof value ||
    (typeof example === "string" && typeof value === "number");
}
