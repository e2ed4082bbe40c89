// The control socket: commands of root and of the group of the service, one per connection. It knows no
// command itself. A user who may open it can at most fill its few connections for some seconds.

import { delay } from "@std/async/delay";
import { close, readControlLine } from "../system/control_line.ts";
import {
  type ControlAnswer,
  type ControlRequest,
  encodeControl,
  parseRequest,
} from "../system/control_protocol.ts";
import { removeIfThereSync } from "../system/disk.ts";
import { messageOf } from "../system/error_text.ts";
import { repeating } from "../system/held_lines.ts";
import type { Logger } from "../system/log.ts";

/** Requests that are read at a time; further connections are closed at once. */
const MAX_CONNECTIONS = 4;
const MODE = 0o660;
/** How long it waits when connections cannot be accepted, for instance without free descriptors. */
const AGAIN_MS = 1000;

/** Carries out a request. */
export type Control = (request: ControlRequest) => Promise<ControlAnswer>;

/** Serves until the signal aborts. A socket that cannot be made is logged; nothing else depends on it. */
export async function serveControl(
  path: string,
  control: Control,
  log: Logger,
  signal: AbortSignal,
): Promise<void> {
  let listener: Deno.UnixListener;
  try {
    removeIfThereSync(path); // left by a process that was killed
    listener = Deno.listen({ transport: "unix", path });
    await Deno.chmod(path, MODE);
  } catch (error) {
    log.warning("Commands cannot reach the service.", { path, error: String(error) });
    return;
  }
  const stop = () => listener.close();
  signal.addEventListener("abort", stop, { once: true });
  if (signal.aborted) stop();
  const open = new Map<Deno.UnixConn, Promise<void>>();
  try {
    while (!signal.aborted) {
      try {
        const connection = await listener.accept();
        if (open.size >= MAX_CONNECTIONS) close(connection);
        else {
          const answered = answer(connection, control, log);
          open.set(connection, answered.finally(() => open.delete(connection)));
        }
      } catch (error) {
        if (signal.aborted) break;
        const fields = repeating("control", { path, error: String(error) });
        log.warning("Commands cannot reach the service.", fields);
        await delay(AGAIN_MS, { signal }).catch(() => {});
      }
    }
  } finally {
    for (const connection of open.keys()) close(connection);
    await Promise.all(open.values());
    signal.removeEventListener("abort", stop);
    removeIfThereSync(path);
  }
}

/** Never rejects. */
async function answer(connection: Deno.UnixConn, control: Control, log: Logger): Promise<void> {
  try {
    const line = await readControlLine(connection);
    if (line === null) return;
    const request = parseRequest(line);
    const reply = "refused" in request
      ? { ok: false, message: `Cannot do this: ${request.refused}` }
      : await control(request).catch((error) => ({ ok: false, message: messageOf(error) }));
    await connection.write(encodeControl(reply));
  } catch (error) {
    log.debug("A command went away.", repeating("control", { error: String(error) }));
  } finally {
    close(connection);
  }
}
