// How many chunks can be put in order. What is found missing between them: tests/commands/verify_test.ts.

import { assertEquals } from "@std/assert";
import type { ChunkRecord } from "../../src/chunk/chunk_record.ts";
import { layOut } from "../../src/chunk/sound_line.ts";

Deno.test("the chunks of half a year are put in order", () => {
  const count = 260_000;
  const samples = 60 * 48_000;
  const chunks = Array.from({ length: count }, (_, index): ChunkRecord => ({
    ...{ file: `${index}.ogg`, sizeBytes: 1, deviceId: "", gapBeforeMs: 0, gapCause: null },
    ...{ chunkId: `${index}`, previousChunkId: `${index - 1}`, waitingFromUs: index },
    ...{ streamId: "", streamSample: index * samples, samples, damage: null, isTimeSure: true },
    head: { channels: 1, preSkip: 0, inputSampleRate: 48_000 },
    startUnixUs: index * 60e6,
  }));
  const { items, unused } = layOut(chunks);
  assertEquals([items.length, unused], [count, []]);
});
