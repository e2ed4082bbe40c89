// Parses a chunk file: its header and tags, its number of samples, and how much of it is intact. Pure:
// it takes bytes and never opens a file.

import { MAX_BITRATE_KBPS, MAX_CHUNK_SECONDS } from "../config/keys.ts";
import { concatBytes } from "../system/concat_bytes.ts";
import {
  encodePage,
  END_OF_STREAM,
  NO_GRANULE,
  type OggPage,
  OggPageReader,
  pageAt,
  withFlags,
} from "./ogg.ts";
import {
  encodeOpusTags,
  OPUS_RATE,
  type OpusHead,
  paddedTo,
  parseOpusHead,
  parseOpusTags,
  parseOpusVendor,
  readableOpusTags,
} from "./opus.ts";

/** The header pages of a chunk are within this many bytes. */
export const HEADER_READ_BYTES = 16_384;

export interface ChunkHeader {
  readonly head: OpusHead;
  /** Comments by upper-case name: POINT_ID, REGISTER_ID, DEVICE_ID, STREAM_SAMPLE, ... */
  readonly tags: Readonly<Record<string, string>>;
}

/** The header and tags; null if the file does not begin like a chunk of this program. */
export function readChunkHeader(file: Uint8Array): ChunkHeader | null {
  const [headPage, tagsPage] = wholePages(file.subarray(0, HEADER_READ_BYTES));
  const head = headPage && parseOpusHead(headPage.body);
  const tags = tagsPage && parseOpusTags(tagsPage.body);
  return head && tags ? { head, tags } : null;
}

/**
 * The header pages of a chunk with other tags, as long as they were: to be written over them.
 * @param file the chunk, or its first two pages.
 * @returns null if the file does not begin like a chunk, or if the tags do not fit.
 */
export function withTags(
  file: Uint8Array,
  tags: Readonly<Record<string, string>>,
): Uint8Array | null {
  const [headPage, tagsPage] = wholePages(file.subarray(0, HEADER_READ_BYTES));
  if (headPage === undefined || tagsPage === undefined) return null;
  const { offset, byteLength, flags, serial, sequence, granulePosition, body } = tagsPage;
  const packet = paddedTo(body.length, encodeOpusTags(parseOpusVendor(body), tags));
  if (packet === null) return null;
  const page = encodePage({ flags, serial, sequence, granulePosition, packets: [packet] });
  return page.length === byteLength ? concatBytes([file.subarray(0, offset), page]) : null;
}

/**
 * The header pages of a chunk whose tags were being replaced when the power failed: the second page has
 * bytes of both. Its sound is whole, so the page gets a correct CRC, with its tags as far as they can still be
 * read, and the substitute if that is not all. Null if the header is not damaged in this way, or has no room for
 * the substitute.
 */
export function repairedHeader(
  file: Uint8Array,
  substitute: Readonly<Record<string, string>>,
): Uint8Array | null {
  const pages = wholePages(file.subarray(0, HEADER_READ_BYTES));
  const [headPage] = pages;
  if (pages.length !== 1 || headPage === undefined) return null;
  const start = headPage.byteLength;
  const segmentsEnd = start + 27 + (file[start + 26] ?? 0);
  const end = file.subarray(start + 27, segmentsEnd).reduce((sum, n) => sum + n, segmentsEnd);
  const isNextPage = new TextDecoder().decode(file.subarray(end, end + 4)) === "OggS";
  if (!isNextPage || end > HEADER_READ_BYTES) return null;
  const repaired = file.slice(0, end);
  repaired.set(withFlags(repaired.subarray(start), 0), start);
  if (wholePages(repaired).length !== 2) return null;
  if (parseOpusTags(repaired.subarray(segmentsEnd)) !== null) return repaired;
  const readable = readableOpusTags(repaired.subarray(segmentsEnd));
  const tags = [{ ...readable, ...substitute }, substitute]
    .map((comments) => paddedTo(end - segmentsEnd, encodeOpusTags("", comments)))
    .find((packet) => packet !== null) ?? null;
  if (tags === null) return null; // too short to be the page of this program
  repaired.set(tags, segmentsEnd);
  repaired.set(withFlags(repaired.subarray(start), 0), start);
  return repaired;
}

/** The pages up to the first one that is torn, damaged, out of sequence or of another stream. */
function wholePages(file: Uint8Array): OggPage[] {
  const pages: OggPage[] = [];
  for (const found of new OggPageReader().push(file)) {
    if (found.kind === "damage" || found.sequence !== pages.length) break;
    if (found.serial !== (pages[0] ?? found).serial) break;
    pages.push(found);
  }
  return pages;
}

/** A file is read in blocks of this size, bytes: larger than a page. */
export const BLOCK_BYTES = 65_536;
/** More than the largest chunk: an hour at 256 kbit/s with a third for peaks, pages and pre-roll. */
export const MAX_CHUNK_BYTES = MAX_CHUNK_SECONDS * MAX_BITRATE_KBPS * 1000 / 8 * 4 / 3;
/** A chunk has no more pages than packets of 20 ms. */
const MAX_PAGES = MAX_CHUNK_SECONDS * 50 + 100;

/** Where the intact part of a chunk file ends. */
export interface WholePart {
  /** Audible length, without the pre-skip: samples at 48 kHz; 0: no sound, and no other field is of use. */
  readonly samples: number;
  /** Bytes up to the end of the last whole page. */
  readonly sizeBytes: number;
  /** Where the last whole page begins. */
  readonly lastPageOffset: number;
}

const NO_SOUND: WholePart = { samples: 0, sizeBytes: 0, lastPageOffset: 0 };

/**
 * Finds the intact part of a chunk file that arrives in pieces, with the memory of one page. It stops at the
 * first page that is torn, damaged, out of sequence or of another stream.
 */
export class WholePartFinder {
  #rest: Uint8Array = new Uint8Array(0);
  #restOffset = 0;
  #isAllZeros = true;
  #pages = 0;
  #serial = 0;
  #head: OpusHead | null = null;
  #last: Pick<OggPage, "offset" | "byteLength" | "granulePosition"> | null = null;
  #isOver = false;

  /** Takes the next bytes. False: the bytes behind them do not matter. */
  push(bytes: Uint8Array): boolean {
    this.#isAllZeros &&= isAllZeros(bytes);
    if (!this.#isOver) {
      const buffer = concatBytes([this.#rest, bytes]);
      const read = this.#readPages(buffer);
      this.#rest = buffer.slice(read);
      this.#restOffset += read;
    }
    return !this.#isOver || this.#isAllZeros;
  }

  /** Null if the file does not begin with an Opus header, and is not just torn or empty. */
  get result(): WholePart | null {
    const last = this.#last;
    if (last === null) {
      const isTorn = !this.#isOver && this.#rest.length < SMALLEST_FIRST_PAGE;
      return isTorn || this.#isAllZeros ? NO_SOUND : null;
    }
    if (this.#head === null) return null;
    if (this.#pages < 3 || last.granulePosition === NO_GRANULE) return NO_SOUND;
    const samples = last.granulePosition - this.#head.preSkip;
    if (samples <= 0) return NO_SOUND;
    return {
      samples,
      sizeBytes: last.offset + last.byteLength,
      lastPageOffset: last.offset,
    };
  }

  /** Returns how many bytes belong to whole pages. */
  #readPages(buffer: Uint8Array): number {
    let position = 0;
    while (true) {
      const page = pageAt(buffer, position, this.#restOffset);
      if (page === "incomplete") return position;
      if (typeof page === "string" || !this.#isNext(page)) break;
      if (this.#pages === 0) {
        this.#serial = page.serial;
        this.#head = parseOpusHead(page.body);
      }
      const { offset, byteLength, granulePosition } = page;
      this.#last = { offset, byteLength, granulePosition };
      this.#pages++;
      position += byteLength;
    }
    this.#isOver = true;
    return buffer.length;
  }

  #isNext({ sequence, serial }: OggPage): boolean {
    return sequence === this.#pages && this.#pages < MAX_PAGES &&
      (this.#pages === 0 || serial === this.#serial);
  }
}

/** A loop: a callback for each byte of a large file would take seconds. */
function isAllZeros(bytes: Uint8Array): boolean {
  for (let at = 0; at < bytes.length; at++) if (bytes[at] !== 0) return false;
  return true;
}

/** An Opus header in its page: 27 bytes, one segment, at least 19 bytes (RFC 7845, section 5.1). */
const SMALLEST_FIRST_PAGE = 27 + 1 + 19;

export interface WholeChunk {
  /** The file up to its last whole page; that page is marked as the end of the stream. */
  readonly bytes: Uint8Array;
  /** Audible length, without the pre-skip: samples at 48 kHz. */
  readonly samples: number;
}

/**
 * Cuts a file that was cut off anywhere back to its last whole page. Returns 0 samples and no bytes if
 * the file holds no sound yet, and null if it does not begin with an Opus header.
 */
export function cutToLastPage(file: Uint8Array): WholeChunk | null {
  const finder = new WholePartFinder();
  finder.push(file);
  const whole = finder.result;
  if (whole === null) return null;
  const bytes = file.slice(0, whole.sizeBytes);
  if (whole.samples > 0) {
    bytes.set(endOfStream(bytes.subarray(whole.lastPageOffset)), whole.lastPageOffset);
  }
  return { bytes, samples: whole.samples };
}

/** The same page, marked as the end of the stream. */
export function endOfStream(page: Uint8Array): Uint8Array {
  return withFlags(page, (page[5] ?? 0) | END_OF_STREAM);
}

/** The duration of samples at 48 kHz, microseconds. */
export function samplesToUs(samples: number): number {
  return Math.round(samples / OPUS_RATE * 1e6);
}
