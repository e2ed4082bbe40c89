// The command `recorder-agent uninstall`: removes what `install` has installed. Recordings, configuration
// and token stay unless it is told to purge them; files of others in their folders stay.

import { basename, dirname } from "node:path";
import { parseConfigFile } from "../config/config_file.ts";
import { Refusal, type Scalar } from "../config/config_values.ts";
import { parseEnvironmentFile } from "../config/environment_file.ts";
import { KEY_TABLE, KEYS } from "../config/keys.ts";
import { LAST_GOOD_FILE } from "../config/last_good.ts";
import { ENVIRONMENT_PATH, STATE_DIR } from "../config/places.ts";
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
import {
  carryOut,
  fileStep,
  removeStep,
  runProgram,
  runStep,
  type Step,
  StepError,
} from "./install_steps.ts";
import { lockSystem } from "./install_lock.ts";
import { isPackaged } from "./install_package.ts";
import { removeJudgeSteps } from "./install_update.ts";
import { idOf, ownerOf } from "./install_files.ts";
import { contentsOf, linkedAccounts, pathIn, under } from "./install_root.ts";
import { isTrial, lookAt, SPOOL_ENTRIES } from "./spool_folder.ts";
import { SERVICE, serviceState } from "./service.ts";
import { exists, readNamedTextSync } from "../system/disk.ts";
import { PROGRAMS } from "../system/programs.ts";
import { messageOf } from "../system/error_text.ts";
import { reportText } from "./terminal.ts";

export interface UninstallOptions {
  readonly root: string;
  /** Also removes recordings, configuration, token and user. */
  readonly purge: boolean;
  readonly dryRun: boolean;
  readonly print?: (line: string) => void;
}

/** Returns the exit code. */
export async function runUninstall(options: UninstallOptions): Promise<number> {
  const { root, purge, dryRun, print = reportText } = options;
  const isLive = root === "/";
  try {
    if (Deno.uid() !== 0) {
      throw new Error("Cannot uninstall as this needs root: try again with sudo");
    }
    using _lock = await lockSystem(root, "uninstall");
    const dropInDir = pathIn(root, dirname(DROP_IN));
    const dropIn = basename(DROP_IN);
    const dropIns = await planFolder(root, dropInDir, [...withRemains(dropIn), `${dropIn}.old`]);
    const purged = purge ? await planPurge(root, findSpoolDir(root)) : NOTHING;
    print(
      `recorder-agent ${dryRun ? "would be removed" : "is being removed"}${
        isLive ? "" : ` from ${root}`
      }:`,
    );
    const steps = [
      ...(isLive
        ? [
          runStep("Stop the service; the last chunk is finished and kept", [
            PROGRAMS.systemctl,
            "stop",
            SERVICE,
          ], async () => ["inactive", "unknown", null].includes(await serviceState())),
        ]
        : []),
      ...purged.steps,
      removeStep(root, WANTS),
      ...withRemains(UNIT).map((path) => removeStep(root, path)),
      ...removeJudgeSteps(root, purge ? [UNIT] : [UNIT, CONFIG]),
      ...dropIns.steps,
      ...(purge
        ? [
          ...withRemains(USERS).map((path) => removeStep(root, path)),
          userStep(root, isLive),
        ]
        : []),
      // The program goes last: until then it can be run again.
      ...[`${PROGRAM}.old`, ...withRemains(PROGRAM)].map((path) => removeStep(root, path)),
    ];
    await carryOut(steps, { dryRun, print });
    if (isLive && !dryRun) await runProgram([PROGRAMS.systemctl, "daemon-reload"]);
    const stays = [...purged.stays, ...dropIns.stays];
    if (stays.length > 0) print("\nThis stays:");
    for (const line of stays) print(`  ${line}`);
    if (await isPackaged(root)) {
      print("\nThe program belongs to the Debian package: sudo apt-get purge recorder-agent");
    }
    if (!purge) {
      print(
        `\nRecordings stay${
          spoolIn(root)
        }, configuration and token in ${CONFIG_DIR}: --purge also removes them.`,
      );
    }
    return 0;
  } catch (error) {
    print(messageOf(error));
    if (error instanceof StepError) {
      print("Fix this and run it again: it continues where it stopped.");
    }
    return 1;
  }
}

/** userdel would follow the links of an image on this machine: then the user stays. */
function userStep(root: string, isLive: boolean): Step {
  const step = runStep(`Remove the user ${USER}`, [
    PROGRAMS.userdel,
    ...(isLive ? [] : ["--prefix", root]),
    USER,
  ], async () => await idOf(root, "passwd", USER) === null);
  const linked = linkedAccounts(root);
  if (linked === null) return step;
  const refuse = () => {
    throw new Error(
      `${linked} must be a file that is not behind a link: remove ${USER} in that system`,
    );
  };
  return { ...step, apply: refuse };
}

/** Where the recordings are, if the configuration says so. */
function spoolIn(root: string): string {
  try {
    return ` in ${findSpoolDir(root)}`;
  } catch {
    return "";
  }
}

/** A file that `install` writes, after what a power cut may have left of it. */
function withRemains(path: string): string[] {
  return [`${path}.new`, path];
}

interface Plan {
  readonly steps: readonly Step[];
  /** What is not removed, for people. */
  readonly stays: readonly string[];
}

interface FolderPlan extends Plan {
  /** Whether nothing is there at the end. */
  readonly isRemoved: boolean;
}

const NOTHING: Plan = { steps: [], stays: [] };

/**
 * Secrets first, then recordings, then the configuration, which says where the recordings are. The usual spool
 * exists even if spool_dir names another folder: the unit creates it.
 */
async function planPurge(root: string, spoolDir: string): Promise<Plan> {
  const stateDir = pathIn(root, STATE_DIR);
  const usualDir = pathIn(root, `${STATE_DIR}/spool`);
  const usual = await planSpool(root, usualDir);
  const other = spoolDir === usualDir || spoolDir === stateDir
    ? null
    : await planSpool(root, spoolDir);
  const inner = new Map([[basename(usualDir), usual]]);
  if (other !== null && dirname(spoolDir) === stateDir) inner.set(basename(spoolDir), other);
  // The settings that were kept, which may hold the token.
  const lastGood = [`${LAST_GOOD_FILE}.tmp`, LAST_GOOD_FILE];
  const ours = [...lastGood, ...(spoolDir === stateDir ? SPOOL_ENTRIES : [])];
  const state = await planFolder(root, stateDir, ours, inner);
  const plans = [...(other === null ? [] : [other]), usual, state];
  const config = await planConfig(root, spoolDir);
  const steps = [
    ...config.secrets,
    ...state.steps.slice(0, lastGood.length),
    ...[...plans, config.plan].flatMap(({ steps }) => steps),
  ];
  return {
    // What is secret is in its folder, too.
    steps: steps.filter(({ what }, at) => steps.findIndex((step) => step.what === what) === at),
    stays: [...plans, config.plan].flatMap(({ stays }) => stays),
  };
}

/** Only what is in a spool is deleted. A folder that is not one, or not any more, stays as it is. */
async function planSpool(root: string, path: string): Promise<FolderPlan> {
  const { kind, foreign } = await lookAt(under(root, path));
  if (kind === "spool" || kind === "nothing" || foreign.length === 0) {
    return await planFolder(root, path, SPOOL_ENTRIES);
  }
  const why = kind === "folder" ? `not a spool, it has ${foreign.join(", ")}` : "not a folder";
  return { steps: [], stays: [`${path}: ${why}`], isRemoved: false };
}

/**
 * The folder of the configuration. What is secret in it goes first. Until the recordings are gone, the
 * configuration says where they are, and nothing else.
 */
async function planConfig(
  root: string,
  spoolDir: string,
): Promise<{ secrets: readonly Step[]; plan: FolderPlan }> {
  const { entries } = parseConfigFile(CONFIG, readText(root, CONFIG) ?? "", () => true, []);
  const named = Object.entries(KEY_TABLE)
    .filter(([, { kind }]) => kind.refuseContent !== undefined)
    .map(([name]) => entries.get(name)?.value)
    .filter((value) => typeof value === "string")
    .filter((path) => dirname(path) === CONFIG_DIR);
  const before = [...withRemains(TOKEN), ...named, `${CONFIG}.new`, `${CONFIG}.old`];
  const ours = [...before, ENVIRONMENT_PATH, CONFIG].map((path) => basename(path));
  const text = () => new TextEncoder().encode(`spool_dir: ${JSON.stringify(spoolDir)}\n`);
  const rest = fileStep(`Keep only spool_dir in ${CONFIG}`, root, CONFIG, text, { mode: 0o600 });
  const isThere = await exists(contentsOf(root, CONFIG)) ||
    await exists(contentsOf(root, ENVIRONMENT_PATH));
  return {
    secrets: [
      // The previous one is beside the file that a link leads to.
      ...[...before, `${pathIn(root, CONFIG)}.old`].map((path) => removeStep(root, path)),
      ...(isThere ? [{ ...rest, undo: null }] : []),
      removeStep(root, ENVIRONMENT_PATH),
    ],
    plan: await planFolder(root, pathIn(root, CONFIG_DIR), ours),
  };
}

/**
 * Removes what is ours in a folder, and the folder, unless something else is in it or a file system is mounted
 * there. Each entry is removed by the user who owns the folder, so that nothing he puts there leads root
 * elsewhere.
 * @param inner plans of folders in it
 */
async function planFolder(
  root: string,
  path: string,
  ours: readonly string[],
  inner: ReadonlyMap<string, FolderPlan> = new Map(),
): Promise<FolderPlan> {
  const target = under(root, path);
  if (!await exists(target)) return { ...NOTHING, isRemoved: true };
  const names = (await Array.fromAsync(Deno.readDir(target), ({ name }) => name)).sort();
  const owner = await ownerOf(target);
  const trials = names.filter(isTrial);
  // Also what is not there yet: the service writes until it is stopped.
  const steps = [...ours, ...trials]
    .map((name) => removeStep(root, `${path}/${name}`, { recursive: true, owner }));
  const known = [...ours, ...trials, ...inner.keys()];
  const foreign = names.filter((name) => !known.includes(name));
  if (foreign.length > 0) {
    return { steps, stays: [`${path}: ${foreign.join(", ")}`], isRemoved: false };
  }
  if ([...inner.values()].some(({ isRemoved }) => !isRemoved)) {
    return { steps, stays: [], isRemoved: false };
  }
  const [{ dev }, parent] = await Promise.all([Deno.lstat(target), Deno.stat(dirname(target))]);
  return dev === parent.dev
    ? { steps: [...steps, removeStep(root, path)], stays: [], isRemoved: true }
    : { steps, stays: [`${path}: a file system is mounted there`], isRemoved: false };
}

function readText(root: string, path: string): string | null {
  try {
    return readNamedTextSync(contentsOf(root, path));
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return null;
    throw error;
  }
}

/**
 * The folder that the configuration names, free of links; the usual one if it names none. What else is wrong
 * with the configuration does not matter here.
 * @throws if the configuration does not say which folder it is: no other one may be deleted in its place.
 */
function findSpoolDir(root: string): string {
  const variables = parseEnvironmentFile(readText(root, ENVIRONMENT_PATH) ?? "");
  const problems: string[] = [];
  const text = readText(root, CONFIG) ?? "";
  const { entries } = parseConfigFile(CONFIG, text, () => true, problems);
  const value = variables.RA_SPOOL_DIR ||
    (entries.get("spool_dir")?.value ?? KEYS.spool_dir.default);
  const read = KEYS.spool_dir.kind.read(value as Scalar);
  if (problems.length === 0 && !(read instanceof Refusal)) return pathIn(root, read);
  const wrong = read instanceof Refusal ? `spool_dir ${read.reason}` : problems.join("; ");
  throw new Error(
    `Cannot find the recordings as ${CONFIG} must say where they are: ${wrong}. Correct it, or remove it ` +
      `if they are in ${STATE_DIR}/spool, then try again; nothing was changed`,
  );
}
