// One stream: one ffmpeg from its first packet to its last chunk. It reads the packets, passes them on to
// be timed and cut, and stops an ffmpeg that delivers no sound. recorder.ts decides when to start and what
// to do after the end.

import type { CaptureSource } from "../microphone/capture_attempts.ts";
import type { Clock } from "../system/clock.ts";
import { repeating } from "../system/held_lines.ts";
import type { Logger } from "../system/log.ts";
import { type Diagnosis, problems } from "../status/problems.ts";
import { type CaptureOptions, Ffmpeg, type RunningFfmpeg, type StartFfmpeg } from "./ffmpeg.ts";
import { MUXER_DELAY_MS } from "./ffmpeg_arguments.ts";
import type { FfmpegLogLevel } from "./causes.ts";
import { OpusStreamReader } from "../chunk/opus.ts";
import { StreamCutter, type StreamCutterDeps, type StreamCutterOptions } from "./stream_cutter.ts";

/** An ffmpeg that has delivered sound, and delivers no more for this long, is hanging. */
const STALL_MS = 10_000;
/** If a timer fires later than this, this process itself was suspended or had no processor time. */
const HELD_UP_MS = 2_000;
/** Sound that waits in the pipe is read within this time. */
const LAST_LOOK_MS = 500;

export type StreamOptions = CaptureOptions & StreamCutterOptions;
export interface StreamDeps extends StreamCutterDeps {
  /**
   * How long the first sound may take: ffmpeg may load from a slow disk, and a microphone may need its time to be
   * opened.
   */
  readonly firstSoundMs: number;
  /** @default Ffmpeg.start */
  readonly startFfmpeg?: StartFfmpeg;
}

export interface StreamEnd {
  /** Why the stream ended; null if the end was requested. */
  readonly diagnosis: Diagnosis | null;
  /** Monotonic time up to which sound was recorded; null if there was none. */
  readonly soundEndMs: number | null;
  /** An ffmpeg that even SIGKILL did not end, because a driver holds it. */
  readonly leftBehind?: Pick<RunningFfmpeg, "pid" | "ended">;
}

/**
 * Records until the signal aborts or the stream ends by itself. When it resolves, all the sound that was
 * heard has been passed to the writer.
 * @throws {FfmpegMissingError} if there is no ffmpeg.
 */
export async function recordStream(
  source: CaptureSource,
  options: StreamOptions,
  deps: StreamDeps,
  signal: AbortSignal,
): Promise<StreamEnd> {
  const { clock, log, startFfmpeg = Ffmpeg.start } = deps;
  const ffmpeg = startFfmpeg(source, options, (level, text) => {
    if (/buffer xrun/.test(text)) cutter.overrun(clock.monotonicMs());
    quote(log, level, text);
  });
  const cutter = new StreamCutter(ffmpeg.levels, options, deps);
  const stream = new AbortController();
  let stopped = Promise.resolve(true);
  const endAsked = () => {
    cutter.isFlushing = true;
    stopped = ffmpeg.stop(clock);
  };
  signal.addEventListener("abort", endAsked);
  if (signal.aborted) endAsked();
  const watched = watchForStall(ffmpeg, cutter, deps, stream.signal);
  try {
    const reader = new OpusStreamReader();
    for await (const bytes of ffmpeg.sound()) {
      const nowMs = clock.monotonicMs();
      cutter.readMs = nowMs;
      cutter.take(reader.push(bytes), nowMs - MUXER_DELAY_MS);
    }
    cutter.take(reader.end(), clock.monotonicMs());
  } catch (error) {
    await ffmpeg.stop(clock, { stalled: true }); // never two at a time, whatever the error was
    throw error;
  } finally {
    signal.removeEventListener("abort", endAsked);
    stream.abort();
    cutter.finish();
  }
  const stalled = await watched;
  const isGone = await stopped && stalled?.code !== problems.ffmpegStuck.code;
  const end = isGone ? await endOf(ffmpeg, clock) : null;
  const diagnosis = end === null ? problems.ffmpegStuck(ffmpeg.pid) : stalled ?? end;
  return {
    diagnosis: signal.aborted ? null : diagnosis,
    soundEndMs: cutter.soundEndMs,
    ...(end === null ? { leftBehind: ffmpeg } : {}),
  };
}

/**
 * Call this when ffmpeg has closed its output. An ffmpeg that still runs after 1 s is stopped. Resolves
 * with null if it does not end.
 */
async function endOf(ffmpeg: RunningFfmpeg, clock: Clock): Promise<Diagnosis | null> {
  const ended = new AbortController();
  const end = ffmpeg.ended.finally(() => ended.abort());
  await clock.sleep(1000, ended.signal);
  if (!ended.signal.aborted && !await ffmpeg.stop(clock)) return null;
  return await end;
}

/**
 * Stops an ffmpeg that runs but delivers no sound. Resolves with the diagnosis, or with null at the end of
 * the stream.
 */
async function watchForStall(
  ffmpeg: RunningFfmpeg,
  cutter: StreamCutter,
  { clock, firstSoundMs }: Pick<StreamDeps, "clock" | "firstSoundMs">,
  signal: AbortSignal,
): Promise<Diagnosis | null> {
  cutter.readMs = clock.monotonicMs();
  while (!signal.aborted) {
    const limitMs = cutter.soundEndMs === null ? firstSoundMs : STALL_MS;
    const dueMs = cutter.readMs + limitMs;
    // Not longer: the limit is another one as soon as sound arrives.
    await clock.sleep(Math.min(STALL_MS, Math.max(0, dueMs - clock.monotonicMs())), signal);
    const nowMs = clock.monotonicMs();
    // This process itself was delayed (stopped, or without processor time). The sound that ffmpeg wrote
    // meanwhile waits in the pipe, so ffmpeg gets the full time again; the same after the machine slept.
    if (nowMs - dueMs > HELD_UP_MS) cutter.readMs = nowMs;
    // After a shorter delay, this timer may have fired before the pipe was read.
    if (nowMs >= cutter.readMs + limitMs) await clock.sleep(LAST_LOOK_MS, signal);
    if (signal.aborted || clock.monotonicMs() < cutter.readMs + limitMs) continue;
    const isGone = await ffmpeg.stop(clock, { stalled: true });
    return isGone ? problems.stalled(limitMs / 1000) : problems.ffmpegStuck(ffmpeg.pid);
  }
  return null;
}

/** Logs a line of ffmpeg. Even an error is only a warning: its consequence is reported as a problem. */
function quote(log: Logger, level: FfmpegLogLevel, text: string): void {
  const fields = repeating(text, { text });
  if (level === "info") log.debug("ffmpeg: {text}", fields);
  else log.warning("ffmpeg: {text}", fields);
}
