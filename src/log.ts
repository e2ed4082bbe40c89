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
