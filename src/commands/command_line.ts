// The command line: which commands there are, which options each takes, and the help. Pure: it turns
// arguments into values or into an error for a person; main.ts acts on them.

import { parseArgs } from "node:util";
import { type LevelName, LOG_LEVELS } from "../system/log.ts";
import { VERSION } from "../system/version.ts";
import { messageOf } from "../system/error_text.ts";

export const HELP =
  `recorder-agent ${VERSION}: records a USB microphone by schedule, delivers it to an Ingest API

Usage:
  recorder-agent [-c FILE] [--log-level LEVEL]   run the service
  recorder-agent install                         make this machine a recording till, or upgrade it
  recorder-agent check [-c FILE]                 what is wrong here, and how to fix it
  recorder-agent devices                         list the microphones and which one would be taken
  recorder-agent requeue [-c FILE]               list the chunks that the server refused, and why
  recorder-agent requeue [-c FILE] --all | KEY… | NAME…
                                                 put them back to be delivered; the service may run
  recorder-agent uninstall [--purge]             take it away; recordings stay
  recorder-agent demo [--seconds N] [--dir DIR]  try it without a microphone or a server

Options:
  -c, --config FILE     configuration (default: /etc/recorder-agent/config.yaml if it exists,
                        else environment variables alone); RA_… variables override the file
      --log-level L     run, demo: ${LOG_LEVELS.join(", ")} (default: INFO)
      --set KEY=VALUE   install: a key of the configuration; as often as needed
      --root DIR        install, uninstall: the system in this folder instead of the running one
      --purge           uninstall: recordings, configuration, token and user go, too
      --dry-run         install, uninstall, requeue: only say what would be done
      --all             requeue: every chunk that was refused
      --json            check: for machines
      --send-test-chunk check: deliver a second of silence, which the server keeps
      --seconds N       demo: end by itself after N seconds (default: 20; 0: at Ctrl-C)
      --dir DIR         demo: where the received recordings go (default: ./demo-recordings)
  -h, --help            this text
      --version         the version

Exit codes:
  0  ended as asked (SIGTERM, SIGINT, end of the demo); check: nothing is wrong
  1  cannot go on (the spool is in use or cannot be written, no microphone listed, a chunk cannot be
     put back, demo failed); check: something is wrong; install: nothing is left half done
  2  the command line or the configuration is wrong; every problem is listed. Nothing is set up yet
`;

/** The command line is wrong; the message says what would be right. */
export class UsageError extends Error {}

const OPTIONS = {
  config: { type: "string", short: "c" },
  "log-level": { type: "string" },
  set: { type: "string", multiple: true },
  root: { type: "string" },
  purge: { type: "boolean" },
  "dry-run": { type: "boolean" },
  all: { type: "boolean" },
  json: { type: "boolean" },
  "send-test-chunk": { type: "boolean" },
  seconds: { type: "string" },
  dir: { type: "string" },
  help: { type: "boolean", short: "h" },
  version: { type: "boolean" },
} as const;

/** The options that mean something to each command. */
const COMMANDS = {
  run: ["config", "log-level"],
  install: ["set", "root", "dry-run"],
  uninstall: ["root", "purge", "dry-run"],
  check: ["config", "json", "send-test-chunk"],
  devices: ["config"],
  requeue: ["config", "all", "dry-run"],
  demo: ["log-level", "seconds", "dir"],
} as const satisfies Record<string, readonly (keyof typeof OPTIONS)[]>;

export type CommandName = keyof typeof COMMANDS | "help" | "version";

/** Options that a command does not take have their default. */
export interface CommandLine {
  readonly command: CommandName;
  readonly config: string | undefined;
  readonly logLevel: LevelName | undefined;
  readonly set: readonly string[];
  readonly root: string;
  readonly purge: boolean;
  readonly dryRun: boolean;
  readonly all: boolean;
  readonly json: boolean;
  readonly sendTestChunk: boolean;
  readonly seconds: number;
  readonly dir: string;
  /** What follows the command `requeue`. */
  readonly operands: readonly string[];
}

/** @throws {UsageError} */
export function parseCommandLine(args: readonly string[]): CommandLine {
  const { values, positionals: [word = "run", ...operands] } = parse(args);
  const command = values.help ? "help" : values.version ? "version" : word;
  if (!isCommand(command)) {
    const names = Object.keys(COMMANDS).filter((name) => name !== "run").join(", ");
    throw new UsageError(`Unknown command "${command}": expected one of ${names}, or none to run`);
  }
  if (command !== "help" && command !== "version") {
    const accepted: readonly string[] = COMMANDS[command];
    const stray = Object.keys(values).find((name) => !accepted.includes(name));
    if (stray !== undefined) throw new UsageError(`--${stray} is not an option of ${command}`);
    if (operands.length > 0 && (command !== "requeue" || values.all)) {
      throw new UsageError(`Unexpected argument "${operands[0]}"`);
    }
  }
  return {
    command,
    config: values.config,
    logLevel: readLevel(values["log-level"]),
    set: values.set ?? [],
    root: values.root ?? "/",
    purge: values.purge ?? false,
    dryRun: values["dry-run"] ?? false,
    all: values.all ?? false,
    json: values.json ?? false,
    sendTestChunk: values["send-test-chunk"] ?? false,
    seconds: readSeconds(values.seconds ?? "20"),
    dir: values.dir ?? "demo-recordings",
    operands,
  };
}

function parse(args: readonly string[]) {
  try {
    return parseArgs({ args: [...args], allowPositionals: true, options: OPTIONS });
  } catch (error) {
    throw new UsageError(messageOf(error));
  }
}

function isCommand(word: string): word is CommandName {
  return Object.hasOwn(COMMANDS, word) || word === "help" || word === "version";
}

function readLevel(word: string | undefined): LevelName | undefined {
  if (word === undefined) return undefined;
  const level = LOG_LEVELS.find((level) => level === word.toUpperCase());
  if (level !== undefined) return level;
  throw new UsageError(`--log-level "${word}" is not a level: expected ${LOG_LEVELS.join(", ")}`);
}

function readSeconds(word: string): number {
  const seconds = Number(word);
  if (word.trim() !== "" && seconds >= 0 && seconds <= 86_400) return seconds;
  throw new UsageError(`--seconds "${word}" is not a number from 0 to 86400`);
}
