// deno-lint-ignore-file no-console -- this command talks to a person
// The command `recorder-agent check`: looks at everything a recording till needs, one thing after the
// other, and says what is wrong with each and how to fix it. It changes nothing, and sends a chunk
// only if asked to. Each check is a function of its own; one that fails does not keep the others.

import { type Config, ConfigError, loadConfig } from "../config/config.ts";
import { findConfigPath } from "../config/places.ts";
import { failed, type Finding, ok, skipped, type Verdict, warning } from "./finding.ts";
import { checkClock, checkPower, checkService, checkSpool, checkUser } from "./check_machine.ts";
import { checkMicrophone } from "./check_microphone.ts";
import { checkServer } from "./check_server.ts";
import { withMicrophones } from "./devices.ts";

export interface CheckOptions {
  readonly config: string | undefined;
  readonly env: Readonly<Record<string, string>>;
  readonly json: boolean;
  /** Delivers a chunk of silence, which the server keeps. */
  readonly sendTestChunk: boolean;
  readonly print?: (text: string) => void;
}

const MARKS: Record<Verdict, string> = { ok: "✔", warning: "!", failed: "✘", skipped: "–" };

/** Returns the exit code: 0 if nothing failed (there may be warnings), else 1. */
export async function runCheck(options: CheckOptions): Promise<number> {
  const { print = console.log, json } = options;
  const findings: Finding[] = [];
  const report = (found: readonly Finding[]) => {
    findings.push(...found);
    if (!json) { for (const finding of found) print(formatFinding(finding)); }
  };
  const { config, found } = await checkConfig(options);
  report(found);
  for (const check of checksOf(config, options)) report(await orSay(check));
  const broken = findings.filter(({ verdict }) => verdict === "failed").length;
  if (json) print(JSON.stringify({ ok: broken === 0, checks: findings }, null, 2));
  else print(broken === 0 ? "\nNothing is wrong." : `\n${broken} wrong: fix these first.`);
  return broken === 0 ? 0 : 1;
}

type Check = readonly [name: string, run: () => Promise<readonly Finding[]>];

/** What needs a configuration is passed over without one. */
function checksOf(config: Config | null, options: CheckOptions): Check[] {
  const withConfig = (
    name: string,
    run: (config: Config) => Promise<readonly Finding[]>,
  ): Check => [
    name,
    () => config === null ? Promise.resolve([skipped(name, "needs a configuration")]) : run(config),
  ];
  return [
    ["microphone", () => checkMicrophone(config)],
    ["user", () => checkUser()],
    withConfig("spool", checkSpool),
    ["clock", () => checkClock()],
    withConfig("server", (config) => checkServer(config, options.sendTestChunk)),
    ["service", () => checkService(config)],
    ["power", () => checkPower()],
  ];
}

/** A check that cannot be made is a finding, too. */
async function orSay([name, run]: Check): Promise<readonly Finding[]> {
  try {
    return await run();
  } catch (error) {
    const message = `cannot be checked: ${error instanceof Error ? error.message : error}`;
    return [failed(name, message, "Try it as root: sudo recorder-agent check")];
  }
}

async function checkConfig(
  { config: explicit, env }: CheckOptions,
): Promise<{ config: Config | null; found: Finding[] }> {
  const path = findConfigPath(explicit);
  const name = "configuration";
  try {
    const config = loadConfig({ path, env });
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
    return { config, found };
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
    const fix = "Correct that line (config.yaml.example has every key), then check again";
    const problems = await withMicrophones(error.problems);
    return { config: null, found: problems.map((problem) => failed(name, problem, fix)) };
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
