/**
 * Where the configuration comes from: the usual paths, and the environment, which this module alone
 * reads and sets. It never looks into a file.
 */

/** Where the configuration is looked for when no file is named. */
export const DEFAULT_CONFIG_PATH = "/etc/recorder-agent/config.yaml";

/** The variables of the service: EnvironmentFile= of the unit. */
export const ENVIRONMENT_PATH = "/etc/recorder-agent/env";
/** The state folder of the service: StateDirectory= of the unit. */
export const STATE_DIR = "/var/lib/recorder-agent";
/** Where `install` writes the unit. */
export const UNIT_PATH = "/etc/systemd/system/recorder-agent.service";

/** Variables of the service manager. Together with RA_…, only this program is to have them. */
const OF_SERVICE_MANAGER = [
  ...["NOTIFY_SOCKET", "WATCHDOG_USEC", "RUNTIME_DIRECTORY", "CREDENTIALS_DIRECTORY"],
  ...["STATE_DIRECTORY", "JOURNAL_STREAM"],
];
/** The standard variables that name a proxy, also in lower case. */
const PROXY_VARIABLES = ["HTTPS_PROXY", "HTTP_PROXY", "ALL_PROXY", "NO_PROXY"];

/**
 * Takes the environment variables this program looks at: all that begin with RA_, and a few of the
 * system's. They are removed from the environment of the process, so that no child inherits the
 * token, the password of a proxy or the socket of the service manager, and that no client of the
 * runtime uses a proxy; a second call finds only TZ. The compiled program may
 * see no others: it runs with `--ignore-env`, so that listing the environment gives those it is
 * permitted.
 */
export function takeEnvironment(): Record<string, string> {
  const others = [
    ...OF_SERVICE_MANAGER,
    ...PROXY_VARIABLES.flatMap((name) => [name, name.toLowerCase()]),
  ];
  const taken: Record<string, string> = {};
  for (const [name, value] of Object.entries(Deno.env.toObject())) {
    const isOwn = name.startsWith("RA_") || others.includes(name);
    if (isOwn || name === "TZ") taken[name] = value;
    if (isOwn) Deno.env.delete(name);
  }
  return taken;
}

/**
 * The configuration file to read: the one named, else the usual one unless it does not exist (one
 * that cannot be looked at is returned, so that reading it says why), else null.
 */
export function findConfigPath(
  explicit: string | undefined,
  usual: string = DEFAULT_CONFIG_PATH,
): string | null {
  if (explicit !== undefined) return explicit;
  try {
    Deno.statSync(usual);
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return null;
  }
  return usual;
}

/**
 * From now on the process trusts no public authority, but only those that a connection names. It must be
 * called before the first TLS connection: the runtime reads this variable once.
 */
export function trustNoPublicAuthority(): void {
  Deno.env.set("DENO_TLS_CA_STORE", "");
}
