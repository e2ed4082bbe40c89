// The steps of `install` and `uninstall`: each says what it does, checks whether it is done already, does
// it, and can be undone. They know files and programs, and nothing about recording.

import { join } from "@std/path/join";
import { outputOf } from "../system/child.ts";
import { messageOf } from "../system/error_text.ts";
import { exists } from "../system/disk.ts";
import { MAX_TEXT, printable } from "../system/printable.ts";

export interface Step {
  /** What it does, for people; it begins with a verb. */
  readonly what: string;
  /** Whether there is nothing to do. */
  readonly isDone: () => Promise<boolean>;
  readonly apply: () => Promise<void>;
  /** Whether nothing is printed if there was nothing to do. */
  readonly isSilentIfDone?: boolean;
  /** Restores the previous state; null if the step need not or cannot be undone. */
  readonly undo: (() => Promise<void>) | null;
}

/** A step failed; the steps before it were undone. */
export class StepError extends Error {}

/**
 * Carries out the steps in order and prints the result of each. When a step fails, the steps before it are
 * undone, the last one first.
 * @throws {StepError}
 */
export async function carryOut(
  steps: readonly Step[],
  options: { readonly dryRun: boolean; readonly print: (line: string) => void },
): Promise<void> {
  const { dryRun, print } = options;
  const done: Step[] = [];
  for (const step of steps) {
    if (await step.isDone()) {
      if (step.isSilentIfDone !== true) print(`  = ${step.what}: already done`);
      continue;
    }
    if (dryRun) {
      print(`  ? ${step.what}`);
      continue;
    }
    try {
      await step.apply();
    } catch (error) {
      print(`  ✘ ${step.what}`);
      await undo(done, print);
      const reason = messageOf(error);
      throw new StepError(`Cannot ${lowered(step.what)}: ${reason}`, { cause: error });
    }
    print(`  ✔ ${step.what}`);
    done.push(step);
  }
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

/** Who owns a file and who may read it. The names are those in /etc/passwd and /etc/group of the root. */
export interface Access {
  readonly mode: number;
  /** Default: root. */
  readonly owner?: string;
  /** Default: root. */
  readonly group?: string;
}

/** A file with this content. Undoing it restores the previous file. */
export function fileStep(
  what: string,
  root: string,
  path: string,
  content: () => Promise<Uint8Array> | Uint8Array,
  access: Access,
): Step {
  const target = under(root, path);
  let before: { bytes: Uint8Array; mode: number } | null = null;
  let madeDir: string | null = null;
  return {
    what,
    async isDone() {
      const [now, wanted] = [await readOrNull(target), await content()];
      return now !== null && equalBytes(now.bytes, wanted) && await hasAccess(root, target, access);
    },
    async apply() {
      before = await readOrNull(target);
      madeDir = await makeParents(target);
      await replaceFile(target, await content(), root, access);
    },
    async undo() {
      if (before !== null) {
        return await replaceFile(target, before.bytes, root, { ...access, mode: before.mode });
      }
      await Deno.remove(target);
      if (madeDir !== null) await Deno.remove(madeDir, { recursive: true });
    },
  };
}

/** A folder with these permissions, which is created if it is missing. */
export function folderStep(root: string, path: string, access: Access): Step {
  const target = under(root, path);
  let made: string | null = null;
  return {
    what: `Create the folder ${path}`,
    isDone: async () => await exists(target) && await hasAccess(root, target, access),
    async apply() {
      made = await makeParents(join(target, "."));
      if (!await exists(target)) {
        await Deno.mkdir(target);
        made ??= target;
      }
      await giveAccess(root, target, access);
    },
    async undo() {
      if (made !== null) await Deno.remove(made, { recursive: true });
    },
  };
}

/** A copy of a program that may be running. Undoing it restores the old program. */
export function programStep(what: string, root: string, source: string, path: string): Step {
  const target = under(root, path);
  const [fresh, old] = [`${target}.new`, `${target}.old`];
  let isUpgrade = false;
  return {
    what,
    isDone: async () => await exists(target) && await haveSameBytes(source, target),
    async apply() {
      await makeParents(target);
      await Deno.copyFile(source, fresh);
      await Deno.chown(fresh, 0, 0);
      await Deno.chmod(fresh, 0o755);
      await syncFile(fresh);
      isUpgrade = await exists(target);
      if (await exists(old)) await Deno.remove(old);
      if (isUpgrade) await Deno.link(target, old);
      await Deno.rename(fresh, target);
    },
    undo: () => isUpgrade ? Deno.rename(old, target) : Deno.remove(target),
  };
}

/** Removes a file or an empty folder. If it does not exist, the step is done. */
export function removeStep(
  root: string,
  path: string,
  options: { recursive?: boolean } = {},
): Step {
  const target = under(root, path);
  return {
    what: `Remove ${path}`,
    isSilentIfDone: true,
    isDone: async () => !await exists(target),
    apply: () => Deno.remove(target, { recursive: options.recursive === true }),
    undo: null,
  };
}

/** Runs a program that may run repeatedly without harm. */
export function runStep(
  what: string,
  command: readonly string[],
  options: {
    readonly isDone?: () => Promise<boolean>;
    readonly undo?: readonly string[];
    readonly limitMs?: number;
  } = {},
): Step {
  const { isDone = () => Promise.resolve(false), undo, limitMs = 60_000 } = options;
  return {
    what,
    isDone,
    apply: () => runProgram(command, limitMs),
    undo: undo === undefined ? null : () => runProgram(undo, limitMs),
  };
}

/** @throws an error with the output of the program if it fails. */
export async function runProgram(
  [program = "", ...args]: readonly string[],
  limitMs = 60_000,
): Promise<void> {
  const { success, stderr } = await outputOf(program, args, { limitMs });
  if (success) return;
  const said = printable(new TextDecoder().decode(stderr), MAX_TEXT);
  throw new Error(`${program} ${args.join(" ")} failed${said === "" ? "" : `: ${said}`}`);
}

/** A path in the system below `root`. */
export function under(root: string, path: string): string {
  return join(root, path);
}

/** The id of a user or group in /etc/passwd or /etc/group of the root; null if it has none. */
export async function idOf(
  root: string,
  file: "passwd" | "group",
  name: string,
): Promise<number | null> {
  try {
    const lines = (await Deno.readTextFile(under(root, `/etc/${file}`))).split("\n");
    const id = lines.find((line) => line.startsWith(`${name}:`))?.split(":")[2];
    return id === undefined ? null : Number(id);
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return null;
    throw error;
  }
}

/**
 * Replaces a file durably and at once: no process ever sees half of it, and a running program can be
 * replaced.
 */
async function replaceFile(
  target: string,
  bytes: Uint8Array,
  root: string,
  access: Access,
): Promise<void> {
  const fresh = `${target}.new`;
  await Deno.writeFile(fresh, bytes, { mode: 0o600 });
  await giveAccess(root, fresh, access);
  await syncFile(fresh);
  await Deno.rename(fresh, target);
}

async function syncFile(path: string): Promise<void> {
  using file = await Deno.open(path, { read: true });
  await file.sync();
}

/** Returns the uppermost folder that had to be created, or null. */
async function makeParents(target: string): Promise<string | null> {
  const parent = join(target, "..");
  let made: string | null = null;
  for (let dir = parent; !await exists(dir); dir = join(dir, "..")) made = dir;
  // Deno 2.7 refuses to create the folder of a program that it may run, ffmpeg in /usr/local/bin, even if
  // the folder exists.
  if (made !== null) await Deno.mkdir(parent, { recursive: true, mode: 0o755 });
  return made;
}

async function readOrNull(path: string): Promise<{ bytes: Uint8Array; mode: number } | null> {
  try {
    const { mode } = await Deno.stat(path);
    return { bytes: await Deno.readFile(path), mode: (mode ?? 0) & 0o7777 };
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return null;
    throw error;
  }
}

async function hasAccess(root: string, path: string, access: Access): Promise<boolean> {
  const { mode, uid, gid } = await Deno.stat(path);
  const owners = await ownersOf(root, access);
  return ((mode ?? 0) & 0o7777) === access.mode && uid === owners.uid && gid === owners.gid;
}

async function giveAccess(root: string, path: string, access: Access): Promise<void> {
  const { uid, gid } = await ownersOf(root, access);
  if (uid === null) throw new Error(`there is no user ${access.owner}`);
  if (gid === null) throw new Error(`there is no group ${access.group}`);
  await Deno.chown(path, uid, gid);
  await Deno.chmod(path, access.mode);
}

async function ownersOf(
  root: string,
  { owner, group }: Access,
): Promise<{ uid: number | null; gid: number | null }> {
  return {
    uid: owner === undefined ? 0 : await idOf(root, "passwd", owner),
    gid: group === undefined ? 0 : await idOf(root, "group", group),
  };
}

/** Compares block by block: a program has 100 MB, and a small board has little memory. */
async function haveSameBytes(one: string, other: string): Promise<boolean> {
  using a = await Deno.open(one, { read: true });
  using b = await Deno.open(other, { read: true });
  const [left, right] = [await a.stat(), await b.stat()];
  if (left.ino === right.ino && left.dev === right.dev) return true;
  if (left.size !== right.size) return false;
  const blocks = [new Uint8Array(1 << 20), new Uint8Array(1 << 20)] as const;
  for (let at = 0; at < left.size;) {
    const length = await a.read(blocks[0]) ?? 0;
    for (let filled = 0; filled < length;) {
      filled += await b.read(blocks[1].subarray(filled, length)) ?? length;
    }
    if (!equalBytes(blocks[0].subarray(0, length), blocks[1].subarray(0, length))) return false;
    at += Math.max(1, length);
  }
  return true;
}

function equalBytes(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && a.every((byte, at) => byte === b[at]);
}

function lowered(text: string): string {
  return text.slice(0, 1).toLowerCase() + text.slice(1);
}
