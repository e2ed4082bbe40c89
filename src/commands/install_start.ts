// The end of `install` on a system that runs: starts the service, and tells the person how it is. It writes no file.

import { messageOf } from "../system/error_text.ts";
import { PROGRAMS } from "../system/programs.ts";
import { CONFIG } from "./install_places.ts";
import { runProgram } from "./install_steps.ts";
import { putOnTrial } from "./install_update.ts";
import { isPortFree, lastLines, readHealth, SERVICE, serviceState } from "./service.ts";

/** Longer than TimeoutStartSec= of the unit: until then, the service may be reading a full spool. */
export const START_MS = 11 * 60_000;
/** States in which the service may have its port: it takes it before it is ready, and gives it back at its end. */
const RUNNING = ["active", "activating", "reloading", "deactivating"];

/**
 * Another program on the port would leave the service without a health page.
 * @param stateOf for tests. @throws if the port is taken, and not by the service.
 */
export async function checkPort(port: number, stateOf = serviceState): Promise<void> {
  if (port === 0 || isPortFree(port) || RUNNING.includes(await stateOf() ?? "")) return;
  throw new Error(
    `Cannot install as health_port ${port} is taken by another program (ss -ltnp 'sport = ${port}' ` +
      `names it): choose another one with --set health_port=PORT`,
  );
}

/** How the service is started: `once` leaves one that runs alone, as nothing has changed. */
export type Start = "on trial" | "again" | "once";

const STARTING: Readonly<Record<Start, string>> = {
  "on trial":
    "The new program is on trial: it must record for half a minute, or the previous one returns …",
  again: "Starting the service; this takes a few seconds, or minutes if the spool is full …",
  once: "The settings are those that it has. The service is started only if it does not run …",
};

/** Starts the service, waits until it is ready or judged, and prints its state and the next commands. */
export async function startService(
  healthPort: number,
  start: Start,
  print: (line: string) => void,
): Promise<number> {
  const isUpdate = start === "on trial";
  print(`\n${STARTING[start]}`);
  try {
    if (isUpdate) await putOnTrial("/");
    else {
      await runProgram([PROGRAMS.systemctl, "daemon-reload"]);
      const verb = start === "again" ? "restart" : "start";
      await runProgram([PROGRAMS.systemctl, verb, SERVICE], START_MS);
    }
  } catch (error) {
    print(`${messageOf(error)}\nThe last log lines of the service:`);
    for (const line of await lastLines(isUpdate ? 20 : 8)) print(`  ${line}`);
    if (isUpdate) return 1;
    print(
      `\nEverything is installed, but the service did not start. systemd tries again every few ` +
        `seconds. Fix the reported error, for instance in ${CONFIG}, then run:\n` +
        `  sudo systemctl restart ${SERVICE}`,
    );
    return 1;
  }
  const health = await readHealth(healthPort);
  print(`Running: ${health === null ? "the health page does not answer yet" : sayHealth(health)}`);
  print(`
Next:
  sudo recorder-agent check       find what is wrong and how to fix it
  systemctl status recorder-agent
  ssh -L ${healthPort}:127.0.0.1:${healthPort} THIS-MACHINE, then http://127.0.0.1:${healthPort}/`);
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
