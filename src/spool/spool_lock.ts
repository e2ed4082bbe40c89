// One agent per spool: a lock on a file in it. The lock ends with the process, however the process ends.

import { join } from "@std/path/join";
import { takeLock, writeAll } from "../system/disk.ts";

/** Another process has the spool. */
export class SpoolLockedError extends Error {}

/**
 * Takes the lock of a spool; closing the file releases it.
 * @throws {SpoolLockedError} that names the process which has it.
 */
export async function lockSpool(dir: string): Promise<Deno.FsFile> {
  const path = join(dir, "lock");
  await refuseOther(path);
  const lock = await Deno.open(path, { create: true, read: true, write: true });
  if (await takeLock(lock)) {
    await signLock(lock);
    return lock;
  }
  const holder = await holderOf(lock);
  lock.close();
  throw new SpoolLockedError(
    `Cannot use spool_dir ${dir} as another recorder-agent is using it` +
      (holder === null ? "" : ` (process ${holder})`) +
      `: stop that one, or give this one another spool_dir`,
  );
}

/** Nothing is written through a link: the program may run as root. @throws if it is not a regular file. */
async function refuseOther(path: string): Promise<void> {
  const info = await Deno.lstat(path).catch(() => null);
  if (info !== null && !info.isFile) throw new Error(`${path} must be a regular file: remove it`);
}

/** The process id that the holder of the lock has written into it, or null. */
async function holderOf(lock: Deno.FsFile): Promise<string | null> {
  const bytes = new Uint8Array(16);
  await lock.read(bytes);
  return /^\d+/.exec(new TextDecoder().decode(bytes))?.[0] ?? null;
}

/** Writes the process id, for a process that finds the lock taken. A full disk must not prevent a start. */
async function signLock(lock: Deno.FsFile): Promise<void> {
  try {
    await lock.truncate();
    await writeAll(lock, new TextEncoder().encode(`${Deno.pid}\n`));
  } catch { /* the lock holds without it */ }
}
