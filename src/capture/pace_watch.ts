// Compares how much sound arrives with how much time passes. A microphone whose true rate is not the one that it
// reports plays too slow or too fast, and one that always loses sound delivers less than it should. It measures,
// and reports the problem; it changes no time: that is timeline.ts.
//
//   in pace --five minutes in a row beyond 0.2 %, in one direction--> out of pace (the problem)
//   out of pace --five minutes in a row within 0.2 %, or the microphone is gone--> in pace

import type { ProblemReport } from "../status/problem_report.ts";
import { problems } from "../status/problems.ts";

const SAMPLES_PER_MS = 48;
const MINUTE_MS = 60_000;
/** A single loss or stall is in one minute, or in two. */
const MINUTES = 5;
/** Crystals are off by up to 0.01 %, and an NTP daemon slews the clock by up to 0.05 %. */
const TOLERANCE = 0.002;

export class PaceWatch {
  readonly #problem: Pick<ProblemReport, "set" | "clear" | "isLasting">;
  #microphone = "";
  #reportedHz = 0;
  #minute: { endMs: number; earliest: number } | null = null;
  /** Of the minute before. */
  #earliest: number | null = null;
  /** What the last minutes delivered, as a share of what they should have. */
  #shares: number[] = [];

  constructor(problem: Pick<ProblemReport, "set" | "clear" | "isLasting">) {
    this.#problem = problem;
  }

  /**
   * Call this before the sound of a stream.
   * @param microphone identifies it. @param reportedHz the rate at which its source is opened.
   */
  begin(microphone: string, reportedHz: number): void {
    if (microphone !== this.#microphone) this.#problem.clear("another microphone is recorded");
    this.#microphone = microphone;
    this.#reportedHz = reportedHz;
    [this.#minute, this.#earliest, this.#shares] = [null, null, []];
  }

  /** Call this when there is no microphone. */
  gone(): void {
    this.#problem.clear("the microphone is gone");
  }

  /** Call this when packets arrived up to this position of the stream, at 48 kHz. */
  observe(endPosition: number, arrivalMs: number): void {
    // Delays only make it larger, so that the lowest value of a minute has hardly any.
    const start = arrivalMs - endPosition / SAMPLES_PER_MS;
    this.#minute ??= { endMs: arrivalMs + MINUTE_MS, earliest: start };
    this.#minute.earliest = Math.min(this.#minute.earliest, start);
    const { endMs, earliest } = this.#minute;
    if (arrivalMs < endMs) return;
    if (this.#earliest !== null) this.#judge(1 - (earliest - this.#earliest) / MINUTE_MS);
    const isOverdue = arrivalMs >= endMs + MINUTE_MS;
    this.#earliest = isOverdue ? null : earliest;
    this.#minute = isOverdue ? null : { endMs: endMs + MINUTE_MS, earliest: start };
  }

  #judge(share: number): void {
    const shares = this.#shares = [...this.#shares, share].slice(-MINUTES);
    if (shares.length < MINUTES) return;
    if (shares.every((share) => Math.abs(share - 1) <= TOLERANCE)) this.#problem.clear();
    const isSlow = shares.every((share) => share < 1 - TOLERANCE);
    const isFast = shares.every((share) => share > 1 + TOLERANCE);
    if (this.#problem.isLasting || !(isSlow || isFast)) return;
    const mean = shares.reduce((sum, share) => sum + share, 0) / MINUTES;
    this.#problem.set(problems.rate(mean * this.#reportedHz, this.#reportedHz));
  }
}
