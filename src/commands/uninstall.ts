// deno-lint-ignore-file no-console -- this command talks to a person
// The command `recorder-agent uninstall`: takes away what `install` has put there. Recordings,
// configuration and token stay unless it is told to purge them.

import { dirname } from "node:path";
import { loadConfig } from "../config/config.ts";
import { CONFIG, CONFIG_DIR, DROP_IN, PROGRAM, STATE_DIR, UNIT, USER, USERS } from "./install.ts";
import {
  carryOut,
  idOf,
  removeStep,
  runProgram,
  runStep,
  StepError,
  under,
} from "./install_steps.ts";
import { SERVICE, serviceState, SYSTEMCTL } from "./service.ts";
import { messageOf } from "../system/error_text.ts";

/** What is ours in spool_dir; whatever else lies there is nobody's to remove. */
const SPOOL_ENTRIES = [
  ...["recording", "outbox", "uploaded", "rejected"],
  ...["lock", "gaps.jsonl", "microphone.json", "levels.sock", "sound.sock"],
];

export interface UninstallOptions {
  readonly root: string;
  /** Recordings, configuration, token and user go, too. */
  readonly purge: boolean;
  readonly dryRun: boolean;
  readonly print?: (line: string) => void;
}

/** Returns the exit code. */
export async function runUninstall(options: UninstallOptions): Promise<number> {
  const { root, purge, dryRun, print = console.log } = options;
  const isLive = root === "/";
  try {
    if (Deno.uid() !== 0) {
      throw new Error("Cannot uninstall as this needs root: try again with sudo");
    }
    const spoolDir = findSpoolDir(root);
    print(
      `recorder-agent ${dryRun ? "would be removed" : "is being removed"}${
        isLive ? "" : ` from ${root}`
      }:`,
    );
    const steps = [
      ...(isLive
        ? [
          runStep("Stop the service; the last chunk is finished and kept", [
            SYSTEMCTL,
            "stop",
            SERVICE,
          ], {
            isDone: async () => ["inactive", "unknown", null].includes(await serviceState()),
          }),
        ]
        : []),
      removeStep(root, `/etc/systemd/system/multi-user.target.wants/${SERVICE}`),
      removeStep(root, UNIT),
      removeStep(root, DROP_IN),
      removeStep(root, dirname(DROP_IN)),
      removeStep(root, PROGRAM),
      removeStep(root, `${PROGRAM}.old`),
      ...(purge
        ? [
          ...SPOOL_ENTRIES.map((name) =>
            removeStep(root, `${spoolDir}/${name}`, { recursive: true })
          ),
          removeStep(root, spoolDir),
          removeStep(root, STATE_DIR),
          removeStep(root, CONFIG_DIR, { recursive: true }),
          removeStep(root, USERS),
          runStep(`Remove the user ${USER}`, [
            "/usr/sbin/userdel",
            ...(isLive ? [] : ["--prefix", root]),
            USER,
          ], {
            isDone: async () => await idOf(root, "passwd", USER) === null,
          }),
        ]
        : []),
    ];
    await carryOut(steps, { dryRun, print });
    if (isLive && !dryRun) await runProgram([SYSTEMCTL, "daemon-reload"]);
    if (!purge) {
      print(
        `\nRecordings stay in ${spoolDir}, configuration and token in ${CONFIG_DIR}: --purge removes them, too.`,
      );
    }
    return 0;
  } catch (error) {
    print(messageOf(error));
    if (error instanceof StepError) {
      print("Put that right and run it again: it goes on where it stopped.");
    }
    return 1;
  }
}

/** Where the configuration says; the usual place if it cannot be read any more. */
function findSpoolDir(root: string): string {
  try {
    return loadConfig({
      path: CONFIG,
      env: { RA_INGEST_TOKEN: "not-needed-here" },
      readTextFile: (path) => Deno.readTextFileSync(under(root, path)),
    }).spoolDir;
  } catch {
    return `${STATE_DIR}/spool`;
  }
}
