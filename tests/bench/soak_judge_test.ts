// How the soak judges what arrived: sound that is missing inside a stream must be declared.

import { assertEquals } from "@std/assert";
import { judgeStreams } from "../../bench/soak/arrived.ts";
import { cutToLastPage } from "../../src/chunk/chunk_file.ts";
import { makeSecondChunk } from "../fixtures/second_chunk.ts";

const SAMPLES = cutToLastPage(makeSecondChunk())?.samples ?? NaN;

/** Two chunks of one stream, the second one `missingSamples` after the end of the first. */
function chunks(missingSamples: number, tags: Record<string, string> = {}, firstSample = 0) {
  return [firstSample, firstSample + SAMPLES + missingSamples].map((streamSample, at) => ({
    key: `key ${at}`,
    bytes: makeSecondChunk({
      ...{ CHUNK_ID: `id ${at}`, STREAM_ID: "stream", STREAM_SAMPLE: String(streamSample) },
      ...at === 1 ? tags : {},
    }),
    fields: { start_ts: String(at * 60), end_ts: String(at * 60 + 1) },
  }));
}

function judged(...args: Parameters<typeof chunks>): string {
  return judgeStreams(chunks(...args)).join("; ");
}

const late = (ms: string) => ({ GAP_BEFORE_MS: ms, GAP_CAUSE: "late" });

Deno.test("two chunks that join are right", () => {
  assertEquals(judged(0, { GAP_BEFORE_MS: "0" }), "");
});

Deno.test("missing sound is right if the chunk after it declares it, to the millisecond", () => {
  assertEquals(judged(48_020, late("1000")), "");
});

Deno.test("missing sound is reported if it is not declared, or declared with another length", () => {
  const wrong = "48000 samples are missing inside streams and not declared";
  assertEquals(judged(48_000), wrong);
  assertEquals(judged(48_000, late("999")), wrong);
  assertEquals(judged(48_000, late("x")), wrong);
  assertEquals(judged(48_000, { GAP_BEFORE_MS: "1000" }), wrong, "without a cause");
});

Deno.test("a single sample is reported, and so is what is missing before the first chunk", () => {
  const wrong = "1 samples are missing inside streams and not declared";
  assertEquals(judged(1, { GAP_BEFORE_MS: "0" }), wrong);
  assertEquals(judged(0, {}, 1), wrong);
});

Deno.test("a gap that is declared where nothing is missing is reported", () => {
  assertEquals(
    judged(0, late("1000")),
    "48000 samples are declared as missing inside streams, and are not",
  );
});

Deno.test("sound that arrived twice is reported", () => {
  assertEquals(judged(-960), "960 samples arrived twice");
});

Deno.test("a chunk whose place in its stream cannot be read is reported", () => {
  assertEquals(judged(0, { STREAM_SAMPLE: "x" }), "key 1: its place in its stream cannot be read");
});
