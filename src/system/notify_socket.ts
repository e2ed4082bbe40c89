// Sends the messages of sd_notify(3) to the service manager over NOTIFY_SOCKET. The module does not decide
// what is sent, or when. A message never delays the work.

import { join } from "@std/path/join";
import type { Logger } from "./log.ts";

/** How long a message may wait until the service manager reads it. */
const SEND_LIMIT_MS = 500;

/** Delivers messages of sd_notify(3). */
export interface Notifier {
  /** Resolves to false if the service manager did not receive it. Never rejects. */
  send(message: string): Promise<boolean>;
}

/**
 * The directory for sockets that systemd creates for a service (RuntimeDirectory=), or `otherwise`. It is
 * on a tmpfs, so a disk that is full, slow or without sockets (FAT) does not affect it.
 */
export function runtimeDirectory(env: Readonly<Record<string, string>>, otherwise: string): string {
  const [dir = ""] = (env.RUNTIME_DIRECTORY ?? "").split(":");
  return dir === "" ? otherwise : dir;
}

/**
 * Opens a socket to the service manager that the environment names. Null if it names none, or if no
 * socket can be made, which is logged.
 * @param spoolDir where the socket is created if the unit has no RuntimeDirectory=.
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
    log.error("The service manager cannot be notified.", { path, error: String(error) });
    return null;
  }
}

/** The datagram socket of sd_notify(3). Deno sends only to paths, not to abstract names (`@…`). */
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
    remove(this.#own); // left by a process that was killed
    this.#socket = Deno.listenDatagram({ transport: "unixpacket", path: this.#own });
  }

  /** @throws if `path` is not an absolute path, or no socket can be made in `dir`. */
  static open(path: string, dir: string): NotifySocket {
    if (!path.startsWith("/")) throw new Error("NOTIFY_SOCKET is not an absolute path");
    return new NotifySocket(path, dir);
  }

  /** Sends messages one after the other. */
  send(message: string): Promise<boolean> {
    const sent = this.#sending.then(() => this.#send(message));
    this.#sending = sent;
    return sent;
  }

  /**
   * A send to a full socket cannot be cancelled, and Deno's retries use a whole processor core, because
   * the kernel reports the state of the sender's own end, which always has room. Therefore the message
   * goes through a symbolic link: when the link is removed, the next retry fails.
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
  } catch { /* it does not exist */ }
}
