// Finds defects in the file of a chunk. It is stricter than any player: every byte must be correct.

import {
  BEGIN_OF_STREAM,
  END_OF_STREAM,
  type OggPage,
  OggPageReader,
  packetPieces,
} from "../../src/chunk/ogg.ts";
import { packetSamples, parseOpusHead, parseOpusTags } from "../../src/chunk/opus.ts";

/**
 * The first defect of the file, or null if it is exactly one whole Ogg/Opus stream: no missing pages, no
 * torn end, no wrong CRC, whole packets, one beginning and one end, and granule positions that match the
 * packets (RFC 7845, section 4; the last page may have end trimming).
 */
export function objectionTo(file: Uint8Array): string | null {
  const pages: OggPage[] = [];
  const reader = new OggPageReader();
  for (const found of [...reader.push(file), ...reader.end()]) {
    if (found.kind === "damage") return `${found.reason} at byte ${found.offset}`;
    pages.push(found);
  }
  const [headPage, tagsPage, ...soundPages] = pages;
  const head = headPage && parseOpusHead(headPage.body);
  if (!head) return "no OpusHead";
  if (!tagsPage || parseOpusTags(tagsPage.body)?.["CHUNK_ID"] === undefined) return "no OpusTags";
  if (soundPages.length === 0) return "no sound";
  let granule = 0;
  for (const [index, page] of pages.entries()) {
    const isLast = index === pages.length - 1;
    const flags = index === 0 ? BEGIN_OF_STREAM : isLast ? END_OF_STREAM : 0;
    if (page.flags !== flags) return `page ${index} has the flags ${page.flags}`;
    if (page.sequence !== index) return `page ${index} is numbered ${page.sequence}`;
    if (page.serial !== headPage?.serial) return `page ${index} is of another stream`;
    for (const { data, complete } of packetPieces(page)) {
      if (!complete) return `page ${index} ends inside a packet`;
      if (index < 2) continue;
      const samples = packetSamples(data);
      if (samples === null) return `page ${index} has an invalid Opus packet`;
      granule += samples;
    }
    const trimmed = granule - page.granulePosition;
    if (isLast ? trimmed < 0 || trimmed >= 960 : trimmed !== 0) {
      return `page ${index} ends at ${page.granulePosition} and not at ${granule}`;
    }
  }
  return granule > head.preSkip ? null : "no sound after the pre-skip";
}
