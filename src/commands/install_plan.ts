// What `install` will write, from the settings that it is given or asks for, checked in the same way as the service
// checks them. It changes nothing: install.ts makes steps of it and carries them out.

import { exists, ifThere, readNamedText, readNamedTextSync } from "../system/disk.ts";
import { type Config, loadConfig } from "../config/config.ts";
import { quote } from "../config/config_values.ts";
import { parseEnvironmentFile } from "../config/environment_file.ts";
import { variableOf } from "../config/key.ts";
import { ENVIRONMENT_PATH, STATE_DIR } from "../config/places.ts";
import { TOKEN_KEYS } from "../config/token.ts";
import { refuseTransports } from "../config/transport.ts";
import { applySettings } from "./config_edit.ts";
import { folderOf } from "./install_drop_in.ts";
import { idOf } from "./install_files.ts";
import { CONFIG, DROP_IN, TOKEN, USER } from "./install_places.ts";
import { contentsOf, pathIn } from "./install_root.ts";
import {
  type Ask,
  askFor,
  missingKeys,
  placeholderKeys,
  readSettings,
  type Settings,
  TOKEN_KEY,
} from "./install_settings.ts";
import { boardIds, readTaken } from "./install_take.ts";
import { lookAt, refuseSpool } from "./spool_folder.ts";
import { askOnTerminal } from "./terminal.ts";

/** Where the settings come from. */
export interface PlanOptions {
  /** The system to install into; "/" is the one that runs. */
  readonly root: string;
  /** `key=value` for the configuration. */
  readonly set: readonly string[];
  /** A file with further settings, which is wiped and removed afterwards. */
  readonly take?: string | undefined;
  readonly env: Readonly<Record<string, string>>;
  /** Null: there is no person to ask. */
  readonly ask?: Ask | null;
}

/** The wanted state of the system. */
export interface Plan {
  readonly configText: string;
  readonly token: string | null;
  /** In the system, free of links. */
  readonly spoolDir: string;
  /** Whether systemd creates it, as part of StateDirectory=. */
  readonly isSpoolOfUnit: boolean;
  readonly healthPort: number;
}

/** The settings that are given, with the answers of the person to what is missing. Null: the person gave up. */
export async function readAnswers(options: PlanOptions): Promise<Settings | null> {
  const { root, take, ask = take === undefined ? askOnTerminal() : null } = options;
  const taken = take === undefined ? [] : await readTaken(take);
  const settings = new Map([...taken, ...readSettings(options.set, options.env)]);
  refuseOverridden(settings, await readVariables(root));
  const hasConfig = await exists(contentsOf(root, CONFIG));
  const hasToken = await exists(contentsOf(root, TOKEN)) || hasConfig;
  // If a configuration exists, loadConfig reports what is missing in it.
  const known = (key: string) => key === TOKEN_KEY ? hasToken : hasConfig;
  if (take !== undefined) {
    const ids = await boardIds(root, missingKeys(settings, known));
    for (const [key, id] of ids) settings.set(key, id);
  }
  const missing = missingKeys(settings, known);
  if (missing.length > 0) {
    if (ask === null) {
      throw new Error(
        `Cannot install without ${missing.join(", ")}: give each with --set KEY=VALUE or its RA_ ` +
          `variable${
            take === undefined ? "" : ` or in ${take}`
          }, or run install on a terminal, where it asks`,
      );
    }
    const answers = await askFor(missing, ask);
    if (answers === null) return null;
    for (const [key, value] of answers) settings.set(key, value);
  }
  return settings;
}

/** Everything that will be written, checked in the same way as the service checks it. */
export async function makePlan(root: string, settings: Settings): Promise<Plan> {
  const path = contentsOf(root, CONFIG);
  const before = await exists(path) ? await readNamedText(path) : null;
  const variables = await readVariables(root);
  refuseOverridden(settings, variables);
  const token = settings.get(TOKEN_KEY) ?? null;
  const configText = applySettings(
    before ?? await readAsset("config.yaml.example", placeholderKeys()),
    settings,
  );
  const credentials = "/run/credentials/recorder-agent.service";
  const config = loadConfig({
    path: CONFIG,
    env: {
      ...variables,
      ...(token === null ? { CREDENTIALS_DIRECTORY: credentials } : { RA_INGEST_TOKEN: token }),
    },
    readTextFile: (path) => {
      if (path === CONFIG) return configText;
      const place = path === `${credentials}/ingest-token` ? TOKEN : path;
      return readNamedTextSync(contentsOf(root, place));
    },
  });
  const insecure = refuseTransports(config);
  if (insecure.length > 0) throw new Error(`Cannot install as ${insecure.join("\nand as ")}`);
  return { configText, token, healthPort: config.healthPort, ...await planSpool(root, config) };
}

/** Where the spool is, once it is sure that the folder is a new one, an empty one or a spool already. */
async function planSpool(
  root: string,
  config: Config,
): Promise<Pick<Plan, "spoolDir" | "isSpoolOfUnit">> {
  const spoolDir = pathIn(root, config.spoolDir);
  const isSpoolOfUnit = spoolDir.startsWith(`${pathIn(root, STATE_DIR)}/`);
  const user = await idOf(root, "passwd", USER);
  const refusal = isSpoolOfUnit
    ? null
    : await refuseSpool(spoolDir, contentsOf(root, spoolDir), user) ??
      await refuseMissing(root, config.spoolDir, spoolDir, user);
  if (refusal === null) return { spoolDir, isSpoolOfUnit };
  const [named, real] = [quote(config.spoolDir), quote(spoolDir)];
  throw new Error(
    `Cannot use spool_dir ${named}${named === real ? "" : `, which is ${real},`} as ${refusal}`,
  );
}

/**
 * Why the folder of an earlier installation must not be created once more, or null: what is below the mount point of
 * a disk that is missing has no spool, and would be on the SD card.
 */
async function refuseMissing(
  root: string,
  named: string,
  spoolDir: string,
  user: number | null,
): Promise<string | null> {
  const dropIn = await readNamedText(contentsOf(root, DROP_IN)).catch(() => "");
  const before = folderOf(dropIn);
  // The releases before 0.3.0 wrote it as the configuration names it.
  if (user === null || (before !== spoolDir && before !== named)) return null;
  const target = contentsOf(root, spoolDir);
  if ((await lookAt(target)).kind === "spool") return null;
  // Without a start of the service since then, it is empty.
  if ((await ifThere(Deno.stat(target)))?.uid === user) return null;
  return `its disk must be mounted, and the recordings of the earlier installation are not there: mount it and try ` +
    `again; if it is lost, remove ${DROP_IN} and try again`;
}

/** The variables of the service, which override the configuration. */
async function readVariables(root: string): Promise<Record<string, string>> {
  const path = contentsOf(root, ENVIRONMENT_PATH);
  return await exists(path) ? parseEnvironmentFile(await readNamedText(path)) : {};
}

/** A setting that a variable of the service overrides would have no effect. */
function refuseOverridden(settings: Settings, variables: Readonly<Record<string, string>>): void {
  for (const key of settings.keys()) {
    const names = (key === TOKEN_KEY ? TOKEN_KEYS : [key]).map(variableOf);
    const name = names.find((name) => (variables[name] ?? "").trim() !== "");
    if (name === undefined) continue;
    throw new Error(
      `Cannot set ${key} as ${ENVIRONMENT_PATH} must not override it, and sets ${name}: ` +
        `change it there, or remove it there and try again`,
    );
  }
}

/** A file that is part of the program; the values of the `dropped` keys become null. */
export async function readAsset(name: string, dropped: readonly string[] = []): Promise<string> {
  const text = await Deno.readTextFile(new URL(`../../${name}`, import.meta.url));
  return dropped.reduce(
    (text, key) => text.replace(new RegExp(`^${key}:.*$`, "m"), `${key}: null`),
    text,
  );
}
