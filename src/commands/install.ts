// The command `recorder-agent install`: sets up the service on a machine to which the program was copied.
// install_plan.ts says what it must write and has checked all of it; this module makes steps of that and
// carries out one after the other; each step may be repeated. Installing again is an upgrade:
// configuration and token stay.

import { exists } from "../system/disk.ts";
import { STATE_DIR } from "../config/places.ts";
import { VERSION } from "../system/version.ts";
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
  lockDecided,
  packagedJudgeStep,
  removeJudgeSteps,
  requestStep,
} from "./install_update.ts";
import { dropInOf } from "./install_drop_in.ts";
import { idOf } from "./install_files.ts";
import { lockSystem } from "./install_lock.ts";
import { makePlan, type Plan, type PlanOptions, readAnswers, readAsset } from "./install_plan.ts";
import { contentsOf, linkedAccounts, under } from "./install_root.ts";
import { wipeStep } from "./install_take.ts";
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
import { checkPort, type Start, startService } from "./install_start.ts";
import { SERVICE } from "./service.ts";
import { reportText } from "./terminal.ts";
import { PROGRAMS } from "../system/programs.ts";
import { messageOf } from "../system/error_text.ts";

/** The service's user, in the group that may open sound devices (sysusers.d(5)). */
const USERS_TEXT = `u ${USER} - "recorder-agent" ${STATE_DIR}\nm ${USER} audio\n`;

export interface InstallOptions extends PlanOptions {
  readonly dryRun: boolean;
  /** The program to install. */
  readonly executable: string;
  readonly print?: (line: string) => void;
}

/** Returns the exit code. Errors are printed as sentences; in that case nothing is changed. */
export async function runInstall(options: InstallOptions): Promise<number> {
  const { root, dryRun, executable, print = reportText } = options;
  const isLive = root === "/";
  try {
    await checkSystem(root, isLive, executable);
    const written = await write(options, isLive, print);
    if (written === null) print("Nothing was changed.");
    else if (dryRun) print("\nNothing was changed (--dry-run).");
    else if (isLive) return await startService(written.healthPort, written.start, print);
    else print(`\nInstalled into ${root}; the service starts when that system boots.`);
    return written === null ? 1 : 0;
  } catch (error) {
    print(messageOf(error));
    if (error instanceof StepError) print("The changes were undone, as listed above.");
    return 1;
  }
}

/** Writes everything; meanwhile no other installation does so, and no update is open. Null: the person gave up. */
async function write(
  options: InstallOptions,
  isLive: boolean,
  print: (line: string) => void,
): Promise<{ healthPort: number; start: Start } | null> {
  const { root, dryRun, take } = options;
  const waits = isLive && !dryRun;
  if (waits) await awaitDecision(root, print);
  // A person may take hours to answer, and a judge waits for the lock.
  const settings = await readAnswers(options);
  if (settings === null) return null;
  const lock = () => lockSystem(root, "install");
  using _lock = await (waits ? lockDecided(root, print, lock) : lock());
  const plan = await makePlan(root, settings);
  const { healthPort } = plan;
  if (isLive) await checkPort(healthPort);
  print(
    `\nrecorder-agent ${VERSION} ${dryRun ? "would be installed" : "is being installed"}` +
      `${isLive ? "" : ` into ${root}`}:`,
  );
  const facts = await readFacts(options, isLive);
  const isChanged = await carryOut(await fileSteps(options, facts, plan), { dryRun, print });
  if (take !== undefined) await carryOut([wipeStep(take)], { dryRun, print });
  if (facts.isUpdate) return { healthPort, start: "on trial" };
  // A file on a card that cannot be written is taken at every boot: a restart would cost sound each time.
  return { healthPort, start: isChanged || take === undefined ? "again" : "once" };
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

/** What there is before. */
export interface Facts {
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
    // systemd goes by the name of the link WANTS: it starts the unit of the package once that of the copy is gone.
    ...[UNIT, PROGRAM].map((path) => removeStep(root, path)),
    ...removeJudgeSteps(root, [UNIT, PROGRAM]),
  ];
}

/** Everything that is written, in order. For tests, too. */
export async function fileSteps(
  { root, executable }: InstallOptions,
  facts: Facts,
  plan: Plan,
): Promise<Step[]> {
  const encode = (text: string) => new TextEncoder().encode(text);
  const { hasPackage, isUpdate } = facts;
  const own = (...steps: Step[]) => hasPackage ? [] : steps;
  const request = isUpdate ? [requestStep(root)] : [];
  const [config, unit] = [
    encode(plan.configText),
    encode(await readAsset("recorder-agent.service")),
  ];
  const { token, spoolDir, isSpoolOfUnit } = plan;
  // A spool in its usual place takes the earlier folder away: the service could not start once that is gone.
  const usual = facts.hasDropIn ? "[Service]\n" : null;
  const dropIn = isSpoolOfUnit ? usual : dropInOf(spoolDir);
  const steps = [
    // What a power cut may have left of a copy: 100 MB.
    removeStep(root, `${PROGRAM}.new`),
    ...own(
      fileStep(`Write ${USERS}`, root, USERS, () => encode(USERS_TEXT), { mode: 0o644 }),
      runStep(`Create the user ${USER} in the group audio`, [
        PROGRAMS.systemdSysusers,
        `--root=${root}`,
        under(root, USERS),
      ], async () => await idOf(root, "passwd", USER) !== null),
    ),
    folderStep(root, CONFIG_DIR, { mode: 0o750, group: USER }),
    // Once the way back is there and before anything is replaced, the trial: a power cut may follow.
    keepStep(root, CONFIG, config, isUpdate),
    keepStep(root, DROP_IN, dropIn === null ? null : encode(dropIn), isUpdate),
    ...own(
      keepStep(root, UNIT, unit, isUpdate),
      // The releases before 0.3.0 have no judge: a trial without one would never end.
      ...judgeSteps(root),
      ...request,
      programStep(`Copy the program to ${PROGRAM}`, root, executable, PROGRAM),
    ),
    fileStep(`Write the configuration to ${CONFIG}`, root, CONFIG, () => config, {
      mode: 0o640,
      group: USER,
    }),
  ];
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
  steps.push(
    ...own(fileStep(`Write the unit to ${UNIT}`, root, UNIT, () => unit, { mode: 0o644 })),
  );
  if (!isSpoolOfUnit) {
    steps.push(folderStep(root, spoolDir, { mode: 0o700, owner: USER, group: USER }));
  }
  if (dropIn !== null) {
    const allow = `Allow the service to write to ${spoolDir} (${DROP_IN})`;
    steps.push(fileStep(allow, root, DROP_IN, () => encode(dropIn), { mode: 0o644 }));
  }
  if (hasPackage && facts.hasCopy) steps.push(...takeOverSteps(root));
  if (hasPackage) steps.push(packagedJudgeStep(root));
  const [enabled, replaced] = hasPackage ? [PACKAGED_UNIT, UNIT] : [UNIT, null];
  const enable = `Enable the start of ${SERVICE} at every boot`;
  steps.push(linkStep(enable, root, WANTS, enabled, replaced));
  // A takeover has removed what was open for the copied program.
  if (hasPackage) steps.push(...request);
  return steps;
}
