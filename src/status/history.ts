// What the status page shows of the past: today minute by minute, the loudness of the last minutes, the
// latest gaps and problems. All of it takes a fixed amount of memory. The workers report to it and the page
// reads it. It never reads a disk, and it never influences the work.
import type { Levels } from "./levels.ts";
import type { Clock } from "../system/clock.ts";
import type { ProblemCode } from "./problems.ts";

export const MINUTE_MS = 60_000;
/** The length of sound that one level describes. */
export const LEVEL_MS = 100;
/** Seconds that the picture of the last minutes shows. */
export const WAVE_SECONDS = 300;
/** If a level comes later than this after the previous one, sound was missing in between. */
const HOLE_MS = 1500;
const LIVE_LEVELS = 20;
const KEPT_GAPS = 8;
const KEPT_PROBLEMS = 8;

/** Something that needs a person's attention. */
export interface Problem {
  readonly code: ProblemCode;
  /** What is wrong, and how to fix it; one line. */
  readonly message: string;
  /** Unix seconds. */
  readonly since: number;
  /** When the program tries again, Unix seconds; absent if it is not known. */
  readonly retry_at?: number;
}

/** Missing sound and its cause; gaps.jsonl contains all gaps. */
export interface DeclaredGap {
  /** UTC, ISO 8601. */
  readonly start: string;
  readonly ms: number;
  readonly cause: string;
}

export interface PastProblem extends Problem {
  /** Unix seconds. */
  readonly until: number;
}

/** A stretch of sound whose time is known; Unix milliseconds. */
export interface Heard {
  readonly startMs: number;
  readonly endMs: number;
}

/** A local day. */
export interface Day {
  /** Unix milliseconds of its first midnight and of the next. */
  readonly startMs: number;
  readonly endMs: number;
  /** Milliseconds recorded in each of its minutes, 0 to 60,000; a day has 1,380 to 1,500. */
  readonly recordedMs: Readonly<Uint16Array>;
}

export class History {
  readonly #clock: Pick<Clock, "unixMs" | "monotonicMs">;
  readonly #timeZone: string;
  #day: { startMs: number; endMs: number; recordedMs: Uint16Array };
  #knownSinceMs: number;
  #soundSinceMs: number | null = null;
  readonly #wave: ({ second: number } & Levels)[] = [];
  #levelMs = -Infinity;
  #live: Levels[] = [];
  #gaps: DeclaredGap[] = [];
  #problems: PastProblem[] = [];

  /** @param timeZone IANA name of the time zone of the local day. */
  constructor(clock: Pick<Clock, "unixMs" | "monotonicMs">, timeZone: string) {
    this.#clock = clock;
    this.#timeZone = timeZone;
    this.#day = this.#newDay();
    this.#knownSinceMs = clock.unixMs();
  }

  /** Unix ms; whether there was sound to record before this is unknown. */
  get knownSinceMs(): number {
    return this.#knownSinceMs;
  }

  /** Unix ms since when sound has arrived without a break; null: no sound arrives. */
  get soundSinceMs(): number | null {
    return this.#soundSinceMs;
  }

  /** The newest last. */
  get gaps(): readonly DeclaredGap[] {
    return this.#gaps;
  }

  /** Problems that were resolved, the newest last. */
  get problems(): readonly PastProblem[] {
    return this.#problems;
  }

  /** Call this when the clock was corrected: the entries of the day have wrong times. */
  forgetDay(): void {
    this.#day = this.#newDay();
    this.#gaps = [];
    this.#knownSinceMs = this.#clock.unixMs();
    if (this.#soundSinceMs !== null) this.#soundSinceMs = this.#clock.unixMs();
  }

  /** Adds what the spool contains from before the start, oldest first. */
  restore(heard: readonly Heard[], gaps: readonly DeclaredGap[]): void {
    for (const { startMs, endMs } of heard) this.recorded(startMs, endMs);
    this.#gaps = [...gaps, ...this.#gaps].slice(-KEPT_GAPS);
  }

  /** A chunk holds the sound from `startMs` to `endMs`, Unix ms. */
  recorded(startMs: number, endMs: number): void {
    this.#knownSinceMs = Math.min(this.#knownSinceMs, startMs);
    const day = this.today();
    const { recordedMs } = this.#day;
    const toMs = Math.min(endMs, day.endMs);
    for (let fromMs = Math.max(startMs, day.startMs); fromMs < toMs;) {
      const minute = Math.floor((fromMs - day.startMs) / MINUTE_MS);
      const nextMs = Math.min(toMs, day.startMs + (minute + 1) * MINUTE_MS);
      const ms = (recordedMs[minute] ?? 0) + Math.round(nextMs - fromMs);
      recordedMs[minute] = Math.min(MINUTE_MS, ms);
      fromMs = nextMs;
    }
  }

  gapDeclared(gap: DeclaredGap): void {
    this.#gaps = [...this.#gaps, gap].slice(-KEPT_GAPS);
  }

  problemEnded(problem: Problem): void {
    const until = this.#clock.unixMs() / 1000;
    const others = this.#problems.filter(({ code }) => code !== problem.code);
    this.#problems = [...others, { ...problem, until }].slice(-KEPT_PROBLEMS);
  }

  /** Call this when sound begins or ceases to arrive. */
  sound(comes: boolean): void {
    this.#soundSinceMs = comes ? this.#soundSinceMs ?? this.#clock.unixMs() : null;
  }

  /** Adds the level of the next LEVEL_MS of sound; several may come at a time. */
  heard(levels: Levels): void {
    const nowMs = this.#clock.monotonicMs();
    const followsMs = this.#levelMs + LEVEL_MS;
    this.#levelMs = followsMs < nowMs - HOLE_MS ? nowMs : Math.min(nowMs, followsMs);
    this.#live.push(levels);
    if (this.#live.length > LIVE_LEVELS) this.#live.shift();
    const second = Math.floor(this.#levelMs / 1000);
    const last = this.#wave.at(-1);
    if (last?.second === second) {
      this.#wave[this.#wave.length - 1] = { second, ...louder(last, levels) };
      return;
    }
    this.#wave.push({ second, ...levels });
    if (this.#wave.length > WAVE_SECONDS) this.#wave.shift();
  }

  /** The levels since the last call, the newest last, at most two seconds of them. */
  takeLive(): Levels[] {
    const live = this.#live;
    this.#live = [];
    return live;
  }

  /** The present level; null: no sound arrives. */
  level(): Levels | null {
    const isFresh = this.#levelMs > this.#clock.monotonicMs() - HOLE_MS;
    const last = this.#wave.at(-1);
    if (!isFresh || last === undefined) return null;
    return { peakDbfs: last.peakDbfs, rmsDbfs: last.rmsDbfs };
  }

  /** The last WAVE_SECONDS whole seconds, the newest last; null where there was no sound. */
  wave(): (Levels | null)[] {
    const end = Math.floor(this.#clock.monotonicMs() / 1000);
    const seconds: (Levels | null)[] = new Array(WAVE_SECONDS).fill(null);
    for (const { second, ...levels } of this.#wave) {
      const at = second - (end - WAVE_SECONDS);
      if (at >= 0 && at < WAVE_SECONDS) seconds[at] = levels;
    }
    return seconds;
  }

  /** The present local day; a new one begins at midnight. */
  today(): Day {
    const nowMs = this.#clock.unixMs();
    if (nowMs < this.#day.startMs || nowMs >= this.#day.endMs) this.#day = this.#newDay();
    return this.#day;
  }

  #newDay() {
    const now = Temporal.Instant.fromEpochMilliseconds(Math.floor(this.#clock.unixMs()));
    const start = now.toZonedDateTimeISO(this.#timeZone).startOfDay();
    const startMs = start.epochMilliseconds;
    const endMs = start.add({ days: 1 }).startOfDay().epochMilliseconds;
    return {
      startMs,
      endMs,
      recordedMs: new Uint16Array(Math.ceil((endMs - startMs) / MINUTE_MS)),
    };
  }
}

function louder(a: Levels, b: Levels): Levels {
  return {
    peakDbfs: Math.max(a.peakDbfs, b.peakDbfs),
    rmsDbfs: Math.max(a.rmsDbfs, b.rmsDbfs),
  };
}
