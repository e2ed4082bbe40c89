// One ffmpeg process: its arguments, its output, what it says on stderr and what that means, and its
// end, which may have to be forced. It knows nothing of chunks, and never starts itself again.

import type { Clock } from "../clock.ts";
import { LevelMeter } from "./levels.ts";

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
}

/** Why no sound comes, with the code that `/health` shows. */
export interface Diagnosis {
  readonly code:
    | "microphone_missing"
    | "microphone_busy"
    | "microphone_forbidden"
    | "microphone_format"
    | "ffmpeg_missing"
    | "ffmpeg_incomplete"
    | "microphone_lost"
    | "microphone_stalled"
    | "recorder_failed";
  /** What is wrong, and what mends it. */
  readonly message: string;
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

const INSTALL = "apt-get install --yes ffmpeg";
const STOP_STEPS: readonly { signal: Deno.Signal; waitMs: number }[] = [
  { signal: "SIGINT", waitMs: 3000 },
  { signal: "SIGTERM", waitMs: 1500 },
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
  if (/Unknown encoder 'libopus'/.test(line)) {
    return {
      code: "ffmpeg_incomplete",
      message: `This ffmpeg has no libopus encoder: install Debian's (${INSTALL})`,
    };
  }
  if (/Unknown input format: '?alsa/.test(line)) {
    return {
      code: "ffmpeg_incomplete",
      message: `This ffmpeg has no ALSA input: install Debian's (${INSTALL})`,
    };
  }
  if (/cannot set (channel count|sample (rate|format))/.test(line)) {
    return {
      code: "microphone_format",
      message: `The microphone ${pcm} does not offer the format that was asked for: ` +
        `try audio_device: plughw:…, which converts`,
    };
  }
  if (/resource busy/i.test(line)) {
    return {
      code: "microphone_busy",
      message: `The microphone ${pcm} is in use by another program: stop that one`,
    };
  }
  if (/Permission denied/i.test(line)) {
    return {
      code: "microphone_forbidden",
      message: `The microphone ${pcm} may not be opened: put the user into the group audio`,
    };
  }
  if (/No such (device|file)|Cannot get card index|Unknown PCM|Connection refused/i.test(line)) {
    return {
      code: "microphone_missing",
      message: `The microphone ${pcm} is not there: plug it in, or see "recorder-agent devices"`,
    };
  }
  return null;
}

/** There is no ffmpeg to start. */
export class FfmpegMissingError extends Error {
  readonly diagnosis: Diagnosis = {
    code: "ffmpeg_missing",
    message: `ffmpeg is not installed: ${INSTALL}`,
  };
}

/** A running ffmpeg. Its stdout must be read to the end, then `ended` awaited. */
export class Ffmpeg {
  /** The endless Ogg/Opus stream. */
  readonly stdout: ReadableStream<Uint8Array>;
  /** Null if levels are not measured. */
  readonly levels: LevelMeter | null;
  readonly pid: number;
  /** Never rejects. */
  readonly ended: Promise<FfmpegEnd>;
  readonly #child: Deno.ChildProcess;
  readonly #source: CaptureSource;
  #diagnosis: Diagnosis | null = null;

  private constructor(
    source: CaptureSource,
    options: CaptureOptions,
    onLine: (level: FfmpegLogLevel, text: string) => void,
  ) {
    this.#source = source;
    const listener = options.levelsSocket === null ? null : listenForLevels(options.levelsSocket);
    try {
      this.#child = new Deno.Command("ffmpeg", {
        args: ffmpegArguments(
          source,
          listener === null ? { ...options, levelsSocket: null } : options,
        ),
        stdin: "null",
        stdout: "piped",
        stderr: "piped",
        // Its own session: a Ctrl-C at the terminal is ours to handle, ffmpeg ends when we say so.
        detached: true,
      }).spawn();
    } catch (error) {
      listener?.close();
      // Deno looks the program up when it starts; one installed later counts as not permitted.
      if (error instanceof Deno.errors.NotFound || error instanceof Deno.errors.NotCapable) {
        throw new FfmpegMissingError("ffmpeg cannot be started", { cause: error });
      }
      throw error;
    }
    this.pid = this.#child.pid;
    this.stdout = this.#child.stdout;
    this.levels = listener === null ? null : new LevelMeter(options.sampleRate);
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

  /** Asks ffmpeg to end, then insists: SIGINT, SIGTERM, SIGKILL. Resolves when it has ended. */
  async stop(clock: Clock): Promise<void> {
    const gone = new AbortController();
    const ended = this.ended.then(() => gone.abort());
    for (const { signal, waitMs } of STOP_STEPS) {
      if (gone.signal.aborted) break;
      try {
        this.#child.kill(signal);
      } catch { /* it ended by itself */ }
      await clock.sleep(waitMs, gone.signal);
    }
    await ended;
  }

  async #watch(
    onLine: (level: FfmpegLogLevel, text: string) => void,
    closeListener: () => void,
    levelsRead: Promise<void>,
  ): Promise<FfmpegEnd> {
    let lastError = "";
    for await (const line of lines(this.#child.stderr)) {
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
    const lost: Diagnosis = {
      code: "microphone_lost",
      message: `ffmpeg ended (exit code ${code})${lastError === "" ? "" : `: ${lastError}`}`,
    };
    return { exitCode: code, diagnosis: this.#diagnosis ?? lost };
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
  return { level, text: match?.[2] ?? line };
}

/** Text lines of at most 1,000 characters; a longer one is cut. */
async function* lines(stream: ReadableStream<Uint8Array>): AsyncGenerator<string> {
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
