// Makes the pages of an Ogg/Opus file from packets (RFC 7845): headers first, then pages of several packets
// with their granule positions, the last one marked. Pure: it decides what a page holds when it is told to
// end it, and never which packets belong to the file.

import { BEGIN_OF_STREAM, encodePage, segmentCount } from "./ogg.ts";
import { encodeOpusHead, encodeOpusTags, type OpusHead, type OpusPacket } from "./opus.ts";
import { concatBytes } from "../system/concat_bytes.ts";

export interface OpusFile {
  /** Ogg serial number. */
  readonly serial: number;
  readonly vendor: string;
  readonly comments: Readonly<Record<string, string>>;
}

type Packet = Pick<OpusPacket, "data" | "samples">;

export class OpusWriter {
  readonly #file: OpusFile;
  #sequence = 0;
  #granule = 0;
  #held: Packet[] = [];

  constructor(file: OpusFile) {
    this.#file = file;
  }

  /** Packets that wait for their page. */
  get heldPackets(): number {
    return this.#held.length;
  }

  /** The two header pages. @param roomBytes zeros behind the tags, for other tags later. */
  header(head: OpusHead, roomBytes = 0): Uint8Array {
    const tags = encodeOpusTags(this.#file.vendor, this.#file.comments);
    return concatBytes([
      this.#page([encodeOpusHead(head)], BEGIN_OF_STREAM),
      this.#page([concatBytes([tags, new Uint8Array(roomBytes)])], 0),
    ]);
  }

  /** Whether the page has no segments left for this packet. */
  isFullWith(packet: Packet): boolean {
    let segments = segmentCount(packet.data.length);
    for (const { data } of this.#held) segments += segmentCount(data.length);
    return segments > 255;
  }

  /** Adds a packet to the next page, which must have room for it. */
  hold(packet: Packet): void {
    this.#held.push(packet);
  }

  /** Takes the packet back that was held last. */
  release(): Packet | undefined {
    return this.#held.pop();
  }

  /**
   * Ends the page.
   * @param flags END_OF_STREAM for the last page, otherwise 0.
   * @param trimSamples padding at the end of the last packet (RFC 7845, section 4.4).
   */
  page(flags = 0, trimSamples = 0): Uint8Array {
    this.#granule += this.#held.reduce((sum, { samples }) => sum + samples, 0) - trimSamples;
    const bytes = this.#page(this.#held.map(({ data }) => data), flags);
    this.#held = [];
    return bytes;
  }

  #page(packets: readonly Uint8Array[], flags: number): Uint8Array {
    return encodePage({
      flags,
      granulePosition: this.#granule,
      serial: this.#file.serial,
      sequence: this.#sequence++,
      packets,
    });
  }
}
