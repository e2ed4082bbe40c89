// An update with a way back: what `install` puts beside a new program so that the previous one returns by itself
// if the new one does not record. The decision is made by packaging/update/update-trial, a script that
// recorder-agent-update.service runs, because neither program can be trusted with it. This module
// brings both, keeps the previous files, and asks for the trial.

import { delay } from "@std/async/delay";
import { dirname } from "node:path";
import { equalBytes, makeParents } from "./install_files.ts";
import { isPackaged } from "./install_package.ts";
import { contentsOf, pathIn } from "./install_root.ts";
import {
  fileStep,
  fileTarget,
  linkStep,
  removeStep,
  runProgram,
  type Step,
} from "./install_steps.ts";
import { SERVICE as RECORDER, serviceState } from "./service.ts";
import { readRollback, ROLLED_BACK, UPDATE_DIR } from "../status/rollback.ts";
import { exists, ifThere, readWhole, removeIfThere, syncDirectory } from "../system/disk.ts";
import { messageOf } from "../system/error_text.ts";
import { PROGRAMS } from "../system/programs.ts";
import { VERSION } from "../system/version.ts";

const SERVICE = "recorder-agent-update.service";
const SCRIPT_DIR = "/usr/local/lib/recorder-agent";
const SCRIPT = `${SCRIPT_DIR}/update-trial`;
const UNIT = `/etc/systemd/system/${SERVICE}`;
const PACKAGED_UNIT = `/usr/lib/systemd/system/${SERVICE}`;
const WANTS = `/etc/systemd/system/multi-user.target.wants/${SERVICE}`;
const TRIAL = `${UPDATE_DIR}/trial`;
/** The files of an update that is not decided yet. */
const OPEN = [TRIAL, `${UPDATE_DIR}/rolling-back`];
/** The script waits for the lock for up to 5 minutes, and decides within 15. */
const TRIAL_MS = 21 * 60_000;
/** An upgrade of the package that has stopped the judge starts it again within this time. */
const UPGRADE_S = 600;
/** A judge that is not there at first may have been stopped by an upgrade, or be missing for another reason. */
const PERHAPS_UPGRADE_S = 120;

/** The judge of later programs: script, unit, and its start at each boot. */
export function judgeSteps(root: string): Step[] {
  const asset = (name: string) => () =>
    Deno.readFile(new URL(`../../packaging/update/${name}`, import.meta.url));
  return [
    fileStep(`Write ${SCRIPT}`, root, SCRIPT, asset("update-trial"), { mode: 0o755 }),
    fileStep(`Write the unit to ${UNIT}`, root, UNIT, asset(SERVICE), { mode: 0o644 }),
    linkStep(`Enable ${SERVICE}, which restores the previous program`, root, WANTS, UNIT),
  ].map((step) => ({ ...step, isSilentIfDone: true }));
}

/** Enables the judge that a package brings: a takeover has removed the link of the copied one. */
export function packagedJudgeStep(root: string): Step {
  const what = `Enable ${SERVICE} of the package`;
  return { ...linkStep(what, root, WANTS, PACKAGED_UNIT), isSilentIfDone: true };
}

/** Removes the judge and what is kept for it; `kept` are the files that an update replaces. */
export function removeJudgeSteps(root: string, kept: readonly string[]): Step[] {
  const files = [WANTS, UNIT, SCRIPT].flatMap((path) => [`${path}.new`, path]);
  // They are beside the file that a link leads to.
  const old = kept.map((path) => `${pathIn(root, path)}.old`);
  return [
    ...[...files, ...old].map((path) => removeStep(root, path)),
    removeStep(root, SCRIPT_DIR, { recursive: true }),
    removeStep(root, UPDATE_DIR, { recursive: true }),
  ];
}

/**
 * Keeps a file that an update changes beside its successor, as NAME.old, for the way back; if there is none, an empty
 * file says so. If it does not change, there must be none: an older one would come back in its place.
 * @param wanted what is written next, as another file, which is renamed to this name; null: nothing.
 */
export function keepStep(
  root: string,
  path: string,
  wanted: Uint8Array | null,
  isUpdate: boolean,
): Step {
  const current = fileTarget(root, path);
  const old = `${current}.old`;
  let madeDir: string | null = null;
  const isThere = async () => (await ifThere(Deno.stat(current)))?.isFile === true;
  const isKept = async () => {
    if (!isUpdate || wanted === null) return false;
    if (!await isThere()) return true;
    const { size } = await Deno.stat(current);
    return size !== wanted.length || !equalBytes(await readWhole(current, size), wanted);
  };
  return {
    what: `Keep the previous ${path}`,
    isSilentIfDone: true,
    isDone: async () => !await exists(old) && !await isKept(),
    async apply() {
      const keeps = await isKept();
      await removeIfThere(old);
      if (!keeps) return;
      madeDir = await makeParents(old);
      if (await isThere()) await Deno.link(current, old);
      else await Deno.writeFile(old, new Uint8Array(), { mode: 0o600, createNew: true });
      await syncDirectory(dirname(old));
    },
    async undo() {
      await removeIfThere(old);
      if (madeDir !== null) await Deno.remove(madeDir, { recursive: true });
    },
  };
}

/** How `awaitDecision` reaches the system. */
export interface Deciding {
  readonly run: (command: readonly string[], limitMs?: number) => Promise<void>;
  readonly stateOf: (unit: string) => Promise<string | null>;
  readonly second: () => Promise<void>;
}

async function isUndecided(root: string): Promise<boolean> {
  return (await Promise.all(OPEN.map((path) => exists(contentsOf(root, path))))).includes(true);
}

/**
 * Waits for the decision about an earlier update. What is on trial must not be replaced: its way back would be lost,
 * and its judge would restore files over those of the new program.
 * An upgrade of the package stops the judge, and starts it when its files are in place; until then this waits.
 * @param deciding for tests. @throws if it is not decided.
 */
export async function awaitDecision(
  root: string,
  print: (line: string) => void,
  deciding: Deciding = { run: runProgram, stateOf: serviceState, second: () => delay(1000) },
): Promise<void> {
  const isOpen = () => isUndecided(root);
  if (!await isOpen()) return;
  print(
    "An earlier update is on trial. Waiting for its end, up to 15 minutes, or longer during an upgrade of the " +
      "package; nothing is changed …",
  );
  const isUp = async (unit: string) =>
    ["active", "activating"].includes(await deciding.stateOf(unit) ?? "");
  const isJudged = async (withinS: number) => {
    // Started here, the judge could restore files while the upgrade replaces them.
    const waits = async () => await isOpen() && await isUp(RECORDER) && !await isUp(SERVICE);
    for (let s = 0; s < withinS && await waits(); s++) await deciding.second();
    return await isUp(SERVICE);
  };
  const hasPackage = await isPackaged(root);
  if (hasPackage) await isJudged(PERHAPS_UPGRADE_S);
  let failure: string | null;
  do {
    if (!await isOpen()) return;
    // It is an error, too, if the program on trial fails and there is none before it.
    failure = await deciding.run([PROGRAMS.systemctl, "start", "--wait", SERVICE], TRIAL_MS)
      .then(() => null, messageOf);
  } while (await isJudged(hasPackage ? UPGRADE_S : 0));
  if (!await isOpen()) return;
  throw new Error(
    `Cannot install as the earlier update must be decided first: ${
      failure ?? "the service is stopped"
    }. ` +
      `Start it (sudo systemctl start recorder-agent recorder-agent-update) and try again; or accept that update as it is: ` +
      `sudo rm ${TRIAL}`,
  );
}

/**
 * Takes a lock for which the judge waits once no update is open; an upgrade of the package may have begun one while a
 * person was asked.
 * @param deciding for tests. @throws if an update is not decided, or what `lock` throws.
 */
export async function lockDecided(
  root: string,
  print: (line: string) => void,
  lock: () => Promise<Deno.FsFile>,
  deciding?: Deciding,
): Promise<Deno.FsFile> {
  while (true) {
    const held = await lock();
    if (!await isUndecided(root)) return held;
    held.close();
    await awaitDecision(root, print, deciding);
  }
}

/** Asks for a trial, which begins with `putOnTrial`, or at the next boot if the power fails until then. */
export function requestStep(root: string): Step {
  const text = () => new TextEncoder().encode(`to=${VERSION}\n`);
  const what = "Put the new program on trial: the previous one returns if it does not record";
  return fileStep(what, root, TRIAL, text, { mode: 0o644 });
}

/**
 * Restarts the service with the new program and waits for the decision, which takes half a minute at least.
 * @param run for tests. @throws an error that says why the new program does not stay, or that it is not decided.
 */
export async function putOnTrial(root: string, run: Deciding["run"] = runProgram): Promise<void> {
  const rolledBack = contentsOf(root, ROLLED_BACK);
  await removeIfThere(rolledBack);
  await run([PROGRAMS.systemctl, "daemon-reload"]);
  // With --wait it is an error if the script ends with one.
  await run([PROGRAMS.systemctl, "start", "--wait", SERVICE], TRIAL_MS);
  const rollback = await readRollback(rolledBack);
  if (rollback !== null) {
    throw new Error(
      `The update was rolled back as the new program must record: ${rollback.reason}; the previous one runs again. ` +
        `The problem is reported until the next update`,
    );
  }
  if (!await isUndecided(root)) return;
  throw new Error(
    "The update is not decided as its trial was interrupted: the service was stopped, or another update began. The " +
      "trial continues when the service is started: sudo systemctl start recorder-agent",
  );
}
