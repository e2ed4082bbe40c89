// Tells whether another process has changed which files are in a folder, by the folder's modification
// time: every change of our own is bracketed, and what the time is afterwards is remembered. A time that
// differs, in whichever direction, is another process's work. It lists nothing and changes nothing.
// Times of files are the system's, so it asks the system's clock, whichever the program is given.
//
// The time is as coarse as the kernel's tick, 4 ms as a rule: what another process does within a tick
// behind a change of our own, or while one is under way, cannot be told from it. What that means:
//
//   - A change of our own that takes a second counts as one by another process: it could have hidden one.
//   - A listing proves nothing about a folder that was changed less than a tick ago: its first files may
//     have been read before that change. Such a folder stays touched.
//   - Whoever finds a file missing says so (`touch`), whatever the time says.
//   - What is still missed, a change within the tick, is found by the recounts that the janitor makes in
//     any case. A file system whose times are coarser (FAT: 2 s) leaves more to these.

import { delay } from "@std/async/delay";
import { systemClock } from "../system/clock.ts";

/** Longer than the tick of any kernel: 10 ms at 100 Hz. */
const TICK_MS = 20;
/** A change of our own that takes longer leaves a folder touched. */
const SLOW_MS = 1000;
/** So often a folder that is being changed is awaited. */
const SETTLE_TRIES = 3;

export class FolderWatch {
  readonly #path: string;
  /** Unix ms; null: not known. */
  #changedMs: number | null = null;
  /** Changes of our own that are under way. */
  #ownChanges = 0;
  #ownSinceMs = 0;
  #isTouched = true;

  constructor(path: string) {
    this.#path = path;
  }

  /** Whether another process has changed the folder, as far as can be told, since `listingBegins`. */
  get isTouched(): boolean {
    if (this.#ownChanges === 0) this.#look();
    return this.#isTouched;
  }

  /** Another process has been at work here. */
  touch(): void {
    this.#isTouched = true;
  }

  /** Makes a change of our own; several may overlap. */
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
        if (systemClock.monotonicMs() - this.#ownSinceMs > SLOW_MS) this.#isTouched = true;
      }
    }
  }

  /** Resolves when a tick has passed since the folder was changed, or it is changed all the time. */
  async settled(): Promise<void> {
    for (let tries = 0; tries < SETTLE_TRIES && this.#isJustChanged(); tries++) {
      await delay(TICK_MS);
    }
  }

  /** A listing begins that will show what has been done until now. */
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
    return changedMs === null || Math.abs(systemClock.unixMs() - changedMs) < TICK_MS;
  }

  #readChangedMs(): number | null {
    try {
      return Deno.lstatSync(this.#path).mtime?.getTime() ?? null;
    } catch {
      return null; // it cannot be told: as if it had been changed
    }
  }
}
