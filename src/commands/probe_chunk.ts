// Chunks that are made without ffmpeg, to test whether a server accepts them: one second of silence, or noise
// of any length. It sends nothing.

import { BEGIN_OF_STREAM, encodePage, END_OF_STREAM } from "../chunk/ogg.ts";
import { encodeOpusHead, encodeOpusTags, OPUS_RATE } from "../chunk/opus.ts";
import type { ChunkName } from "../chunk/chunk_name.ts";
import { concatBytes } from "../system/concat_bytes.ts";
import { VERSION } from "../system/version.ts";

/** 20 ms of silence: a mono CELT frame of the full band (RFC 6716, section 3.1). */
const SILENCE = new Uint8Array([0xf8, 0xff, 0xfe]);
/** Packets of 20 ms in a second. */
const PACKETS = 50;

type Tags = Readonly<Record<string, string>>;

/** The chunk that ended at `unixMs`; `comments` become its tags. */
export function silentChunk(
  comments: Tags,
  unixMs: number,
): { name: ChunkName; bytes: Uint8Array<ArrayBuffer> } {
  const name = {
    startUnixUs: Math.round((unixMs - 1000) * 1000),
    durationUs: 1_000_000,
    key: crypto.randomUUID(),
  };
  return { name, bytes: encode(`recorder-agent ${VERSION}`, comments, 1, () => SILENCE) };
}

/** A chunk of packets that a decoder takes, of this size each; what it plays is noise. */
export function noisyChunk(
  comments: Tags,
  { seconds, packetBytes }: { seconds: number; packetBytes: number },
): Uint8Array<ArrayBuffer> {
  return encode(`recorder-agent ${VERSION} conform`, comments, seconds, () => {
    const packet = crypto.getRandomValues(new Uint8Array(packetBytes));
    packet[0] = SILENCE[0] ?? 0;
    return packet;
  });
}

/** A page for each second, and one for what is left. */
function encode(
  vendor: string,
  comments: Tags,
  seconds: number,
  makePacket: () => Uint8Array,
): Uint8Array<ArrayBuffer> {
  const head = encodeOpusHead({ channels: 1, preSkip: 0, inputSampleRate: OPUS_RATE });
  const page = (sequence: number, flags: number, granulePosition: number, packets: Uint8Array[]) =>
    encodePage({ flags, granulePosition, serial: 1, sequence, packets });
  const pages = [
    page(0, BEGIN_OF_STREAM, 0, [head]),
    page(1, 0, 0, [encodeOpusTags(vendor, comments)]),
  ];
  const all = Math.round(seconds * PACKETS);
  for (let before = 0; before < all; before += PACKETS) {
    const length = Math.min(PACKETS, all - before);
    const end = before + length;
    const flags = end === all ? END_OF_STREAM : 0;
    const packets = Array.from({ length }, makePacket);
    pages.push(page(pages.length, flags, end * OPUS_RATE / PACKETS, packets));
  }
  return new Uint8Array(concatBytes(pages));
}
