// Delivers what waits in outbox/, the oldest first, one at a time, and files it away once the server
// has it. It decides when to try again; what an answer means is ingest_client.ts's. A chunk leaves
// outbox/ only after an answer that says so.

import { retry } from "@std/async/retry";
import type { Clock } from "../clock.ts";
import type { Logger } from "../log.ts";
import { parseChunkName } from "../spool/chunk_name.ts";
import type { Spool } from "../spool/spool.ts";
import type { Status } from "../status/status.ts";
import type { IngestClient, Verdict } from "./ingest_client.ts";

/** A refused chunk is tried so often before it goes to rejected/. */
const REFUSALS = 3;
/** Should a ring of the bell be missed, the outbox is looked at again after this. */
const LOOK_AGAIN_MS = 60_000;
/** The longest Retry-After that is obeyed; no server may silence a till for longer. */
const MAX_RETRY_AFTER_MS = 3_600_000;

export interface UploaderOptions {
  readonly retryMinMs: number;
  readonly retryMaxMs: number;
}

/** Try this chunk again, after the backoff. */
class TryAgain extends Error {}

export class Uploader {
  readonly #spool: Spool;
  readonly #client: IngestClient;
  readonly #options: UploaderOptions;
  readonly #clock: Clock;
  readonly #status: Status;
  readonly #log: Logger;
  #failures = 0;

  constructor(
    spool: Spool,
    client: IngestClient,
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
    while (!signal.aborted) {
      const fileName = this.#oldestWaiting();
      if (fileName === null) {
        await this.#spool.sealed.wait(this.#clock, LOOK_AGAIN_MS, signal);
        continue;
      }
      try {
        const outcome = await this.#deliver(fileName, signal);
        // The next chunk would fare no better: look again, slowly, whether it has been put right.
        if (outcome === "misconfigured") await this.#clock.sleep(this.#options.retryMaxMs, signal);
      } catch (error) {
        if (signal.aborted) return;
        this.#failed("spool_failed", `A chunk cannot be read or filed away: ${error}`);
        await this.#clock.sleep(this.#options.retryMaxMs, signal);
      }
    }
  }

  /** Whether everything that waited has been dealt with, or delivering does not work just now. */
  get idle(): boolean {
    return this.#failures > 0 || this.#spool.tally.outbox.files === 0;
  }

  /** A listing that fails (a broken disk) is reported and tried again. */
  #oldestWaiting(): string | null {
    try {
      return this.#spool.oldestWaiting();
    } catch (error) {
      this.#failed("spool_failed", `outbox/ cannot be listed: ${error}`);
      return null;
    }
  }

  /**
   * Tries until the chunk is delivered, refused or gone ("settled"), or the configuration proves
   * wrong; throws when the signal aborts.
   */
  async #deliver(fileName: string, signal: AbortSignal): Promise<"settled" | "misconfigured"> {
    let refusals = 0;
    return await retry(async () => {
      const verdict = await this.#attempt(fileName, signal);
      switch (verdict?.kind) {
        case undefined: // the janitor took it meanwhile
          this.#spool.forgetMissing(fileName);
          return "settled";
        case "delivered":
          await this.#spool.markUploaded(fileName);
          this.#delivered(fileName, verdict.chunkId);
          return "settled";
        case "refused":
          this.#status.uploadFailed();
          if (++refusals < REFUSALS) throw new TryAgain(verdict.reason);
          await this.#reject(fileName, verdict);
          return "settled";
        case "misconfigured":
          this.#failed("upload_misconfigured", `Nothing can be delivered: ${verdict.reason}`);
          return "misconfigured";
        case "retry":
          this.#failed("upload_failing", `Chunks wait: ${verdict.reason}`);
          await this.#clock.sleep(Math.min(verdict.retryAfterMs ?? 0, MAX_RETRY_AFTER_MS), signal);
          throw new TryAgain(verdict.reason);
      }
    }, {
      minTimeout: this.#options.retryMinMs,
      maxTimeout: this.#options.retryMaxMs,
      multiplier: 2,
      jitter: 1,
      maxAttempts: Number.MAX_SAFE_INTEGER,
      isRetriable: (error) => error instanceof TryAgain,
      signal,
    });
  }

  /** Null: there is no such chunk any more. */
  async #attempt(fileName: string, signal: AbortSignal): Promise<Verdict | null> {
    const name = parseChunkName(fileName);
    if (name === null) throw new Error(`not the name of a chunk: ${fileName}`);
    try {
      const file = await Deno.readFile(this.#spool.path("outbox", fileName));
      return await this.#client.upload(name, file, signal);
    } catch (error) {
      if (error instanceof Deno.errors.NotFound) return null;
      throw error;
    }
  }

  #delivered(fileName: string, chunkId: string): void {
    this.#status.uploaded();
    this.#status.clearProblem("upload_failing", "upload_misconfigured", "spool_failed");
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

  async #reject(
    fileName: string,
    verdict: Extract<Verdict, { kind: "refused" }>,
  ): Promise<void> {
    await this.#spool.reject(fileName, {
      reason: verdict.reason,
      http_status: verdict.status,
      rejected_at: new Date(this.#clock.unixMs()).toISOString(),
      attempts: REFUSALS,
    });
    this.#status.chunkRejected();
    this.#status.setProblem(
      "chunks_rejected",
      `The server refused chunks; they are in rejected/ with the reason: ${verdict.reason}`,
    );
    this.#log.error("The server refuses a chunk; it was moved to rejected/.", {
      chunk: fileName,
      reason: verdict.reason,
    });
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
