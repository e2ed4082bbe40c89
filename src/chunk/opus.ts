// Opus in Ogg (RFC 7845): the two header packets, the length of a packet, and a reader that turns the
// pages of an endless stream into packets with positions and reports each break between them. Pure.

import { concatBytes } from "../system/concat_bytes.ts";
import {
  CONTINUED,
  END_OF_STREAM,
  MAX_PAGE_PACKET_BYTES,
  NO_GRANULE,
  type OggDamage,
  type OggPage,
  OggPageReader,
  packetPieces,
} from "./ogg.ts";

/** Granule positions of Ogg/Opus count samples at this rate, whatever the input's rate (RFC 7845, 4). */
export const OPUS_RATE = 48_000;
/** The longest packet: 120 ms (RFC 6716, section 3.2). */
const MAX_PACKET_SAMPLES = 5760;

export interface OpusHead {
  readonly channels: number;
  /** Samples at 48 kHz that a decoder discards at the start (RFC 7845, section 4.2). */
  readonly preSkip: number;
  /** Rate of the original input, Hz; informative (RFC 7845, section 5.1). */
  readonly inputSampleRate: number;
}

/** The identification header (RFC 7845, section 5.1), mapping family 0. */
export function encodeOpusHead(head: OpusHead): Uint8Array {
  const packet = new Uint8Array(19);
  const view = new DataView(packet.buffer);
  packet.set(new TextEncoder().encode("OpusHead"));
  packet[8] = 1;
  packet[9] = head.channels;
  view.setUint16(10, head.preSkip, true);
  view.setUint32(12, head.inputSampleRate, true);
  return packet;
}

/** Null if the packet is not an identification header of version 1 and mapping family 0. */
export function parseOpusHead(packet: Uint8Array): OpusHead | null {
  if (packet.length < 19 || !startsWith(packet, "OpusHead")) return null;
  const view = new DataView(packet.buffer, packet.byteOffset, packet.byteLength);
  const channels = view.getUint8(9);
  if ((view.getUint8(8) & 0xf0) !== 0 || view.getUint8(18) !== 0) return null;
  if (channels !== 1 && channels !== 2) return null;
  return {
    channels,
    preSkip: view.getUint16(10, true),
    inputSampleRate: view.getUint32(12, true),
  };
}

/** The comment header (RFC 7845, section 5.2). Names are ASCII without "=". */
export function encodeOpusTags(
  vendor: string,
  comments: Readonly<Record<string, string>>,
): Uint8Array {
  const encoder = new TextEncoder();
  const texts = [vendor, ...Object.entries(comments).map(([name, value]) => `${name}=${value}`)]
    .map((text) => encoder.encode(text));
  const packet = new Uint8Array(8 + 4 + texts.reduce((sum, text) => sum + 4 + text.length, 0));
  const view = new DataView(packet.buffer);
  packet.set(encoder.encode("OpusTags"));
  let at = 8;
  texts.forEach((text, index) => {
    view.setUint32(at, text.length, true);
    packet.set(text, at + 4);
    at += 4 + text.length;
    if (index === 0) {
      view.setUint32(at, texts.length - 1, true);
      at += 4;
    }
  });
  return packet;
}

/** A comment header filled up with zeros to this size (RFC 7845, section 5.2); null if it is longer. */
export function paddedTo(sizeBytes: number, packet: Uint8Array): Uint8Array | null {
  if (packet.length > sizeBytes) return null;
  const padded = new Uint8Array(sizeBytes);
  padded.set(packet);
  return padded;
}

/** The text that names the encoder in a comment header; "" if it cannot be read. */
export function parseOpusVendor(packet: Uint8Array): string {
  if (!startsWith(packet, "OpusTags") || packet.length < 12) return "";
  const view = new DataView(packet.buffer, packet.byteOffset, packet.byteLength);
  return new TextDecoder().decode(packet.subarray(12, 12 + view.getUint32(8, true)));
}

/** The comments by upper-case name; null if the packet is not a comment header or is cut short. */
export function parseOpusTags(packet: Uint8Array): Record<string, string> | null {
  const { comments, isWhole } = readComments(packet);
  return isWhole ? comments : null;
}

/** The comments of a damaged header, up to the first that cannot be read. */
export function readableOpusTags(packet: Uint8Array): Record<string, string> {
  return readComments(packet).comments;
}

function readComments(packet: Uint8Array): { comments: Record<string, string>; isWhole: boolean } {
  const comments: Record<string, string> = {};
  if (!startsWith(packet, "OpusTags")) return { comments, isWhole: false };
  const view = new DataView(packet.buffer, packet.byteOffset, packet.byteLength);
  const decoder = new TextDecoder();
  let at = 8;
  const text = (): string => {
    const length = view.getUint32(at, true);
    if (at + 4 + length > packet.length) throw new RangeError("cut short");
    at += 4 + length;
    return decoder.decode(packet.subarray(at - length, at));
  };
  try {
    text(); // the vendor
    const count = view.getUint32(at, true);
    at += 4;
    for (let i = 0; i < count; i++) {
      const comment = text();
      const equals = comment.indexOf("=");
      if (equals > 0) comments[comment.slice(0, equals).toUpperCase()] = comment.slice(equals + 1);
    }
  } catch (error) {
    if (error instanceof RangeError) return { comments, isWhole: false };
    throw error;
  }
  return { comments, isWhole: true };
}

/**
 * Samples at 48 kHz in a packet, from its first bytes (RFC 6716, section 3.1), or null if the packet
 * is not valid: empty, without its frame count, longer than 120 ms, or with more bytes than a page holds
 * (the largest possible packet has 61,310; RFC 7845, section 6).
 */
export function packetSamples(packet: Uint8Array): number | null {
  const toc = packet[0];
  if (toc === undefined || packet.length > MAX_PAGE_PACKET_BYTES) return null;
  const config = toc >> 3;
  const frameSamples = config < 12
    ? [480, 960, 1920, 2880][config & 3]
    : config < 16
    ? [480, 960][config & 1]
    : [120, 240, 480, 960][config & 3];
  const code = toc & 3;
  const frames = code === 0 ? 1 : code < 3 ? 2 : (packet[1] ?? 0) & 0x3f;
  const samples = (frameSamples ?? 0) * frames;
  return samples > 0 && samples <= MAX_PACKET_SAMPLES ? samples : null;
}

export type OpusEvent =
  /** A stream begins; positions count from 0 again. */
  | { readonly kind: "head"; readonly head: OpusHead }
  | { readonly kind: "packet"; readonly packet: OpusPacket }
  /** Packets are missing before the next one, or another stream follows. */
  | { readonly kind: "break"; readonly offset: number; readonly reason: string };

export interface OpusPacket {
  readonly data: Uint8Array;
  /** Decoded samples at 48 kHz. */
  readonly samples: number;
  /** Position of the packet's last sample in the decoded stream, pre-skip included, at 48 kHz. */
  readonly endPosition: number;
  /**
   * Padding at the end of the packet, samples: the end trimming of a stream's last page (RFC 7845, 4.4).
   * Always fewer than `samples`, as a packet that is all padding is left out.
   */
  readonly trimSamples: number;
}

/**
 * Reads an Ogg/Opus stream as it arrives. Each fault in it (damage, a hole in the page sequence, an
 * invalid packet, a second stream) becomes one break, and reading continues after it. The granule position
 * of the first page after a break tells how much was lost.
 */
export class OpusStreamReader {
  #pages = new OggPageReader();
  #serial: number | null = null;
  #nextSequence = 0;
  #headerPackets = 0;
  #position = 0;
  #resync = false;
  #partial: Uint8Array[] = [];

  *push(bytes: Uint8Array): Generator<OpusEvent> {
    for (const found of this.#pages.push(bytes)) yield* this.#read(found);
  }

  /** To be called when the stream has ended. Reads the rest, and reports a torn page at the end. */
  *end(): Generator<OpusEvent> {
    for (const found of this.#pages.end()) yield* this.#read(found);
  }

  *#read(found: OggPage | OggDamage): Generator<OpusEvent> {
    if (found.kind === "damage") {
      yield* this.#break(found.offset, `${found.reason}, ${found.sizeBytes} bytes skipped`);
      return;
    }
    const isHead = found.segments.length === 1 && startsWith(found.body, "OpusHead");
    if (isHead) {
      yield* this.#begin(found);
      return;
    }
    if (this.#serial === null) {
      yield* this.#break(found.offset, "a page before the stream's header");
      return;
    }
    if (found.serial !== this.#serial) {
      yield* this.#break(found.offset, `a page of another stream (serial ${found.serial})`);
      return;
    }
    // After damage the sequence always has a hole, which belongs to the same break.
    if (found.sequence !== this.#nextSequence && !this.#resync) {
      const hole = `page ${found.sequence} follows page ${this.#nextSequence - 1}`;
      yield* this.#break(found.offset, hole);
    }
    this.#nextSequence = (found.sequence + 1) >>> 0;
    yield* this.#packets(found);
  }

  *#begin(page: OggPage): Generator<OpusEvent> {
    const head = parseOpusHead(page.body);
    if (head === null) {
      yield* this.#break(page.offset, "an OpusHead that cannot be read");
      return;
    }
    if (this.#serial !== null) yield* this.#break(page.offset, "a new stream begins");
    this.#serial = page.serial;
    this.#nextSequence = (page.sequence + 1) >>> 0;
    this.#headerPackets = 1;
    this.#position = 0;
    this.#resync = false;
    this.#partial = [];
    yield { kind: "head", head };
  }

  *#packets(page: OggPage): Generator<OpusEvent> {
    const continued = (page.flags & CONTINUED) !== 0;
    if (continued !== this.#partial.length > 0) {
      // While resynchronizing, the loss of the part has already been reported by the break.
      if (!this.#resync) yield* this.#break(page.offset, "a packet that lacks a part");
      this.#partial = [];
    }
    const whole = this.#wholePackets(page, continued);
    const isLast = (page.flags & END_OF_STREAM) !== 0;
    let samplesLeft = whole.reduce((sum, packet) => sum + (packet.samples ?? 0), 0);
    for (const { data, samples } of whole) {
      if (samples === null) {
        yield* this.#break(page.offset, "a packet that is not valid Opus");
        continue;
      }
      if (this.#resync && page.granulePosition !== NO_GRANULE) {
        this.#position = Math.max(this.#position, page.granulePosition - samplesLeft);
        this.#resync = false;
      }
      this.#position += samples;
      samplesLeft -= samples;
      const surplus = isLast && page.granulePosition >= 0
        ? this.#position - page.granulePosition
        : 0;
      if (surplus >= samples) continue; // the packet is all padding
      const trimSamples = Math.max(0, surplus);
      yield {
        kind: "packet",
        packet: { data, samples, endPosition: this.#position, trimSamples },
      };
    }
  }

  /** The packets that end on this page, without headers; `samples` is null for an invalid packet. */
  #wholePackets(page: OggPage, continued: boolean): { data: Uint8Array; samples: number | null }[] {
    const whole: { data: Uint8Array; samples: number | null }[] = [];
    for (const [index, piece] of packetPieces(page).entries()) {
      // The end of a packet whose beginning was lost. The loss has been reported as a break.
      if (index === 0 && continued && this.#partial.length === 0) continue;
      this.#partial.push(piece.data);
      if (!piece.complete) continue;
      const data = concatBytes(this.#partial);
      this.#partial = [];
      const isHeader = this.#headerPackets < 2 && startsWith(data, "OpusTags");
      this.#headerPackets++;
      if (!isHeader) whole.push({ data, samples: packetSamples(data) });
    }
    return whole;
  }

  *#break(offset: number, reason: string): Generator<OpusEvent> {
    this.#resync = true;
    this.#partial = [];
    yield { kind: "break", offset, reason };
  }
}

function startsWith(bytes: Uint8Array, text: string): boolean {
  return bytes.length >= text.length &&
    [...text].every((character, index) => bytes[index] === character.charCodeAt(0));
}
