// One problem from its beginning to its end: a line in the log for each of the two, and the entry in
// /health in between. It never finds a problem: the workers report what they find, with the messages of
// problems.ts.

import type { Clock } from "../system/clock.ts";
import type { Logger } from "../system/log.ts";
import { type Diagnosis, inOneLine, isError, type ProblemCode } from "./problems.ts";
import type { Status } from "./status.ts";

export interface ProblemReportDeps {
  readonly clock: Pick<Clock, "monotonicMs">;
  readonly status: Status;
  readonly log: Logger;
  /** Field of the last line that says how many times the problem was reported; default `reported`. */
  readonly countField?: string;
}

/**
 * Holds at most one problem at a time. Another one replaces and continues it: a problem that changes its
 * code is one outage, with one beginning and one end.
 */
export class ProblemReport {
  readonly #deps: ProblemReportDeps;
  #current:
    | { readonly code: ProblemCode; readonly sinceMs: number; readonly count: number }
    | null = null;
  /** The codes that the outage has had. */
  readonly #codes = new Set<ProblemCode>();

  constructor(deps: ProblemReportDeps) {
    this.#deps = deps;
  }

  /** Whether there is a problem now. */
  get isLasting(): boolean {
    return this.#current !== null;
  }

  /**
   * Begins a problem, or counts the lasting one again and gives it a new message in /health.
   * @param retryInMs when the program tries again, if it is known.
   */
  set(diagnosis: Diagnosis, retryInMs?: number): void {
    const { clock, status, log } = this.#deps;
    const { code, message, fix } = diagnosis;
    const before = this.#current;
    const { sinceMs, count } = before ?? { sinceMs: clock.monotonicMs(), count: 0 };
    this.#current = { code, sinceMs, count: count + 1 };
    const retry = retryInMs === undefined ? {} : { retryInMs };
    status.setProblem(code, inOneLine(diagnosis), { before: before?.code, ...retry });
    if (before?.code === code) return;
    this.#codes.add(code);
    const fields = { problem: message, fix, code };
    if (isError(code)) log.error("{problem}", fields);
    else log.warning("{problem}", fields);
  }

  /**
   * Ends the problem, if there is one.
   * @param why it is not reported any more though nobody knows that it is resolved.
   */
  clear(why: string | null = null): void {
    if (this.#current === null) return;
    const { clock, status, log, countField = "reported" } = this.#deps;
    const { code, sinceMs, count } = this.#current;
    this.#current = null;
    status.clearProblem(code);
    const line = why === null
      ? "Resolved after {lasted_s} s: {resolved}."
      : "No longer reported after {lasted_s} s: {resolved}.";
    log.warning(line, {
      resolved: code,
      ...(why === null ? {} : { why }),
      lasted_s: Math.round((clock.monotonicMs() - sinceMs) / 100) / 10,
      [countField]: count,
      // Until this line, the log holds back repeats of these codes.
      ends: [...this.#codes],
    });
    this.#codes.clear();
  }
}
