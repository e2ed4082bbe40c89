// deno-lint-ignore-file no-console -- help, version and usage errors go to a person
// Arguments, signals, exit code. The only Deno.exit.

import { parseArgs } from "node:util";
import { runAgent } from "./src/agent.ts";
import { runDemo } from "./src/commands/demo.ts";
import { runDevices } from "./src/commands/devices.ts";
import { ConfigError, findConfigPath, loadConfig, readEnvironment } from "./src/config.ts";
import { type LevelName, LOG_LEVELS, startLog, StderrQueue } from "./src/log.ts";
import { VERSION } from "./src/version.ts";

const HELP =
  `recorder-agent ${VERSION}: records a USB microphone by schedule, delivers it to an Ingest API

Usage:
  recorder-agent [-c FILE] [--log-level LEVEL]   run the service
  recorder-agent devices                         list the microphones and which one would be taken
  recorder-agent demo [--seconds N] [--dir DIR]  try it without a microphone or a server

Options:
  -c, --config FILE    configuration (default: /etc/recorder-agent/config.yaml if it exists,
                       else environment variables alone); RA_… variables override the file
      --log-level L    ${LOG_LEVELS.join(", ")} (default: INFO)
      --seconds N      demo: end by itself after N seconds (default: 20; 0: at Ctrl-C)
      --dir DIR        demo: where the received recordings go (default: ./demo-recordings)
  -h, --help           this text
      --version        the version

Exit codes:
  0  ended as asked (SIGTERM, SIGINT, end of the demo)
  1  cannot go on (the spool is in use or cannot be written, no microphone listed, demo failed)
  2  the command line or the configuration is wrong; every problem is listed
`;

class UsageError extends Error {}

interface Arguments {
  command: string;
  config: string | undefined;
  logLevel: LevelName | undefined;
  seconds: number;
  dir: string;
}

/** Null when only `--help` or `--version` was asked for, which has then been answered. */
function parseCommandLine(args: string[]): Arguments | null {
  let parsed;
  try {
    parsed = parseArgs({
      args,
      allowPositionals: true,
      options: {
        config: { type: "string", short: "c" },
        "log-level": { type: "string" },
        seconds: { type: "string", default: "20" },
        dir: { type: "string", default: "demo-recordings" },
        help: { type: "boolean", short: "h" },
        version: { type: "boolean" },
      },
    });
  } catch (error) {
    throw new UsageError(error instanceof Error ? error.message : String(error));
  }
  const { values, positionals: [command = "run", ...surplus] } = parsed;
  if (values.help) {
    console.log(HELP.trimEnd());
    return null;
  }
  if (values.version) {
    const { deno } = Deno.version;
    console.log(`recorder-agent ${VERSION} (deno ${deno}, ${Deno.build.target})`);
    return null;
  }
  if (!["run", "devices", "demo"].includes(command)) {
    throw new UsageError(`Unknown command "${command}": expected devices or demo, or none to run`);
  }
  if (surplus.length > 0) throw new UsageError(`Unexpected argument "${surplus[0]}"`);
  const logLevel = LOG_LEVELS.find((level) => level === values["log-level"]?.toUpperCase());
  if (values["log-level"] !== undefined && logLevel === undefined) {
    throw new UsageError(
      `--log-level "${values["log-level"]}" is not a level: expected ${LOG_LEVELS.join(", ")}`,
    );
  }
  const seconds = Number(values.seconds);
  if (!(seconds >= 0 && seconds <= 86_400)) {
    throw new UsageError(`--seconds "${values.seconds}" is not a number from 0 to 86400`);
  }
  return { command, config: values.config, logLevel, seconds, dir: values.dir };
}

/** Aborts at the first SIGTERM or SIGINT; a second one ends the process at once. */
function stopSignal(): AbortSignal {
  const controller = new AbortController();
  for (const [name, number] of [["SIGTERM", 15], ["SIGINT", 2]] as const) {
    Deno.addSignalListener(name, () => {
      if (controller.signal.aborted) Deno.exit(128 + number);
      controller.abort();
    });
  }
  return controller.signal;
}

async function main(): Promise<number> {
  const args = parseCommandLine(Deno.args);
  if (args === null) return 0;
  if (args.command === "devices") return await runDevices();
  if (args.command === "demo") return await runDemo(args, stopSignal());
  const env = readEnvironment();
  const config = loadConfig({ path: findConfigPath(args.config), env });
  const stderr = new StderrQueue();
  const log = startLog({
    level: args.logLevel ?? "INFO",
    journal: "JOURNAL_STREAM" in env,
    write: (line) => stderr.push(line),
  });
  try {
    await runAgent({ config, log }, stopSignal());
    return 0;
  } catch (error) {
    log.fatal("recorder-agent cannot go on: {reason}", {
      reason: error instanceof Error ? error.message : String(error),
    });
    return 1;
  } finally {
    await stderr.flush(500);
  }
}

let code: number;
try {
  code = await main();
} catch (error) {
  if (error instanceof ConfigError) {
    for (const problem of error.problems) console.error(problem);
    code = 2;
  } else if (error instanceof UsageError) {
    console.error(`${error.message}\nTry: recorder-agent --help`);
    code = 2;
  } else {
    throw error;
  }
}
Deno.exit(code);
