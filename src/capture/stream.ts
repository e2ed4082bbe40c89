// One stream: one ffmpeg from its first packet to its last chunk. It reads, times and cuts, and sees
// to it that a silent ffmpeg ends. When to begin, and what to do after the end, is recorder.ts's.

import type { Clock } from "../clock.ts";
import { type Logger, RepeatLimiter } from "../log.ts";
import type { PartName, Provisional } from "../spool/chunk_name.ts";
import { Chunker, type ChunkEvent } from "./chunker.ts";
import type { ChunkWriter } from "./chunk_writer.ts";
import {
  type CaptureOptions,
  type CaptureSource,
  type Diagnosis,
  Ffmpeg,
  type FfmpegLogLevel,
} from "./ffmpeg.ts";
import {
  OPUS_RATE,
  type OpusEvent,
  type OpusHead,
  type OpusPacket,
  OpusStreamReader,
} from "./opus.ts";
import { Timeline } from "./timeline.ts";

/** An ffmpeg that gives no packet for so long has hung. */
export const STALL_MS = 10_000;
const TICK_MS = 500;
const STDERR_INTERVAL_MS = 60_000;
/** A gap that shows so soon after an overrun was made by it. */
const OVERRUN_MS = 10_000;

export interface StreamOptions extends CaptureOptions {
  readonly chunkSeconds: number;
  /** Names the program in the chunks' tags. */
  readonly vendor: string;
  /** Comments that every chunk of the stream carries. */
  readonly tags: Readonly<Record<string, string>>;
}

export interface StreamDeps {
  readonly clock: Clock;
  readonly writer: ChunkWriter;
  readonly log: Logger;
  /** For a chunk that began at this monotonic time; undefined while the clock is synchronized. */
  readonly provisional: (startMs: number) => Provisional | undefined;
  /** Why sound would be missing before the stream's first chunk. */
  readonly gapCause: string;
  /** Called when sound begins to arrive; `startMs`, monotonic, is when it was heard. */
  readonly onSound: (startMs: number) => void;
}

export interface StreamEnd {
  /** Why it ended; null if that was asked for. */
  readonly diagnosis: Diagnosis | null;
  /** Monotonic time up to which sound was recorded; null if there was none. */
  readonly soundEndMs: number | null;
}

/**
 * Records until the signal aborts or the stream ends by itself; when it resolves, everything that
 * was heard has been handed to the writer.
 * @throws {FfmpegMissingError} if there is no ffmpeg.
 */
export async function recordStream(
  source: CaptureSource,
  options: StreamOptions,
  deps: StreamDeps,
  signal: AbortSignal,
): Promise<StreamEnd> {
  const { clock, log } = deps;
  const logLine = stderrLogger(log, clock);
  const ffmpeg = Ffmpeg.start(source, options, (level, text) => {
    if (/buffer xrun/.test(text)) cutter.overrunMs = clock.monotonicMs();
    logLine(level, text);
  });
  const cutter = new StreamCutter(ffmpeg, options, deps);
  const stream = new AbortController();
  let stopped = Promise.resolve();
  const endAsked = () => {
    stopped = ffmpeg.stop(clock);
  };
  signal.addEventListener("abort", endAsked);
  if (signal.aborted) endAsked();
  const watched = watchForStall(ffmpeg, cutter, clock, stream.signal);
  try {
    const reader = new OpusStreamReader();
    for await (const bytes of ffmpeg.stdout) {
      const nowMs = clock.monotonicMs();
      cutter.readMs = nowMs;
      cutter.take(reader.push(bytes), nowMs);
    }
    cutter.take(reader.end(), clock.monotonicMs());
  } finally {
    signal.removeEventListener("abort", endAsked);
    stream.abort();
    cutter.finish();
  }
  await stopped;
  const stalled = await watched;
  const { diagnosis } = await endOf(ffmpeg, clock);
  return {
    diagnosis: signal.aborted ? null : stalled ?? diagnosis,
    soundEndMs: cutter.soundEndMs,
  };
}

/** ffmpeg has closed its stdout; should it live on, it is made to end. */
async function endOf(ffmpeg: Ffmpeg, clock: Clock) {
  const ended = new AbortController();
  const end = ffmpeg.ended.finally(() => ended.abort());
  await clock.sleep(1000, ended.signal);
  if (!ended.signal.aborted) await ffmpeg.stop(clock);
  return await end;
}

/** Stops an ffmpeg that lives and gives nothing. Resolves with the diagnosis, or null at the end. */
async function watchForStall(
  ffmpeg: Ffmpeg,
  cutter: StreamCutter,
  clock: Clock,
  signal: AbortSignal,
): Promise<Diagnosis | null> {
  let tickedMs = clock.monotonicMs();
  cutter.readMs = tickedMs;
  while (!signal.aborted) {
    await clock.sleep(TICK_MS, signal);
    const nowMs = clock.monotonicMs();
    // This process itself was held up (suspended, starved): ffmpeg gets its full time again.
    if (nowMs - tickedMs > 4 * TICK_MS) cutter.readMs = nowMs;
    tickedMs = nowMs;
    if (nowMs - cutter.readMs > STALL_MS) {
      await ffmpeg.stop(clock);
      return {
        code: "microphone_stalled",
        message: `The microphone gave nothing for ${STALL_MS / 1000} s though it is there: ` +
          `it is opened again; if that goes on, plug it into another port`,
      };
    }
  }
  return null;
}

/** Times and cuts the packets of one stream and hands the chunks to the writer. */
class StreamCutter {
  /** Monotonic time of the last read from ffmpeg. */
  readMs = 0;
  /** Monotonic time at which ALSA last reported an overrun. */
  overrunMs = -Infinity;
  soundEndMs: number | null = null;
  readonly #ffmpeg: Ffmpeg;
  readonly #options: StreamOptions;
  readonly #deps: StreamDeps;
  readonly #breaks = new RepeatLimiter(STDERR_INTERVAL_MS);
  #stream: { chunker: Chunker; timeline: Timeline; head: OpusHead } | null = null;
  #chunkStart = 0;
  #chunkKey = "";
  /** A chunk whose first page is not full yet: its file is made together with that page. */
  #opening: Extract<ChunkEvent, { kind: "open" }> | null = null;
  #dropping = false;
  /** Why sound would be missing before the chunk that is open now. */
  #gapCause: string;

  constructor(ffmpeg: Ffmpeg, options: StreamOptions, deps: StreamDeps) {
    this.#ffmpeg = ffmpeg;
    this.#options = options;
    this.#deps = deps;
    this.#gapCause = deps.gapCause;
  }

  /** Takes what one read from ffmpeg, at `arrivalMs`, has completed. */
  take(events: Iterable<OpusEvent>, arrivalMs: number): void {
    let packets: OpusPacket[] = [];
    for (const event of events) {
      if (event.kind === "packet") {
        packets.push(event.packet);
        continue;
      }
      this.#packets(packets, arrivalMs);
      packets = [];
      if (event.kind === "head") this.#begin(event.head);
      else this.#break(event);
    }
    this.#packets(packets, arrivalMs);
  }

  /** Ends the last chunk. */
  finish(): void {
    if (this.#stream !== null) this.#apply(this.#stream.chunker.cut());
  }

  #begin(head: OpusHead): void {
    if (this.#stream !== null) this.#apply(this.#stream.chunker.cut());
    const streamId = crypto.randomUUID();
    const chunker = new Chunker(head, {
      chunkSamples: this.#options.chunkSeconds * OPUS_RATE,
      identify: (startSample) => this.#identify(streamId, startSample),
    });
    this.#stream = { chunker, timeline: new Timeline(), head };
  }

  #identify(streamId: string, startSample: number) {
    const key = crypto.randomUUID();
    return {
      key,
      serial: parseInt(key.slice(0, 8), 16),
      vendor: this.#options.vendor,
      comments: {
        ...this.#options.tags,
        CHUNK_ID: key,
        // Chunks of one stream whose sample numbers follow on each other join without a seam.
        STREAM_ID: streamId,
        STREAM_SAMPLE: String(startSample),
      },
    };
  }

  #break(event: Extract<OpusEvent, { kind: "break" }>): void {
    const pass = this.#breaks.pass(event.reason, this.#deps.clock.monotonicMs());
    if (pass !== null) {
      const { offset, reason } = event;
      this.#deps.log.error("ffmpeg's stream is damaged.", { reason, offset, ...pass });
    }
    if (this.#stream !== null) this.#apply(this.#stream.chunker.cut({ lost: true }));
    this.#gapCause = "stream_damaged";
  }

  /** Packets that arrived together: the last one has waited least and tells the time. */
  #packets(packets: readonly OpusPacket[], arrivalMs: number): void {
    const last = packets.at(-1);
    if (this.#stream === null || last === undefined) return;
    const { chunker, timeline, head } = this.#stream;
    const isFirst = this.soundEndMs === null;
    if (timeline.observe(last.endPosition, arrivalMs) === "late") {
      this.#apply(chunker.cut());
      this.#gapCause = arrivalMs - this.overrunMs < OVERRUN_MS ? "overrun" : "late";
    }
    if (this.#isDropping()) return;
    for (const packet of packets) this.#apply(chunker.push(packet));
    this.soundEndMs = timeline.timeOf(last.endPosition - last.trimSamples - head.preSkip);
    if (isFirst) this.#deps.onSound(timeline.timeOf(0));
  }

  /** Whether the disk has taken nothing for so long that what is heard now cannot be kept. */
  #isDropping(): boolean {
    const dropping = this.#deps.writer.isFull;
    if (dropping && !this.#dropping) {
      this.#deps.log.error("The disk has taken nothing for too long: sound is being lost.");
      if (this.#stream !== null) this.#apply(this.#stream.chunker.cut({ lost: true }));
      this.#gapCause = "disk_failing";
    }
    this.#dropping = dropping;
    return dropping;
  }

  #apply(events: ChunkEvent[]): void {
    for (const event of events) {
      if (event.kind === "open") {
        this.#opening = event;
        this.#chunkStart = event.startSample;
        this.#chunkKey = event.key;
        continue;
      }
      this.#open();
      if (event.kind === "append") this.#deps.writer.push(event);
      else this.#close(event);
    }
  }

  /**
   * Makes the file of a chunk that has begun, its first page at hand: by then the stream's start is
   * known better than when the first packet came, in a burst perhaps. Should the chunk be cut off by
   * a crash, the time in the name of this file is all that is left.
   */
  #open(): void {
    if (this.#opening === null) return;
    const { startSample, bytes } = this.#opening;
    this.#opening = null;
    const startMs = this.#stream?.timeline.timeOf(startSample) ?? 0;
    const startUnixUs = Math.round((startMs + this.#utcOffsetMs()) * 1000);
    this.#deps.writer.push({ kind: "open", name: this.#name(startMs, startUnixUs), bytes });
  }

  #name(startMs: number, startUnixUs: number): PartName {
    const provisional = this.#deps.provisional(startMs);
    const name = { startUnixUs, key: this.#chunkKey };
    return provisional === undefined ? name : { ...name, provisional };
  }

  #close(event: Extract<ChunkEvent, { kind: "close" }>): void {
    const { timeline } = this.#stream ?? {};
    const levels = this.#ffmpeg.levels?.take(event.endSample) ?? null;
    if (timeline === undefined || event.endSample <= this.#chunkStart) {
      this.#deps.writer.push({ kind: "discard" });
      return;
    }
    const times = timeline.seal(this.#chunkStart, event.endSample, this.#utcOffsetMs());
    this.#deps.writer.push({
      kind: "close",
      bytes: event.bytes,
      times,
      name: this.#name(times.startMs, times.startUnixUs),
      gapCause: this.#gapCause,
      levels,
    });
    this.#gapCause = "unknown";
  }

  #utcOffsetMs(): number {
    return this.#deps.clock.unixMs() - this.#deps.clock.monotonicMs();
  }
}

/** ffmpeg's own words at their level, each kind once a minute. */
function stderrLogger(log: Logger, clock: Clock): (level: FfmpegLogLevel, text: string) => void {
  const limiter = new RepeatLimiter(STDERR_INTERVAL_MS);
  return (level, text) => {
    const pass = limiter.pass(text, clock.monotonicMs());
    if (pass === null) return;
    const fields = { text, ...(pass.suppressed > 0 ? pass : {}) };
    // Its errors are judged by what follows from them; here they are only quoted.
    if (level === "info") log.debug("ffmpeg: {text}", fields);
    else log.warning("ffmpeg: {text}", fields);
  };
}
