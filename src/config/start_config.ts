/**
 * The settings that the service starts with. Whatever is wrong with the configuration, it records if it can:
 *
 *   as written         nothing is wrong, or only what files hold that are read again for each request
 *   last good          the settings that it ran with before
 *   without delivery   as written, but without the keys of delivery, of reporting or of the port, whichever
 *                      are wrong; chunks wait
 *   none               what recording needs is wrong (ids, schedule, sound, storage), and it never ran
 *
 * It reads, and never writes or logs.
 */

import { type Config, ConfigError } from "./config.ts";
import { type GivenConfig, loadGivenConfig } from "./first_run.ts";
import type { GROUPS } from "./key.ts";
import { KEY_TABLE } from "./keys.ts";
import { lastGoodPath, readLastGood } from "./last_good.ts";

export interface StartConfig {
  readonly config: Config;
  readonly from: "as_written" | "last_good" | "without_delivery";
  /** What is wrong with the configuration as it is written, one line each. */
  readonly problems: readonly string[];
}

/** Keys that recording does not need, in groups of which each is used or left out as a whole. */
const DISPENSABLE: readonly (readonly string[])[] = [
  [
    "ingest_base_url",
    "allow_insecure_http",
    "ingest_token",
    "ingest_token_file",
    ...namesOf("delivery"),
  ],
  namesOf("health"),
  namesOf("fleet"),
];

/** @throws {ConfigError} with all problems, if it cannot record. */
export function loadStartConfig(given: GivenConfig): StartConfig {
  try {
    return { config: loadGivenConfig(given).config, from: "as_written", problems: [] };
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
    const { problems } = error;
    const asWritten = load({ ...given, checksFiles: false });
    if (asWritten !== null) return { config: asWritten, from: "as_written", problems };
    const path = lastGoodPath(given.env);
    const lastGood = path === null ? null : readLastGood(path, given.env);
    if (lastGood !== null) return { config: lastGood, from: "last_good", problems };
    const wrong = DISPENSABLE.filter((names) => {
      const others = DISPENSABLE.filter((other) => other !== names).flat();
      return load({ ...given, checksFiles: false, without: others }) === null;
    });
    const config = load({ ...given, checksFiles: false, without: wrong.flat() });
    if (config === null) throw error;
    return { config, from: "without_delivery", problems };
  }
}

function load(given: GivenConfig): Config | null {
  try {
    return loadGivenConfig(given).config;
  } catch (error) {
    if (error instanceof ConfigError) return null;
    throw error;
  }
}

function namesOf(group: keyof typeof GROUPS): string[] {
  return Object.entries(KEY_TABLE).filter(([, key]) => key.group === group).map(([name]) => name);
}
