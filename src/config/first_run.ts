// The configuration of a machine: the usual file and the variables of the service. Where nobody has set
// anything up there is one thing to say, because a list of every key that is missing helps nobody. What a
// configuration is, config.ts knows.

import { readNamedTextSync } from "../system/disk.ts";
import { type Config, ConfigError, loadConfig } from "./config.ts";
import { parseEnvironmentFile } from "./environment_file.ts";
import { fileFailure, isThere, type ReadTextFile } from "./file_failure.ts";
import { DEFAULT_CONFIG_PATH, ENVIRONMENT_PATH, findConfigPath, UNIT_PATH } from "./places.ts";

/** Neither a file nor a variable gives a configuration. */
export class NoConfigError extends ConfigError {
  /**
   * @param reason without a full stop
   * @param fix what to do about it
   */
  constructor(readonly reason: string, readonly fix: string) {
    super([`${reason}. ${fix}`]);
    this.name = "NoConfigError";
  }
}

/** It is not set up either: the program was only copied to this machine. */
export class NotSetUpError extends NoConfigError {
  /** @param command that sets this machine up. */
  constructor(readonly command: string) {
    super("recorder-agent is not set up yet", `To set it up: ${command}`);
    this.name = "NotSetUpError";
  }
}

/** The files of an installation. */
export interface Installation {
  readonly config: string;
  /** The variables of the service. */
  readonly environment: string;
  readonly unit: string;
}

export interface GivenConfig {
  /** The file named by -c. */
  readonly explicit: string | undefined;
  readonly env: Readonly<Record<string, string>>;
  /** Path of this program; empty if it runs from source. */
  readonly executable: string;
  /** Used if no file is named; default: the usual one. */
  readonly installation?: Installation;
  readonly readTextFile?: ReadTextFile;
  /** As for `loadConfig`. */
  readonly checksFiles?: boolean;
  readonly without?: readonly string[];
}

export interface LoadedConfig {
  /** The files that it was read from; empty if there are only variables. */
  readonly paths: readonly string[];
  readonly config: Config;
  /** The variables of the service; those that name a proxy are no keys. */
  readonly environment: Readonly<Record<string, string>>;
}

const USUAL: Installation = {
  config: DEFAULT_CONFIG_PATH,
  environment: ENVIRONMENT_PATH,
  unit: UNIT_PATH,
};

/**
 * The configuration. Without a file that is named it is that of the service on this machine, so that the
 * file with the service's variables counts as well, if this user may read it.
 * @throws {NoConfigError} if there is nothing at all
 * @throws {ConfigError} with all problems
 */
export function loadGivenConfig(
  { explicit, env, executable, installation = USUAL, ...options }: GivenConfig,
): LoadedConfig {
  const { readTextFile = readNamedTextSync } = options;
  const path = findConfigPath(explicit, installation.config);
  // systemd has read that file already for the service itself.
  const isService = (env.NOTIFY_SOCKET ?? "") !== "";
  const file = explicit !== undefined || isService
    ? NOTHING
    : readVariables(installation.environment, readTextFile);
  const all = { ...file.variables, ...env };
  const isSet = ([name, value]: [string, string]) => name.startsWith("RA_") && value.trim() !== "";
  if (path === null && !Object.entries(all).some(isSet)) {
    if (file.failure !== null) {
      throw new ConfigError([
        `${installation.environment}: the file with the variables of the service ${file.failure}`,
      ]);
    }
    throw nothingGiven(executable, installation);
  }
  const paths = [
    ...(path === null ? [] : [path]),
    ...(Object.keys(file.variables).length > 0 ? [installation.environment] : []),
  ];
  const environment = { ...env, ...file.variables };
  return { paths, config: loadConfig({ ...options, path, env: all }), environment };
}

interface VariablesFile {
  readonly variables: Readonly<Record<string, string>>;
  /** Why a file that exists cannot be read. */
  readonly failure: string | null;
}

const NOTHING: VariablesFile = { variables: {}, failure: null };

function readVariables(path: string, readTextFile: ReadTextFile): VariablesFile {
  try {
    return { variables: parseEnvironmentFile(readTextFile(path)), failure: null };
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return NOTHING;
    return { variables: {}, failure: fileFailure(error) };
  }
}

function nothingGiven(executable: string, { config, environment, unit }: Installation) {
  if (!isThere(unit)) return new NotSetUpError(setUpCommand(executable));
  return new NoConfigError(
    `The service is installed, but there is neither ${config} nor a variable RA_… in ${environment}`,
    `${
      commandLine(executable, "install")
    } writes the configuration; variables that the unit itself ` +
      `sets (systemctl cat recorder-agent) belong in ${environment}`,
  );
}

/** From source there is no `install`: a copy of the example is edited. */
function setUpCommand(executable: string): string {
  if (executable !== "") return commandLine(executable, "install");
  return "cp config.yaml.example config.yaml, write your values into it, and add -c config.yaml";
}

/** How root runs a command of this program. One that was only copied to the machine is not on the PATH. */
export function commandLine(executable: string, command: string): string {
  if (executable === "") return `sudo deno run -A main.ts ${command}`;
  const isInstalled = /^\/usr\/(local\/)?bin\/recorder-agent$/.test(executable);
  return `sudo ${isInstalled ? "recorder-agent" : executable} ${command}`;
}
