// Cuts an endless run of Opus packets into chunks that are whole Ogg/Opus files of their own. Pure:
// it says which bytes a file gets and which samples it holds; names, times and disks are others' work.
//
// Chunks join without a seam: every chunk but a stream's first begins with the packets that came
// before it (pre-roll), and its pre-skip tells the decoder to throw them away once it has warmed up
// on them (RFC 7845, sections 4.2 and 4.6).

import { concatBytes } from "../system/concat_bytes.ts";
import { BEGIN_OF_STREAM, encodePage, END_OF_STREAM, segmentCount } from "./ogg.ts";
import { encodeOpusHead, encodeOpusTags, type OpusHead, type OpusPacket } from "./opus.ts";

/**
 * 960 ms (48 packets): the first 20 ms behind a seam are then 90 dB or more below the signal from
 * what the uncut stream gives, with ffmpeg's decoder; with 320 ms slow speech came to 13 dB. libopus
 * gives most seams exactly, the worst 40 dB below, and no longer pre-roll helps it (bench:seams).
 */
export const PREROLL_SAMPLES = 46_080;
/** At most so many packets (400 ms) wait in memory before they become a page on disk. */
export const PAGE_PACKETS = 20;

/** What identifies one chunk; made by the caller when a chunk opens. */
export interface ChunkIdentity {
  /** UUID: the Idempotency-Key of every attempt to deliver it. */
  readonly key: string;
  /** Ogg serial number of the file. */
  readonly serial: number;
  readonly vendor: string;
  readonly comments: Readonly<Record<string, string>>;
}

/** Sample numbers count what can be heard of the stream, at 48 kHz, from 0: pre-skip excluded. */
export type ChunkEvent =
  | {
    readonly kind: "open";
    readonly key: string;
    readonly startSample: number;
    readonly bytes: Uint8Array;
  }
  | { readonly kind: "append"; readonly bytes: Uint8Array }
  | { readonly kind: "close"; readonly bytes: Uint8Array; readonly endSample: number };

export interface ChunkerOptions {
  /** Length of a chunk, samples at 48 kHz. Packets being of one length, none gets longer. */
  readonly chunkSamples: number;
  readonly identify: (startSample: number) => ChunkIdentity;
}

/** Cuts one stream; a new stream (after a reconnect) needs a new Chunker. */
export class Chunker {
  readonly #options: ChunkerOptions;
  readonly #head: OpusHead;
  #open: OpenChunk | null = null;
  #preroll: OpusPacket[] = [];
  #prerollSamples = 0;

  constructor(head: OpusHead, options: ChunkerOptions) {
    this.#head = head;
    this.#options = options;
  }

  /** What the next packet does to the files, in order. */
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
    if (chunk.bodySamples + packet.samples > this.#options.chunkSamples) events.push(...this.cut());
    return events;
  }

  /**
   * Makes a page of what waits in memory, but for the last packet, if that is a page's worth: no more is to
   * come for a while.
   */
  flush(): ChunkEvent[] {
    return this.#open?.flush() ?? [];
  }

  /**
   * Ends the open chunk behind the last packet. The next packet opens another, without a seam
   * between them, unless `lost` says that packets are missing there: then it starts afresh.
   */
  cut(options: { lost?: boolean } = {}): ChunkEvent[] {
    const event = this.#open?.finish() ?? null;
    this.#open = null;
    if (options.lost) this.#forget();
    return event === null ? [] : [event];
  }

  /** Keeps as many packets as the pre-roll needs, and not one more: pre-skip is a 16-bit number. */
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

  #forget(): void {
    this.#preroll = [];
    this.#prerollSamples = 0;
  }

  #begin(packet: OpusPacket): { chunk: OpenChunk; event: ChunkEvent } {
    const startPosition = packet.endPosition - packet.samples;
    // What is left of the stream's own pre-skip: all of it at its start, else nothing as a rule.
    const ownPreSkip = Math.max(0, this.#head.preSkip - startPosition);
    const preSkip = this.#prerollSamples + ownPreSkip;
    const startSample = startPosition + ownPreSkip - this.#head.preSkip;
    const identity = this.#options.identify(startSample);
    const chunk = new OpenChunk(identity, this.#head.preSkip);
    const bytes = chunk.begin({ ...this.#head, preSkip }, this.#preroll);
    return { chunk, event: { kind: "open", key: identity.key, startSample, bytes } };
  }
}

/** The pages of one chunk. The last packets are held back, so that the last page can say so. */
class OpenChunk {
  readonly #identity: ChunkIdentity;
  readonly #streamPreSkip: number;
  #sequence = 0;
  #granule = 0;
  #pending: OpusPacket[] = [];
  #pendingSegments = 0;
  #last: OpusPacket | null = null;
  /** Samples in this chunk's own packets, pre-roll excluded. */
  bodySamples = 0;

  constructor(identity: ChunkIdentity, streamPreSkip: number) {
    this.#identity = identity;
    this.#streamPreSkip = streamPreSkip;
  }

  begin(head: OpusHead, preroll: readonly OpusPacket[]): Uint8Array {
    const pages = [
      this.#page([encodeOpusHead(head)], BEGIN_OF_STREAM),
      this.#page([encodeOpusTags(this.#identity.vendor, this.#identity.comments)], 0),
    ];
    for (const packet of preroll) {
      if (this.#isFullWith(packet)) pages.push(this.#flush(0));
      this.#hold(packet);
    }
    return concatBytes(pages);
  }

  add(packet: OpusPacket): ChunkEvent[] {
    const events: ChunkEvent[] = [];
    if (this.#isFullWith(packet)) events.push({ kind: "append", bytes: this.#flush(0) });
    this.#hold(packet);
    this.bodySamples += packet.samples;
    this.#last = packet;
    return events;
  }

  flush(): ChunkEvent[] {
    const last = this.#pending.at(-1);
    if (last === undefined || this.#pending.length < PAGE_PACKETS) return [];
    this.#pending.pop();
    const bytes = this.#flush(0);
    this.#hold(last);
    return [{ kind: "append", bytes }];
  }

  finish(): ChunkEvent | null {
    if (this.#last === null) return null;
    const { endPosition, trimSamples } = this.#last;
    const bytes = this.#flush(END_OF_STREAM, trimSamples);
    return { kind: "close", bytes, endSample: endPosition - trimSamples - this.#streamPreSkip };
  }

  #isFullWith(packet: OpusPacket): boolean {
    return this.#pending.length >= PAGE_PACKETS ||
      this.#pendingSegments + segmentCount(packet.data.length) > 255;
  }

  #hold(packet: OpusPacket): void {
    this.#pending.push(packet);
    this.#pendingSegments += segmentCount(packet.data.length);
  }

  #flush(flags: number, trimSamples = 0): Uint8Array {
    this.#granule += total(this.#pending) - trimSamples;
    const bytes = this.#page(this.#pending.map(({ data }) => data), flags);
    this.#pending = [];
    this.#pendingSegments = 0;
    return bytes;
  }

  #page(packets: readonly Uint8Array[], flags: number): Uint8Array {
    return encodePage({
      flags,
      granulePosition: this.#granule,
      serial: this.#identity.serial,
      sequence: this.#sequence++,
      packets,
    });
  }
}

function total(packets: readonly OpusPacket[]): number {
  return packets.reduce((sum, { samples }) => sum + samples, 0);
}
