// The control socket: commands of root and of the group of the service, one per connection. It knows no
// command itself. A connection that says nothing gives its place to the next one, so that nobody who may open the
// socket keeps the others from a command.

import { delay } from "@std/async/delay";
import { readControlLine } from "../system/control_line.ts";
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
import { onAbort } from "../system/on_abort.ts";
import { close } from "../system/transport.ts";

/** Each has a buffer of 4 KiB. */
const MAX_CONNECTIONS = 32;
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
  using _ = onAbort(signal, () => listener.close());
  const open = new Map<Deno.UnixConn, Promise<void>>();
  /** Of these, the ones whose request has not come, in the order in which they came. */
  const silent = new Set<Deno.UnixConn>();
  const leave = (connection: Deno.UnixConn) => {
    close(connection);
    silent.delete(connection);
    open.delete(connection);
  };
  try {
    while (!signal.aborted) {
      try {
        const connection = await listener.accept();
        const [longest] = silent;
        if (open.size >= MAX_CONNECTIONS && longest !== undefined) leave(longest);
        if (open.size >= MAX_CONNECTIONS) close(connection);
        else {
          silent.add(connection);
          const answered = answer(connection, control, log, () => silent.delete(connection));
          open.set(connection, answered.finally(() => leave(connection)));
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
    removeIfThereSync(path);
  }
}

/** Never rejects. @param onRequest called when a request has come. */
async function answer(
  connection: Deno.UnixConn,
  control: Control,
  log: Logger,
  onRequest: () => void,
): Promise<void> {
  try {
    const line = await readControlLine(connection);
    if (line === null) return;
    onRequest();
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
