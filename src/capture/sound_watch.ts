// Finds out from the levels what is wrong with a microphone that delivers: nothing is heard, every sample is the
// same, it is overdriven, or it is too quiet for speech. It counts recorded time, not chunks. gain_db and
// highpass_hz must not hide a bad microphone: they would make the noise of a dead one a sound, and a clipped wave
// smaller than full scale. So it is judged by its raw sound, and by the recorded sound only where that is what
// matters: for speech, and for what gain_db itself drives beyond full scale.
//
// Each of the first three has an account, which a level of 100 ms raises or lowers:
//
//   account   of         raised by                 lowered by            problem   over
//   dead      raw        1, if nothing is heard    20, if something is   at 20 s   at 0
//   clipped   raw        10, if it is clipped      1, if it is not       at 60 s   at 0, with
//   too loud  recorded   10, if it is clipped      1, if it is not       at 60 s   both at 0
//
// A dead microphone is stuck if its samples are far from 0, else silent. For the last one, the loud moments of
// eight recorded hours are counted.

import { isSilent, type SoundLevels } from "../status/levels.ts";
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
/** A working day. */
const DAY_H = 8;
/** Fewer loud levels in a working day are knocks, not speech. */
const SPEECH_AT = 10 * PER_S;

type Report = Pick<ProblemReport, "set" | "clear" | "isLasting">;

export class SoundWatch {
  readonly #dead: Report;
  readonly #clipped: Report;
  readonly #quiet: Report;
  #deadCount = 0;
  #clippedCount = 0;
  #tooLoudCount = 0;
  #day = { levels: 0, loud: 0, peakDbfs: -Infinity };

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
    if (most === 0) this.#clipped.clear();
    if (most < CLIPPED_AT || this.#clipped.isLasting) return;
    const isMicrophone = this.#clippedCount > CLIPPED_AT / 2;
    this.#clipped.set(isMicrophone ? problems.clipping() : problems.gainTooHigh());
  }

  #listenForSpeech({ peakDbfs }: SoundLevels): void {
    const day = this.#day;
    day.levels++;
    if (peakDbfs > SPEECH_DBFS) day.loud++;
    day.peakDbfs = Math.max(day.peakDbfs, peakDbfs);
    if (day.loud >= SPEECH_AT) this.#quiet.clear();
    if (day.levels < DAY_H * 3600 * PER_S) return;
    // A microphone that hears nothing at all has a problem of its own.
    if (day.loud < SPEECH_AT && !this.#dead.isLasting) {
      this.#quiet.set(problems.tooQuiet(day.peakDbfs, DAY_H));
    }
    this.#day = { levels: 0, loud: 0, peakDbfs: -Infinity };
  }
}

function clippedAccount(count: number, levels: SoundLevels): number {
  const isClipped = !isSilent(levels) && levels.clippedShare > CLIPPED_SHARE;
  return account(count, isClipped ? CLIPPED_COUNTS : -1, CLIPPED_AT);
}

function account(count: number, change: number, most: number): number {
  return Math.min(most, Math.max(0, count + change));
}
