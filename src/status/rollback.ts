// The report that an update was rolled back. packaging/update/update-trial writes it, as root, before it starts the
// previous program again; that program reports it until another update begins. It only reads.

import { readNamedText } from "../system/disk.ts";
import { MAX_TEXT, printable } from "../system/printable.ts";
import { ProblemReport, type ProblemReportDeps } from "./problem_report.ts";
import { problems } from "./problems.ts";

/** Belongs to root: the service can read it, and nothing it does leads root elsewhere. */
export const UPDATE_DIR = "/var/lib/recorder-agent-update";
export const ROLLED_BACK = `${UPDATE_DIR}/rolled-back`;

export interface Rollback {
  /** Of the program that did not stay; empty if it is unknown. */
  readonly version: string;
  /** Why not, such as "it ended 3 times". */
  readonly reason: string;
}

/** Reports it for the rest of this run: the note does not change before the next start. */
export async function reportRollback(deps: ProblemReportDeps, path?: string): Promise<void> {
  const rollback = await readRollback(path);
  if (rollback === null) return;
  new ProblemReport(deps).set(problems.updateRolledBack(rollback.version, rollback.reason));
}

/** Null: the last update was not rolled back, or there was none. */
export async function readRollback(path: string = ROLLED_BACK): Promise<Rollback | null> {
  let text: string;
  try {
    text = await readNamedText(path);
  } catch {
    return null;
  }
  const valueOf = (name: string) =>
    printable(new RegExp(`^${name}=(.*)$`, "m").exec(text)?.[1] ?? "", MAX_TEXT);
  return { version: valueOf("to"), reason: valueOf("reason") };
}
