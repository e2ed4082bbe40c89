// How delivery does, to the log and to the status: an outage, chunks that are passed over, chunks that
// were rejected. It decides nothing and sends nothing.

import type { Clock } from "../system/clock.ts";
import type { Logger } from "../system/log.ts";
import type { Spool } from "../spool/spool.ts";
import { ProblemReport } from "../status/problem_report.ts";
import { type Diagnosis, problems } from "../status/problems.ts";
import type { Status } from "../status/status.ts";

export interface DeliveryReportDeps {
  readonly spool: Pick<Spool, "tally" | "path">;
  readonly clock: Pick<Clock, "monotonicMs">;
  readonly status: Status;
  readonly log: Logger;
}

export class DeliveryReport {
  readonly #deps: DeliveryReportDeps;
  readonly #outage: ProblemReport;
  readonly #passedOver: ProblemReport;
  readonly #rejected: ProblemReport;
  /** How many rejected chunks were told last. */
  #toldRejected = 0;

  constructor(deps: DeliveryReportDeps) {
    this.#deps = deps;
    this.#outage = new ProblemReport({ ...deps, countField: "failed_attempts" });
    this.#passedOver = new ProblemReport(deps);
    this.#rejected = new ProblemReport(deps);
  }

  /** Whether nothing can be delivered at present. */
  get isOutage(): boolean {
    return this.#outage.isLasting;
  }

  /** An attempt failed, for a cause that concerns more than its chunk. */
  failed(diagnosis: Diagnosis): void {
    this.#deps.status.uploadFailed();
    this.#outage.set(diagnosis);
  }

  /** The server has judged a chunk: the server works, and so does the disk. */
  answered(): void {
    this.tellRejected();
    this.#outage.clear();
  }

  /** @param keys of the chunks that are passed over now, the next to be tried first. */
  tellPassedOver(keys: ReadonlySet<string>): void {
    const [key] = keys;
    if (key === undefined) this.#passedOver.clear();
    else this.#passedOver.set(problems.chunksPassedOver(keys.size, key));
  }

  /** A problem while there are rejected chunks, including those of an earlier run. */
  tellRejected(): void {
    const { spool } = this.#deps;
    const { files } = spool.tally.rejected;
    if (files === this.#toldRejected) return;
    this.#toldRejected = files;
    if (files === 0) this.#rejected.clear();
    else this.#rejected.set(problems.chunksRejected(files, spool.path("rejected", "")));
  }
}
