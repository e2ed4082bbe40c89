// Sound that can be identified: every packet carries its number, counted over all streams of a run.
// The sound goes through the real cutter; files, and what has reached the server, are read with the real
// page reader and identified by these numbers.

import { OggPageReader } from "../../src/chunk/ogg.ts";
import { cutToLastPage, readChunkHeader, samplesToUs } from "../../src/chunk/chunk_file.ts";
import type { OpusPacket } from "../../src/chunk/opus.ts";

export const PACKET_MS = 20;
const PACKET_SAMPLES = 960;
/** The TOC of one 20 ms SILK frame, then the number. */
const HEADER_BYTES = 5;

/** Packet `number` of the run, the `position`th of its stream, from 1. */
export function numberedPacket(
  number: number,
  position: number,
  random: () => number,
): OpusPacket {
  const data = new Uint8Array(HEADER_BYTES + Math.floor(random() * 12));
  data[0] = 0x08;
  new DataView(data.buffer).setUint32(1, number);
  data.fill(Math.floor(random() * 256), HEADER_BYTES);
  return { data, samples: PACKET_SAMPLES, endPosition: position * PACKET_SAMPLES, trimSamples: 0 };
}

/** The audible content of a chunk file. */
export interface Sound {
  /** Its CHUNK_ID, which is its key. */
  readonly key: string;
  /** Numbers of the audible packets: without pre-roll. */
  readonly packets: readonly number[];
  readonly durationUs: number;
  /** Whether the file is a whole chunk, to the last byte. */
  readonly isWhole: boolean;
}

/** Null if it holds no sound; for a truncated file, the content up to its last whole page. */
export function readSound(file: Uint8Array): Sound | null {
  const whole = cutToLastPage(file);
  const header = whole === null ? null : readChunkHeader(whole.bytes);
  if (whole === null || header === null) return null;
  const packets: number[] = [];
  let endSample = 0;
  for (const page of new OggPageReader().push(whole.bytes)) {
    if (page.kind === "damage") throw new Error(`damage in a file that was cut: ${page.reason}`);
    if (page.sequence < 2) continue;
    let at = page.body.byteOffset;
    for (const length of page.segments) {
      endSample += PACKET_SAMPLES;
      const number = new DataView(page.body.buffer, at, length).getUint32(1);
      if (endSample > header.head.preSkip) packets.push(number);
      at += length;
    }
  }
  return {
    key: header.tags["CHUNK_ID"] ?? "",
    packets,
    durationUs: samplesToUs(whole.samples),
    isWhole: whole.bytes.length === file.length &&
      whole.bytes.every((byte, at) => byte === file[at]),
  };
}
