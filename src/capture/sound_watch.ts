// Finds out from the levels what is wrong with a microphone that delivers: nothing is heard, every sample is the
// same, it is overdriven, or it is too quiet for speech. It counts recorded time, not chunks. gain_db and
// highpass_hz must not hide a bad microphone: they would make the noise of a dead one a sound, and a clipped wave
// smaller than full scale. So it is judged by its raw sound, and by the recorded sound only where that is what
// matters: for speech, and for what gain_db itself drives beyond full scale.
//
// Each has an account, which a level of 100 ms raises or lowers; too quiet is raised by whole hours:
//
//   account     of         raised by                          lowered by            problem   over
//   dead        raw        1, if nothing is heard             20, if something is   at 20 s   at 0
//   clipped     raw        10, if it is clipped               1, if it is not       at 60 s   at 0, with
//   too loud    recorded   10, if it is clipped               1, if it is not       at 60 s   both at 0
//   too quiet   recorded   10, an hour; 50, a lively hour     4, if it is loud      at 400    at 0
//
// A dead microphone is stuck if its samples are far from 0, else silent. A lively hour has sounds that stand out
// from the noise: a shop is open. A microphone that hears them too quietly for speech is named after eight such
// hours. A closed day has hardly any, and only 40 h without speech are more than a closed day: then the
// microphone hears nothing but noise.

import { FLOOR_DBFS, isSilent, type SoundLevels } from "../status/levels.ts";
import type { ProblemReport } from "../status/problem_report.ts";
import { problems } from "../status/problems.ts";

/** Levels in one second. */
const PER_S = 10;
const DEAD_AT = 20 * PER_S;
/** One second of sound ends it. */
const SOUND_COUNTS = 20;
const CLIPPED_AT = 60 * PER_S;
/** It begins if more than one level in eleven is clipped, and ends after a minute without. */
const CLIPPED_COUNTS = 10;
/** A level is clipped if this share of its samples is: five samples at 48 kHz. */
const CLIPPED_SHARE = 0.001;
/** A mean beyond this, without sound, is not that of a working converter; 1 is full scale. */
const STUCK_OFFSET = 0.5;
/** Speech at a usable distance has peaks above this. */
const SPEECH_DBFS = -40;
const QUIET_AT = 400;
/** After 40 hours without speech, a microphone that hears only noise is too quiet. */
const HOUR_COUNTS = QUIET_AT / 40;
/** In a working day of eight hours there is speech. */
const LIVELY_HOUR_COUNTS = QUIET_AT / 8;
/** Ten seconds of speech end it. Less than that in a working day are knocks. */
const LOUD_COUNTS = QUIET_AT / (10 * PER_S);
/** A lively hour has a minute of sounds that are so much louder than the quietest tenth of the hour, dB. */
const LIVELY_AT = 60 * PER_S;
const STANDS_OUT_DB = 12;
const HOUR = 3600 * PER_S;

type Report = Pick<ProblemReport, "set" | "clear" | "isLasting">;

export class SoundWatch {
  readonly #dead: Report;
  readonly #clipped: Report;
  readonly #quiet: Report;
  #deadCount = 0;
  #clippedCount = 0;
  #tooLoudCount = 0;
  /** What is named: it may change from one to the other. */
  #overdriven: "microphone" | "recording" | null = null;
  #quietCount = 0;
  /** Since the account was at 0. */
  #withoutSpeech = { hours: 0, peakDbfs: -Infinity };
  /** How many levels of this hour had a peak of 0, -1, -2 … dBFS. */
  #hour = { levels: 0, peaks: new Uint16Array(1 - FLOOR_DBFS) };

  constructor(report: () => Report) {
    [this.#dead, this.#clipped, this.#quiet] = [report(), report(), report()];
  }

  /** Call this with each level of 100 ms of what the microphone gives. */
  hear(levels: SoundLevels): void {
    const isDead = isSilent(levels);
    this.#deadCount = account(this.#deadCount, isDead ? 1 : -SOUND_COUNTS, DEAD_AT);
    if (this.#deadCount === 0) this.#dead.clear();
    if (this.#deadCount === DEAD_AT && !this.#dead.isLasting) {
      const isStuck = Math.abs(levels.offset) > STUCK_OFFSET;
      this.#dead.set(isStuck ? problems.stuck(levels.offset) : problems.silent(levels.peakDbfs));
    }
    this.#clippedCount = clippedAccount(this.#clippedCount, levels);
    this.#checkClipping();
  }

  /** Call this with each level of 100 ms of the recorded sound. */
  record(levels: SoundLevels): void {
    this.#tooLoudCount = clippedAccount(this.#tooLoudCount, levels);
    this.#checkClipping();
    this.#listenForSpeech(levels);
  }

  #checkClipping(): void {
    const most = Math.max(this.#clippedCount, this.#tooLoudCount);
    if (most === 0) {
      this.#clipped.clear();
      this.#overdriven = null;
    }
    if (most < CLIPPED_AT) return;
    const before = this.#overdriven;
    if (this.#clippedCount > CLIPPED_AT / 2) this.#overdriven = "microphone";
    else if (before === null || this.#clippedCount === 0) this.#overdriven = "recording";
    if (this.#overdriven === before) return;
    this.#clipped.set(
      this.#overdriven === "microphone" ? problems.clipping() : problems.gainTooHigh(),
    );
  }

  #listenForSpeech({ peakDbfs }: SoundLevels): void {
    // A microphone that hears nothing at all has a problem of its own.
    if (this.#dead.isLasting) return;
    const quiet = this.#withoutSpeech;
    quiet.peakDbfs = Math.max(quiet.peakDbfs, peakDbfs);
    if (peakDbfs > SPEECH_DBFS) this.#hearLoud();
    const { peaks } = this.#hour;
    const at = Math.round(-peakDbfs);
    peaks[at] = (peaks[at] ?? 0) + 1;
    if (++this.#hour.levels === HOUR) {
      quiet.hours++;
      this.#quietCount += isLively(peaks) ? LIVELY_HOUR_COUNTS : HOUR_COUNTS;
      this.#hour = { levels: 0, peaks: new Uint16Array(1 - FLOOR_DBFS) };
    }
    if (this.#quietCount < QUIET_AT) return;
    this.#quietCount = QUIET_AT;
    if (!this.#quiet.isLasting) this.#quiet.set(problems.tooQuiet(quiet.peakDbfs, quiet.hours));
  }

  #hearLoud(): void {
    this.#quietCount = Math.max(0, this.#quietCount - LOUD_COUNTS);
    if (this.#quietCount > 0) return;
    this.#quiet.clear();
    this.#withoutSpeech = { hours: 0, peakDbfs: -Infinity };
  }
}

/** @param peaks the levels of an hour, counted by their peak, from the loudest to the quietest. */
function isLively(peaks: Uint16Array): boolean {
  const loudest = (count: number) => {
    let sum = 0;
    return peaks.findIndex((levels) => (sum += levels) >= count);
  };
  return loudest(0.9 * HOUR) - loudest(LIVELY_AT) >= STANDS_OUT_DB;
}

function clippedAccount(count: number, levels: SoundLevels): number {
  const isClipped = !isSilent(levels) && levels.clippedShare > CLIPPED_SHARE;
  return account(count, isClipped ? CLIPPED_COUNTS : -1, CLIPPED_AT);
}

function account(count: number, change: number, most: number): number {
  return Math.min(most, Math.max(0, count + change));
}
