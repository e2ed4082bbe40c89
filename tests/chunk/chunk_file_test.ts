import { assert, assertEquals, assertLessOrEqual } from "@std/assert";
import {
  cutToLastPage,
  MAX_CHUNK_BYTES,
  readChunkHeader,
  repairedHeader,
  samplesToUs,
  WholePartFinder,
  withTags,
} from "../../src/chunk/chunk_file.ts";
import { formatChunkTags } from "../../src/chunk/chunk_tags.ts";
import { PAGE_PACKETS, PREROLL_SAMPLES } from "../../src/chunk/chunker.ts";
import { encodePage, END_OF_STREAM, type OggPage, OggPageReader } from "../../src/chunk/ogg.ts";
import { OpusStreamReader } from "../../src/chunk/opus.ts";
import {
  join,
  lacing,
  makeHead,
  makePacket,
  makePage,
  makeStreamPages,
  makeTags,
  type PageFields,
} from "../fixtures/ogg_stream.ts";
import { makeSecondChunk } from "../fixtures/second_chunk.ts";
import { seededRandom } from "../fixtures/random.ts";

const TAGS = { POINT_ID: "p", STREAM_SAMPLE: "47688" };

function pagesIn(file: Uint8Array): OggPage[] {
  return [...new OggPageReader().push(file)].filter((found) => found.kind === "page");
}

/** Asserts that these bytes are a whole chunk with this many samples, from begin to end of stream. */
function assertWhole(bytes: Uint8Array, samples: number, what: string): void {
  const reader = new OpusStreamReader();
  const events = [...reader.push(bytes), ...reader.end()];
  assertEquals(events[0]?.kind, "head", what);
  assertEquals(events.filter(({ kind }) => kind === "break"), [], what);
  assertEquals((events.length - 1) * 960 - PREROLL_SAMPLES, samples, what);
  const flags = pagesIn(bytes).map((page) => page.flags);
  assertEquals(flags.at(-1), END_OF_STREAM, what);
  assertEquals(flags.filter((flag) => (flag & END_OF_STREAM) !== 0).length, 1, what);
}

/** The number of whole packets in the first bytes of a file, whether their page is whole or not. */
function wholePackets(pages: OggPage[], sizeBytes: number): number {
  let count = 0;
  for (const page of pages.slice(2)) {
    let end = page.offset + 27 + page.segments.length;
    for (const lacing of page.segments) if ((end += lacing) <= sizeBytes) count++;
  }
  return count;
}

Deno.test("a chunk may be as large as an hour at 256 kbit/s with a third for peaks, and little larger", () => {
  const bytes = 3600 * 256_000 / 8;
  assert(MAX_CHUNK_BYTES > 1.3 * bytes, `${MAX_CHUNK_BYTES}`);
  assert(MAX_CHUNK_BYTES < 1.5 * bytes, `${MAX_CHUNK_BYTES}: a chunk is read as a whole`);
});

Deno.test("readChunkHeader() reads head and tags from the beginning of a file", () => {
  const chunk = makeSecondChunk(TAGS);
  const expected = {
    head: { channels: 1, preSkip: PREROLL_SAMPLES, inputSampleRate: 16_000 },
    tags: TAGS,
  };
  assertEquals(readChunkHeader(chunk), expected);
  const [, tagsPage] = pagesIn(chunk);
  const headerBytes = (tagsPage?.offset ?? 0) + (tagsPage?.byteLength ?? 0);
  assertEquals(readChunkHeader(chunk.subarray(0, headerBytes)), expected);
  for (let size = 0; size < headerBytes; size++) {
    assertEquals(readChunkHeader(chunk.subarray(0, size)), null);
  }
  const damaged = chunk.slice();
  damaged[60] = (damaged[60] ?? 0) ^ 1;
  assertEquals(readChunkHeader(damaged), null);
});

Deno.test("a header is the first two pages of one stream, in sequence, with nothing between them", () => {
  const [head, tags] = [makeHead(), makeTags()];
  const headPage = makePage({ flags: 2, serial: 7, segments: lacing([head]), body: head });
  const tagsPage = (fields: PageFields) =>
    makePage({ serial: 7, sequence: 1, segments: lacing([tags]), body: tags, ...fields });
  const whole = join(headPage, tagsPage({}));
  assert(readChunkHeader(whole) !== null && withTags(whole, {}) !== null);
  const others = {
    "a page is missing": join(headPage, tagsPage({ sequence: 2 })),
    "a page comes twice": join(headPage, tagsPage({ sequence: 0 })),
    "another stream": join(headPage, tagsPage({ serial: 8 })),
    "begins later": join(tagsPage({}), tagsPage({ sequence: 2 })),
    "garbage in between": join(headPage, new Uint8Array(10), tagsPage({})),
  };
  for (const [what, file] of Object.entries(others)) {
    assertEquals([readChunkHeader(file), withTags(file, {})], [null, null], what);
  }
});

Deno.test("cutToLastPage() makes a whole chunk of a file cut off at any byte, losing at most a page", () => {
  const chunk = makeSecondChunk(TAGS);
  const pages = pagesIn(chunk);
  const sounds = new Set<number>();
  for (let size = 0; size <= chunk.length; size++) {
    const whole = cutToLastPage(chunk.subarray(0, size));
    assert(whole !== null, `${size} bytes`);
    const lostPackets = wholePackets(pages, size) - (whole.samples + PREROLL_SAMPLES) / 960;
    if (whole.samples === 0) {
      assertEquals(whole.bytes.length, 0);
      // Only the pre-roll and the packets of an incomplete page.
      assertLessOrEqual(wholePackets(pages, size), PREROLL_SAMPLES / 960 + PAGE_PACKETS);
      continue;
    }
    assert(lostPackets >= 0 && lostPackets <= PAGE_PACKETS, `${lostPackets} of ${size} bytes`);
    if (!sounds.has(whole.samples)) assertWhole(whole.bytes, whole.samples, `${size} bytes`);
    sounds.add(whole.samples);
  }
  assertEquals([...sounds], [50, 68, 88, 98].map((packets) => packets * 960 - PREROLL_SAMPLES));
  assertEquals(cutToLastPage(chunk)?.bytes, chunk);
});

Deno.test("cutToLastPage() cuts off the zeros and the garbage that a power cut leaves at the end", () => {
  const chunk = makeSecondChunk(TAGS);
  const fourth = pagesIn(chunk)[4]?.offset ?? 0; // two pages of sound precede it
  const tails = [
    new Uint8Array(4096),
    new TextEncoder().encode("OggS"),
    new Uint8Array(70_000).fill(255),
    chunk.subarray(0, 600), // an old block: the beginning of another file
    // A page of another file, with the number that is next here.
    makeStreamPages([makePacket(30, seededRandom(1))], { serial: 8 })[2] ?? new Uint8Array(0),
    new Uint8Array([...chunk.subarray(fourth, fourth + 100), ...new Uint8Array(900)]),
  ];
  for (const [index, tail] of tails.entries()) {
    const whole = cutToLastPage(join(chunk.subarray(0, fourth), tail));
    assertEquals(whole?.samples, 68 * 960 - PREROLL_SAMPLES, `tail ${index}`);
    assertWhole(whole?.bytes ?? tail, 68 * 960 - PREROLL_SAMPLES, `tail ${index}`);
  }
});

Deno.test("cutToLastPage() does not accept a page of another file, even if its number fits", () => {
  const random = seededRandom(6);
  const packets = Array.from({ length: 4 }, () => makePacket(40, random));
  const [ours, theirs] = [7, 8].map((serial) => makeStreamPages(packets, { serial }));
  assert(ours && theirs);
  const whole = cutToLastPage(join(...ours.slice(0, 4), ...theirs.slice(4)));
  assertEquals(whole?.samples, 2 * 960 - 312);
});

Deno.test("cutToLastPage() keeps everything before a flipped byte, wherever that byte is", () => {
  const chunk = makeSecondChunk(TAGS);
  const pages = pagesIn(chunk);
  for (let at = 0; at < chunk.length; at++) {
    const damaged = chunk.slice();
    damaged[at] = (damaged[at] ?? 0) ^ 0x10;
    const whole = cutToLastPage(damaged);
    const intact = pages.filter(({ offset, byteLength }) => offset + byteLength <= at).slice(2);
    const packets = intact.reduce((sum, { segments }) => sum + segments.length, 0);
    const first = pages[0]?.byteLength ?? 0;
    // With a damaged header it is not a recording of this program: the caller keeps it, set aside.
    if (at < first) assertEquals(whole, null, `byte ${at}`);
    else assertEquals(whole?.samples, Math.max(0, packets * 960 - PREROLL_SAMPLES), `byte ${at}`);
  }
});

Deno.test("cutToLastPage() finds no sound if none was written, and returns null if it is not a recording", () => {
  const nothing = { bytes: new Uint8Array(0), samples: 0 };
  assertEquals(cutToLastPage(new Uint8Array(0)), nothing);
  assertEquals(cutToLastPage(new Uint8Array(100_000)), nothing);
  const [head, tags, sound] = makeStreamPages([makePacket(40, seededRandom(1))]);
  assert(head && tags && sound);
  assertEquals(cutToLastPage(join(head, new Uint8Array(4000))), nothing);
  assertEquals(cutToLastPage(join(head, tags)), nothing);
  const preSkipOnly = makeStreamPages([makePacket(40, seededRandom(1))], { preSkip: 960 });
  assertEquals(cutToLastPage(join(...preSkipOnly)), nothing);
  assertEquals(cutToLastPage(join(tags, sound)), null);
  assertEquals(cutToLastPage(new TextEncoder().encode("a text of some length, ".repeat(9))), null);
  const headless = makeStreamPages([]);
  headless[0]?.set(makeTags().subarray(0, 8), 28); // OpusTags where OpusHead belongs
  assertEquals(cutToLastPage(join(...headless, makeHead())), null);
});

Deno.test("samplesToUs() rounds to whole microseconds", () => {
  assertEquals(samplesToUs(48_000 * 3600), 3600e6);
  assertEquals([samplesToUs(0), samplesToUs(1), samplesToUs(312)], [0, 21, 6500]);
});

Deno.test("withTags() replaces the tags of a chunk, and nothing else changes, not even its length", () => {
  const chunk = makeSecondChunk(TAGS);
  const tags = { ...TAGS, STREAM_SAMPLE: "4768800", START: "2026-11-23T18:45:00.123456Z" };
  const header = withTags(chunk, tags);
  assert(header !== null);
  const changed = join(header, chunk.subarray(header.length));
  assertEquals(changed.length, chunk.length);
  assertEquals(readChunkHeader(changed)?.tags, tags);
  assertEquals(readChunkHeader(changed)?.head, readChunkHeader(chunk)?.head);
  assertEquals(pagesIn(changed).slice(2), pagesIn(chunk).slice(2));
  assertWhole(changed, 50 * 960, "with other tags");
  assertEquals(withTags(join(header), tags), header, "it needs only the header");
  assertEquals(withTags(chunk, { LONG: "x".repeat(1000) }), null, "there is no room for that");
  assertEquals(withTags(new Uint8Array(100), tags), null);
});

Deno.test("a header whose tags were being replaced when the power failed is repaired, whatever was written", () => {
  const before = makeSecondChunk(TAGS);
  const header = withTags(before, { START: "2026-11-23T18:45:00.123456Z", ...TAGS });
  assert(header !== null);
  let repairs = 0;
  for (let size = 0; size <= header.length; size++) {
    const torn = join(header.subarray(0, size), before.subarray(size));
    const repaired = repairedHeader(torn, { CHUNK_ID: "key" });
    if (repaired !== null) {
      torn.set(repaired);
      repairs++;
      assertEquals(pagesIn(torn)[1]?.flags, 0);
    }
    assertEquals(cutToLastPage(torn)?.samples, 50 * 960, `${size} bytes of the new header`);
    assert(readChunkHeader(torn) !== null);
  }
  assert(repairs > 50, `${repairs}`);
});

Deno.test("a repaired header says which chunk of which stream it is, wherever the power failed in it", () => {
  const place = {
    ...{ chunkId: "key", streamId: "stream", streamSample: 47_688, startUnixUs: 1.77e15 },
    ...{ previousChunkId: "before", gapBeforeMs: 0, gapCause: null, waitingFromUs: null },
  };
  const opened = { DEVICE_ID: "d", ...formatChunkTags({ ...place, isClockSynchronized: false }) };
  const closed = {
    DEVICE_ID: "d",
    ...formatChunkTags({ ...place, isClockSynchronized: true, waitingFromUs: 1.76e15 }),
  };
  const before = makeSecondChunk(opened);
  const header = withTags(before, closed);
  assert(header !== null);
  let unreadable = 0;
  for (let size = 0; size <= header.length; size++) {
    const torn = join(header.subarray(0, size), before.subarray(size));
    const repaired = repairedHeader(torn, { CHUNK_ID: "key" });
    if (repaired !== null) torn.set(repaired);
    const { CHUNK_ID, DEVICE_ID, STREAM_ID, STREAM_SAMPLE, PREVIOUS_CHUNK_ID } =
      readChunkHeader(torn)?.tags ?? {};
    const found = [CHUNK_ID, DEVICE_ID, STREAM_ID, STREAM_SAMPLE];
    assertEquals(found, ["key", "d", "stream", "47688"], `${size} bytes of the new header`);
    if (PREVIOUS_CHUNK_ID === undefined) unreadable++;
  }
  assert(unreadable > 10, `${unreadable}`);
});

Deno.test("repairedHeader() leaves alone what is whole, and what is damaged otherwise", () => {
  const chunk = makeSecondChunk(TAGS);
  assertEquals(repairedHeader(chunk, {}), null);
  assertEquals(repairedHeader(new Uint8Array(5000), {}), null);
  assertEquals(repairedHeader(chunk.subarray(0, 80), {}), null);
  const noHead = chunk.slice();
  noHead[30] = (noHead[30] ?? 0) ^ 1;
  assertEquals(repairedHeader(noHead, {}), null);
  const pages = makeStreamPages([makePacket(60, seededRandom(1))], { perPage: 1 });
  const narrow = join(...pages);
  const tags = narrow.findIndex((_, at) => narrow[at] === 0x54 && narrow[at + 1] === 0x61); // "Ta"
  narrow[tags] = 0;
  assertEquals(repairedHeader(narrow, { CHUNK_ID: crypto.randomUUID() }), null, "no room");
});

Deno.test("the whole part of a file is the same in pieces of any size, whatever is damaged", () => {
  const random = seededRandom(11);
  const packets = Array.from({ length: 40 }, () => makePacket(60, random));
  const pages = makeStreamPages(packets, { perPage: 4, preSkip: 312 });
  const whole = new Uint8Array(pages.flatMap((page) => [...page]));
  for (let round = 0; round < 80; round++) {
    const file = whole.slice(0, Math.floor(random() * (whole.length + 1)));
    if (round % 2 === 1 && file.length > 0) {
      const at = Math.floor(random() * file.length);
      file[at] = (file[at] ?? 0) ^ 0x55;
    }
    const found = [file.length, 1, 7, 300].map((size) => {
      const finder = new WholePartFinder();
      for (let at = 0; at < file.length; at += size) {
        if (!finder.push(file.subarray(at, at + size))) break;
      }
      return finder.result;
    });
    for (const result of found) assertEquals(result, found[0], `round ${round}`);
    // As another reader of the format sees it.
    const good = [...new OggPageReader().push(file)];
    const damaged = good.findIndex(({ kind }) => kind === "damage");
    const last = (damaged < 0 ? good : good.slice(0, damaged)).at(-1);
    if ((found[0]?.samples ?? 0) > 0 && last?.kind === "page") {
      assertEquals(found[0]?.sizeBytes, last.offset + last.byteLength, `round ${round}`);
    }
  }
});

Deno.test("a file of countless tiny pages is read no further than a chunk has pages", () => {
  const finder = new WholePartFinder();
  const header = makeStreamPages([makePacket(60, seededRandom(1))], { perPage: 1, preSkip: 312 });
  for (const page of header.slice(0, 2)) assert(finder.push(page));
  let pages = 2;
  const tiny = (sequence: number) =>
    encodePage({
      flags: 0,
      granulePosition: 960 * sequence,
      serial: serialOf(header),
      sequence,
      packets: [],
    });
  // Many at once, as they are read from a disk.
  const block = () => join(...Array.from({ length: 500 }, () => tiny(pages++)));
  while (pages < 400_000 && finder.push(block()));
  assert(pages > 180_000 && pages < 181_000, `${pages} pages`);
});

function serialOf([first]: readonly Uint8Array[]): number {
  const view = new DataView((first ?? new Uint8Array(18)).slice().buffer);
  return view.getUint32(14, true);
}
