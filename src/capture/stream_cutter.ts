// Assigns times to the packets of one stream, cuts them into chunks, and passes the chunks to the writer.
// It reads nothing and writes nothing itself; stream.ts reads the packets.

import type { Clock } from "../system/clock.ts";
import { concatBytes } from "../system/concat_bytes.ts";
import { repeating } from "../system/held_lines.ts";
import type { Logger } from "../system/log.ts";
import { withTags } from "../chunk/chunk_file.ts";
import { firstInterval } from "../config/phase.ts";
import type { PartName, Provisional } from "../chunk/chunk_name.ts";
import { formatChunkTags } from "../chunk/chunk_tags.ts";
import type { ChunkTimes } from "../chunk/chunk_times.ts";
import { Chunker, type ChunkEvent } from "../chunk/chunker.ts";
import type { ChunkWriter } from "../spool/chunk_writer.ts";
import type { GapCause } from "../status/ledger.ts";
import { problems } from "../status/problems.ts";
import type { ChunkChain } from "./chunk_chain.ts";
import type { LevelMeter } from "./level_meter.ts";
import { PAGE_MS } from "./ffmpeg_arguments.ts";
import { OPUS_RATE, type OpusEvent, type OpusHead, type OpusPacket } from "../chunk/opus.ts";
import { Timeline } from "./timeline.ts";

/** A gap that shows within this time after an overrun was caused by it. */
const OVERRUN_MS = 10_000;

/** They are read again for each packet and each chunk, so that they may change while the stream runs. */
export interface StreamCutterOptions {
  readonly chunkSeconds: number;
  /**
   * By how much of its length the first chunk is shorter, 0 up to 1, so that tills that begin together do not
   * seal together; it is not shorter than a second. @default 0
   */
  readonly phase?: number;
  /** Names the program in the chunks' tags. */
  readonly vendor: string;
  /** Comments that every chunk of the stream carries. */
  readonly tags: Readonly<Record<string, string>>;
}

export interface StreamCutterDeps {
  readonly clock: Clock;
  readonly writer: Pick<ChunkWriter, "push" | "isFull">;
  readonly log: Logger;
  /**
   * The provisional part of the name of a chunk that began at this monotonic time; undefined while the
   * clock is synchronized.
   */
  readonly provisional: (startMs: number) => Provisional | undefined;
  /** The cause of a gap before the stream's first chunk, if there is a gap. */
  readonly gapCause: GapCause;
  /** Knows the chunks before those of this stream. */
  readonly chain: ChunkChain;
  /** Called with true when arriving sound begins to be discarded, and with false when that ends. */
  readonly onDropping: (dropping: boolean) => void;
  /** Called when sound begins to arrive; `startMs`, monotonic, is when it was heard. */
  readonly onSound: (startMs: number) => void;
  /** Called with the position in the stream, at 48 kHz, up to which packets arrived at this time. */
  readonly onArrival?: (endPosition: number, arrivalMs: number) => void;
  /** Called when packets were processed, even if they cannot be written to the disk. */
  readonly onAlive?: () => void;
}

export class StreamCutter {
  /** Monotonic time of the last read from ffmpeg. */
  readMs = 0;
  /**
   * ffmpeg was asked to end: the rest of its sound arrives at once, so its arrival does not tell the time.
   */
  isFlushing = false;
  soundEndMs: number | null = null;
  readonly #levels: Pick<LevelMeter, "take"> | null;
  readonly #options: StreamCutterOptions;
  readonly #deps: StreamCutterDeps;
  #stream: { id: string; chunker: Chunker; timeline: Timeline; head: OpusHead } | null = null;
  #chunkStart = 0;
  #chunkKey = "";
  /** Of the open chunk: those of the options may change. */
  #tags: StreamCutterOptions["tags"] = {};
  /** The header of the open chunk as it was written. */
  #header: Uint8Array | null = null;
  /**
   * When the open chunk began, no chunk from before this time was waiting; null if that is not known, or if
   * the clock was not right then.
   */
  #waitingFromUs: number | null = null;
  /** Samples that this stream has lost between its packets, and the end of its last chunk. */
  #lostSamples = 0;
  #previousEnd: number | null = null;
  /** A chunk whose first page is not full yet: its file is created together with that page. */
  #opening: Extract<ChunkEvent, { kind: "open" }> | null = null;
  #dropping = false;
  #overrunMs = -Infinity;
  /** Position of a loss that was noticed before the packets reached it, counted as `endPosition` is. */
  #lossAt = Infinity;
  /** The cause of a gap before the open chunk, if there is a gap. */
  #gapCause: GapCause;

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

  /** Processes the events that one read from ffmpeg, at `arrivalMs`, has completed. */
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

  /** Call this when ALSA reports that sound was lost: even a small delay is a gap then, if it stays. */
  overrun(nowMs: number): void {
    this.#overrunMs = nowMs;
    this.#stream?.timeline.expectGap(nowMs);
  }

  /** Ends the last chunk. */
  finish(): void {
    if (this.#stream !== null) this.#apply(this.#stream.chunker.cut());
  }

  #begin(head: OpusHead): void {
    this.finish();
    const id = crypto.randomUUID();
    const options = this.#options;
    const chunker = new Chunker(head, {
      get chunkSamples() {
        return options.chunkSeconds * OPUS_RATE;
      },
      get firstSamples() {
        const { chunkSeconds, phase = 0 } = options;
        return Math.max(1, firstInterval(chunkSeconds, phase)) * OPUS_RATE;
      },
      identify: () => this.#identify(),
    });
    this.#stream = { id, chunker, timeline: new Timeline(PAGE_MS), head };
    this.#lossAt = Infinity;
    this.#lostSamples = 0;
    this.#previousEnd = null;
  }

  /** The tags are written when the chunk's file is created, and again when it is closed. */
  #identify() {
    const key = crypto.randomUUID();
    this.#tags = this.#options.tags;
    return {
      key,
      serial: parseInt(key.slice(0, 8), 16),
      vendor: this.#options.vendor,
      comments: { ...this.#tags, CHUNK_ID: key },
    };
  }

  /**
   * The header of the open chunk as far as its facts are known. Its STREAM_SAMPLE jumps by what was lost
   * inside the stream, so that chunks of one stream with consecutive numbers join without a break.
   */
  #headerWith(
    header: Uint8Array,
    { startMs, startUnixUs, gapMs }: Pick<ChunkTimes, "startMs" | "startUnixUs" | "gapMs">,
    lostSamples: number,
  ): Uint8Array | null {
    const { chain } = this.#deps;
    const provisional = this.#deps.provisional(startMs);
    const isFirst = this.#previousEnd === null;
    const beforeMs = isFirst ? chain.gapBefore({ startMs, startUnixUs, provisional }) : gapMs;
    return withTags(header, {
      ...this.#tags,
      ...formatChunkTags({
        chunkId: this.#chunkKey,
        streamId: this.#stream?.id ?? "",
        streamSample: this.#chunkStart + lostSamples,
        startUnixUs,
        isClockSynchronized: provisional === undefined,
        previousChunkId: chain.previousKey,
        gapBeforeMs: beforeMs,
        gapCause: isFirst ? chain.causeBefore(this.#gapCause, startMs, beforeMs) : this.#gapCause,
        waitingFromUs: this.#waitingFromUs,
      }),
    });
  }

  /** What the stream has lost up to this chunk, beyond the packets that are missing from it, samples. */
  #lostUntil(gapMs: number): number {
    if (this.#previousEnd === null) return this.#lostSamples;
    const missing = this.#chunkStart - this.#previousEnd;
    return this.#lostSamples + Math.max(0, Math.round(gapMs * OPUS_RATE / 1000) - missing);
  }

  #break({ offset, reason }: Extract<OpusEvent, { kind: "break" }>): void {
    this.#deps.log.error("ffmpeg's stream is damaged.", repeating(reason, { reason, offset }));
    if (this.#stream !== null) this.#apply(this.#stream.chunker.cut({ lost: true }));
    this.#gapCause = "stream_damaged";
  }

  /** Processes packets that arrived together. The last one has waited least, so it tells the time. */
  #packets(packets: readonly OpusPacket[], arrivalMs: number): void {
    const last = packets.at(-1);
    if (this.#stream === null || last === undefined) return;
    this.#deps.onAlive?.();
    const { chunker, timeline, head } = this.#stream;
    const isFirst = this.soundEndMs === null;
    const tellsTime = !timeline.hasBegun || (!this.isFlushing && last.trimSamples === 0);
    if (tellsTime) this.#deps.onArrival?.(last.endPosition, arrivalMs);
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
   * Position of the loss that shows in the late arrival of `last`; sound was heard up to it. ffmpeg reports
   * an overrun when it restarts the microphone. Without a report, the loss lies somewhere in the page that
   * ffmpeg was filling when it should have written this one; it is placed before that page.
   */
  #placeLoss(last: OpusPacket, arrivalMs: number): number {
    if (arrivalMs - this.#overrunMs >= OVERRUN_MS) return last.endPosition;
    return last.endPosition + (this.#overrunMs - arrivalMs) * OPUS_RATE / 1000;
  }

  /** Whether writes to the disk have failed for so long that new sound cannot be kept. */
  #isDropping(): boolean {
    const dropping = this.#deps.writer.isFull;
    if (dropping && !this.#dropping) {
      this.#deps.log.error("Writes to the disk have failed for too long: sound is being lost.");
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
   * Creates the file of a new chunk once its first page is complete. By then the stream's start is known
   * better than at the first packet, which may have come in a burst. If a crash cuts the chunk off, the
   * time in the name of this file is the only one that is left.
   */
  #open(): void {
    if (this.#opening === null || this.#stream === null) return;
    const { startSample, bytes } = this.#opening;
    this.#opening = null;
    const start = this.#stream.timeline.startOf(startSample, this.#utcOffsetMs());
    const { startMs, startUnixUs, gapMs } = start;
    const isSure = this.#deps.provisional(startMs) === undefined;
    this.#waitingFromUs = isSure ? this.#deps.chain.waitingFromUs(startUnixUs) : null;
    this.#header = this.#headerWith(bytes, start, this.#lostUntil(gapMs));
    const withHeader = this.#header === null
      ? bytes
      : concatBytes([this.#header, bytes.subarray(this.#header.length)]);
    const name = this.#name(startMs, startUnixUs);
    this.#deps.writer.push({ kind: "open", name, bytes: withHeader });
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
    const name = this.#name(times.startMs, times.startUnixUs);
    const lostSamples = this.#lostUntil(times.gapMs);
    const before = this.#header;
    const header = before && this.#headerWith(before, times, lostSamples);
    const isChanged = header?.some((byte, at) => byte !== before?.[at]) ?? false;
    this.#deps.chain.closed(this.#chunkKey, times, name.provisional);
    this.#deps.writer.push({
      kind: "close",
      bytes: event.bytes,
      ...isChanged && header ? { header } : {},
      times,
      name,
      gapCause: this.#gapCause,
      levels,
    });
    this.#lostSamples = lostSamples;
    this.#previousEnd = event.endSample;
    // What is lost before a chunk without a cut of its own is found by its late arrival, too.
    this.#gapCause = "late";
  }

  #utcOffsetMs(): number {
    return this.#deps.clock.unixMs() - this.#deps.clock.monotonicMs();
  }
}
