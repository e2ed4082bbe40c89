// Calculates when a sample was heard. The stream's start is derived from the arrival of its packets on the
// monotonic clock. It follows the microphone's own clock slowly, and is converted to UTC only when a chunk
// is sealed. Pure arithmetic: this module reads no clock and cuts nothing.
//
//   on time --a packet is late--> late --a packet is on time, it was a stall--> on time
//                                 late --packets keep the pace for 2 s, or none
//                                        catches up for 5 s, or for 90 s in all
//                                        if sound waited: it is a gap----------> on time, later
//
// Sound that is always lost, or a microphone that is slower than it says, goes through this again and again: its
// times follow, with at most one cut in ten seconds.

import type { ChunkTimes } from "../chunk/chunk_times.ts";

const SAMPLES_PER_MS = 48;
/** In the first seconds the earliest arrival sets the start at once; afterwards the start only slews. */
const SETTLE_MS = 30_000;
/**
 * Afterwards, the start is corrected once per window, by half of the error of the earliest arrival in it.
 * This follows the microphone's own clock (a poor one drifts by 100 ppm) and the slewing of an NTP daemon.
 */
const WINDOW_MS = 30_000;
/** If a whole window is late or early by more than this, that is a jump and not drift. */
const JUMP_MS = 100;
/** A packet that is later than this begins a late stretch: a stall, or a gap if the packets stay late. */
const LATE_MS = 250;
/** A packet that is early by more than the jitter is believed when the next one has come at its time. */
const EARLY_MS = 40;
/** A late stretch ends with a packet that is less late than this. */
const ON_TIME_MS = 125;
/** The same two limits after a reported overrun: a delay above the jitter that stays is a loss. */
const OVERRUN_LATE_MS = 60;
const OVERRUN_ON_TIME_MS = 40;
/** A gap may show for this long after the report. */
const OVERRUN_SHOWS_MS = 5_000;
/** A late stretch in which packets keep the microphone's pace for this long is a gap and not a burst. */
const PLATEAU_MS = 2_000;
/** Two arrivals keep pace if they differ by no more than this. */
const PACE_MS = 60;
/**
 * Sound that arrives more slowly than it is heard gets later and later, and never keeps the pace: it is lost all the
 * time. After this long, a stretch in which nothing catches up is a gap, too.
 */
const SLOW_MS = 5_000;
/** Then the sound is cut this often, and two times at once; what is lost in between is declared with a cut. */
const CUT_EVERY_MS = 10_000;
/**
 * A longer pause in a late stretch is a stall, after which sound may catch up. Pages of a microphone that delivers a
 * seventh of its sound follow each other sooner.
 */
const STALL_MS = SLOW_MS - PLATEAU_MS;
/**
 * A stretch in which nothing has caught up for this long is a gap, even if sound waited meanwhile: no more than a
 * minute of it can.
 */
const MOST_WAITING_MS = 90_000;
/** A smaller change of the system clock is not a step: the two clocks are read one after the other. */
const STEP_MS = 50;

/**
 * What is known of a late stretch. Apart from `…SinceMs` and `recent`, each value is the stream start, ms, that
 * a single packet implies.
 */
interface LateStretch {
  /** Monotonic time since which no packet has caught up, and none has waited for this process. */
  lateSinceMs: number;
  /** Monotonic time since which no packet has caught up. */
  behindSinceMs: number;
  /** Monotonic time since which packets have kept pace. */
  paceSinceMs: number;
  /** The packets of the last PLATEAU_MS. */
  recent: { start: number; arrivalMs: number }[];
  /** That of the first packet that kept pace. */
  paceStart: number;
  earliest: number;
  last: number;
  /**
   * That of the first packet in the chunk, or in the sound that was waiting when the stretch was noticed.
   */
  cutStart: number;
}

/** The times of one stream. Samples are counted at 48 kHz from the first audible one. */
export class Timeline {
  readonly #pageMs: number;
  #startMs = Infinity;
  #firstArrivalMs: number | null = null;
  #window: { endMs: number; earliest: number } | null = null;
  #late: LateStretch | null = null;
  /** Packets that imply an earlier start, if no others follow at once. */
  #early: { start: number; arrivalMs: number; sinceMs: number } | null = null;
  #position = 0;
  #expectUntilMs = -Infinity;
  /** The cuts so far are those of the time until then. */
  #cutsUntilMs = -Infinity;
  /** Jumps of the start (gaps) that no chunk contains yet. */
  #jumpMs = 0;
  #previous: { endSample: number; endMs: number; endUnixUs: number; offsetMs: number } | null =
    null;

  /** @param pageMs length of the sound that arrives at once when there is no delay. */
  constructor(pageMs: number) {
    this.#pageMs = pageMs;
  }

  /**
   * Call this when packets arrived together at `arrivalMs`, monotonic; the last sample of the last one is
   * at `endPosition` (pre-skip included). Returns "late" if the chunk should end after them because sound
   * was lost there: in the page that ffmpeg was filling when it should have written these packets. In a
   * backlog, the place is after all of it, because the waiting sound was heard before the loss.
   */
  observe(endPosition: number, arrivalMs: number): "late" | null {
    // The encoder can write position n of its stream only after it has received input sample n. Position n
    // plays input sample n - preSkip, so sample 0 needs no correction here.
    const start = arrivalMs - endPosition / SAMPLES_PER_MS;
    const soundMs = (endPosition - this.#position) / SAMPLES_PER_MS;
    this.#position = endPosition;
    this.#believeEarly(arrivalMs);
    if (this.#firstArrivalMs === null) {
      this.#firstArrivalMs = arrivalMs;
      this.#startMs = start;
    }
    const lateness = start - this.#startMs;
    const sinceMs = this.#early?.sinceMs ?? arrivalMs;
    this.#early = lateness < -EARLY_MS ? { start, arrivalMs, sinceMs } : null;
    if (lateness > this.#tolerance(arrivalMs)) {
      return this.#observeLate(start, arrivalMs, soundMs);
    }
    this.#late = null;
    if (this.#early === null) this.#follow(start, arrivalMs);
    return null;
  }

  /**
   * When ffmpeg ends by itself, it writes the full page that it holds before its time, and the rest at once after
   * it. So packets that seem early count only when those after them have come, and not together with them.
   */
  #believeEarly(arrivalMs: number): void {
    const early = this.#early;
    if (early === null || arrivalMs - early.sinceMs < this.#pageMs / 2) return;
    this.#early = null;
    this.#follow(early.start, early.arrivalMs);
  }

  #follow(start: number, arrivalMs: number): void {
    if (arrivalMs - (this.#firstArrivalMs ?? arrivalMs) < SETTLE_MS) {
      this.#startMs = Math.min(this.#startMs, start);
    } else {
      this.#slew(start, arrivalMs);
    }
  }

  /** Whether packets have arrived. Before that, no sample has a time. */
  get hasBegun(): boolean {
    return this.#firstArrivalMs !== null;
  }

  /** Call this when ALSA has reported a loss: for a while, a smaller delay counts as late. */
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
   * The start of a chunk, as far as it is known now: the end of the previous chunk, to the microsecond,
   * unless sound is missing in between or the system clock was stepped.
   * @param utcOffsetMs Unix milliseconds minus monotonic milliseconds, now.
   */
  startOf(
    startSample: number,
    utcOffsetMs: number,
  ): Pick<ChunkTimes, "startMs" | "startUnixUs" | "gapMs"> {
    const { startMs, startUnixUs, shiftMs } = this.#startOf(startSample, utcOffsetMs);
    return { startMs, startUnixUs, gapMs: Math.max(0, shiftMs) };
  }

  #startOf(startSample: number, utcOffsetMs: number) {
    const previous = this.#previous;
    const lostMs = previous === null ? 0 : (startSample - previous.endSample) / SAMPLES_PER_MS;
    const shiftMs = this.#jumpMs + lostMs;
    const startMs = previous === null ? this.timeOf(startSample) : previous.endMs + shiftMs;
    const stepped = previous === null || Math.abs(utcOffsetMs - previous.offsetMs) >= STEP_MS;
    const startUnixUs = stepped
      ? Math.round((startMs + utcOffsetMs) * 1000)
      : previous.endUnixUs + Math.round(shiftMs * 1000);
    return { startMs, startUnixUs, shiftMs };
  }

  /**
   * The times of a chunk that is sealed now; `startOf` describes its start.
   * @param utcOffsetMs Unix milliseconds minus monotonic milliseconds, now.
   */
  seal(startSample: number, endSample: number, utcOffsetMs: number): ChunkTimes {
    const { startMs, startUnixUs, shiftMs } = this.#startOf(startSample, utcOffsetMs);
    this.#jumpMs = 0;
    // A better estimate of the stream's start must not use up a short chunk: that would end when it starts.
    // It keeps half of its length, and the chunks after it take over the rest of the correction.
    const leastMs = (endSample - startSample) / SAMPLES_PER_MS / 2;
    const endMs = Math.max(this.timeOf(endSample), startMs + leastMs);
    const endUnixUs = Math.max(
      Math.round((endMs + utcOffsetMs) * 1000),
      startUnixUs + Math.ceil(leastMs * 1000),
    );
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
    const pauseMs = arrivalMs - (late?.recent.at(-1)?.arrivalMs ?? arrivalMs);
    const recent = late?.recent.filter((packet) => packet.arrivalMs > arrivalMs - PLATEAU_MS) ?? [];
    recent.push({ start, arrivalMs });
    // Pages that arrive together have waited for this process: it is slower than the sound, which may all be there.
    // The first page after a stall may come alone, because at a high bitrate a read has no room for the next one.
    const hasWaited = waitedMs >= this.#pageMs / 2 || pauseMs > STALL_MS;
    // But where ALSA has reported a loss, not all of it is there.
    if (late !== null && hasWaited && arrivalMs >= this.#expectUntilMs) {
      late.lateSinceMs = arrivalMs;
    }
    if (
      late !== null &&
      (arrivalMs - late.lateSinceMs >= SLOW_MS || arrivalMs - late.behindSinceMs >= MOST_WAITING_MS)
    ) {
      this.#endLate(Math.min(...recent.map((packet) => packet.start)));
      return this.#cut(arrivalMs);
    }
    if (late === null || start - late.earliest > LATE_MS) {
      this.#late = {
        lateSinceMs: late?.lateSinceMs ?? arrivalMs,
        behindSinceMs: late?.behindSinceMs ?? arrivalMs,
        paceSinceMs: arrivalMs,
        recent,
        paceStart: start,
        earliest: start,
        last: start,
        cutStart: start + waitedMs,
      };
      return waitedMs > LATE_MS ? null : this.#cut(arrivalMs);
    }
    late.recent = recent;
    // Packets that arrived more than half their length after the previous ones did not wait together with
    // them.
    const isLive = start - late.last > -soundMs / 2;
    late.last = start;
    late.earliest = Math.min(late.earliest, start);
    if (start < late.paceStart - PACE_MS) {
      // Still catching up: delayed sound arrives faster than it was heard.
      late.lateSinceMs = late.behindSinceMs = late.paceSinceMs = arrivalMs;
      late.paceStart = start;
    }
    if (arrivalMs - late.paceSinceMs >= PLATEAU_MS) {
      this.#endLate(late.earliest);
      return null;
    }
    if (!isLive || late.cutStart - start <= LATE_MS) return null;
    late.cutStart = start;
    return this.#cut(arrivalMs);
  }

  /** The late stretch is a gap. */
  #endLate(start: number): void {
    this.#jump(start - this.#startMs);
    this.#late = null;
    this.#window = null;
  }

  #cut(nowMs: number): "late" | null {
    if (this.#cutsUntilMs > nowMs + CUT_EVERY_MS) return null;
    this.#cutsUntilMs = Math.max(this.#cutsUntilMs, nowMs) + CUT_EVERY_MS;
    return "late";
  }
}
