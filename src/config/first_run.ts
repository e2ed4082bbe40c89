// The configuration of a machine, or the one thing to say where nobody has set anything up: then a list
// of every key that is missing helps nobody. What a configuration is, config.ts knows.

import { type Config, ConfigError, loadConfig } from "./config.ts";
import { findConfigPath } from "./places.ts";

/** Neither a file nor a variable gives a configuration. */
export class NotSetUpError extends ConfigError {
  /** @param command that sets this machine up. */
  constructor(readonly command: string) {
    super([`recorder-agent is not set up yet. To set it up: ${command}`]);
    this.name = "NotSetUpError";
  }
}

export interface GivenConfig {
  /** The file named by -c. */
  readonly explicit: string | undefined;
  readonly env: Readonly<Record<string, string>>;
  /** Path of this program; empty if it runs from source. */
  readonly executable: string;
  /** The file if none is named; default: the usual one. */
  readonly usual?: string;
}

/**
 * Path and content of the configuration; the path is null if there are only variables.
 * @throws {NotSetUpError} if there is nothing at all
 * @throws {ConfigError} with all problems
 */
export function loadGivenConfig(
  { explicit, env, executable, usual }: GivenConfig,
): { path: string | null; config: Config } {
  const path = findConfigPath(explicit, usual);
  const isSet = ([name, value]: [string, string]) => name.startsWith("RA_") && value.trim() !== "";
  if (path === null && !Object.entries(env).some(isSet)) {
    throw new NotSetUpError(setUpCommand(executable));
  }
  return { path, config: loadConfig({ path, env }) };
}

/** A program that was only copied to the machine is not on the PATH. */
function setUpCommand(executable: string): string {
  const isInstalled = executable === "" || executable === "/usr/local/bin/recorder-agent";
  return `sudo ${isInstalled ? "recorder-agent" : executable} install`;
}
