import { assert, assertEquals } from "@std/assert";
import {
  type ChunkRecord,
  describeChunk,
  isChunk,
  soundAfterDamage,
} from "../../src/chunk/chunk_record.ts";
import { formatChunkName, formatPartName } from "../../src/chunk/chunk_name.ts";
import { formatUtc, TEST_COMMENT } from "../../src/chunk/chunk_tags.ts";
import { encodePage, OggPageReader } from "../../src/chunk/ogg.ts";
import { encodeOpusTags } from "../../src/chunk/opus.ts";
import { concatBytes } from "../../src/system/concat_bytes.ts";
import { makeStreamPages } from "../fixtures/ogg_stream.ts";
import { makeSecondChunk } from "../fixtures/second_chunk.ts";
import { chunkAt } from "../fixtures/temp_spool.ts";

const NOON = Date.UTC(2026, 5, 15, 12);
const PLACE = { STREAM_ID: "s", STREAM_SAMPLE: "47688" };

function described(file: string, bytes: Uint8Array): ChunkRecord {
  const description = describeChunk(file, bytes);
  assert(isChunk(description), "reason" in description ? description.reason : "");
  return description;
}

Deno.test("a chunk is described by its tags, with what its file holds", () => {
  const bytes = makeSecondChunk({
    ...PLACE,
    DEVICE_ID: "d",
    CHUNK_ID: "k",
    PREVIOUS_CHUNK_ID: "j",
    GAP_BEFORE_MS: "700",
    GAP_CAUSE: "overrun",
    START: "2026-06-15T12:00:00.000001Z",
    CLOCK: "synchronized",
    WAITING_FROM: "2026-06-15T11:00:00.000000Z",
  });
  const { head, ...chunk } = described("folder/a.ogg", bytes);
  assertEquals(head.inputSampleRate, 16_000);
  assertEquals(chunk, {
    file: "folder/a.ogg",
    deviceId: "d",
    chunkId: "k",
    previousChunkId: "j",
    gapBeforeMs: 700,
    gapCause: "overrun",
    waitingFromUs: (NOON - 3_600_000) * 1000,
    streamId: "s",
    streamSample: 47_688,
    samples: 50 * 960,
    startUnixUs: NOON * 1000 + 1,
    isTimeSure: true,
    damage: null,
  });
});

Deno.test("the time of a chunk is that of its tags or its name, whichever was taken with a right clock", () => {
  const tagUs = NOON * 1000;
  const name = chunkAt(NOON + 60_000);
  const provisional = { bootId: "0a1b2c3d", startBootUs: 61_000_000, seenUnixS: null };
  const sure = `folder/${formatChunkName(name)}`;
  const unsure = formatChunkName({ ...name, provisional });
  const part = formatPartName(name);
  // As a receiver stores it: under the time that a wrong clock gave it, without the suffix that says so.
  const repeated = `folder/${formatChunkName({ ...name, startUnixUs: tagUs })}`;
  const repeatedPart = formatPartName({ ...name, startUnixUs: tagUs });
  const rounded = formatChunkName({ ...name, startUnixUs: tagUs + 1000 });
  const nameUs = name.startUnixUs;
  const cases: [string, string | null, string | null, number | null, boolean][] = [
    [sure, "tag", "synchronized", tagUs, true],
    [unsure, "tag", "synchronized", tagUs, true],
    ["a.ogg", "tag", "synchronized", tagUs, true],
    [sure, "tag", "unsynchronized", nameUs, true],
    [part, "tag", "unsynchronized", nameUs, true],
    [repeated, "tag", "unsynchronized", tagUs, false],
    [repeatedPart, "tag", "unsynchronized", tagUs, false],
    [rounded, "tag", "unsynchronized", tagUs, false],
    [repeated, "tag", "synchronized", tagUs, true],
    [sure, null, "unsynchronized", nameUs, false],
    [sure, "tag", null, nameUs, true],
    [unsure, "tag", "unsynchronized", tagUs, false],
    ["a.ogg", "tag", "unsynchronized", tagUs, false],
    ["a.ogg", "tag", null, tagUs, false],
    [sure, null, null, nameUs, true],
    [unsure, null, null, nameUs, false],
    ["a.ogg", null, null, null, false],
  ];
  for (const [file, start, clock, startUnixUs, isTimeSure] of cases) {
    const tags = {
      ...PLACE,
      ...start === null ? {} : { START: formatUtc(tagUs) },
      ...clock === null ? {} : { CLOCK: clock },
    };
    const chunk = described(file, makeSecondChunk(tags));
    assertEquals(
      [chunk.startUnixUs, chunk.isTimeSure],
      [startUnixUs, isTimeSure],
      `${file} ${clock}`,
    );
  }
});

Deno.test("a chunk whose header was repaired with its id alone is a stream of its own, at the time in its name", () => {
  const name = chunkAt(NOON);
  const repaired = makeSecondChunk({ CHUNK_ID: name.key });
  const { deviceId, chunkId, streamId, streamSample, startUnixUs, isTimeSure, samples } = described(
    formatChunkName(name),
    repaired,
  );
  assertEquals([deviceId, chunkId, streamId, streamSample], ["", name.key, name.key, 0]);
  assertEquals([startUnixUs, isTimeSure, samples], [name.startUnixUs, true, 48_000]);
  // Other files with such a tag are those of other programs.
  for (
    const [file, tags] of [["a.ogg", {}], [formatChunkName(name), { DEVICE_ID: "d" }]] as const
  ) {
    assert(!isChunk(describeChunk(file, makeSecondChunk({ CHUNK_ID: name.key, ...tags }))));
  }
});

Deno.test("a clock that was not right does not say since when nothing older was waiting", () => {
  const WAITING_FROM = "2026-06-15T11:00:00.000000Z";
  const waitingFromUs = (tags: Record<string, string>) =>
    described("a.ogg", makeSecondChunk({ ...PLACE, WAITING_FROM, ...tags })).waitingFromUs;
  assertEquals(waitingFromUs({ CLOCK: "unsynchronized" }), null);
  assertEquals(waitingFromUs({ CLOCK: "synchronized" }), (NOON - 3_600_000) * 1000);
  assertEquals(waitingFromUs({}), (NOON - 3_600_000) * 1000);
});

Deno.test("a damaged chunk and one that is cut off are told apart", () => {
  const bytes = makeSecondChunk(PLACE);
  assertEquals(described("a.ogg", bytes).damage, null);
  const pages = [...new OggPageReader().push(bytes)].filter((found) => found.kind === "page");
  const last = pages.at(-1)?.offset ?? 0;
  const damaged = bytes.slice();
  damaged[last + 40] = (damaged[last + 40] ?? 0) ^ 1;
  const damage = `is damaged at byte ${last} of ${bytes.length}`;
  assertEquals(described("a.ogg", damaged).damage, damage);
  const cutOff = "is cut off: its last page is missing";
  assertEquals(described("a.ogg", bytes.subarray(0, last)).damage, cutOff);
});

Deno.test("what a damaged file holds after its damage is described, too, with the hole between", () => {
  const packets = Array.from({ length: 50 }, (_, index) => new Uint8Array([0x08, index]));
  const [head, , ...pages] = makeStreamPages(packets, { perPage: 5, trimSamples: 100 });
  const tags = { ...PLACE, CHUNK_ID: "k", START: formatUtc(NOON * 1000), CLOCK: "synchronized" };
  const tagsPage = encodePage({
    ...{ flags: 0, granulePosition: 0, serial: 7, sequence: 1 },
    packets: [encodeOpusTags("test", tags)],
  });
  const after = (...damaged: number[]) => {
    const bytes = concatBytes([head ?? tagsPage, tagsPage, ...pages].map((page, at) => {
      const copy = page.slice();
      if (damaged.includes(at - 2)) copy[40] = (copy[40] ?? 0) ^ 1;
      return copy;
    }));
    const first = described("a.ogg", bytes);
    const rest = soundAfterDamage(first, bytes);
    for (const part of rest) {
      const { fileSample = 0 } = part;
      assertEquals(part.streamSample, first.streamSample + fileSample);
      assertEquals(part.startUnixUs, NOON * 1000 + Math.round(fileSample / 0.048));
      assertEquals([part.chunkId, part.previousChunkId, part.gapBeforeMs], ["k", "k", 0]);
    }
    return [first, ...rest].map(({ fileSample = 0, samples, damage }) => {
      const [from, to] = [fileSample, fileSample + samples].map((at) => (at + 312) / 960);
      return `${from}-${to}${damage === null ? "" : " damaged"}`;
    });
  };
  const [start, end] = [312 / 960, 50 - 100 / 960];
  assertEquals(after(), [`${start}-${end}`]);
  assertEquals(after(4), [`${start}-20 damaged`, `25-${end}`]);
  assertEquals(after(4, 7), [`${start}-20 damaged`, "25-35 damaged", `40-${end}`]);
  assertEquals(after(4, 9), [`${start}-20 damaged`, "25-45 damaged"]);
  assertEquals(after(9), [`${start}-45 damaged`]);
});

Deno.test("a file that is not a chunk is described as what it is", () => {
  const reasonOf = (bytes: Uint8Array) => {
    const description = describeChunk("a", bytes);
    return isChunk(description) ? null : [description.reason, description.isTest ?? false];
  };
  const foreign = "is not a chunk of recorder-agent: it has no tags STREAM_ID and STREAM_SAMPLE";
  assertEquals(reasonOf(new Uint8Array(100)), ["is not an Ogg/Opus file that can be read", false]);
  assertEquals(reasonOf(makeSecondChunk({ STREAM_ID: "s" })), [foreign, false]);
  assertEquals(reasonOf(makeSecondChunk({ STREAM_SAMPLE: "0" })), [foreign, false]);
  assertEquals(reasonOf(new Uint8Array(makeStreamPages([]).flatMap((page) => [...page]))), [
    foreign,
    false,
  ]);
  const test = makeSecondChunk({ ...PLACE, COMMENT: TEST_COMMENT });
  assertEquals(reasonOf(test), [`is the silence of ${TEST_COMMENT}`, true]);
  const whole = makeSecondChunk(PLACE);
  const pages = [...new OggPageReader().push(whole)].filter((found) => found.kind === "page");
  assertEquals(reasonOf(whole.subarray(0, pages[2]?.offset)), ["holds no sound", false]);
});
