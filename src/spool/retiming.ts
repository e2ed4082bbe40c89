// Gives chunks that were recorded before the clock was right their true time, as soon as it is. It
// renames files and nothing else; whether the clock is right is clock_sync.ts's to say.

import type { Boot } from "../system/clock_sync.ts";
import type { Clock } from "../system/clock.ts";
import { CHUNK_DIRS, type ChunkDir, type ChunkName, parseChunkName } from "../chunk/chunk_name.ts";
import type { Spool } from "./spool.ts";

/**
 * What a provisional name becomes under a synchronized clock: the true time for a chunk of this boot;
 * for one of an earlier boot, whose true time is lost, the mark from when its age counts. Null if the
 * name is as good as it gets.
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

/** What a synchronized clock says; read once for all chunks, so that they keep joining. */
export interface TrueTime {
  readonly bootId: string;
  /** UTC at which this boot began, Unix microseconds. */
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

/** Lengths follow the wrong clock's own jitter: what is this close was one sound, and joins. */
const JOIN_US = 5_000;

/**
 * Renames every chunk whose name can be bettered. Returns how many got their true time, and how many
 * must be asked for again, as they are being sent or the disk failed.
 */
export async function retimeChunks(
  spool: Spool,
  now: TrueTime,
): Promise<{ retimed: number; busy: number }> {
  const count = { retimed: 0, busy: 0 };
  for (const dir of CHUNK_DIRS) {
    let endUnixUs = -Infinity;
    for (const fileName of await spool.recount(dir, (name) => retimed(name, now) !== null)) {
      const name = parseChunkName(fileName);
      let better = name === null ? null : retimed(name, now);
      if (better === null) continue;
      if (Math.abs(better.startUnixUs - endUnixUs) < JOIN_US) {
        better = { ...better, startUnixUs: endUnixUs };
      }
      endUnixUs = better.startUnixUs + better.durationUs;
      if (!await renameIfPossible(spool, dir, fileName, better)) count.busy++;
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
    return false; // a disk that fails must not end the recording: it is tried again
  }
}
