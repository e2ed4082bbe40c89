// Parses a chunk file: its header and tags, its number of samples, and how much of it is intact. Pure:
// it takes bytes and never opens a file.

import { concatBytes } from "../system/concat_bytes.ts";
import {
  encodePage,
  END_OF_STREAM,
  NO_GRANULE,
  type OggPage,
  OggPageReader,
  withFlags,
} from "./ogg.ts";
import {
  encodeOpusTags,
  OPUS_RATE,
  type OpusHead,
  parseOpusHead,
  parseOpusTags,
  parseOpusVendor,
} from "./opus.ts";

/** The header pages of a chunk are within this many bytes. */
const HEADER_READ_BYTES = 16_384;

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
  try {
    const packet = encodeOpusTags(parseOpusVendor(body), tags, body.length);
    const page = encodePage({ flags, serial, sequence, granulePosition, packets: [packet] });
    return page.length === byteLength ? concatBytes([file.subarray(0, offset), page]) : null;
  } catch (error) {
    if (error instanceof RangeError) return null;
    throw error;
  }
}

/**
 * The header pages of a chunk whose tags were being replaced when the power failed: the second page has
 * bytes of both. Its sound is whole, so the page gets a correct CRC, with its tags if they can still be
 * read. Null if the header is not damaged in this way.
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
  const tags = parseOpusTags(repaired.subarray(segmentsEnd));
  if (tags !== null) return repaired;
  repaired.set(encodeOpusTags("", substitute, end - segmentsEnd), segmentsEnd);
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
  const pages = wholePages(file);
  const [first] = pages;
  const last = pages.at(-1);
  const head = first && parseOpusHead(first.body);
  if (last === undefined) return isTorn(file) ? NO_SOUND : null;
  if (!head) return null;
  if (pages.length < 3 || last.granulePosition === NO_GRANULE) return NO_SOUND;
  const samples = last.granulePosition - head.preSkip;
  if (samples <= 0) return NO_SOUND;
  const end = last.offset + last.byteLength;
  const bytes = file.slice(0, end);
  bytes.set(withFlags(file.subarray(last.offset, end), last.flags | END_OF_STREAM), last.offset);
  return { bytes, samples };
}

const NO_SOUND: WholeChunk = { bytes: new Uint8Array(0), samples: 0 };

/** Whether the first page is incomplete, or the file is all zeros after a power cut. */
function isTorn(file: Uint8Array): boolean {
  return file.length < 27 + 1 + 19 || file.every((byte) => byte === 0);
}

/** The duration of samples at 48 kHz, microseconds. */
export function samplesToUs(samples: number): number {
  return Math.round(samples / OPUS_RATE * 1e6);
}
