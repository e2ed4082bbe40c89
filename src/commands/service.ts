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
    return stdout.trim();
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
    return stdout.trim().split("\n").filter((line) => line !== "")
      .map((line) => printable(line, MAX_TEXT));
  } catch {
    return [];
  }
}

/** Numbers of the users whose programs listen on this port of 127.0.0.1 (proc(5), /proc/net/tcp). */
async function listenersOn(port: number): Promise<number[]> {
  const place = `0100007F:${port.toString(16).toUpperCase().padStart(4, "0")}`;
  const listening = `^ *[0-9]+: ${place} [0-9A-F]+:0000 0A `;
  const { stdout } = await outputOf(PROGRAMS.grep, ["-hE", "-e", listening, "/proc/net/tcp"]);
  return stdout.split("\n").filter((line) => line !== "")
    .map((line) => Number(line.trim().split(/\s+/)[7]));
}

/**
 * Whether nobody but a program of another user can answer on the port of the service: a user of this machine may
 * have taken it, and could say that all is well.
 * @param uid of the service that runs, as systemd says it; otherwise it is not known.
 */
export async function isForeignPort(port: number, uid: string | undefined): Promise<boolean> {
  if (!/^\d+$/.test(uid ?? "")) return false;
  try {
    return !(await listenersOn(port)).includes(Number(uid));
  } catch {
    return false;
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
