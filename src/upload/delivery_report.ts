// Says how delivery goes: what is wrong when it begins or changes its nature, and that it is over, to
// the log and to the status. What it is told it counts; it decides nothing and sends nothing.

import type { Clock } from "../system/clock.ts";
import type { Logger } from "../system/log.ts";
import type { Spool } from "../spool/spool.ts";
import type { Status } from "../status/status.ts";

export interface DeliveryReportDeps {
  readonly spool: Pick<Spool, "tally" | "path">;
  readonly clock: Pick<Clock, "monotonicMs">;
  readonly status: Status;
  readonly log: Logger;
}

export class DeliveryReport {
  readonly #deps: DeliveryReportDeps;
  readonly #retryMaxMs: number;
  /** Failed attempts, and since when on the monotonic clock; null: the server answers. */
  #outage: { readonly sinceMs: number; readonly attempts: number } | null = null;

  /** @param retryMaxMs between two attempts with chunks that are passed over, as it is said to people. */
  constructor(retryMaxMs: number, deps: DeliveryReportDeps) {
    this.#retryMaxMs = retryMaxMs;
    this.#deps = deps;
  }

  /** Whether delivering does not work just now. */
  get isOutage(): boolean {
    return this.#outage !== null;
  }

  /** An attempt came to nothing, for a cause that concerns more than its chunk. */
  failed(code: string, message: string): void {
    const { clock, status, log } = this.#deps;
    status.uploadFailed();
    const { sinceMs, attempts } = this.#outage ?? { sinceMs: clock.monotonicMs(), attempts: 0 };
    this.#outage = { sinceMs, attempts: attempts + 1 };
    if (!status.hasProblem(code)) log.warning("{problem}", { problem: message, code });
    status.clearProblem("upload_failing", "upload_misconfigured");
    status.setProblem(code, message);
  }

  /** The server has judged a chunk: it is there, and so is the disk. */
  answered(): void {
    const { clock, status, log } = this.#deps;
    status.clearProblem("upload_failing", "upload_misconfigured", "spool_failed");
    this.tellRejected();
    if (this.#outage === null) return;
    const { sinceMs, attempts } = this.#outage;
    this.#outage = null;
    log.warning("Delivery works again.", {
      failed_attempts: attempts,
      lasted_s: Math.round((clock.monotonicMs() - sinceMs) / 1000),
      ends: ["upload_failing", "upload_misconfigured", "spool_failed"],
    });
  }

  /** @param keys of the chunks that are passed over now, the next to be tried first. */
  tellPassedOver(keys: ReadonlySet<string>): void {
    const { status } = this.#deps;
    if (keys.size === 0) return status.clearProblem("chunks_passed_over");
    status.setProblem(
      "chunks_passed_over",
      `The server fails on ${keys.size} chunks again and again, and takes others: they stay in ` +
        `outbox/ and are tried again, one every ${
          this.#retryMaxMs / 1000
        } s; the first has the key ` +
        `${[...keys][0]}`,
    );
  }

  /** A problem for as long as there are rejected chunks, also those of an earlier run. */
  tellRejected(): void {
    const { spool, status } = this.#deps;
    const { files } = spool.tally.rejected;
    if (files === 0) return status.clearProblem("chunks_rejected");
    status.setProblem(
      "chunks_rejected",
      `${files} chunks were given up; the reasons are beside them in ` +
        `${spool.path("rejected", "")}: once that is put right, \`recorder-agent requeue\` ` +
        `puts them back`,
    );
  }
}
