// One ffmpeg process: its arguments, its output, what it says on stderr and what that means, and its
// end, which may have to be forced. It knows nothing of chunks, and never starts itself again.

import type { Levels } from "../status/levels.ts";
import { join } from "@std/path/join";
import { byteReader, readAll } from "../system/byte_stream.ts";
import { isMissing, outputOf, spawnBound } from "../system/child.ts";
import type { Clock } from "../system/clock.ts";
import type { CaptureSource } from "../microphone/capture_attempts.ts";
import { type Diagnosis, problems } from "../status/problems.ts";
import { FfmpegSocket } from "./ffmpeg_socket.ts";
import { LevelMeter } from "./level_meter.ts";
import { LevelsReader } from "./levels_reader.ts";

export interface CaptureOptions {
  /** Rate that Opus gets, Hz; whatever the microphone offers is resampled to it. */
  readonly sampleRate: number;
  readonly bitrateKbps: number;
  /**
   * Folder for the unix sockets over which ffmpeg hands back the sound, and PCM for the level. Null, or
   * one in which no socket can be made: the sound comes over a pipe, and there is no level.
   */
  readonly socketDir: string | null;
  /** Told of the level of every 100 ms, as long as there is a level. */
  readonly onLevels?: (levels: Levels) => void;
}

export interface FfmpegEnd {
  readonly exitCode: number;
  /** Why, as far as ffmpeg said; of no interest if the end was asked for. */
  readonly diagnosis: Diagnosis;
}

/**
 * Sound on a page of what ffmpeg gives out, ms. Each page wakes this process, and that is what costs: with a
 * packet a page it took 62 % of the processor time of an ffmpeg alone (bench:cost). The price: ffmpeg
 * holds up to two pages, which are lost when it is killed, and a loss that ALSA does not report can be
 * placed no better than to a page.
 */
export const PAGE_MS = 400;
/**
 * ffmpeg's Ogg muxer gives a page out when it has the next one: what arrives was heard this much
 * earlier than it could have arrived. Measured with a time code (bench:time).
 */
export const MUXER_DELAY_MS = PAGE_MS;
/** What one read takes: a page at 320 kbit/s. */
const SOUND_BUFFER_BYTES = 16_384;

export type FfmpegLogLevel = "error" | "warning" | "info";

interface StopStep {
  readonly signal: Deno.Signal;
  readonly waitMs: number;
}

/** For one that works: it may still give out what it has. */
const STOP_STEPS: readonly StopStep[] = [
  { signal: "SIGINT", waitMs: 3000 },
  { signal: "SIGTERM", waitMs: 1500 },
  { signal: "SIGKILL", waitMs: 1500 },
];
/** For one that gives nothing any more: there is nothing to wait for. */
const STALLED_STOP_STEPS: readonly StopStep[] = [
  { signal: "SIGINT", waitMs: 1000 },
  { signal: "SIGTERM", waitMs: 500 },
  { signal: "SIGKILL", waitMs: 1500 },
];

/**
 * ffmpeg's arguments. The timestamps are made from the sample count, so that a step of the system
 * clock, from which ffmpeg stamps ALSA input, cannot disturb the stream; one page holds PAGE_MS and
 * is written at once, and so is the PCM for the levels.
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

/** What a line of ffmpeg's stderr says about the cause of a failure; null if nothing. */
export function diagnose(line: string, source: CaptureSource): Diagnosis | null {
  const pcm = source.kind === "alsa" ? source.pcm : source.graph;
  if (/^setpriv: failed to execute/.test(line)) return problems.ffmpegMissing();
  if (/Unknown encoder 'libopus'/.test(line)) return problems.ffmpegIncomplete("libopus encoder");
  if (/Unknown input format: '?alsa/.test(line)) return problems.ffmpegIncomplete("ALSA input");
  if (/\bunix:/.test(line)) return null; // the levels' socket, not the microphone
  if (/cannot set (channel count|sample (rate|format))/.test(line)) return problems.format(pcm);
  if (/resource busy/i.test(line)) return problems.busy(pcm);
  // "Operation not permitted": by systemd's DeviceAllow=.
  if (/Permission denied|\(Operation not permitted\)/i.test(line)) return problems.forbidden(pcm);
  if (/No such (device|file)|Cannot get card index|Unknown PCM|Connection refused/i.test(line)) {
    return problems.missing(pcm);
  }
  return null;
}

/** There is no ffmpeg to start. */
export class FfmpegMissingError extends Error {
  readonly diagnosis: Diagnosis = problems.ffmpegMissing();
}

/** What a stream needs of a running ffmpeg. */
export type RunningFfmpeg = Pick<Ffmpeg, "levels" | "pid" | "ended" | "sound" | "stop">;
/** Starts one as `Ffmpeg.start()` does; a test has its own, which makes no sound. */
export type StartFfmpeg = (
  source: CaptureSource,
  options: CaptureOptions,
  onLine: (level: FfmpegLogLevel, text: string) => void,
) => RunningFfmpeg;

/** A running ffmpeg. Its packets must be read to the end, then `ended` awaited. */
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
   * @param onLine gets each line of stderr.
   * @throws {FfmpegMissingError}
   */
  static start(
    source: CaptureSource,
    options: CaptureOptions,
    onLine: (level: FfmpegLogLevel, text: string) => void,
  ): Ffmpeg {
    return new Ffmpeg(source, options, onLine);
  }

  /** The endless Ogg/Opus stream, as it comes. What it gives is overwritten by what comes next. */
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
   * Asks ffmpeg and whatever it started to end, then insists: SIGINT, SIGTERM, SIGKILL, with shorter
   * deadlines if it has stalled. Resolves with true when it has ended; with false if not even
   * SIGKILL did it, because a driver holds it: then it is left behind, and its output ends here.
   */
  async stop(clock: Clock, options: { stalled?: boolean } = {}): Promise<boolean> {
    const gone = new AbortController();
    // Not awaited: it stays open for ever if ffmpeg does.
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

  /** To the whole process group, as this ffmpeg may be a script that starts the real one. */
  async #signalGroup(signal: Deno.Signal): Promise<void> {
    const args = ["-s", signal.slice("SIG".length), "--", `-${this.pid}`];
    try {
      if ((await outputOf("kill", args)).success) return;
    } catch { /* there is no such program, or it hangs: then to ffmpeg alone */ }
    try {
      this.#child.kill(signal);
    } catch { /* it ended by itself */ }
  }

  async #watch(onLine: (level: FfmpegLogLevel, text: string) => void): Promise<FfmpegEnd> {
    let lastError = "";
    for await (const line of lines(readAll(this.#stderr))) {
      const { level, text } = parseLine(line);
      if (level === "error") lastError = text;
      const diagnosis = diagnose(text, this.#source);
      // "cannot set channel count" comes before "cannot open audio device": the first says why.
      this.#diagnosis ??= diagnosis;
      onLine(level, text);
    }
    const { code } = await this.#child.status;
    if (this.#sound instanceof FfmpegSocket) await this.#sound.ended();
    await this.#levelsReader?.end();
    return { exitCode: code, diagnosis: this.#diagnosis ?? problems.lost(code, lastError) };
  }
}

/** It is bound to this process: one whose microphone hangs would hold the device for ever. */
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
  const text = match?.[2] ?? line;
  // That a mono microphone is mono, at every start.
  return { level: /^Guessed Channel Layout/.test(text) ? "info" : level, text };
}

/** Text lines of at most 1,000 characters; a longer one is cut. */
async function* lines(stream: AsyncIterable<Uint8Array>): AsyncGenerator<string> {
  let rest = "";
  const decoder = new TextDecoder();
  for await (const bytes of stream) {
    const parts = (rest + decoder.decode(bytes, { stream: true })).split(/\r?\n|\r/);
    rest = (parts.pop() ?? "").slice(0, 1000);
    for (const part of parts) if (part !== "") yield part.slice(0, 1000);
  }
  if (rest !== "") yield rest;
}

async function closeSound(
  sound: FfmpegSocket | ReadableStreamBYOBReader,
): Promise<void> {
  if (sound instanceof FfmpegSocket) await sound.close();
  else await sound.cancel();
}
