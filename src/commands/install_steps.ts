// The steps of `install` and `uninstall`: each says what it does, checks whether it is done already, does
// it, and can be undone. They know files and programs, and nothing about recording.

import { dirname } from "node:path";
import {
  type Access,
  type Before,
  equalBytes,
  giveRights,
  hasAccess,
  haveSameBytes,
  makeParents,
  ownerOf,
  readBefore,
  replaceFile,
  replaceWith,
  type Rights,
  rightsIn,
  rightsOf,
  syncFile,
} from "./install_files.ts";
import { contentsOf, under } from "./install_root.ts";
import { outputOf } from "../system/child.ts";
import { messageOf } from "../system/error_text.ts";
import { exists, syncDirectory } from "../system/disk.ts";
import { MAX_TEXT, printable } from "../system/printable.ts";
import { PROGRAMS } from "../system/programs.ts";
import { asUser, ROOT, type User } from "../system/users.ts";

export interface Step {
  /** What it does, for people; it begins with a verb. */
  readonly what: string;
  /** Whether there is nothing to do. */
  readonly isDone: () => Promise<boolean>;
  readonly apply: () => Promise<void>;
  /** Whether nothing is printed if there was nothing to do. */
  readonly isSilentIfDone?: boolean;
  /** What a failure means, for people, if it does not end the installation. */
  readonly ifItFails?: string;
  /** Restores the previous state; null if the step need not or cannot be undone. */
  readonly undo: (() => Promise<void>) | null;
}

/** A step failed; the steps before it were undone. */
export class StepError extends Error {}

/**
 * Carries out the steps in order and prints the result of each. When a step fails, the steps before it are
 * undone, the last one first, unless the step itself says what its failure means.
 * @returns whether a step has changed something. @throws {StepError}
 */
export async function carryOut(
  steps: readonly Step[],
  options: { readonly dryRun: boolean; readonly print: (line: string) => void },
): Promise<boolean> {
  const { dryRun, print } = options;
  const done: Step[] = [];
  for (const step of steps) {
    try {
      if (await step.isDone()) {
        if (step.isSilentIfDone !== true) print(`  = ${step.what}: already done`);
        continue;
      }
      if (dryRun) {
        print(`  ? ${step.what}`);
        continue;
      }
      await step.apply();
    } catch (error) {
      print(`  ✘ ${step.what}`);
      const reason = messageOf(error);
      if (step.ifItFails !== undefined) {
        print(`    ${step.ifItFails}: ${reason}`);
        continue;
      }
      await undo(done, print);
      throw new StepError(`Cannot ${lowered(step.what)}: ${reason}`, { cause: error });
    }
    print(`  ✔ ${step.what}`);
    done.push(step);
  }
  return done.length > 0;
}

async function undo(done: readonly Step[], print: (line: string) => void): Promise<void> {
  for (const { what, undo } of done.toReversed()) {
    try {
      await undo?.();
      print(`  ↶ ${what}: ${undo === null ? "not undone" : "undone"}`);
    } catch (error) {
      print(`  ✘ undo: ${what}: ${error}`);
    }
  }
}

/** A file with this content. Undoing it restores the previous file, its owner and its mode. */
export function fileStep(
  what: string,
  root: string,
  path: string,
  content: () => Promise<Uint8Array> | Uint8Array,
  access: Access,
): Step {
  const target = fileTarget(root, path);
  let before: Before | null = null;
  let madeDir: string | null = null;
  return {
    what,
    async isDone() {
      const [now, wanted] = [await readBefore(target), await content()];
      return now?.kind === "file" && equalBytes(now.bytes, wanted) &&
        await hasAccess(root, target, access);
    },
    async apply() {
      before = await readBefore(target);
      madeDir = await makeParents(target);
      await replaceFile(target, await content(), await rightsOf(root, access));
    },
    async undo() {
      if (before?.kind === "file") return await replaceFile(target, before.bytes, before.rights);
      await Deno.remove(target);
      if (before?.kind === "link") await Deno.symlink(before.to, target);
      if (madeDir !== null) await Deno.remove(madeDir, { recursive: true });
    },
  };
}

/** The file behind a link is replaced, and a link to something else (/dev/null of a masked unit) is itself. */
export function fileTarget(root: string, path: string): string {
  const target = contentsOf(root, path);
  try {
    if (Deno.lstatSync(target).isFile) return target;
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
  }
  return under(root, path);
}

/** A folder with these permissions, which is created if it is missing. */
export function folderStep(root: string, path: string, access: Access): Step {
  const target = contentsOf(root, path);
  let made: string | null = null;
  let before: Rights | null = null;
  return {
    what: `Create the folder ${path}`,
    isDone: async () => await exists(target) && await hasAccess(root, target, access),
    async apply() {
      refuseMoved(contentsOf(root, path), target);
      made = await makeParents(target);
      if (await exists(target)) before = rightsIn(await Deno.stat(target));
      else {
        await Deno.mkdir(target);
        made ??= target;
      }
      await giveRights(target, await rightsOf(root, access));
      for (const dir of [target, dirname(target)]) await syncDirectory(dir);
    },
    async undo() {
      refuseMoved(contentsOf(root, path), target);
      if (made !== null) await Deno.remove(made, { recursive: true });
      else if (before !== null) await giveRights(target, before);
    },
  };
}

/**
 * A link; what is there stays, except a link to `replaced`, which is there until the new one is. Undoing it restores
 * what was there.
 */
export function linkStep(
  what: string,
  root: string,
  path: string,
  to: string,
  replaced: string | null = null,
): Step {
  const target = under(root, path);
  let madeDir: string | null = null;
  let isReplaced = false;
  const leadsToReplaced = async () =>
    replaced !== null && await Deno.readLink(target).catch(() => null) === replaced;
  const put = (to: string) => replaceWith(target, (fresh) => Deno.symlink(to, fresh));
  return {
    what,
    isDone: async () => await exists(target) && !await leadsToReplaced(),
    async apply() {
      madeDir = await makeParents(target);
      isReplaced = await leadsToReplaced();
      await put(to);
    },
    async undo() {
      if (isReplaced && replaced !== null) return await put(replaced);
      await Deno.remove(target);
      if (madeDir !== null) await Deno.remove(madeDir, { recursive: true });
    },
  };
}

/** A copy of a program that may be running. Undoing it restores the old program. */
export function programStep(what: string, root: string, source: string, path: string): Step {
  const target = under(root, path);
  const old = `${target}.old`;
  let isUpgrade = false;
  return {
    what,
    async isDone() {
      const current = contentsOf(root, path);
      return await exists(current) && await haveSameBytes(source, current);
    },
    async apply() {
      await makeParents(target);
      await replaceWith(target, async (fresh) => {
        await Deno.copyFile(source, fresh);
        await giveRights(fresh, { mode: 0o755, uid: 0, gid: 0 });
        await syncFile(fresh);
        isUpgrade = await exists(target);
        if (await exists(old)) await Deno.remove(old);
        if (isUpgrade) await Deno.link(target, old);
      });
    },
    undo: () => isUpgrade ? Deno.rename(old, target) : Deno.remove(target),
  };
}

/**
 * Root follows no link that appeared on the way after the plan was made: the owner of a folder there, for
 * instance of the spool, may have put it there.
 * @param now where the path leads, found out again. @throws if that is elsewhere.
 */
function refuseMoved(now: string, target: string): void {
  if (now !== target) throw new Error(`${target} leads to ${now} now`);
}

/**
 * Removes a file or an empty folder. If it does not exist, the step is done.
 * @param options `owner` removes it instead of root, unless it belongs to root.
 */
export function removeStep(
  root: string,
  path: string,
  options: { recursive?: boolean; owner?: User } = {},
): Step {
  const target = under(root, path);
  const { recursive = false, owner = ROOT } = options;
  return {
    what: `Remove ${path}`,
    isSilentIfDone: true,
    isDone: async () => !await exists(target),
    async apply() {
      refuseMoved(under(root, path), target);
      const { uid } = await ownerOf(target);
      if (owner.uid === 0 || uid === 0) return await Deno.remove(target, { recursive });
      await runProgram(asUser(owner, [PROGRAMS.rm, "-rf", "--one-file-system", "--", target]));
    },
    undo: null,
  };
}

/** Runs a program that may run repeatedly without harm. */
export function runStep(
  what: string,
  command: readonly string[],
  isDone: () => Promise<boolean>,
): Step {
  return { what, isDone, apply: () => runProgram(command), undo: null };
}

/** @throws an error with the output of the program if it fails. */
export async function runProgram(
  [program = "", ...args]: readonly string[],
  limitMs = 60_000,
): Promise<void> {
  const { success, stderr } = await outputOf(program, args, { limitMs });
  if (success) return;
  const said = printable(stderr, MAX_TEXT);
  throw new Error(`${program} ${args.join(" ")} failed${said === "" ? "" : `: ${said}`}`);
}

function lowered(text: string): string {
  return text.slice(0, 1).toLowerCase() + text.slice(1);
}
