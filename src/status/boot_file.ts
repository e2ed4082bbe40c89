// The report that settings lie on the boot partition though they should have been taken from there: anybody with the
// card can read the token in them. It only asks whether the file exists, and never reads it.

import { exists } from "../system/disk.ts";
import type { Clock } from "../system/clock.ts";
import { ProblemReport, type ProblemReportDeps } from "./problem_report.ts";
import { problems } from "./problems.ts";

/** Which recorder-agent-setup.service takes at boot. */
const BOOT_FILE = "/boot/firmware/recorder-agent.yaml";
/** The service may start while the file is being taken. */
const EVERY_MS = 60_000;

/** Looks for the file once a minute, the first time a minute after the start, until the signal aborts. */
export async function watchBootFile(
  deps: ProblemReportDeps & { readonly clock: Pick<Clock, "sleep"> },
  signal: AbortSignal,
  path: string = BOOT_FILE,
): Promise<void> {
  const problem = new ProblemReport(deps);
  for (;;) {
    await deps.clock.sleep(EVERY_MS, signal);
    if (signal.aborted) return;
    // A folder that the service may not look into is as good as empty.
    if (await exists(path).catch(() => false)) problem.set(problems.settingsOnCard(path));
    else problem.clear();
  }
}
