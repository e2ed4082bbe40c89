// Logs: one JSON object a line on stderr, with time, level, part, message and fields, as journalctl
// and jq read them. The only place that configures LogTape. It never decides what is worth a line, but
// can hold back what repeats itself: a day of anything that flaps must not fill a journal.

import {
  configureSync,
  getLogger,
  type Logger,
  type LogLevel,
  type LogRecord,
  type Sink,
} from "@logtape/logtape";
import type { Clock } from "./clock.ts";

export type { Logger } from "@logtape/logtape";

export const LOG_LEVELS = ["DEBUG", "INFO", "WARNING", "ERROR"] as const;
export type LevelName = typeof LOG_LEVELS[number];

const LOGTAPE_LEVEL: Record<LevelName, LogLevel> = {
  DEBUG: "debug",
  INFO: "info",
  WARNING: "warning",
  ERROR: "error",
};

/** Priorities of sd-daemon(3): journald takes "<N>" off the line and files it under that priority. */
const JOURNAL_PRIORITY: Record<LogLevel, number> = {
  trace: 7,
  debug: 7,
  info: 6,
  warning: 4,
  error: 3,
  fatal: 2,
};

/** Lines of one kind come so far apart at first, and after many repeats. */
const REPEAT_MIN_MS = 60_000;
const REPEAT_MAX_MS = 3_600_000;

export interface LogOptions {
  level: LevelName;
  /** True under journald (JOURNAL_STREAM is set): each line begins with its priority. */
  journal: boolean;
  /** Takes one line with its line feed; stderr unless given. */
  write?: (line: Uint8Array) => void;
  /** Holds back what repeats itself, by this clock. With DEBUG every line is written all the same. */
  holdRepeatsBy?: Pick<Clock, "monotonicMs">;
}

/** Starts logging and returns the root logger; its children name the parts. */
export function startLog(options: LogOptions): Logger {
  const write = options.write ?? writeToStderr;
  const encoder = new TextEncoder();
  const print = (record: LogRecord, repeats: number) => {
    const head = {
      time: new Date(record.timestamp).toISOString(),
      level: record.level.toUpperCase(),
      part: record.category.slice(1).join("."),
      message: record.message.join(""),
    };
    // The head stands first, and no field of the same name takes its place.
    const fields = { ...record.properties, ...(repeats > 0 ? { repeats } : {}) };
    const line = JSON.stringify({ ...head, ...fields, ...head }, inWords);
    const prefix = options.journal ? `<${JOURNAL_PRIORITY[record.level]}>` : "";
    write(encoder.encode(`${prefix}${line}\n`));
  };
  const { level, holdRepeatsBy: clock } = options;
  const sink: Sink = level === "DEBUG" || clock === undefined
    ? (record) => print(record, 0)
    : limitRepeats(print, clock);
  configureSync({
    reset: true,
    sinks: { lines: sink },
    loggers: [
      {
        category: "recorder-agent",
        sinks: ["lines"],
        lowestLevel: LOGTAPE_LEVEL[level],
      },
      { category: ["logtape", "meta"], sinks: ["lines"], lowestLevel: "warning" },
    ],
  });
  return getLogger("recorder-agent");
}

/**
 * Of each kind of line the first is written at once; of the repeats, the last one when their interval
 * is over, with the number of those that were held back. So the latest word on anything is always
 * written, however late: at the next line of any kind after its interval.
 */
function limitRepeats(
  print: (record: LogRecord, repeats: number) => void,
  clock: Pick<Clock, "monotonicMs">,
): Sink {
  const limiter = new RepeatLimiter(REPEAT_MIN_MS, REPEAT_MAX_MS);
  const held = new Map<string, LogRecord>();
  return (record) => {
    if (record.level === "fatal") return print(record, 0);
    const nowMs = clock.monotonicMs();
    const kind = kindOf(record);
    held.set(kind, record);
    for (const [due, last] of held) {
      const pass = limiter.pass(due, nowMs, due === kind);
      if (pass === null) continue;
      held.delete(due);
      print(last, due === kind ? pass.suppressed : pass.suppressed - 1);
    }
  };
}

/** Lines of one kind tell the same, but for their numbers; problems say by a code which they are. */
function kindOf({ category, level, message, properties }: LogRecord): string {
  return [...category, level, properties["code"] ?? withoutNumbers(message.join(""))].join(" ");
}

function withoutNumbers(message: string): string {
  return message.replaceAll(/0x[0-9a-f]+|\d+/gi, "#");
}

/** What JSON has no form for. */
function inWords(_key: string, value: unknown): unknown {
  return value instanceof Error || typeof value === "bigint" ? String(value) : value;
}

/** Lines that wait for a reader of stderr; more are dropped and counted. */
const MAX_WAITING_LINES = 1000;

/**
 * stderr for a service: a log that nobody reads (a journal that hangs, a paused terminal) must hold
 * nothing up. Lines wait in a queue of bounded length and are written one after the other.
 */
export class StderrQueue {
  readonly #write: (bytes: Uint8Array) => Promise<number>;
  readonly #lines: Uint8Array[] = [];
  #dropped = 0;
  #writing: Promise<void> | null = null;

  constructor(write = (bytes: Uint8Array): Promise<number> => Deno.stderr.write(bytes)) {
    this.#write = write;
  }

  push(line: Uint8Array): void {
    if (this.#lines.length >= MAX_WAITING_LINES) {
      this.#dropped++;
      return;
    }
    this.#lines.push(line);
    this.#writing ??= this.#work();
  }

  /** Resolves when all is written, or after `ms`. */
  async flush(ms: number): Promise<void> {
    let timer: ReturnType<typeof setTimeout> | undefined;
    const late = new Promise<void>((resolve) => {
      timer = setTimeout(resolve, ms);
    });
    await Promise.race([this.#writing, late]);
    clearTimeout(timer);
  }

  async #work(): Promise<void> {
    for (let line = this.#lines.shift(); line !== undefined; line = this.#lines.shift()) {
      if (this.#dropped > 0) {
        const words = JSON.stringify({ level: "WARNING", message: "Log lines were dropped." });
        line = new TextEncoder().encode(
          `${words.slice(0, -1)},"lines":${this.#dropped}}\n${new TextDecoder().decode(line)}`,
        );
        this.#dropped = 0;
      }
      try {
        for (let at = 0; at < line.length;) at += await this.#write(line.subarray(at));
      } catch { /* stderr is closed: nowhere left to say it */ }
    }
    this.#writing = null;
  }
}

/** For programs that end soon: a closed stderr is passed over, a full one waited for. */
function writeToStderr(line: Uint8Array): void {
  try {
    let written = 0;
    while (written < line.length) written += Deno.stderr.writeSync(line.subarray(written));
  } catch { /* nowhere left to say it */ }
}

interface Repeats {
  untilMs: number;
  intervalMs: number;
  suppressed: number;
}

/**
 * Lets a message through once in an interval and counts the repeats in between. The interval doubles
 * from `intervalMs` to `maxIntervalMs` while they go on, and starts over after an interval without.
 * Two messages that differ only in numbers count as the same.
 */
export class RepeatLimiter {
  readonly #intervalMs: number;
  readonly #maxIntervalMs: number;
  readonly #seen = new Map<string, Repeats>();

  constructor(intervalMs: number, maxIntervalMs = intervalMs) {
    this.#intervalMs = intervalMs;
    this.#maxIntervalMs = maxIntervalMs;
  }

  /**
   * Null: keep it to yourself. Otherwise how many were suppressed since it was last let through.
   * @param counts false: this only asks again for one that was suppressed, and counted, before.
   */
  pass(message: string, nowMs: number, counts = true): { suppressed: number } | null {
    const key = withoutNumbers(message);
    const entry = this.#seen.get(key);
    if (entry !== undefined && nowMs < entry.untilMs) {
      if (counts) entry.suppressed++;
      return null;
    }
    if (this.#seen.size >= 100) this.#seen.clear();
    const goesOn = entry !== undefined && nowMs < entry.untilMs + entry.intervalMs;
    const intervalMs = goesOn
      ? Math.min(entry.intervalMs * 2, this.#maxIntervalMs)
      : this.#intervalMs;
    this.#seen.set(key, { untilMs: nowMs + intervalMs, intervalMs, suppressed: 0 });
    return { suppressed: entry?.suppressed ?? 0 };
  }
}
