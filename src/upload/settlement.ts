// Acts on attempts that failed: moves a chunk that is to blame, tells the report, waits, and says how long the
// backoff is. blame.ts decides whose fault it is. It sends nothing, and chooses no chunk but the one that is
// sent in place of a suspect.

import type { Clock } from "../system/clock.ts";
import type { Logger } from "../system/log.ts";
import type { Spool } from "../spool/spool.ts";
import { type Diagnosis, problems } from "../status/problems.ts";
import type { Status } from "../status/status.ts";
import type { Blame, Failure } from "./blame.ts";
import type { DeliveryReport } from "./delivery_report.ts";
import type { Backoff } from "./interval.ts";
import type { Pace } from "./pace.ts";
import type { Chosen, Queue } from "./queue.ts";
import type { Verdict } from "./verdict.ts";

/** The longest Retry-After that is obeyed: no server can stop deliveries for longer. */
const MAX_RETRY_AFTER_MS = 3_600_000;

/** The result of an attempt: the client's verdict, or why the file could not be sent. */
export type Outcome =
  | Verdict
  | { readonly kind: "unreadable"; readonly reason: string; readonly isNoChunk: boolean }
  | { readonly kind: "gone" };

type Refusal = Extract<Outcome, { kind: "refused" | "unreadable" }>;
type Retry = Extract<Outcome, { kind: "retry" }>;

/** A chunk that was sent. */
export interface Attempt extends Chosen {
  readonly sizeBytes: number;
}

export interface Failed {
  readonly attempt: Attempt;
  readonly outcome: Exclude<Outcome, { kind: "delivered" | "gone" }>;
}

export interface SettlementDeps {
  readonly spool: Spool;
  readonly clock: Clock;
  readonly status: Status;
  readonly log: Logger;
  readonly blame: Blame;
  readonly queue: Queue;
  readonly report: DeliveryReport;
  readonly pace: Pace;
  readonly backoff: Backoff;
}

export class Settlement {
  readonly #retryMaxMs: number;
  readonly #deps: SettlementDeps;

  /** @param retryMaxMs the wait after a failure that only a person can fix. */
  constructor(retryMaxMs: number, deps: SettlementDeps) {
    this.#retryMaxMs = retryMaxMs;
    this.#deps = deps;
  }

  /**
   * Handles one of the attempts that failed together: one whose failure concerns the server itself, else
   * that of the oldest chunk. The others only count as failed and are tried again in their turn. Returns
   * for how long the next round must wait, ms.
   */
  async settle(failed: readonly Failed[], signal: AbortSignal): Promise<number> {
    for (const _ of failed) this.#deps.status.uploadFailed();
    const acted = failed.find(({ outcome }) => speaksOfServer(outcome)) ?? failed[0];
    if (acted === undefined) return 0;
    const { attempt, outcome } = acted;
    if (attempt.dir === "rejected") {
      this.#stillRejected(attempt, outcome);
      // A delay that the server asks for concerns the waiting chunks, too.
      return outcome.kind === "retry" && speaksOfServer(outcome)
        ? await this.#settleRetry(attempt, outcome, signal)
        : 0;
    }
    switch (outcome.kind) {
      case "refused":
        return await this.#judge(
          attempt,
          outcome,
          outcome.status === 413 ? "too large" : "refused",
        );
      case "unreadable": {
        if (outcome.isNoChunk) return await this.#setAside(attempt, outcome.reason);
        const backoffMs = await this.#judge(attempt, outcome, "unreadable");
        if (this.#deps.blame.state !== "holding") return backoffMs;
        await this.#deps.clock.sleep(this.#retryMaxMs, signal); // it is the disk
        return 0;
      }
      case "retry":
        return await this.#settleRetry(attempt, outcome, signal);
      case "misconfigured": {
        const retryMaxMs = this.#retryMaxMs;
        this.#deps.blame.misconfigured();
        this.#deps.backoff.reset();
        this.#deps.report.outage(problems.uploadMisconfigured(outcome.reason), retryMaxMs);
        this.#deps.spool.sending.clear();
        // The next chunk would fail as well: try again slowly until the configuration is corrected.
        await this.#deps.clock.sleep(retryMaxMs, signal);
        return 0;
      }
    }
  }

  async #settleRetry(attempt: Attempt, outcome: Retry, signal: AbortSignal): Promise<number> {
    const askedMs = Math.min(outcome.retryAfterMs ?? 0, MAX_RETRY_AFTER_MS);
    const isRate = outcome.isRate !== undefined && askedMs === 0;
    const isPaced = isRate && this.#deps.pace.refused();
    const isPassedOver = this.#deps.blame.passedOver.has(attempt.name.key);
    // A server that names a delay, or wants fewer requests, means itself and not the chunk.
    const isServer = askedMs > 0 || outcome.isRate === "surely";
    if (!isServer || isPassedOver) return await this.#judge(attempt, outcome, "failed", isPaced);
    this.#deps.blame.asked();
    if (isPaced) return 0;
    const backoffMs = this.#deps.backoff.next(Math.random());
    this.#deps.report.outage(problems.uploadFailing(outcome.reason), askedMs + backoffMs);
    this.#deps.spool.sending.clear();
    if (askedMs > 0) await this.#deps.clock.sleep(askedMs, signal);
    return backoffMs;
  }

  /**
   * Does what follows from a failure that may be the fault of the chunk.
   * @param isPaced the server only limits the rate, which does not count as an outage.
   */
  async #judge(
    attempt: Attempt,
    outcome: Refusal | Retry,
    failure: Failure,
    isPaced = false,
  ): Promise<number> {
    const { fileName, name } = attempt;
    const attempts = this.#deps.blame.attemptsWith(name.key) + 1;
    const askedMs = outcome.kind === "retry" ? outcome.retryAfterMs ?? 0 : 0;
    const nowMs = this.#deps.clock.monotonicMs();
    const waitMs = Math.min(askedMs, MAX_RETRY_AFTER_MS);
    const judgement = this.#deps.blame.failed(attempt, failure, nowMs, waitMs);
    const isOver = ["reject", "pass over", "stays passed over"].includes(judgement);
    if (isOver) this.#deps.backoff.reset();
    if (judgement === "reject") await this.#reject(attempt, outcome, attempts);
    if (judgement === "pass over") {
      const problem = "The server fails on one chunk and takes others: it is passed over.";
      this.#deps.log.warning(problem, { chunk: fileName, reason: outcome.reason });
    }
    this.#deps.report.tellPassedOver(this.#deps.blame.passedOver);
    if (isOver || (isPaced && judgement === "wait")) return 0;
    this.#deps.spool.sending.clear();
    const isProbed = judgement === "probe" && await this.#deps.queue.planProbe();
    if (judgement === "probe" && !isProbed) this.#deps.blame.noProbe();
    // A probe is sent at once, so that the attempt after the backoff uses the oldest chunk, in order.
    const backoffMs = isProbed ? 0 : this.#deps.backoff.next(Math.random());
    const retryInMs = failure === "unreadable" ? this.#retryMaxMs : backoffMs;
    // A refusal may still turn out to be the fault of the chunk.
    const isOutage = failure === "failed" || this.#deps.report.isOutage ||
      this.#deps.blame.state === "holding";
    if (isOutage) this.#deps.report.outage(diagnose(attempt, outcome), retryInMs);
    return backoffMs;
  }

  /** A file that cannot be a chunk goes to rejected/, whatever the server does. */
  async #setAside(attempt: Attempt, reason: string): Promise<number> {
    const { blame, log } = this.#deps;
    blame.forget(attempt.name.key);
    const isMoved = await this.#moveToRejected(attempt, { reason });
    if (!isMoved) return 0;
    const problem = "A file in {dir} is not a recording; it was moved to rejected/.";
    log.error(problem, { dir: "outbox/", file: attempt.fileName, reason });
    return 0;
  }

  /** The chunk goes to rejected/ with the reason, and the queue continues. */
  async #reject(attempt: Attempt, outcome: Refusal | Retry, attempts: number): Promise<void> {
    const { reason } = outcome;
    const isMoved = await this.#moveToRejected(attempt, {
      reason,
      http_status: outcome.kind === "refused" ? outcome.status : null,
      rejected_at: new Date(this.#deps.clock.unixMs()).toISOString(),
      attempts,
      ...(outcome.kind === "refused" ? outcome.exchange : {}),
    });
    if (!isMoved) return;
    const problem = "A chunk is refused while others are accepted; it is in rejected/.";
    this.#deps.log.error(problem, { chunk: attempt.fileName, reason });
  }

  /** False: another process has removed the chunk, or it cannot be moved and is passed over. */
  async #moveToRejected(
    attempt: Attempt,
    reason: Readonly<Record<string, unknown>>,
  ): Promise<boolean> {
    const { fileName, name } = attempt;
    const { spool, queue, status, blame, clock, log } = this.#deps;
    if (spool.tally.rejected.files === 0) queue.rejectionsBegin();
    let isMoved = false;
    try {
      isMoved = await spool.reject(fileName, { ...reason, key: name.key });
    } catch (error) {
      // The others need not wait for a damaged directory entry.
      if (!blame.passOver(attempt, clock.monotonicMs(), error)) throw error;
      const problem = "A chunk cannot be moved to rejected/: it is passed over.";
      log.error(problem, { chunk: fileName, ...reason, error: String(error) });
    }
    if (isMoved) status.chunkRejected(name.durationUs);
    return isMoved;
  }

  /**
   * A chunk from rejected/ was not accepted: it stays there. That says nothing about the others. The interval
   * grows, unless the chunk was not judged: an answer that delays the others as well must become rare.
   */
  #stillRejected({ fileName, name }: Attempt, outcome: Failed["outcome"]): void {
    const { kind, reason } = outcome;
    const isJudged = kind === "refused" || kind === "unreadable" ||
      (kind === "retry" && speaksOfServer(outcome));
    this.#deps.queue.triedAgain(name, isJudged ? "refused" : "failed");
    this.#deps.log.info("A refused chunk was tried again, and was not accepted.", {
      chunk: fileName,
      reason,
      next_in_s: Math.round(this.#deps.queue.rejectedWaitMs / 1000),
    });
  }
}

/** Why everything waits. */
function diagnose({ sizeBytes }: Attempt, outcome: Refusal | Retry): Diagnosis {
  const { kind, reason } = outcome;
  if (kind === "retry") return problems.uploadFailing(reason);
  if (kind === "unreadable") return problems.spoolFailed(reason);
  return outcome.status === 413
    ? problems.uploadTooLarge(reason, sizeBytes)
    : problems.uploadRefused(reason);
}

/** Whether it concerns the server, not the chunk: a wrong configuration, or how fast it wants requests. */
function speaksOfServer(outcome: Outcome): boolean {
  return outcome.kind === "misconfigured" ||
    (outcome.kind === "retry" && ((outcome.retryAfterMs ?? 0) > 0 || outcome.isRate === "surely"));
}
