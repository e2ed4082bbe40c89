// What the service is doing, as the workers report it: counters, problems, the state of recording. It only
// observes, and never influences the work.

import type { Clock } from "../system/clock.ts";
import { type LedgerBalance, NO_BOOKS } from "./ledger.ts";
import { type ChunkDir, parseChunkName } from "../chunk/chunk_name.ts";
import type { Tally } from "./tally.ts";
import { Counters } from "./counters.ts";
import { type DeclaredGap, History, type Problem } from "./history.ts";
import { isHint, type ProblemCode, problems } from "./problems.ts";
import { MAX_TEXT, printable } from "../system/printable.ts";

/** How long the microphone may take to start, or be silent, before that is an error. */
export const STARTING_MS = 10_000;

/**
 * What became of every second since the last chunk of the run before. Two sums hold at every moment:
 * `scheduled = recorded + gaps + open`, and
 * `recorded + adjusted + carried_over = delivered + waiting + refused + lost + unaccounted`.
 */
export interface LedgerReport {
  /** Seconds for which the schedule was on, the time between two runs included. */
  scheduled_s: number;
  recorded_s: number;
  gaps_s: number;
  /**
   * What corrections of the system clock added to the lengths in the names of chunks; the first sum is kept
   * on the monotonic clock.
   */
  adjusted_s: number;
  /** In the chunk being recorded, or in a gap that has not ended. */
  open_s: number;
  /**
   * Waiting or refused when the program started, recovered recordings included; or requeued since with
   * `recorder-agent requeue`.
   */
  carried_over_s: number;
  delivered_s: number;
  waiting_s: number;
  /** Moved to rejected/, and neither delivered from there nor evicted. */
  refused_s: number;
  /** Evicted before they were delivered. */
  lost_s: number;
  /** Not 0 if another process moved or deleted waiting chunks. */
  unaccounted_s: number;
}

/** The chunk recorded last. Levels are null if they were not measured. */
export interface RecordedChunk {
  readonly name: string;
  readonly seconds: number;
  readonly bytes: number;
  readonly peak_dbfs: number | null;
  readonly rms_dbfs: number | null;
  /** RMS that a tenth of the chunk does not exceed. */
  readonly noise_floor_dbfs: number | null;
  /** Share of the samples at full scale, 0 to 1. */
  readonly clipped_share: number | null;
}

/** The answer of GET /health. The first ten fields are fixed: other software reads them. */
export interface HealthReport {
  status: "ok" | "degraded" | "error";
  recording: boolean;
  in_schedule: boolean;
  queue_size: number;
  uploaded_total: number;
  upload_errors_total: number;
  last_upload_ts: number | null;
  spool_files: number;
  spool_bytes: number;
  point_id: string;
  register_id: string;
  device_id: string;
  version: string;
  started_ts: number;
  microphone: string | null;
  /** How often the microphone was connected and delivered no sound for 10 s. */
  microphone_stalls_total: number;
  chunks_recorded_total: number;
  chunks_rejected_total: number;
  /** In rejected/ now; they are tried again at intervals. */
  chunks_rejected: number;
  chunks_lost_total: number;
  bytes_lost_total: number;
  seconds_lost_total: number;
  gaps_total: number;
  gap_seconds_total: number;
  last_gap: DeclaredGap | null;
  ledger: LedgerReport;
  clock_synchronized: boolean;
  /** Null before the first chunk. */
  last_chunk: RecordedChunk | null;
  problems: Problem[];
}

export interface StatusIdentity {
  readonly pointId: string;
  readonly registerId: string;
  readonly deviceId: string;
  readonly version: string;
}

/** What a report shows of the spool. */
export interface ReportedSpool {
  readonly tally: Readonly<Record<ChunkDir, Readonly<Tally>>>;
  readonly totalBytes: number;
  /** Sound in chunks that another process put into outbox/ since the start, microseconds. */
  readonly returnedUs?: number;
}

export class Status {
  /** For /metrics. */
  readonly counters = new Counters();
  /** For the status page. */
  readonly history: History;
  readonly #clock: Clock;
  readonly #identity: StatusIdentity;
  readonly #startedUnixMs: number;
  readonly #problems = new Map<ProblemCode, Problem>();
  readonly #totals = {
    uploaded: 0,
    uploadErrors: 0,
    recorded: 0,
    rejected: 0,
    lostChunks: 0,
    lostBytes: 0,
    lostSeconds: 0,
    stalls: 0,
  };
  /** Microseconds of sound in chunks, by what became of them. */
  readonly #us = { recorded: 0, carriedOver: 0, delivered: 0, refused: 0, evicted: 0 };
  #inSchedule = false;
  #scheduleSinceMs = 0;
  #recording = false;
  #microphone: string | null = null;
  #lastUploadUnixMs: number | null = null;
  #lastChunk: HealthReport["last_chunk"] = null;
  #lastGap: DeclaredGap | null = null;

  /** @param timeZone IANA name of the zone whose days the status page shows. */
  constructor(identity: StatusIdentity, clock: Clock, timeZone = "UTC") {
    this.#identity = identity;
    this.#clock = clock;
    this.history = new History(clock, timeZone);
    this.#startedUnixMs = clock.unixMs();
    this.#scheduleSinceMs = clock.monotonicMs();
  }

  /**
   * Begins a problem, or gives a lasting one a new message; its start time stays.
   * @param options.before code of the problem that turned out to be this one.
   * @param options.retryInMs when the program tries again, if it is known.
   */
  setProblem(
    code: ProblemCode,
    message: string,
    { before = code, retryInMs }: { before?: ProblemCode | undefined; retryInMs?: number } = {},
  ): void {
    const nowMs = this.#clock.unixMs();
    const since = this.#problems.get(before)?.since ?? nowMs / 1000;
    if (before !== code) this.#problems.delete(before);
    const retry = retryInMs === undefined ? {} : { retry_at: (nowMs + retryInMs) / 1000 };
    this.#problems.set(code, { code, message: printable(message, MAX_TEXT), since, ...retry });
  }

  clearProblem(code: ProblemCode): void {
    const problem = this.#problems.get(code);
    if (problem === undefined) return;
    if (code === problems.paused.code) {
      this.#scheduleSinceMs = this.#clock.monotonicMs(); // the microphone has its time to start
    }
    this.history.problemEnded(problem);
    this.#problems.delete(code);
  }

  hasProblem(code: ProblemCode): boolean {
    return this.#problems.has(code);
  }

  schedule(inSchedule: boolean): void {
    if (inSchedule !== this.#inSchedule) this.#scheduleSinceMs = this.#clock.monotonicMs();
    this.#inSchedule = inSchedule;
  }

  /** Sound arrives from this microphone; null: no sound arrives. */
  recording(microphone: string | null): void {
    if (microphone === null && this.#recording) this.#scheduleSinceMs = this.#clock.monotonicMs();
    this.#recording = microphone !== null;
    this.history.sound(this.#recording);
    this.#microphone = microphone === null ? this.#microphone : printable(microphone, MAX_TEXT);
  }

  microphoneStalled(): void {
    this.#totals.stalls++;
  }

  chunkRecorded(chunk: RecordedChunk): void {
    this.#totals.recorded++;
    this.#us.recorded += Math.round(chunk.seconds * 1e6);
    this.#lastChunk = chunk;
    const startMs = (parseChunkName(chunk.name)?.startUnixUs ?? NaN) / 1000;
    if (startMs > 0) this.history.recorded(startMs, startMs + chunk.seconds * 1000);
  }

  gapDeclared(gap: DeclaredGap): void {
    this.#lastGap = gap;
    this.history.gapDeclared(gap);
    this.counters.missing(gap.cause, gap.ms);
  }

  /** Counts the sound that waits, and the sound in rejected/, when the program starts. */
  carriedOver(waitingUs: number, refusedUs: number): void {
    this.#us.carriedOver += waitingUs + refusedUs;
    this.#us.refused += refusedUs;
  }

  /** @param wasRefused the chunk was in rejected/. */
  uploaded(durationUs: number, wasRefused = false): void {
    this.#totals.uploaded++;
    this.#us.delivered += durationUs;
    if (wasRefused) this.#us.refused -= durationUs;
    this.#lastUploadUnixMs = this.#clock.unixMs();
  }

  uploadFailed(): void {
    this.#totals.uploadErrors++;
  }

  chunkRejected(durationUs: number): void {
    this.#totals.rejected++;
    this.#us.refused += durationUs;
  }

  chunksLost(losses: { chunks: number; bytes: number; seconds: number }): void {
    this.#totals.lostChunks += losses.chunks;
    this.#totals.lostBytes += losses.bytes;
    this.#totals.lostSeconds += losses.seconds;
  }

  /** Counts undelivered chunks that were removed: they are lost, and are no longer in this directory. */
  evicted(dir: ChunkDir, seconds: number): void {
    const us = Math.round(seconds * 1e6);
    this.#us.evicted += us;
    if (dir === "rejected") this.#us.refused -= us;
  }

  /** Everything, as of now; `books` is the balance of the recorder's ledger. */
  report(spool: ReportedSpool, books = NO_BOOKS): HealthReport {
    const totals = this.#totals;
    const hintsLast = (a: Problem, b: Problem) => Number(isHint(a.code)) - Number(isHint(b.code));
    const lasting = [...this.#problems.values()].sort(hintsLast);
    const { outbox, uploaded, rejected } = spool.tally;
    return {
      status: this.#verdict(lasting),
      recording: this.#recording,
      in_schedule: this.#inSchedule,
      queue_size: outbox.files,
      uploaded_total: totals.uploaded,
      upload_errors_total: totals.uploadErrors,
      last_upload_ts: this.#lastUploadUnixMs === null ? null : this.#lastUploadUnixMs / 1000,
      spool_files: outbox.files + uploaded.files + rejected.files,
      spool_bytes: spool.totalBytes,
      point_id: this.#identity.pointId,
      register_id: this.#identity.registerId,
      device_id: this.#identity.deviceId,
      version: this.#identity.version,
      started_ts: this.#startedUnixMs / 1000,
      microphone: this.#microphone,
      microphone_stalls_total: totals.stalls,
      chunks_recorded_total: totals.recorded,
      chunks_rejected_total: totals.rejected,
      chunks_rejected: rejected.files,
      chunks_lost_total: totals.lostChunks,
      bytes_lost_total: totals.lostBytes,
      seconds_lost_total: totals.lostSeconds,
      gaps_total: books.gaps,
      gap_seconds_total: books.gapUs / 1e6,
      last_gap: this.#lastGap,
      clock_synchronized: !this.#problems.has(problems.clockNotSynchronized.code),
      ledger: this.#ledger(spool, books),
      last_chunk: this.#lastChunk,
      problems: lasting,
    };
  }

  #ledger({ tally, returnedUs = 0 }: ReportedSpool, books: LedgerBalance): LedgerReport {
    const us = { ...this.#us, carriedOver: this.#us.carriedOver + returnedUs };
    const waitingUs = tally.outbox.durationUs;
    const accountedUs = us.delivered + waitingUs + us.refused + us.evicted;
    return {
      scheduled_s: books.scheduledUs / 1e6,
      recorded_s: books.recordedUs / 1e6,
      gaps_s: books.gapUs / 1e6,
      open_s: books.openUs / 1e6,
      adjusted_s: (us.recorded - books.recordedUs) / 1e6,
      carried_over_s: us.carriedOver / 1e6,
      delivered_s: us.delivered / 1e6,
      waiting_s: waitingUs / 1e6,
      refused_s: us.refused / 1e6,
      lost_s: us.evicted / 1e6,
      unaccounted_s: (us.recorded + us.carriedOver - accountedUs) / 1e6,
    };
  }

  #verdict(lasting: readonly Problem[]): HealthReport["status"] {
    if (this.#problems.has(problems.paused.code)) return "degraded";
    const waitedMs = this.#clock.monotonicMs() - this.#scheduleSinceMs;
    if (this.#inSchedule && !this.#recording && waitedMs > STARTING_MS) return "error";
    return lasting.every(({ code }) => isHint(code)) ? "ok" : "degraded";
  }
}
