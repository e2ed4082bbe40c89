// One ffmpeg process: its arguments, its output, what it says on stderr and what that means, and its
// end, which may have to be forced. It knows nothing of chunks, and never starts itself again.

import { outputOf } from "../child.ts";
import type { Clock } from "../clock.ts";
import { diagnoses, type Diagnosis } from "./diagnosis.ts";
import { LevelMeter, type Levels } from "./levels.ts";

/** Where sound comes from. */
export type CaptureSource =
  | { kind: "alsa"; pcm: string; channels: number; sampleRate: number }
  /** A synthetic source of libavfilter, played at the pace of real time. */
  | { kind: "lavfi"; graph: string };

export interface CaptureOptions {
  /** Rate that Opus gets, Hz; whatever the microphone offers is resampled to it. */
  readonly sampleRate: number;
  readonly bitrateKbps: number;
  /** Path of a unix socket to make, over which ffmpeg hands back PCM for the level; null: no level. */
  readonly levelsSocket: string | null;
  /** Told of the level of every 100 ms, as long as there is a level. */
  readonly onLevels?: (levels: Levels) => void;
}

export interface FfmpegEnd {
  readonly exitCode: number;
  /** Why, as far as ffmpeg said; of no interest if the end was asked for. */
  readonly diagnosis: Diagnosis;
}

/**
 * ffmpeg's Ogg muxer gives a page out when it has the next one: what arrives was heard this much
 * earlier than it could have arrived. Measured with a time code (bench:time).
 */
export const MUXER_DELAY_MS = 20;

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
 * clock, from which ffmpeg stamps ALSA input, cannot disturb the stream; one page holds one packet
 * and is written at once.
 */
export function ffmpegArguments(source: CaptureSource, options: CaptureOptions): string[] {
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
  const stamps = ["-af", "asetpts=N/SR/TB"];
  const stream = ["-c:a", "libopus", "-b:a", `${options.bitrateKbps}k`, "-frame_duration", "20"];
  const ogg = ["-map_metadata", "-1", "-f", "ogg", "-page_duration", "20000", "pipe:1"];
  const levels = options.levelsSocket === null
    ? []
    : [...mono, ...stamps, "-f", "s16le", `unix:${options.levelsSocket}`];
  return [
    ...["-hide_banner", "-nostdin", "-nostats", "-loglevel", "level+warning"],
    ...input,
    ...mono,
    ...stamps,
    ...stream,
    ...ogg,
    ...levels,
  ];
}

/** What a line of ffmpeg's stderr says about the cause of a failure; null if nothing. */
export function diagnose(line: string, source: CaptureSource): Diagnosis | null {
  const pcm = source.kind === "alsa" ? source.pcm : source.graph;
  if (/^setpriv: failed to execute/.test(line)) return diagnoses.ffmpegMissing();
  if (/Unknown encoder 'libopus'/.test(line)) return diagnoses.ffmpegIncomplete("libopus encoder");
  if (/Unknown input format: '?alsa/.test(line)) return diagnoses.ffmpegIncomplete("ALSA input");
  if (/^unix:/.test(line)) return null; // the levels' socket, not the microphone
  if (/cannot set (channel count|sample (rate|format))/.test(line)) return diagnoses.format(pcm);
  if (/resource busy/i.test(line)) return diagnoses.busy(pcm);
  if (/Permission denied/i.test(line)) return diagnoses.forbidden(pcm);
  if (/No such (device|file)|Cannot get card index|Unknown PCM|Connection refused/i.test(line)) {
    return diagnoses.missing(pcm);
  }
  return null;
}

/** There is no ffmpeg to start. */
export class FfmpegMissingError extends Error {
  readonly diagnosis: Diagnosis = diagnoses.ffmpegMissing();
}

/** A running ffmpeg. Its packets must be read to the end, then `ended` awaited. */
export class Ffmpeg {
  /** Null if levels are not measured. */
  readonly levels: LevelMeter | null;
  readonly pid: number;
  /** Never rejects; never resolves after `stop()` has given up. */
  readonly ended: Promise<FfmpegEnd>;
  readonly #child: Deno.ChildProcess;
  readonly #source: CaptureSource;
  readonly #stdout: ReadableStreamDefaultReader<Uint8Array>;
  readonly #stderr: ReadableStreamDefaultReader<Uint8Array>;
  #diagnosis: Diagnosis | null = null;

  private constructor(
    source: CaptureSource,
    options: CaptureOptions,
    onLine: (level: FfmpegLogLevel, text: string) => void,
  ) {
    this.#source = source;
    const listener = options.levelsSocket === null ? null : listenForLevels(options.levelsSocket);
    const levelsSocket = listener === null ? null : options.levelsSocket;
    try {
      this.#child = spawnFfmpeg(ffmpegArguments(source, { ...options, levelsSocket }));
    } catch (error) {
      listener?.close();
      throw error;
    }
    this.pid = this.#child.pid;
    this.#stdout = this.#child.stdout.getReader();
    this.#stderr = this.#child.stderr.getReader();
    this.levels = listener === null ? null : new LevelMeter(options.sampleRate, options.onLevels);
    const levelsRead = listener === null || this.levels === null
      ? Promise.resolve()
      : readLevels(listener, this.levels);
    this.ended = this.#watch(onLine, () => listener?.close(), levelsRead);
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

  /** The endless Ogg/Opus stream, as it comes. */
  stdout(): AsyncGenerator<Uint8Array> {
    return chunksOf(this.#stdout);
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
    await Promise.all([this.#stdout.cancel(), this.#stderr.cancel()]);
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

  async #watch(
    onLine: (level: FfmpegLogLevel, text: string) => void,
    closeListener: () => void,
    levelsRead: Promise<void>,
  ): Promise<FfmpegEnd> {
    let lastError = "";
    for await (const line of lines(chunksOf(this.#stderr))) {
      const { level, text } = parseLine(line);
      if (level === "error") lastError = text;
      const diagnosis = diagnose(text, this.#source);
      // "cannot set channel count" comes before "cannot open audio device": the first says why.
      this.#diagnosis ??= diagnosis;
      onLine(level, text);
    }
    const { code } = await this.#child.status;
    closeListener();
    await levelsRead;
    return { exitCode: code, diagnosis: this.#diagnosis ?? diagnoses.lost(code, lastError) };
  }
}

/**
 * Starts ffmpeg in a session of its own (a Ctrl-C at the terminal is ours to handle), and so that the
 * kernel kills it when this process is gone, by SIGKILL even: an ffmpeg whose microphone hangs would
 * never write to the broken pipe, and hold the device for ever. The kernel does so at the end of the
 * thread that started it (prctl(2), PR_SET_PDEATHSIG), which is the main one, Deno's event loop.
 */
function spawnFfmpeg(args: readonly string[]): Deno.ChildProcess {
  const bound = ["--pdeathsig", "KILL", "--", "ffmpeg", ...args];
  const spawn = (program: string, args: readonly string[]) =>
    new Deno.Command(program, {
      args: [...args],
      stdin: "null",
      stdout: "piped",
      stderr: "piped",
      detached: true,
    }).spawn();
  try {
    return spawn("setpriv", bound);
  } catch (error) {
    if (!isMissing(error)) throw error;
  }
  try {
    return spawn("ffmpeg", args);
  } catch (error) {
    if (!isMissing(error)) throw error;
    throw new FfmpegMissingError("ffmpeg cannot be started", { cause: error });
  }
}

/** Deno looks a program up when it starts; one installed later counts as not permitted. */
function isMissing(error: unknown): boolean {
  return error instanceof Deno.errors.NotFound || error instanceof Deno.errors.NotCapable;
}

/** What a reader gives until its end, or until it is cancelled; who stops listening cancels it. */
async function* chunksOf(
  reader: ReadableStreamDefaultReader<Uint8Array>,
): AsyncGenerator<Uint8Array> {
  try {
    for (let read; !(read = await reader.read()).done;) yield read.value;
  } finally {
    await reader.cancel();
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

/** Null if the socket cannot be made (its path too long, a foreign file there): no level then. */
function listenForLevels(path: string): Deno.UnixListener | null {
  try {
    try {
      Deno.removeSync(path);
    } catch (error) {
      if (!(error instanceof Deno.errors.NotFound)) throw error;
    }
    return Deno.listen({ transport: "unix", path });
  } catch {
    return null;
  }
}

async function readLevels(listener: Deno.UnixListener, meter: LevelMeter): Promise<void> {
  try {
    using connection = await listener.accept();
    const buffer = new Uint8Array(32_768);
    for (let count; (count = await connection.read(buffer)) !== null;) {
      meter.push(buffer.subarray(0, count));
    }
  } catch { /* ffmpeg ended before it connected, or in the middle: the level ends there */ }
}
