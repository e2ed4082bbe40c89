// One ffmpeg process: its arguments, its output, the meaning of its messages on stderr, and its end, which
// may have to be forced. It does not know chunks, and never restarts ffmpeg.

import type { Levels } from "../status/levels.ts";
import { join } from "@std/path/join";
import { byteReader, readAll } from "../system/byte_stream.ts";
import { isMissing, outputOf, spawnBound } from "../system/child.ts";
import type { Clock } from "../system/clock.ts";
import type { CaptureSource } from "../microphone/capture_attempts.ts";
import { type Diagnosis, problems } from "../status/problems.ts";
import { printable } from "../system/printable.ts";
import { FfmpegSocket } from "./ffmpeg_socket.ts";
import { LevelMeter } from "./level_meter.ts";
import { LevelsReader } from "./levels_reader.ts";

export interface CaptureOptions {
  /** Sample rate of the Opus stream, Hz; sound at another rate is resampled to it. */
  readonly sampleRate: number;
  readonly bitrateKbps: number;
  /**
   * Folder for the Unix sockets through which ffmpeg returns the sound, and PCM for the level. If it is
   * null, or no socket can be created in it, the sound comes through a pipe and no level is measured.
   */
  readonly socketDir: string | null;
  /** Called with the level of every 100 ms, if levels are measured. */
  readonly onLevels?: (levels: Levels) => void;
}

export interface FfmpegEnd {
  readonly exitCode: number;
  /** The cause, as far as ffmpeg reported it; it has no meaning if the end was requested. */
  readonly diagnosis: Diagnosis;
}

/**
 * Length of the sound in one Ogg page of ffmpeg's output, ms. Each page wakes this process, and the
 * wake-ups are the main cost: with one packet per page, this process used 62 % of the processor time that
 * ffmpeg alone uses (bench:cost). The price: ffmpeg holds up to two pages, which are lost when it is
 * killed, and a loss that ALSA does not report can only be located to within one page.
 */
export const PAGE_MS = 400;
/**
 * ffmpeg's Ogg muxer writes a page only when the next page is complete, so sound arrives this much later
 * than it could. Measured with a time code (bench:time).
 */
export const MUXER_DELAY_MS = PAGE_MS;
/** The most bytes in one read: a page at 320 kbit/s. */
const SOUND_BUFFER_BYTES = 16_384;

/** The longest line of ffmpeg's stderr, characters; a longer one is cut. */
const MAX_LINE = 1000;

export type FfmpegLogLevel = "error" | "warning" | "info";

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

/**
 * ffmpeg's arguments. Timestamps are calculated from the sample count: ffmpeg stamps ALSA input from the
 * system clock, and a step of that clock must not disturb the stream. One page holds PAGE_MS and is written
 * at once; so is the PCM for the levels.
 */
export function ffmpegArguments(
  source: CaptureSource,
  options: Pick<CaptureOptions, "sampleRate" | "bitrateKbps">,
  sockets: { readonly sound?: string | undefined; readonly levels?: string | undefined } = {},
): string[] {
  const input = source.kind === "lavfi" ? ["-re", "-f", "lavfi", "-i", source.graph] : [
    "-f",
    "alsa",
    "-channels",
    String(source.channels),
    "-sample_rate",
    String(source.sampleRate),
    "-i",
    source.pcm,
  ];
  const mono = ["-map", "0:a:0", "-ac", "1", "-ar", String(options.sampleRate)];
  const stamps = "asetpts=N/SR/TB";
  const stream = ["-c:a", "libopus", "-b:a", `${options.bitrateKbps}k`, "-frame_duration", "20"];
  const pages = ["-f", "ogg", "-page_duration", String(PAGE_MS * 1000)];
  const ogg = ["-map_metadata", "-1", ...pages, sockets.sound ? `unix:${sockets.sound}` : "pipe:1"];
  const levels = sockets.levels === undefined ? [] : [
    ...mono,
    ...["-af", `${stamps},asetnsamples=n=${options.sampleRate * PAGE_MS / 1000}:p=0`],
    ...["-f", "s16le", `unix:${sockets.levels}`],
  ];
  return [
    ...["-hide_banner", "-nostdin", "-nostats", "-loglevel", "level+warning"],
    ...input,
    ...mono,
    ...["-af", stamps],
    ...stream,
    ...ogg,
    ...levels,
  ];
}

/** The cause of a failure, from a line of ffmpeg's stderr; null if the line does not tell it. */
export function diagnose(line: string, source: CaptureSource): Diagnosis | null {
  const pcm = source.kind === "alsa" ? source.pcm : source.graph;
  if (/^setpriv: failed to execute/.test(line)) return problems.ffmpegMissing();
  if (/Unknown encoder 'libopus'/.test(line)) return problems.ffmpegIncomplete("libopus encoder");
  if (/Unknown input format: '?alsa/.test(line)) return problems.ffmpegIncomplete("ALSA input");
  if (/\bunix:/.test(line)) return null; // about a socket, not the microphone
  if (/cannot set (channel count|sample (rate|format))/.test(line)) return problems.format(pcm);
  if (/resource busy/i.test(line)) return problems.busy(pcm);
  // systemd's DeviceAllow= causes "Operation not permitted".
  if (/Permission denied|\(Operation not permitted\)/i.test(line)) return problems.forbidden(pcm);
  if (/No such (device|file)|Cannot get card index|Unknown PCM|Connection refused/i.test(line)) {
    return problems.missing(pcm);
  }
  return null;
}

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
  /** Never rejects; may never resolve after `stop()` has given up. */
  readonly ended: Promise<FfmpegEnd>;
  readonly #child: Deno.ChildProcess;
  readonly #source: CaptureSource;
  readonly #sound: FfmpegSocket | ReadableStreamBYOBReader;
  readonly #levelsReader: LevelsReader | null;
  readonly #stderr: ReadableStreamBYOBReader;
  #diagnosis: Diagnosis | null = null;

  private constructor(
    source: CaptureSource,
    options: CaptureOptions,
    onLine: (level: FfmpegLogLevel, text: string) => void,
  ) {
    this.#source = source;
    const { socketDir: dir } = options;
    const sound = dir === null ? null : FfmpegSocket.listen(join(dir, "sound.sock"));
    const levels = dir === null ? null : FfmpegSocket.listen(join(dir, "levels.sock"));
    try {
      const paths = { sound: sound?.path, levels: levels?.path };
      this.#child = spawnFfmpeg(ffmpegArguments(source, options, paths), sound ? "null" : "piped");
    } catch (error) {
      for (const socket of [sound, levels]) socket?.close();
      throw error;
    }
    this.pid = this.#child.pid;
    this.#sound = sound ?? byteReader(this.#child.stdout);
    this.#stderr = byteReader(this.#child.stderr);
    this.levels = levels ? new LevelMeter(options.sampleRate, options.onLevels) : null;
    this.#levelsReader = levels && this.levels ? new LevelsReader(levels, this.levels) : null;
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
    if (!(this.#sound instanceof FfmpegSocket)) return yield* readAll(this.#sound);
    const buffer = new Uint8Array(SOUND_BUFFER_BYTES);
    try {
      for (let count; (count = await this.#sound.read(buffer)) !== null;) {
        this.#levelsReader?.look();
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
      closeSound(this.#sound),
      this.#stderr.cancel(),
      this.#levelsReader?.close(),
    ]);
    return false;
  }

  /** Signals the whole process group, because `ffmpeg` may be a script that starts the real program. */
  async #signalGroup(signal: Deno.Signal): Promise<void> {
    const args = ["-s", signal.slice("SIG".length), "--", `-${this.pid}`];
    try {
      if ((await outputOf("kill", args)).success) return;
    } catch { /* kill is missing or hangs: signal ffmpeg alone */ }
    try {
      this.#child.kill(signal);
    } catch { /* it has already ended */ }
  }

  async #watch(onLine: (level: FfmpegLogLevel, text: string) => void): Promise<FfmpegEnd> {
    let lastError = "";
    for await (const line of lines(readAll(this.#stderr))) {
      const { level, text } = parseLine(line);
      if (level === "error") lastError = text;
      const diagnosis = diagnose(text, this.#source);
      // "cannot set channel count" comes before "cannot open audio device": the first line names the cause.
      this.#diagnosis ??= diagnosis;
      onLine(level, text);
    }
    const { code } = await this.#child.status;
    if (this.#sound instanceof FfmpegSocket) await this.#sound.ended();
    await this.#levelsReader?.end();
    return { exitCode: code, diagnosis: this.#diagnosis ?? problems.lost(code, lastError) };
  }
}

/**
 * ffmpeg is bound to this process: with a hanging microphone it would otherwise hold the device forever.
 */
function spawnFfmpeg(args: readonly string[], stdout: "null" | "piped"): Deno.ChildProcess {
  try {
    return spawnBound("ffmpeg", args, { stdout, stderr: "piped" });
  } catch (error) {
    if (!isMissing(error)) throw error;
    throw new FfmpegMissingError("ffmpeg cannot be started", { cause: error });
  }
}

/** "[alsa @ 0x55…] [error] text", as `-loglevel level+…` writes it. */
function parseLine(line: string): { level: FfmpegLogLevel; text: string } {
  const match = /^(?:\[[^\]]* @ [^\]]*\] )?\[(\w+)\] (.*)$/.exec(line);
  const name = match?.[1] ?? "info";
  const level = ["panic", "fatal", "error"].includes(name)
    ? "error"
    : name === "warning"
    ? "warning"
    : "info";
  const text = printable(match?.[2] ?? line, MAX_LINE);
  // ffmpeg reports at every start that a mono microphone is mono.
  return { level: /^Guessed Channel Layout/.test(text) ? "info" : level, text };
}

/** Text lines of at most MAX_LINE characters; a longer one is cut. */
async function* lines(stream: AsyncIterable<Uint8Array>): AsyncGenerator<string> {
  let rest = "";
  const decoder = new TextDecoder();
  for await (const bytes of stream) {
    const parts = (rest + decoder.decode(bytes, { stream: true })).split(/\r?\n|\r/);
    rest = (parts.pop() ?? "").slice(0, MAX_LINE);
    for (const part of parts) if (part !== "") yield part.slice(0, MAX_LINE);
  }
  if (rest !== "") yield rest;
}

async function closeSound(
  sound: FfmpegSocket | ReadableStreamBYOBReader,
): Promise<void> {
  if (sound instanceof FfmpegSocket) await sound.close();
  else await sound.cancel();
}
