// The command `recorder-agent check`: checks everything that a recording till needs, one check after the
// other, and prints what is wrong and how to fix it. It changes nothing, and sends a chunk only on
// request. Each check is a separate function; a check that fails does not stop the others.

import { readNamedTextSync } from "../system/disk.ts";
import { type Config, ConfigError } from "../config/config.ts";
import { isForbidden, type ReadTextFile } from "../config/file_failure.ts";
import {
  commandLine,
  type GivenConfig,
  type Installation,
  loadGivenConfig,
  NoConfigError,
  NotSetUpError,
} from "../config/first_run.ts";
import { lastGoodPath } from "../config/last_good.ts";
import { STATE_DIR } from "../config/places.ts";
import { loadStartConfig } from "../config/start_config.ts";
import { INSECURE_FIX, refuseTransport } from "../config/transport.ts";
import {
  failed,
  type Finding,
  formatFinding,
  MARKS,
  NAME_WIDTH,
  ok,
  sentence,
  skippedAll,
  warning,
} from "./finding.ts";
import {
  checkClock,
  checkFiles,
  checkPower,
  checkService,
  checkSpool,
  checkUser,
  readUnit,
} from "./check_machine.ts";
import { checkMicrophone } from "./check_microphone.ts";
import { checkSchedule } from "./check_schedule.ts";
import { checkServer, SERVER_CHECKS } from "./check_server.ts";
import { withMicrophones } from "./devices.ts";
import { systemClock } from "../system/clock.ts";
import { toJson } from "../system/printable.ts";
import { messageOf } from "../system/error_text.ts";
import { printText } from "./terminal.ts";

export interface CheckOptions {
  readonly config: string | undefined;
  readonly env: Readonly<Record<string, string>>;
  /** Path of this program; empty if it runs from source. */
  readonly executable?: string;
  readonly json: boolean;
  /** Delivers a chunk of silence, which the server keeps. */
  readonly sendTestChunk: boolean;
  readonly print?: (text: string) => void;
  /** The files of this machine, for a test. */
  readonly installation?: Installation;
  readonly readTextFile?: ReadTextFile;
}

/** Returns the exit code: 0 if nothing failed (there may be warnings), else 1; 2 if nothing is set up. */
export async function runCheck(options: CheckOptions): Promise<number> {
  const { print = printText, json } = options;
  const findings: Finding[] = [];
  const report = (found: readonly Finding[]) => {
    findings.push(...found);
    if (json) return;
    for (const finding of found) if (finding.because === null) print(formatFinding(finding));
  };
  const { config, found, isSetUp, environment } = await checkConfig(options);
  report(found);
  const checks = isSetUp ? checksOf(config, environment, options) : [];
  for (const check of checks) report(await orSay(check));
  const broken = findings.filter(({ verdict }) => verdict === "failed").length;
  if (json) print(toJson({ ok: broken === 0, checks: findings }, 2));
  else {
    for (const line of formatSkipped(findings)) print(line);
    if (isSetUp) {
      print(broken === 0 ? "\nNo check failed." : `\n${broken} failed: fix these first.`);
    }
  }
  return !isSetUp ? 2 : broken === 0 ? 0 : 1;
}

type Environment = Readonly<Record<string, string>>;

type Check = readonly [name: string, run: () => Promise<readonly Finding[]>];

/** Checks that need a configuration are skipped without one. */
function checksOf(
  config: Config | null,
  environment: Environment,
  { sendTestChunk }: CheckOptions,
): Check[] {
  const withConfig = (
    names: readonly [string, ...string[]],
    run: (config: Config) => Promise<readonly Finding[]>,
  ): Check => [
    names[0],
    () => config === null ? Promise.resolve(skippedAll(names, "configuration")) : run(config),
  ];
  const unit = readUnit();
  const files = config === null ? Promise.resolve([]) : checkFiles(config);
  return [
    withConfig(
      ["schedule"],
      (config) =>
        Promise.resolve(checkSchedule(config, systemClock.unixMs(), Temporal.Now.timeZoneId())),
    ),
    ["microphone", async () => checkMicrophone(config, {}, (await unit)?.UID)],
    ["service", async () => checkService(await unit, config)],
    ["user", async () => checkUser(await unit)],
    ["files", () => files],
    withConfig(["spool"], async (config) => checkSpool(config, await unit)),
    ["clock", () => checkClock()],
    withConfig(
      SERVER_CHECKS,
      async (config) => checkServer(config, sendTestChunk, environment, await files),
    ),
    ["power", () => checkPower()],
  ];
}

/** A check that cannot run is a finding, too. */
async function orSay([name, run]: Check): Promise<readonly Finding[]> {
  try {
    return await run();
  } catch (error) {
    const message = `cannot be checked: ${messageOf(error)}`;
    return [failed(name, message, "Run it as root: sudo recorder-agent check")];
  }
}

/** Whether the service can read its configuration, what is wrong with it, and what it sets. It starts no program. */
export async function checkConfig(
  { config: explicit, executable = "", ...options }: CheckOptions,
): Promise<
  { config: Config | null; found: Finding[]; isSetUp: boolean; environment: Environment }
> {
  const name = "configuration";
  const nothing = { config: null, environment: {} };
  try {
    const { paths, config, environment } = loadGivenConfig({ ...options, explicit, executable });
    const found = [ok(name, paths.join(" and ") || "from environment variables")];
    for (const path of paths.filter((path) => exposes(path, config.ingestToken))) {
      found.push(
        warning(
          name,
          `every user of this machine can read the token in ${path}`,
          `sudo chmod o= ${path}`,
        ),
      );
    }
    // The way to the Ingest API is a check of its own.
    for (const key of ["otlp_endpoint", "heartbeat_url"] as const) {
      const [refusal = null] = refuseTransport(config, key)?.split(";") ?? [];
      if (refusal === null) continue;
      found.push(failed(name, `nothing is sent: ${refusal}`, sentence(INSECURE_FIX)));
    }
    return { config, found, isSetUp: true, environment };
  } catch (error) {
    if (error instanceof NotSetUpError) {
      const found = [failed(name, "recorder-agent is not set up yet", error.command)];
      return { ...nothing, found, isSetUp: false };
    }
    if (error instanceof NoConfigError) {
      return { ...nothing, found: [failed(name, error.reason, error.fix)], isSetUp: true };
    }
    if (!(error instanceof ConfigError)) throw error;
    const again = commandLine(executable, explicit ? `check -c ${explicit}` : "check");
    const problems = await withMicrophones(error.problems);
    const found = problems.map((problem) => failed(name, problem, fixOf(problem, again)));
    if (explicit === undefined) found.push(...inForce({ ...options, explicit, executable }));
    return { ...nothing, found, isSetUp: true };
  }
}

/** What the service does with a wrong configuration at its next start. */
function inForce(given: GivenConfig): Finding[] {
  const name = "configuration";
  const STATE_DIRECTORY = given.env.STATE_DIRECTORY ?? STATE_DIR;
  try {
    const { from } = loadStartConfig({ ...given, env: { ...given.env, STATE_DIRECTORY } });
    const fix = "sudo systemctl reload recorder-agent, once the configuration is correct";
    if (from === "as_written") return [warning(name, "the service records, and chunks wait", fix)];
    const settings = from === "last_good"
      ? `those that worked last (${lastGoodPath({ STATE_DIRECTORY })})`
      : "without what is wrong: it records, and chunks may wait";
    return [warning(name, `the service uses other settings, ${settings}`, fix)];
  } catch (error) {
    if (error instanceof ConfigError) return [];
    throw error;
  }
}

/** @param again the check as root runs it. */
function fixOf(problem: string, again: string): string {
  if (isForbidden(problem)) return `Run the check as root: ${again}`;
  if (problem.includes(": the configuration file ")) return "Check the name of the file";
  return problem.includes(": is missing: ")
    ? "Add it, then run the check again; config.yaml.example shows every key"
    : "Correct it, then run the check again; config.yaml.example shows every key";
}

/** Whether every user of this machine can read the token in this file. */
function exposes(path: string, token: string | null): boolean {
  const isForEveryone = ((Deno.statSync(path).mode ?? 0) & 0o004) !== 0;
  return token !== null && isForEveryone && readNamedTextSync(path).includes(token);
}

/** The checks that were skipped because another check failed: one line for each cause. */
function formatSkipped(findings: readonly Finding[]): string[] {
  const causes = Map.groupBy(findings, ({ because }) => because);
  return [...causes].flatMap(([because, found]) =>
    because === null
      ? []
      : `${MARKS.skipped} ${"not checked".padEnd(NAME_WIDTH)}${
        found.map(({ name }) => name).join(", ")
      }: ` +
        `fix ${because} first`
  );
}
