// Writes the output of the chunker to the spool, apart from reading the microphone: a slow disk never blocks the
// stream. A step that fails (disk full, disk broken) is tried again until it succeeds. It does not decide where a
// chunk is cut or when it starts.
//
// Writing is one lane, syncing and sealing another: written data survives the end of the program at once,
// and must not wait for a card that takes a second to sync. Writes go one after the other: those after one that
// fails wait in memory. A chunk that cannot be sealed is passed by those after it, which are synced and delivered
// meanwhile. Its owner hears of them in their order all the same, as what is missing before a chunk is known only
// when the one before it is sealed. But it waits for no chunk that is stuck: when some were sealed after it, or
// when nothing else is left to write, the owner hears that it is lost. If it is sealed later, it was declared and
// is delivered.

import type { ChunkTimes } from "../chunk/chunk_times.ts";
import type { SoundLevels } from "../status/levels.ts";
import { concatBytes } from "../system/concat_bytes.ts";
import type { Clock } from "../system/clock.ts";
import type { Logger } from "../system/log.ts";
import type { PartName } from "../chunk/chunk_name.ts";
import type { PartFile } from "./part_file.ts";
import type { Spool } from "./spool.ts";
import { ProblemReport } from "../status/problem_report.ts";
import { problems } from "../status/problems.ts";
import type { Status } from "../status/status.ts";
import { DiskLane } from "./disk_lane.ts";

const NOTHING: Uint8Array = new Uint8Array(0);
/** No more than this (3 hours at 24 kbit/s) is held in memory while writes to the disk fail. */
export const MAX_PENDING_BYTES = 32 * 1024 * 1024;
/** A file system writes blocks of this size, bytes. A sync writes a half-full block as a whole. */
const BLOCK_BYTES = 4096;
/** A sync is made this long before it is due if a block has just become full. */
const EARLY_SYNC_MS = 1200;
/** A requested sync has begun after this time: bytes that are written later are not part of it. */
const SYNC_BEGINS_MS = 25;
/** A chunk that cannot be sealed counts as lost when this many were sealed after it. */
const MAX_BEHIND = 10;
/** When the service stops, the writer waits no longer than this for writes that fail. */
const LAST_TRIES_MS = 2000;

export type WriteStep =
  | { kind: "open"; name: PartName; bytes: Uint8Array }
  | { kind: "append"; bytes: Uint8Array }
  | {
    kind: "close";
    bytes: Uint8Array;
    /** Replaces the start of the file, if what its tags say has become known only now. */
    header?: Uint8Array;
    times: ChunkTimes;
    /** Its start is that of `times`. */
    name: PartName;
    /** The cause, if sound is missing before this chunk. */
    gapCause: string;
    levels: SoundLevels | null;
  }
  /** The chunk has no sound: it is dropped. */
  | { kind: "discard" };

export type SealedChunk = Extract<WriteStep, { kind: "close" }>;

/** A step that follows a write and may be slow. */
type SyncStep =
  | { kind: "sync"; part: PartFile }
  | { kind: "seal"; part: PartFile; step: SealedChunk };

/** A chunk whose sound is complete. */
interface ClosedChunk {
  readonly step: SealedChunk;
  /** Null: neither yet. */
  end: "sealed" | "vanished" | null;
}

interface QueuedStep {
  readonly step: WriteStep;
  readonly sizeBytes: number;
  /** When it was pushed, monotonic ms. It may have waited since then for a failing disk. */
  readonly sinceMs: number;
}

export interface ChunkWriterDeps {
  readonly clock: Clock;
  readonly status: Status;
  readonly log: Logger;
  /** Called for every chunk that has become visible in outbox/, in the order of the chunks. */
  readonly onSealed?: (chunk: SealedChunk) => void;
  /** Called instead for one whose file was deleted or cannot be sealed, in the same order. */
  readonly onLost?: (chunk: SealedChunk) => void;
}

export class ChunkWriter {
  readonly #spool: Spool;
  readonly #deps: ChunkWriterDeps;
  #syncIntervalMs = 0;
  readonly #problem: ProblemReport;
  readonly #writes: DiskLane<QueuedStep>;
  readonly #syncs: DiskLane<SyncStep>;
  /** From the oldest that is neither sealed nor gone. */
  readonly #closed: ClosedChunk[] = [];
  #pendingBytes = 0;
  #part: PartFile | null = null;
  /** The bytes after the last block that was synced. They are written once that sync is under way. */
  #rest = NOTHING;
  /** When the previous page was pushed, monotonic ms. */
  #pageMs = 0;
  /** Sound that was pushed until then is synced, or a sync for it has been requested. */
  #syncedMs = 0;

  constructor(spool: Spool, syncIntervalMs: number, deps: ChunkWriterDeps) {
    this.#spool = spool;
    this.#deps = deps;
    this.syncEvery(syncIntervalMs);
    this.#problem = new ProblemReport(deps);
    const { clock } = deps;
    const onTrouble = (error: unknown) => error === null ? this.#recovered() : this.#failed(error);
    this.#writes = new DiskLane({
      apply: ({ step, sinceMs }) => this.#write(step, sinceMs),
      isStrict: true,
      onDone: ({ sizeBytes }) => this.#pendingBytes -= sizeBytes,
      onTrouble,
      clock,
    });
    this.#syncs = new DiskLane({
      apply: (step) => this.#sync(step),
      isStrict: false,
      isUrgent: ({ kind }) => kind === "sync", // what it covers would be lost in a power cut
      onTrouble,
      clock,
    });
  }

  /** At most this much sound, in ms, may be lost in a power cut, from now on. */
  syncEvery(intervalMs: number): void {
    // ffmpeg holds up to two pages of 0.4 s, and a sync takes some time: the interval is kept with both.
    this.#syncIntervalMs = Math.max(0, intervalMs - 1300);
  }

  /** Whether everything that was pushed has been written, and every chunk sealed. */
  get isIdle(): boolean {
    return this.#writes.waiting.length === 0 && this.#syncs.waiting.length === 0;
  }

  /**
   * Whether everything that was pushed has been written, and every chunk is sealed or stuck. The owner then has
   * heard of all of them.
   */
  settle(): boolean {
    const isStuck = this.#writes.waiting.length === 0 && this.#syncs.isStuck;
    if (!this.isIdle && !isStuck) return false;
    this.#tellSealed(true);
    return true;
  }

  /** True when writes have failed for so long that no more can be held in memory. */
  get isFull(): boolean {
    return this.#pendingBytes > MAX_PENDING_BYTES;
  }

  push(step: WriteStep): void {
    const sizeBytes = step.kind === "discard" ? 0 : step.bytes.length;
    this.#pendingBytes += sizeBytes;
    this.#writes.push({ step, sizeBytes, sinceMs: this.#deps.clock.monotonicMs() });
  }

  /** Resolves when everything has been written, or after the last tries on a failing disk. */
  async finish(): Promise<void> {
    const { clock } = this.#deps;
    const giveUpMs = clock.monotonicMs() + LAST_TRIES_MS;
    const finished = new AbortController();
    this.#writes.finish(giveUpMs)
      .then(() => this.#syncs.finish(giveUpMs))
      .then(() => {
        this.#abandonParts();
        finished.abort();
      });
    // The writer waits no longer for a disk that is slow or hangs than for one that fails.
    await clock.sleep(LAST_TRIES_MS + 500, finished.signal);
    this.#tellSealed(true);
    if (this.#writes.waiting.length > 0) this.#lost();
  }

  /** The files stay in recording/, and the next start recovers them. */
  #abandonParts(): void {
    this.#part?.abandon();
    this.#part = null;
    for (const step of this.#syncs.waiting) if (step.kind === "seal") step.part.abandon();
  }

  /** May be called again with the same step after it has failed. */
  async #write(step: WriteStep, sinceMs: number): Promise<void> {
    switch (step.kind) {
      case "open":
        // The janitor makes room for a whole chunk.
        if (!this.#writes.isFailing) this.#spool.roomWanted.ring();
        this.#part ??= await this.#spool.create(step.name);
        await this.#part.append(step.bytes);
        this.#syncedMs = this.#pageMs = sinceMs;
        return;
      case "append":
        if (this.#part !== null) await this.#append(this.#part, step.bytes, sinceMs);
        return;
      case "close":
        if (this.#part === null) return;
        if (step.header !== undefined) await this.#part.replaceStart(step.header);
        await this.#part.append(concatBytes([this.#rest, step.bytes]));
        this.#rest = NOTHING;
        // Without its bytes: it may wait for long.
        this.#closed.push({ step: withoutBytes(step), end: null });
        this.#syncs.push({ kind: "seal", part: this.#part, step: withoutBytes(step) });
        this.#part = null;
        return;
      case "discard":
        await this.#part?.discard();
        this.#part = null;
        this.#rest = NOTHING;
        return;
    }
  }

  /**
   * Writes a page, and requests a sync when one is due, or when one is due soon and a block has become
   * full. If a block is full, the sync covers whole blocks only, and the rest is written after it.
   * Otherwise each sync would write one block more than necessary, a quarter of all writes at 24 kbit/s.
   */
  async #append(part: PartFile, page: Uint8Array, sinceMs: number): Promise<void> {
    const bytes = concatBytes([this.#rest, page]);
    const agoMs = this.#deps.clock.monotonicMs() - this.#syncedMs;
    const beyond = (part.sizeBytes + bytes.length) % BLOCK_BYTES;
    const fillsBlock = beyond < bytes.length && this.#syncIntervalMs > EARLY_SYNC_MS;
    // While a sync is under way, no other is requested: the next page tries again, as after a sync that failed.
    const isSyncing = this.#syncs.isBusy ||
      this.#syncs.waiting.some((sync) => sync.kind === "sync" && sync.part === part);
    const isDue = !isSyncing &&
      agoMs >= this.#syncIntervalMs - (fillsBlock ? EARLY_SYNC_MS : 0);
    const end = isDue && fillsBlock ? bytes.length - beyond : bytes.length;
    await part.append(bytes.subarray(0, end));
    this.#rest = bytes.subarray(end);
    if (isDue) {
      this.#syncs.push({ kind: "sync", part });
      this.#syncedMs = end < bytes.length ? this.#pageMs : sinceMs;
    }
    this.#pageMs = sinceMs;
  }

  /** May be called again with the same step after it has failed. */
  async #sync(next: SyncStep): Promise<void> {
    if (next.kind === "sync") return await this.#syncBlocks(next.part);
    const { part, step } = next;
    const name = await part.seal({ ...step.name, durationUs: durationOf(step.times) });
    if (name === null) this.#vanished(step, part.sizeBytes);
    else this.#sealed(name, step, part.sizeBytes);
    const closed = this.#closed.find(({ step: { name } }) => name.key === step.name.key);
    if (closed !== undefined) closed.end = name === null ? "vanished" : "sealed";
    this.#tellSealed(false);
  }

  /** Tells the owner in order which chunks are sealed or lost. @param isLast those that are not sealed are lost. */
  #tellSealed(isLast: boolean): void {
    while (this.#closed.length > 0) {
      const isStuck = this.#closed[0]?.end === null;
      if (
        isStuck && !isLast && this.#closed.filter(({ end }) => end !== null).length < MAX_BEHIND
      ) return;
      const closed = this.#closed.shift();
      if (closed?.end === "sealed") this.#deps.onSealed?.(closed.step);
      else if (closed !== undefined) this.#deps.onLost?.(closed.step);
    }
  }

  /** Syncs what is written. The bytes that were kept back are written as soon as the sync is under way. */
  async #syncBlocks(part: PartFile): Promise<void> {
    const done = new AbortController();
    const syncing = part.sync().finally(() => done.abort());
    syncing.catch(() => {}); // it is awaited below
    await this.#deps.clock.sleep(SYNC_BEGINS_MS, done.signal);
    if (this.#rest.length > 0) this.push({ kind: "append", bytes: NOTHING });
    await syncing;
  }

  #sealed(name: string, step: SealedChunk, sizeBytes: number): void {
    const seconds = durationOf(step.times) / 1e6;
    const levels = {
      peak_dbfs: step.levels?.peakDbfs ?? null,
      rms_dbfs: step.levels?.rmsDbfs ?? null,
      noise_floor_dbfs: step.levels?.floorDbfs ?? null,
      clipped_share: step.levels === null ? null : roundShare(step.levels.clippedShare),
    };
    this.#deps.status.chunkRecorded({ name, seconds, bytes: sizeBytes, ...levels });
    this.#deps.log.info("Recorded.", { chunk: name, seconds, bytes: sizeBytes, ...levels });
  }

  /** The file was deleted while it was being recorded: it is useless to try again. */
  #vanished({ times }: SealedChunk, bytes: number): void {
    const seconds = durationOf(times) / 1e6;
    this.#deps.status.chunksLost({ chunks: 1, bytes, seconds });
    this.#deps.log.error("The file of a recording was deleted before it was finished.", {
      bytes,
      seconds,
    });
  }

  /**
   * Counts what still waited when the writer gave up on the disk. The contents of a .part file can be
   * recovered.
   */
  #lost(): void {
    const steps = this.#writes.waiting.map(({ step }) => step);
    const opened = steps.findIndex(({ kind }) => kind === "open");
    const closed = opened < 0 ? [] : steps.slice(opened).filter((step) => step.kind === "close");
    const losses = {
      chunks: closed.length,
      bytes: this.#pendingBytes,
      seconds: closed.reduce((sum, step) => sum + durationOf(step.times) / 1e6, 0),
    };
    this.#deps.status.chunksLost(losses);
    this.#deps.log.error("The end of the recording could not be written.", losses);
  }

  #failed(error: unknown): void {
    const isFull = /ENOSPC|No space left|os error 28/.test(String(error));
    if (isFull) this.#spool.roomWanted.ring();
    this.#problem.set(isFull ? problems.diskFull() : problems.diskFailing(error));
  }

  #recovered(): void {
    if (!this.#writes.isFailing && !this.#syncs.isFailing) this.#problem.clear();
  }
}

function withoutBytes({ header: _, ...step }: SealedChunk): SealedChunk {
  return { ...step, bytes: NOTHING };
}

function durationOf(times: ChunkTimes): number {
  return times.endUnixUs - times.startUnixUs;
}

/** To a thousandth of a per cent. */
function roundShare(share: number): number {
  return Math.round(share * 1e5) / 1e5;
}
