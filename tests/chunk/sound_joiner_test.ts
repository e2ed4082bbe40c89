// The silence that takes the place of missing sound: what its packets are, and how exactly it is as long.

import { assert, assertEquals } from "@std/assert";
import { OggPageReader } from "../../src/chunk/ogg.ts";
import { type OpusHead, type OpusPacket, OpusStreamReader } from "../../src/chunk/opus.ts";
import { SoundJoiner } from "../../src/chunk/sound_joiner.ts";
import { join, makePacket, makeStreamPages } from "../fixtures/ogg_stream.ts";
import { seededRandom } from "../fixtures/random.ts";

const HEAD: OpusHead = { channels: 1, preSkip: 312, inputSampleRate: 48_000 };
/** The first byte of the fixture's packets. */
const SOUND_TOC = 0x08;

/** The packets of a second of sound, a hole of so many samples, and another second. */
function joinedAround(hole: number): OpusPacket[] {
  const random = seededRandom(5);
  const packets = Array.from({ length: 50 }, () => makePacket(40, random));
  const chunk = join(...makeStreamPages(packets));
  const joiner = new SoundJoiner({ serial: 1, vendor: "test", comments: {} });
  const part = { fromSample: 0, toSample: 50 * 960 - 312, isJoined: false };
  const pages = [
    ...joiner.add(chunk, part),
    ...joiner.silence(hole, HEAD),
    ...joiner.add(chunk, part),
    ...joiner.end(),
  ];
  const reader = new OpusStreamReader();
  const events = [...reader.push(join(...pages)), ...reader.end()];
  return events.filter((event) => event.kind === "packet").map(({ packet }) => packet);
}

Deno.test("what is missing becomes packets of digital silence, the longest first", () => {
  // The second part is joined with its pre-skip, which takes the place of as much silence.
  const silent = joinedAround(5 * 960 + 480 + 240 + 120 + 312)
    .filter(({ data }) => data[0] !== SOUND_TOC);
  // All bits of the frame's flag "silence" are set (RFC 6716, section 4.3).
  assertEquals(
    silent.map(({ data }) => [...data]),
    [...Array(5).fill(0xf8), 0xf0, 0xe8, 0xe0].map((toc) => [toc, 0xff, 0xfe]),
  );
  assertEquals(silent.map(({ samples }) => samples), [...Array(5).fill(960), 480, 240, 120]);
});

Deno.test("silence is as long as what is missing, to 1.25 ms", () => {
  for (let hole = 5000; hole < 5240; hole += 7) {
    const sound = joinedAround(hole).filter(({ data }) => data[0] === SOUND_TOC);
    const offset = (sound[50]?.endPosition ?? 0) - 960 - 48_000 - (hole - 312);
    assert(Math.abs(offset) <= 60, `${hole}: ${offset}`);
  }
});

Deno.test("a page of joined sound holds a second, and less where its packets are large", () => {
  for (const [packetBytes, most] of [[40, 50], [1275, 42]] as const) {
    const random = seededRandom(5);
    const packets = Array.from({ length: 120 }, () => makePacket(packetBytes, random));
    const chunk = join(...makeStreamPages(packets));
    const joiner = new SoundJoiner({ serial: 1, vendor: "test", comments: {} });
    const part = { fromSample: 0, toSample: 120 * 960 - 312, isJoined: false };
    const pages = [...joiner.add(chunk, part), ...joiner.end()].slice(1);
    const counts = pages.map((page) => {
      const [found] = new OggPageReader().push(page);
      assert(found?.kind === "page");
      return found.segments.filter((lacing) => lacing < 255).length;
    });
    assertEquals(counts, [most, most, 120 - 2 * most], `packets of ${packetBytes} bytes`);
  }
});
