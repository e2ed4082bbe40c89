// Delivers the chunks in outbox/, the oldest first, and files each one away once the server has it. It
// decides when to try again. verdict.ts interprets the answers, queue_order.ts chooses the next
// chunk, and send_window.ts limits how many are sent at a time. A chunk leaves outbox/ only after an answer
// that allows it.
//
// While deliveries succeed and more than one chunk waits, several requests are in flight: a round. They
// start in the order of time and are settled in the same order, so that a newer chunk is never more than
// `concurrency` - 1 ahead of an older one. After any other result the round starts no further request and
// waits for those in flight; then the uploader continues with one chunk at a time. The module is long
// because a round, its failures and the next choice share the state of what is in flight.

import { retry } from "@std/async/retry";
import type { Clock } from "../system/clock.ts";
import type { Logger } from "../system/log.ts";
import { type ChunkName, formatChunkName } from "../chunk/chunk_name.ts";
import { sizeOf } from "../system/disk.ts";
import type { Spool } from "../spool/spool.ts";
import { problems } from "../status/problems.ts";
import type { Status } from "../status/status.ts";
import { Wakeup } from "../system/wakeup.ts";
import { DeliveryReport } from "./delivery_report.ts";
import type { IngestClient } from "./ingest_client.ts";
import { UploadFiles } from "./upload_file.ts";
import type { Verdict } from "./verdict.ts";
import { QueueOrder } from "./queue_order.ts";
import { type InFlight, SendWindow } from "./send_window.ts";

/** How often a refused or unreadable chunk is tried before it goes to rejected/. */
const REFUSALS = 3;
/** The outbox is checked again after this, in case a wake-up was missed. */
const LOOK_AGAIN_MS = 60_000;
/** How often the uploader looks for chunks that were requeued from rejected/; more often when idle. */
const LOOK_FOR_RETURNED_MS = 60_000;
const IDLE_LOOK_MS = 10_000;
/** The longest Retry-After that is obeyed: no server can stop deliveries for longer. */
const MAX_RETRY_AFTER_MS = 3_600_000;
/** The most bytes in flight at a time; a larger file is sent alone. */
const MAX_IN_FLIGHT_BYTES = 8 * 1024 * 1024;
/** An answer is slow if it takes more than this part of an attempt's time limit. */
const SLOW_PART = 1 / 4;

export interface UploaderOptions {
  readonly retryMinMs: number;
  readonly retryMaxMs: number;
  /** Requests in flight while a backlog is delivered; default 1. */
  readonly concurrency?: number;
  /** The client's limit while nothing moves, ms; default 30 s. */
  readonly timeoutMs?: number;
  /** How much longer a chunk waits for its true time, ms; 0: it is sent as it is. */
  readonly clockWaitMs?: (name: ChunkName) => number;
}

/** The result of an attempt: the client's verdict, or why the file could not be sent. */
type Outcome = Verdict | { kind: "unreadable"; reason: string } | { kind: "gone" };

type Refusal = Extract<Outcome, { kind: "refused" | "unreadable" }>;

interface Chosen {
  readonly fileName: string;
  readonly name: ChunkName;
}

/** A chunk whose request has started and is not settled yet. */
interface Flight extends Chosen {
  readonly sizeBytes: number;
  /** Rejects with the signal's reason only. */
  readonly outcome: Promise<Outcome>;
  /** Whether the request needs a new connection. */
  readonly isConnecting: boolean;
  isAnswered: boolean;
  /** Time until the answer, ms. */
  tookMs: number;
}

interface Failed {
  readonly chosen: Chosen;
  readonly outcome: Exclude<Outcome, { kind: "delivered" | "gone" }>;
}

/** Requests that are in flight together, from the start of the first to the settling of the last. */
interface Round {
  /** Oldest first. */
  readonly inFlight: Flight[];
  readonly failed: Failed[];
  /** No further request starts. */
  isOver: boolean;
}

/** The oldest chunk is to be tried again after the backoff. */
class TryAgain extends Error {}

export class Uploader {
  readonly #spool: Spool;
  readonly #client: Pick<IngestClient, "upload">;
  readonly #options: UploaderOptions;
  readonly #clock: Clock;
  readonly #status: Status;
  readonly #log: Logger;
  readonly #order: QueueOrder;
  readonly #report: DeliveryReport;
  readonly #window: SendWindow;
  /** Rings when a request in flight is answered. */
  readonly #answer = new Wakeup();
  /** How often each chunk was refused, by key. */
  readonly #refusals = new Map<string, number>();
  readonly #files = new UploadFiles();
  #lookForReturnedMs = -Infinity;

  constructor(
    spool: Spool,
    client: Pick<IngestClient, "upload">,
    options: UploaderOptions,
    deps: { clock: Clock; status: Status; log: Logger },
  ) {
    this.#spool = spool;
    this.#client = client;
    this.#options = options;
    this.#order = new QueueOrder(options.retryMaxMs);
    this.#report = new DeliveryReport({ ...deps, spool });
    const { concurrency = 1, timeoutMs = 30_000 } = options;
    this.#window = new SendWindow(concurrency, timeoutMs * SLOW_PART);
    this.#clock = deps.clock;
    this.#status = deps.status;
    this.#log = deps.log;
  }

  /** Runs until the signal aborts. An attempt in progress is then abandoned; its chunk stays. */
  async run(signal: AbortSignal): Promise<void> {
    this.#report.tellRejected();
    try {
      await this.#deliverAll(signal);
    } finally {
      await this.#spool.uploadedSynced();
    }
  }

  async #deliverAll(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      try {
        // The backoff grows until a chunk is settled, even if another chunk becomes the oldest.
        await retry(() => this.#deliverNext(signal), {
          minTimeout: this.#options.retryMinMs,
          maxTimeout: this.#options.retryMaxMs,
          multiplier: 2,
          jitter: 1,
          maxAttempts: Number.MAX_SAFE_INTEGER,
          isRetriable: (error) => error instanceof TryAgain,
          signal,
        });
      } catch (error) {
        if (signal.aborted) return;
        this.#report.failed(problems.spoolFailed(error));
        await this.#clock.sleep(this.#options.retryMaxMs, signal);
      }
    }
  }

  /** Whether no chunk is left to deliver, or delivery does not work at the moment. */
  get idle(): boolean {
    const { files } = this.#spool.tally.outbox;
    return this.#report.isOutage || files <= this.#order.passedOver.size;
  }

  /**
   * Runs one round, or waits for a chunk. Returns when the next round may follow at once.
   * @throws {TryAgain} if the next round must wait for the backoff; or an error of the disk.
   */
  async #deliverNext(signal: AbortSignal): Promise<void> {
    await this.#lookForReturned();
    const next = await this.#chooseNext();
    if (next === null) {
      this.#lookForReturnedMs = -Infinity;
      const waitMs = this.#spool.tally.rejected.files > 0 ? IDLE_LOOK_MS : LOOK_AGAIN_MS;
      return await this.#spool.sealed.wait(this.#clock, waitMs, signal);
    }
    const clockWaitMs = this.#clockWaitMs(next.name);
    if (clockWaitMs > 0) {
      return await this.#spool.sealed.wait(this.#clock, clockWaitMs, signal);
    }
    return await this.#deliver(next, signal);
  }

  /**
   * Sends this chunk and, while deliveries succeed, the chunks after it. @throws as `#deliverNext`.
   */
  async #deliver(first: Chosen, signal: AbortSignal): Promise<void> {
    const round: Round = { inFlight: [], failed: [], isOver: false };
    const errors: unknown[] = [];
    try {
      await this.#begin(first, round, signal);
      for (let oldest = round.inFlight[0]; oldest !== undefined; oldest = round.inFlight[0]) {
        this.#status.counters.oldestWaitingMs = oldest.name.startUnixUs / 1000;
        if (await this.#beginBehind(oldest, round, signal)) continue;
        try {
          await this.#land(oldest, round);
        } catch (error) {
          // A disk error, or the stop: the other requests in flight are still filed if possible.
          errors.push(error);
          round.isOver = true;
        }
        round.inFlight.shift();
        // A chunk that failed keeps its name until its failure has been handled.
        if (round.failed.at(-1)?.chosen !== oldest) this.#spool.sending.delete(oldest.name.key);
      }
      if (errors.length > 0 || round.failed.length > 0) this.#window.failed();
      if (errors.length > 0) throw errors[0];
      await this.#settleFailed(round.failed, signal);
    } finally {
      this.#spool.syncUploaded();
      this.#spool.sending.clear();
    }
  }

  /** Reads a chunk and starts its request. */
  async #begin({ fileName, name }: Chosen, round: Round, signal: AbortSignal): Promise<void> {
    this.#spool.sending.add(name.key);
    let sizeBytes = 0;
    let isConnecting = false;
    let outcome: Promise<Outcome>;
    try {
      const file = await this.#files.open(this.#spool.path("outbox", fileName));
      sizeBytes = file.sizeBytes;
      isConnecting = this.#window.begun(count(round), this.#clock.monotonicMs());
      outcome = this.#client.upload(name, file, signal);
    } catch (error) {
      const isGone = error instanceof Deno.errors.NotFound;
      outcome = Promise.resolve(
        isGone
          ? { kind: "gone" }
          : { kind: "unreadable", reason: `the file cannot be read: ${error}` },
      );
    }
    const attempt = { sizeBytes, outcome, isConnecting, isAnswered: false, tookMs: 0 };
    const flight: Flight = { fileName, name, ...attempt };
    const begunMs = this.#clock.monotonicMs();
    const answered = (isWell: boolean) => {
      flight.isAnswered = true;
      flight.tookMs = this.#clock.monotonicMs() - begunMs;
      if (!isWell) round.isOver = true;
      this.#answer.ring();
    };
    outcome.then(({ kind }) => answered(kind === "delivered"), () => answered(false));
    round.inFlight.push(flight);
  }

  /**
   * Starts one more request when it is due, or waits until then. Returns false if the oldest request must
   * be settled first.
   */
  async #beginBehind(oldest: Flight, round: Round, signal: AbortSignal): Promise<boolean> {
    if (oldest.isAnswered || round.isOver || signal.aborted) return false;
    const waitMs = () => this.#window.waitMs(count(round), this.#clock.monotonicMs());
    if (waitMs() === null) return false;
    const next = await this.#chooseBehind(round);
    if (next === null || oldest.isAnswered || round.isOver || signal.aborted) return false;
    const paceMs = waitMs() ?? 0;
    if (paceMs > 0) await this.#answer.wait(this.#clock, paceMs, signal);
    else await this.#begin(next, round, signal);
    return true;
  }

  /**
   * The oldest chunk that is not in flight. Null unless it may be sent together with those in flight: no
   * problem with the server or a chunk is known, no other work is due, and the chunk fits into memory.
   */
  async #chooseBehind({ inFlight }: Round): Promise<Chosen | null> {
    const order = this.#order;
    const nowMs = this.#clock.monotonicMs();
    const { files } = this.#spool.tally.outbox;
    const isOther = this.#report.isOutage || order.dueAgain(nowMs) !== null ||
      nowMs >= this.#lookForReturnedMs || files <= inFlight.length + order.passedOver.size;
    if (isOther) return null;
    const { sending } = this.#spool;
    const next = await this.#oldest(({ key }) => !order.passedOver.has(key) && !sending.has(key));
    if (next === null || this.#clockWaitMs(next.name) > 0) return null;
    if ([...inFlight, next].some(({ name }) => this.#refusals.has(name.key))) return null;
    const sizeBytes = await sizeOf(this.#spool.path("outbox", next.fileName)).catch(() => null);
    const bytes = inFlight.reduce((sum, flight) => sum + flight.sizeBytes, 0);
    return sizeBytes === null || bytes + sizeBytes > MAX_IN_FLIGHT_BYTES ? null : next;
  }

  /** Waits for an answer. Files a delivery; defers a failure until nothing is in flight any longer. */
  async #land(flight: Flight, round: Round): Promise<void> {
    const outcome = await flight.outcome;
    const { fileName, name, isConnecting, tookMs } = flight;
    if (outcome.kind === "gone") {
      this.#forget(name.key);
      this.#spool.forgetMissing(fileName);
      return;
    }
    if (outcome.kind !== "unreadable") this.#status.counters.attempted(outcome.kind, tookMs);
    if (outcome.kind !== "delivered") return void round.failed.push({ chosen: flight, outcome });
    const isFiled = await this.#spool.markUploaded(fileName, flight.sizeBytes);
    // A file that another process removed in the meantime is already counted as lost.
    this.#status.uploaded(isFiled ? name.durationUs : 0);
    this.#window.accepted(tookMs, isConnecting, this.#clock.monotonicMs());
    this.#delivered(fileName, name.key, outcome.chunkId);
  }

  /**
   * Handles one of the attempts that failed together: one whose failure concerns the server itself, else
   * that of the oldest chunk. The others only count as failed and are tried again in their turn.
   */
  async #settleFailed(failed: readonly Failed[], signal: AbortSignal): Promise<void> {
    const acted = failed.find(({ outcome }) => speaksOfServer(outcome)) ?? failed[0];
    if (acted === undefined) return;
    for (const { chosen, outcome } of failed.filter((other) => other !== acted)) {
      this.#status.uploadFailed();
      if (isRefusal(outcome)) this.#countRefusal(chosen.name.key);
    }
    await this.#settle(acted, signal);
  }

  /**
   * The oldest chunk that is not passed over. While the server works, a chunk that is due for another try
   * comes first.
   */
  async #chooseNext(): Promise<Chosen | null> {
    const order = this.#order;
    const again = !this.#report.isOutage ? order.dueAgain(this.#clock.monotonicMs()) : null;
    if (again !== null) {
      const name = await this.#spool.waitingWithKey(again);
      if (name !== null) return choose(name);
      this.#forget(again); // the janitor has removed it
    }
    const isNext = ({ key }: ChunkName) => !order.passedOver.has(key);
    return await this.#oldest(isNext);
  }

  /** A chunk to probe the server with, if this chunk has failed often enough for that. */
  async #chooseProbe({ key }: ChunkName): Promise<Chosen | null> {
    const order = this.#order;
    if (!order.isSuspect(key)) return null;
    return await this.#oldest((name) => order.isUnknown(name.key) && this.#clockWaitMs(name) === 0);
  }

  async #oldest(isWanted: (name: ChunkName) => boolean): Promise<Chosen | null> {
    const name = await this.#spool.oldestWaiting(isWanted);
    return name === null ? null : choose(name);
  }

  #clockWaitMs(name: ChunkName): number {
    return this.#options.clockWaitMs?.(name) ?? 0;
  }

  /** Notices refused chunks that `recorder-agent requeue` or a person moved back to outbox/. */
  async #lookForReturned(): Promise<void> {
    const nowMs = this.#clock.monotonicMs();
    if (nowMs < this.#lookForReturnedMs) return;
    this.#lookForReturnedMs = nowMs + LOOK_FOR_RETURNED_MS;
    try {
      await this.#spool.noticeReturned();
      this.#report.tellRejected();
    } catch (error) {
      // The chunks in outbox/ are delivered all the same.
      this.#log.debug("rejected/ cannot be read.", { error: String(error) });
    }
  }

  /** @throws as `#deliverNext`. */
  async #settle(
    { chosen: { fileName, name }, outcome }: Failed,
    signal: AbortSignal,
  ): Promise<void> {
    switch (outcome.kind) {
      case "refused":
      case "unreadable":
        return await this.#refuse(fileName, name, outcome);
      case "misconfigured":
        this.#order.absolve();
        this.#report.failed(problems.uploadMisconfigured(outcome.reason));
        this.#spool.sending.clear();
        // The next chunk would fail as well: try again slowly until the configuration is corrected.
        return await this.#clock.sleep(this.#options.retryMaxMs, signal);
      case "retry": {
        const waitMs = Math.min(outcome.retryAfterMs ?? 0, MAX_RETRY_AFTER_MS);
        const isPassedOver = this.#order.passedOver.has(name.key);
        // A server that names a delay means itself, and not the chunk.
        const isAtFault = waitMs === 0 || isPassedOver;
        if (isAtFault && this.#order.failed(name.key, this.#clock.monotonicMs(), waitMs)) {
          const problem = "The server fails on one chunk and takes others: it is passed over.";
          this.#log.warning(problem, { chunk: fileName, reason: outcome.reason });
          this.#report.tellPassedOver(this.#order.passedOver);
        }
        // A chunk that is passed over delays nothing: the next chunk shows whether the server works.
        if (this.#order.passedOver.has(name.key)) return this.#status.uploadFailed();
        this.#report.failed(problems.uploadFailing(outcome.reason));
        this.#spool.sending.clear();
        if (waitMs > 0) await this.#clock.sleep(waitMs, signal);
        // At once, so that the attempt after the backoff uses the oldest chunk and order is kept.
        const probe = waitMs > 0 ? null : await this.#chooseProbe(name);
        if (probe !== null) return await this.#deliver(probe, signal);
        throw new TryAgain();
      }
    }
  }

  #delivered(fileName: string, key: string, chunkId: string | null): void {
    this.#order.accepted(key, this.#clock.monotonicMs());
    this.#forget(key);
    this.#report.answered();
    this.#log.info("Delivered.", {
      chunk: fileName,
      chunk_id: chunkId,
      waiting: this.#spool.tally.outbox.files,
    });
  }

  /** After its last try, the chunk goes to rejected/ with the reason, and the queue continues. */
  async #refuse(
    fileName: string,
    { key, durationUs }: ChunkName,
    outcome: Refusal,
  ): Promise<void> {
    this.#status.uploadFailed();
    const attempts = this.#countRefusal(key);
    if (attempts < REFUSALS) throw new TryAgain();
    const { reason } = outcome;
    await this.#spool.reject(fileName, {
      reason,
      http_status: outcome.kind === "refused" ? outcome.status : null,
      rejected_at: new Date(this.#clock.unixMs()).toISOString(),
      attempts,
      key,
      ...(outcome.kind === "refused" ? outcome.exchange : {}),
    });
    this.#status.chunkRejected(durationUs);
    this.#forget(key);
    this.#report.tellRejected();
    if (outcome.kind === "refused") this.#report.answered();
    this.#log.error("A chunk was given up; it is in rejected/.", { chunk: fileName, reason });
  }

  #countRefusal(key: string): number {
    const attempts = (this.#refusals.get(key) ?? 0) + 1;
    this.#refusals.set(key, attempts);
    return attempts;
  }

  /** This chunk has been settled, or is gone. */
  #forget(key: string): void {
    this.#refusals.delete(key);
    this.#order.forget(key);
    this.#report.tellPassedOver(this.#order.passedOver);
  }
}

function count({ inFlight }: Round): InFlight {
  const unanswered = inFlight.filter(({ isAnswered }) => !isAnswered).length;
  return { inFlight: inFlight.length, unanswered };
}

function choose(name: ChunkName): Chosen {
  return { fileName: formatChunkName(name), name };
}

function isRefusal(outcome: Outcome): outcome is Refusal {
  return outcome.kind === "refused" || outcome.kind === "unreadable";
}

/** Whether it concerns the server, not the chunk: a wrong configuration, or a delay that it names. */
function speaksOfServer(outcome: Outcome): boolean {
  return outcome.kind === "misconfigured" ||
    (outcome.kind === "retry" && (outcome.retryAfterMs ?? 0) > 0);
}
