import { assert, assertEquals, assertThrows } from "@std/assert";
import {
  BEGIN_OF_STREAM,
  encodePage,
  END_OF_STREAM,
  MAX_PAGE_PACKET_BYTES,
  NO_GRANULE,
  oggCrc,
  type OggDamage,
  type OggPage,
  OggPageReader,
  packetPieces,
  segmentCount,
  withFlags,
} from "../../src/chunk/ogg.ts";
import { fixCrc, join, lacing, makePage, makeStreamPages } from "../fixtures/ogg_stream.ts";
import { seededRandom } from "../fixtures/random.ts";
import { threadMs } from "../fixtures/thread_time.ts";

/** Everything that a reader finds when the bytes arrive in these pieces. */
function read(...pieces: Uint8Array[]): (OggPage | OggDamage)[] {
  const reader = new OggPageReader();
  return [...pieces.flatMap((piece) => [...reader.push(piece)]), ...reader.end()];
}

function damageIn(found: (OggPage | OggDamage)[]): OggDamage[] {
  return found.filter((item) => item.kind === "damage");
}

function sequencesIn(found: (OggPage | OggDamage)[]): number[] {
  return found.filter((item) => item.kind === "page").map(({ sequence }) => sequence);
}

/** Pages of four packets each, with the sizes that are edge cases of lacing. */
function somePages(): { packets: Uint8Array[]; bytes: Uint8Array }[] {
  const random = seededRandom(1);
  return [[0, 1, 254, 255], [256, 509, 510, 511], [60, 61, 62, 63]].map((sizes, sequence) => {
    const packets = sizes.map((size) => Uint8Array.from({ length: size }, () => random() * 256));
    const bytes = makePage({
      flags: sequence === 0 ? BEGIN_OF_STREAM : 0,
      granulePosition: sequence * 3840,
      serial: 0xfedcba98,
      sequence,
      segments: lacing(packets),
      body: join(...packets),
    });
    return { packets, bytes };
  });
}

Deno.test("oggCrc() computes the CRC of RFC 3533 and can continue from an earlier result", () => {
  const text = new TextEncoder().encode("123456789");
  assertEquals(oggCrc(text), 0x89a1897f); // the check value of POSIX cksum, inverted
  assertEquals(oggCrc(text.subarray(4), oggCrc(text.subarray(0, 4))), 0x89a1897f);
  assertEquals(oggCrc(new Uint8Array(0)), 0);
});

Deno.test("encodePage() writes a page byte for byte as RFC 3533 describes", () => {
  for (const [sequence, { packets, bytes }] of somePages().entries()) {
    const flags = sequence === 0 ? BEGIN_OF_STREAM : 0;
    const granulePosition = sequence * 3840;
    const page = encodePage({ flags, granulePosition, serial: 0xfedcba98, sequence, packets });
    assertEquals(page, bytes);
  }
});

Deno.test("encodePage() fills a page to its last byte and refuses one more", () => {
  const content = { flags: 0, granulePosition: NO_GRANULE, serial: 1, sequence: 0 };
  const largest = new Uint8Array(MAX_PAGE_PACKET_BYTES);
  assertEquals(segmentCount(largest.length), 255);
  const [page] = read(encodePage({ ...content, packets: [largest] }));
  assert(page?.kind === "page");
  assertEquals([page.granulePosition, page.body.length], [NO_GRANULE, MAX_PAGE_PACKET_BYTES]);
  const tooLarge = [new Uint8Array(MAX_PAGE_PACKET_BYTES + 1)];
  assertThrows(() => encodePage({ ...content, packets: tooLarge }), RangeError, "255 segments");
});

Deno.test("withFlags() changes only the flags and the CRC", () => {
  const [first] = somePages();
  assert(first !== undefined);
  const before = first.bytes.slice();
  const [page] = read(withFlags(first.bytes, END_OF_STREAM));
  const [same] = read(before);
  assert(page?.kind === "page" && same?.kind === "page");
  assertEquals({ ...page, flags: 0 }, { ...same, flags: 0 });
  assertEquals([page.flags, same.flags], [END_OF_STREAM, BEGIN_OF_STREAM]);
  assertEquals(first.bytes, before);
});

Deno.test("OggPageReader gives the same pages wherever the bytes are split", () => {
  const pages = somePages();
  const stream = join(...pages.map(({ bytes }) => bytes));
  const whole = read(stream);
  assertEquals(sequencesIn(whole), [0, 1, 2]);
  for (const [index, page] of whole.entries()) {
    assert(page.kind === "page");
    assertEquals(page.serial, 0xfedcba98);
    assertEquals(page.granulePosition, index * 3840);
    const pieces = packetPieces(page);
    assertEquals(pieces.map(({ data }) => data), pages[index]?.packets);
    assert(pieces.every(({ complete }) => complete));
  }
  for (let at = 0; at <= stream.length; at++) {
    assertEquals(read(stream.subarray(0, at), stream.subarray(at)), whole);
  }
  assertEquals(read(...[...stream].map((byte) => Uint8Array.of(byte))), whole);
});

Deno.test("OggPageReader returns pages that do not change when the caller reuses its buffer", () => {
  const reader = new OggPageReader();
  const buffer = somePages()[0]?.bytes ?? new Uint8Array(0);
  const expected = read(buffer.slice());
  const found = [...reader.push(buffer)];
  buffer.fill(0);
  assertEquals(found, expected);
});

Deno.test("packetPieces() distinguishes a packet that continues from one that ends with a full segment", () => {
  const piecesOf = (segments: number[]) => {
    const size = segments.reduce((sum, value) => sum + value, 0);
    const [page] = read(makePage({ segments, body: new Uint8Array(size) }));
    assert(page?.kind === "page");
    return packetPieces(page).map(({ data, complete }) => [data.length, complete]);
  };
  assertEquals(piecesOf([]), []);
  assertEquals(piecesOf([0]), [[0, true]]);
  assertEquals(piecesOf([255, 0]), [[255, true]]);
  assertEquals(piecesOf([255]), [[255, false]]);
  assertEquals(piecesOf([3, 255, 255]), [[3, true], [510, false]]);
});

Deno.test("OggPageReader reports each kind of damage once, with its offset, and resumes after it", () => {
  const pages = somePages().map(({ bytes }) => bytes);
  const [first, second, third] = pages;
  assert(first && second && third);
  const at = first.length;
  const behind = Array<Uint8Array>(6).fill(third); // more bytes than a torn page still expects
  const changed = (offset: number, value: number) => {
    const copy = second.slice();
    copy[offset] = value;
    return copy;
  };
  const cases: [string, Uint8Array, string][] = [
    ["a flipped bit in the body", changed(500, (second[500] ?? 0) ^ 1), "wrong CRC"],
    ["a flipped bit in the CRC", changed(22, (second[22] ?? 0) ^ 1), "wrong CRC"],
    ["another version, its CRC right", fixCrc(changed(4, 1)), "wrong version"],
    ["no capture pattern", changed(0, 0), "no page starts here"],
    ["cut at its end", second.subarray(0, 1000), "wrong CRC"],
    ["cut behind its capture pattern", second.subarray(0, 4), "wrong version"],
    ["fewer segments", changed(26, 3), "wrong CRC"],
    ["shorter lacing", changed(28, 3), "wrong CRC"],
    ["half a capture pattern", new TextEncoder().encode("OggOgOggOOgg"), "no page starts here"],
    ["zeros", new Uint8Array(4096), "no page starts here"],
  ];
  for (const [name, middle, reason] of cases) {
    for (const pieceBytes of [1, 100, 1e6]) {
      const stream = join(first, middle, ...behind);
      const pieces = [];
      for (let from = 0; from < stream.length; from += pieceBytes) {
        pieces.push(stream.subarray(from, from + pieceBytes));
      }
      const found = read(...pieces);
      assertEquals(damageIn(found)[0]?.reason, reason, name);
      assertEquals(damageIn(found).length, 1, name);
      assertEquals(damageIn(found)[0]?.offset, at, name);
      assertEquals(damageIn(found)[0]?.sizeBytes, middle.length, name);
      assertEquals(found[2]?.offset, at + middle.length, name);
      assertEquals(sequencesIn(found), [0, 2, 2, 2, 2, 2, 2], name);
    }
  }
});

Deno.test("OggPageReader recovers the pages behind a bogus header when the stream ends", () => {
  const [first, second, third] = somePages().map(({ bytes }) => bytes);
  assert(first && second && third);
  const bogus = second.slice();
  bogus.fill(255, 26, 60); // now promises 65 kB
  const found = read(join(first, bogus, third));
  assertEquals(sequencesIn(found), [0, 2]);
  assertEquals(damageIn(found), [{
    kind: "damage",
    offset: first.length,
    sizeBytes: bogus.length,
    reason: "the stream ends inside a page",
  }]);
  const patterns = join(...Array<Uint8Array>(40).fill(bogus.subarray(0, 60)));
  assertEquals(sequencesIn(read(join(patterns, third))), [2]);
});

Deno.test("OggPageReader reports a torn end once, wherever the cut is", () => {
  const stream = join(...somePages().map(({ bytes }) => bytes));
  const [, , last] = read(stream);
  assert(last !== undefined);
  for (let size = last.offset; size < stream.length; size++) {
    const found = read(stream.subarray(0, size));
    assertEquals(sequencesIn(found), [0, 1]);
    const torn = damageIn(found).map(({ offset, sizeBytes }) => [offset, sizeBytes]);
    assertEquals(torn, size === last.offset ? [] : [[last.offset, size - last.offset]]);
  }
  assertEquals(read(), []);
});

Deno.test("OggPageReader neither invents nor loses a byte in 1,000 mutated streams", () => {
  const random = seededRandom(20260730);
  const below = (limit: number) => Math.floor(random() * limit);
  const packets = Array.from({ length: 12 }, () => new Uint8Array(below(300)).fill(below(256)));
  const pages = makeStreamPages(packets, { perPage: 3 });
  const stream = join(...pages);
  for (let round = 0; round < 1000; round++) {
    let bytes: Uint8Array = stream.slice();
    for (let mutations = 1 + below(3); mutations > 0; mutations--) {
      const at = below(bytes.length);
      const kind = below(4);
      if (kind === 0) bytes[at] = below(256);
      if (kind === 1) bytes = join(bytes.subarray(0, at), bytes.subarray(at + below(200)));
      if (kind === 2) {
        bytes = join(bytes.subarray(0, at), stream.subarray(0, 40), bytes.subarray(at));
      }
      if (kind === 3) bytes.fill(255, at, at + 30);
    }
    const at = below(bytes.length);
    const found = read(bytes.subarray(0, at), bytes.subarray(at));
    // Pages and damage lie side by side, from the first byte to the last.
    let end = 0;
    let wasDamage = false;
    for (const item of found) {
      assertEquals(item.offset, end, `round ${round}`);
      assert(!(wasDamage && item.kind === "damage"), `round ${round}: damage twice`);
      wasDamage = item.kind === "damage";
      end += item.kind === "page" ? item.byteLength : item.sizeBytes;
      if (item.kind !== "page") continue;
      const original = pages[item.sequence] ?? new Uint8Array(0);
      assertEquals(bytes.subarray(item.offset, end), original, `round ${round}`);
    }
    assertEquals(end, bytes.length, `round ${round}`);
  }
});

Deno.test("OggPageReader reads 5 MB at once or in pieces of 100 bytes in linear time", () => {
  const packets = Array.from({ length: 20 }, () => new Uint8Array(75));
  const content = { flags: 0, granulePosition: 0, serial: 1, packets };
  const pages = Array.from({ length: 3300 }, (_, sequence) => encodePage({ ...content, sequence }));
  const stream = new Uint8Array(pages.reduce((sum, page) => sum + page.length, 0));
  pages.reduce((at, page) => (stream.set(page, at), at + page.length), 0);
  assert(stream.length > 5e6);
  const timed = (bytes: Uint8Array, pieceBytes: number) => {
    const reader = new OggPageReader();
    let count = 0;
    const ms = threadMs(() => {
      for (let at = 0; at < bytes.length; at += pieceBytes) {
        for (const { kind } of reader.push(bytes.subarray(at, at + pieceBytes))) {
          if (kind === "page") count++;
        }
      }
    });
    return { count, ms };
  };
  for (const pieceBytes of [stream.length, 100]) {
    const { count, ms } = timed(stream, pieceBytes);
    assertEquals(count, 3300);
    // It takes about 30 ms, and far more than a minute if the time grows with the square of the size.
    assert(ms < 20_000, `${ms} ms for pieces of ${pieceBytes} bytes`);
  }
  const garbage = timed(new Uint8Array(5e6).fill(0x4f), 100);
  assert(garbage.ms < 2000, `${garbage.ms} ms for 5 MB of garbage`);
});
