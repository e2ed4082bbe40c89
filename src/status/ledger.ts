// Accounts for the scheduled time: at every moment, all of it is recorded, being recorded, or a declared
// gap. Pure: it receives the times of recorded sound and returns the gaps. It counts whole microseconds, so
// that rounding loses nothing.

import type { ProblemCode } from "./problems.ts";

/** Why sound is missing, besides the codes of problems; the reference says what each means. */
export const GAP_CAUSES = [
  ...["starting", "stopping", "schedule_end", "outside_schedule", "paused"] as const,
  ...["settings_changed", "microphone_changed", "channel_changed"] as const,
  ...["overrun", "late", "stream_damaged", "evicted", "expired"] as const,
  ...["machine_restarted", "program_killed", "not_running"] as const,
] as const;

export type GapCause = typeof GAP_CAUSES[number] | ProblemCode;

export interface Gap {
  /** Monotonic milliseconds. */
  readonly startMs: number;
  readonly endMs: number;
}

/** Microseconds since the last chunk of the run before; `scheduledUs` is always the sum of the other three. */
export interface LedgerBalance {
  readonly scheduledUs: number;
  readonly recordedUs: number;
  readonly gapUs: number;
  /**
   * Since the end of the last sealed chunk: in the chunk being recorded, or in a gap that has not ended.
   */
  readonly openUs: number;
  readonly gaps: number;
}

/** The balance before the schedule has begun. */
export const NO_BOOKS: LedgerBalance = {
  scheduledUs: 0,
  recordedUs: 0,
  gapUs: 0,
  openUs: 0,
  gaps: 0,
};

/** All times are monotonic milliseconds. */
export class Ledger {
  #scheduledUs = 0;
  #recordedUs = 0;
  #gapUs = 0;
  #gaps = 0;
  /** Everything up to this time is accounted for; null outside the schedule. */
  #cursorUs: number | null = null;

  /** Call this when the schedule begins, or the program starts within it. */
  begin(atMs: number): void {
    this.#cursorUs ??= toUs(atMs);
  }

  /** Counts scheduled time outside of that between `begin` and `end`, in which nothing was recorded. */
  missed(gap: Gap): void {
    const us = toUs(gap.endMs) - toUs(gap.startMs);
    this.#gapUs += us;
    this.#scheduledUs += us;
    this.#gaps++;
  }

  /** Counts a sealed chunk. Returns the gap before it, or null. Overlaps count once. */
  record(startMs: number, endMs: number): Gap | null {
    if (this.#cursorUs === null) return null;
    const gap = this.gapUntil(startMs);
    const from = this.#cursorUs;
    this.#cursorUs = Math.max(from, toUs(endMs));
    this.#recordedUs += this.#cursorUs - from;
    this.#scheduledUs += this.#cursorUs - from;
    return gap;
  }

  /** Counts what is missing up to this time as a gap, or returns null if nothing is. */
  gapUntil(atMs: number): Gap | null {
    const us = toUs(atMs);
    if (this.#cursorUs === null || us <= this.#cursorUs) return null;
    const gap = { startMs: this.#cursorUs / 1000, endMs: us / 1000 };
    this.#gapUs += us - this.#cursorUs;
    this.#scheduledUs += us - this.#cursorUs;
    this.#gaps++;
    this.#cursorUs = us;
    return gap;
  }

  /** Call this when the schedule ends. Returns the gap up to its end, or null. */
  end(atMs: number): Gap | null {
    if (this.#cursorUs === null) return null;
    const gap = this.gapUntil(atMs);
    this.#cursorUs = null;
    return gap;
  }

  balance(nowMs: number): LedgerBalance {
    const openUs = this.#cursorUs === null ? 0 : Math.max(0, toUs(nowMs) - this.#cursorUs);
    return {
      scheduledUs: this.#scheduledUs + openUs,
      recordedUs: this.#recordedUs,
      gapUs: this.#gapUs,
      openUs,
      gaps: this.#gaps,
    };
  }
}

function toUs(ms: number): number {
  return Math.round(ms * 1000);
}
