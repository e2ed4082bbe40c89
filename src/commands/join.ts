// Joins received chunks into one Ogg/Opus file without decoding them, or into a WAV file, and reports what is
// missing. It holds one chunk in memory at a time.

import type { ChunkRecord } from "../chunk/chunk_record.ts";
import { formatUtc } from "../chunk/chunk_tags.ts";
import { OPUS_RATE } from "../chunk/opus.ts";
import { SoundJoiner } from "../chunk/sound_joiner.ts";
import { layOut } from "../chunk/sound_line.ts";
import { messageOf } from "../system/error_text.ts";
import { beginningKept, isMissing, spawnBound } from "../system/child.ts";
import { ffmpegProgram } from "../system/programs.ts";
import { exists, ifThere, writeAll } from "../system/disk.ts";
import { VERSION } from "../system/version.ts";
import type { CommandLine } from "./command_line.ts";
import {
  byDevice,
  ChunksError,
  digestOf,
  filesOf,
  inWords,
  readChunkBytes,
  readChunks,
  seconds,
  secondsOf,
  shown,
  timeDiffers,
  UNSURE_TIMES,
  WallClock,
  whyMissing,
} from "./chunk_files.ts";
import { atGaps, clip, continuesPreroll, type Part, type Run } from "./join_runs.ts";
import { printText } from "./terminal.ts";

/** One wrong time in one chunk must not fill the disk with the silence of years. */
const MAX_SILENCE_S = 31 * 86_400;

type Given = "output" | "from" | "to" | "device" | "zone" | "gaps";

export interface JoinOptions extends Pick<CommandLine, Given> {
  /** Files and folders. */
  readonly paths: readonly string[];
  /** Receives the text, without a newline at its end; default: standard output. */
  readonly print?: (text: string) => void;
  /** Receives the progress; default: standard error, if that is a terminal. */
  readonly progress?: (text: string) => void;
}

/**
 * Returns the exit code: 0 if the file was written, whatever is missing in it; 1 if it cannot be; 2 if an
 * option cannot be used.
 */
export async function runJoin(options: JoinOptions): Promise<number> {
  const { print = printText } = options;
  const progress = options.progress ?? progressOnTerminal();
  try {
    return await joinChunks(options, print, progress);
  } catch (error) {
    if (!(error instanceof ChunksError)) throw error;
    print(error.message);
    return 1;
  }
}

async function joinChunks(
  options: JoinOptions,
  print: (text: string) => void,
  progress: (text: string) => void,
): Promise<number> {
  const wall = new WallClock(options.zone);
  const isWav = /\.wav$/i.test(options.output);
  if (isWav && options.gaps !== "silence") {
    throw new ChunksError(`Cannot use --gaps ${options.gaps} for a WAV file: it must be silence`);
  }
  const fromUs = options.from === undefined ? -Infinity : wall.parse("--from", options.from);
  const toUs = options.to === undefined ? Infinity : wall.parse("--to", options.to);
  if (fromUs >= toUs) throw new ChunksError("Cannot join as --from must be earlier than --to");
  const { chunks, others } = await readChunks(
    options.paths,
    (files, of) => progress(`read ${files} of ${of} files`),
  );
  const line = layOut(ofOneDevice(chunks, options.device));
  const { runs, holes, differences } = clip(line.items, { fromUs, toUs }, options.gaps);
  if (!runs.some(({ parts }) => parts.some((part) => "piece" in part))) {
    throw new ChunksError("No chunk has sound in this time");
  }
  const endless = holes.find(({ samples }) => samples > MAX_SILENCE_S * OPUS_RATE);
  if (endless !== undefined && options.gaps === "silence") {
    throw new ChunksError(
      `Cannot write ${seconds(endless.samples)} s of silence, from ${
        wall.format(endless.startUnixUs)
      } on, as it must be at most 31 days: give --from and --to, or --gaps split`,
    );
  }
  for (const other of others) print(`- ${inWords(other)}; it is left out`);
  for (const unused of line.unused) print(`- ${inWords(unused)}; it is left out`);
  for (const hole of holes) {
    print(
      `- ${wall.format(hole.startUnixUs)}  ${secondsOf(hole)} s missing: ${whyMissing(hole)}`,
    );
  }
  for (const { startUnixUs, atSample, byUs } of differences) {
    print(
      `- ${wall.format(startUnixUs)}  at ${seconds(atSample)} s of the sound: ${timeDiffers(byUs)}`,
    );
  }
  const isUnsure = (part: Part) => "piece" in part && !part.piece.isTimeSure;
  if (runs.some(({ parts }) => parts.some(isUnsure))) print(`- ${UNSURE_TIMES}`);
  const outputs = options.gaps === "split" && runs.length > 1
    ? inFilesOfTheirOwn(options.output, runs)
    : [{ path: options.output, runs }];
  for (const path of outputs.flatMap(({ path }) => isWav ? [path, streamOf(path)] : [path])) {
    if (await exists(path)) {
      throw new ChunksError(`Cannot write ${shown(path)} as it exists already`);
    }
  }
  for (const { path, runs } of outputs) {
    const samples = isWav
      ? await writeWav(path, runs, progress)
      : await writeOgg(path, runs, progress);
    print(
      `${shown(path)}: ${seconds(samples)} s from ${wall.format(runs[0]?.startUnixUs ?? 0)}`,
    );
  }
  return 0;
}

function ofOneDevice(chunks: readonly ChunkRecord[], wanted: string | undefined): ChunkRecord[] {
  const devices = byDevice(chunks);
  const listed = [...devices].map(([id, chunks]) =>
    `${shown(id) || "unknown"} (${filesOf(chunks)} chunks)`
  );
  if (wanted !== undefined) {
    const chosen = devices.get(wanted.toLowerCase());
    if (chosen !== undefined) return chosen;
    throw new ChunksError(
      `No chunk was found of the device ${shown(wanted)}, but of ${listed.join(", ")}`,
    );
  }
  const [first, ...more] = devices.values();
  if (first === undefined || more.length > 0) {
    throw new ChunksError(
      `The chunks are of several devices: choose one with --device: ${listed.join(", ")}`,
    );
  }
  return first;
}

/** Returns the audible samples in the file. */
async function writeOgg(
  path: string,
  runs: readonly Run[],
  progress: (text: string) => void,
): Promise<number> {
  const partial = `${path}.partial`;
  let samples = 0;
  let isOurs = false;
  try {
    {
      using file = await Deno.open(partial, { write: true, createNew: true });
      isOurs = true;
      for (const run of runs) {
        samples += await writeRun(
          file,
          run,
          (done) => progress(`written ${seconds(samples + done)} s`),
        );
      }
      await file.sync();
    }
    await Deno.rename(partial, path);
  } catch (error) {
    if (isOurs) await Deno.remove(partial).catch(() => {});
    throw new ChunksError(`Cannot write ${shown(path)}: ${messageOf(error)}`);
  }
  return samples;
}

async function writeRun(
  file: Deno.FsFile,
  { startUnixUs, parts }: Run,
  onDone: (samples: number) => void,
): Promise<number> {
  const first = parts.find((part) => "piece" in part)?.piece.chunk;
  if (first === undefined) return 0;
  const joiner = new SoundJoiner({
    serial: crypto.getRandomValues(new Uint32Array(1))[0] ?? 0,
    vendor: `recorder-agent ${VERSION}`,
    comments: { DEVICE_ID: first.deviceId, START: formatUtc(startUnixUs) },
  });
  const write = async (pages: Iterable<Uint8Array>) => {
    for (const page of pages) await writeAll(file, page);
  };
  for (const part of parts) {
    if ("silence" in part) await write(joiner.silence(part.silence, first.head));
    else {
      const { piece, fromSample, toSample } = part;
      const bytes = await ifThere(readChunkBytes(piece.chunk.file));
      // The samples were counted when all files were described: a file that has changed since is an error.
      if (bytes === null || await digestOf(bytes) !== piece.chunk.digest) {
        const what = bytes === null ? "was renamed or deleted" : "has changed";
        throw new Error(`${shown(piece.chunk.file)} ${what} meanwhile: try again`);
      }
      const { isJoined, chunk: { fileSample = 0 } } = piece;
      const place = { fromSample: fileSample + fromSample, toSample: fileSample + toSample };
      await write(
        joiner.add(bytes, { ...place, isJoined, continuesPreroll: continuesPreroll(piece) }),
      );
    }
    onDone(joiner.samples);
  }
  await write(joiner.end());
  return joiner.samples;
}

/** Decodes the joined streams with ffmpeg. */
async function writeWav(
  path: string,
  runs: readonly Run[],
  progress: (text: string) => void,
): Promise<number> {
  const ogg = streamOf(path);
  const samples = await writeOgg(ogg, runs.flatMap(atGaps), progress);
  try {
    progress("decoding");
    const args = [
      "-v",
      "error",
      "-nostdin",
      "-n",
      "-i",
      `file:${ogg}`,
      "-rf64",
      "auto",
      "-f",
      "wav",
      `file:${path}`,
    ];
    const child = spawnBound(ffmpegProgram(), args, { stdout: "null", stderr: "piped" });
    const [stderr, { success }] = await Promise.all([beginningKept(child.stderr), child.status]);
    if (!success) {
      await Deno.remove(path).catch(() => {}); // a half of a file is not left behind
      throw new ChunksError(
        `ffmpeg cannot write ${shown(path)}: ${shown(stderr)}`,
      );
    }
  } catch (error) {
    if (isMissing(error)) throw new ChunksError("There is no ffmpeg: sudo apt-get install ffmpeg");
    throw error;
  } finally {
    await Deno.remove(ogg);
  }
  return samples;
}

/** The stream from which a WAV file is decoded; it is deleted then. */
function streamOf(wavPath: string): string {
  return `${wavPath}.ogg`;
}

/** Each run in a file of its own; those that begin in one second have a number. */
function inFilesOfTheirOwn(output: string, runs: readonly Run[]): { path: string; runs: Run[] }[] {
  const taken = new Set<string>();
  return runs.map((run) => {
    let path = pathOfPart(output, run.startUnixUs);
    for (let number = 2; taken.has(path); number++) {
      path = pathOfPart(output, run.startUnixUs, `-${number}`);
    }
    taken.add(path);
    return { path, runs: [run] };
  });
}

/** "till.ogg" becomes "till-20261123T184500Z.ogg". */
function pathOfPart(path: string, startUnixUs: number, number = ""): string {
  const time = formatUtc(startUnixUs).replaceAll(/[-:]|\.\d+/g, "") + number;
  const dot = path.lastIndexOf(".");
  return dot > path.lastIndexOf("/")
    ? `${path.slice(0, dot)}-${time}${path.slice(dot)}`
    : `${path}-${time}`;
}

/** One line that is written over, at most a few times a second. */
function progressOnTerminal(): (text: string) => void {
  if (!Deno.stderr.isTerminal()) return () => {};
  let count = 0;
  return (text) => {
    if (count++ % 20 === 0) Deno.stderr.writeSync(new TextEncoder().encode(`\r\x1b[K${text}`));
  };
}
