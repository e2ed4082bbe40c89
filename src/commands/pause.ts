// The commands `recorder-agent pause` and `resume`: they ask the running service over its control socket. They
// change nothing themselves.

import { join } from "@std/path/join";
import { loadGivenConfig } from "../config/first_run.ts";
import { readControlLine } from "../system/control_line.ts";
import {
  CONTROL_SOCKET,
  type ControlRequest,
  encodeControl,
  MAX_PAUSE_S,
  MIN_PAUSE_S,
  parseAnswer,
} from "../system/control_protocol.ts";
import { messageOf } from "../system/error_text.ts";
import { close } from "../system/transport.ts";
import { UsageError } from "./command_line.ts";
import { printError, printText } from "./terminal.ts";

/** RuntimeDirectory= of the unit. */
const RUNTIME_DIR = "/run/recorder-agent";
const UNITS: Readonly<Record<string, number>> = { h: 3600, m: 60, s: 1 };

export interface PauseOptions {
  readonly config: string | undefined;
  readonly env: Readonly<Record<string, string>>;
  readonly executable: string;
  readonly request: ControlRequest;
}

/** Returns the exit code: 0 if the service has done it. */
export async function runPause({ request, ...given }: PauseOptions): Promise<number> {
  const path = given.config === undefined
    ? join(RUNTIME_DIR, CONTROL_SOCKET)
    : join(loadGivenConfig({ ...given, explicit: given.config }).config.spoolDir, CONTROL_SOCKET);
  let connection: Deno.UnixConn;
  try {
    connection = await Deno.connect({ transport: "unix", path });
  } catch (error) {
    printError(`Cannot ${request.command}: ${whyNot(error, path)}`);
    return 1;
  }
  try {
    await connection.write(encodeControl(request)).catch(() => {}); // closed: there is no answer
    const line = await readControlLine(connection);
    const answer = line === null ? null : parseAnswer(line);
    if (answer === null) {
      printError(`Cannot ${request.command}: the service gave no answer; try again`);
      return 1;
    }
    (answer.ok ? printText : printError)(answer.message);
    return answer.ok ? 0 : 1;
  } finally {
    close(connection);
  }
}

function whyNot(error: unknown, path: string): string {
  if (error instanceof Deno.errors.PermissionDenied) {
    return `this user may not open ${path}; run it as root, or add the user to the group ` +
      "recorder-agent (sudo usermod -aG recorder-agent USER, then log in again)";
  }
  if (error instanceof Deno.errors.NotFound || error instanceof Deno.errors.ConnectionRefused) {
    return `the service does not run, or is older than this command (no ${path}); ` +
      "look at it with systemctl status recorder-agent";
  }
  return messageOf(error);
}

/**
 * Seconds of a time such as 15m, 90s or 1h30m.
 * @throws {UsageError} if it is not valid, or out of range
 */
export function parsePause(text: string): number {
  const parts = /^(?=.)(\d{1,5}h)?(\d{1,5}m)?(\d{1,5}s)?$/.exec(text)?.slice(1) ?? [];
  const seconds = parts.reduce(
    (sum, part = "") => sum + (parseInt(part) || 0) * (UNITS[part.slice(-1)] ?? 0),
    0,
  );
  if (seconds >= MIN_PAUSE_S && seconds <= MAX_PAUSE_S) return seconds;
  throw new UsageError(
    `Cannot pause for "${text}" as the time must be from ${MIN_PAUSE_S}s to ` +
      `${MAX_PAUSE_S / 3600}h, such as 15m or 1h30m`,
  );
}
