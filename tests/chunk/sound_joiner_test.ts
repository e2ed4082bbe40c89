// The silence that takes the place of missing sound: what its packets are, and how exactly it is as long.

import { assert, assertEquals } from "@std/assert";
import { PREROLL_SAMPLES } from "../../src/chunk/chunker.ts";
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
  const part = {
    fromSample: 0,
    toSample: 50 * 960 - 312,
    isJoined: false,
    continuesPreroll: false,
  };
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
  const cases = [{ packetBytes: 40, expected: [50, 40] }, {
    packetBytes: 1275,
    expected: [42, 42, 6],
  }];
  for (const { packetBytes, expected } of cases) {
    const random = seededRandom(5);
    const packets = Array.from({ length: 90 }, () => makePacket(packetBytes, random));
    const chunk = join(...makeStreamPages(packets));
    const joiner = new SoundJoiner({ serial: 1, vendor: "test", comments: {} });
    const part = {
      fromSample: 0,
      toSample: 90 * 960 - 312,
      isJoined: false,
      continuesPreroll: false,
    };
    const pages = [...joiner.add(chunk, part), ...joiner.end()].slice(1);
    const counts = pages.map((page) => {
      const [found] = new OggPageReader().push(page);
      assert(found?.kind === "page");
      return found.segments.filter((lacing) => lacing < 255).length;
    });
    assertEquals(counts, expected, `packets of ${packetBytes} bytes`);
  }
});

/** A chunk of 60 packets, each of which holds its number. */
function numberedChunk() {
  const packets = Array.from({ length: 60 }, (_, index) => new Uint8Array([SOUND_TOC, index]));
  return join(...makeStreamPages(packets));
}

/** The numbers of the packets of a stream ("-": silence), and its length. */
function numbersOf(pages: readonly Uint8Array[]) {
  const reader = new OpusStreamReader();
  const events = [...reader.push(join(...pages)), ...reader.end()];
  const [head] = events;
  assert(head?.kind === "head");
  const packets = events.filter((event) => event.kind === "packet").map(({ packet }) => packet);
  const [page] = new OggPageReader().push(pages.at(-1) ?? new Uint8Array(0));
  assert(page?.kind === "page");
  return {
    preSkip: head.head.preSkip,
    numbers: packets.map(({ data }) => data[0] === SOUND_TOC ? data[1] : "-"),
    samples: page.granulePosition - head.head.preSkip,
    trimSamples: packets.at(-1)?.trimSamples ?? 0,
  };
}

Deno.test("a part that begins and ends with a packet has the packets in it, those of its warm-up, and no other", () => {
  const chunk = numberedChunk();
  const part = (from: number, to: number) => ({
    fromSample: from * 960 - 312,
    toSample: to * 960 - 312,
    isJoined: false,
    continuesPreroll: false,
  });
  const joiner = new SoundJoiner({ serial: 1, vendor: "test", comments: {} });
  const pages = [
    ...joiner.add(chunk, part(50, 54)),
    ...joiner.add(chunk, part(56, 58)),
    ...joiner.end(),
  ];
  const { preSkip, numbers, samples } = numbersOf(pages);
  assertEquals(numbers, [...Array.from({ length: 52 }, (_, index) => index + 2), 56, 57]);
  assertEquals([preSkip, samples], [PREROLL_SAMPLES, 6 * 960]);
});

Deno.test("a file without a header, and a part without packets, add nothing", () => {
  const chunk = numberedChunk();
  const joiner = new SoundJoiner({ serial: 1, vendor: "test", comments: {} });
  const whole = {
    fromSample: 0,
    toSample: 60 * 960 - 312,
    isJoined: false,
    continuesPreroll: false,
  };
  const beyond = {
    fromSample: 200 * 960,
    toSample: 201 * 960,
    isJoined: false,
    continuesPreroll: false,
  };
  assertEquals([...joiner.end()], []);
  assertEquals([...joiner.add(new Uint8Array(100), whole)], []);
  assertEquals([...joiner.add(chunk, beyond)], []);
  assertEquals(joiner.samples, 0);
  const pages = [...joiner.add(chunk, whole), ...joiner.end()];
  assertEquals(numbersOf(pages).numbers, Array.from({ length: 60 }, (_, index) => index));
  assertEquals(joiner.samples, whole.toSample);
});

Deno.test("a stream that begins with silence is heard from its first sample on", () => {
  const joiner = new SoundJoiner({ serial: 1, vendor: "test", comments: {} });
  const pages = [...joiner.silence(4800, HEAD), ...joiner.end()];
  const { preSkip, numbers, samples } = numbersOf(pages);
  assertEquals([preSkip, samples], [0, 4800]);
  assertEquals(numbers, Array(5).fill("-"));
});

Deno.test("the pre-roll of a part is heard in place of silence, as much of it as there is, if it was heard there", () => {
  const chunk = numberedChunk();
  const part = (from: number, to: number) => ({
    fromSample: from * 960 - 312,
    toSample: to * 960 - 312,
    isJoined: false,
    continuesPreroll: true,
  });
  const numbers = (from: number, to: number) =>
    Array.from({ length: to - from }, (_, index) => from + index);
  const joinedAfter = (hole: number, more: { continuesPreroll?: boolean } = {}) => {
    const joiner = new SoundJoiner({ serial: 1, vendor: "test", comments: {} });
    const pages = [
      ...joiner.add(chunk, part(0, 2)),
      ...joiner.silence(hole, HEAD),
      ...joiner.add(chunk, { ...part(55, 57), ...more }),
      ...joiner.end(),
    ];
    const { samples, numbers } = numbersOf(pages);
    assertEquals(samples, 4 * 960 + hole, `${hole}`);
    assertEquals(joiner.samples, samples);
    return numbers.slice(2);
  };
  const silence = (packets: number) => Array(packets).fill("-");
  assertEquals(joinedAfter(100 * 960), [...silence(52), ...numbers(7, 57)]);
  assertEquals(joinedAfter(48 * 960), numbers(7, 57));
  assertEquals(joinedAfter(5 * 960 + 480), ["-", ...numbers(50, 57)]);
  assertEquals(joinedAfter(480), ["-", 55, 56]);
  assertEquals(joinedAfter(0), [55, 56]);
  assertEquals(joinedAfter(5 * 960, { continuesPreroll: false }), [...silence(5), 55, 56]);
});

Deno.test("streams that join without missing sound lose none of it, and the length is that of the file", () => {
  const chunk = numberedChunk();
  const joiner = new SoundJoiner({ serial: 1, vendor: "test", comments: {} });
  const pages: Uint8Array[] = [];
  // Ten packets each, of the last of which 500 samples are padding.
  const part = { isJoined: false, continuesPreroll: false, fromSample: 0, toSample: 9600 - 812 };
  for (let count = 0; count < 12; count++) pages.push(...joiner.add(chunk, part));
  pages.push(...joiner.end());
  const { samples, trimSamples } = numbersOf(pages);
  assertEquals(trimSamples, 500);
  assertEquals(samples, 12 * 9600 - 812);
  assertEquals(joiner.samples, samples);
});

Deno.test("the end is cut to the sample, within the padding of the last packet, however the silence was rounded", () => {
  const chunk = numberedChunk();
  const part = {
    isJoined: false,
    continuesPreroll: false,
    fromSample: 0,
    toSample: 50 * 960 + 1 - 312,
  };
  for (let hole = 6000; hole < 6120; hole += 7) {
    const joiner = new SoundJoiner({ serial: 1, vendor: "test", comments: {} });
    const pages = [
      ...joiner.add(chunk, part),
      ...joiner.silence(hole, HEAD),
      ...joiner.add(chunk, part),
      ...joiner.end(),
    ];
    const { samples, trimSamples } = numbersOf(pages);
    assertEquals(joiner.samples, samples, `${hole}`);
    const offset = samples - (2 * part.toSample + hole);
    assert(Math.abs(offset) <= 60, `${hole}: ${offset}`);
    assert(trimSamples < 960, `${hole}: ${trimSamples} of the last packet are cut off`);
    assert(offset === 0 || trimSamples === 959, `${hole}: ${trimSamples}`);
  }
});
