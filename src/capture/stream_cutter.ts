// Times and cuts the packets of one stream, and hands the chunks to the writer. It reads nothing and
// writes nothing itself; where packets come from is stream.ts's.

import type { Clock } from "../system/clock.ts";
import { repeating } from "../system/held_lines.ts";
import type { Logger } from "../system/log.ts";
import type { PartName, Provisional } from "../chunk/chunk_name.ts";
import { Chunker, type ChunkEvent } from "../chunk/chunker.ts";
import type { ChunkWriter } from "../spool/chunk_writer.ts";
import { problems } from "../status/problems.ts";
import type { LevelMeter } from "./level_meter.ts";
import { PAGE_MS } from "./ffmpeg.ts";
import { OPUS_RATE, type OpusEvent, type OpusHead, type OpusPacket } from "../chunk/opus.ts";
import { Timeline } from "./timeline.ts";

/** A gap that shows so soon after an overrun was made by it. */
const OVERRUN_MS = 10_000;

export interface StreamCutterOptions {
  readonly chunkSeconds: number;
  /** Names the program in the chunks' tags. */
  readonly vendor: string;
  /** Comments that every chunk of the stream carries. */
  readonly tags: Readonly<Record<string, string>>;
}

export interface StreamCutterDeps {
  readonly clock: Clock;
  readonly writer: Pick<ChunkWriter, "push" | "isFull">;
  readonly log: Logger;
  /** For a chunk that began at this monotonic time; undefined while the clock is synchronized. */
  readonly provisional: (startMs: number) => Provisional | undefined;
  /** Why sound would be missing before the stream's first chunk. */
  readonly gapCause: string;
  /** Called when sound that arrives begins, or ceases, to be thrown away. */
  readonly onDropping: (dropping: boolean) => void;
  /** Called when sound begins to arrive; `startMs`, monotonic, is when it was heard. */
  readonly onSound: (startMs: number) => void;
  /** Called when packets were processed, even if the disk takes none. */
  readonly onAlive?: () => void;
}

export class StreamCutter {
  /** Monotonic time of the last read from ffmpeg. */
  readMs = 0;
  /** ffmpeg was asked to end: what it still gives out comes at once and tells no time. */
  isFlushing = false;
  soundEndMs: number | null = null;
  readonly #levels: Pick<LevelMeter, "take"> | null;
  readonly #options: StreamCutterOptions;
  readonly #deps: StreamCutterDeps;
  #stream: { chunker: Chunker; timeline: Timeline; head: OpusHead } | null = null;
  #chunkStart = 0;
  #chunkKey = "";
  /** A chunk whose first page is not full yet: its file is made together with that page. */
  #opening: Extract<ChunkEvent, { kind: "open" }> | null = null;
  #dropping = false;
  #overrunMs = -Infinity;
  /** Where sound is missing in this stream that is still to come; a position as packets have them. */
  #lossAt = Infinity;
  /** Why sound would be missing before the chunk that is open now. */
  #gapCause: string;

  constructor(
    levels: Pick<LevelMeter, "take"> | null,
    options: StreamCutterOptions,
    deps: StreamCutterDeps,
  ) {
    this.#levels = levels;
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

  /** ALSA says that sound was lost about now: even a small delay that stays is a gap. */
  overrun(nowMs: number): void {
    this.#overrunMs = nowMs;
    this.#stream?.timeline.expectGap(nowMs);
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
    this.#stream = { chunker, timeline: new Timeline(PAGE_MS), head };
    this.#lossAt = Infinity;
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

  #break({ offset, reason }: Extract<OpusEvent, { kind: "break" }>): void {
    this.#deps.log.error("ffmpeg's stream is damaged.", repeating(reason, { reason, offset }));
    if (this.#stream !== null) this.#apply(this.#stream.chunker.cut({ lost: true }));
    this.#gapCause = "stream_damaged";
  }

  /** Packets that arrived together: the last one has waited least and tells the time. */
  #packets(packets: readonly OpusPacket[], arrivalMs: number): void {
    const last = packets.at(-1);
    if (this.#stream === null || last === undefined) return;
    this.#deps.onAlive?.();
    const { chunker, timeline, head } = this.#stream;
    const isFirst = this.soundEndMs === null;
    const tellsTime = !timeline.hasBegun || (!this.isFlushing && last.trimSamples === 0);
    const isLate = tellsTime && timeline.observe(last.endPosition, arrivalMs) === "late";
    if (this.#isDropping()) {
      this.#levels?.take(last.endPosition);
      return;
    }
    if (isLate) this.#lossAt = this.#placeLoss(last, arrivalMs);
    for (const packet of packets) {
      if (packet.endPosition > this.#lossAt) {
        this.#apply(chunker.cut());
        this.#gapCause = arrivalMs - this.#overrunMs < OVERRUN_MS ? "overrun" : "late";
        this.#lossAt = Infinity;
      }
      this.#apply(chunker.push(packet));
    }
    this.#apply(chunker.flush());
    this.soundEndMs = timeline.timeOf(last.endPosition - last.trimSamples - head.preSkip);
    if (isFirst) this.#deps.onSound(timeline.timeOf(0));
  }

  /**
   * The position up to which sound was heard before a loss that shows in the arrival of `last`. ffmpeg
   * reports an overrun as it starts the microphone anew. Without a report the loss lies somewhere in
   * the page that ffmpeg was filling when it should have given this one out: before it.
   */
  #placeLoss(last: OpusPacket, arrivalMs: number): number {
    if (arrivalMs - this.#overrunMs >= OVERRUN_MS) return last.endPosition;
    return last.endPosition + (this.#overrunMs - arrivalMs) * OPUS_RATE / 1000;
  }

  /** Whether the disk has taken nothing for so long that what is heard now cannot be kept. */
  #isDropping(): boolean {
    const dropping = this.#deps.writer.isFull;
    if (dropping && !this.#dropping) {
      this.#deps.log.error("The disk has taken nothing for too long: sound is being lost.");
      if (this.#stream !== null) this.#apply(this.#stream.chunker.cut({ lost: true }));
      this.#gapCause = problems.diskFailing.code;
    }
    if (dropping !== this.#dropping) this.#deps.onDropping(dropping);
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
    const levels = this.#levels?.take(event.endSample) ?? null;
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
