// The true times of chunks that were recorded before the clock was right, from the time at which their boot began.
// Pure; clock_sync.ts decides whether the clock is right.

import type { ChunkName } from "../chunk/chunk_name.ts";
import type { Boot } from "../system/clock_sync.ts";
import type { Clock } from "../system/clock.ts";
import type { BootTime } from "./boot_time.ts";

/**
 * What a provisional name becomes when the true time is known. A chunk of that boot gets its true time. The
 * true time of a chunk of another boot is lost; under a synchronized clock its name gets the time from which
 * its age counts. Null if the name cannot be improved.
 */
export function retimed(name: ChunkName, now: TrueTime): ChunkName | null {
  const { provisional, ...rest } = name;
  if (provisional === undefined) return null;
  if (provisional.bootId === now.bootId) {
    return { ...rest, startUnixUs: now.bootUnixUs + provisional.startBootUs };
  }
  if (provisional.seenUnixS !== null || now.unixS === null) return null;
  return { ...rest, provisional: { ...provisional, seenUnixS: now.unixS } };
}

/** The time of a synchronized clock. It is read once for all chunks, so that they still join. */
export interface TrueTime extends BootTime {
  /** Now; null if only a clock of an earlier run was synchronized. */
  readonly unixS: number | null;
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
