// One `install` or `uninstall` at a time: two would replace the drafts of each other, and the undo of one would take
// away what the other has written. The judge of an update (packaging/update/update-trial) waits for the lock, too.

import { takeLock } from "../system/disk.ts";

/**
 * The lock of the system that runs. It is in memory, as its disk may be that of a server, and only root can open it:
 * a lock needs no more than reading, and who holds this one blocks updates and their way back. It stays until the next
 * boot: without its file, two could hold it.
 */
export const LOCK = "/run/recorder-agent-install.lock";

/**
 * Takes the lock of the system below `root`; closing the file releases it.
 * @param lock for tests. @throws if another command has it.
 */
export async function lockSystem(
  root: string,
  command: "install" | "uninstall",
  lock: string = LOCK,
): Promise<Deno.FsFile> {
  // Of an image, the folder: nothing is left in it, and nothing there waits for a judge.
  const file = root === "/"
    ? await Deno.open(lock, { read: true, write: true, create: true, mode: 0o600 })
    : await Deno.open(root, { read: true });
  // A file system without locks is that of an image on a server.
  if (await takeLock(file).catch(() => true)) return file;
  file.close();
  throw new Error(
    `Cannot ${command} as another install or uninstall must end first: try again when it has ended`,
  );
}
