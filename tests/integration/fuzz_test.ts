// 100,000 mutations of a real stream of ffmpeg: for each of them reading ends, and the chunker makes whole
// files of the rest, which opusinfo accepts.

import { concatBytes } from "../../src/system/concat_bytes.ts";
import { assert, assertEquals } from "@std/assert";
import { join } from "@std/path/join";
import { cutToLastPage } from "../../src/chunk/chunk_file.ts";
import { Chunker, type ChunkEvent } from "../../src/chunk/chunker.ts";
import { ffmpegArguments } from "../../src/capture/ffmpeg_arguments.ts";

import { OpusStreamReader } from "../../src/chunk/opus.ts";
import { run } from "../fixtures/command.ts";
import { mutateBytes } from "../fixtures/mutations.ts";
import { seededRandom } from "../fixtures/random.ts";

const CASES = 100_000;
/** The number of files that opusinfo checks, which is slow. */
const JUDGED = 60;

/** A second of the stream as the recorder receives it. */
async function realStream(): Promise<Uint8Array> {
  const graph = "aevalsrc='0.3*sin(2*PI*(200*t+900*t*t))':s=48000:d=1";
  const options = { sampleRate: 48_000, bitrateKbps: 24, socketDir: null };
  const args = ffmpegArguments({ kind: "lavfi", graph }, options).filter((arg) => arg !== "-re");
  return (await run("ffmpeg", args)).stdout;
}

/** The chunk files that the recorder would make of these bytes. */
function chunkFiles(bytes: Uint8Array): { file: Uint8Array; samples: number }[] {
  const files: { parts: Uint8Array[]; start: number; end: number }[] = [];
  const apply = (events: ChunkEvent[]) => {
    for (const event of events) {
      if (event.kind === "open") files.push({ parts: [], start: event.startSample, end: NaN });
      files.at(-1)?.parts.push(event.bytes);
      const open = files.at(-1);
      if (event.kind === "close" && open !== undefined) open.end = event.endSample;
    }
  };
  let chunker: Chunker | null = null;
  const reader = new OpusStreamReader();
  const events = function* () {
    for (let at = 0; at < bytes.length; at += 1000) {
      yield* reader.push(bytes.subarray(at, at + 1000));
    }
    yield* reader.end();
  };
  for (const event of events()) {
    if (event.kind === "head") {
      apply(chunker?.cut() ?? []);
      chunker = new Chunker(event.head, {
        chunkSamples: 9600,
        identify: () => ({ key: "", serial: 1, vendor: "fuzz", comments: {} }),
      });
    } else if (event.kind === "break") apply(chunker?.cut({ lost: true }) ?? []);
    else apply(chunker?.push(event.packet) ?? []);
  }
  apply(chunker?.cut() ?? []);
  return files.map(({ parts, start, end }) => ({ file: concatBytes(parts), samples: end - start }))
    .filter(({ samples }) => samples > 0);
}

Deno.test(`reading ${CASES} mutations of a real stream ends, and makes only whole chunks`, async () => {
  const stream = await realStream();
  const random = seededRandom(3533);
  const dir = await Deno.makeTempDir();
  let made = 0;
  let judged = 0;
  for (let round = 0; round < CASES; round++) {
    for (const { file, samples } of chunkFiles(mutateBytes(stream, random))) {
      made++;
      // The reader of the program finds it whole to the last byte: equal bytes and length, with the end flag.
      const whole = cutToLastPage(file);
      assertEquals([whole?.samples, whole?.bytes.length], [samples, file.length], `round ${round}`);
      if (round % Math.floor(CASES / JUDGED) !== 0) continue;
      const path = join(dir, "chunk.ogg");
      await Deno.writeFile(path, file);
      const { stdout, stderr } = await new Deno.Command("opusinfo", { args: [path] }).output();
      const complaints = new TextDecoder().decode(concatBytes([stdout, stderr])).split("\n")
        .filter((line) => /WARNING|ERROR|invalid/i.test(line))
        // After a loss no sound is available for pre-roll: the pre-skip is 0, which is valid.
        .filter((line) => !/Implausibly low preskip/.test(line));
      assertEquals(complaints, [], `round ${round}`);
      judged++;
    }
  }
  await Deno.remove(dir, { recursive: true });
  assert(made > CASES, `${made} chunks`);
  assert(judged >= JUDGED, `${judged} judged`);
});
