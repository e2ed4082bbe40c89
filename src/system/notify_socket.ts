// The way to the service manager: messages of sd_notify(3) over NOTIFY_SOCKET. What is told, and when,
// is not decided here; no message holds the work up.

import { join } from "@std/path/join";
import type { Logger } from "./log.ts";

/** How long a message may wait for the service manager to take it. */
const SEND_LIMIT_MS = 500;

/** Delivers messages of sd_notify(3). */
export interface Notifier {
  /** Resolves false if the service manager did not take it. Never rejects. */
  send(message: string): Promise<boolean>;
}

/**
 * The folder for sockets that systemd gives a service (RuntimeDirectory=), or `otherwise`. It is on a
 * tmpfs: a full or slow disk, or one without sockets (FAT), is nothing to it.
 */
export function runtimeDirectory(env: Readonly<Record<string, string>>, otherwise: string): string {
  const [dir = ""] = (env.RUNTIME_DIRECTORY ?? "").split(":");
  return dir === "" ? otherwise : dir;
}

/**
 * The way to the service manager that the environment names; null without one, or where it cannot
 * be had, which is logged.
 * @param spoolDir where the socket's own end lives if the unit has no RuntimeDirectory=.
 */
export function connectServiceManager(
  env: Readonly<Record<string, string>>,
  spoolDir: string,
  log: Logger,
): NotifySocket | null {
  const path = env.NOTIFY_SOCKET ?? "";
  if (path === "") return null;
  try {
    return NotifySocket.open(path, runtimeDirectory(env, spoolDir));
  } catch (error) {
    log.error("The service manager cannot be told anything.", { path, error: String(error) });
    return null;
  }
}

/** The datagram socket of sd_notify(3). Deno sends to paths only, not to abstract names (`@…`). */
export class NotifySocket implements Notifier, Disposable {
  readonly #path: string;
  readonly #link: string;
  readonly #own: string;
  readonly #socket: Deno.DatagramConn;
  #sending: Promise<unknown> = Promise.resolve();

  private constructor(path: string, dir: string) {
    this.#path = path;
    this.#own = join(dir, "notify.sock");
    this.#link = join(dir, "notify.link");
    remove(this.#own); // of a process that was killed
    this.#socket = Deno.listenDatagram({ transport: "unixpacket", path: this.#own });
  }

  /** @throws if `path` is not a path, or no socket can be made in `dir`. */
  static open(path: string, dir: string): NotifySocket {
    if (!path.startsWith("/")) throw new Error("NOTIFY_SOCKET is not an absolute path");
    return new NotifySocket(path, dir);
  }

  /** One message after the other. */
  send(message: string): Promise<boolean> {
    const sent = this.#sending.then(() => this.#send(message));
    this.#sending = sent;
    return sent;
  }

  /**
   * A send to a full socket cannot be called off, and Deno's retries take all of a processor: the
   * kernel reports the sender's own end, which always has room. So it goes over a link of our own;
   * without the link the next retry fails.
   */
  async #send(message: string): Promise<boolean> {
    const giveUp = setTimeout(() => remove(this.#link), SEND_LIMIT_MS);
    try {
      remove(this.#link);
      await Deno.symlink(this.#path, this.#link);
      const to: Deno.UnixAddr = { transport: "unixpacket", path: this.#link };
      await this.#socket.send(new TextEncoder().encode(message), to);
      return true;
    } catch {
      return false; // nobody listens, or nobody reads
    } finally {
      clearTimeout(giveUp);
      remove(this.#link);
    }
  }

  [Symbol.dispose](): void {
    this.#socket.close();
    remove(this.#own);
  }
}

function remove(path: string): void {
  try {
    Deno.removeSync(path);
  } catch { /* it is not there */ }
}
