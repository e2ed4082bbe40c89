// What the status page shows of the past: today minute by minute, the loudness of the last minutes,
// the gaps and problems that came last. All of it takes a fixed amount of memory. It is told things
// and asked for them; it never looks at a disk, and nothing it knows flows back into the work.
import type { Levels } from "./levels.ts";
import type { Clock } from "../system/clock.ts";
import type { ProblemCode } from "./problems.ts";

export const MINUTE_MS = 60_000;
/** Each level that is heard stands for so much sound. */
export const LEVEL_MS = 100;
/** Seconds that the picture of the last minutes shows. */
export const WAVE_SECONDS = 300;
/** Behind the last level by more than this, sound was missing in between. */
const HOLE_MS = 1500;
const LIVE_LEVELS = 20;
const KEPT_GAPS = 8;
const KEPT_PROBLEMS = 8;

/** Something that wants a person's attention. */
export interface Problem {
  readonly code: ProblemCode;
  /** What is wrong, and how to fix it; one line. */
  readonly message: string;
  /** Unix seconds. */
  readonly since: number;
}

/** Sound that is missing, and why; all of them are in gaps.jsonl. */
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

/** Sound of which it is known when it was heard; Unix milliseconds. */
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

  /** @param timeZone IANA name of the zone whose days are meant. */
  constructor(clock: Pick<Clock, "unixMs" | "monotonicMs">, timeZone: string) {
    this.#clock = clock;
    this.#timeZone = timeZone;
    this.#day = this.#newDay();
    this.#knownSinceMs = clock.unixMs();
  }

  /** Before this, Unix ms, nobody knows whether there was anything to record. */
  get knownSinceMs(): number {
    return this.#knownSinceMs;
  }

  /** Unix ms since when sound comes without a break; null: none does. */
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

  /** The clock has been put right: what is known of the day stands at wrong times. */
  forgetDay(): void {
    this.#day = this.#newDay();
    this.#gaps = [];
    this.#knownSinceMs = this.#clock.unixMs();
    if (this.#soundSinceMs !== null) this.#soundSinceMs = this.#clock.unixMs();
  }

  /** Adds what the spool knows from before; the oldest first. */
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

  /** Sound begins to come, or ceases. */
  sound(comes: boolean): void {
    this.#soundSinceMs = comes ? this.#soundSinceMs ?? this.#clock.unixMs() : null;
  }

  /** The level of the next LEVEL_MS of sound; they may come several at a time. */
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

  /** What is heard now; null: nothing comes. */
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

  /** As the clock stands; at midnight a new page begins. */
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
