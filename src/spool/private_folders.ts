// Keeps the folders of a spool to the user of the service: recordings are people's voices. It changes
// permissions, and nothing else; what it cannot change it says.

import { join } from "@std/path/join";
import { CHUNK_DIRS } from "../chunk/chunk_name.ts";
import { ifThere } from "../system/disk.ts";
import type { Logger } from "../system/log.ts";

/** Permissions of other users. */
const OF_OTHERS = 0o077;

/** The folders that others may enter, list or change, the spool itself first. A link is not a folder. */
export async function findOpenFolders(
  dir: string,
): Promise<{ readonly path: string; readonly mode: number }[]> {
  const found: { path: string; mode: number }[] = [];
  for (const path of [dir, ...["recording", ...CHUNK_DIRS].map((sub) => join(dir, sub))]) {
    const info = await ifThere(path === dir ? Deno.stat(path) : Deno.lstat(path));
    const mode = info?.isDirectory ? info.mode ?? 0 : 0;
    if ((mode & OF_OTHERS) !== 0) found.push({ path, mode: mode & 0o7777 });
  }
  return found;
}

/** Takes the permissions of other users away. Never rejects: a recording does not depend on it. */
export async function closeOpenFolders(dir: string, log: Logger): Promise<void> {
  try {
    for (const { path, mode } of await findOpenFolders(dir)) {
      await Deno.chmod(path, mode & ~OF_OTHERS);
      log.warning("Other users could reach recordings; now only the service can.", {
        path,
        mode_before: mode.toString(8),
      });
    }
    const [open] = await findOpenFolders(dir); // a disk without permissions (FAT) keeps none
    if (open !== undefined) throw new Error(`${open.path} has the mode ${open.mode.toString(8)}`);
  } catch (error) {
    log.error("Other users can reach recordings, and this cannot be changed.", {
      error: String(error),
    });
  }
}
