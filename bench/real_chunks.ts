// Makes chunks like those of a recording: speech, encoded by ffmpeg with the recorder's arguments and cut by
// the recorder's chunker, with its tags. It never records.

import { concatBytes } from "../src/system/concat_bytes.ts";
import { join } from "@std/path/join";
import { Chunker } from "../src/chunk/chunker.ts";
import { ffmpegArguments } from "../src/capture/ffmpeg_arguments.ts";

import { OPUS_RATE, OpusStreamReader } from "../src/chunk/opus.ts";
import { type ChunkName, formatChunkName } from "../src/chunk/chunk_name.ts";
import { IDS } from "../tests/fixtures/agent_process.ts";
import { makeSpeech } from "../tests/fixtures/audio.ts";
import { run } from "../tests/fixtures/command.ts";

const MINUTE_US = 60e6;

/** Encodes speech at 24 kbit/s and cuts it into `count` chunks of `chunkSeconds`. */
export async function makeRealChunks(
  count: number,
  chunkSeconds: number,
  dir: string,
): Promise<Uint8Array[]> {
  const speech = join(dir, "speech.wav");
  await makeSpeech(speech, count * chunkSeconds + 1);
  const source = { kind: "lavfi", graph: `amovie=${speech}` } as const;
  const options = { sampleRate: OPUS_RATE, bitrateKbps: 24, levelsSocket: null };
  const args = ffmpegArguments(source, options).filter((arg) => arg !== "-re");
  const { stdout } = await run("ffmpeg", args);
  await Deno.remove(speech);
  const reader = new OpusStreamReader();
  const [head, ...rest] = [...reader.push(stdout), ...reader.end()];
  if (head?.kind !== "head") throw new Error("ffmpeg produced no Opus stream");
  const { point_id, register_id, device_id } = IDS;
  const ids = { POINT_ID: point_id, REGISTER_ID: register_id, DEVICE_ID: device_id };
  const chunker = new Chunker(head.head, {
    chunkSamples: chunkSeconds * OPUS_RATE,
    identify: () => ({
      key: crypto.randomUUID(),
      serial: 1,
      vendor: "bench",
      comments: ids,
    }),
  });
  const chunks: Uint8Array[][] = [];
  for (const found of rest) {
    if (found.kind !== "packet") continue;
    for (const event of chunker.push(found.packet)) {
      if (event.kind === "open") chunks.push([]);
      chunks.at(-1)?.push(event.bytes);
    }
  }
  return chunks.slice(0, count).map(concatBytes);
}

/** A waiting chunk: its file, and the index of the real chunk that it links to. */
export interface BacklogChunk {
  readonly name: ChunkName;
  readonly path: string;
  readonly original: number;
}

/**
 * Fills a directory with a backlog of `count` chunks of 60 s, the newest one an hour old. Each has its own
 * name and is a hard link to one of the real files on the same file system. Returns the oldest first.
 */
export async function linkBacklog(
  originals: readonly string[],
  count: number,
  dir: string,
): Promise<BacklogChunk[]> {
  await Deno.mkdir(dir, { recursive: true });
  const firstUs = (Date.now() - 3_600_000) * 1000 - count * MINUTE_US;
  const chunks = Array.from({ length: count }, (_, index): BacklogChunk => {
    const startUnixUs = firstUs + index * MINUTE_US;
    const name = { startUnixUs, durationUs: MINUTE_US, key: crypto.randomUUID() };
    return { name, path: join(dir, formatChunkName(name)), original: index % originals.length };
  });
  for (const { path, original } of chunks) Deno.linkSync(originals[original] ?? "", path);
  return chunks;
}
