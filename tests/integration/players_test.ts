// What decoders make of chunks, for those that the gate installs; `deno task test:players` has the others.

import { assert, assertEquals, assertLessOrEqual } from "@std/assert";
import { join } from "@std/path/join";
import { makeSpeech } from "../fixtures/audio.ts";
import { recordedTill } from "../fixtures/real_till.ts";
import { decodeWith, differenceIn, GATE_DECODERS } from "../players/decoders.ts";

const RATE = 48_000;

Deno.test("decoders find every sample of a chunk, its first second included", async () => {
  const dir = await Deno.makeTempDir({ prefix: "players-" });
  try {
    await makeSpeech(join(dir, "speech.wav"), 9);
    const { till, uncut } = await recordedTill(join(dir, "speech.wav"), { chunkSeconds: 3 });
    const [whole, chunk] = [join(dir, "uncut.ogg"), join(dir, "chunk.ogg")];
    await Deno.writeFile(whole, uncut);
    await Deno.writeFile(chunk, till.chunks[1]?.bytes ?? new Uint8Array(0));
    for (const decoder of GATE_DECODERS) {
      const reference = await decodeWith(decoder, whole);
      const heard = await decodeWith(decoder, chunk);
      assertEquals([reference.length, heard.length], [9 * RATE, 3 * RATE], decoder.name);
      const expected = reference.subarray(3 * RATE - 312);
      for (const second of [0, 2]) {
        assertLessOrEqual(differenceIn(heard, expected, second), 0.01, decoder.name);
      }
      assert(heard.some((value) => Math.abs(value) > 0.05), "it is not silent");
    }
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
});
