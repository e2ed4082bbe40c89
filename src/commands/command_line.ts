// The command line: the commands, the options of each, and the help. Pure: it turns arguments into values
// or into an error for a person; main.ts acts on them.

import { parseArgs } from "node:util";
import { type LevelName, LOG_LEVELS } from "../system/log.ts";
import { VERSION } from "../system/version.ts";
import { messageOf } from "../system/error_text.ts";

export const HELP =
  `recorder-agent ${VERSION}: records a USB microphone on a schedule and delivers it to an Ingest API

Usage:
  recorder-agent [-c FILE] [--log-level LEVEL]   run the service
  recorder-agent install                         install or update the service on this machine
  recorder-agent check [-c FILE]                 find what is wrong here and how to fix it
  recorder-agent devices [-c FILE]               list the microphones; show which one is recorded
  recorder-agent requeue [-c FILE]               list the chunks that the server refused, and why
  recorder-agent requeue [-c FILE] --all | KEY… | NAME…
                                                 deliver them again; the service may be running
  recorder-agent pause TIME [-c FILE]            record nothing for this time, such as 15m
  recorder-agent resume [-c FILE]                end a pause
  recorder-agent verify PATH… [--json]           say what is missing in received chunks, and why
  recorder-agent join PATH… -o FILE              join received chunks into one file, without re-encoding
  recorder-agent uninstall [--purge]             remove the service; recordings stay
  recorder-agent demo [--seconds N] [--dir DIR]  try it without a microphone or a server
  recorder-agent receive --dir DIR               receive chunks from tills into a folder
  recorder-agent receive --store s3://BUCKET     receive them into an object store
  recorder-agent conform URL                     test a server of your own against the protocol; it
                                                 keeps the test chunks

Options:
  -c, --config FILE     configuration file (default: /etc/recorder-agent/config.yaml if it exists,
                        otherwise only environment variables); RA_… variables override the file
      --log-level L     run, demo, receive: ${
    LOG_LEVELS.join(", ")
  } (default: INFO; of demo WARNING)
      --set KEY=VALUE   install: set a key of the configuration; conform: point_id, register_id,
                        device_id of the test chunks (default: new ones); may be repeated
      --take FILE       install: keys of the configuration in a file, which is wiped and removed
                        afterwards; ids that it does not give come from the board
      --root DIR        install, uninstall: the system in this folder instead of the running one
      --purge           uninstall: also remove recordings, configuration, token and user
      --dry-run         install, uninstall, requeue: only print what would be done
      --all             requeue: every refused chunk
      --spool DIR       requeue: the spool in this folder, not that of the configuration
      --json            check, verify, conform: machine-readable output
      --send-test-chunk check: deliver a second of silence, which the server keeps
  -o, --output FILE     join: the file to write, .ogg or .wav
      --from TIME       join: only from this time on, such as 2026-11-23T14:00 or 2026-11-23T13:00Z
      --to TIME         join: only up to this time
      --zone ZONE       join, verify: the time zone of times (default: that of this machine)
      --device ID       join, verify: only chunks of this device
      --gaps MODE       join: what missing sound becomes: silence (default), chain (a new stream in
                        the same file) or split (a new file)
      --seconds N       demo: end after N seconds of sound (default: 20; 0: at Ctrl-C)
      --dir DIR         demo, receive: folder for the received recordings (default of demo:
                        ./demo-recordings)
      --listen A:PORT   receive: address and port (default: 127.0.0.1:8043)
      --tokens FILE     receive: the tokens, one per line: TOKEN, TOKEN DEVICE_ID or TOKEN page
                        (default: the one token in RA_INGEST_TOKEN)
      --no-token        receive: accept everybody; only on this machine
      --tls-cert FILE   receive: certificate chain, PEM; with --tls-key
      --tls-key FILE    receive: its key, PEM
      --token-file FILE conform: the token of the server (default: RA_INGEST_TOKEN)
      --tls-ca FILE     conform, receive --store: certificates to trust in addition to the public
                        ones, PEM
      --store s3://…    receive: a bucket, or s3://BUCKET/PREFIX, in place of --dir
      --s3-credentials FILE
                        receive: access key, secret key, region and endpoint_url of the bucket
      --max-mb N        receive: size of an upload (default: 128)
  -h, --help            print this help
      --version         print the version

Exit codes:
  0  ended as requested (SIGTERM, SIGINT, end of the demo); check, conform: nothing failed; verify: the
     chunks are whole and every missing second has a declared cause
  1  the program cannot continue (the spool is in use or cannot be written, there is no microphone, a
     chunk cannot be requeued, chunks cannot be joined, the demo failed); verify: not complete;
     check: something failed; install: it failed and its changes were undone, or the service did not
     start
  2  the command line or the configuration is wrong: every problem is listed; nothing is set up yet;
     verify: no chunk was found
`;

/** What becomes of missing sound: silence, a chained stream in the same file, or another file. */
const GAP_MODES = ["silence", "chain", "split"] as const;
export type GapMode = typeof GAP_MODES[number];

/** The command line is wrong; the message says what is expected. */
export class UsageError extends Error {}

/** The result of `work`. @throws {UsageError} what is wrong with an option, or with a file that it names. */
export function asUsage<T>(work: () => T): T {
  try {
    return work();
  } catch (error) {
    throw new UsageError(messageOf(error));
  }
}

const OPTIONS = {
  config: { type: "string", short: "c" },
  "log-level": { type: "string" },
  set: { type: "string", multiple: true },
  take: { type: "string" },
  root: { type: "string" },
  purge: { type: "boolean" },
  "dry-run": { type: "boolean" },
  all: { type: "boolean" },
  spool: { type: "string" },
  json: { type: "boolean" },
  "send-test-chunk": { type: "boolean" },
  output: { type: "string", short: "o" },
  from: { type: "string" },
  to: { type: "string" },
  zone: { type: "string" },
  device: { type: "string" },
  gaps: { type: "string" },
  seconds: { type: "string" },
  dir: { type: "string" },
  listen: { type: "string" },
  tokens: { type: "string" },
  store: { type: "string" },
  "s3-credentials": { type: "string" },
  "no-token": { type: "boolean" },
  "tls-cert": { type: "string" },
  "tls-key": { type: "string" },
  "max-mb": { type: "string" },
  "token-file": { type: "string" },
  "tls-ca": { type: "string" },
  help: { type: "boolean", short: "h" },
  version: { type: "boolean" },
} as const;

/** The options that each command accepts. */
const COMMANDS = {
  run: ["config", "log-level"],
  install: ["set", "take", "root", "dry-run"],
  uninstall: ["root", "purge", "dry-run"],
  check: ["config", "json", "send-test-chunk"],
  devices: ["config"],
  pause: ["config"],
  resume: ["config"],
  requeue: ["config", "all", "spool", "dry-run"],
  join: ["output", "from", "to", "zone", "device", "gaps"],
  verify: ["zone", "device", "json"],
  demo: ["log-level", "seconds", "dir"],
  receive: [
    ...["log-level", "dir", "listen", "tokens", "no-token", "tls-cert", "tls-key", "max-mb"],
    ...["store", "s3-credentials", "tls-ca"],
  ],
  conform: ["token-file", "tls-ca", "set", "json"],
} as const satisfies Record<string, readonly (keyof typeof OPTIONS)[]>;

export type CommandName = keyof typeof COMMANDS | "help" | "version";

/** Options that a command does not accept have their default. */
export interface CommandLine {
  readonly command: CommandName;
  readonly config: string | undefined;
  readonly logLevel: LevelName | undefined;
  /** `KEY=VALUE` */
  readonly set: readonly string[];
  readonly take: string | undefined;
  readonly root: string;
  readonly purge: boolean;
  readonly dryRun: boolean;
  readonly all: boolean;
  readonly spool: string | undefined;
  readonly json: boolean;
  readonly sendTestChunk: boolean;
  readonly seconds: number;
  readonly dir: string | undefined;
  /** ADDRESS:PORT; an IPv6 address stands in brackets. */
  readonly listen: string;
  readonly tokens: string | undefined;
  /** s3://BUCKET or s3://BUCKET/PREFIX, in place of a folder. */
  readonly store: string | undefined;
  /** The file with the keys of the bucket. */
  readonly s3Credentials: string | undefined;
  readonly noToken: boolean;
  readonly tlsCert: string | undefined;
  readonly tlsKey: string | undefined;
  readonly maxMb: number;
  readonly tokenFile: string | undefined;
  /** Certificates to trust beside the public ones: a PEM file. */
  readonly tlsCa: string | undefined;
  /** The file to be written; with `split` its name gets the time of each part. */
  readonly output: string;
  /** Date and time; undefined: from the first chunk on, or to the last. */
  readonly from: string | undefined;
  readonly to: string | undefined;
  /** IANA name; undefined: that of this machine. */
  readonly zone: string | undefined;
  /** Only chunks of this device; undefined: of all. */
  readonly device: string | undefined;
  readonly gaps: GapMode;
  /** The arguments of the commands `pause`, `requeue`, `join`, `verify` and `conform`. */
  readonly operands: readonly string[];
}

/**
 * The command and its options; what was not given has its default.
 * @param args what follows the name of the program.
 * @throws {UsageError} if a command, an option or an operand is unknown or not one of the command.
 */
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
    const takesPaths = command === "join" || command === "verify";
    const hasOperands = takesPaths || command === "pause" || command === "conform" ||
      (command === "requeue" && !values.all);
    if (operands.length > 0 && !hasOperands) {
      throw new UsageError(`Unexpected argument "${operands[0]}"`);
    }
    if (command === "pause" && operands.length !== 1) {
      throw new UsageError("pause needs one time, such as 15m or 1h30m");
    }
    if (takesPaths && operands.length === 0) {
      throw new UsageError(`${command} needs files or folders with chunks`);
    }
    if (command === "join" && values.output === undefined) {
      throw new UsageError("join needs a file to write: -o FILE");
    }
  }
  return {
    command,
    config: values.config,
    logLevel: readLevel(values["log-level"]),
    set: values.set ?? [],
    take: values.take,
    root: values.root ?? "/",
    purge: values.purge ?? false,
    dryRun: values["dry-run"] ?? false,
    all: values.all ?? false,
    spool: values.spool,
    json: values.json ?? false,
    sendTestChunk: values["send-test-chunk"] ?? false,
    seconds: readNumber("seconds", values.seconds ?? "20", 0, 86_400),
    dir: values.dir,
    listen: values.listen ?? "127.0.0.1:8043",
    tokens: values.tokens,
    store: values.store,
    s3Credentials: values["s3-credentials"],
    noToken: values["no-token"] ?? false,
    tlsCert: values["tls-cert"],
    tlsKey: values["tls-key"],
    maxMb: readNumber("max-mb", values["max-mb"] ?? "128", 1, 10_000),
    tokenFile: values["token-file"],
    tlsCa: values["tls-ca"],
    output: values.output ?? "",
    from: values.from,
    to: values.to,
    zone: values.zone,
    device: values.device?.toLowerCase(),
    gaps: readGapMode(values.gaps ?? "silence"),
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

function readGapMode(word: string): GapMode {
  const mode = GAP_MODES.find((mode) => mode === word);
  if (mode !== undefined) return mode;
  throw new UsageError(`--gaps "${word}" is not known: expected ${GAP_MODES.join(", ")}`);
}

function readNumber(name: string, word: string, min: number, max: number): number {
  const number = Number(word);
  if (word.trim() !== "" && number >= min && number <= max) return number;
  throw new UsageError(`--${name} "${word}" is not a number from ${min} to ${max}`);
}
