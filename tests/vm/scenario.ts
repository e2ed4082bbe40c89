// The interface of a scenario, its report, and the checks after each scenario.

import type { Rig, Running } from "./rig.ts";
import { ledgerFaults, type ServiceState } from "./service.ts";
import { faultOf } from "./sound.ts";

export interface Scenario {
  readonly name: string;
  /** A sentence for `--list`. */
  readonly what: string;
  /** The name of the scenario that must run before this one: it prepares the guest. */
  readonly after?: string;
  readonly run: (rig: Rig, report: Report) => Promise<void>;
}

/**
 * The scenarios of these names, in this order. A scenario that another one needs comes before it. None comes twice.
 *
 * @throws {Error} if no scenario has one of the names.
 */
export function chooseScenarios(all: readonly Scenario[], names: readonly string[]): Scenario[] {
  const withNeeded = (name: string): Scenario[] => {
    const scenario = all.find((known) => known.name === name);
    if (scenario === undefined) throw new Error(`Cannot run ${name} as --list does not have it`);
    return [...scenario.after === undefined ? [] : withNeeded(scenario.after), scenario];
  };
  return [...new Set(names.flatMap(withNeeded))];
}

/** A line of the summary table. */
export interface Finding {
  readonly what: string;
  readonly value: string;
  readonly limit: string;
  readonly holds: boolean;
}

/** Collects the measurements of a scenario. */
export class Report {
  readonly findings: Finding[] = [];
  /** Keys of chunks that a scenario has compared with a whole file, byte by byte; they are not decoded once more. */
  readonly compared = new Set<string>();

  /** Adds a measurement without a limit. */
  measured(what: string, value: string): void {
    this.findings.push({ what, value, limit: "", holds: true });
  }

  /** Adds a time that must be at most `limitS` seconds. */
  atMost(what: string, seconds: number, limitS: number): void {
    const [value, limit] = [`${seconds.toFixed(2)} s`, `≤ ${limitS} s`];
    this.findings.push({ what, value, limit, holds: seconds <= limitS });
  }

  /** Adds a condition that must be true; `value` is what was observed. */
  holds(what: string, holds: boolean, value: string | number = holds ? "yes" : "no"): void {
    this.findings.push({ what, value: String(value), limit: "must", holds });
  }
}

export function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  return sorted[sorted.length >> 1] ?? NaN;
}

/** The state of the unit after READY, which follows the first packet within 2 s. */
async function settled({ guest, service }: Running): Promise<ServiceState> {
  for (let look = 0; look < 10; look++) {
    const state = await service.state();
    if (state.active !== "activating") return state;
    await guest.pass(1);
  }
  return await service.state();
}

/** Checks what must be true after every scenario; adds a line to the table for each fault. */
export async function checkAfter(rig: Rig, report: Report, seenChunks: number): Promise<void> {
  const { service } = rig.running;
  const { pid, restarts, active } = await settled(rig.running);
  const health = await service.health();
  const faults = [
    ...active === "active" ? [] : [`the unit is ${active}`],
    ...restarts === rig.expectedRestarts
      ? []
      : [`NRestarts is ${restarts}, not ${rig.expectedRestarts}`],
    ...(await service.orphans(pid)).map((line) => `orphan ffmpeg: ${line}`),
    ...health === null ? ["/health does not answer"] : ledgerFaults(health),
    ...(await service.list("rejected")).map((name) => `in rejected/: ${name}`),
    ...rig.ingest.violations.map((violation) => `the server objects: ${violation}`),
  ];
  for (const chunk of rig.ingest.chunks.slice(seenChunks)) {
    if (report.compared.has(chunk.key)) continue;
    const fault = await faultOf(chunk);
    if (fault !== null) faults.push(`${chunk.fileName}: ${fault}`);
  }
  const files = rig.ingest.chunks.length - seenChunks;
  const what = "no orphan, ledger balanced, no restart, all files valid";
  report.holds(what, faults.length === 0, `${files} files`);
  for (const fault of faults) report.holds(fault, false);
}
