// Logs: one JSON object a line on stderr, with time, level, part, message and fields, as journalctl
// and jq read them. The only place that configures LogTape; it never decides what is worth a line.

import { configureSync, getLogger, type Logger, type LogLevel, type Sink } from "@logtape/logtape";

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

export interface LogOptions {
  level: LevelName;
  /** True under journald (JOURNAL_STREAM is set): each line begins with its priority. */
  journal: boolean;
  /** Takes one line with its line feed; stderr unless given. */
  write?: (line: Uint8Array) => void;
}

/** Starts logging and returns the root logger; its children name the parts. */
export function startLog(options: LogOptions): Logger {
  const write = options.write ?? writeToStderr;
  const encoder = new TextEncoder();
  const sink: Sink = (record) => {
    const head = {
      time: new Date(record.timestamp).toISOString(),
      level: record.level.toUpperCase(),
      part: record.category.slice(1).join("."),
      message: record.message.join(""),
    };
    // The head stands first, and no field of the same name takes its place.
    const line = JSON.stringify({ ...head, ...record.properties, ...head }, inWords);
    const prefix = options.journal ? `<${JOURNAL_PRIORITY[record.level]}>` : "";
    write(encoder.encode(`${prefix}${line}\n`));
  };
  configureSync({
    reset: true,
    sinks: { lines: sink },
    loggers: [
      {
        category: "recorder-agent",
        sinks: ["lines"],
        lowestLevel: LOGTAPE_LEVEL[options.level],
      },
      { category: ["logtape", "meta"], sinks: ["lines"], lowestLevel: "warning" },
    ],
  });
  return getLogger("recorder-agent");
}

/** What JSON has no form for. */
function inWords(_key: string, value: unknown): unknown {
  return value instanceof Error || typeof value === "bigint" ? String(value) : value;
}

/** A log that nobody reads must not stop the recording: a closed or full stderr is passed over. */
function writeToStderr(line: Uint8Array): void {
  try {
    let written = 0;
    while (written < line.length) written += Deno.stderr.writeSync(line.subarray(written));
  } catch { /* nowhere left to say it */ }
}

/**
 * Lets a message through once in `intervalMs` and counts the repeats in between. Two messages that
 * differ only in numbers count as the same.
 */
export class RepeatLimiter {
  readonly #intervalMs: number;
  readonly #seen = new Map<string, { untilMs: number; suppressed: number }>();

  constructor(intervalMs: number) {
    this.#intervalMs = intervalMs;
  }

  /** Null: keep it to yourself. Otherwise how many were suppressed since it was last let through. */
  pass(message: string, nowMs: number): { suppressed: number } | null {
    const key = message.replaceAll(/0x[0-9a-f]+|\d+/gi, "#");
    const entry = this.#seen.get(key);
    if (entry !== undefined && nowMs < entry.untilMs) {
      entry.suppressed++;
      return null;
    }
    if (this.#seen.size >= 100) this.#seen.clear();
    this.#seen.set(key, { untilMs: nowMs + this.#intervalMs, suppressed: 0 });
    return { suppressed: entry?.suppressed ?? 0 };
  }
}
