// The command `recorder-agent uninstall`: removes what `install` has installed. Recordings, configuration
// and token stay unless it is told to purge them; files of others in their folders stay.

import { basename, dirname } from "node:path";
import { loadConfig } from "../config/config.ts";
import { parseEnvironmentFile } from "../config/environment_file.ts";
import { ENVIRONMENT_PATH } from "../config/places.ts";
import {
  CONFIG,
  CONFIG_DIR,
  DROP_IN,
  PROGRAM,
  STATE_DIR,
  TOKEN,
  UNIT,
  USER,
  USERS,
} from "./install.ts";
import {
  carryOut,
  idOf,
  removeStep,
  runProgram,
  runStep,
  type Step,
  StepError,
  under,
} from "./install_steps.ts";
import { SERVICE, serviceState, SYSTEMCTL } from "./service.ts";
import { exists } from "../system/disk.ts";
import { messageOf } from "../system/error_text.ts";
import { printText } from "./terminal.ts";

/** The entries of this program in spool_dir. Other files there are never removed. */
const SPOOL_ENTRIES = [
  ...["recording", "outbox", "uploaded", "rejected"],
  ...["lock", "gaps.jsonl", "microphone.json", "levels.sock", "sound.sock"],
  // What a power cut leaves of a file that was being replaced.
  ...["gaps.jsonl.tmp", "microphone.json.tmp"],
];
/** What `check` leaves there if it is killed. */
const TRIAL = /^\.check-\d+$/;

export interface UninstallOptions {
  readonly root: string;
  /** Also removes recordings, configuration, token and user. */
  readonly purge: boolean;
  readonly dryRun: boolean;
  readonly print?: (line: string) => void;
}

/** Returns the exit code. */
export async function runUninstall(options: UninstallOptions): Promise<number> {
  const { root, purge, dryRun, print = printText } = options;
  const isLive = root === "/";
  try {
    if (Deno.uid() !== 0) {
      throw new Error("Cannot uninstall as this needs root: try again with sudo");
    }
    const spoolDir = findSpoolDir(root);
    const dropIns = await planFolder(root, dirname(DROP_IN), withRemains(basename(DROP_IN)));
    const purged = purge ? await planPurge(root, spoolDir) : NOTHING;
    print(
      `recorder-agent ${dryRun ? "would be removed" : "is being removed"}${
        isLive ? "" : ` from ${root}`
      }:`,
    );
    const steps = [
      ...(isLive
        ? [
          runStep("Stop the service; the last chunk is finished and kept", [
            SYSTEMCTL,
            "stop",
            SERVICE,
          ], {
            isDone: async () => ["inactive", "unknown", null].includes(await serviceState()),
          }),
        ]
        : []),
      ...purged.steps,
      removeStep(root, `/etc/systemd/system/multi-user.target.wants/${SERVICE}`),
      ...withRemains(UNIT).map((path) => removeStep(root, path)),
      ...dropIns.steps,
      ...(purge
        ? [
          ...withRemains(USERS).map((path) => removeStep(root, path)),
          runStep(`Remove the user ${USER}`, [
            "/usr/sbin/userdel",
            ...(isLive ? [] : ["--prefix", root]),
            USER,
          ], {
            isDone: async () => await idOf(root, "passwd", USER) === null,
          }),
        ]
        : []),
      // The program goes last: until then it can be run again.
      ...[`${PROGRAM}.old`, ...withRemains(PROGRAM)].map((path) => removeStep(root, path)),
    ];
    await carryOut(steps, { dryRun, print });
    if (isLive && !dryRun) await runProgram([SYSTEMCTL, "daemon-reload"]);
    const stays = [...purged.stays, ...dropIns.stays];
    if (stays.length > 0) print("\nThis stays:");
    for (const line of stays) print(`  ${line}`);
    if (!purge) {
      print(
        `\nRecordings stay in ${spoolDir}, configuration and token in ${CONFIG_DIR}: --purge also removes them.`,
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
  const usualDir = `${STATE_DIR}/spool`;
  const usual = await planFolder(root, usualDir, SPOOL_ENTRIES);
  const isElsewhere = spoolDir !== usualDir && spoolDir !== STATE_DIR;
  const other = isElsewhere ? await planFolder(root, spoolDir, SPOOL_ENTRIES) : null;
  const inner = new Map([[basename(usualDir), usual]]);
  if (other !== null && dirname(spoolDir) === STATE_DIR) inner.set(basename(spoolDir), other);
  const ours = spoolDir === STATE_DIR ? SPOOL_ENTRIES : [];
  const plans = [...(other === null ? [] : [other]), usual];
  plans.push(await planFolder(root, STATE_DIR, ours, inner));
  return {
    steps: [
      ...withRemains(TOKEN).map((path) => removeStep(root, path)),
      removeStep(root, ENVIRONMENT_PATH),
      ...plans.flatMap(({ steps }) => steps),
      removeStep(root, CONFIG_DIR, { recursive: true }),
    ],
    stays: plans.flatMap(({ stays }) => stays),
  };
}

/**
 * Removes what is ours in a folder, and the folder, unless something else is in it or a file system is mounted
 * there.
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
  const trials = names.filter((name) => TRIAL.test(name));
  const steps = [...ours, ...trials]
    .map((name) => removeStep(root, `${path}/${name}`, { recursive: true }));
  const foreign = names.filter((name) =>
    !ours.includes(name) && !trials.includes(name) && !inner.has(name)
  );
  if (foreign.length > 0) {
    return { steps, stays: [`${path}: ${foreign.join(", ")}`], isRemoved: false };
  }
  if ([...inner.values()].some(({ isRemoved }) => !isRemoved)) {
    return { steps, stays: [], isRemoved: false };
  }
  const [{ dev }, parent] = await Promise.all([Deno.stat(target), Deno.stat(dirname(target))]);
  return dev === parent.dev
    ? { steps: [...steps, removeStep(root, path)], stays: [], isRemoved: true }
    : { steps, stays: [`${path}: a file system is mounted there`], isRemoved: false };
}

/** The directory that the configuration names; the default one if the configuration cannot be read. */
function findSpoolDir(root: string): string {
  const readTextFile = (path: string) => Deno.readTextFileSync(under(root, path));
  const read = (path: string) => {
    try {
      return readTextFile(path);
    } catch {
      return null;
    }
  };
  const { RA_INGEST_TOKEN_FILE: _, ...variables } = parseEnvironmentFile(
    read(ENVIRONMENT_PATH) ?? "",
  );
  try {
    return loadConfig({
      path: read(CONFIG) === null ? null : CONFIG,
      env: { ...variables, RA_INGEST_TOKEN: "not-needed-here" },
      readTextFile,
    }).spoolDir;
  } catch {
    return `${STATE_DIR}/spool`;
  }
}
