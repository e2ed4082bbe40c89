// Delivers what waits in outbox/, the oldest first, one at a time, and files it away once the server
// has it. It decides when to try again; what an answer means is ingest_client.ts's. A chunk leaves
// outbox/ only after an answer that says so.

import { retry } from "@std/async/retry";
import type { Clock } from "../clock.ts";
import type { Logger } from "../log.ts";
import { type ChunkName, parseChunkName } from "../spool/chunk_name.ts";
import type { Spool } from "../spool/spool.ts";
import type { Status } from "../status/status.ts";
import type { IngestClient, Verdict } from "./ingest_client.ts";

/** A refused or unreadable chunk is tried so often before it goes to rejected/. */
const REFUSALS = 3;
/** Should a ring of the bell be missed, the outbox is looked at again after this. */
const LOOK_AGAIN_MS = 60_000;
/** The longest Retry-After that is obeyed; no server may silence a till for longer. */
const MAX_RETRY_AFTER_MS = 3_600_000;

export interface UploaderOptions {
  readonly retryMinMs: number;
  readonly retryMaxMs: number;
  /** How long a chunk is still to wait for its true time, ms; 0: send it as it is. */
  readonly clockWaitMs?: (name: ChunkName) => number;
}

/** What became of an attempt: the client's verdict, or that the file made none possible. */
type Outcome = Verdict | { kind: "unreadable"; reason: string } | { kind: "gone" };

/** Try the oldest chunk again, after the backoff. */
class TryAgain extends Error {}

export class Uploader {
  readonly #spool: Spool;
  readonly #client: Pick<IngestClient, "upload">;
  readonly #options: UploaderOptions;
  readonly #clock: Clock;
  readonly #status: Status;
  readonly #log: Logger;
  #failures = 0;
  /** How often the chunk with this key has been refused. */
  #refused = { key: "", times: 0 };

  constructor(
    spool: Spool,
    client: Pick<IngestClient, "upload">,
    options: UploaderOptions,
    deps: { clock: Clock; status: Status; log: Logger },
  ) {
    this.#spool = spool;
    this.#client = client;
    this.#options = options;
    this.#clock = deps.clock;
    this.#status = deps.status;
    this.#log = deps.log;
  }

  /** Works until the signal aborts; an attempt under way is then given up, its chunk stays. */
  async run(signal: AbortSignal): Promise<void> {
    this.#tellRejected();
    while (!signal.aborted) {
      try {
        // The backoff grows until something is settled, whichever chunk is then the oldest.
        await retry(() => this.#deliverOldest(signal), {
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
        this.#failed("spool_failed", `Chunks cannot be listed or filed away: ${error}`);
        await this.#clock.sleep(this.#options.retryMaxMs, signal);
      }
    }
  }

  /** Whether everything that waited has been dealt with, or delivering does not work just now. */
  get idle(): boolean {
    return this.#failures > 0 || this.#spool.tally.outbox.files === 0;
  }

  /**
   * One attempt with the oldest chunk, or a wait for one. Returns when the next may follow at once.
   * @throws {TryAgain} when that is to wait for the backoff, or an error of the disk.
   */
  async #deliverOldest(signal: AbortSignal): Promise<void> {
    const fileName = this.#spool.oldestWaiting();
    if (fileName === null) {
      return await this.#spool.sealed.wait(this.#clock, LOOK_AGAIN_MS, signal);
    }
    const name = parseChunkName(fileName);
    if (name === null) throw new Error(`not the name of a chunk: ${fileName}`);
    const clockWaitMs = this.#options.clockWaitMs?.(name) ?? 0;
    if (clockWaitMs > 0) {
      return await this.#spool.sealed.wait(this.#clock, clockWaitMs, signal);
    }
    this.#spool.sending = fileName;
    try {
      return await this.#settle(
        fileName,
        name,
        await this.#attempt(fileName, name, signal),
        signal,
      );
    } finally {
      this.#spool.sending = null;
    }
  }

  async #settle(
    fileName: string,
    name: ChunkName,
    outcome: Outcome,
    signal: AbortSignal,
  ): Promise<void> {
    switch (outcome.kind) {
      case "gone":
        return this.#spool.forgetMissing(fileName);
      case "delivered": {
        const filed = await this.#spool.markUploaded(fileName);
        // One that the janitor took meanwhile is in the books as lost already.
        this.#status.uploaded(filed ? name.durationUs : 0);
        return this.#delivered(fileName, outcome.chunkId);
      }
      case "refused":
      case "unreadable":
        return await this.#refuse(fileName, name, outcome);
      case "misconfigured":
        this.#failed("upload_misconfigured", `Nothing can be delivered: ${outcome.reason}`);
        this.#spool.sending = null;
        // The next chunk would fare no better: look again, slowly, whether it has been put right.
        return await this.#clock.sleep(this.#options.retryMaxMs, signal);
      case "retry":
        this.#failed("upload_failing", `Chunks wait: ${outcome.reason}`);
        this.#spool.sending = null;
        await this.#clock.sleep(Math.min(outcome.retryAfterMs ?? 0, MAX_RETRY_AFTER_MS), signal);
        throw new TryAgain();
    }
  }

  async #attempt(fileName: string, name: ChunkName, signal: AbortSignal): Promise<Outcome> {
    let file: Uint8Array<ArrayBuffer>;
    try {
      file = await Deno.readFile(this.#spool.path("outbox", fileName));
    } catch (error) {
      if (error instanceof Deno.errors.NotFound) return { kind: "gone" };
      return { kind: "unreadable", reason: `the file cannot be read: ${error}` };
    }
    return await this.#client.upload(name, file, signal);
  }

  #delivered(fileName: string, chunkId: string | null): void {
    this.#settled();
    if (this.#failures > 0) {
      this.#log.warning("Delivery works again.", { failed_attempts: this.#failures });
      this.#failures = 0;
    }
    this.#log.info("Delivered.", {
      chunk: fileName,
      chunk_id: chunkId,
      waiting: this.#spool.tally.outbox.files,
    });
  }

  /** After the last of its tries, the chunk goes to rejected/ with the reason, and the queue goes on. */
  async #refuse(
    fileName: string,
    { key, durationUs }: ChunkName,
    outcome: Extract<Outcome, { kind: "refused" | "unreadable" }>,
  ): Promise<void> {
    this.#status.uploadFailed();
    this.#refused = { key, times: this.#refused.key === key ? this.#refused.times + 1 : 1 };
    if (this.#refused.times < REFUSALS) throw new TryAgain();
    const { reason } = outcome;
    await this.#spool.reject(fileName, {
      reason,
      http_status: outcome.kind === "refused" ? outcome.status : null,
      rejected_at: new Date(this.#clock.unixMs()).toISOString(),
      attempts: this.#refused.times,
    });
    this.#status.chunkRejected(durationUs);
    this.#settled();
    this.#log.error("A chunk was given up; it is in rejected/.", { chunk: fileName, reason });
  }

  #settled(): void {
    this.#status.clearProblem("upload_failing", "upload_misconfigured", "spool_failed");
    this.#tellRejected();
  }

  /** A problem for as long as there are rejected chunks, also those of an earlier run. */
  #tellRejected(): void {
    const { files } = this.#spool.tally.rejected;
    if (files === 0) return this.#status.clearProblem("chunks_rejected");
    this.#status.setProblem(
      "chunks_rejected",
      `${files} chunks were given up; the reasons are beside them in ` +
        `${this.#spool.path("rejected", "")}: once that is put right, move them back to outbox/`,
    );
  }

  /** Says what goes wrong when it begins or changes its nature, and counts the rest. */
  #failed(code: string, message: string): void {
    this.#status.uploadFailed();
    this.#failures++;
    if (!this.#status.hasProblem(code)) this.#log.warning("{problem}", { problem: message, code });
    this.#status.clearProblem("upload_failing", "upload_misconfigured");
    this.#status.setProblem(code, message);
  }
}
