// Compares the local time of this program with that of the machine, at the start and once a day. It changes
// neither: recording follows the rules of this program.

import type { ProblemReport } from "../status/problem_report.ts";
import { problems } from "../status/problems.ts";
import type { Clock } from "../system/clock.ts";
import type { ClockSync } from "../system/clock_sync.ts";
import { type MachineZone, readMachineZone } from "../system/machine_zone.ts";

const DAY_MS = 86_400_000;
/** A clock that is not right is compared when it is; a new difference is compared once more. */
const SOON_MS = 600_000;

export interface TimeZoneDeps {
  readonly clock: Clock;
  readonly clockSync: Pick<ClockSync, "isTrusted">;
  readonly problem: Pick<ProblemReport, "set" | "clear">;
  /** @default readMachineZone */
  readonly read?: () => Promise<MachineZone | null>;
}

/** Works until the signal aborts. */
export async function watchTimeZone(deps: TimeZoneDeps, signal: AbortSignal): Promise<void> {
  const { clock, clockSync, problem, read = readMachineZone } = deps;
  let differed = false;
  while (!signal.aborted) {
    const machine = clockSync.isTrusted ? await read() : null;
    const own = machine && offsetOf(clock.unixMs(), machine.zone);
    const differs = machine !== null && own !== null && own !== machine.offset;
    // The two are not read at one moment: the time may have been changed in between.
    if (differs && differed) problem.set(problems.timeZoneRules(machine.zone, own, machine.offset));
    if (!differs) problem.clear();
    const isNew = differs && !differed;
    differed = differs;
    await clock.sleep(isNew || !clockSync.isTrusted ? SOON_MS : DAY_MS, signal);
  }
}

/** By the rules of this program; null if it does not know the zone. */
function offsetOf(unixMs: number, zone: string): string | null {
  try {
    return Temporal.Instant.fromEpochMilliseconds(Math.floor(unixMs)).toZonedDateTimeISO(zone)
      .offset;
  } catch {
    return null;
  }
}
