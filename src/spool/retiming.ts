// Gives chunks that were recorded before the clock was right their true time, as soon as it is. It
// renames files and nothing else; whether the clock is right is clock_sync.ts's to say.

import type { Boot } from "../clock_sync.ts";
import type { Clock } from "../clock.ts";
import { CHUNK_DIRS, type ChunkName, parseChunkName } from "./chunk_name.ts";
import type { Spool } from "./spool.ts";

/**
 * What a provisional name becomes under a synchronized clock: the true time for a chunk of this boot;
 * for one of an earlier boot, whose true time is lost, the mark from when its age counts. Null if the
 * name is as good as it gets.
 */
export function retimed(name: ChunkName, boot: Boot, clock: Clock): ChunkName | null {
  const { provisional, ...rest } = name;
  if (provisional === undefined) return null;
  const unixMs = clock.unixMs();
  if (provisional.bootId === boot.id) {
    const bootUnixMs = unixMs - clock.monotonicMs() - boot.zeroMs;
    return { ...rest, startUnixUs: Math.round(bootUnixMs * 1000) + provisional.startBootUs };
  }
  if (provisional.seenUnixS !== null) return null;
  return { ...rest, provisional: { ...provisional, seenUnixS: Math.floor(unixMs / 1000) } };
}

/**
 * Renames every chunk whose name can be bettered. Returns how many got their true time, and how many
 * must be asked for again, as they are being sent.
 */
export async function retimeChunks(
  spool: Spool,
  boot: Boot,
  clock: Clock,
): Promise<{ retimed: number; busy: number }> {
  const count = { retimed: 0, busy: 0 };
  for (const dir of CHUNK_DIRS) {
    for (const fileName of spool.list(dir)) {
      const name = parseChunkName(fileName);
      const better = name === null ? null : retimed(name, boot, clock);
      if (better === null) continue;
      if (!await spool.rename(dir, fileName, better)) count.busy++;
      else if (better.provisional === undefined) count.retimed++;
    }
  }
  if (count.retimed > 0) await spool.syncAdmitted();
  return count;
}
