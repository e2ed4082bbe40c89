// Decides when to record, from which microphone, and what to do after a loss. It follows the schedule and
// reports why no sound arrives. stream.ts turns a stream into chunks; account.ts says what is missing. The module
// is long because what ends an attempt (the schedule, a pause, other settings, a better microphone, a loss)
// decides about the next one.

import type { CaptureSource } from "../microphone/capture_attempts.ts";
import type { ChannelSetting } from "../microphone/channel_choice.ts";
import type { Clock } from "../system/clock.ts";
import { messageOf } from "../system/error_text.ts";
import { repeating } from "../system/held_lines.ts";
import type { Logger } from "../system/log.ts";
import { isInSchedule, nextChange } from "../config/schedule.ts";
import type { Spool } from "../spool/spool.ts";
import type { Status } from "../status/status.ts";
import { Wakeup } from "../system/wakeup.ts";
import { aborted, openUntil } from "../system/window.ts";
import { ChunkWriter } from "../spool/chunk_writer.ts";
import { ProblemReport } from "../status/problem_report.ts";
import { type Diagnosis, type ProblemCode, problems } from "../status/problems.ts";
import { ChannelKeeper, channelTag, type OpenChannels } from "./channel_keeper.ts";
import { AttemptOrder } from "./attempt_order.ts";
import { Account, type AccountOptions } from "./account.ts";
import type { Before } from "./before_start.ts";
import { alsaEnvironment } from "./alsa_config.ts";
import { FfmpegMissingError, type StartFfmpeg } from "./ffmpeg.ts";
import type { GapCause, LedgerBalance } from "../status/ledger.ts";
import { NoMicrophoneError } from "../microphone/microphone_choice.ts";
import { type Mixer, mixerOf } from "../microphone/mixer.ts";
import { MicrophoneKeeper } from "../microphone/microphone_keeper.ts";
import { keyOf, type Microphone, type Microphones } from "../microphone/microphones.ts";
import { MicrophonePatience } from "./microphone_patience.ts";
import { OPUS_RATE } from "../chunk/opus.ts";
import { PaceWatch } from "./pace_watch.ts";
import { SoundWatch } from "./sound_watch.ts";
import { MixerKeeper, type MixerSetting } from "./mixer_keeper.ts";
import { recordStream, type StreamEnd, type StreamOptions } from "./stream.ts";

/** The schedule is checked at least this often, because the clock may be stepped at any time. */
const LOOK_MS = 5_000;
const RECONNECT_MIN_MS = 2_000;
const RECONNECT_MAX_MS = 60_000;
/** A microphone that always dies sooner than this after its first sound is tried less and less often. */
const STEADY_MS = 10_000;
/**
 * Right after a plug these failures are expected: they are not reported, and the next attempt follows at
 * once.
 */
const SETTLE_RETRY_MS = 250;
const SETTLING: readonly ProblemCode[] = [
  problems.missing.code,
  problems.forbidden.code,
  problems.busy.code,
  problems.lost.code,
];

export interface RecorderOptions extends AccountOptions {
  readonly stream: Omit<StreamOptions, "tags">;
  /** Which channels of a microphone that has several are recorded. @default "auto" */
  readonly audioChannel?: ChannelSetting;
  /** What to set at each microphone; default: nothing. */
  readonly mixer?: MixerSetting;
  /** How much sound a power cut may cost, ms. */
  readonly syncIntervalMs: number;
  /** Comments that every chunk carries, besides those about stream and microphone. */
  readonly tags: Readonly<Record<string, string>>;
  readonly microphones: Microphones;
  /** What is known of the time before this start; default: nothing. */
  readonly before?: Before;
}

export interface RecorderDeps {
  readonly clock: Clock;
  readonly spool: Spool;
  readonly status: Status;
  readonly log: Logger;
  /** How much longer a person wants nothing recorded, ms; 0: recording is not paused. @default 0 */
  readonly pausedForMs?: () => number;
  /** Called when packets were processed, and in each pass of the loop that waits for sound. */
  readonly onAlive?: () => void;
  /** @default Ffmpeg.start */
  readonly startFfmpeg?: StartFfmpeg;
  /** The controls of a sound card. @default those that amixer knows */
  readonly mixerOf?: (card: number) => Mixer;
}

interface Attempt extends StreamEnd {
  /** Undefined if no microphone was found. */
  readonly microphone?: Microphone;
}

export class Recorder {
  #options: RecorderOptions;
  readonly #deps: RecorderDeps;
  readonly #writer: ChunkWriter;
  readonly #account: Account;
  #delayMs = RECONNECT_MIN_MS;
  /** Monotonic time at which scheduled sound was lost; null if none is missing now. */
  #lostMs: number | null = null;
  /** Monotonic time at which the sound of the last recording began. */
  #soundSinceMs = -Infinity;
  /** Writes besides the sound: declared gaps, the microphone recorded last. */
  #notes: Promise<void> = Promise.resolve();
  /** The problem that no sound arrives. */
  readonly #problem: ProblemReport;
  readonly #scheduleProblem: ProblemReport;
  readonly #sound: SoundWatch;
  readonly #pace: PaceWatch;
  #keeper: MicrophoneKeeper;
  #channels: ChannelKeeper;
  /** Ends the recording of now: the microphone is to be opened with other options, or not at all. */
  #reopen = () => {};
  /** Why: the cause of the gap. */
  #reopenCause: GapCause = "settings_changed";
  readonly #mixer: MixerKeeper;
  /** Ends the wait for the end of a pause. */
  readonly #pauseChanged = new Wakeup();
  readonly #patience = new MicrophonePatience();
  #attempts = new AttemptOrder();
  #lacksSockets = false;

  constructor(options: RecorderOptions, deps: RecorderDeps) {
    this.#options = options;
    this.#deps = deps;
    this.#problem = new ProblemReport(deps);
    this.#scheduleProblem = new ProblemReport(deps);
    this.#account = new Account(options.before ?? null, () => this.#options, {
      ...deps,
      note: (write) => this.#note("gaps.jsonl", write),
    });
    this.#sound = new SoundWatch(() => new ProblemReport(deps));
    this.#pace = new PaceWatch(new ProblemReport(deps));
    this.#keeper = this.#makeKeeper();
    this.#channels = this.#makeChannelKeeper();
    const asItIs: MixerSetting = { volume: null, agc: null };
    this.#mixer = new MixerKeeper(() => this.#options.mixer ?? asItIs, {
      ...deps,
      spoolDir: deps.spool.dir,
      mixerOf: deps.mixerOf ??
        ((card) => mixerOf(card, alsaEnvironment(this.#options.stream.socketDir))),
    });
    // One writer for all streams: sound that waits for a full disk is kept when a microphone is lost.
    this.#writer = new ChunkWriter(deps.spool, options.syncIntervalMs, {
      ...deps,
      onSealed: (chunk) => this.#account.recorded(chunk),
      onLost: (chunk) => this.#account.lost(chunk),
    });
  }

  /**
   * Uses other options from now on. If the microphone must be opened with them, the chunk is finished and
   * the microphone opened again; otherwise no sample is lost.
   */
  change(options: RecorderOptions): void {
    const before = this.#options;
    this.#options = options;
    this.#writer.syncEvery(options.syncIntervalMs);
    this.#checkSchedule();
    if (!opensOtherwise(before, options)) return;
    this.#keeper.withdraw("the settings were changed");
    this.#channels.withdraw("the settings were changed");
    this.#keeper = this.#makeKeeper();
    this.#channels = this.#makeChannelKeeper();
    this.#attempts = new AttemptOrder(); // there may be others, in another order
    this.#delayMs = RECONNECT_MIN_MS;
    this.#reopenCause = "settings_changed";
    this.#reopen();
  }

  #checkSchedule(): void {
    const { schedule } = this.#options;
    const overlaps = "week" in schedule ? schedule.overlaps : [];
    if (overlaps.length === 0) this.#scheduleProblem.clear();
    else this.#scheduleProblem.set(problems.scheduleOverlaps(overlaps));
  }

  #makeKeeper(): MicrophoneKeeper {
    return new MicrophoneKeeper(this.#options.microphones, {
      ...this.#deps,
      note: (write) => this.#note("microphone.json", write),
    });
  }

  #makeChannelKeeper(): ChannelKeeper {
    const { audioChannel = "auto", microphones } = this.#options;
    return new ChannelKeeper(audioChannel, microphones, {
      ...this.#deps,
      note: (write) => this.#note("channels.json", write),
    });
  }

  /** The ledger of this run: scheduled, recorded and missing time. */
  balance(): LedgerBalance {
    return this.#account.balance();
  }

  /** Works until the signal aborts; the current chunk is then finished and kept. */
  async run(signal: AbortSignal): Promise<void> {
    this.#account.runBegins();
    this.#checkSchedule();
    try {
      await this.#followSchedule(signal);
    } finally {
      await Promise.all([this.#writer.finish(), this.#mixer.finish()]);
      this.#account.close("stopping");
      await this.#notes;
    }
  }

  async #followSchedule(signal: AbortSignal): Promise<void> {
    const { clock, status } = this.#deps;
    while (!signal.aborted) {
      this.#deps.onAlive?.();
      const inSchedule = this.#inSchedule();
      status.schedule(inSchedule);
      if (!inSchedule) {
        this.#problem.clear("outside the schedule");
        this.#lostMs = null;
        this.#delayMs = RECONNECT_MIN_MS;
        this.#attempts = new AttemptOrder(); // a day begins with the best rate
        this.#account.scheduleEnded(this.#writer.settle());
        await clock.sleep(this.#nextLookMs(), signal);
        continue;
      }
      this.#account.inSchedule();
      if (await this.#waitWhilePaused(signal)) continue;
      await using hours = openUntil(signal, (signal) => this.#scheduleEnds(signal));
      await using settings = openUntil(hours.signal, (signal) => this.#settingsChange(signal));
      const startedMs = clock.monotonicMs();
      const { diagnosis, soundEndMs, microphone } = await this.#recordOnce(settings.signal);
      status.recording(null);
      if (settings.signal.aborted && !hours.signal.aborted) {
        if (soundEndMs !== null) this.#account.cause = this.#reopenCause;
        continue;
      }
      const isDying = this.#keeper.isDying && (soundEndMs ?? 0) - this.#soundSinceMs < STEADY_MS;
      if (soundEndMs !== null && !isDying) this.#delayMs = RECONNECT_MIN_MS;
      if (diagnosis === null || hours.signal.aborted) continue;
      const isNoNews = soundEndMs === null && SETTLING.includes(diagnosis.code);
      if (isNoNews && this.#keeper.isSettling(startedMs)) {
        await clock.sleep(SETTLE_RETRY_MS, settings.signal);
        continue;
      }
      this.#lostMs ??= clock.monotonicMs();
      if (this.#writer.settle()) this.#account.pauseIsOver(); // the chunk before it is accounted for
      this.#account.cause = diagnosis.code;
      this.#problem.set(diagnosis);
      if (diagnosis.code === problems.missing.code) this.#pace.gone();
      if (soundEndMs === null && microphone !== undefined) {
        this.#keeper.gaveNothing(microphone);
        this.#attempts.failed(microphone, diagnosis.code);
      }
      if (diagnosis.code === problems.stalled.code) {
        status.microphoneStalled();
        if (soundEndMs !== null) continue; // the stall was long enough a wait
      }
      await this.#waitToReconnect(settings.signal);
    }
  }

  /** The system clock has become right. */
  clockTrusted(): void {
    this.#account.clockTrusted();
  }

  /** A pause was begun or ended by a command. */
  pauseChanged(): void {
    this.#pauseChanged.ring();
    this.#reopenCause = "paused";
    this.#reopen();
  }

  /** Waits a moment if recording is paused; then true. */
  async #waitWhilePaused(signal: AbortSignal): Promise<boolean> {
    const { clock, pausedForMs = () => 0 } = this.#deps;
    const pausedMs = pausedForMs();
    if (pausedMs === 0) {
      this.#account.resumed();
      return false;
    }
    this.#account.paused(this.#problem.isLasting && this.#writer.settle());
    this.#problem.clear("recording is paused");
    this.#delayMs = RECONNECT_MIN_MS;
    this.#lostMs ??= clock.monotonicMs();
    const waitMs = Math.min(pausedMs, this.#nextLookMs());
    await this.#pauseChanged.wait(clock, waitMs, signal);
    return true;
  }

  /** Resolves when the microphone is to be opened with other options, or on abort. */
  async #settingsChange(signal: AbortSignal): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#reopen = resolve;
    await Promise.race([promise, aborted(signal)]);
  }

  /**
   * Waits until the next attempt is due, something is plugged in, or an ffmpeg that a driver held has
   * ended.
   */
  async #waitToReconnect(signal: AbortSignal): Promise<void> {
    const { clock, log } = this.#deps;
    log.debug("Trying the microphone again.", { delay_s: this.#delayMs / 1000 });
    this.#deps.onAlive?.();
    const [endMs, held] = [clock.monotonicMs() + this.#delayMs, this.#patience.leftBehind];
    while (!signal.aborted && clock.monotonicMs() < endMs && this.#patience.leftBehind >= held) {
      const leftMs = endMs - clock.monotonicMs();
      if (await this.#keeper.waitForPlug(Math.min(leftMs, RECONNECT_MIN_MS), signal)) {
        this.#delayMs = RECONNECT_MIN_MS;
        return;
      }
    }
    this.#delayMs = Math.min(this.#delayMs * 2, RECONNECT_MAX_MS);
  }

  /**
   * Records from one microphone, from its choice to its loss. The diagnosis is null if the end was
   * requested.
   */
  async #recordOnce(signal: AbortSignal): Promise<Attempt> {
    const { microphones } = this.#options;
    const [keeper, attempts] = [this.#keeper, this.#attempts]; // not those after a change of settings
    let end: Attempt = { diagnosis: null, soundEndMs: null };
    try {
      const microphone = await keeper.find(signal);
      if (microphone === null) return end;
      const isPlugged = keeper.isSettling(this.#deps.clock.monotonicMs());
      if (isPlugged) attempts.plugged(microphone);
      const held = this.#patience.heldFrom(microphone, isPlugged);
      if (held !== null) {
        return { diagnosis: problems.ffmpegStuck(held), soundEndMs: null, microphone };
      }
      await using better = keeper.canBeBettered(microphone)
        ? openUntil(signal, (signal) => keeper.betterComes(signal))
        : null;
      // Not awaited, and neither is its end: the mixer must not delay the sound, nor the next attempt.
      this.#mixer.open(microphone);
      let ruledOut: string | null = null;
      for (const source of attempts.of(microphone)) {
        if (source.kind === "alsa" && source.pcm === ruledOut) continue;
        end = await this.#recordChannels(source, microphone, better?.signal ?? signal);
        if (end.soundEndMs !== null) attempts.gaveSound(microphone, source);
        // The next way to open the same microphone can only help if the format was not offered.
        if (end.soundEndMs !== null || end.diagnosis?.code !== problems.format.code) break;
        if (end.diagnosis.rulesOutPcm === true && source.kind === "alsa") ruledOut = source.pcm;
      }
      if (end.diagnosis === null) this.#mixer.close(microphone);
      else this.#mixer.lost(microphone);
      const isBetter = better?.signal.aborted && !signal.aborted;
      if (isBetter && end.soundEndMs !== null) this.#account.cause = "microphone_changed";
      if (end.diagnosis === null) return end;
      return { ...end, diagnosis: await microphones.explain(end.diagnosis, microphone) };
    } catch (error) {
      return { ...end, diagnosis: this.#diagnoseError(error) };
    } finally {
      keeper.ended(end.diagnosis === null);
    }
  }

  #diagnoseError(error: unknown): Diagnosis {
    if (error instanceof FfmpegMissingError) return error.diagnosis;
    if (error instanceof NoMicrophoneError) return error.diagnosis;
    // The next attempt may succeed, whatever the error is; giving up would certainly lose the sound.
    return problems.recorderFailed(error);
  }

  /** Records from one source, which is opened again when other channels of it are to be recorded. */
  async #recordChannels(
    source: CaptureSource,
    microphone: Microphone,
    signal: AbortSignal,
  ): Promise<Attempt> {
    const channels = await this.#channels.open(source, microphone);
    while (true) {
      await using changed = openUntil(signal, (signal) => channels.change(signal));
      const end = await this.#recordFrom(channels, microphone, changed.signal);
      if (!changed.signal.aborted || signal.aborted) return end;
      this.#account.cause = "channel_changed";
    }
  }

  async #recordFrom(
    channels: OpenChannels,
    microphone: Microphone,
    signal: AbortSignal,
  ): Promise<Attempt> {
    const { source, onLevels: onChannels } = channels;
    const { clock, status } = this.#deps;
    const startedMs = clock.monotonicMs();
    const options = () => this.#options;
    status.counters.captureStarts++;
    this.#pace.begin(keyOf(microphone), source.kind === "alsa" ? source.sampleRate : OPUS_RATE);
    const end = await recordStream(
      source,
      {
        ...this.#options.stream,
        get chunkSeconds() {
          return options().stream.chunkSeconds;
        },
        get tags() {
          return { ...options().tags, MICROPHONE: microphone.name, ...channelTag(source) };
        },
        onNoSocket: (error) => this.#warnOfNoSocket(error),
        onRawLevels: (levels) => this.#sound.hear(levels),
        onLevels: (levels) => {
          this.#sound.record(levels);
          this.#options.stream.onLevels?.(levels);
        },
        ...(onChannels ? { onChannels } : {}),
      },
      {
        ...this.#deps,
        writer: this.#writer,
        onSound: (startMs) => {
          this.#patience.gaveSound(microphone, clock.monotonicMs() - startedMs);
          channels.onSound();
          this.#soundArrived(startMs, microphone, source);
        },
        provisional: this.#options.provisional,
        chain: this.#account.chain,
        gapCause: this.#account.cause,
        onDropping: (dropping) => status.recording(dropping ? null : microphone.name),
        onArrival: (endPosition, arrivalMs) => this.#pace.observe(endPosition, arrivalMs),
        firstSoundMs: this.#patience.firstSoundMs(microphone),
      },
      signal,
    );
    if (end.leftBehind !== undefined) this.#patience.leaveBehind(end.leftBehind, microphone);
    if (end.diagnosis?.code === problems.stalled.code && end.soundEndMs === null) {
      this.#patience.gaveNoSound(microphone);
    }
    status.counters.captureEnded(end.diagnosis?.code ?? "asked");
    if (end.soundEndMs !== null) this.#lostMs = end.soundEndMs;
    status.recording(null);
    return { ...end, microphone };
  }

  /** Sound is recorded all the same, but nobody notices that a microphone is silent. Said once. */
  #warnOfNoSocket(error: unknown): void {
    if (this.#lacksSockets) return;
    this.#lacksSockets = true;
    this.#deps.log.warning("Levels cannot be measured: a socket cannot be created.", {
      dir: this.#options.stream.socketDir,
      error: messageOf(error),
      fix: "Run the program as its systemd unit, which gives it a folder below /run, or choose a " +
        "spool_dir with a short path on a disk of Linux",
    });
  }

  #soundArrived(startMs: number, microphone: Microphone, source: CaptureSource): void {
    const { status, log } = this.#deps;
    status.recording(microphone.name);
    this.#problem.clear();
    this.#account.soundArrived();
    this.#soundSinceMs = startMs;
    this.#keeper.heard();
    const gapMs = this.#lostMs === null ? 0 : Math.max(0, startMs - this.#lostMs);
    this.#lostMs = null;
    log.info("Recording.", {
      microphone: microphone.name,
      ...(gapMs > 0 ? { gap_ms: Math.round(gapMs) } : {}),
      ...otherRate(source, microphone),
    });
  }

  /** Queues a write; writes run one after the other. A failed write is logged and stops nothing else. */
  #note(file: string, write: () => Promise<void>): void {
    this.#notes = this.#notes.then(write).catch((error) => {
      const fields = repeating(file, { file, error: String(error) });
      this.#deps.log.warning("{file} cannot be written.", fields);
    });
  }

  #inSchedule(): boolean {
    const { schedule, timeZone } = this.#options;
    return isInSchedule(this.#deps.clock.unixMs(), schedule, timeZone);
  }

  /** Time until the next edge of the schedule, ms; at most LOOK_MS. */
  #nextLookMs(): number {
    const { schedule, timeZone } = this.#options;
    const nowMs = this.#deps.clock.unixMs();
    const edge = nextChange(nowMs, schedule, timeZone);
    return Math.min(LOOK_MS, edge === null ? LOOK_MS : Math.max(1, edge - nowMs));
  }

  async #scheduleEnds(signal: AbortSignal): Promise<void> {
    while (!signal.aborted && this.#inSchedule()) {
      await this.#deps.clock.sleep(this.#nextLookMs(), signal);
    }
  }
}

/** For the log: the rate of the device, Hz, if it is not the one to try first. */
function otherRate(source: CaptureSource, { attempts }: Microphone): { sample_rate?: number } {
  const [first] = attempts;
  if (source.kind !== "alsa" || first?.kind !== "alsa") return {};
  return source.sampleRate === first.sampleRate ? {} : { sample_rate: source.sampleRate };
}

/** Whether the microphone must be opened again for these options. */
export function opensOtherwise(before: RecorderOptions, after: RecorderOptions): boolean {
  const opening = ({ audioChannel, mixer, stream }: RecorderOptions) => {
    const { sampleRate, bitrateKbps, gainDb, highpassHz } = stream;
    return JSON.stringify([audioChannel, mixer, sampleRate, bitrateKbps, gainDb, highpassHz]);
  };
  return before.microphones !== after.microphones || opening(before) !== opening(after);
}
