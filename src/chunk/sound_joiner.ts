// Joins the packets of chunks into one Ogg/Opus stream, without decoding them: the pre-roll of each chunk is
// dropped where the packets before it are there, granule positions continue, and what is missing becomes
// silence of the same length. Where nothing is missing, the result decodes to the samples of the uncut
// stream. The pre-roll of a chunk after one that is missing is the end of that one: it takes the place of as much
// silence, and the decoder warms up on it. Pure: it takes the bytes of chunks and returns those of the stream.

import { PREROLL_SAMPLES } from "./chunker.ts";
import { END_OF_STREAM } from "./ogg.ts";
import { type OpusHead, type OpusPacket, OpusStreamReader } from "./opus.ts";
import { type OpusFile, OpusWriter } from "./opus_writer.ts";

/** A page holds one second: with fewer packets its header costs more, with more a player seeks worse. */
const PAGE_PACKETS = 50;
/**
 * Packets of digital silence (RFC 6716): CELT, full band, mono, of 20, 10, 5 and 2.5 ms. A hole is as long
 * as they can make it, to 1.25 ms; the rest is made up for in the next hole.
 */
const SILENCE = [
  silence(0xf8, 960),
  silence(0xf0, 480),
  silence(0xe8, 240),
  silence(0xe0, 120),
] as const;
const SHORTEST_SILENCE = 120;

/** The part of a chunk to join: audible samples at 48 kHz from its start. */
export interface JoinedPart {
  readonly fromSample: number;
  readonly toSample: number;
  /** Whether it continues the part before it in the same stream, without a missing sample. */
  readonly isJoined: boolean;
  /** Whether nothing was lost between its pre-roll and the part: the pre-roll is what was heard right before it. */
  readonly continuesPreroll: boolean;
}

export class SoundJoiner {
  readonly #file: OpusFile;
  #writer: OpusWriter | null = null;
  #preSkip = 0;
  /** Samples in the packets so far, and how many should be heard of them; they differ while it is silent. */
  #written = 0;
  #wanted = 0;
  /** Samples at the end of the last packet that nobody misses. */
  #padding = 0;

  constructor(file: OpusFile) {
    this.#file = file;
  }

  /** Audible samples so far; those of the file when it has ended. */
  get samples(): number {
    return this.#heard;
  }

  /** Adds a part of a chunk. @param chunk the file, whose damage is not in the part. */
  *add(chunk: Uint8Array, part: JoinedPart): Generator<Uint8Array> {
    const { head, packets } = readPackets(chunk);
    if (head === null) return;
    const [from, to] = [head.preSkip + part.fromSample, head.preSkip + part.toSample];
    const isFirst = this.#writer === null;
    // What comes before the first part warms the decoder up, and is not heard. Later, as much of it is kept as there
    // is silence in its place.
    const silent = part.isJoined || !part.continuesPreroll ? 0 : this.#wanted - this.#heard;
    const room = isFirst ? Infinity : silent;
    const kept = packets.filter(({ endPosition, samples }) => {
      const start = endPosition - samples;
      const isWarmUp = endPosition > from - PREROLL_SAMPLES && from - start <= room;
      return start < to && (endPosition > from || isWarmUp);
    });
    const [first, last] = [kept[0], kept.at(-1)];
    if (first === undefined || last === undefined) return;
    const lead = from - (first.endPosition - first.samples);
    if (isFirst) yield this.#begin(head, lead);
    else if (!part.isJoined) yield* this.#fill(this.#wanted - lead - this.#heard);
    for (const packet of kept) yield* this.#push(packet);
    this.#padding = Math.max(0, last.endPosition - to);
    this.#wanted += part.toSample - part.fromSample;
  }

  /** Adds silence. @param head for a stream that begins with it. */
  *silence(samples: number, head: OpusHead): Generator<Uint8Array> {
    if (this.#writer === null) yield this.#begin(head, 0);
    this.#wanted += samples;
    // Some is kept back: the part that follows may begin within a packet, and its pre-roll before that.
    yield* this.#fill(this.#wanted - this.#heard - SILENCE_KEPT);
  }

  /** Ends the stream: the last page, which trims it to its length. */
  *end(): Generator<Uint8Array> {
    if (this.#writer === null) return;
    while (this.#heard < this.#wanted) yield* this.#push(SILENCE[0]);
    // Never more than padding: streams that join without missing sound are a little too long together.
    const trimSamples = Math.min(this.#heard - this.#wanted, this.#padding);
    yield this.#writer.page(END_OF_STREAM, trimSamples);
    this.#written -= trimSamples;
  }

  get #heard(): number {
    return this.#written - this.#preSkip;
  }

  #begin({ channels, inputSampleRate }: OpusHead, preSkip: number): Uint8Array {
    this.#writer = new OpusWriter(this.#file);
    this.#preSkip = preSkip;
    return this.#writer.header({ channels, preSkip, inputSampleRate });
  }

  /** Silence of about this length, rounded to what packets can hold; none if it is negative. */
  *#fill(samples: number): Generator<Uint8Array> {
    let left = Math.round(samples / SHORTEST_SILENCE) * SHORTEST_SILENCE;
    for (const packet of SILENCE) {
      for (; left >= packet.samples; left -= packet.samples) yield* this.#push(packet);
    }
  }

  *#push(packet: Pick<OpusPacket, "data" | "samples">): Generator<Uint8Array> {
    const writer = this.#writer;
    if (writer === null) return;
    // The last packet is always held: the last page must hold one.
    if (writer.heldPackets >= PAGE_PACKETS || writer.isFullWith(packet)) yield writer.page();
    writer.hold(packet);
    this.#written += packet.samples;
    this.#padding = packet.samples - 1;
  }
}

function silence(toc: number, samples: number) {
  return { data: new Uint8Array([toc, 0xff, 0xfe]), samples };
}

/** More than what comes before any part: its pre-roll, the longest packet and the pre-skip of a stream. */
const SILENCE_KEPT = PREROLL_SAMPLES + 9600;

function readPackets(chunk: Uint8Array): { head: OpusHead | null; packets: OpusPacket[] } {
  const reader = new OpusStreamReader();
  const packets: OpusPacket[] = [];
  let head: OpusHead | null = null;
  for (const event of [...reader.push(chunk), ...reader.end()]) {
    if (event.kind === "head" && head !== null) break; // another stream
    if (event.kind === "head") head = event.head;
    if (event.kind === "packet") packets.push(event.packet);
  }
  return { head, packets };
}
