// The systemd service as the commands see it from outside: whether it runs, its last log lines, and the
// answer of its /health. It changes nothing; install and uninstall do.

import { outputOf } from "../system/child.ts";
import { beginningOf } from "../system/byte_stream.ts";
import { fromJson, MAX_TEXT, printable } from "../system/printable.ts";
import { deadline } from "../system/clock.ts";
import { PROGRAMS } from "../system/programs.ts";

/** More than the largest answer of this program. */
const MAX_HEALTH_BYTES = 262_144;

export const SERVICE = "recorder-agent.service";

/** The output of `systemctl is-active`: active, activating, failed, inactive …; null without systemd. */
export async function serviceState(unit = SERVICE): Promise<string | null> {
  try {
    const { stdout } = await outputOf(PROGRAMS.systemctl, ["is-active", unit]);
    return new TextDecoder().decode(stdout).trim();
  } catch {
    return null;
  }
}

/** Whether no program listens on this port of 127.0.0.1. */
export function isPortFree(port: number): boolean {
  try {
    Deno.listen({ hostname: "127.0.0.1", port }).close();
    return true;
  } catch {
    return false;
  }
}

/** The last messages of the service in the journal, without time and host. */
export async function lastLines(count: number): Promise<string[]> {
  try {
    const args = ["-u", SERVICE, "-n", String(count), "-o", "cat", "--no-pager"];
    const { stdout } = await outputOf(PROGRAMS.journalctl, args);
    return new TextDecoder().decode(stdout).trim().split("\n").filter((line) => line !== "")
      .map((line) => printable(line, MAX_TEXT));
  } catch {
    return [];
  }
}

/** The answer of /health; null if there is none. */
export async function readHealth(port: number): Promise<Record<string, unknown> | null> {
  using limit = deadline(3000);
  try {
    // Another program may have taken the port.
    // Straight to it: a proxy of the environment would look for it on its own machine.
    const proxy = { transport: "tcp", hostname: "127.0.0.1", port } as const;
    using client = Deno.createHttpClient({ proxy });
    const options = { signal: limit.signal, redirect: "error", client } as const;
    const response = await fetch(`http://127.0.0.1:${port}/health`, options);
    const value = fromJson(await beginningOf(response.body, MAX_HEALTH_BYTES));
    return typeof value === "object" && value !== null ? { ...value } : null;
  } catch {
    return null;
  }
}
