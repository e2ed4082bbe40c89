// deno-lint-ignore-file no-console -- this command talks to a person
// The command `recorder-agent check`: looks at everything a recording till needs, one thing after the
// other, and says what is wrong with each and how to fix it. It changes nothing, and sends a chunk
// only if asked to. Each check is a function of its own; one that fails does not keep the others.

import { type Config, ConfigError } from "../config/config.ts";
import { loadGivenConfig, NotSetUpError } from "../config/first_run.ts";
import { failed, type Finding, ok, skippedAll, type Verdict, warning } from "./finding.ts";
import {
  checkClock,
  checkPower,
  checkService,
  checkSpool,
  checkUser,
  readUnit,
} from "./check_machine.ts";
import { checkMicrophone } from "./check_microphone.ts";
import { checkServer, SERVER_CHECKS } from "./check_server.ts";
import { withMicrophones } from "./devices.ts";
import { messageOf } from "../system/error_text.ts";

export interface CheckOptions {
  readonly config: string | undefined;
  readonly env: Readonly<Record<string, string>>;
  /** Path of this program; empty if it runs from source. */
  readonly executable?: string;
  readonly json: boolean;
  /** Delivers a chunk of silence, which the server keeps. */
  readonly sendTestChunk: boolean;
  readonly print?: (text: string) => void;
}

const MARKS: Record<Verdict, string> = { ok: "✔", warning: "!", failed: "✘", skipped: "–" };

/** Returns the exit code: 0 if nothing failed (there may be warnings), else 1; 2 if nothing is set up. */
export async function runCheck(options: CheckOptions): Promise<number> {
  const { print = console.log, json } = options;
  const findings: Finding[] = [];
  const report = (found: readonly Finding[]) => {
    findings.push(...found);
    if (json) return;
    for (const finding of found) if (finding.because === null) print(formatFinding(finding));
  };
  const { config, found, isSetUp } = await checkConfig(options);
  report(found);
  for (const check of isSetUp ? checksOf(config, options) : []) report(await orSay(check));
  const broken = findings.filter(({ verdict }) => verdict === "failed").length;
  if (json) print(JSON.stringify({ ok: broken === 0, checks: findings }, null, 2));
  else {
    for (const line of formatSkipped(findings)) print(line);
    if (isSetUp) {
      print(broken === 0 ? "\nNothing is wrong." : `\n${broken} wrong: fix these first.`);
    }
  }
  return !isSetUp ? 2 : broken === 0 ? 0 : 1;
}

type Check = readonly [name: string, run: () => Promise<readonly Finding[]>];

/** What needs a configuration is passed over without one. */
function checksOf(config: Config | null, options: CheckOptions): Check[] {
  const withConfig = (
    names: readonly [string, ...string[]],
    run: (config: Config) => Promise<readonly Finding[]>,
  ): Check => [
    names[0],
    () => config === null ? Promise.resolve(skippedAll(names, "configuration")) : run(config),
  ];
  const unit = readUnit();
  return [
    ["microphone", () => checkMicrophone(config)],
    ["service", async () => checkService(await unit, config)],
    ["user", async () => checkUser(await unit)],
    withConfig(["spool"], async (config) => checkSpool(config, await unit)),
    ["clock", () => checkClock()],
    withConfig(SERVER_CHECKS, (config) => checkServer(config, options.sendTestChunk)),
    ["power", () => checkPower()],
  ];
}

/** A check that cannot be made is a finding, too. */
async function orSay([name, run]: Check): Promise<readonly Finding[]> {
  try {
    return await run();
  } catch (error) {
    const message = `cannot be checked: ${messageOf(error)}`;
    return [failed(name, message, "Try it as root: sudo recorder-agent check")];
  }
}

async function checkConfig(
  { config: explicit, env, executable = "" }: CheckOptions,
): Promise<{ config: Config | null; found: Finding[]; isSetUp: boolean }> {
  const name = "configuration";
  try {
    const { path, config } = loadGivenConfig({ explicit, env, executable });
    const found = [ok(name, path ?? "from variables of the environment")];
    const exposed = path !== null && config.ingestToken !== null && isForEveryone(path);
    if (exposed) {
      found.push(
        warning(
          name,
          `everybody on this machine can read the token in ${path}`,
          `sudo chmod o= ${path}`,
        ),
      );
    }
    return { config, found, isSetUp: true };
  } catch (error) {
    if (error instanceof NotSetUpError) {
      const found = [failed(name, "recorder-agent is not set up yet", error.command)];
      return { config: null, found, isSetUp: false };
    }
    if (!(error instanceof ConfigError)) throw error;
    const fix = "Correct that line (config.yaml.example has every key), then check again";
    const problems = await withMicrophones(error.problems);
    const found = problems.map((problem) => failed(name, problem, fix));
    return { config: null, found, isSetUp: true };
  }
}

function isForEveryone(path: string): boolean {
  return ((Deno.statSync(path).mode ?? 0) & 0o004) !== 0;
}

function formatFinding({ name, verdict, message, fix }: Finding): string {
  const indent = " ".repeat(17);
  const lines = [`${MARKS[verdict]} ${name.padEnd(15)}${message.replaceAll("\n", `\n${indent}`)}`];
  if (fix !== null) lines.push(`${indent}→ ${fix}`);
  return lines.join("\n");
}

/** What was not checked because something else failed: a line for each cause. */
function formatSkipped(findings: readonly Finding[]): string[] {
  const causes = Map.groupBy(findings, ({ because }) => because);
  return [...causes].flatMap(([because, found]) =>
    because === null
      ? []
      : `${MARKS.skipped} not checked    ${found.map(({ name }) => name).join(", ")}: ` +
        `first ${because} must be in order`
  );
}
