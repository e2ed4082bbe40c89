// Draws at random how the disk of a schedule fails, and at which call the program dies.

import type { Death, DiskCall, FaultDisk } from "../fixtures/fault_disk.ts";

type Random = () => number;

/** In the name of a chunk. */
const KEY = /[\da-f]{8}(-[\da-f]{4}){3}-[\da-f]{12}/;

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

/** Damages the directory entry, or the contents, of one chunk that is there. Returns what always fails. */
export function damageName({ faults, model }: FaultDisk, random: Random): string {
  const keys = [...model.files.keys()].flatMap((path) => KEY.exec(path)?.[0] ?? []);
  const key = keys[Math.floor(random() * keys.length)];
  if (key === undefined) return "nothing";
  const calls = pick<readonly DiskCall[]>(random, [
    ["rename"],
    ["rename", "remove"],
    ["rename", "remove"],
    ["remove"],
    ["sync"],
    ["read"],
  ]);
  faults.damaged.set(key, calls);
  return `${calls} of ${key}`;
}

export function repairDisk({ faults }: FaultDisk): void {
  Object.assign(faults, { capacityBytes: Infinity, readOnly: false, eio: {} });
  faults.damaged.clear();
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
