// The books of recorded time: what the schedule asked for is, at every moment, recorded, being
// recorded, or a declared gap. Pure: it is told when sound was heard and answers what is missing. It
// counts whole microseconds, so that nothing is lost in rounding.

export interface Gap {
  /** Monotonic milliseconds. */
  readonly startMs: number;
  readonly endMs: number;
}

/** Microseconds since the program started; `scheduledUs` is always the sum of the other three. */
export interface LedgerBalance {
  readonly scheduledUs: number;
  readonly recordedUs: number;
  readonly gapUs: number;
  /** Since the end of what was sealed last: in the chunk being recorded, or in a gap to come. */
  readonly openUs: number;
  readonly gaps: number;
}

/** Nothing has been asked for yet. */
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
  /** Up to where the books are closed, while the schedule is on. */
  #cursorUs: number | null = null;

  /** The schedule begins (or the program, within it). */
  begin(atMs: number): void {
    this.#cursorUs ??= toUs(atMs);
  }

  /** A chunk was sealed. Returns the gap before it, or null. Overlaps count once. */
  record(startMs: number, endMs: number): Gap | null {
    if (this.#cursorUs === null) return null;
    const gap = this.#gapUntil(toUs(startMs));
    const from = this.#cursorUs;
    this.#cursorUs = Math.max(from, toUs(endMs));
    this.#recordedUs += this.#cursorUs - from;
    this.#scheduledUs += this.#cursorUs - from;
    return gap;
  }

  /** The schedule ends. Returns the gap up to its end, or null. */
  end(atMs: number): Gap | null {
    if (this.#cursorUs === null) return null;
    const gap = this.#gapUntil(toUs(atMs));
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

  #gapUntil(us: number): Gap | null {
    if (this.#cursorUs === null || us <= this.#cursorUs) return null;
    const gap = { startMs: this.#cursorUs / 1000, endMs: us / 1000 };
    this.#gapUs += us - this.#cursorUs;
    this.#scheduledUs += us - this.#cursorUs;
    this.#gaps++;
    this.#cursorUs = us;
    return gap;
  }
}

function toUs(ms: number): number {
  return Math.round(ms * 1000);
}
