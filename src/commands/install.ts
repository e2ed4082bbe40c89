// The command `recorder-agent install`: sets up the service on a machine to which the program was copied.
// It asks for the values that it needs, checks all of them before it changes anything, and then carries
// out one step after the other; each step may be repeated. Installing again is an upgrade: configuration
// and token stay.

import { exists, readNamedText, readNamedTextSync } from "../system/disk.ts";
import { type Config, loadConfig } from "../config/config.ts";
import { ENVIRONMENT_PATH, STATE_DIR } from "../config/places.ts";
import { variableOf } from "../config/key.ts";
import { TOKEN_KEYS } from "../config/token.ts";
import { refuseTransports } from "../config/transport.ts";
import { VERSION } from "../system/version.ts";
import { applySettings } from "./config_edit.ts";
import {
  type Ask,
  askFor,
  missingKeys,
  placeholderKeys,
  readSettings,
  type Settings,
  TOKEN_KEY,
} from "./install_settings.ts";
import {
  carryOut,
  fileStep,
  folderStep,
  linkStep,
  programStep,
  removeStep,
  runStep,
  type Step,
  StepError,
} from "./install_steps.ts";
import { isPackaged, PACKAGED_PROGRAM, PACKAGED_UNIT, refuseSecond } from "./install_package.ts";
import {
  awaitDecision,
  judgeSteps,
  keepStep,
  packagedJudgeStep,
  removeJudgeSteps,
  requestStep,
} from "./install_update.ts";
import { idOf } from "./install_files.ts";
import { contentsOf, linkedAccounts, pathIn, under } from "./install_root.ts";
import { boardIds, readTaken, wipeStep } from "./install_take.ts";
import { refuseSpool } from "./spool_folder.ts";
import { parseEnvironmentFile } from "../config/environment_file.ts";
import { quote } from "../config/config_values.ts";
import {
  CONFIG,
  CONFIG_DIR,
  DROP_IN,
  PROGRAM,
  TOKEN,
  UNIT,
  USER,
  USERS,
  WANTS,
} from "./install_places.ts";
import { checkPort, startService } from "./install_start.ts";
import { SERVICE } from "./service.ts";
import { askOnTerminal, printText } from "./terminal.ts";
import { PROGRAMS } from "../system/programs.ts";
import { messageOf } from "../system/error_text.ts";

/** The service's user, in the group that may open sound devices (sysusers.d(5)). */
const USERS_TEXT = `u ${USER} - "recorder-agent" ${STATE_DIR}\nm ${USER} audio\n`;
export interface InstallOptions {
  /** The system to install into; "/" is the one that runs. */
  readonly root: string;
  /** `key=value` for the configuration. */
  readonly set: readonly string[];
  /** A file with further settings, which is wiped and removed afterwards. */
  readonly take?: string | undefined;
  readonly env: Readonly<Record<string, string>>;
  readonly dryRun: boolean;
  /** The program to install. */
  readonly executable: string;
  /** Null: there is no person to ask. */
  readonly ask?: Ask | null;
  readonly print?: (line: string) => void;
}

/** The wanted state of the system. */
interface Plan {
  readonly configText: string;
  readonly token: string | null;
  /** In the system, free of links. */
  readonly spoolDir: string;
  /** Whether systemd creates it, as part of StateDirectory=. */
  readonly isSpoolOfUnit: boolean;
  readonly healthPort: number;
}

/** Returns the exit code. Errors are printed as sentences; in that case nothing is changed. */
export async function runInstall(options: InstallOptions): Promise<number> {
  const { root, dryRun, print = printText } = options;
  const isLive = root === "/";
  try {
    await checkSystem(root, isLive, options.executable);
    if (isLive && !dryRun) await awaitDecision(root, print);
    const plan = await makePlan(options);
    if (plan === null) {
      print("Nothing was changed.");
      return 1;
    }
    if (isLive) await checkPort(plan.healthPort);
    print(
      `\nrecorder-agent ${VERSION} ${dryRun ? "would be installed" : "is being installed"}` +
        `${isLive ? "" : ` into ${root}`}:`,
    );
    const facts = await readFacts(options, isLive);
    await carryOut(await fileSteps(options, facts, plan), { dryRun, print });
    if (dryRun) print("\nNothing was changed (--dry-run).");
    else if (isLive) return await startService(plan.healthPort, facts.isUpdate, print);
    else print(`\nInstalled into ${root}; the service starts when that system boots.`);
    return 0;
  } catch (error) {
    print(messageOf(error));
    if (error instanceof StepError) print("The changes were undone, as listed above.");
    return 1;
  }
}

async function checkSystem(root: string, isLive: boolean, executable: string): Promise<void> {
  if (Deno.uid() !== 0) {
    throw new Error("Cannot install as this needs root: try again with sudo");
  }
  if (!await exists(root)) throw new Error(`Cannot install into ${root} as it does not exist`);
  if (isLive && !await exists("/run/systemd/system")) {
    throw new Error(
      "Cannot install as this system was not started by systemd, which the service needs: run " +
        "recorder-agent -c FILE under the supervisor of this system, or install into a folder with --root",
    );
  }
  const linked = linkedAccounts(root);
  if (linked !== null) {
    throw new Error(
      `Cannot install into ${root} as ${linked} must be a file that is not behind a link there: programs ` +
        `that write accounts would follow it on this machine`,
    );
  }
  if (isLive && await isPackaged(root)) refuseSecond(executable);
  if (executable === "") {
    throw new Error(
      "Cannot install as this is the source run by deno: build the program with `deno task compile`, " +
        "copy it to the machine and run its install there",
    );
  }
  const ffmpegs = ["/usr/bin/ffmpeg", "/usr/local/bin/ffmpeg"];
  const found = await Promise.all(ffmpegs.map((path) => exists(contentsOf(root, path))));
  if (isLive && !found.includes(true)) {
    throw new Error(
      "Cannot install as ffmpeg is missing: apt-get install --yes ffmpeg, then try again",
    );
  }
}

/**
 * Everything that will be written, checked in the same way as the service checks it. Null: the person gave
 * up.
 */
async function makePlan(options: InstallOptions): Promise<Plan | null> {
  const { root, take, ask = take === undefined ? askOnTerminal() : null } = options;
  const [configPath, tokenPath] = [contentsOf(root, CONFIG), contentsOf(root, TOKEN)];
  const before = await exists(configPath) ? await readNamedText(configPath) : null;
  const taken = take === undefined ? [] : await readTaken(take);
  const settings = new Map([...taken, ...readSettings(options.set, options.env)]);
  const variables = await readVariables(root);
  refuseOverridden(settings, variables);
  const hasToken = await exists(tokenPath) || before !== null;
  // If a configuration exists, loadConfig reports below what is missing in it.
  const known = (key: string) => key === TOKEN_KEY ? hasToken : before !== null;
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
  const refusal = isSpoolOfUnit ? null : await refuseSpool(spoolDir, contentsOf(root, spoolDir));
  if (refusal === null) return { spoolDir, isSpoolOfUnit };
  const [named, real] = [quote(config.spoolDir), quote(spoolDir)];
  throw new Error(
    `Cannot use spool_dir ${named}${named === real ? "" : `, which is ${real},`} as ${refusal}`,
  );
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
async function readAsset(name: string, dropped: readonly string[] = []): Promise<string> {
  const text = await Deno.readTextFile(new URL(`../../${name}`, import.meta.url));
  return dropped.reduce(
    (text, key) => text.replace(new RegExp(`^${key}:.*$`, "m"), `${key}: null`),
    text,
  );
}

interface Facts {
  readonly hasDropIn: boolean;
  /** The Debian package, which brings program, units and user. */
  readonly hasPackage: boolean;
  /** A program that an earlier `install` has copied. */
  readonly hasCopy: boolean;
  /** Another program will run than before. */
  readonly isUpdate: boolean;
}

async function readFacts({ root, executable }: InstallOptions, isLive: boolean): Promise<Facts> {
  const hasPackage = await isPackaged(root);
  const hasCopy = await exists(contentsOf(root, UNIT)) && await exists(contentsOf(root, PROGRAM));
  const isOther = hasPackage || !await programStep("", root, executable, PROGRAM).isDone();
  return {
    hasDropIn: await exists(contentsOf(root, DROP_IN)),
    hasPackage,
    hasCopy,
    isUpdate: isLive && hasCopy && isOther,
  };
}

/** How the package takes over from a copied program, which becomes the way back. */
function takeOverSteps(root: string): Step[] {
  const old = `${PACKAGED_PROGRAM}.old`;
  return [
    programStep(`Keep ${PROGRAM} as ${old}`, root, contentsOf(root, PROGRAM), old),
    ...[WANTS, UNIT, PROGRAM].map((path) => removeStep(root, path)),
    ...removeJudgeSteps(root, [UNIT, PROGRAM]),
  ];
}

async function fileSteps(
  { root, executable, take }: InstallOptions,
  facts: Facts,
  plan: Plan,
): Promise<Step[]> {
  const encode = (text: string) => new TextEncoder().encode(text);
  const { hasPackage, isUpdate } = facts;
  const own = (...steps: Step[]) => hasPackage ? [] : steps;
  const steps = [
    ...own(
      fileStep(`Write ${USERS}`, root, USERS, () => encode(USERS_TEXT), { mode: 0o644 }),
      runStep(`Create the user ${USER} in the group audio`, [
        PROGRAMS.systemdSysusers,
        `--root=${root}`,
        under(root, USERS),
      ], { isDone: async () => await idOf(root, "passwd", USER) !== null }),
    ),
    folderStep(root, CONFIG_DIR, { mode: 0o750, group: USER }),
    ...own(programStep(`Copy the program to ${PROGRAM}`, root, executable, PROGRAM)),
    keepStep(root, CONFIG, encode(plan.configText), isUpdate),
    fileStep(`Write the configuration to ${CONFIG}`, root, CONFIG, () => encode(plan.configText), {
      mode: 0o640,
      group: USER,
    }),
  ];
  const { token, spoolDir, isSpoolOfUnit } = plan;
  if (token !== null) {
    steps.push(
      fileStep(
        `Write the token to ${TOKEN}, readable only by root`,
        root,
        TOKEN,
        () => encode(`${token}\n`),
        {
          mode: 0o600,
        },
      ),
    );
  }
  const unit = encode(await readAsset("recorder-agent.service"));
  steps.push(...own(
    keepStep(root, UNIT, unit, isUpdate),
    fileStep(`Write the unit to ${UNIT}`, root, UNIT, () => unit, { mode: 0o644 }),
    ...judgeSteps(root),
  ));
  const allow = `Allow the service to write to ${spoolDir} (${DROP_IN})`;
  const dropIn = (text: string) =>
    fileStep(allow, root, DROP_IN, () => encode(`[Service]\n${text}`), { mode: 0o644 });
  if (!isSpoolOfUnit) {
    steps.push(
      folderStep(root, spoolDir, { mode: 0o700, owner: USER, group: USER }),
      // Writable, but nothing in it can be started: NoExecPaths=/ does not reach it (see the unit).
      dropIn(
        ["ReadWritePaths", "NoExecPaths"].map((key) => `${key}=${quoteForUnit(spoolDir)}\n`).join(
          "",
        ),
      ),
    );
  } else if (facts.hasDropIn) {
    // Without the earlier folder, the service could not start once that is gone.
    steps.push(dropIn(""));
  }
  if (hasPackage && facts.hasCopy) steps.push(...takeOverSteps(root));
  if (hasPackage) steps.push(packagedJudgeStep(root));
  const enabled = hasPackage ? PACKAGED_UNIT : UNIT;
  steps.push(linkStep(`Enable the start of ${SERVICE} at every boot`, root, WANTS, enabled));
  if (isUpdate) steps.push(requestStep(root));
  if (take !== undefined) steps.push(wipeStep(take));
  return steps;
}

/** A path as a word in a unit: quoted, with its escapes and specifiers (systemd.syntax(7), systemd.unit(5)). */
export function quoteForUnit(path: string): string {
  const escaped = path.replaceAll("%", "%%");
  if (/^[\w./%+:@,-]+$/.test(escaped)) return escaped;
  return `"${escaped.replaceAll(/["\\]/g, "\\$&")}"`;
}
