// deno-lint-ignore-file no-console -- help, version and usage errors go to a person
// The entry point: arguments, signals, exit code. Only this module calls Deno.exit.

import { type AgentOptions, runAgent } from "./src/agent.ts";
import { systemClock } from "./src/system/clock.ts";
import { runCheck } from "./src/commands/check.ts";
import {
  type CommandLine,
  HELP,
  parseCommandLine,
  UsageError,
} from "./src/commands/command_line.ts";
import { readWantedMicrophone, runDevices, withMicrophones } from "./src/commands/devices.ts";
import { runInstall } from "./src/commands/install.ts";
import { runJoin } from "./src/commands/join.ts";
import { parsePause, runPause } from "./src/commands/pause.ts";
import { keepOnlyWhatIsNeeded } from "./src/commands/permissions.ts";
import { runRequeue } from "./src/commands/requeue.ts";
import { printError } from "./src/commands/terminal.ts";
import { runUninstall } from "./src/commands/uninstall.ts";
import { runVerify } from "./src/commands/verify.ts";
import { type Config, ConfigError } from "./src/config/config.ts";
import { loadGivenConfig } from "./src/config/first_run.ts";
import { lastGoodPath, saveLastGood } from "./src/config/last_good.ts";
import { takeEnvironment } from "./src/config/places.ts";
import { loadStartConfig } from "./src/config/start_config.ts";
import { HeldLines } from "./src/system/held_lines.ts";
import { startLog, StderrQueue } from "./src/system/log.ts";
import { COMMIT, VERSION } from "./src/system/version.ts";
import { Wakeup } from "./src/system/wakeup.ts";
import { messageOf } from "./src/system/error_text.ts";

/**
 * Rings at each SIGHUP. In a terminal the signal keeps its meaning: the terminal was closed, and the
 * program ends.
 */
function reloadRequests(): Wakeup {
  const requested = new Wakeup();
  if (!Deno.stdin.isTerminal()) Deno.addSignalListener("SIGHUP", () => requested.ring());
  return requested;
}

/** A signal that aborts at the first SIGTERM or SIGINT. A second one ends the process at once. */
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
  keepOnlyWhatIsNeeded(args.command);
  const env = takeEnvironment();
  const executable = Deno.build.standalone ? Deno.execPath() : "";
  switch (args.command) {
    case "help":
      console.log(HELP.trimEnd());
      return 0;
    case "version":
      console.log(
        `recorder-agent ${VERSION} (commit ${COMMIT ?? "unknown"}, deno ${Deno.version.deno}, ` +
          `${Deno.build.target})`,
      );
      return 0;
    case "devices":
      return await runDevices(readWantedMicrophone({ explicit: args.config, env, executable }));
    // These load what the service has no use for, and would pay for with memory and time.
    case "demo": {
      const { runDemo } = await import("./src/commands/demo.ts");
      return await runDemo({ ...args, dir: args.dir ?? "demo-recordings" }, stopSignal());
    }
    case "conform": {
      const { runConform } = await import("./src/commands/conform.ts");
      return await runConform({ ...args, env });
    }
    case "receive": {
      const { runReceive } = await import("./src/commands/receive.ts");
      return await runReceive({ ...args, env }, stopSignal());
    }
    case "check":
      return await runCheck({ ...args, env, executable });
    case "install":
      return await runInstall({ ...args, env, executable });
    case "uninstall":
      return await runUninstall(args);
    case "join":
      return await runJoin({ ...args, paths: args.operands });
    case "verify":
      return await runVerify({ ...args, paths: args.operands });
    case "pause": {
      const seconds = parsePause(args.operands[0] ?? "");
      return await runPause({ ...args, env, executable, request: { command: "pause", seconds } });
    }
    case "resume":
      return await runPause({ ...args, env, executable, request: { command: "resume" } });
    case "requeue": {
      const spoolDir = args.spool ??
        loadGivenConfig({ explicit: args.config, env, executable }).config.spoolDir;
      return await runRequeue({ ...args, spoolDir, executable, wanted: args.operands });
    }
    case "run": {
      const requested = reloadRequests();
      const given = { explicit: args.config, env, executable };
      const started = loadStartConfig(given);
      const lastGood = lastGoodPath(env);
      return await runService(
        started.config,
        {
          started,
          requested,
          load: () => loadGivenConfig(given).config,
          ...(lastGood === null ? {} : { keep: (config) => saveLastGood(lastGood, config, env) }),
        },
        args,
        env,
      );
    }
  }
}

async function runService(
  config: Config,
  configuration: AgentOptions["configuration"] & object,
  args: CommandLine,
  env: Record<string, string>,
): Promise<number> {
  const stderr = new StderrQueue();
  const held = new HeldLines(systemClock);
  const log = startLog({
    level: args.logLevel ?? "INFO",
    journal: "JOURNAL_STREAM" in env,
    held,
    write: (line) => stderr.push(line),
  });
  try {
    await runAgent({ config, log, env, configuration }, stopSignal());
    return 0;
  } catch (error) {
    log.fatal("recorder-agent is exiting: {reason}", {
      reason: messageOf(error),
    });
    return 1;
  } finally {
    held.flush();
    await stderr.flush(500);
  }
}

let code: number;
try {
  code = await main();
} catch (error) {
  if (error instanceof ConfigError) {
    for (const problem of await withMicrophones(error.problems)) printError(problem);
    code = 2;
  } else if (error instanceof UsageError) {
    printError(`${error.message}\nTry: recorder-agent --help`);
    code = 2;
  } else {
    throw error;
  }
}
Deno.exit(code);
