// The command `recorder-agent install`: sets up the service on a machine to which the program was copied.
// It asks for the values that it needs, checks all of them before it changes anything, and then carries
// out one step after the other; each step may be repeated. Installing again is an upgrade: configuration
// and token stay.

import { exists } from "../system/disk.ts";
import { loadConfig } from "../config/config.ts";
import { DEFAULT_CONFIG_PATH, UNIT_PATH } from "../config/places.ts";
import { INSTALLED_TOKEN_PATH } from "../config/token.ts";
import { VERSION } from "../system/version.ts";
import {
  applySettings,
  type Ask,
  askFor,
  missingKeys,
  placeholderKeys,
  readSettings,
  TOKEN_KEY,
} from "./install_settings.ts";
import {
  carryOut,
  fileStep,
  folderStep,
  idOf,
  programStep,
  runProgram,
  runStep,
  type Step,
  StepError,
  under,
} from "./install_steps.ts";
import { isPortFree, lastLines, readHealth, SERVICE, serviceState, SYSTEMCTL } from "./service.ts";
import { askOnTerminal, printText } from "./terminal.ts";
import { messageOf } from "../system/error_text.ts";

/** Where the files are installed. */
export const PROGRAM = "/usr/local/bin/recorder-agent";
export const CONFIG_DIR = "/etc/recorder-agent";
export const CONFIG = DEFAULT_CONFIG_PATH;
export const TOKEN = INSTALLED_TOKEN_PATH;
export const UNIT = UNIT_PATH;
export const DROP_IN = "/etc/systemd/system/recorder-agent.service.d/spool.conf";
export const USERS = "/etc/sysusers.d/recorder-agent.conf";
export const USER = "recorder-agent";
/** Systemd creates the folders of the unit below it. */
export const STATE_DIR = "/var/lib/recorder-agent";

/** The service's user, in the group that may open sound devices (sysusers.d(5)). */
const USERS_TEXT = `u ${USER} - "recorder-agent" ${STATE_DIR}\nm ${USER} audio\n`;
/** Longer than a start may take on a slow board. */
const START_MS = 150_000;

export interface InstallOptions {
  /** The system to install into; "/" is the one that runs. */
  readonly root: string;
  /** `key=value` for the configuration. */
  readonly set: readonly string[];
  readonly env: Readonly<Record<string, string>>;
  readonly dryRun: boolean;
  /** The program to install. */
  readonly executable: string;
  /** Null: there is no person to ask. */
  readonly ask?: Ask | null;
  readonly print?: (line: string) => void;
}

/** The wanted state of the system. */
interface Plan {
  readonly configText: string;
  readonly token: string | null;
  readonly spoolDir: string;
  readonly healthPort: number;
}

/** Returns the exit code. Errors are printed as sentences; in that case nothing is changed. */
export async function runInstall(options: InstallOptions): Promise<number> {
  const { root, dryRun, print = printText } = options;
  const isLive = root === "/";
  try {
    await checkSystem(root, isLive, options.executable);
    const plan = await makePlan(options);
    if (plan === null) {
      print("Nothing was changed.");
      return 1;
    }
    if (isLive) await checkPort(plan.healthPort);
    print(
      `\nrecorder-agent ${VERSION} ${dryRun ? "would be installed" : "is being installed"}` +
        `${isLive ? "" : ` into ${root}`}:`,
    );
    await carryOut([...fileSteps(options, plan), ...serviceSteps(root)], { dryRun, print });
    if (dryRun) print("\nNothing was changed (--dry-run).");
    else if (isLive) return await start(plan, print);
    else print(`\nInstalled into ${root}; the service starts when that system boots.`);
    return 0;
  } catch (error) {
    print(messageOf(error));
    if (error instanceof StepError) print("The changes were undone, as listed above.");
    return 1;
  }
}

async function checkSystem(root: string, isLive: boolean, executable: string): Promise<void> {
  if (Deno.uid() !== 0) {
    throw new Error("Cannot install as this needs root: try again with sudo");
  }
  if (!await exists(root)) throw new Error(`Cannot install into ${root} as it does not exist`);
  if (isLive && !await exists("/run/systemd/system")) {
    throw new Error(
      "Cannot install as this system was not started by systemd, which the service needs: run " +
        "recorder-agent -c FILE under the supervisor of this system, or install into a folder with --root",
    );
  }
  if (executable === "") {
    throw new Error(
      "Cannot install as this is the source run by deno: build the program with `deno task compile`, " +
        "copy it to the machine and run its install there",
    );
  }
  const ffmpegs = ["/usr/bin/ffmpeg", "/usr/local/bin/ffmpeg"];
  const found = await Promise.all(ffmpegs.map((path) => exists(under(root, path))));
  if (isLive && !found.includes(true)) {
    throw new Error(
      "Cannot install as ffmpeg is missing: apt-get install --yes ffmpeg, then try again",
    );
  }
}

/**
 * Everything that will be written, checked in the same way as the service checks it. Null: the person gave
 * up.
 */
async function makePlan(options: InstallOptions): Promise<Plan | null> {
  const { root, ask = askOnTerminal() } = options;
  const [configPath, tokenPath] = [under(root, CONFIG), under(root, TOKEN)];
  const before = await exists(configPath) ? await Deno.readTextFile(configPath) : null;
  const settings = readSettings(options.set, options.env);
  const hasToken = await exists(tokenPath) || before !== null;
  // If a configuration exists, loadConfig reports below what is missing in it.
  const known = (key: string) => key === TOKEN_KEY ? hasToken : before !== null;
  const missing = missingKeys(settings, known);
  if (missing.length > 0) {
    if (ask === null) {
      throw new Error(
        `Cannot install without ${missing.join(", ")}: give each with --set KEY=VALUE or its RA_ ` +
          `variable, or run install on a terminal, where it asks`,
      );
    }
    const answers = await askFor(missing, ask);
    if (answers === null) return null;
    for (const [key, value] of answers) settings.set(key, value);
  }
  const token = settings.get(TOKEN_KEY) ?? null;
  const configText = applySettings(
    before ?? await readAsset("config.yaml.example", placeholderKeys()),
    settings,
  );
  const credentials = "/run/credentials/recorder-agent.service";
  const config = loadConfig({
    path: CONFIG,
    env: token === null ? { CREDENTIALS_DIRECTORY: credentials } : { RA_INGEST_TOKEN: token },
    readTextFile: (path) => {
      if (path === CONFIG) return configText;
      const place = path === `${credentials}/ingest-token` ? TOKEN : path;
      return Deno.readTextFileSync(under(root, place));
    },
  });
  const { spoolDir, healthPort } = config;
  return { configText, token, spoolDir, healthPort };
}

/** A file that is part of the program; the values of the `dropped` keys become null. */
async function readAsset(name: string, dropped: readonly string[] = []): Promise<string> {
  const text = await Deno.readTextFile(new URL(`../../${name}`, import.meta.url));
  return dropped.reduce(
    (text, key) => text.replace(new RegExp(`^${key}:.*$`, "m"), `${key}: null`),
    text,
  );
}

/** Another program on the port would leave the service without a health page. */
async function checkPort(port: number): Promise<void> {
  if (port === 0 || isPortFree(port) || await serviceState() === "active") return;
  throw new Error(
    `Cannot install as health_port ${port} is taken by another program (ss -ltnp 'sport = ${port}' ` +
      `names it): choose another one with --set health_port=PORT`,
  );
}

function fileSteps(options: InstallOptions, plan: Plan): Step[] {
  const { root, executable } = options;
  const encode = (text: string) => new TextEncoder().encode(text);
  const steps = [
    fileStep(`Write ${USERS}`, root, USERS, () => encode(USERS_TEXT), { mode: 0o644 }),
    runStep(`Create the user ${USER} in the group audio`, [
      "/usr/bin/systemd-sysusers",
      `--root=${root}`,
      under(root, USERS),
    ], { isDone: async () => await idOf(root, "passwd", USER) !== null }),
    folderStep(root, CONFIG_DIR, { mode: 0o750, group: USER }),
    programStep(`Copy the program to ${PROGRAM}`, root, executable, PROGRAM),
    fileStep(`Write the configuration to ${CONFIG}`, root, CONFIG, () => encode(plan.configText), {
      mode: 0o640,
      group: USER,
    }),
  ];
  const { token, spoolDir } = plan;
  if (token !== null) {
    steps.push(
      fileStep(
        `Write the token to ${TOKEN}, readable only by root`,
        root,
        TOKEN,
        () => encode(`${token}\n`),
        {
          mode: 0o600,
        },
      ),
    );
  }
  steps.push(
    fileStep(
      `Write the unit to ${UNIT}`,
      root,
      UNIT,
      async () => encode(await readAsset("recorder-agent.service")),
      {
        mode: 0o644,
      },
    ),
  );
  if (!`${spoolDir}/`.startsWith(`${STATE_DIR}/`)) {
    steps.push(
      folderStep(root, spoolDir, { mode: 0o700, owner: USER, group: USER }),
      fileStep(
        `Allow the service to write to ${spoolDir} (${DROP_IN})`,
        root,
        DROP_IN,
        () => encode(`[Service]\nReadWritePaths=${spoolDir.replaceAll("%", "%%")}\n`),
        { mode: 0o644 },
      ),
    );
  }
  return steps;
}

function serviceSteps(root: string): Step[] {
  const wants = under(root, `/etc/systemd/system/multi-user.target.wants/${SERVICE}`);
  return [
    runStep(
      `Enable the start of ${SERVICE} at every boot`,
      [SYSTEMCTL, `--root=${root}`, "enable", SERVICE],
      {
        isDone: () => exists(wants),
        undo: [SYSTEMCTL, `--root=${root}`, "disable", SERVICE],
      },
    ),
  ];
}

/** Starts the service, waits until it is ready, and prints its state and the next commands. */
async function start(plan: Plan, print: (line: string) => void): Promise<number> {
  print("\nStarting the service; this takes a few seconds …");
  try {
    await runProgram([SYSTEMCTL, "daemon-reload"]);
    await runProgram([SYSTEMCTL, "restart", SERVICE], START_MS);
  } catch (error) {
    print(`${messageOf(error)}\nThe last log lines of the service:`);
    for (const line of await lastLines(8)) print(`  ${line}`);
    print(
      `\nEverything is installed, but the service did not start. systemd tries again every few ` +
        `seconds. Fix the reported error, for instance in ${CONFIG}, then run:\n` +
        `  sudo systemctl restart ${SERVICE}`,
    );
    if (await exists(`${PROGRAM}.old`)) {
      print(
        `To go back to the previous program:\n` +
          `  sudo mv ${PROGRAM}.old ${PROGRAM} && sudo systemctl restart ${SERVICE}`,
      );
    }
    return 1;
  }
  const health = await readHealth(plan.healthPort);
  print(`Running: ${health === null ? "the health page does not answer yet" : sayHealth(health)}`);
  print(`
Next:
  sudo recorder-agent check       find what is wrong and how to fix it
  systemctl status recorder-agent
  ssh -L ${plan.healthPort}:127.0.0.1:${plan.healthPort} THIS-MACHINE, then http://127.0.0.1:${plan.healthPort}/`);
  return 0;
}

function sayHealth(health: Record<string, unknown>): string {
  const doing = health.recording
    ? "recording"
    : health.in_schedule
    ? "not recording yet"
    : "waiting for the hours of the schedule";
  const problems = Array.isArray(health.problems) ? health.problems : [];
  return [`status ${health.status}, ${doing}`, ...problems.map(({ message }) => `  ✘ ${message}`)]
    .join("\n");
}
