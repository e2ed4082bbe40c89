// Cuts an endless series of Opus packets into chunks, each a complete Ogg/Opus file. Pure: it decides
// which bytes go into a file and which samples the file holds. It never names, dates or writes a file.
//
// Chunks join without an audible seam: each chunk except the first one of a stream begins with the
// packets before it (pre-roll), and its pre-skip tells the decoder to discard them after it has warmed up
// on them (RFC 7845, sections 4.2 and 4.6).

import { concatBytes } from "../system/concat_bytes.ts";
import { END_OF_STREAM } from "./ogg.ts";
import type { OpusHead, OpusPacket } from "./opus.ts";
import { type OpusFile, OpusWriter } from "./opus_writer.ts";

/** Room in the header for the tags that become known while the chunk is recorded (chunk_tags.ts). */
const TAGS_ROOM_BYTES = 384;

/**
 * 960 ms (48 packets). With ffmpeg's decoder, the first 20 ms after a seam then differ from the uncut
 * stream by 90 dB or more below the signal; with 320 ms the difference was 13 dB below it in slow speech.
 * libopus reproduces most seams exactly and the worst one to 40 dB below the signal; a longer pre-roll
 * does not improve that (bench:seams).
 */
export const PREROLL_SAMPLES = 46_080;
/** The maximum number of packets (400 ms) that wait in memory before they become a page on disk. */
export const PAGE_PACKETS = 20;
/**
 * A chunk's first audio page holds its pre-roll and the first two of its own packets, because VLC discards
 * whole pages at the start: with the pre-roll on pages of its own it swallows up to 1.4 s of sound. It holds
 * fewer if 255 segments do not suffice (above 420 kbit/s).
 */
const OWN_ON_FIRST_PAGE = 2;

/** What identifies a chunk. The caller makes it when a chunk opens. */
export interface ChunkIdentity extends OpusFile {
  /** UUID: the Idempotency-Key of every attempt to deliver the chunk. */
  readonly key: string;
}

/** Sample numbers count the audible samples of the stream from 0, at 48 kHz, without the pre-skip. */
export type ChunkEvent =
  | {
    readonly kind: "open";
    readonly key: string;
    readonly startSample: number;
    readonly bytes: Uint8Array;
  }
  | { readonly kind: "append"; readonly bytes: Uint8Array }
  | { readonly kind: "close"; readonly bytes: Uint8Array; readonly endSample: number };

/** They are read again for each packet, so that they may change while the stream runs. */
export interface ChunkerOptions {
  /** Length of a chunk, samples at 48 kHz. No chunk gets longer, as all packets have one length. */
  readonly chunkSamples: number;
  /** Length of the first chunk, if that is less. */
  readonly firstSamples?: number;
  readonly identify: (startSample: number) => ChunkIdentity;
}

/** Cuts one stream. A new stream (after a reconnect) needs a new Chunker. */
export class Chunker {
  readonly #options: ChunkerOptions;
  readonly #head: OpusHead;
  #open: OpenChunk | null = null;
  #preroll: OpusPacket[] = [];
  #prerollSamples = 0;
  #isFirst = true;

  constructor(head: OpusHead, options: ChunkerOptions) {
    this.#head = head;
    this.#options = options;
  }

  /** Takes the next packet. Returns the changes to the files, in order. */
  push(packet: OpusPacket): ChunkEvent[] {
    const events: ChunkEvent[] = [];
    if (this.#open === null) {
      const { chunk, event } = this.#begin(packet);
      this.#open = chunk;
      events.push(event);
    }
    const chunk = this.#open;
    events.push(...chunk.add(packet));
    this.#remember(packet);
    if (chunk.bodySamples + packet.samples > this.#limit()) events.push(...this.cut());
    return events;
  }

  /** Of the open chunk, samples. */
  #limit(): number {
    const { chunkSamples, firstSamples = Infinity } = this.#options;
    return this.#isFirst ? Math.min(chunkSamples, firstSamples) : chunkSamples;
  }

  /**
   * Writes the packets in memory as a page, except the last packet, if there are enough for a page. To
   * be called when no packet is expected for a while.
   */
  flush(): ChunkEvent[] {
    return this.#open?.flush() ?? [];
  }

  /**
   * Ends the open chunk after the last packet. The next packet opens another chunk with a pre-roll, or,
   * if `lost` says that packets are missing between them, without one.
   */
  cut(options: { lost?: boolean } = {}): ChunkEvent[] {
    const event = this.#open?.finish() ?? null;
    this.#isFirst &&= event === null;
    this.#open = null;
    if (options.lost) [this.#preroll, this.#prerollSamples] = [[], 0];
    return event === null ? [] : [event];
  }

  /** Keeps the packets that the pre-roll needs and not one more, because pre-skip has only 16 bits. */
  #remember(packet: OpusPacket): void {
    this.#preroll.push(packet);
    this.#prerollSamples += packet.samples;
    while (true) {
      const surplus = this.#prerollSamples - (this.#preroll[0]?.samples ?? 0);
      if (surplus < PREROLL_SAMPLES) return;
      this.#preroll.shift();
      this.#prerollSamples = surplus;
    }
  }

  #begin(packet: OpusPacket): { chunk: OpenChunk; event: ChunkEvent } {
    const startPosition = packet.endPosition - packet.samples;
    // What is left of the stream's own pre-skip: all of it at the start, usually nothing later.
    const ownPreSkip = Math.max(0, this.#head.preSkip - startPosition);
    const preSkip = this.#prerollSamples + ownPreSkip;
    const startSample = startPosition + ownPreSkip - this.#head.preSkip;
    const identity = this.#options.identify(startSample);
    const chunk = new OpenChunk(identity, this.#head.preSkip);
    const bytes = chunk.begin({ ...this.#head, preSkip }, this.#preroll);
    return { chunk, event: { kind: "open", key: identity.key, startSample, bytes } };
  }
}

/** The pages of one chunk. The last packets are held back, so that the last page can carry its mark. */
class OpenChunk {
  readonly #writer: OpusWriter;
  readonly #streamPreSkip: number;
  /** How many packets the next page holds. */
  #pagePackets = PAGE_PACKETS;
  #last: OpusPacket | null = null;
  /** Samples in this chunk's own packets, pre-roll excluded. */
  bodySamples = 0;

  constructor(identity: ChunkIdentity, streamPreSkip: number) {
    this.#writer = new OpusWriter(identity);
    this.#streamPreSkip = streamPreSkip;
  }

  begin(head: OpusHead, preroll: readonly OpusPacket[]): Uint8Array {
    const pages = [this.#writer.header(head, TAGS_ROOM_BYTES)];
    if (preroll.length > 0) this.#pagePackets = preroll.length + OWN_ON_FIRST_PAGE;
    for (const packet of preroll) {
      if (this.#isFullWith(packet)) pages.push(this.#page());
      this.#writer.hold(packet);
    }
    return concatBytes(pages);
  }

  add(packet: OpusPacket): ChunkEvent[] {
    const events: ChunkEvent[] = [];
    if (this.#isFullWith(packet)) events.push({ kind: "append", bytes: this.#page() });
    this.#writer.hold(packet);
    this.bodySamples += packet.samples;
    this.#last = packet;
    return events;
  }

  flush(): ChunkEvent[] {
    if (this.#writer.heldPackets < this.#pagePackets) return [];
    const last = this.#writer.release();
    const bytes = this.#page();
    if (last !== undefined) this.#writer.hold(last);
    return [{ kind: "append", bytes }];
  }

  finish(): ChunkEvent | null {
    if (this.#last === null) return null;
    const { endPosition, trimSamples } = this.#last;
    const bytes = this.#writer.page(END_OF_STREAM, trimSamples);
    return { kind: "close", bytes, endSample: endPosition - trimSamples - this.#streamPreSkip };
  }

  #isFullWith(packet: OpusPacket): boolean {
    return this.#writer.heldPackets >= this.#pagePackets || this.#writer.isFullWith(packet);
  }

  #page(): Uint8Array {
    // The second page ends where ffmpeg's page ends: otherwise a part of each would wait for the next one.
    const isFirst = this.#pagePackets > PAGE_PACKETS;
    this.#pagePackets = isFirst ? PAGE_PACKETS - OWN_ON_FIRST_PAGE : PAGE_PACKETS;
    return this.#writer.page();
  }
}
