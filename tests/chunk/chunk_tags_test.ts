import { assertEquals } from "@std/assert";
import {
  type ChunkPlace,
  formatChunkTags,
  formatUtc,
  parseChunkTags,
  parseUtc,
} from "../../src/chunk/chunk_tags.ts";

const PLACE: ChunkPlace = {
  chunkId: "4f6c1c1e-5d0e-4c43-9d43-3b8f27a4a001",
  streamId: "5f6c1c1e-5d0e-4c43-9d43-3b8f27a4a001",
  streamSample: 2_879_688,
  startUnixUs: Date.UTC(2026, 10, 23, 18, 45) * 1000 + 123_456,
  isClockSynchronized: true,
  previousChunkId: "3f6c1c1e-5d0e-4c43-9d43-3b8f27a4a001",
  gapBeforeMs: 700.4,
  gapCause: "overrun",
  waitingFromUs: Date.UTC(2026, 10, 23, 18, 44) * 1000,
};

Deno.test("the tags of a chunk tell what is known of it", () => {
  assertEquals(formatChunkTags(PLACE), {
    CHUNK_ID: "4f6c1c1e-5d0e-4c43-9d43-3b8f27a4a001",
    STREAM_ID: "5f6c1c1e-5d0e-4c43-9d43-3b8f27a4a001",
    STREAM_SAMPLE: "2879688",
    START: "2026-11-23T18:45:00.123456Z",
    CLOCK: "synchronized",
    PREVIOUS_CHUNK_ID: "3f6c1c1e-5d0e-4c43-9d43-3b8f27a4a001",
    GAP_BEFORE_MS: "700",
    GAP_CAUSE: "overrun",
    WAITING_FROM: "2026-11-23T18:44:00.000000Z",
  });
});

Deno.test("what is not known, or not the case, has no tag", () => {
  const tags = formatChunkTags({
    ...PLACE,
    isClockSynchronized: false,
    previousChunkId: null,
    gapBeforeMs: null,
    waitingFromUs: null,
  });
  assertEquals(Object.keys(tags), ["CHUNK_ID", "STREAM_ID", "STREAM_SAMPLE", "START", "CLOCK"]);
  assertEquals(tags["CLOCK"], "unsynchronized");
  const joined = formatChunkTags({ ...PLACE, gapBeforeMs: 0.2 });
  assertEquals([joined["GAP_BEFORE_MS"], joined["GAP_CAUSE"]], ["0", undefined]);
  const unsure = formatChunkTags({ ...PLACE, gapBeforeMs: null });
  assertEquals([unsure["GAP_BEFORE_MS"], unsure["GAP_CAUSE"]], [undefined, "overrun"]);
});

Deno.test("parseChunkTags() reads what formatChunkTags() writes", () => {
  assertEquals(parseChunkTags(formatChunkTags(PLACE)), { ...PLACE, gapBeforeMs: 700 });
});

Deno.test("the tags of an older release, and tags that are damaged, tell what they can", () => {
  const { streamSample, ...rest } = parseChunkTags({ STREAM_SAMPLE: "47688", START: "yesterday" });
  assertEquals(streamSample, 47_688);
  assertEquals(Object.values(rest), Array(8).fill(null));
});

Deno.test("a time is written and read to the microsecond", () => {
  for (const us of [0, 1, 999_999, 1_795_420_800_250_001]) {
    assertEquals(parseUtc(formatUtc(us)), us);
  }
  for (const text of ["", "2026-11-23T18:45:00Z", "2026-13-23T18:45:00.123456Z", "now"]) {
    assertEquals(parseUtc(text), null, text);
  }
});
