// How much patience each microphone gets: how long its first sound may take, and whether it is tried again while a
// driver holds an ffmpeg of an earlier attempt. It opens nothing, and never waits.

import { keyOf, type Microphone } from "../microphone/microphones.ts";
import type { RunningFfmpeg } from "./ffmpeg.ts";

/** How long the first sound of a microphone may take, ms; twice as long after each start without sound. */
const FIRST_SOUND_MIN_MS = 20_000;
const FIRST_SOUND_MAX_MS = 80_000;
/**
 * If drivers hold this many ffmpeg processes with one microphone, the next one waits until one of them
 * ends.
 */
const MOST_LEFT_BEHIND = 8;

export class MicrophonePatience {
  /** How long the first sound of a microphone may take, until it gives one in the usual time. */
  readonly #firstSoundMs = new Map<string, number>();
  /**
   * The microphone of each ffmpeg that a driver holds, by process id, until that microphone gives sound
   * again.
   */
  readonly #leftBehind = new Map<number, string>();

  /** How many ffmpeg processes drivers hold. */
  get leftBehind(): number {
    return this.#leftBehind.size;
  }

  /** How long the next first sound may take, ms. */
  firstSoundMs(microphone: Microphone): number {
    return this.#firstSoundMs.get(keyOf(microphone)) ?? FIRST_SOUND_MIN_MS;
  }

  /**
   * The process id of an ffmpeg that a driver holds with this microphone; null if the microphone may be
   * tried. Another ffmpeg would hang as well, unless something was plugged in.
   */
  heldFrom(microphone: Microphone, isPlugged: boolean): number | null {
    const key = keyOf(microphone);
    const pids = [...this.#leftBehind].filter(([, held]) => held === key).map(([pid]) => pid);
    return isPlugged && pids.length < MOST_LEFT_BEHIND ? null : pids[0] ?? null;
  }

  /** It gave no sound in its time: it gets more the next time, because it may only be slow. */
  gaveNoSound(microphone: Microphone): void {
    const ms = Math.min(this.firstSoundMs(microphone) * 2, FIRST_SOUND_MAX_MS);
    this.#firstSoundMs.set(keyOf(microphone), ms);
  }

  /** Its first sound came after `tookMs`. */
  gaveSound(microphone: Microphone, tookMs: number): void {
    const key = keyOf(microphone);
    if (tookMs < FIRST_SOUND_MIN_MS) this.#firstSoundMs.delete(key);
    for (const [pid, held] of this.#leftBehind) if (held === key) this.#leftBehind.delete(pid);
  }

  /** A driver holds this ffmpeg. */
  leaveBehind({ pid, ended }: Pick<RunningFfmpeg, "pid" | "ended">, microphone: Microphone): void {
    this.#leftBehind.set(pid, keyOf(microphone));
    ended.then(() => this.#leftBehind.delete(pid)); // it never rejects
  }
}
