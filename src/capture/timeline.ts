// When a sample was heard. The stream's start is found from the arrival of its packets on the
// monotonic clock, follows the microphone's own clock slowly, and becomes UTC only when a chunk is
// sealed. Pure arithmetic: it asks no clock and cuts nothing.

const SAMPLES_PER_MS = 48;
/** In the first seconds the earliest arrival counts at once; afterwards the start only slews. */
const SETTLE_MS = 30_000;
/** One slew step a window: follows 200 ppm, twice what a poor microphone drifts. */
const WINDOW_MS = 30_000;
const MAX_SLEW_MS = WINDOW_MS * 200e-6;
/** A packet that is later than this begins a late stretch: a stall, or a gap if it stays late. */
export const LATE_MS = 250;
/** A late stretch that keeps the microphone's pace for so long is a gap and not a burst. */
const PLATEAU_MS = 2_000;
/** Within this, two arrivals keep pace. */
const PACE_MS = 60;
/** Boundaries closer than this are the same instant. */
const SAME_MS = 50;

export interface ChunkTimes {
  readonly startUnixUs: number;
  readonly endUnixUs: number;
  /** How much is missing between the chunk before, of this stream, and this one; 0 if nothing. */
  readonly gapMs: number;
}

/** The times of one stream. Samples are counted at 48 kHz from the first one that can be heard. */
export class Timeline {
  #startMs = Infinity;
  #firstArrivalMs: number | null = null;
  #window: { endMs: number; earliest: number } | null = null;
  #late: { sinceMs: number; first: number; earliest: number } | null = null;
  #previous: { endSample: number; endMs: number; endUnixUs: number; offsetMs: number } | null =
    null;

  /**
   * A packet whose last sample is at `endPosition` (pre-skip included) arrived at `arrivalMs`,
   * monotonic. Returns "late" when a late stretch begins with it: if sound was lost, it was lost
   * here, so the chunk should end before it.
   */
  observe(endPosition: number, arrivalMs: number): "late" | null {
    // The encoder can only give out position n of its stream once it has heard input sample n. What
    // is heard at position n is input sample n - preSkip; so sample 0 needs no correction here.
    const start = arrivalMs - endPosition / SAMPLES_PER_MS;
    this.#firstArrivalMs ??= arrivalMs;
    if (start - this.#startMs > LATE_MS) return this.#observeLate(start, arrivalMs);
    this.#late = null;
    if (arrivalMs - this.#firstArrivalMs < SETTLE_MS) {
      this.#startMs = Math.min(this.#startMs, start);
      return null;
    }
    this.#window ??= { endMs: arrivalMs + WINDOW_MS, earliest: start };
    this.#window.earliest = Math.min(this.#window.earliest, start);
    if (arrivalMs >= this.#window.endMs) {
      const error = this.#window.earliest - this.#startMs;
      this.#startMs += Math.max(-MAX_SLEW_MS, Math.min(MAX_SLEW_MS, error / 2));
      this.#window = null;
    }
    return null;
  }

  /** Monotonic milliseconds at which a sample was heard. */
  timeOf(sample: number): number {
    return this.#startMs + sample / SAMPLES_PER_MS;
  }

  /**
   * The times of a chunk that is sealed now. Its start is the end of the chunk before, to the
   * microsecond, unless sound is missing in between or the system clock was stepped.
   * @param utcOffsetMs Unix milliseconds minus monotonic milliseconds, now.
   */
  seal(startSample: number, endSample: number, utcOffsetMs: number): ChunkTimes {
    const previous = this.#previous;
    let startMs = this.timeOf(startSample);
    let gapMs = 0;
    let startUnixUs = Math.round((startMs + utcOffsetMs) * 1000);
    if (previous !== null) {
      const missing = startMs - previous.endMs;
      const contiguous = Math.abs(missing) < SAME_MS && startSample === previous.endSample;
      if (contiguous) startMs = previous.endMs;
      else gapMs = Math.max(0, missing);
      startUnixUs = contiguous && Math.abs(utcOffsetMs - previous.offsetMs) < SAME_MS
        ? previous.endUnixUs
        : Math.round((startMs + utcOffsetMs) * 1000);
    }
    const endMs = Math.max(this.timeOf(endSample), startMs);
    const endUnixUs = Math.max(Math.round((endMs + utcOffsetMs) * 1000), startUnixUs);
    this.#previous = { endSample, endMs, endUnixUs, offsetMs: utcOffsetMs };
    return { startUnixUs, endUnixUs, gapMs };
  }

  #observeLate(start: number, arrivalMs: number): "late" | null {
    const late = this.#late;
    if (late === null) {
      this.#late = { sinceMs: arrivalMs, first: start, earliest: start };
      return "late";
    }
    if (start < late.first - PACE_MS) {
      // Still catching up: what was held back arrives faster than it was heard.
      this.#late = { sinceMs: arrivalMs, first: start, earliest: start };
      return null;
    }
    late.earliest = Math.min(late.earliest, start);
    if (arrivalMs - late.sinceMs >= PLATEAU_MS) {
      this.#startMs = late.earliest;
      this.#late = null;
      this.#window = null;
    }
    return null;
  }
}
