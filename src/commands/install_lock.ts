// One `install` or `uninstall` at a time: two would replace the drafts of each other, and the undo of one would take
// away what the other has written. The lock is that of a folder, so that it leaves nothing behind. The judge of an
// update (packaging/update/update-trial) waits for it, too.

import { takeLock } from "../system/disk.ts";

/**
 * Takes the lock of the system below `root`; closing the folder releases it.
 * @throws if another command has it.
 */
export async function lockSystem(
  root: string,
  command: "install" | "uninstall",
): Promise<Deno.FsFile> {
  // In memory: the disk of the system itself may be that of a server, too.
  const folder = await Deno.open(root === "/" ? "/run" : root, { read: true });
  // A file system without locks is that of an image on a server.
  if (await takeLock(folder).catch(() => true)) return folder;
  folder.close();
  throw new Error(
    `Cannot ${command} as another install or uninstall must end first: it is running, or waits for answers on its ` +
      `terminal`,
  );
}
