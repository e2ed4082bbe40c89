// How the soak judges what arrived: sound that is missing inside a stream must be declared.

import { assertEquals, assertMatch } from "@std/assert";
import { judgeStreams } from "../../bench/soak/arrived.ts";
import { cutToLastPage } from "../../src/chunk/chunk_file.ts";
import { makeSecondChunk } from "../fixtures/second_chunk.ts";

const SAMPLES = cutToLastPage(makeSecondChunk())?.samples ?? NaN;

/** Two chunks of one stream, the second one `missingSamples` after the end of the first. */
function chunks(missingSamples: number, tags: Record<string, string> = {}) {
  return [0, SAMPLES + missingSamples].map((streamSample, at) => ({
    key: `key ${at}`,
    bytes: makeSecondChunk({
      ...{ CHUNK_ID: `id ${at}`, STREAM_ID: "stream", STREAM_SAMPLE: String(streamSample) },
      ...at === 1 ? tags : {},
    }),
    fields: { start_ts: String(at * 60), end_ts: String(at * 60 + 1) },
  }));
}

Deno.test("two chunks that join are right", () => {
  assertEquals(judgeStreams(chunks(0, { GAP_BEFORE_MS: "0" })), []);
});

Deno.test("missing sound is right if the chunk after it declares it, to the millisecond", () => {
  assertEquals(judgeStreams(chunks(48_020, { GAP_BEFORE_MS: "1000" })), []);
});

Deno.test("missing sound that is not declared, or as another length, is reported", () => {
  const wrong = /^48000 samples are missing inside streams and not declared$/;
  assertMatch(judgeStreams(chunks(48_000)).join(), wrong);
  assertMatch(judgeStreams(chunks(48_000, { GAP_BEFORE_MS: "998" })).join(), wrong);
});

Deno.test("sound that arrived twice is reported", () => {
  assertMatch(judgeStreams(chunks(-960)).join(), /^960 samples arrived twice$/);
});
