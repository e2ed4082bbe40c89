// Brings what the chunker makes to the spool, one step after the other, apart from the reading of the
// microphone: a slow disk never holds the stream. A step that fails (disk full, disk broken) is tried
// again until it succeeds, while what follows waits in memory. It decides neither cuts nor times.

import type { Clock } from "../clock.ts";
import type { Logger } from "../log.ts";
import type { PartName } from "../spool/chunk_name.ts";
import type { PartFile } from "../spool/part_file.ts";
import type { Spool } from "../spool/spool.ts";
import type { Status } from "../status/status.ts";
import type { Levels } from "./levels.ts";
import type { ChunkTimes } from "./timeline.ts";

/** More than this (3 hours at 24 kbit/s) is not held for a disk that takes nothing. */
export const MAX_PENDING_BYTES = 32 * 1024 * 1024;
const TRY_AGAIN_MS = 1000;
/** When the service stops, a disk that takes nothing is waited for no longer. */
const LAST_TRIES_MS = 2000;

export type WriteStep =
  | { kind: "open"; name: PartName; bytes: Uint8Array }
  | { kind: "append"; bytes: Uint8Array }
  | {
    kind: "close";
    bytes: Uint8Array;
    times: ChunkTimes;
    /** Its start is that of `times`. */
    name: PartName;
    /** Why sound would be missing before this chunk, if it is. */
    gapCause: string;
    levels: Levels | null;
  }
  /** The chunk holds no sound: it is dropped. */
  | { kind: "discard" };

export type SealedChunk = Extract<WriteStep, { kind: "close" }>;

export class ChunkWriter {
  readonly #spool: Spool;
  readonly #syncIntervalMs: number;
  readonly #clock: Clock;
  readonly #status: Status;
  readonly #log: Logger;
  readonly #onSealed: (chunk: SealedChunk) => void;
  readonly #queue: { readonly step: WriteStep; readonly sizeBytes: number }[] = [];
  #pendingBytes = 0;
  #part: PartFile | null = null;
  #syncedMs = 0;
  #working: Promise<void> = Promise.resolve();
  #isWorking = false;
  #giveUpMs = Infinity;
  /** A step that hangs in a dead disk when the service ends; nobody waits for it any more. */
  #abandoned: Promise<void> | null = null;

  constructor(
    spool: Spool,
    syncIntervalMs: number,
    deps: {
      clock: Clock;
      status: Status;
      log: Logger;
      /** Told of every chunk that has become visible in outbox/. */
      onSealed?: (chunk: SealedChunk) => void;
    },
  ) {
    this.#spool = spool;
    // A page takes 0.4 s to fill and the disk some time to sync: the bound holds with both.
    this.#syncIntervalMs = Math.max(0, syncIntervalMs - 900);
    this.#clock = deps.clock;
    this.#status = deps.status;
    this.#log = deps.log;
    this.#onSealed = deps.onSealed ?? (() => {});
  }

  /** Whether everything that was pushed has been written. */
  get isIdle(): boolean {
    return this.#queue.length === 0;
  }

  /** True when the disk has taken nothing for so long that no more can be held. */
  get isFull(): boolean {
    return this.#pendingBytes > MAX_PENDING_BYTES;
  }

  push(step: WriteStep): void {
    const sizeBytes = step.kind === "discard" ? 0 : step.bytes.length;
    this.#queue.push({ step, sizeBytes });
    this.#pendingBytes += sizeBytes;
    if (!this.#isWorking) this.#working = this.#work();
  }

  /** Resolves when everything has been written, or a failing disk has had its last tries. */
  async finish(): Promise<void> {
    this.#giveUpMs = this.#clock.monotonicMs() + LAST_TRIES_MS;
    const working = new AbortController();
    const worked = this.#working.then(() => working.abort());
    // A disk that is slow, or hangs, is waited for no longer than one that fails.
    await this.#clock.sleep(LAST_TRIES_MS + 500, working.signal);
    if (this.#isWorking) this.#abandoned = worked;
    else if (this.#part !== null) {
      this.#part.abandon();
      this.#part = null;
    }
    if (this.#queue.length > 0) this.#lost();
  }

  async #work(): Promise<void> {
    this.#isWorking = true;
    for (let next = this.#queue[0]; next !== undefined; next = this.#queue[0]) {
      if (this.#clock.monotonicMs() >= this.#giveUpMs) break;
      try {
        await this.#apply(next.step);
        this.#queue.shift();
        this.#pendingBytes -= next.sizeBytes;
        this.#recovered();
      } catch (error) {
        if (this.#clock.monotonicMs() >= this.#giveUpMs) break;
        this.#failed(error);
        this.#spool.roomWanted.ring();
        await this.#clock.sleep(TRY_AGAIN_MS);
      }
    }
    this.#isWorking = false;
  }

  /** May be called again with the same step after it has failed. */
  async #apply(step: WriteStep): Promise<void> {
    switch (step.kind) {
      case "open":
        this.#spool.roomWanted.ring(); // the janitor sees to it that a whole chunk fits
        this.#part ??= await this.#spool.create(step.name);
        await this.#part.append(step.bytes);
        this.#syncedMs = this.#clock.monotonicMs();
        return;
      case "append": {
        await this.#part?.append(step.bytes);
        step.bytes = new Uint8Array(0); // a repeat, should the sync fail, writes nothing twice
        const nowMs = this.#clock.monotonicMs();
        if (nowMs - this.#syncedMs < this.#syncIntervalMs) return;
        await this.#part?.sync();
        this.#syncedMs = nowMs;
        return;
      }
      case "close": {
        if (this.#part === null) return;
        await this.#part.append(step.bytes);
        step.bytes = new Uint8Array(0);
        const { sizeBytes } = this.#part;
        const durationUs = durationOf(step.times);
        const name = await this.#part.seal({ ...step.name, durationUs });
        this.#part = null;
        if (name === null) this.#vanished(step);
        else this.#sealed(name, step, sizeBytes);
        return;
      }
      case "discard":
        await this.#part?.discard();
        this.#part = null;
        return;
    }
  }

  #sealed(name: string, step: SealedChunk, sizeBytes: number): void {
    const seconds = durationOf(step.times) / 1e6;
    this.#onSealed(step);
    const levels = {
      peak_dbfs: step.levels?.peakDbfs ?? null,
      rms_dbfs: step.levels?.rmsDbfs ?? null,
    };
    this.#status.chunkRecorded({ name, seconds, bytes: sizeBytes, ...levels });
    this.#log.info("Recorded.", {
      chunk: name,
      seconds,
      bytes: sizeBytes,
      ...levels,
    });
  }

  /** Someone deleted the file while it was being recorded: no use in trying again. */
  #vanished({ times }: SealedChunk): void {
    const seconds = durationOf(times) / 1e6;
    this.#status.chunksLost({ chunks: 1, seconds });
    this.#log.error("The file of a recording was deleted before it was finished.", { seconds });
  }

  /** Counts what still waited when the disk was given up; what a .part holds can be recovered. */
  #lost(): void {
    const steps = this.#queue.map(({ step }) => step);
    const opened = steps.findIndex(({ kind }) => kind === "open");
    const closed = opened < 0 ? [] : steps.slice(opened).filter((step) => step.kind === "close");
    const losses = {
      chunks: closed.length,
      seconds: closed.reduce((sum, step) => sum + durationOf(step.times) / 1e6, 0),
    };
    this.#status.chunksLost(losses);
    this.#log.error("The disk did not take the end of the recording.", {
      ...losses,
      bytes: this.#pendingBytes,
    });
  }

  #failed(error: unknown): void {
    const full = error instanceof Error && /ENOSPC|No space left|os error 28/.test(String(error));
    const message = full
      ? "The disk is full: recordings wait in memory until there is room"
      : `The disk does not take recordings, they wait in memory: ${error}`;
    if (!this.#status.hasProblem("disk_failing")) {
      this.#log.error("{problem}", { problem: message, code: "disk_failing" });
    }
    this.#status.setProblem("disk_failing", message);
  }

  #recovered(): void {
    if (!this.#status.hasProblem("disk_failing")) return;
    this.#status.clearProblem("disk_failing");
    this.#log.warning("The disk takes recordings again.");
  }
}

function durationOf(times: ChunkTimes): number {
  return times.endUnixUs - times.startUnixUs;
}
