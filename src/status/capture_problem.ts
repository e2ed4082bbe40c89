// One problem with the sound from its beginning to its end: a line in the log for each of the two, and
// the place in /health meanwhile. What the problem is was found out elsewhere.

import type { Clock } from "../system/clock.ts";
import type { Logger } from "../system/log.ts";
import type { Status } from "./status.ts";
import { type Diagnosis, type DiagnosisCode, inOneLine } from "./diagnosis.ts";

export interface CaptureProblemDeps {
  readonly clock: Clock;
  readonly status: Status;
  readonly log: Logger;
}

/** At most one problem at a time; another one takes its place, and goes on for it: there is one outage. */
export class CaptureProblem {
  readonly #deps: CaptureProblemDeps;
  #current: { code: DiagnosisCode; sinceMs: number } | null = null;
  /** What the outage was taken for since it began. */
  readonly #codes = new Set<DiagnosisCode>();

  constructor(deps: CaptureProblemDeps) {
    this.#deps = deps;
  }

  /** Announces it, or gives the one that lasts new words in /health. */
  set(diagnosis: Diagnosis): void {
    const { clock, status, log } = this.#deps;
    const { code, message, mend } = diagnosis;
    const before = this.#current;
    if (before?.code !== code) {
      this.#current = { code, sinceMs: before?.sinceMs ?? clock.monotonicMs() };
      this.#codes.add(code);
      log.warning("{problem}", { problem: message, mend, code });
    }
    status.setProblem(code, inOneLine(diagnosis), before?.code);
  }

  /** It is over, if there is one. */
  clear(): void {
    if (this.#current === null) return;
    const { clock, status, log } = this.#deps;
    const { code, sinceMs } = this.#current;
    this.#current = null;
    status.clearProblem(code);
    const lastedS = Math.round((clock.monotonicMs() - sinceMs) / 100) / 10;
    const ends = [...this.#codes];
    this.#codes.clear();
    log.warning("Over after {lasted_s} s: {over}.", { over: code, lasted_s: lastedS, ends });
  }
}
