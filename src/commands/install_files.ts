// Files and folders as `install` and `uninstall` change them: replaced at once and durably, with their owner and
// their mode, and compared with what is wanted. It knows neither steps nor what the files are for.

import { dirname } from "node:path";
import { join } from "@std/path/join";
import {
  exists,
  ifThere,
  readNamedText,
  readWhole,
  removeIfThere,
  syncDirectory,
} from "../system/disk.ts";
import { ownerIn, type User } from "../system/users.ts";
import { contentsOf } from "./install_root.ts";

/** The files that `fileStep` writes are far smaller. */
const MAX_FILE_BYTES = 4 * 1024 * 1024;

/** Who owns a file and who may read it. The names are those in /etc/passwd and /etc/group of the root. */
export interface Access {
  readonly mode: number;
  /** Default: root. */
  readonly owner?: string;
  /** Default: root. */
  readonly group?: string;
}

/** The owner of what is there. */
export async function ownerOf(path: string): Promise<User> {
  return ownerIn(await Deno.lstat(path));
}

/** The id of a user or group in /etc/passwd or /etc/group of the root; null if it has none. */
export async function idOf(
  root: string,
  file: "passwd" | "group",
  name: string,
): Promise<number | null> {
  const text = await ifThere(readNamedText(contentsOf(root, `/etc/${file}`))) ?? "";
  const id = text.split("\n").find((line) => line.startsWith(`${name}:`))?.split(":")[2];
  return id === undefined ? null : Number(id);
}

/**
 * Replaces a file durably and at once: no process ever sees half of it, and a running program can be
 * replaced.
 */
export async function replaceFile(
  target: string,
  bytes: Uint8Array,
  rights: Rights,
): Promise<void> {
  await replaceWith(target, async (fresh) => {
    await Deno.writeFile(fresh, bytes, { mode: 0o600, createNew: true });
    await giveRights(fresh, rights);
    await syncFile(fresh);
  });
}

/**
 * Puts what `make` makes in the place of `target`, at once, and so that its name survives a power cut.
 * @param make gets the path beside the target at which it makes it. What it has made is removed if it fails: a full
 * disk would keep the part of a program.
 */
export async function replaceWith(
  target: string,
  make: (fresh: string) => Promise<void>,
): Promise<void> {
  const fresh = `${target}.new`;
  await removeIfThere(fresh); // never written through what lies there
  try {
    await make(fresh);
    await Deno.rename(fresh, target);
  } catch (error) {
    await removeIfThere(fresh).catch(() => {}); // the first error counts
    throw error;
  }
  await syncDirectory(dirname(target));
}

/** Makes the contents of a file survive a power cut. */
export async function syncFile(path: string): Promise<void> {
  using file = await Deno.open(path, { read: true });
  await file.sync();
}

/** Returns the uppermost folder that had to be created, or null. */
export async function makeParents(target: string): Promise<string | null> {
  const parent = join(target, "..");
  const missing: string[] = [];
  for (let dir = parent; !await exists(dir); dir = join(dir, "..")) missing.push(dir);
  // Deno 2.7 refuses to create the folder of a program that it may run, ffmpeg in /usr/local/bin, even if
  // the folder exists.
  if (missing.length > 0) await Deno.mkdir(parent, { recursive: true, mode: 0o755 });
  for (const dir of missing) await syncDirectory(dirname(dir));
  return missing.at(-1) ?? null;
}

/** Owner and permissions of what is there, as numbers. */
export interface Rights {
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
}

/** What was at a path before a step. */
export type Before =
  | { readonly kind: "file"; readonly bytes: Uint8Array; readonly rights: Rights }
  | { readonly kind: "link"; readonly to: string };

/** What is at a path; null: nothing. @throws if it is something else. */
export async function readBefore(path: string): Promise<Before | null> {
  const info = await ifThere(Deno.lstat(path));
  if (info === null) return null;
  if (info.isSymlink) return { kind: "link", to: await Deno.readLink(path) };
  if (!info.isFile) throw new Error(`${path} is not a file`);
  return { kind: "file", bytes: await readWhole(path, MAX_FILE_BYTES), rights: rightsIn(info) };
}

/** The rights in what stat() said. */
export function rightsIn(info: Deno.FileInfo): Rights {
  return { mode: (info.mode ?? 0) & 0o7777, ...ownerIn(info) };
}

/** Whether a path has this owner, group and mode. */
export async function hasAccess(root: string, path: string, access: Access): Promise<boolean> {
  const { mode, uid, gid } = rightsIn(await Deno.stat(path));
  const owners = await ownersOf(root, access);
  return mode === access.mode && uid === owners.uid && gid === owners.gid;
}

/** Sets owner, group and mode. */
export async function giveRights(path: string, { mode, uid, gid }: Rights): Promise<void> {
  await Deno.chown(path, uid, gid);
  await Deno.chmod(path, mode);
}

/** @throws if the root has no such user or group. */
export async function rightsOf(root: string, access: Access): Promise<Rights> {
  const { uid, gid } = await ownersOf(root, access);
  if (uid === null) throw new Error(`there is no user ${access.owner}`);
  if (gid === null) throw new Error(`there is no group ${access.group}`);
  return { mode: access.mode, uid, gid };
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
export async function haveSameBytes(one: string, other: string): Promise<boolean> {
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

/** Whether both have the same bytes. */
export function equalBytes(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && a.every((byte, at) => byte === b[at]);
}
