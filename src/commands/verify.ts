// Verifies a folder of received chunks: whether each file is whole, from when to when the sound is complete,
// what is missing and why, and what has not come yet. It changes nothing.

import { samplesToUs } from "../chunk/chunk_file.ts";
import type { ChunkRecord, NoChunk } from "../chunk/chunk_record.ts";
import { formatUtc } from "../chunk/chunk_tags.ts";
import { OPUS_RATE } from "../chunk/opus.ts";
import {
  DIFFERENCE_US,
  type Hole,
  layOut,
  type Piece,
  type SoundLine,
} from "../chunk/sound_line.ts";
import {
  byDevice,
  ChunksError,
  filesOf,
  type FoundChunks,
  inWords,
  isDeclared,
  readChunks,
  seconds,
  secondsOf,
  shown,
  timeDiffers,
  UNSURE_TIMES,
  WallClock,
  whyMissing,
} from "./chunk_files.ts";
import type { CommandLine } from "./command_line.ts";
import { toJson } from "../system/printable.ts";
import { printText } from "./terminal.ts";

export interface VerifyOptions extends Pick<CommandLine, "device" | "zone" | "json"> {
  /** Files and folders. */
  readonly paths: readonly string[];
  /** Receives the text, without a newline at its end; default: standard output. */
  readonly print?: (text: string) => void;
}

interface Verdict {
  readonly deviceId: string;
  readonly chunks: readonly ChunkRecord[];
  readonly line: SoundLine;
  readonly holes: readonly Hole[];
  /** Where the times do not say what the sound says. */
  readonly differences: readonly Difference[];
  /** Why the files are not whole, or not used. */
  readonly faults: readonly NoChunk[];
}

/** A piece whose time is not that of its place. */
interface Difference {
  readonly piece: Piece;
  /** The piece before it; of doubled sound the one of the same time. */
  readonly other: Piece;
}

/**
 * Returns the exit code: 0 if each file is whole, every missing second has a declared cause and none is there
 * twice; 1 if not; 2 if there is nothing to verify.
 */
export async function runVerify(options: VerifyOptions): Promise<number> {
  const { print = printText, json, device } = options;
  let found: FoundChunks;
  let wall: WallClock;
  try {
    wall = new WallClock(options.zone);
    found = await readChunks(options.paths);
  } catch (error) {
    if (!(error instanceof ChunksError)) throw error;
    print(error.message);
    return 2;
  }
  const verdicts = [...byDevice(found.chunks)]
    .filter(([deviceId]) => device === undefined || deviceId === device)
    .map(([deviceId, chunks]) => judge(deviceId, chunks));
  if (verdicts.length === 0) {
    print(`No chunk was found of the device ${shown(device ?? "")}`);
    return 2;
  }
  const isGood = found.others.every(({ isTest = false }) => isTest) &&
    verdicts.every(({ holes, differences, faults }) =>
      holes.every(isDeclared) && !differences.some(({ piece }) => piece.isDouble) &&
      faults.length === 0
    );
  if (json) print(toJson(asJson(verdicts, found.others, isGood), 2));
  else {
    for (const verdict of verdicts) show(verdict, wall, print);
    for (const other of found.others) {
      print(other.isTest ? `- ${inWords(other)}; it is not needed` : `✘ ${inWords(other)}`);
    }
    print(isGood ? "✔ complete: every missing second has a declared cause" : "✘ not complete");
  }
  return isGood ? 0 : 1;
}

function judge(deviceId: string, chunks: readonly ChunkRecord[]): Verdict {
  const line = layOut(chunks);
  const faults = [
    ...chunks.flatMap(({ file, damage, fileSample = 0 }) =>
      damage === null || fileSample > 0 ? [] : [{ file, reason: damage }]
    ),
    ...line.unused.filter(({ isHarmless }) => !isHarmless),
  ];
  const holes = line.items.filter((item) => item.kind === "hole");
  return { deviceId, chunks, line, holes, differences: differencesOf(line), faults };
}

function differencesOf({ items }: SoundLine): Difference[] {
  const pieces = items.filter((item) => item.kind === "piece");
  return pieces.flatMap((piece, index) => {
    const before = pieces[index - 1];
    if (before === undefined) return [];
    if (piece.isDouble) {
      const other = pieces.slice(0, index).findLast((one) => hasTime(one, piece.startUnixUs));
      return [{ piece, other: other ?? before }];
    }
    return Math.abs(piece.differsUs) > DIFFERENCE_US ? [{ piece, other: before }] : [];
  });
}

function hasTime({ startUnixUs, samples }: Piece, us: number): boolean {
  return startUnixUs <= us && us < startUnixUs + samplesToUs(samples);
}

function show(
  { deviceId, chunks, line, holes, differences, faults }: Verdict,
  wall: WallClock,
  print: (text: string) => void,
): void {
  const { from, to, samples } = extent(line);
  print(
    `device ${shown(deviceId) || "unknown"}: ${filesOf(chunks)} chunks, ${
      seconds(samples)
    } s of sound`,
  );
  print(
    `    from ${from === null ? "-" : wall.format(from)} to ${to === null ? "-" : wall.format(to)}`,
  );
  for (const hole of holes) {
    const mark = isDeclared(hole) ? "-" : "✘";
    print(
      `  ${mark} ${wall.format(hole.startUnixUs)}  ${secondsOf(hole).padStart(10)} s missing: ` +
        whyMissing(hole),
    );
  }
  for (const { piece, other } of differences) {
    const at = wall.format(piece.startUnixUs);
    print(
      piece.isDouble
        ? `  ✘ ${at}  two recordings have this time: ${shown(other.chunk.file)} and ` +
          `${shown(piece.chunk.file)}: two machines have one device_id, or a clock was set back`
        : `  - ${at}  ${timeDiffers(piece.differsUs)}`,
    );
  }
  for (const fault of faults) print(`  ✘ ${inWords(fault)}`);
  for (const unused of line.unused.filter(({ isHarmless }) => isHarmless)) {
    print(`  - ${inWords(unused)}; it is not needed`);
  }
  if (line.items.some((item) => item.kind === "piece" && !item.isTimeSure)) {
    print(`  - ${UNSURE_TIMES}`);
  }
}

function extent({ items }: SoundLine) {
  const pieces = items.filter((item) => item.kind === "piece");
  const [first, last] = [pieces[0], pieces.at(-1)];
  return {
    from: first?.startUnixUs ?? null,
    to: last === undefined ? null : last.startUnixUs + samplesToUs(last.samples),
    samples: pieces.reduce((sum, piece) => sum + piece.samples, 0),
  };
}

function asJson(verdicts: readonly Verdict[], others: readonly NoChunk[], isGood: boolean) {
  return {
    complete: isGood,
    devices: verdicts.map(({ deviceId, chunks, line, holes, differences, faults }) => {
      const { from, to, samples } = extent(line);
      return {
        device_id: deviceId,
        chunks: filesOf(chunks),
        seconds: samples / OPUS_RATE,
        from: from === null ? null : formatUtc(from),
        to: to === null ? null : formatUtc(to),
        missing: holes.map((hole) => ({
          start: formatUtc(hole.startUnixUs),
          seconds: hole.samples / OPUS_RATE,
          why: hole.why,
          cause: hole.cause,
        })),
        times: differences.map(({ piece, other }) => ({
          start: formatUtc(piece.startUnixUs),
          differs_seconds: piece.differsUs / 1e6,
          double: piece.isDouble,
          file: piece.chunk.file,
          other: other.chunk.file,
        })),
        files: [
          ...faults,
          ...line.unused.filter(({ isHarmless }) => isHarmless),
        ].map(({ file, reason }) => ({ file, reason })),
      };
    }),
    files: others.map(({ file, reason }) => ({ file, reason })),
  };
}
