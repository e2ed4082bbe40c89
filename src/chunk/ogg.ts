// Ogg pages (RFC 3533): reads pages from a byte stream and makes new ones. Pure: it never touches files
// or processes, and does not interpret the packets in the pages (opus.ts does).

import { concatBytes } from "../system/concat_bytes.ts";

/** Flags of a page's header_type byte (RFC 3533, section 6). */
export const CONTINUED = 0x01;
export const BEGIN_OF_STREAM = 0x02;
export const END_OF_STREAM = 0x04;

/** Granule position of a page on which no packet ends (RFC 3533, section 6: -1). */
export const NO_GRANULE = -1;

/** The largest packet that fits into one page: 255 segments, the last one not full. */
export const MAX_PAGE_PACKET_BYTES = 255 * 255 - 1;

const HEADER_BYTES = 27;
const CAPTURE_PATTERN = [0x4f, 0x67, 0x67, 0x53]; // "OggS"

export interface OggPage {
  readonly kind: "page";
  /** Byte offset of the page's first byte in the stream. */
  readonly offset: number;
  readonly byteLength: number;
  readonly flags: number;
  /** In the codec's own unit (Opus: samples at 48 kHz), or NO_GRANULE. */
  readonly granulePosition: number;
  readonly serial: number;
  readonly sequence: number;
  /** Lacing values, one per segment. */
  readonly segments: Uint8Array;
  readonly body: Uint8Array;
}

/** Bytes that are not a valid page, found in the search for the next page. */
export interface OggDamage {
  readonly kind: "damage";
  readonly offset: number;
  readonly sizeBytes: number;
  readonly reason: string;
}

const CRC_TABLE = Uint32Array.from({ length: 256 }, (_, index) => {
  let value = index << 24;
  for (let bit = 0; bit < 8; bit++) value = (value << 1) ^ (value & 0x80000000 ? 0x04c11db7 : 0);
  return value >>> 0;
});

/** The CRC of RFC 3533, section 6: polynomial 0x04c11db7, start 0, no reflection. */
export function oggCrc(bytes: Uint8Array, start = 0): number {
  let crc = start;
  for (let i = 0; i < bytes.length; i++) {
    const index = ((crc >>> 24) ^ (bytes[i] ?? 0)) & 0xff;
    crc = (crc << 8) ^ (CRC_TABLE[index] ?? 0);
  }
  return crc >>> 0;
}

function pageCrc(page: Uint8Array): number {
  const beforeCrc = oggCrc(page.subarray(0, 22));
  return oggCrc(page.subarray(26), oggCrc(new Uint8Array(4), beforeCrc));
}

export interface PageContent {
  flags: number;
  granulePosition: number;
  serial: number;
  sequence: number;
  /** Whole packets; together at most 255 segments (see {@linkcode segmentCount}). */
  packets: readonly Uint8Array[];
}

/** How many of a page's 255 segments a packet of this size takes. */
export function segmentCount(packetBytes: number): number {
  return Math.floor(packetBytes / 255) + 1;
}

/**
 * One page holding whole packets, with its CRC (RFC 3533, section 6).
 * @throws {RangeError} if the packets need more than 255 segments.
 */
export function encodePage(content: PageContent): Uint8Array {
  const segments = content.packets.reduce((sum, packet) => sum + segmentCount(packet.length), 0);
  if (segments > 255) {
    throw new RangeError(`Cannot encode page as it must have <= 255 segments: it has ${segments}`);
  }
  const bodyBytes = content.packets.reduce((sum, packet) => sum + packet.length, 0);
  const page = new Uint8Array(HEADER_BYTES + segments + bodyBytes);
  const view = new DataView(page.buffer);
  page.set(CAPTURE_PATTERN);
  page[5] = content.flags;
  view.setBigInt64(6, BigInt(content.granulePosition), true);
  view.setUint32(14, content.serial, true);
  view.setUint32(18, content.sequence, true);
  page[26] = segments;
  let lacing = HEADER_BYTES;
  let body = HEADER_BYTES + segments;
  for (const packet of content.packets) {
    const full = Math.floor(packet.length / 255);
    page.fill(255, lacing, lacing + full);
    page[lacing + full] = packet.length % 255;
    lacing += full + 1;
    page.set(packet, body);
    body += packet.length;
  }
  view.setUint32(22, pageCrc(page), true);
  return page;
}

/** The same page with other flags and a new CRC. */
export function withFlags(page: Uint8Array, flags: number): Uint8Array {
  const copy = page.slice();
  copy[5] = flags;
  new DataView(copy.buffer).setUint32(22, pageCrc(copy), true);
  return copy;
}

/**
 * Reads pages from bytes that arrive in pieces of any size. Bytes that are not a page (no capture
 * pattern, wrong version, wrong CRC) are skipped up to the next page and reported once, with their offset.
 */
export class OggPageReader {
  #buffer: Uint8Array = new Uint8Array(0);
  #bufferOffset = 0;
  #damage: { offset: number; reason: string } | null = null;

  /** The pages and the stretches of damage that are complete with these bytes. */
  *push(bytes: Uint8Array): Generator<OggPage | OggDamage> {
    this.#buffer = concatBytes([this.#buffer, bytes]);
    let position = 0;
    while (true) {
      const found = this.#findPattern(position);
      if (found > position) this.#markDamage(position, "no page starts here");
      position = found;
      const page = pageAt(this.#buffer, position, this.#bufferOffset);
      if (page === "incomplete") break;
      if (typeof page === "string") {
        this.#markDamage(position, page);
        position += 1;
        continue;
      }
      const damage = this.#takeDamage(page.offset);
      if (damage !== null) yield damage;
      yield page;
      position += page.byteLength;
    }
    this.#buffer = this.#buffer.slice(position);
    this.#bufferOffset += position;
  }

  /**
   * To be called when the stream has ended. Returns the damage up to its end, and the pages in it if a
   * header announced a longer page than arrived.
   */
  *end(): Generator<OggPage | OggDamage> {
    while (this.#buffer.length > 0) {
      this.#markDamage(0, "the stream ends inside a page");
      this.#buffer = this.#buffer.subarray(1);
      this.#bufferOffset += 1;
      yield* this.push(new Uint8Array(0));
    }
    const damage = this.#takeDamage(this.#bufferOffset);
    if (damage !== null) yield damage;
  }

  #markDamage(position: number, reason: string): void {
    this.#damage ??= { offset: this.#bufferOffset + position, reason };
  }

  #takeDamage(end: number): OggDamage | null {
    if (this.#damage === null) return null;
    const { offset, reason } = this.#damage;
    this.#damage = null;
    return { kind: "damage", offset, sizeBytes: end - offset, reason };
  }

  /** Where the next capture pattern starts, or where an incomplete one may start. */
  #findPattern(from: number): number {
    const buffer = this.#buffer;
    for (let at = from; at < buffer.length; at++) {
      let matched = 0;
      while (
        matched < 4 && at + matched < buffer.length &&
        buffer[at + matched] === CAPTURE_PATTERN[matched]
      ) matched++;
      if (matched === 4 || at + matched === buffer.length) return at;
    }
    return buffer.length;
  }
}

/** A page in bytes of a stream, or why there is none. */
export type FoundPage = OggPage | "incomplete" | "no page" | "wrong version" | "wrong CRC";

/**
 * The page that begins at `position` of the buffer. "incomplete": it may begin there, but ends behind the buffer.
 * @param bufferOffset where the buffer begins in the stream.
 */
export function pageAt(buffer: Uint8Array, position: number, bufferOffset: number): FoundPage {
  const header = buffer.subarray(position, position + HEADER_BYTES);
  if (CAPTURE_PATTERN.some((byte, at) => at < header.length && header[at] !== byte)) {
    return "no page";
  }
  if (header.length < HEADER_BYTES) return "incomplete";
  if (header[4] !== 0) return "wrong version";
  const segmentsEnd = position + HEADER_BYTES + (header[26] ?? 0);
  if (segmentsEnd > buffer.length) return "incomplete";
  const segments = buffer.subarray(position + HEADER_BYTES, segmentsEnd);
  const end = segments.reduce((sum, lacing) => sum + lacing, segmentsEnd);
  if (end > buffer.length) return "incomplete";
  const bytes = buffer.subarray(position, end);
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  if (view.getUint32(22, true) !== pageCrc(bytes)) return "wrong CRC";
  return {
    kind: "page",
    offset: bufferOffset + position,
    byteLength: bytes.length,
    flags: header[5] ?? 0,
    granulePosition: toGranule(view.getBigInt64(6, true)),
    serial: view.getUint32(14, true),
    sequence: view.getUint32(18, true),
    segments,
    body: buffer.subarray(segmentsEnd, end),
  };
}

/** NO_GRANULE for a position that a number cannot represent exactly (5,900 years at 48 kHz). */
function toGranule(value: bigint): number {
  const granule = Number(value);
  return Number.isSafeInteger(granule) ? granule : NO_GRANULE;
}

/** A piece of a packet as one page holds it. */
export interface PacketPiece {
  readonly data: Uint8Array;
  /** False if the packet continues on the next page. */
  readonly complete: boolean;
}

/** The packets, and pieces of packets, of one page, in order (RFC 3533, section 5). */
export function packetPieces(page: OggPage): PacketPiece[] {
  const pieces: PacketPiece[] = [];
  let start = 0;
  let end = 0;
  for (const lacing of page.segments) {
    end += lacing;
    if (lacing < 255) {
      pieces.push({ data: page.body.subarray(start, end), complete: true });
      start = end;
    }
  }
  if (page.segments.at(-1) === 255) {
    pieces.push({ data: page.body.subarray(start, end), complete: false });
  }
  return pieces;
}
