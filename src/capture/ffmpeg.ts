// One ffmpeg process: its output, its messages on stderr, and its end, which may have to be forced.
// ffmpeg_arguments.ts says what it does with the sound. It does not know chunks, and never restarts ffmpeg.

import type { SoundLevels } from "../status/levels.ts";
import { join } from "@std/path/join";
import { byteReader, linesOf, readAll } from "../system/byte_stream.ts";
import { isMissing, outputOf, spawnBound } from "../system/child.ts";
import type { Clock } from "../system/clock.ts";
import type { CaptureSource } from "../microphone/capture_attempts.ts";
import type { ChannelLevels } from "../microphone/channel_choice.ts";
import { type Diagnosis, problems } from "../status/problems.ts";
import { Causes, type FfmpegLogLevel, MAX_LINE, parseLine } from "./causes.ts";
import { ChannelMeter } from "./channel_meter.ts";
import { alsaEnvironment } from "./alsa_config.ts";
import {
  changesSound,
  type EncodingOptions,
  ffmpegArguments,
  stretchFrames,
} from "./ffmpeg_arguments.ts";
import { FfmpegSocket } from "./ffmpeg_socket.ts";
import { LevelMeter } from "./level_meter.ts";
import { LevelsReader } from "./levels_reader.ts";
import { ffmpegProgram, PROGRAMS } from "../system/programs.ts";

export interface CaptureOptions extends EncodingOptions {
  /**
   * Folder for the Unix sockets through which ffmpeg returns the sound, and PCM for the level. If it is
   * null, or no socket can be created in it, the sound comes through a pipe and no level is measured.
   */
  readonly socketDir: string | null;
  /** Called with the reason for each socket that cannot be created. */
  readonly onNoSocket?: (error: unknown) => void;
  /** Called with the level of every 100 ms of the recorded sound, if levels are measured. */
  readonly onLevels?: (levels: SoundLevels) => void;
  /** The same of the sound as the microphone gives it, before gain and highpass. */
  readonly onRawLevels?: (levels: SoundLevels) => void;
  /**
   * Called with the level of each channel of the microphone, `STRETCHES_PER_S` times a second, if levels are
   * measured. Without it the channels are not measured, which costs nothing.
   */
  readonly onChannels?: (levels: ChannelLevels) => void;
}

/** The most bytes in one read: a page at 320 kbit/s. */
const SOUND_BUFFER_BYTES = 16_384;

interface StopStep {
  readonly signal: Deno.Signal;
  readonly waitMs: number;
}

/** For an ffmpeg that works: it may still write the sound that it holds. */
const STOP_STEPS: readonly StopStep[] = [
  { signal: "SIGINT", waitMs: 3000 },
  { signal: "SIGTERM", waitMs: 1500 },
  { signal: "SIGKILL", waitMs: 1500 },
];
/** For an ffmpeg that no longer delivers sound: there is no output to wait for. */
const STALLED_STOP_STEPS: readonly StopStep[] = [
  { signal: "SIGINT", waitMs: 1000 },
  { signal: "SIGTERM", waitMs: 500 },
  { signal: "SIGKILL", waitMs: 1500 },
];

/** ffmpeg is not installed. */
export class FfmpegMissingError extends Error {
  readonly diagnosis: Diagnosis = problems.ffmpegMissing();
}

/** The parts of a running ffmpeg that a stream uses. */
export type RunningFfmpeg = Pick<Ffmpeg, "levels" | "pid" | "ended" | "sound" | "stop">;
/** Starts an ffmpeg as `Ffmpeg.start()` does; a test passes a simulated one. */
export type StartFfmpeg = (
  source: CaptureSource,
  options: CaptureOptions,
  onLine: (level: FfmpegLogLevel, text: string) => void,
) => RunningFfmpeg;

/** A running ffmpeg. The caller must read its sound to the end, then await `ended`. */
export class Ffmpeg {
  /** Null if levels are not measured. */
  readonly levels: LevelMeter | null;
  readonly pid: number;
  /**
   * The cause of the end, as far as ffmpeg reported it; it has no meaning if the end was requested. Never rejects;
   * may never resolve after `stop()` has given up.
   */
  readonly ended: Promise<Diagnosis>;
  readonly #child: Deno.ChildProcess;
  readonly #sound: FfmpegSocket | ReadableStreamBYOBReader;
  readonly #readers: readonly LevelsReader[];
  readonly #stderr: ReadableStreamBYOBReader;
  readonly #causes: Causes;

  private constructor(
    source: CaptureSource,
    options: CaptureOptions,
    onLine: (level: FfmpegLogLevel, text: string) => void,
  ) {
    this.#causes = new Causes(source);
    const { socketDir: dir } = options;
    const listen = (name: string, isWanted = true) =>
      dir === null || !isWanted
        ? null
        : FfmpegSocket.listen(join(dir, `${name}.sock`), options.onNoSocket);
    const channelMeter = channelMeterOf(source, options);
    const sockets = {
      sound: listen("sound"),
      levels: listen("levels"),
      raw: listen("raw", changesSound(options) && options.onRawLevels !== undefined),
      channels: listen("channels", channelMeter !== null),
    };
    const { sound, levels, raw, channels } = sockets;
    try {
      const paths = {
        sound: sound?.path,
        levels: levels?.path,
        raw: raw?.path,
        channels: channels?.path,
      };
      this.#child = spawnFfmpeg(ffmpegArguments(source, options, paths), {
        stdout: sound ? "null" : "piped",
        env: source.kind === "alsa" && source.isFound === true ? alsaEnvironment(dir) : {},
      });
    } catch (error) {
      for (const socket of Object.values(sockets)) socket?.close();
      throw error;
    }
    this.pid = this.#child.pid;
    this.#sound = sound ?? byteReader(this.#child.stdout);
    this.#stderr = byteReader(this.#child.stderr);
    this.levels = levels ? levelMeter(options) : null;
    this.#readers = [
      ...(levels && this.levels ? [new LevelsReader(levels, this.levels)] : []),
      ...(raw ? [new LevelsReader(raw, rawMeter(options))] : []),
      ...(channels && channelMeter ? [new LevelsReader(channels, channelMeter)] : []),
    ];
    this.ended = this.#watch(onLine);
  }

  /**
   * @param onLine is called with each line of stderr.
   * @throws {FfmpegMissingError}
   */
  static start(
    source: CaptureSource,
    options: CaptureOptions,
    onLine: (level: FfmpegLogLevel, text: string) => void,
  ): Ffmpeg {
    return new Ffmpeg(source, options, onLine);
  }

  /**
   * The continuous Ogg/Opus stream, as it arrives. Each value is valid only until the next one is
   * requested, because the buffer is reused.
   */
  async *sound(): AsyncGenerator<Uint8Array> {
    for await (const bytes of this.#bytes()) {
      this.#causes.heard();
      yield bytes;
    }
  }

  async *#bytes(): AsyncGenerator<Uint8Array> {
    if (!(this.#sound instanceof FfmpegSocket)) return yield* readAll(this.#sound);
    const buffer = new Uint8Array(SOUND_BUFFER_BYTES);
    try {
      for (let count; (count = await this.#sound.read(buffer)) !== null;) {
        for (const reader of this.#readers) reader.look();
        yield buffer.subarray(0, count);
      }
    } finally {
      await this.#sound.close();
    }
  }

  /**
   * Stops ffmpeg and every process that it started: SIGINT, then SIGTERM, then SIGKILL, with shorter waits
   * if ffmpeg has stalled. Resolves with true when ffmpeg has ended. Resolves with false if even SIGKILL
   * does not end it, because a driver holds it: then the process is left behind, and its output is closed.
   */
  async stop(clock: Clock, options: { stalled?: boolean } = {}): Promise<boolean> {
    const gone = new AbortController();
    // Not awaited: it never resolves if ffmpeg never ends.
    this.ended.then(() => gone.abort());
    for (const { signal, waitMs } of options.stalled ? STALLED_STOP_STEPS : STOP_STEPS) {
      if (gone.signal.aborted) break;
      await this.#signalGroup(signal);
      await clock.sleep(waitMs, gone.signal);
    }
    if (gone.signal.aborted) return true;
    this.#child.unref();
    await Promise.all([
      this.#sound instanceof FfmpegSocket ? this.#sound.close() : this.#sound.cancel(),
      this.#stderr.cancel(),
      ...this.#readers.map((reader) => reader.close()),
    ]);
    return false;
  }

  /** Signals the whole process group, because `ffmpeg` may be a script that starts the real program. */
  async #signalGroup(signal: Deno.Signal): Promise<void> {
    const args = ["-s", signal.slice("SIG".length), "--", `-${this.pid}`];
    try {
      if ((await outputOf(PROGRAMS.kill, args)).success) return;
    } catch { /* kill is missing or hangs: signal ffmpeg alone */ }
    try {
      this.#child.kill(signal);
    } catch { /* it has already ended */ }
  }

  async #watch(onLine: (level: FfmpegLogLevel, text: string) => void): Promise<Diagnosis> {
    for await (const line of linesOf(readAll(this.#stderr), MAX_LINE)) {
      const parsed = parseLine(line);
      this.#causes.take(parsed);
      onLine(parsed.level, parsed.text);
    }
    const { code } = await this.#child.status;
    if (this.#sound instanceof FfmpegSocket) await this.#sound.ended();
    for (const reader of this.#readers) await reader.end();
    return this.#causes.diagnose(code);
  }
}

/** Measures the recorded sound, and with it the sound of the microphone if that is the same. */
function levelMeter(options: CaptureOptions): LevelMeter {
  const { sampleRate, onLevels, onRawLevels } = options;
  return new LevelMeter(sampleRate, (levels) => {
    onLevels?.(levels);
    if (!changesSound(options)) onRawLevels?.(levels);
  });
}

/** Measures the sound of the microphone, of which no chunk is made. */
function rawMeter({ sampleRate, onRawLevels }: CaptureOptions): LevelMeter {
  return new LevelMeter(sampleRate, onRawLevels, { isTaken: false });
}

/** Null if there is only one channel, or nobody wants to know. */
function channelMeterOf(
  source: CaptureSource,
  { onChannels }: CaptureOptions,
): ChannelMeter | null {
  if (source.kind === "lavfi" || source.channels === 1 || onChannels === undefined) return null;
  return new ChannelMeter(source.channels, stretchFrames(source), onChannels);
}

/**
 * ffmpeg is bound to this process: with a hanging microphone it would otherwise hold the device forever.
 */
function spawnFfmpeg(
  args: readonly string[],
  options: { stdout: "null" | "piped"; env: Readonly<Record<string, string>> },
): Deno.ChildProcess {
  try {
    return spawnBound(ffmpegProgram(), args, { ...options, stderr: "piped" });
  } catch (error) {
    if (!isMissing(error)) throw error;
    throw new FfmpegMissingError("ffmpeg cannot be started", { cause: error });
  }
}
