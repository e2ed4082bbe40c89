import { assert } from "@std/assert";
import { join as joinPath } from "@std/path/join";
import { cutToLastPage } from "../../../src/chunk/chunk_file.ts";
import { opusinfo } from "../../fixtures/audio.ts";
import { makeSecondChunk } from "../../fixtures/second_chunk.ts";

Deno.test("opusinfo finds no fault in the files that cutToLastPage() makes", async () => {
  const folder = await Deno.makeTempDir({ prefix: "chunk-file-" });
  try {
    const chunk = makeSecondChunk();
    const file = joinPath(folder, "cut.ogg");
    for (const size of [0.7, 0.8, 0.9, 1].map((part) => Math.floor(chunk.length * part))) {
      const whole = cutToLastPage(chunk.subarray(0, size));
      assert(whole !== null && whole.samples > 0);
      await Deno.writeFile(file, whole.bytes);
      await opusinfo(file);
    }
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});
