// Which lines of the log are written at once and which are held back with a count. Lines are events
// unless they say otherwise where they are logged, and events are written at once; what repeats while a
// failure lasts is not. It reads only what a line declares, never its text, and writes nothing itself.

import type { LogRecord, Sink } from "@logtape/logtape";
import type { Clock } from "./clock.ts";

/** Repeats of one failure are this far apart at first, and after many of them. */
const REPEAT_MIN_MS = 60_000;
const REPEAT_MAX_MS = 3_600_000;
/** Kinds of chatter that are told apart; problems are not counted, as their codes are few. */
const MAX_CHATTER = 100;

interface Rate {
  /** Lines in one go. */
  readonly burst: number;
  readonly perMs: number;
}

/**
 * What one message may write, however often it is logged. More than the chunks of a day in one go, and
 * more than one chunk a second; all messages together stay below the 10,000 lines in 30 s of which
 * journald would drop the rest without regard to what they say.
 */
export const EVENTS: Rate = { burst: 1000, perMs: 2 / 1000 };
export const CHATTER: Rate = { burst: 20, perMs: 1 / 60_000 };

/** Names the failure of which a line may be a repeat; it is not written. */
const REPEAT_OF = "repeat_of";

/**
 * The fields of a line that repeats while something lasts and has no problem code: what another program
 * says, or a failure that nobody waits for. Keys that differ only in numbers are the same.
 */
export function repeating(key: string, fields: Record<string, unknown>): Record<string, unknown> {
  return { ...fields, [REPEAT_OF]: key.replaceAll(/0x[0-9a-f]+|\d+/gi, "#") };
}

/** What is written of a line that was logged with these fields. */
export function writtenFields(
  { [REPEAT_OF]: _, ...fields }: Record<string, unknown>,
): Record<string, unknown> {
  return fields;
}

/** Writes a line. `held`: how many were held back before it, and, of events, the first of them. */
export type WriteLine = (record: LogRecord, held: { repeats?: number; first?: unknown }) => void;

/** Lines that become one: the last of them is written. */
interface Lines {
  readonly count: number;
  readonly first: LogRecord;
  readonly last: LogRecord;
}

interface Failure {
  /** Repeats wait until then, monotonic. */
  untilMs: number;
  intervalMs: number;
  waiting: Lines | null;
}

interface Valve {
  readonly rate: Rate;
  /** How many lines may be written at `atMs`, monotonic. */
  lines: number;
  atMs: number;
  waiting: Lines | null;
}

/**
 * The rule:
 * - A line with the field `code` tells of a problem. It is written at once; if the same code is told
 *   again before a line with the code among its `ends`, it is a repeat. So is a line marked by
 *   `repeating`. Repeats are held back for a minute, then two, four … up to an hour; then the last of
 *   them is written with their number.
 * - Every other line is an event and is written at once.
 * - Of one message at most `EVENTS.burst` lines are written in one go, and `EVENTS.perMs` from then on;
 *   of what is marked by `repeating`, `CHATTER`. What is more becomes one line, with the number of lines
 *   and the fields of the first.
 */
export class HeldLines {
  readonly #clock: Pick<Clock, "monotonicMs" | "sleep">;
  /** By code. */
  readonly #problems = new Map<string, Failure>();
  /** By what `repeating` was given. */
  readonly #chatter = new Map<string, Failure>();
  /** By message. */
  readonly #valves = new Map<string, Valve>();
  #write: WriteLine = () => {};
  /** When what waits is looked at next, monotonic. */
  #wakeMs = Infinity;
  #sleep = new AbortController();

  constructor(clock: Pick<Clock, "monotonicMs" | "sleep">) {
    this.#clock = clock;
  }

  sink(write: WriteLine): Sink {
    this.#write = write;
    return (record) => this.#take(record);
  }

  /** Writes what waits. */
  flush(): void {
    for (const failures of [this.#problems, this.#chatter]) {
      for (const failure of failures.values()) this.#release(failure);
    }
    for (const valve of this.#valves.values()) {
      const { waiting } = valve;
      valve.waiting = null;
      if (waiting !== null) this.#print(waiting);
    }
    this.#sleep.abort();
    this.#wakeMs = Infinity;
  }

  #take(record: LogRecord): void {
    const { code, ends, [REPEAT_OF]: key } = record.properties;
    if (this.#clock.monotonicMs() >= this.#wakeMs) this.#releaseDue();
    if (Array.isArray(ends)) { for (const ended of ends) this.#end(String(ended)); }
    const lines = { count: 1, first: record, last: record };
    const failure = code !== undefined
      ? failureOf(this.#problems, String(code))
      : key !== undefined
      ? failureOf(this.#chatter, String(key))
      : null;
    if (record.level === "fatal") {
      this.flush();
      this.#print(lines);
    } else if (failure === null || this.#isNews(failure)) this.#pass(lines);
    else {
      failure.waiting = join(failure.waiting, lines);
      this.#wakeAt(failure.untilMs);
    }
    if (this.#chatter.size > MAX_CHATTER) this.#forgetOldest();
  }

  /** Whether a failure has just begun, or been silent until its next repeat was due. */
  #isNews(failure: Failure): boolean {
    const nowMs = this.#clock.monotonicMs();
    if (nowMs < failure.untilMs) return false;
    const lasts = nowMs < failure.untilMs + failure.intervalMs;
    this.#isWritten(failure, lasts ? failure.intervalMs * 2 : REPEAT_MIN_MS);
    return true;
  }

  #isWritten(failure: Failure, intervalMs: number): void {
    failure.intervalMs = Math.min(intervalMs, REPEAT_MAX_MS);
    failure.untilMs = this.#clock.monotonicMs() + failure.intervalMs;
  }

  /** What was held back belongs before the line that says it is over; the next time is news. */
  #end(code: string): void {
    const failure = this.#problems.get(code);
    if (failure !== undefined) this.#release(failure);
    this.#problems.delete(code);
  }

  #forgetOldest(): void {
    for (const [key, failure] of this.#chatter) {
      this.#release(failure);
      this.#chatter.delete(key);
      return;
    }
  }

  /** Writes what is due, and sees to it that the rest is written in time, though no other line comes. */
  #releaseDue(): void {
    const nowMs = this.#clock.monotonicMs();
    this.#wakeMs = Infinity;
    for (const failures of [this.#problems, this.#chatter]) {
      for (const failure of failures.values()) {
        if (failure.waiting === null) continue;
        if (nowMs < failure.untilMs) this.#wakeAt(failure.untilMs);
        else {
          this.#release(failure);
          this.#isWritten(failure, failure.intervalMs * 2);
        }
      }
    }
    for (const valve of this.#valves.values()) {
      const { waiting } = valve;
      if (waiting === null) continue;
      if (!this.#takeLine(valve)) this.#wakeAt(nextLineMs(valve));
      else {
        valve.waiting = null;
        this.#print(waiting);
      }
    }
  }

  #release(failure: Failure): void {
    const { waiting } = failure;
    failure.waiting = null;
    if (waiting !== null) this.#pass(waiting);
  }

  /** Writes lines as one if their message may write another; else they wait for that. */
  #pass(lines: Lines): void {
    const { category, level, rawMessage, properties } = lines.last;
    const message = [...category, level, rawMessage].join("\n");
    let valve = this.#valves.get(message);
    if (valve === undefined) {
      const rate = REPEAT_OF in properties ? CHATTER : EVENTS;
      valve = { rate, lines: rate.burst, atMs: this.#clock.monotonicMs(), waiting: null };
      this.#valves.set(message, valve);
    }
    if (valve.waiting === null && this.#takeLine(valve)) this.#print(lines);
    else {
      valve.waiting = join(valve.waiting, lines);
      this.#wakeAt(nextLineMs(valve));
    }
  }

  #takeLine(valve: Valve): boolean {
    const nowMs = this.#clock.monotonicMs();
    const { burst, perMs } = valve.rate;
    valve.lines = Math.min(burst, valve.lines + (nowMs - valve.atMs) * perMs);
    valve.atMs = nowMs;
    if (valve.lines < 1) return false;
    valve.lines--;
    return true;
  }

  #print({ count, first, last }: Lines): void {
    if (count === 1) return this.#write(last, {});
    const { code, [REPEAT_OF]: key } = last.properties;
    const isEvent = code === undefined && key === undefined;
    this.#write(last, { repeats: count - 1, ...(isEvent ? { first: first.properties } : {}) });
  }

  #wakeAt(ms: number): void {
    if (ms >= this.#wakeMs) return;
    this.#sleep.abort();
    const { signal } = this.#sleep = new AbortController();
    this.#wakeMs = ms;
    this.#clock.sleep(Math.max(1, ms - this.#clock.monotonicMs()), signal).then(() => {
      if (!signal.aborted) this.#releaseDue();
    });
  }
}

/** When another line may be written, monotonic. */
function nextLineMs({ rate, lines, atMs }: Valve): number {
  return atMs + Math.max(0, 1 - lines) / rate.perMs;
}

/** That of a key; a new one is due at once. */
function failureOf(failures: Map<string, Failure>, key: string): Failure {
  const known = failures.get(key);
  if (known !== undefined) return known;
  const failure = { untilMs: -Infinity, intervalMs: REPEAT_MIN_MS, waiting: null };
  failures.set(key, failure);
  return failure;
}

function join(before: Lines | null, lines: Lines): Lines {
  if (before === null) return lines;
  return { count: before.count + lines.count, first: before.first, last: lines.last };
}
