// Reads one line from a connection of the control socket, within a bound of bytes and of time.

import { CONTROL_LIMIT_MS, MAX_CONTROL_BYTES } from "./control_protocol.ts";
import { close } from "./transport.ts";

/**
 * The first line without its end; null if the other side sends none, sends too much, or takes too long. The
 * connection is closed then. Never rejects.
 */
export async function readControlLine(connection: Deno.UnixConn): Promise<string | null> {
  const bytes = new Uint8Array(MAX_CONTROL_BYTES);
  let length = 0;
  const limit = setTimeout(() => close(connection), CONTROL_LIMIT_MS);
  try {
    while (length < bytes.length) {
      const read = await connection.read(bytes.subarray(length));
      if (read === null) return null;
      length += read;
      const end = bytes.subarray(0, length).indexOf(0x0a);
      if (end >= 0) return new TextDecoder().decode(bytes.subarray(0, end));
    }
  } catch {
    /* it is closed */
  } finally {
    clearTimeout(limit);
  }
  return null;
}
