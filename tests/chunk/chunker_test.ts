import { assert, assertEquals, assertLessOrEqual } from "@std/assert";
import { cutToLastPage } from "../../src/chunk/chunk_file.ts";
import {
  Chunker,
  type ChunkEvent,
  PAGE_PACKETS,
  PREROLL_SAMPLES,
} from "../../src/chunk/chunker.ts";
import {
  BEGIN_OF_STREAM,
  END_OF_STREAM,
  type OggPage,
  OggPageReader,
} from "../../src/chunk/ogg.ts";
import {
  type OpusHead,
  type OpusPacket,
  OpusStreamReader,
  parseOpusHead,
  parseOpusTags,
} from "../../src/chunk/opus.ts";
import { fixCrc, join, makePacket, makeStreamPages } from "../fixtures/ogg_stream.ts";
import { seededRandom } from "../fixtures/random.ts";

const SECOND = 48_000;
const HEAD: OpusHead = { channels: 1, preSkip: 312, inputSampleRate: SECOND };

interface CutChunk {
  startSample: number;
  endSample: number;
  /** The pieces in the order in which they would reach the disk. */
  pieces: Uint8Array[];
  bytes: Uint8Array;
}

/** Collects the output of a Chunker, and asserts the order open, append …, close. */
class Files {
  readonly chunks: CutChunk[] = [];
  #open: { startSample: number; pieces: Uint8Array[] } | null = null;

  apply(events: ChunkEvent[]): void {
    for (const event of events) {
      if (event.kind === "open") {
        assertEquals(this.#open, null);
        this.#open = { startSample: event.startSample, pieces: [event.bytes] };
        continue;
      }
      assert(this.#open !== null);
      this.#open.pieces.push(event.bytes);
      if (event.kind === "append") continue;
      const bytes = join(...this.#open.pieces);
      this.chunks.push({ ...this.#open, endSample: event.endSample, bytes });
      this.#open = null;
    }
  }
}

function makeChunker(chunkSamples = SECOND, head = HEAD): Chunker {
  let serial = 0;
  return new Chunker(head, {
    chunkSamples,
    identify: (startSample) => ({
      key: `key ${serial}`,
      serial: ++serial,
      vendor: "test",
      comments: { STREAM_SAMPLE: String(startSample) },
    }),
  });
}

/** Consecutive packets of 20 ms, as the reader delivers them. */
function somePackets(count: number, options: { trimSamples?: number; sizeBytes?: number } = {}) {
  const random = seededRandom(3);
  return Array.from({ length: count }, (_, index): OpusPacket => ({
    data: makePacket(options.sizeBytes ?? 30 + Math.floor(random() * 60), random),
    samples: 960,
    endPosition: (index + 1) * 960,
    trimSamples: index === count - 1 ? options.trimSamples ?? 0 : 0,
  }));
}

function cutAll(packets: OpusPacket[], chunker = makeChunker()): CutChunk[] {
  const files = new Files();
  for (const packet of packets) files.apply(chunker.push(packet));
  files.apply(chunker.cut());
  return files.chunks;
}

/** The pages of a chunk; the first two are headers. Asserts what must be true of every chunk. */
function pagesOf(bytes: Uint8Array): { head: OpusHead; audio: OggPage[] } {
  const reader = new OggPageReader();
  const pages = [...reader.push(bytes), ...reader.end()].filter((found) => {
    assertEquals(found.kind, "page");
    return found.kind === "page";
  });
  const [headPage, tagsPage, ...audio] = pages;
  const head = headPage && parseOpusHead(headPage.body);
  assert(head && tagsPage && parseOpusTags(tagsPage.body) !== null);
  assertEquals([headPage.granulePosition, tagsPage.granulePosition], [0, 0]);
  for (const [index, page] of pages.entries()) {
    assertEquals([page.sequence, page.serial], [index, headPage.serial]);
    const begin = index === 0 ? BEGIN_OF_STREAM : 0;
    assertEquals(page.flags, begin | (index === pages.length - 1 ? END_OF_STREAM : 0));
  }
  assert(audio.length > 0);
  return { head, audio };
}

/** The packets that a reader finds in a chunk. */
function packetsOf(bytes: Uint8Array): OpusPacket[] {
  const reader = new OpusStreamReader();
  const events = [...reader.push(bytes), ...reader.end()];
  assertEquals(events.filter(({ kind }) => kind === "break"), []);
  return events.filter((event) => event.kind === "packet").map(({ packet }) => packet);
}

Deno.test("Chunker cuts a stream into files whose samples are contiguous", () => {
  const packets = somePackets(125, { trimSamples: 100 });
  const chunks = cutAll(packets);
  const spans = chunks.map(({ startSample, endSample }) => [startSample, endSample]);
  assertEquals(spans, [
    [0, 50 * 960 - 312],
    [50 * 960 - 312, 100 * 960 - 312],
    [100 * 960 - 312, 125 * 960 - 100 - 312],
  ]);
  const inTurn = [packets.slice(0, 50), packets.slice(2, 100), packets.slice(52)];
  for (const [index, { startSample, endSample, bytes }] of chunks.entries()) {
    const { head, audio } = pagesOf(bytes);
    assertEquals(head, { ...HEAD, preSkip: index === 0 ? 312 : PREROLL_SAMPLES });
    assertEquals((audio.at(-1)?.granulePosition ?? 0) - head.preSkip, endSample - startSample);
    const found = packetsOf(bytes);
    assertEquals(found.map(({ data }) => data), inTurn[index]?.map(({ data }) => data));
    assertEquals(found.at(-1)?.trimSamples, index === 2 ? 100 : 0);
  }
});

Deno.test("Chunker gives each page the granule position of its last packet and at most 400 ms", () => {
  for (const { bytes, startSample } of cutAll(somePackets(300), makeChunker(4 * SECOND))) {
    let samples = 0;
    for (const [index, { granulePosition, segments }] of pagesOf(bytes).audio.entries()) {
      samples += segments.filter((lacing) => lacing < 255).length * 960;
      assertEquals(granulePosition, samples);
      if (index > 0 || startSample === 0) assertLessOrEqual(segments.length, PAGE_PACKETS);
    }
  }
});

Deno.test("The pre-roll and the first two packets of a chunk are on one page", () => {
  const [first, second] = cutAll(somePackets(300), makeChunker(4 * SECOND));
  assert(first && second);
  const packetsOn = ({ bytes }: CutChunk) =>
    pagesOf(bytes).audio.map(({ segments }) => segments.filter((lacing) => lacing < 255).length);
  assertEquals(packetsOn(first).slice(0, 2), [20, 20]); // it has no pre-roll
  assertEquals(packetsOn(second).slice(0, 3), [50, 18, 20]);
});

Deno.test("The first page of a chunk is written as soon as a third packet of its own has come", () => {
  const chunker = makeChunker();
  const kinds = somePackets(56).map((packet) => chunker.push(packet).map(({ kind }) => kind));
  assertEquals(kinds.slice(50), [["open"], [], ["append"], [], [], []]);
});

Deno.test("Chunker writes whole pages, so that a file is whole after each write", () => {
  for (const { pieces } of cutAll(somePackets(125))) {
    for (const piece of pieces) {
      const reader = new OggPageReader();
      assert([...reader.push(piece)].every(({ kind }) => kind === "page"));
      assertEquals([...reader.end()], []);
    }
  }
});

Deno.test("Chunker closes a chunk with the packet that fills it, without waiting for the next", () => {
  const chunker = makeChunker();
  const kinds = somePackets(51).map((packet) => chunker.push(packet).map(({ kind }) => kind));
  assertEquals(kinds[0], ["open"]);
  assertEquals(kinds[PAGE_PACKETS], ["append"]);
  assertEquals(kinds[49], ["close"]);
  assertEquals(kinds[50], ["open"]);
});

Deno.test("cut() ends the chunk early, and the next one continues without a gap", () => {
  const packets = somePackets(40);
  const [files, chunker] = [new Files(), makeChunker()];
  for (const packet of packets.slice(0, 10)) files.apply(chunker.push(packet));
  files.apply(chunker.cut());
  assertEquals(chunker.cut(), []);
  for (const packet of packets.slice(10)) files.apply(chunker.push(packet));
  files.apply(chunker.cut());
  const [first, second] = files.chunks;
  assert(first && second);
  assertEquals([first.endSample, second.startSample], [9600 - 312, 9600 - 312]);
  // There were only ten packets: all of them, with their pre-skip, become pre-roll.
  assertEquals(pagesOf(second.bytes).head.preSkip, 9600);
  assertEquals(packetsOf(second.bytes).length, 40);
});

Deno.test("cut({ lost: true }) starts the next chunk without pre-roll, at its position in the stream", () => {
  const packets = somePackets(100);
  const [files, chunker] = [new Files(), makeChunker()];
  for (const packet of packets.slice(0, 30)) files.apply(chunker.push(packet));
  files.apply(chunker.cut({ lost: true }));
  for (const packet of packets.slice(40, 60)) files.apply(chunker.push(packet));
  files.apply(chunker.cut());
  const [first, second] = files.chunks;
  assert(first && second);
  assertEquals(first.endSample, 30 * 960 - 312);
  assertEquals([second.startSample, second.endSample], [40 * 960 - 312, 60 * 960 - 312]);
  assertEquals(pagesOf(second.bytes).head.preSkip, 0);
  const expected = packets.slice(40, 60).map(({ data }) => data);
  assertEquals(packetsOf(second.bytes).map(({ data }) => data), expected);
});

Deno.test("The pre-skip of a stream is skipped even where it continues in a second chunk", () => {
  const head = { ...HEAD, preSkip: 3840 };
  const packets = somePackets(50);
  for (const lost of [false, true]) {
    const [files, chunker] = [new Files(), makeChunker(SECOND, head)];
    for (const packet of packets.slice(0, 2)) files.apply(chunker.push(packet));
    files.apply(chunker.cut({ lost }));
    for (const packet of packets.slice(2)) files.apply(chunker.push(packet));
    files.apply(chunker.cut());
    const [first, second] = files.chunks;
    assert(first && second);
    assert(first.endSample <= first.startSample, "none of it is audible");
    assertEquals([second.startSample, second.endSample], [0, 50 * 960 - 3840]);
    assertEquals(pagesOf(second.bytes).head.preSkip, lost ? 1920 : 3840);
  }
});

Deno.test("A stream that ends with the last packet of a chunk starts no further chunk", () => {
  const chunker = makeChunker();
  const files = new Files();
  for (const packet of somePackets(100)) files.apply(chunker.push(packet));
  assertEquals(chunker.cut(), []);
  assertEquals(files.chunks.length, 2);
  assertEquals(makeChunker().cut(), []);
});

Deno.test("A chunk that is only padding reports that it holds no sound", () => {
  for (const trimSamples of [959, 960]) {
    const last = cutAll(somePackets(51, { trimSamples })).at(-1);
    assert(last !== undefined);
    assertEquals(last.endSample - last.startSample, 960 - trimSamples);
  }
  const [short] = cutAll(somePackets(1, { trimSamples: 800 })); // less than the stream's pre-skip
  assert(short !== undefined && short.endSample <= short.startSample);
});

Deno.test("Packets of every length and size fit: neither the pages nor the pre-skip overflow", () => {
  const random = seededRandom(4);
  const configs = [[0x00, 480], [0x08, 960], [0x10, 1920], [0x18, 2880], [0x1b, 5760]] as const;
  for (const [toc, samples] of configs) {
    for (const sizeBytes of [2, 1275, 65_024]) {
      if (sizeBytes > 1275 && samples < 5760) continue; // large packets only once: they are slow
      const count = Math.ceil(3 * SECOND / samples);
      const packets = Array.from({ length: count }, (_, index): OpusPacket => {
        const data = makePacket(sizeBytes, random);
        data[0] = toc;
        data[1] = 2; // two frames, if the configuration has a frame count
        return { data, samples, endPosition: (index + 1) * samples, trimSamples: 0 };
      });
      const chunks = cutAll(packets, makeChunker(2 * SECOND));
      assertEquals(chunks.at(-1)?.endSample, count * samples - 312);
      for (const { bytes, startSample, endSample } of chunks) {
        assertLessOrEqual(endSample - startSample, 2 * SECOND);
        const { head, audio } = pagesOf(bytes);
        const heard = (audio.at(-1)?.granulePosition ?? 0) - head.preSkip;
        assertEquals(heard, endSample - startSample);
        if (startSample === 0) continue;
        assert(head.preSkip >= PREROLL_SAMPLES && head.preSkip < PREROLL_SAMPLES + samples);
      }
    }
  }
});

Deno.test("The chunks of a stream are whole, however its bytes are damaged", () => {
  const random = seededRandom(20260731);
  const below = (limit: number) => Math.floor(random() * limit);
  const packets = Array.from({ length: 40 }, () => makePacket(1 + below(300), random));
  const streams = [1, 7].map((perPage) => makeStreamPages(packets, { perPage, trimSamples: 648 }));
  let chunkCount = 0;
  let breakCount = 0;
  for (let round = 0; round < 100; round++) {
    const pages = (streams[round % 2] ?? []).map((page) => page.slice());
    for (let mutations = 1 + below(4); mutations > 0; mutations--) {
      const index = below(pages.length);
      const page = pages[index] ?? new Uint8Array(0);
      const kind = below(6);
      if (kind === 0) page[below(page.length)] = below(256); // damage, which the CRC shows
      if ((kind === 1 || kind === 2) && page.length > 27) {
        // Damage in the header or after it, which the CRC does not show.
        page[kind === 1 ? 4 + below(23) : 27 + below(page.length - 27)] = below(256);
        fixCrc(page);
      }
      if (kind === 3) pages.splice(index, 1 + below(3));
      if (kind === 4) pages.splice(index, 0, pages[below(pages.length)] ?? page);
      if (kind === 5) pages[index] = page.subarray(0, below(page.length));
    }
    const bytes = join(...pages);
    const reader = new OpusStreamReader();
    const at = below(bytes.length);
    const events = [
      ...reader.push(bytes.subarray(0, at)),
      ...reader.push(bytes.subarray(at)),
      ...reader.end(),
    ];
    const files = new Files();
    let chunker: Chunker | null = null;
    for (const event of events) {
      if (event.kind === "head") {
        files.apply(chunker?.cut() ?? []);
        chunker = makeChunker(9600, event.head);
      } else if (event.kind === "packet") {
        files.apply(chunker?.push(event.packet) ?? []);
      } else {
        breakCount++;
        files.apply(chunker?.cut({ lost: true }) ?? []);
      }
    }
    files.apply(chunker?.cut() ?? []);
    chunkCount += files.chunks.length;
    for (const chunk of files.chunks) {
      const { head, audio } = pagesOf(chunk.bytes);
      const heard = (audio.at(-1)?.granulePosition ?? 0) - head.preSkip;
      assertEquals(heard, chunk.endSample - chunk.startSample, `round ${round}`);
      if (heard > 0) packetsOf(chunk.bytes);
    }
  }
  assert(chunkCount > 400 && breakCount > 250, `${chunkCount} chunks, ${breakCount} breaks`);
});

Deno.test("all packets but the last of each read are on the disk, in every chunk: a kill costs no more", () => {
  let bytes = new Uint8Array(0);
  const chunker = new Chunker({ channels: 1, preSkip: 0, inputSampleRate: 48_000 }, {
    chunkSamples: 200 * 960,
    identify: () => ({ key: crypto.randomUUID(), serial: 1, vendor: "test", comments: {} }),
  });
  for (let read = 0; read < 40; read++) {
    const events = Array.from({ length: 20 }, (_, index) => {
      const endPosition = (read * 20 + index + 1) * 960;
      const data = new Uint8Array(60).fill(0xf8, 0, 1);
      return chunker.push({ data, samples: 960, endPosition, trimSamples: 0 });
    }).flat();
    for (const event of [...events, ...chunker.flush()]) {
      bytes = new Uint8Array([...event.kind === "open" ? [] : bytes, ...event.bytes]);
    }
    const heard = (read % 10 + 1) * 20 * 960;
    assert((cutToLastPage(bytes)?.samples ?? 0) >= heard - 960, `read ${read}`);
  }
});

Deno.test("a shorter first chunk moves every seam, and no sample is missing", () => {
  const packets = somePackets(170);
  const chunker = new Chunker(HEAD, {
    chunkSamples: SECOND,
    firstSamples: 0.3 * SECOND,
    identify: (startSample) => ({
      key: String(startSample),
      serial: startSample + 1,
      vendor: "test",
      comments: {},
    }),
  });
  const chunks = cutAll(packets, chunker);
  const lengths = chunks.map(({ startSample, endSample }) => endSample - startSample);
  assertEquals(lengths.slice(1, -1), lengths.slice(1, -1).map(() => SECOND));
  assertEquals(lengths[0], 0.3 * SECOND - HEAD.preSkip);
  for (const [index, { startSample }] of chunks.entries()) {
    assertEquals(startSample, index === 0 ? 0 : chunks[index - 1]?.endSample);
  }
  assertEquals(chunks.at(-1)?.endSample, 170 * 960 - HEAD.preSkip);
});
