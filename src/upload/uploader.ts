// Delivers the chunks in outbox/, the oldest first, and files each one away once the server has it. It
// sends and files deliveries. verdict.ts interprets the answers, settlement.ts acts on failures, queue.ts
// chooses the next chunk, send_window.ts and pace.ts say when it may start. A chunk leaves outbox/ only after
// an answer that allows it, and an accepted chunk is never sent again because it could not be filed.
//
// While deliveries succeed and more than one chunk waits, several requests are in flight: a round. They
// start in the order of time and are settled in the same order, so that a newer chunk is never more than
// `concurrency` - 1 ahead of an older one. After any other result the round starts no further request and
// waits for those in flight; then the uploader continues with one chunk at a time. The module is long because the
// beginning, the landing and the end of a round work on the same state, and are understood only together.

import type { Clock } from "../system/clock.ts";
import type { Logger } from "../system/log.ts";
import { type ChunkName, formatChunkName } from "../chunk/chunk_name.ts";
import { sizeOf, TooLargeError } from "../system/disk.ts";
import { messageOf } from "../system/error_text.ts";
import type { Spool } from "../spool/spool.ts";
import { problems } from "../status/problems.ts";
import type { Status } from "../status/status.ts";
import { Wakeup } from "../system/wakeup.ts";
import { Blame } from "./blame.ts";
import { DeliveryReport } from "./delivery_report.ts";
import type { IngestClient } from "./ingest_client.ts";
import { Backoff } from "./interval.ts";
import { LineRate } from "./line_rate.ts";
import { Pace } from "./pace.ts";
import { type Chosen, Queue } from "./queue.ts";
import { UploadFiles } from "./upload_file.ts";
import { type InFlight, SendWindow } from "./send_window.ts";
import { type Accepted, Unfiled } from "./unfiled.ts";
import { type Attempt, type Failed, type Outcome, Settlement } from "./settlement.ts";

/** The outbox is checked again after this, in case a wake-up was missed. */
const LOOK_AGAIN_MS = 60_000;
/** How often the uploader looks for chunks that were requeued from rejected/; more often when idle. */
const LOOK_FOR_RETURNED_MS = 60_000;
const IDLE_LOOK_MS = 10_000;
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
  /** How much longer a chunk is deferred, for its true time or for the turn of this till, ms; 0: it is sent. */
  readonly deferMs?: (name: ChunkName) => number;
  /** The limit of the spool, for the time until it is full; default none. */
  readonly maxSpoolBytes?: number;
}

/** A chunk whose request has started and is not settled yet. */
interface Flight extends Attempt {
  /** Rejects with the signal's reason only. */
  readonly outcome: Promise<Outcome>;
  /** Whether the request needs a new connection. */
  readonly isConnecting: boolean;
  isAnswered: boolean;
  /** Time until the answer, ms. */
  tookMs: number;
}

/** Requests that are in flight together, from the start of the first to the settling of the last. */
interface Round {
  /** Oldest first. */
  readonly inFlight: Flight[];
  readonly failed: Failed[];
  /** No further request starts. */
  isOver: boolean;
}

export class Uploader {
  readonly #spool: Spool;
  readonly #client: Pick<IngestClient, "upload">;
  readonly #options: UploaderOptions;
  readonly #clock: Clock;
  readonly #status: Status;
  readonly #log: Logger;
  readonly #blame: Blame;
  readonly #unfiled: Unfiled;
  readonly #queue: Queue;
  readonly #settlement: Settlement;
  readonly #report: DeliveryReport;
  readonly #window: SendWindow;
  readonly #pace = new Pace();
  readonly #line = new LineRate();
  readonly #backoff: Backoff;
  /** Rings when a request in flight is answered. */
  readonly #answer = new Wakeup();
  readonly #files = new UploadFiles();
  #lookForReturnedMs = -Infinity;
  /** Aborts the requests in flight. */
  #abandon: AbortSignal = AbortSignal.abort();

  constructor(
    spool: Spool,
    client: Pick<IngestClient, "upload">,
    options: UploaderOptions,
    deps: { clock: Clock; status: Status; log: Logger },
  ) {
    this.#spool = spool;
    this.#client = client;
    this.#options = options;
    const { concurrency = 1, timeoutMs = 30_000, deferMs = () => 0 } = options;
    const blame = this.#blame = new Blame(options.retryMaxMs);
    const unfiled = this.#unfiled = new Unfiled(options.retryMaxMs, spool.accepted);
    this.#queue = new Queue({ spool, blame, unfiled, clock: deps.clock }, deferMs);
    this.#report = new DeliveryReport({ ...deps, spool }, options.maxSpoolBytes ?? Infinity);
    this.#window = new SendWindow(concurrency, timeoutMs * SLOW_PART);
    this.#backoff = new Backoff(options.retryMinMs, options.retryMaxMs);
    this.#settlement = new Settlement(options.retryMaxMs, {
      ...deps,
      spool,
      blame,
      queue: this.#queue,
      report: this.#report,
      pace: this.#pace,
      backoff: this.#backoff,
    });
    this.#clock = deps.clock;
    this.#status = deps.status;
    this.#log = deps.log;
  }

  /**
   * Runs until `signal` aborts: no request starts any more. Those in flight are abandoned when `abandon`
   * aborts, by default at once; their chunks stay.
   */
  async run(signal: AbortSignal, abandon = signal): Promise<void> {
    this.#spool.rejectedChanged = () => this.#report.tellRejected();
    this.#report.tellRejected();
    this.#abandon = abandon;
    try {
      await this.#deliverAll(signal);
    } finally {
      await this.#spool.uploadedSynced();
    }
  }

  async #deliverAll(signal: AbortSignal): Promise<void> {
    const { retryMaxMs } = this.#options;
    while (!signal.aborted) {
      try {
        const backoffMs = await this.#deliverNext(signal);
        if (backoffMs > 0) await this.#clock.sleep(backoffMs, signal);
      } catch (error) {
        if (signal.aborted) return;
        this.#status.uploadFailed();
        this.#backoff.reset();
        this.#report.outage(problems.spoolFailed(error), retryMaxMs);
        await this.#clock.sleep(retryMaxMs, signal);
      }
    }
  }

  /** Ends the problems that this uploader has reported, after its end, for another one to find out. */
  withdraw(why: string): void {
    this.#report.withdraw(why);
  }

  /** Whether no chunk is left to deliver, or delivery does not work at the moment. */
  get idle(): boolean {
    const { files } = this.#spool.tally.outbox;
    const isHeld = this.#report.isOutage || this.#blame.state === "holding";
    return isHeld || files <= this.#blame.passedOver.size + this.#unfiled.waiting;
  }

  /**
   * Runs one round, or waits for a chunk. Returns for how long the next round must wait, ms.
   * @throws an error of the disk.
   */
  async #deliverNext(signal: AbortSignal): Promise<number> {
    await this.#lookForReturned();
    await this.#fileAgain();
    const paceMs = this.#pace.waitMs(this.#clock.monotonicMs());
    if (paceMs > 0) await this.#clock.sleep(paceMs, signal);
    const next = await this.#queue.next();
    if (signal.aborted) return 0;
    this.#report.tellPassedOver(this.#blame.passedOver); // the janitor may have removed one
    if (next !== null && "name" in next) return await this.#deliver(next, signal);
    let waitMs = next?.waitMs ?? LOOK_AGAIN_MS;
    if (next !== null) this.#line.paused();
    else {
      this.#line.caughtUp();
      this.#report.tellRates(null);
      this.#lookForReturnedMs = -Infinity;
      if (this.#spool.tally.rejected.files > 0) waitMs = IDLE_LOOK_MS;
    }
    await this.#spool.sealed.wait(this.#clock, waitMs, signal);
    return 0;
  }

  /**
   * Sends this chunk and, while deliveries succeed, the chunks after it. Returns and throws as
   * `#deliverNext`.
   */
  async #deliver(first: Chosen, signal: AbortSignal): Promise<number> {
    const round: Round = { inFlight: [], failed: [], isOver: false };
    const errors: unknown[] = [];
    try {
      await this.#begin(first, round);
      for (let oldest = round.inFlight[0]; oldest !== undefined; oldest = round.inFlight[0]) {
        try {
          if (await this.#beginBehind(oldest, round, signal)) continue;
        } catch (error) {
          errors.push(error);
          round.isOver = true;
        }
        try {
          await this.#land(oldest, round);
        } catch (error) {
          // A disk error, or the stop: the other requests in flight are still filed if possible.
          errors.push(error);
          round.isOver = true;
        }
        round.inFlight.shift();
        // A chunk that failed keeps its name until its failure has been handled.
        if (round.failed.at(-1)?.attempt !== oldest) this.#spool.sending.delete(oldest.name.key);
      }
      if (errors.length > 0 || round.failed.length > 0) {
        this.#window.failed();
        this.#line.paused();
      }
      if (errors.length > 0) throw errors[0];
      return await this.#settlement.settle(round.failed, signal);
    } finally {
      this.#spool.syncUploaded();
      this.#spool.sending.clear();
    }
  }

  /** Reads a chunk and starts its request, unless the janitor is about to delete it. */
  async #begin(chosen: Chosen, round: Round): Promise<void> {
    const { dir, fileName, name } = chosen;
    if (this.#spool.deleting.has(name.key)) return;
    this.#spool.sending.add(name.key);
    this.#pace.begun(this.#clock.monotonicMs());
    const waiting = this.#spool.tally.outbox.files - this.#unfiled.waiting;
    const isBacklog = waiting > round.inFlight.length + 1;
    if (isBacklog) this.#line.begun(this.#clock.monotonicMs());
    let sizeBytes = 0;
    let isConnecting = false;
    let outcome: Promise<Outcome>;
    try {
      const file = await this.#files.open(this.#spool.path(dir, fileName));
      sizeBytes = file.sizeBytes;
      isConnecting = this.#window.begun(count(round), this.#clock.monotonicMs());
      outcome = this.#client.upload(name, file, this.#abandon);
    } catch (error) {
      const isGone = error instanceof Deno.errors.NotFound;
      outcome = Promise.resolve(
        isGone ? { kind: "gone" } : {
          kind: "unreadable",
          reason: `the file cannot be read: ${messageOf(error)}`,
          isNoChunk: error instanceof TooLargeError,
        },
      );
    }
    const attempt = { sizeBytes, outcome, isConnecting, isAnswered: false, tookMs: 0 };
    const flight: Flight = { ...chosen, ...attempt };
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
    const paceMs = Math.max(waitMs() ?? 0, this.#pace.waitMs(this.#clock.monotonicMs()));
    if (paceMs > 0) await this.#answer.wait(this.#clock, paceMs, signal);
    else await this.#begin(next, round);
    return true;
  }

  /** The chunk after those in flight, if no other work is due and it fits into memory with them. */
  async #chooseBehind({ inFlight }: Round): Promise<Chosen | null> {
    if (this.#report.isOutage || this.#clock.monotonicMs() >= this.#lookForReturnedMs) return null;
    const next = await this.#queue.behind(inFlight);
    if (next === null) return null;
    const sizeBytes = await sizeOf(this.#spool.path("outbox", next.fileName)).catch(() => null);
    const bytes = inFlight.reduce((sum, flight) => sum + flight.sizeBytes, 0);
    return sizeBytes === null || bytes + sizeBytes > MAX_IN_FLIGHT_BYTES ? null : next;
  }

  /** Waits for an answer. Files a delivery; defers a failure until nothing is in flight any longer. */
  async #land(flight: Flight, round: Round): Promise<void> {
    const outcome = await flight.outcome;
    const { dir, fileName, name, sizeBytes, isConnecting, tookMs } = flight;
    if (outcome.kind === "gone") {
      this.#blame.forget(name.key);
      this.#report.tellPassedOver(this.#blame.passedOver);
      this.#spool.forgetMissing(dir, fileName);
      return;
    }
    if (outcome.kind !== "unreadable") this.#status.counters.attempted(outcome.kind, tookMs);
    if (outcome.kind !== "delivered") return void round.failed.push({ attempt: flight, outcome });
    const isRejected = dir === "rejected";
    const nowMs = this.#clock.monotonicMs();
    try {
      await this.#file(flight, fileName, sizeBytes);
    } catch (error) {
      // The server has it: it is not sent again because of the disk.
      this.#unfiled.add(flight, error, nowMs);
    }
    this.#window.accepted(tookMs, isConnecting, nowMs);
    this.#pace.accepted();
    this.#line.delivered(sizeBytes, name.durationUs / 1000, nowMs);
    this.#report.tellRates(this.#line.tooSlow);
    if (isRejected) this.#queue.triedAgain(name, "accepted");
    this.#blame.accepted(flight, nowMs);
    this.#backoff.reset();
    this.#report.accepted(); // first: the others may report the same code
    this.#tellUnfiled();
    this.#report.tellPassedOver(this.#blame.passedOver);
    this.#log.info("Delivered.", {
      chunk: fileName,
      chunk_id: outcome.chunkId,
      waiting: this.#spool.tally.outbox.files,
      ...(isRejected ? { from: "rejected/" } : {}),
    });
  }

  /** Files an accepted chunk. @throws an error of the disk. */
  async #file({ dir, name }: Accepted, fileName: string, sizeBytes?: number): Promise<void> {
    const isRejected = dir === "rejected";
    const isFiled = isRejected
      ? await this.#spool.markRejectedUploaded(fileName, sizeBytes)
      : await this.#spool.markUploaded(fileName, sizeBytes);
    // A file that another process removed in the meantime is already counted as lost.
    this.#status.uploaded(isFiled ? name.durationUs : 0, isRejected);
  }

  /** Files accepted chunks that could not be filed before. @throws if too many cannot: it is the disk. */
  async #fileAgain(): Promise<void> {
    for (const accepted of this.#unfiled.take(this.#clock.monotonicMs())) {
      const { dir, name: { key } } = accepted;
      this.#spool.sending.add(key); // its name does not change meanwhile
      try {
        const name = await this.#spool.oldest(dir, (name) => name.key === key);
        if (name !== null) await this.#file({ dir, name }, formatChunkName(name));
        this.#unfiled.delete(key);
      } catch (error) {
        this.#unfiled.error = error;
      } finally {
        this.#spool.sending.delete(key);
      }
    }
    this.#tellUnfiled();
    if (this.#unfiled.isFull) throw this.#unfiled.error;
  }

  #tellUnfiled(): void {
    this.#report.tellUnfiled(this.#unfiled.size, this.#unfiled.error);
  }

  /** Notices refused chunks that `recorder-agent requeue` or a person moved back to outbox/. */
  async #lookForReturned(): Promise<void> {
    const nowMs = this.#clock.monotonicMs();
    if (nowMs < this.#lookForReturnedMs) return;
    this.#lookForReturnedMs = nowMs + LOOK_FOR_RETURNED_MS;
    try {
      await this.#spool.noticeReturned();
    } catch (error) {
      // The chunks in outbox/ are delivered all the same.
      this.#log.debug("rejected/ cannot be read.", { error: String(error) });
    }
  }
}

function count({ inFlight }: Round): InFlight {
  const unanswered = inFlight.filter(({ isAnswered }) => !isAnswered).length;
  return { inFlight: inFlight.length, unanswered };
}
