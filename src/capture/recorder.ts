// When to record and from which microphone: the schedule, the choice, and the way back after a loss.
// How a stream becomes chunks is stream.ts's.

import type { Clock } from "../clock.ts";
import type { Logger } from "../log.ts";
import { isInSchedule, nextChange, type Schedule } from "../schedule.ts";
import type { Spool } from "../spool/spool.ts";
import type { Status } from "../status/status.ts";
import { ChunkWriter } from "./chunk_writer.ts";
import { captureAttempts, detectMicrophone, NoMicrophoneError } from "./devices.ts";
import { type CaptureSource, type Diagnosis, FfmpegMissingError } from "./ffmpeg.ts";
import { appendGap } from "./gap_log.ts";
import { type Gap, Ledger, type LedgerBalance } from "./ledger.ts";
import { isSilent, type Levels } from "./levels.ts";
import { recordStream, type StreamDeps, type StreamEnd, type StreamOptions } from "./stream.ts";

/** The schedule is looked at at least so often: the clock may be stepped at any time. */
const LOOK_MS = 5_000;
const RECONNECT_MIN_MS = 2_000;
const RECONNECT_MAX_MS = 60_000;
const MICROPHONE_PROBLEMS = [
  "microphone_missing",
  "microphone_busy",
  "microphone_forbidden",
  "microphone_format",
  "microphone_lost",
  "microphone_stalled",
  "ffmpeg_missing",
  "ffmpeg_incomplete",
  "recorder_failed",
];

/** Gaps at the edges of a recording. */
const EDGES = ["starting", "stopping", "schedule_end"];
const SILENT = "microphone_silent";
const SILENT_CHUNKS = 2;

/** A microphone to record from, with the ways to open it, the best first. */
export interface Microphone {
  /** For people: log, health and tags. */
  readonly name: string;
  /** Why this one. */
  readonly reason: string;
  readonly attempts: readonly CaptureSource[];
}

export interface RecorderOptions {
  readonly schedule: Schedule;
  /** IANA name of the zone whose wall clock the schedule means. */
  readonly timeZone: string;
  readonly stream: Omit<StreamOptions, "tags">;
  /** What a power cut may cost, ms. */
  readonly syncIntervalMs: number;
  /** Comments that every chunk carries, besides those about stream and microphone. */
  readonly tags: Readonly<Record<string, string>>;
  /** For a chunk that began at this monotonic time; undefined while the clock is synchronized. */
  readonly provisional: StreamDeps["provisional"];
  /** Asked before every start of ffmpeg. @throws {NoMicrophoneError} */
  readonly findMicrophone: () => Promise<Microphone>;
}

export interface RecorderDeps {
  readonly clock: Clock;
  readonly spool: Spool;
  readonly status: Status;
  readonly log: Logger;
}

/** The configured PCM, or the microphone that is plugged in. */
export async function findMicrophone(
  audioDevice: string | null,
  sampleRate: number,
): Promise<Microphone> {
  const choice = audioDevice === null ? await detectMicrophone() : null;
  const attempts = captureAttempts(choice?.device ?? audioDevice ?? "", sampleRate)
    .map((attempt): CaptureSource => ({ kind: "alsa", ...attempt }));
  return choice === null
    ? { name: audioDevice ?? "", reason: "audio_device names it", attempts }
    : { name: choice.device.name, reason: choice.reason, attempts };
}

export class Recorder {
  readonly #options: RecorderOptions;
  readonly #deps: RecorderDeps;
  readonly #writer: ChunkWriter;
  readonly #ledger = new Ledger();
  #delayMs = RECONNECT_MIN_MS;
  /** Monotonic time at which sound was lost, while it should be recorded. */
  #lostMs: number | null = null;
  /** Why no sound comes at the moment. */
  #gapCause = "starting";
  #gapsLogged: Promise<void> = Promise.resolve();
  /** When the schedule ended, until the books are closed: the last chunk may still be written. */
  #scheduleEndMs: number | null = null;
  #chosen = "";
  #silentChunks = 0;

  constructor(options: RecorderOptions, deps: RecorderDeps) {
    this.#options = options;
    this.#deps = deps;
    // One for all streams: what a full disk keeps waiting outlives the loss of a microphone.
    this.#writer = new ChunkWriter(deps.spool, options.syncIntervalMs, {
      ...deps,
      onSealed: ({ times: { startMs, endMs }, gapCause, levels }) => {
        this.#declare(this.#ledger.record(startMs, endMs), gapCause);
        if (levels !== null) this.#heard(levels);
      },
    });
  }

  /** The books of this run: what was asked for, recorded, and is missing. */
  balance(): LedgerBalance {
    return this.#ledger.balance(this.#deps.clock.monotonicMs());
  }

  /** Works until the signal aborts; the current chunk is then finished and kept. */
  async run(signal: AbortSignal): Promise<void> {
    try {
      await this.#followSchedule(signal);
    } finally {
      await this.#writer.finish();
      this.#closeBooks("stopping");
      await this.#gapsLogged;
    }
  }

  async #followSchedule(signal: AbortSignal): Promise<void> {
    const { clock, status, log } = this.#deps;
    while (!signal.aborted) {
      const inSchedule = this.#inSchedule();
      status.schedule(inSchedule);
      if (!inSchedule) {
        status.clearProblem(...MICROPHONE_PROBLEMS);
        this.#lostMs = null;
        this.#delayMs = RECONNECT_MIN_MS;
        this.#scheduleEndMs ??= clock.monotonicMs();
        if (this.#writer.isIdle) this.#closeBooks("schedule_end");
        await clock.sleep(this.#nextLookMs(), signal);
        continue;
      }
      if (this.#scheduleEndMs !== null) this.#closeBooks("schedule_end");
      this.#ledger.begin(clock.monotonicMs());
      await using hours = this.#scheduleWindow(signal);
      const diagnosis = await this.#recordOnce(hours.signal);
      status.recording(null);
      if (diagnosis === null || hours.signal.aborted) continue;
      this.#lostMs ??= clock.monotonicMs();
      this.#gapCause = diagnosis.code;
      if (!status.hasProblem(diagnosis.code)) {
        log.warning("{problem}", { problem: diagnosis.message, code: diagnosis.code });
      }
      status.clearProblem(...MICROPHONE_PROBLEMS.filter((code) => code !== diagnosis.code));
      status.setProblem(diagnosis.code, diagnosis.message);
      log.debug("Trying the microphone again.", { delay_s: this.#delayMs / 1000 });
      await clock.sleep(this.#delayMs, hours.signal);
      this.#delayMs = Math.min(this.#delayMs * 2, RECONNECT_MAX_MS);
    }
  }

  /** One microphone from its choice to its loss. Null: the end was asked for. */
  async #recordOnce(signal: AbortSignal): Promise<Diagnosis | null> {
    let diagnosis: Diagnosis | null = null;
    try {
      const microphone = await this.#options.findMicrophone();
      this.#announce(microphone);
      for (const source of microphone.attempts) {
        const end = await this.#recordFrom(source, microphone, signal);
        diagnosis = end.diagnosis;
        // Only a format that is not offered is worth the next way to open the same microphone.
        if (end.soundEndMs !== null || diagnosis?.code !== "microphone_format") break;
      }
    } catch (error) {
      if (error instanceof FfmpegMissingError) return error.diagnosis;
      if (error instanceof NoMicrophoneError) {
        return { code: "microphone_missing", message: error.message };
      }
      // Whatever it is, the next try may succeed; giving up would surely lose the sound.
      const message = `Recording failed: ${error instanceof Error ? error.stack : error}`;
      return { code: "recorder_failed", message };
    }
    return diagnosis;
  }

  async #recordFrom(
    source: CaptureSource,
    microphone: Microphone,
    signal: AbortSignal,
  ): Promise<StreamEnd> {
    const { status } = this.#deps;
    const tags = { ...this.#options.tags, MICROPHONE: microphone.name };
    const end = await recordStream(
      source,
      { ...this.#options.stream, tags },
      {
        ...this.#deps,
        writer: this.#writer,
        onSound: (startMs) => this.#soundArrived(startMs, microphone),
        provisional: this.#options.provisional,
        gapCause: this.#gapCause,
        onDropping: (dropping) => status.recording(dropping ? null : microphone.name),
      },
      signal,
    );
    if (end.soundEndMs !== null) this.#lostMs = end.soundEndMs;
    status.recording(null);
    return end;
  }

  #soundArrived(startMs: number, microphone: Microphone): void {
    const { status, log } = this.#deps;
    status.recording(microphone.name);
    status.clearProblem(...MICROPHONE_PROBLEMS);
    this.#delayMs = RECONNECT_MIN_MS;
    const gapMs = this.#lostMs === null ? 0 : Math.max(0, startMs - this.#lostMs);
    this.#lostMs = null;
    log.info("Recording.", {
      microphone: microphone.name,
      ...(gapMs > 0 ? { gap_ms: Math.round(gapMs) } : {}),
    });
  }

  /** The schedule has ended, or the program: what it still asked for was not recorded. */
  #closeBooks(cause: string): void {
    this.#declare(this.#ledger.end(this.#scheduleEndMs ?? this.#deps.clock.monotonicMs()), cause);
    this.#scheduleEndMs = null;
    this.#gapCause = "starting";
  }

  /** A gap is declared, never hidden: in the log, in /health and in gaps.jsonl. */
  #declare(gap: Gap | null, cause: string): void {
    if (gap === null) return;
    const { clock, log, spool, status } = this.#deps;
    const offsetMs = clock.unixMs() - clock.monotonicMs();
    const record = {
      start: new Date(gap.startMs + offsetMs).toISOString(),
      end: new Date(gap.endMs + offsetMs).toISOString(),
      ms: Math.round(gap.endMs - gap.startMs),
      cause,
    };
    // To begin and to end take their moment; that is declared, but no reason to worry.
    if (record.ms < 3000 && EDGES.includes(cause)) log.info("Sound is missing.", record);
    else log.warning("Sound is missing.", record);
    status.gapDeclared({ start: record.start, ms: record.ms, cause });
    this.#gapsLogged = this.#gapsLogged.then(() => appendGap(spool.dir, record)).catch((error) => {
      log.warning("gaps.jsonl cannot be written.", { error: String(error) });
    });
  }

  /** A microphone that hears nothing, chunk after chunk, is a problem; it is recorded all the same. */
  #heard(levels: Levels): void {
    const { status, log } = this.#deps;
    this.#silentChunks = isSilent(levels) ? this.#silentChunks + 1 : 0;
    if (this.#silentChunks === 0) {
      if (status.hasProblem(SILENT)) log.warning("The microphone hears something again.");
      status.clearProblem(SILENT);
    }
    if (this.#silentChunks !== SILENT_CHUNKS) return;
    const message = `The microphone hears nothing (peak ${levels.peakDbfs} dBFS): is it muted, ` +
      `switched off, or turned down (alsamixer)?`;
    log.warning("{problem}", { problem: message, code: SILENT });
    status.setProblem(SILENT, message);
  }

  /** Says which microphone and why, whenever that changes. */
  #announce(microphone: Microphone): void {
    const chosen = `${microphone.name}\n${microphone.reason}`;
    if (chosen === this.#chosen) return;
    this.#chosen = chosen;
    this.#deps.log.info("Microphone chosen.", {
      microphone: microphone.name,
      reason: microphone.reason,
    });
  }

  #inSchedule(): boolean {
    const { schedule, timeZone } = this.#options;
    return isInSchedule(this.#deps.clock.unixMs(), schedule, timeZone);
  }

  /** Up to the next edge of the schedule, LOOK_MS at most. */
  #nextLookMs(): number {
    const { schedule, timeZone } = this.#options;
    const nowMs = this.#deps.clock.unixMs();
    const edge = nextChange(nowMs, schedule, timeZone);
    return Math.min(LOOK_MS, edge === null ? LOOK_MS : Math.max(1, edge - nowMs));
  }

  /** Aborts when the schedule ends, or `parent` does. */
  #scheduleWindow(parent: AbortSignal): { signal: AbortSignal } & AsyncDisposable {
    const { clock } = this.#deps;
    const hours = new AbortController();
    const close = () => hours.abort();
    parent.addEventListener("abort", close);
    if (parent.aborted) close();
    const watch = async () => {
      while (!hours.signal.aborted) {
        await clock.sleep(this.#nextLookMs(), hours.signal);
        if (!this.#inSchedule()) close();
      }
    };
    const watched = watch();
    return {
      signal: hours.signal,
      async [Symbol.asyncDispose]() {
        parent.removeEventListener("abort", close);
        close();
        await watched;
      },
    };
  }
}
