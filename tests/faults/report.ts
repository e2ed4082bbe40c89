// Adds up the results of schedules, and prints them as a table.

import type { Outcome } from "./oracle.ts";
import type { ScheduleResult } from "./schedule.ts";

/** The results of some schedules, as numbers that add up. */
export interface Totals {
  schedules: number;
  boots: number;
  injected: Record<string, number>;
  chunks: Outcome;
  /** The largest of any schedule. */
  killLossMs: number;
  powerCutLossMs: number;
}

export class Report implements Totals {
  schedules = 0;
  boots = 0;
  readonly injected: Record<string, number> = {};
  readonly chunks: Outcome = {
    sealed: 0,
    accepted: 0,
    waiting: 0,
    refused: 0,
    evicted: 0,
    undeclared: 0,
    lost: 0,
    doubled: 0,
    returned: 0,
    repeats: 0,
    begunBehind: 0,
    blamed: 0,
  };
  killLossMs = 0;
  powerCutLossMs = 0;

  add({ outcome, injected, boots, largestLossMs }: ScheduleResult): void {
    this.merge({
      schedules: 1,
      boots,
      injected: { ...injected },
      chunks: outcome,
      killLossMs: largestLossMs["kill"],
      powerCutLossMs: largestLossMs["power cut"],
    });
  }

  merge(other: Totals): void {
    this.schedules += other.schedules;
    this.boots += other.boots;
    for (const [kind, count] of Object.entries(other.injected)) {
      this.injected[kind] = (this.injected[kind] ?? 0) + count;
    }
    for (const key of Object.keys(this.chunks) as (keyof Outcome)[]) {
      this.chunks[key] += other.chunks[key];
    }
    this.killLossMs = Math.max(this.killLossMs, other.killLossMs);
    this.powerCutLossMs = Math.max(this.powerCutLossMs, other.powerCutLossMs);
  }

  get faults(): number {
    return Object.values(this.injected).reduce((sum, count) => sum + count, 0);
  }

  table(seconds: number): string {
    const { chunks } = this;
    const kinds = Object.entries(this.injected).sort(([a], [b]) => a < b ? -1 : 1);
    const rows: [string, number | string][] = [
      ["schedules", this.schedules],
      ["starts of the program", this.boots],
      ["faults", this.faults],
      ...kinds.map(([kind, count]): [string, number] => [`  ${kind}`, count]),
      ["chunks", chunks.sealed],
      ["  accepted", chunks.accepted],
      ["  waiting", chunks.waiting],
      ["  refused, with the reason", chunks.refused],
      ["  evicted or expired, and declared", chunks.evicted],
      ["  the same, the disk did not take the declaration", chunks.undeclared],
      ["  lost", chunks.lost],
      ["accepted under two keys", chunks.doubled],
      ["sent again under the same key", chunks.repeats],
      ["sent while an older one was in flight", chunks.begunBehind],
      ["refused while others were accepted", chunks.blamed],
      ["evicted, brought back by a power cut", chunks.returned],
      ["largest loss by kill -9, ms", this.killLossMs],
      ["largest loss by a power cut, ms", this.powerCutLossMs],
      ["seconds taken", seconds.toFixed(1)],
    ];
    const width = Math.max(...rows.map(([name]) => name.length));
    return rows.map(([name, value]) => `${name.padEnd(width)}  ${String(value).padStart(7)}`)
      .join("\n");
  }
}
