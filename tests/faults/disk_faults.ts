// Draws at random how the disk of a schedule fails, and at which call the program dies.

import type { Death, DiskCall, FaultDisk } from "../fixtures/fault_disk.ts";

type Random = () => number;

const CALLS = ["open", "list", "look", "read", "write", "sync", "rename", "remove"] as const;

function pick<T>(random: Random, of: readonly [T, ...T[]]): T {
  return of[Math.floor(random() * of.length)] ?? of[0];
}

/** Makes the disk nearly full, read-only, or failing in calls of one kind. Returns which. */
export function breakDisk(
  { faults, usedBytes }: FaultDisk,
  random: Random,
  calls: readonly [DiskCall, ...DiskCall[]] = CALLS,
): string {
  const kind = pick(random, ["full", "full", "read-only", "eio", "eio"]);
  if (kind === "full") faults.capacityBytes = usedBytes + Math.floor(random() * 15_000);
  else if (kind === "read-only") faults.readOnly = true;
  else faults.eio = { [pick(random, calls)]: pick(random, [0.1, 0.5, 1]) };
  return kind;
}

export function repairDisk({ faults }: FaultDisk): void {
  Object.assign(faults, { capacityBytes: Infinity, readOnly: false, eio: {} });
}

/** Draws a death at any call, or at a rename, remove or sync. */
export function drawDeath(random: Random): Death {
  const of = random() < 0.5 ? null : pick<DiskCall>(random, ["rename", "remove", "sync"]);
  const calls = of === null ? 250 : 30;
  return {
    afterCalls: 1 + Math.floor(calls * random() ** 2),
    of,
    how: pick(random, ["before", "after", "torn"]),
  };
}
