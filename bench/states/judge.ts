// Summarizes the samples of one state and checks its limits: no state may grow, and none may start programs
// at an interval. Growth means anonymous memory. Private memory would jump by 40 MB when the last other
// process of the same program ends, because the pages of the program's file are shared until then. Pure.

import type { Footprint } from "../process.ts";
import { median, slope } from "../statistics.ts";
import { type Children, since, total } from "./children.ts";
import type { State } from "./scene.ts";

/** Helper programs per start of ffmpeg: they inspect the sound system, and the cause of a failure. */
const MOST_HELPERS = 8;
/** Without a microphone, what was seen is looked at again after this, whatever was reported. */
const LOOK_S = 600;
/** And the device nodes after this, which takes one `find`. */
const NODE_LOOK_S = 60;

/** `timedatectl` runs once the clock is right, at the latest after ten minutes, and then once a day. */
const ZONE_LOOK_S = 86_400;

/** A process at one moment. */
export interface Sample extends Footprint {
  /** Seconds since its start. */
  readonly atS: number;
  /** Its processor time since its start, without children; seconds. */
  readonly cpuS: number;
  /** Whether it has a running ffmpeg. */
  readonly hasFfmpeg: boolean;
  /** The programs started since its start; null if they are not counted. */
  readonly children: Children | null;
}

/** Which samples count, seconds. */
export interface Window {
  /** Growth before this is ignored, because V8 has not run all of the code yet. */
  readonly warmUpS: number;
  /** The length of the two medians: around the end of the warm-up, and before the last sample. */
  readonly medianS: number;
}

export interface Limits {
  /** From the end of the warm-up to the last sample, KiB of anonymous memory. */
  readonly grownKb: number;
  /** Over its value at the end of the warm-up, KiB of anonymous memory. */
  readonly aboveKb: number;
  readonly descriptors: number;
}

export interface FromTo {
  readonly from: number;
  readonly to: number;
}

export interface Summary {
  /** Between the end of the warm-up and the last sample, seconds. */
  readonly seconds: number;
  /** When the last sample was taken, seconds since the start. */
  readonly endS: number;
  readonly rssKb: FromTo;
  readonly privateKb: FromTo;
  readonly anonymousKb: FromTo;
  /** The largest increase of anonymous memory over the end of the warm-up, KiB. */
  readonly aboveKb: number;
  /** The slope of anonymous memory after the warm-up, KiB per second. */
  readonly slopeKbS: number;
  readonly descriptors: FromTo;
  readonly threads: number;
  /** Processor time after the warm-up, milliseconds per second. */
  readonly cpuMsPerS: number;
  /** All children, and those after the warm-up; null if they were not counted. */
  readonly children: Children | null;
  readonly childrenLater: Children | null;
  /** The share of the samples after the warm-up in which an ffmpeg ran. */
  readonly recorded: number;
}

/** @throws {RangeError} if there are fewer than two samples after the warm-up. */
export function summarize(samples: readonly Sample[], { warmUpS, medianS }: Window): Summary {
  const later = samples.filter(({ atS }) => atS >= warmUpS);
  const [first, last] = [later[0], later.at(-1)];
  if (first === undefined || last === undefined || later.length < 2) {
    throw new RangeError(
      `Cannot judge ${later.length} samples as at least two must be after ${warmUpS} s`,
    );
  }
  const begin = samples.filter(({ atS }) => Math.abs(atS - warmUpS) <= medianS / 2);
  const end = samples.filter(({ atS }) => atS > last.atS - medianS);
  const fromTo = (key: keyof Footprint): FromTo => ({
    from: median((begin.length > 0 ? begin : [first]).map((sample) => sample[key])),
    to: median(end.map((sample) => sample[key])),
  });
  const anonymousKb = fromTo("anonymousKb");
  const seconds = last.atS - first.atS;
  return {
    seconds,
    endS: last.atS,
    anonymousKb,
    rssKb: fromTo("rssKb"),
    privateKb: fromTo("privateKb"),
    aboveKb: Math.max(...later.map((sample) => sample.anonymousKb)) - anonymousKb.from,
    slopeKbS: slope(later.map((sample) => [sample.atS, sample.anonymousKb])),
    descriptors: fromTo("descriptors"),
    threads: last.threads,
    cpuMsPerS: 1000 * (last.cpuS - first.cpuS) / seconds,
    children: last.children,
    childrenLater: first.children === null || last.children === null
      ? null
      : since(first.children, last.children),
    recorded: later.filter(({ hasFfmpeg }) => hasFfmpeg).length / later.length,
  };
}

/** A line for each limit that the state exceeds, and one if the program was not in that state. */
export function objectionsTo(state: State, summary: Summary, limits: Limits): string[] {
  const { anonymousKb, aboveKb, descriptors } = summary;
  const minutes = Math.round(summary.seconds / 6) / 10;
  const grownKb = anonymousKb.to - anonymousKb.from;
  const more = descriptors.to - descriptors.from;
  const objections: string[] = [];
  if (grownKb > limits.grownKb) {
    objections.push(
      `it grew by ${mb(grownKb)} MB in ${minutes} min: ` +
        `at most ${mb(limits.grownKb)} MB is allowed`,
    );
  }
  if (aboveKb > limits.aboveKb) {
    objections.push(
      `it once held ${mb(aboveKb)} MB more than after the warm-up: ` +
        `at most ${mb(limits.aboveKb)} MB is allowed`,
    );
  }
  if (more > limits.descriptors) objections.push(`it holds ${more} more descriptors`);
  objections.push(...objectionsToChildren(state, summary));
  return objections.map((objection) => `${state.name}: ${objection}`);
}

/** Helpers may start only to find and open a microphone: a few per ffmpeg, or per look without one. */
function objectionsToChildren(
  state: State,
  { childrenLater, recorded, seconds }: Summary,
): string[] {
  const { records, startsPrograms = false } = state;
  if (!startsPrograms && records && recorded < 0.9) {
    return [`it recorded in ${Math.round(100 * recorded)} % of the time only`];
  }
  if (!startsPrograms && !records && recorded > 0) return ["it recorded, which it should not"];
  if (childrenLater === null) return [];
  const ffmpegs = records || startsPrograms ? childrenLater.get("ffmpeg") ?? 0 : 0;
  const zoneLooks = Math.min(
    childrenLater.get("timedatectl") ?? 0,
    1 + Math.floor(seconds / ZONE_LOOK_S),
  );
  const others = total(childrenLater) - ffmpegs - zoneLooks;
  const looks = records ? 0 : Math.floor(seconds / LOOK_S);
  const nodeLooks = records || startsPrograms ? 0 : Math.ceil(seconds / NODE_LOOK_S);
  return others > MOST_HELPERS * (ffmpegs + looks) + nodeLooks
    ? [`it started ${childrenWords(childrenLater)}`]
    : [];
}

/** "610 find, 2 grep", the most frequent first. */
export function childrenWords(children: Children): string {
  const sorted = [...children].toSorted(([, a], [, b]) => b - a);
  return sorted.map(([program, count]) => `${count} ${program}`).join(", ") || "0";
}

export function mb(kb: number): string {
  return (kb / 1024).toFixed(1);
}
