// Gives chunks that were recorded before the clock was right their true time, as soon as it is known. It
// renames files and nothing else; true_time.ts says what a name becomes.

import { CHUNK_DIRS, type ChunkDir, type ChunkName, formatChunkName } from "../chunk/chunk_name.ts";
import type { Spool } from "./spool.ts";
import { retimed, type TrueTime } from "./true_time.ts";

/**
 * Lengths contain the jitter of the wrong clock. Chunks that are this close to each other were one sound,
 * and are joined.
 */
const JOIN_US = 5_000;

/**
 * Renames every chunk whose name can be improved. Returns how many got their true time, and how many must
 * be tried again because they are being sent or the disk failed.
 */
export async function retimeChunks(
  spool: Spool,
  now: TrueTime,
): Promise<{ retimed: number; busy: number }> {
  const count = { retimed: 0, busy: 0 };
  for (const dir of CHUNK_DIRS) {
    let endUnixUs = -Infinity;
    for (const name of await spool.recount(dir, (name) => retimed(name, now) !== null)) {
      let better = retimed(name, now);
      if (better === null) continue;
      if (Math.abs(better.startUnixUs - endUnixUs) < JOIN_US) {
        better = { ...better, startUnixUs: endUnixUs };
      }
      endUnixUs = better.startUnixUs + better.durationUs;
      if (!await renameIfPossible(spool, dir, formatChunkName(name), better)) count.busy++;
      else if (better.provisional === undefined) count.retimed++;
    }
  }
  if (count.retimed > 0) await spool.syncAdmitted();
  return count;
}

async function renameIfPossible(
  spool: Spool,
  dir: ChunkDir,
  fileName: string,
  name: ChunkName,
): Promise<boolean> {
  try {
    return await spool.rename(dir, fileName, name);
  } catch {
    return false; // a failing disk must not end the recording; the caller tries again
  }
}
