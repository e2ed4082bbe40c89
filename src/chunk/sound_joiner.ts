// Joins the packets of chunks into one Ogg/Opus stream, without decoding them: the pre-roll of each chunk is
// dropped where the packets before it are there, granule positions continue, and what is missing becomes
// silence of the same length. Where nothing is missing, the result decodes to the samples of the uncut
// stream. Pure: it takes the bytes of chunks and returns those of the stream.

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
}

export class SoundJoiner {
  readonly #file: OpusFile;
  #writer: OpusWriter | null = null;
  #preSkip = 0;
  /** Samples in the packets so far, and how many should be heard of them; they differ while it is silent. */
  #written = 0;
  #wanted = 0;
  #lastSamples = 0;

  constructor(file: OpusFile) {
    this.#file = file;
  }

  /** Audible samples so far. */
  get samples(): number {
    return this.#wanted;
  }

  /** Adds a part of a chunk. @param chunk the file up to its last whole page. */
  *add(chunk: Uint8Array, part: JoinedPart): Generator<Uint8Array> {
    const { head, packets } = readPackets(chunk);
    if (head === null) return;
    const [from, to] = [head.preSkip + part.fromSample, head.preSkip + part.toSample];
    const isFirst = this.#writer === null;
    // The first part keeps what comes before it: the decoder warms up on it and discards it.
    const keptFrom = isFirst ? from - PREROLL_SAMPLES : from;
    const kept = packets.filter(({ endPosition, samples }) =>
      endPosition > keptFrom && endPosition - samples < to
    );
    const [first] = kept;
    if (first === undefined) return;
    const lead = from - (first.endPosition - first.samples);
    if (isFirst) yield this.#begin(head, lead);
    else if (!part.isJoined) yield* this.#fill(this.#wanted - lead - this.#heard);
    for (const packet of kept) yield* this.#push(packet);
    this.#wanted += part.toSample - part.fromSample;
  }

  /** Adds silence. @param head for a stream that begins with it. */
  *silence(samples: number, head: OpusHead): Generator<Uint8Array> {
    if (this.#writer === null) yield this.#begin(head, 0);
    this.#wanted += samples;
    // A packet is kept back: the part that follows may begin within it.
    yield* this.#fill(this.#wanted - this.#heard - SILENCE_KEPT);
  }

  /** Ends the stream: the last page, which trims it to its length. */
  *end(): Generator<Uint8Array> {
    if (this.#writer === null) return;
    while (this.#heard < this.#wanted) yield* this.#push(SILENCE[0]);
    const surplus = Math.min(this.#heard - this.#wanted, this.#lastSamples - 1);
    yield this.#writer.page(END_OF_STREAM, Math.max(0, surplus));
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
    this.#lastSamples = packet.samples;
  }
}

function silence(toc: number, samples: number) {
  return { data: new Uint8Array([toc, 0xff, 0xfe]), samples };
}

/** More than the lead of any part: the longest packet and the pre-skip of a stream. */
const SILENCE_KEPT = 9600;

function readPackets(chunk: Uint8Array): { head: OpusHead | null; packets: OpusPacket[] } {
  const reader = new OpusStreamReader();
  const packets: OpusPacket[] = [];
  let head: OpusHead | null = null;
  for (const event of [...reader.push(chunk), ...reader.end()]) {
    if (event.kind === "break") break;
    if (event.kind === "head") head = event.head;
    else packets.push(event.packet);
  }
  return { head, packets };
}
