// One second of silence as a chunk, made without ffmpeg, to test whether the server accepts chunks.

import { concatBytes } from "../system/concat_bytes.ts";
import { BEGIN_OF_STREAM, encodePage, END_OF_STREAM } from "../chunk/ogg.ts";
import { encodeOpusHead, encodeOpusTags, OPUS_RATE } from "../chunk/opus.ts";
import type { ChunkName } from "../chunk/chunk_name.ts";
import { VERSION } from "../system/version.ts";

/** 20 ms of silence: a mono CELT frame of the full band (RFC 6716, section 3.1). */
const SILENCE = new Uint8Array([0xf8, 0xff, 0xfe]);

/** The chunk that ended at `unixMs`; `comments` become its tags. */
export function silentChunk(
  comments: Readonly<Record<string, string>>,
  unixMs: number,
): { name: ChunkName; bytes: Uint8Array<ArrayBuffer> } {
  const serial = 1;
  const head = encodeOpusHead({ channels: 1, preSkip: 0, inputSampleRate: OPUS_RATE });
  const page = (sequence: number, flags: number, granulePosition: number, packets: Uint8Array[]) =>
    encodePage({ flags, granulePosition, serial, sequence, packets });
  const bytes = new Uint8Array(concatBytes([
    page(0, BEGIN_OF_STREAM, 0, [head]),
    page(1, 0, 0, [encodeOpusTags(`recorder-agent ${VERSION}`, comments)]),
    page(2, END_OF_STREAM, OPUS_RATE, Array(50).fill(SILENCE)),
  ]));
  const name = {
    startUnixUs: Math.round((unixMs - 1000) * 1000),
    durationUs: 1_000_000,
    key: crypto.randomUUID(),
  };
  return { name, bytes };
}
