// When a sample was heard. The stream's start is found from the arrival of its packets on the
// monotonic clock, follows the microphone's own clock slowly, and becomes UTC only when a chunk is
// sealed. Pure arithmetic: it asks no clock and cuts nothing.

import type { ChunkTimes } from "../chunk/chunk_times.ts";

const SAMPLES_PER_MS = 48;
/** In the first seconds the earliest arrival counts at once; afterwards the start only slews. */
const SETTLE_MS = 30_000;
/**
 * Afterwards, half of what the earliest arrival of a window was off by is taken over: this follows
 * the microphone's own clock (a poor one drifts 100 ppm) and an NTP daemon's slewing.
 */
const WINDOW_MS = 30_000;
/** A whole window that was later, or earlier, than this has jumped and not drifted. */
const JUMP_MS = 100;
/** A packet that is later than this begins a late stretch: a stall, or a gap if it stays late. */
const LATE_MS = 250;
/** A late stretch is over when a packet is less late than this. */
const ON_TIME_MS = 125;
/** The same two after a reported overrun: what stays so late, above the jitter, was lost. */
const OVERRUN_LATE_MS = 60;
const OVERRUN_ON_TIME_MS = 40;
/** So long after the report a gap may show. */
const OVERRUN_SHOWS_MS = 5_000;
/** A late stretch that keeps the microphone's pace for so long is a gap and not a burst. */
const PLATEAU_MS = 2_000;
/** Within this, two arrivals keep pace. */
const PACE_MS = 60;
/** A change of the system clock that is smaller is no step: the clocks are read in turn. */
const STEP_MS = 50;

/** What is known of a late stretch; all are stream starts as single packets imply them, ms. */
interface LateStretch {
  /** Since when, on the monotonic clock, packets have kept pace. */
  paceSinceMs: number;
  /** The first that kept pace. */
  paceStart: number;
  earliest: number;
  last: number;
  /** That of the first packet in the chunk, or in what had waited before the stretch was seen. */
  cutStart: number;
}

/** The times of one stream. Samples are counted at 48 kHz from the first one that can be heard. */
export class Timeline {
  readonly #pageMs: number;
  #startMs = Infinity;
  #firstArrivalMs: number | null = null;
  #window: { endMs: number; earliest: number } | null = null;
  #late: LateStretch | null = null;
  #position = 0;
  #expectUntilMs = -Infinity;
  /** Jumps of the start (gaps) that no chunk has been charged with yet. */
  #jumpMs = 0;
  #previous: { endSample: number; endMs: number; endUnixUs: number; offsetMs: number } | null =
    null;

  /** @param pageMs sound that arrives at once when nothing holds it up. */
  constructor(pageMs: number) {
    this.#pageMs = pageMs;
  }

  /**
   * Packets arrived together at `arrivalMs`, monotonic; the last sample of the last one is at
   * `endPosition` (pre-skip included). Returns "late" if the chunk should end behind them, because
   * sound that was lost was lost here: in the page that ffmpeg was filling when it should have given
   * these out. For a backlog that is behind all of it (what had been waiting was heard before the loss).
   */
  observe(endPosition: number, arrivalMs: number): "late" | null {
    // The encoder can only give out position n of its stream once it has heard input sample n. What
    // is heard at position n is input sample n - preSkip; so sample 0 needs no correction here.
    const start = arrivalMs - endPosition / SAMPLES_PER_MS;
    const soundMs = (endPosition - this.#position) / SAMPLES_PER_MS;
    this.#position = endPosition;
    this.#firstArrivalMs ??= arrivalMs;
    const lateness = start - this.#startMs;
    if (lateness > this.#tolerance(arrivalMs)) {
      return this.#observeLate(start, arrivalMs, soundMs);
    }
    this.#late = null;
    if (arrivalMs - this.#firstArrivalMs < SETTLE_MS) {
      this.#startMs = Math.min(this.#startMs, start);
    } else {
      this.#slew(start, arrivalMs);
    }
    return null;
  }

  /** Whether anything has arrived: before that, no sample has a time. */
  get hasBegun(): boolean {
    return this.#firstArrivalMs !== null;
  }

  /** ALSA has reported that sound was lost: for a while a smaller delay counts as late. */
  expectGap(nowMs: number): void {
    this.#expectUntilMs = nowMs + OVERRUN_SHOWS_MS;
  }

  #tolerance(arrivalMs: number): number {
    const expected = arrivalMs < this.#expectUntilMs;
    if (this.#late === null) return expected ? OVERRUN_LATE_MS : LATE_MS;
    return expected ? OVERRUN_ON_TIME_MS : ON_TIME_MS;
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
    const lostMs = previous === null ? 0 : (startSample - previous.endSample) / SAMPLES_PER_MS;
    const shiftMs = this.#jumpMs + lostMs;
    this.#jumpMs = 0;
    const startMs = previous === null ? this.timeOf(startSample) : previous.endMs + shiftMs;
    const stepped = previous === null || Math.abs(utcOffsetMs - previous.offsetMs) >= STEP_MS;
    const startUnixUs = stepped
      ? Math.round((startMs + utcOffsetMs) * 1000)
      : previous.endUnixUs + Math.round(shiftMs * 1000);
    const endMs = Math.max(this.timeOf(endSample), startMs);
    const endUnixUs = Math.max(Math.round((endMs + utcOffsetMs) * 1000), startUnixUs);
    this.#previous = { endSample, endMs, endUnixUs, offsetMs: utcOffsetMs };
    return { startUnixUs, endUnixUs, startMs, endMs, gapMs: Math.max(0, shiftMs) };
  }

  #slew(start: number, arrivalMs: number): void {
    this.#window ??= { endMs: arrivalMs + WINDOW_MS, earliest: start };
    this.#window.earliest = Math.min(this.#window.earliest, start);
    if (arrivalMs < this.#window.endMs) return;
    const error = this.#window.earliest - this.#startMs;
    this.#window = null;
    if (Math.abs(error) > JUMP_MS) this.#jump(error);
    else this.#startMs += error / 2;
  }

  #jump(byMs: number): void {
    this.#startMs += byMs;
    this.#jumpMs += byMs;
  }

  #observeLate(start: number, arrivalMs: number, soundMs: number): "late" | null {
    const late = this.#late;
    const waitedMs = Math.max(0, soundMs - this.#pageMs);
    if (late === null || start - late.earliest > LATE_MS) {
      this.#late = {
        paceSinceMs: arrivalMs,
        paceStart: start,
        earliest: start,
        last: start,
        cutStart: start + waitedMs,
      };
      return waitedMs > LATE_MS ? null : "late";
    }
    // What came more than half its length after what came before had not waited with it.
    const isLive = start - late.last > -soundMs / 2;
    late.last = start;
    late.earliest = Math.min(late.earliest, start);
    if (start < late.paceStart - PACE_MS) {
      // Still catching up: what was held back arrives faster than it was heard.
      late.paceSinceMs = arrivalMs;
      late.paceStart = start;
    }
    if (arrivalMs - late.paceSinceMs >= PLATEAU_MS) {
      this.#jump(late.earliest - this.#startMs);
      this.#late = null;
      this.#window = null;
      return null;
    }
    if (!isLive || late.cutStart - start <= LATE_MS) return null;
    late.cutStart = start;
    return "late";
  }
}
