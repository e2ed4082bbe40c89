// Tells whether another process has changed which files are in a folder, by the folder's modification
// time. Every change by this program is bracketed, and the time after it is remembered. If the time
// differs, in either direction, another process has changed the folder. It lists nothing and changes
// nothing. File times come from the system, so it reads the system's clock, whichever clock the program is
// given.
//
// The time is as coarse as the kernel's tick, usually 4 ms. A change by another process within a tick
// after a change by this program, or during one, cannot be told apart from it. This means:
//
//   - A change by this program that takes a second counts as one by another process: it could have hidden
//     one.
//   - A listing proves nothing about a folder that was changed less than a tick ago: its first files may
//     have been read before that change. Such a folder stays touched.
//   - Code that finds a file missing says so (`touch`), whatever the time says.
//   - A change within the tick that is still missed is found by the regular recounts of the janitor. A
//     file system with coarser times (FAT: 2 s) leaves more to them.

import { delay } from "@std/async/delay";
import { systemClock } from "../system/clock.ts";

export interface WatchTiming {
  /** A change that is younger may hide another one. */
  readonly tickMs: number;
  /** A change by this program that takes longer leaves a folder touched. */
  readonly slowMs: number;
}

/** A tick is longer than that of any kernel: 10 ms at 100 Hz. */
export const SYSTEM_TIMING: WatchTiming = { tickMs: 20, slowMs: 1000 };
/** For schedules that must repeat themselves: what happens does not depend on how fast the machine is. */
export const NO_TIMING: WatchTiming = { tickMs: 0, slowMs: Infinity };
/** How many ticks `settled` waits at most for a folder that keeps changing. */
const SETTLE_TRIES = 3;

export class FolderWatch {
  readonly #path: string;
  readonly #timing: WatchTiming;
  /** Unix ms; null: not known. */
  #changedMs: number | null = null;
  /** Changes by this program that are under way. */
  #ownChanges = 0;
  #ownSinceMs = 0;
  #isTouched = true;

  constructor(path: string, timing: WatchTiming) {
    this.#path = path;
    this.#timing = timing;
  }

  /** Whether another process has changed the folder since `listingBegins`, as far as the time shows. */
  get isTouched(): boolean {
    if (this.#ownChanges === 0) this.#look();
    return this.#isTouched;
  }

  /** Another process has changed the folder. */
  touch(): void {
    this.#isTouched = true;
  }

  /** Makes a change to the folder; several may overlap. */
  async change<T>(make: () => T | Promise<T>): Promise<T> {
    if (this.#ownChanges++ === 0) {
      this.#look();
      this.#ownSinceMs = systemClock.monotonicMs();
    }
    try {
      return await make();
    } finally {
      if (--this.#ownChanges === 0) {
        this.#changedMs = this.#readChangedMs();
        if (systemClock.monotonicMs() - this.#ownSinceMs > this.#timing.slowMs) {
          this.#isTouched = true;
        }
      }
    }
  }

  /**
   * Resolves when a tick has passed since the last change, or after a few ticks if the folder keeps
   * changing.
   */
  async settled(): Promise<void> {
    for (let tries = 0; tries < SETTLE_TRIES && this.#isJustChanged(); tries++) {
      await delay(this.#timing.tickMs);
    }
  }

  /** A listing begins. It will show every change that was made until now. */
  listingBegins(): void {
    this.#changedMs = this.#readChangedMs();
    this.#isTouched &&= this.#ownChanges > 0 || this.#isJustChanged();
  }

  #look(): void {
    const changedMs = this.#readChangedMs();
    if (changedMs === null || changedMs !== this.#changedMs) this.#isTouched = true;
    this.#changedMs = changedMs;
  }

  #isJustChanged(): boolean {
    const changedMs = this.#readChangedMs();
    return changedMs === null || Math.abs(systemClock.unixMs() - changedMs) < this.#timing.tickMs;
  }

  #readChangedMs(): number | null {
    try {
      return Deno.lstatSync(this.#path).mtime?.getTime() ?? null;
    } catch {
      return null; // an unknown time counts as a change
    }
  }
}
