// Gives chunks that were recorded before the clock was right their true time, as soon as it is known. It
// renames files and nothing else; clock_sync.ts decides whether the clock is right.

import type { Boot } from "../system/clock_sync.ts";
import type { Clock } from "../system/clock.ts";
import { CHUNK_DIRS, type ChunkDir, type ChunkName, formatChunkName } from "../chunk/chunk_name.ts";
import type { Spool } from "./spool.ts";

/**
 * What a provisional name becomes under a synchronized clock. A chunk of this boot gets its true time. The
 * true time of a chunk of an earlier boot is lost; its name gets the time from which its age counts. Null
 * if the name cannot be improved.
 */
export function retimed(name: ChunkName, now: TrueTime): ChunkName | null {
  const { provisional, ...rest } = name;
  if (provisional === undefined) return null;
  if (provisional.bootId === now.bootId) {
    return { ...rest, startUnixUs: now.bootUnixUs + provisional.startBootUs };
  }
  if (provisional.seenUnixS !== null) return null;
  return { ...rest, provisional: { ...provisional, seenUnixS: now.unixS } };
}

/** The time of a synchronized clock. It is read once for all chunks, so that they still join. */
export interface TrueTime {
  readonly bootId: string;
  /** When this boot began, Unix microseconds. */
  readonly bootUnixUs: number;
  readonly unixS: number;
}

/** Reads the clock once, for all chunks that get their true time together. */
export function readTrueTime(boot: Boot, clock: Clock): TrueTime {
  const unixMs = clock.unixMs();
  const bootUnixMs = unixMs - clock.monotonicMs() - boot.zeroMs;
  return {
    bootId: boot.id,
    bootUnixUs: Math.round(bootUnixMs * 1000),
    unixS: Math.floor(unixMs / 1000),
  };
}

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
