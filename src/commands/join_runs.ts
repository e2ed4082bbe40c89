// What `join` writes, and in which order: the sound and the silence of the wanted time, in runs between which a
// stream ends, and where the position in it does not tell the time. Pure.

import { samplesToUs } from "../chunk/chunk_file.ts";
import { OPUS_RATE } from "../chunk/opus.ts";
import { DIFFERENCE_US, type Hole, type Piece } from "../chunk/sound_line.ts";
import type { GapMode } from "./command_line.ts";

/** What is written between two gaps. */
export interface Run {
  readonly startUnixUs: number;
  readonly parts: Part[];
}

/** Where the position in a run does not tell the time any more, but from here on another one. */
export interface Difference {
  readonly startUnixUs: number;
  /** Samples of the run before it. */
  readonly atSample: number;
  readonly byUs: number;
}

export type Part =
  | { readonly piece: Piece; readonly fromSample: number; readonly toSample: number }
  | { readonly silence: number };

/** Only what lies within the wanted time, in runs between which a stream ends. */
export function clip(
  items: readonly (Piece | Hole)[],
  { fromUs, toUs }: { fromUs: number; toUs: number },
  gaps: GapMode,
): { runs: Run[]; holes: Hole[]; differences: Difference[] } {
  const runs: Run[] = [];
  const holes: Hole[] = [];
  const differences: Difference[] = [];
  /** Of the last run: its samples, and when its first sample would have been heard by the time of the latest. */
  let [atSample, zeroUs] = [0, 0];
  for (const item of items) {
    const clipped = clipItem(item, fromUs, toUs);
    if (clipped === null) continue;
    const { fromSample, toSample } = clipped;
    const startUnixUs = item.startUnixUs + samplesToUs(fromSample);
    const isNewRun = runs.length === 0 ||
      (gaps !== "silence" && (item.kind === "hole" || !item.isJoined));
    if (item.kind === "hole") {
      holes.push({ ...item, startUnixUs, samples: toSample - fromSample });
      if (gaps !== "silence") continue;
    }
    if (isNewRun) {
      runs.push({ startUnixUs, parts: [] });
      [atSample, zeroUs] = [0, startUnixUs];
    }
    // Small differences add up: a clock drifts.
    const byUs = startUnixUs - zeroUs - samplesToUs(atSample);
    if (Math.abs(byUs) > DIFFERENCE_US) {
      differences.push({ startUnixUs, atSample, byUs });
      zeroUs += byUs;
    }
    atSample += toSample - fromSample;
    runs.at(-1)?.parts.push(
      item.kind === "hole" ? { silence: toSample - fromSample } : {
        piece: item,
        fromSample: item.skipSamples + fromSample,
        toSample: item.skipSamples + toSample,
      },
    );
  }
  return { runs, holes, differences };
}

function clipItem(
  { startUnixUs, samples }: Piece | Hole,
  fromUs: number,
  toUs: number,
): { fromSample: number; toSample: number } | null {
  const at = (us: number) => Math.round((us - startUnixUs) * OPUS_RATE / 1e6);
  const fromSample = Math.max(0, at(fromUs));
  const toSample = Math.min(samples, at(toUs));
  return fromSample < toSample || (samples === 0 && fromSample === 0 && toSample === 0)
    ? { fromSample, toSample }
    : null;
}

/** Whether nothing was lost between the pre-roll of a piece and the piece. */
export function continuesPreroll({ chunk }: Piece): boolean {
  return (chunk.gapBeforeMs ?? 0) === 0;
}

/** Each in a stream of its own what follows a gap: the decoder begins anew there, on the pre-roll, and discards it. */
export function atGaps({ startUnixUs, parts }: Run): Run[] {
  const runs: Run[] = [];
  for (const part of parts) {
    const run = runs.at(-1);
    const isAnew = "piece" in part && !part.piece.isJoined && !continuesPreroll(part.piece) &&
      run?.parts.some((one) => "piece" in one);
    if (run === undefined || isAnew) runs.push({ startUnixUs, parts: [part] });
    else run.parts.push(part);
  }
  return runs;
}
