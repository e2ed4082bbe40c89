import { assert, assertEquals } from "@std/assert";
import {
  encodeOpusHead,
  encodeOpusTags,
  type OpusEvent,
  type OpusPacket,
  OpusStreamReader,
  packetSamples,
  parseOpusHead,
  parseOpusTags,
} from "../../src/chunk/opus.ts";
import {
  join,
  lacing,
  makeHead,
  makePacket,
  makePage,
  makeStreamPages,
  makeTags,
} from "../fixtures/ogg_stream.ts";
import { seededRandom } from "../fixtures/random.ts";

function read(...pieces: Uint8Array[]): OpusEvent[] {
  const reader = new OpusStreamReader();
  return [...pieces.flatMap((piece) => [...reader.push(piece)]), ...reader.end()];
}

function packetsIn(events: OpusEvent[]): OpusPacket[] {
  return events.filter((event) => event.kind === "packet").map(({ packet }) => packet);
}

/** The events in short: "head", "break: reason", and each packet's end, in units of 20 ms. */
function inShort(events: OpusEvent[]): string[] {
  return events.map((event) => {
    if (event.kind === "head") return "head";
    if (event.kind === "break") return `break: ${event.reason}`;
    return String(event.packet.endPosition / 960);
  });
}

function somePackets(count: number, sizeBytes = 60): Uint8Array[] {
  const random = seededRandom(count);
  return Array.from({ length: count }, () => makePacket(sizeBytes, random));
}

Deno.test("parseOpusHead() reads what encodeOpusHead() writes", () => {
  const head = { channels: 1, preSkip: 312, inputSampleRate: 48_000 };
  assertEquals(encodeOpusHead(head), makeHead());
  assertEquals(parseOpusHead(makeHead()), head);
  const preSkip = 16 * 960;
  assertEquals(parseOpusHead(encodeOpusHead({ ...head, preSkip })), { ...head, preSkip });
});

Deno.test("parseOpusHead() refuses every header that a mono or stereo file of version 1 cannot have", () => {
  const changed = (offset: number, value: number) => {
    const head = makeHead();
    head[offset] = value;
    return head;
  };
  assertEquals(parseOpusHead(changed(8, 15))?.channels, 1); // a minor version that a reader may accept
  assertEquals(parseOpusHead(changed(9, 2))?.channels, 2);
  const wrong = [
    makeTags(),
    makeHead().subarray(0, 18),
    changed(0, 0),
    changed(8, 16),
    changed(9, 0),
    changed(9, 3),
    changed(18, 1),
  ];
  for (const packet of wrong) assertEquals(parseOpusHead(packet), null);
});

Deno.test("parseOpusTags() reads what encodeOpusTags() writes", () => {
  const comments = { POINT_ID: "a=b", EMPTY: "", NAME: "Kasse 1 – Übung" };
  assertEquals(parseOpusTags(encodeOpusTags("vendor", comments)), comments);
  assertEquals(encodeOpusTags("test", {}), makeTags());
  assertEquals(parseOpusTags(encodeOpusTags("", { lower: "x" })), { LOWER: "x" });
});

Deno.test("parseOpusTags() returns null for truncated tags, wherever the cut is", () => {
  const tags = encodeOpusTags("vendor", { ONE: "1", TWO: "2" });
  for (let size = 0; size < tags.length; size++) {
    assertEquals(parseOpusTags(tags.subarray(0, size)), null, `${size} bytes`);
  }
  const endless = tags.slice();
  endless.fill(255, 18, 22); // promises 4,294,967,295 comments
  assertEquals(parseOpusTags(endless), null);
});

Deno.test("packetSamples() knows every configuration and frame count of RFC 6716", () => {
  const frameMs = [
    ...[10, 20, 40, 60, 10, 20, 40, 60, 10, 20, 40, 60, 10, 20, 10, 20],
    ...[2.5, 5, 10, 20, 2.5, 5, 10, 20, 2.5, 5, 10, 20, 2.5, 5, 10, 20],
  ];
  for (const [config, ms] of frameMs.entries()) {
    for (const code of [0, 1, 2]) {
      const frames = code === 0 ? 1 : 2;
      const packet = Uint8Array.of(config << 3 | code, 0);
      assertEquals(packetSamples(packet), ms * frames * 48);
      packet[0] = (packet[0] ?? 0) | 4; // stereo
      assertEquals(packetSamples(packet), ms * frames * 48);
    }
    for (let frames = 0; frames < 64; frames++) {
      const packet = Uint8Array.of(config << 3 | 3, 0x80 | frames); // 0x80: VBR
      const isValid = frames > 0 && ms * frames <= 120;
      assertEquals(packetSamples(packet), isValid ? ms * frames * 48 : null);
    }
    assertEquals(packetSamples(Uint8Array.of(config << 3 | 3)), null);
  }
  assertEquals(packetSamples(new Uint8Array(0)), null);
  assertEquals(packetSamples(new Uint8Array(65_024)), 480);
  assertEquals(packetSamples(new Uint8Array(65_025)), null);
});

Deno.test("OpusStreamReader returns head and packets with their positions, however the bytes are split", () => {
  const packets = somePackets(6);
  for (const perPage of [1, 4]) {
    const stream = join(...makeStreamPages(packets, { perPage }));
    const events = read(stream);
    assertEquals(inShort(events), ["head", "1", "2", "3", "4", "5", "6"]);
    assertEquals(packetsIn(events).map(({ data }) => data), packets);
    for (const { samples, trimSamples } of packetsIn(events)) {
      assertEquals([samples, trimSamples], [960, 0]);
    }
    for (let at = 0; at < stream.length; at += 7) {
      assertEquals(read(stream.subarray(0, at), stream.subarray(at)), events);
    }
  }
});

Deno.test("OpusStreamReader joins a packet that spans three pages, two of them without granule position", () => {
  const [packet, next] = [...somePackets(1, 1000), ...somePackets(1, 10)];
  assert(packet && next);
  const [head, tags] = makeStreamPages([]);
  assert(head && tags);
  const full = [255];
  const part = (from: number, to: number) => packet.subarray(from, to);
  const pages = [
    { sequence: 2, segments: full, body: part(0, 255), granulePosition: -1 },
    { sequence: 3, segments: full, body: part(255, 510), granulePosition: -1, flags: 1 },
    {
      sequence: 4,
      segments: [255, 235, 10],
      body: join(part(510, 1000), next),
      granulePosition: 1920,
      flags: 1 | 4,
    },
  ].map((page) => makePage({ serial: 7, ...page }));
  const [first, second, third] = pages;
  assert(first && second && third);
  const whole = read(join(head, tags, first, second, third));
  assertEquals(inShort(whole), ["head", "1", "2"]);
  assertEquals(packetsIn(whole).map(({ data }) => data), [packet, next]);

  // If one of its pages is missing, the packet is lost once, and the next has its true position.
  const hole = "break: page 4 follows page 2";
  assertEquals(inShort(read(join(head, tags, first, third))), ["head", hole, "2"]);
  const noStart = "break: page 3 follows page 1";
  assertEquals(inShort(read(join(head, tags, second, third))), ["head", noStart, "2"]);
});

Deno.test("OpusStreamReader reports a packet whose continuation flag contradicts the page before", () => {
  const [head, tags] = makeStreamPages([]);
  assert(head && tags);
  const [small, large] = [...somePackets(1, 10), ...somePackets(1, 255)];
  assert(small && large);
  const page = (sequence: number, flags: number, segments: number[], body: Uint8Array) =>
    makePage({ serial: 7, sequence, flags, segments, body, granulePosition: sequence * 960 });
  const lacks = "break: a packet that lacks a part";
  const noEnd = [page(2, 0, [255], large), page(3, 0, [10], small), page(4, 0, [10], small)];
  assertEquals(inShort(read(join(head, tags, ...noEnd))), ["head", lacks, "3", "4"]);
  const noStart = [page(2, 1, [10, 10], join(small, small)), page(3, 0, [10], small)];
  assertEquals(inShort(read(join(head, tags, ...noStart))), ["head", lacks, "2", "3"]);
});

Deno.test("OpusStreamReader reports a hole once, and the granule position gives its length", () => {
  const pages = makeStreamPages(somePackets(9));
  const without = (...lost: number[]) => join(...pages.filter((_, index) => !lost.includes(index)));
  assertEquals(inShort(read(without(4, 5, 6))), [
    ...["head", "1", "2", "break: page 7 follows page 3", "6", "7", "8", "9"],
  ]);
  const grouped = makeStreamPages(somePackets(9), { perPage: 3 });
  grouped.splice(3, 1);
  assertEquals(inShort(read(join(...grouped))), [
    ...["head", "1", "2", "3", "break: page 4 follows page 2", "7", "8", "9"],
  ]);
});

Deno.test("OpusStreamReader reports damage and the resulting hole as one break", () => {
  const pages = makeStreamPages(somePackets(6));
  const bad = pages[4] ?? new Uint8Array(0);
  bad[40] = (bad[40] ?? 0) ^ 1;
  const events = read(join(...pages));
  const reason = `break: wrong CRC, ${bad.length} bytes skipped`;
  assertEquals(inShort(events), ["head", "1", "2", reason, "4", "5", "6"]);
  const broken = events.find((event) => event.kind === "break");
  assertEquals(broken?.offset, pages.slice(0, 4).reduce((sum, page) => sum + page.length, 0));
});

Deno.test("OpusStreamReader continues when the tags are lost", () => {
  const pages = makeStreamPages(somePackets(2));
  pages.splice(1, 1);
  assertEquals(inShort(read(join(...pages))), ["head", "break: page 2 follows page 0", "1", "2"]);
});

Deno.test("OpusStreamReader reports a break at the position of an invalid packet, even inside a page", () => {
  const [none, tooLong] = [new Uint8Array(0), Uint8Array.of(0x0b, 63)];
  for (const wrong of [none, tooLong]) {
    const packets = somePackets(5);
    packets[2] = wrong;
    for (const perPage of [1, 5]) {
      const events = read(join(...makeStreamPages(packets, { perPage })));
      const reason = "break: a packet that is not valid Opus";
      assertEquals(inShort(events), ["head", "1", "2", reason, "4", "5"]);
    }
  }
});

Deno.test("OpusStreamReader starts over with a second stream that follows the first", () => {
  const first = makeStreamPages(somePackets(3));
  const second = makeStreamPages(somePackets(2), { serial: 8, preSkip: 3840 });
  const events = read(join(...first, ...second));
  const chained = ["head", "1", "2", "3", "break: a new stream begins", "head", "1", "2"];
  assertEquals(inShort(events), chained);
  const heads = events.filter((event) => event.kind === "head");
  assertEquals(heads.map(({ head }) => head.preSkip), [312, 3840]);
});

Deno.test("OpusStreamReader reports a foreign page and an unreadable OpusHead", () => {
  const pages = makeStreamPages(somePackets(2));
  const foreign = makePage({ serial: 9, sequence: 3, segments: [1], body: Uint8Array.of(8) });
  const events = read(join(...pages.slice(0, 3), foreign, ...pages.slice(3)));
  assertEquals(inShort(events), ["head", "1", "break: a page of another stream (serial 9)", "2"]);
  assertEquals(inShort(read(join(...pages.slice(2)))), [
    "break: a page before the stream's header",
    "break: a page before the stream's header",
  ]);
  const odd = makeHead();
  odd[9] = 9;
  const page = makePage({ flags: 2, serial: 7, segments: lacing([odd]), body: odd });
  assertEquals(inShort(read(page)), ["break: an OpusHead that cannot be read"]);
});

Deno.test("OpusStreamReader trims the end, and omits packets that are only padding", () => {
  const trimsOf = (perPage: number, trimSamples: number) => {
    const stream = join(...makeStreamPages(somePackets(4), { perPage, trimSamples }));
    return packetsIn(read(stream)).map((packet) => packet.trimSamples);
  };
  assertEquals(trimsOf(1, 648), [0, 0, 0, 648]);
  assertEquals(trimsOf(4, 648), [0, 0, 0, 648]);
  assertEquals(trimsOf(1, 960), [0, 0, 0]);
  assertEquals(trimsOf(4, 960), [0, 0, 0]);
  assertEquals(trimsOf(4, 960 + 100), [0, 0, 100]);
});

Deno.test("OpusStreamReader does not treat a granule position in the middle as a trim", () => {
  const packets = somePackets(2);
  const pages = makeStreamPages(packets);
  pages[2] = makePage({
    granulePosition: 900,
    serial: 7,
    sequence: 2,
    segments: lacing(packets.slice(0, 1)),
    body: packets[0] ?? new Uint8Array(0),
  });
  const [first] = packetsIn(read(join(...pages)));
  assertEquals([first?.endPosition, first?.trimSamples], [960, 0]);
});

Deno.test("OpusStreamReader reports the torn page at the end", () => {
  const stream = join(...makeStreamPages(somePackets(3)));
  assertEquals(inShort(read(stream.subarray(0, stream.length - 5))), [
    ...["head", "1", "2", "break: the stream ends inside a page, 83 bytes skipped"],
  ]);
});
