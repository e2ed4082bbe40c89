// Logs: one JSON object a line on stderr, with time, level, part, message and fields, as journalctl
// and jq read them. The only place that configures LogTape. It never decides what is worth a line; what
// is held back, held_lines.ts decides.

import {
  configureSync,
  getLogger,
  type Logger,
  type LogLevel,
  type LogRecord,
} from "@logtape/logtape";
import { type HeldLines, type WriteLine, writtenFields } from "./held_lines.ts";
import { toJson } from "./printable.ts";
import { within } from "./within.ts";

export type { Logger } from "@logtape/logtape";

export const LOG_LEVELS = ["DEBUG", "INFO", "WARNING", "ERROR"] as const;
export type LevelName = typeof LOG_LEVELS[number];

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
  /** Holds back repeats. With DEBUG every line is written all the same. */
  held?: HeldLines;
}

/** Starts logging and returns the root logger; its children name the parts. */
export function startLog(options: LogOptions): Logger {
  const write = options.write ?? writeToStderr;
  const encoder = new TextEncoder();
  const print: WriteLine = (record, held) => {
    const head = {
      time: new Date(record.timestamp).toISOString(),
      level: record.level.toUpperCase(),
      part: record.category.slice(1).join("."),
      message: record.message.join(""),
    };
    // The head stands first, and no field of the same name takes its place.
    const line = toJson({ ...head, ...writtenFields(record.properties), ...held, ...head });
    const prefix = options.journal ? `<${JOURNAL_PRIORITY[record.level]}>` : "";
    write(encoder.encode(`${prefix}${line}\n`));
  };
  const { level, held } = options;
  const sink = level === "DEBUG" || held === undefined
    ? (record: LogRecord) => print(record, {})
    : held.sink(print);
  configureSync({
    reset: true,
    sinks: { lines: sink },
    loggers: [
      {
        category: "recorder-agent",
        sinks: ["lines"],
        lowestLevel: level.toLowerCase() as Lowercase<LevelName>,
      },
      { category: ["logtape", "meta"], sinks: ["lines"], lowestLevel: "warning" },
    ],
  });
  return getLogger("recorder-agent");
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
    await within(ms, this.#writing ?? Promise.resolve());
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
