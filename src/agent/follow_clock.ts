// Waits until the clock is synchronized, and then gives the waiting chunks their true time. It also finishes what a
// power cut has kept an earlier run from. How a chunk is renamed, retiming.ts knows.

import { type BootTime, writeBootTime } from "../spool/boot_time.ts";
import { restoreHistory } from "../spool/restore_history.ts";
import { retimeChunks } from "../spool/retiming.ts";
import type { Spool } from "../spool/spool.ts";
import { readTrueTime } from "../spool/true_time.ts";
import { ProblemReport } from "../status/problem_report.ts";
import { problems } from "../status/problems.ts";
import type { Status } from "../status/status.ts";
import type { Clock } from "../system/clock.ts";
import type { Boot, ClockSync } from "../system/clock_sync.ts";
import type { Logger } from "../system/log.ts";
import { wallTime } from "../system/wall_time.ts";

/** Chunks of another process ring no bell: they get their true time after a day at the latest. */
const RETIMING_INTERVAL_MS = 86_400_000;

export interface FollowClockDeps {
  readonly clock: Clock;
  readonly clockSync: ClockSync;
  readonly log: Logger;
  readonly spool: Spool;
  readonly status: Status;
  readonly boot: Boot;
  /** IANA name of the zone in which times are told. */
  readonly timeZone: string;
  /** Called when the clock is synchronized. */
  readonly onTrusted: () => void;
}

/**
 * Call this at the start, after the recovery: chunks whose true time an earlier run learned, and whose names a
 * power cut or a crash kept from it, get it before anything is sent or declared. Never rejects.
 */
export async function retimeEarlier(spool: Spool, log: Logger): Promise<void> {
  const { bootTime } = spool;
  if (bootTime === null || !spool.hasProvisional(bootTime.bootId)) return;
  await retimeBoot(spool, bootTime, log);
}

/** Returns whether no chunk of that boot waits for its true time any longer. Never rejects. */
async function retimeBoot(spool: Spool, bootTime: BootTime, log: Logger): Promise<boolean> {
  try {
    const { retimed, busy } = await retimeChunks(spool, { ...bootTime, unixS: null });
    if (retimed > 0) logRetimed(log, retimed);
    return busy === 0;
  } catch (error) {
    log.debug("The spool cannot be listed.", { error: String(error) });
    return false;
  }
}

function logRetimed(log: Logger, chunks: number): void {
  log.info("Chunks that waited got their true time.", { chunks });
}

/** Works until the signal aborts. */
export async function followClock(deps: FollowClockDeps, signal: AbortSignal): Promise<void> {
  const { clock, clockSync, log, spool, status, boot } = deps;
  const problem = new ProblemReport({ clock, status, log: log.getChild("clock") });
  const says = () => wallTime(clock.unixMs(), deps.timeZone, "minute");
  await clockSync.run(signal, () => problem.set(problems.clockNotSynchronized(says())));
  let isKept = true;
  if (clockSync.isTrusted) {
    problem.clear();
    deps.onTrusted();
    // Before the names change: a power cut may undo that.
    isKept = await keepBootTime(deps);
  }
  while (!signal.aborted) {
    let again = true;
    try {
      const { retimed, busy } = await retimeChunks(spool, readTrueTime(boot, clock));
      if (retimed > 0) {
        logRetimed(log, retimed);
        status.history.forgetDay();
        await restoreHistory(status.history, spool, clock.unixMs());
      }
      again = busy > 0 || !isKept;
    } catch (error) {
      log.debug("The spool cannot be listed.", { error: String(error) });
    }
    // A chunk that was named before the synchronization may be sealed later, if the disk is slow.
    if (again) await clock.sleep(5000, signal);
    else await spool.provisional.wait(clock, RETIMING_INTERVAL_MS, signal);
    if (!isKept && !signal.aborted) isKept = await keepBootTime(deps);
  }
}

/**
 * Remembers when this boot began, in place of an earlier one. False: the earlier one is still needed, because a
 * chunk of it could not be renamed.
 */
async function keepBootTime({ clock, log, spool, boot }: FollowClockDeps): Promise<boolean> {
  const { bootTime } = spool;
  const isOther = bootTime !== null && bootTime.bootId !== boot.id;
  if (isOther && !await retimeBoot(spool, bootTime, log)) return false;
  await writeBootTime(spool.dir, readTrueTime(boot, clock)).catch((error) => {
    log.warning("{file} cannot be written.", { file: "boot_time.json", error: String(error) });
  });
  return true;
}
