// What the service manager wants to be told over NOTIFY_SOCKET (sd_notify(3)): that the service is
// ready, what it is doing, that it lives, that it ends. Without a socket nothing of this happens. It
// watches and tells; nothing it knows flows back into the work, and no message holds the work up.

import { join } from "@std/path/join";
import { silences } from "../status/diagnosis.ts";
import type { Clock } from "./clock.ts";
import type { Logger } from "./log.ts";
import type { HealthReport } from "../status/status.ts";

/** So long a message may wait for the service manager to take it. */
const SEND_LIMIT_MS = 500;
/** How often it is looked whether there is news; seldom while nobody takes it. */
const LOOK_MS = 2_000;
const LOOK_SELDOM_MS = 60_000;
/**
 * A start without sound is a start all the same. Kept waiting, systemd would end the service when
 * its time to start is up, over and over, and with it the delivery of what waits; and `systemctl
 * start` and whatever is ordered after the unit would hang on a microphone that nobody plugs in.
 * STATUS and /health say what is missing.
 */
const READY_LATEST_MS = 10_000;
/** Of the watchdog's time: three reconnect delays (60 s) fit into the unit's three minutes. */
const FEEDS_PER_WATCHDOG = 6;
/** While the service ends, the manager is asked for this much more each time, and so long at most. */
const EXTENSION_MS = 10_000;
const STOPPING_LATEST_MS = 60_000;
const MAX_STATUS_LENGTH = 300;

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

export interface SupervisionOptions {
  /** Null: nobody is to be told. */
  readonly notifier: Notifier | null;
  /** WATCHDOG_USEC as it stands in the environment; empty or absent: no watchdog. */
  readonly watchdogUsec?: string | undefined;
  /** IANA name of the zone whose wall clock the status line shows. */
  readonly timeZone: string;
}

/** Tells the service manager how the service does, from its health report. */
export class Supervision {
  readonly #notifier: Notifier | null;
  readonly #feedMs: number;
  readonly #timeZone: string;
  readonly #clock: Clock;
  #fedMs = -Infinity;
  #isReady = false;
  #told = "";
  #doing = "";
  #doingSinceMs = 0;

  constructor(options: SupervisionOptions, clock: Clock) {
    this.#notifier = options.notifier;
    this.#feedMs = Number(options.watchdogUsec ?? "") / 1000 / FEEDS_PER_WATCHDOG;
    this.#timeZone = options.timeZone;
    this.#clock = clock;
  }

  /**
   * Feeds the watchdog: packets were processed, or the loop that waits for a microphone or for the
   * schedule has turned. Nobody may call this from a timer: a service whose timers run and whose
   * sound does not is what the watchdog is for.
   */
  alive(): void {
    const nowMs = this.#clock.monotonicMs();
    if (!(this.#feedMs > 0) || nowMs - this.#fedMs < this.#feedMs) return;
    this.#fedMs = nowMs;
    this.#notifier?.send("WATCHDOG=1");
  }

  /**
   * Tells READY and STATUS until `stopping` aborts, then asks for time to end until `signal` does.
   * To be started behind the workers, whose first report it reads. Never rejects.
   */
  async run(
    report: () => HealthReport,
    stopping: AbortSignal,
    signal: AbortSignal,
  ): Promise<void> {
    if (this.#notifier === null) return;
    const startedMs = this.#clock.monotonicMs();
    let lookMs = LOOK_MS;
    while (!stopping.aborted) {
      const taken = await this.#tell(report(), this.#clock.monotonicMs() - startedMs);
      lookMs = taken ? LOOK_MS : Math.min(lookMs * 2, LOOK_SELDOM_MS);
      await this.#clock.sleep(lookMs, stopping);
    }
    const latestMs = this.#clock.monotonicMs() + STOPPING_LATEST_MS;
    while (!signal.aborted && this.#clock.monotonicMs() < latestMs) {
      const extension = `EXTEND_TIMEOUT_USEC=${EXTENSION_MS * 1000}`;
      const status = "STATUS=Finishing what was recorded, and delivering it";
      await this.#notifier.send(`STOPPING=1\n${extension}\n${status}`);
      await this.#clock.sleep(LOOK_MS, signal);
    }
  }

  /** Tells what is new. False if it was not taken: then it is told at the next look. */
  async #tell(report: HealthReport, waitedMs: number): Promise<boolean> {
    const isPaused = !report.in_schedule;
    const isReady = this.#isReady || report.recording || isPaused || waitedMs >= READY_LATEST_MS;
    const status = `STATUS=${this.#statusLine(report)}`;
    if (status === this.#told && isReady === this.#isReady) return true;
    const message = isReady && !this.#isReady ? `READY=1\n${status}` : status;
    if (await this.#notifier?.send(message) !== true) return false;
    this.#told = status;
    this.#isReady = isReady;
    return true;
  }

  /** One line for `systemctl status`. No durations in it: it changes when something happens. */
  #statusLine(report: HealthReport): string {
    const { queue_size: waiting, last_upload_ts: lastUploadS, problems } = report;
    const doing = report.recording
      ? `Recording ${report.microphone}`
      : report.in_schedule
      ? "NOT recording"
      : "Outside the schedule";
    if (doing !== this.#doing) this.#doingSinceMs = this.#clock.monotonicMs();
    this.#doing = doing;
    const agoMs = this.#clock.monotonicMs() - this.#doingSinceMs;
    // What keeps it from recording comes before what else is wrong.
    const silencing = problems.find(({ code }) => silences(code));
    const first = report.recording ? problems[0] : silencing ?? problems[0];
    const line = [
      `${doing} since ${this.#wallTime(this.#clock.unixMs() - agoMs)}`,
      waiting === 0
        ? "nothing waits"
        : `${waiting} ${waiting === 1 ? "chunk waits" : "chunks wait"}`,
      lastUploadS === null
        ? "none delivered yet"
        : `last delivery ${this.#wallTime(lastUploadS * 1000)}`,
      ...(first === undefined ? [] : [`${first.code}: ${first.message}`]),
    ].join("; ").replaceAll(/\p{Cc}+\s*/gu, " ");
    const more = problems.length > 1 ? ` (and ${problems.length - 1} more)` : "";
    return line.length <= MAX_STATUS_LENGTH
      ? line + more
      : `${line.slice(0, MAX_STATUS_LENGTH).trimEnd()}…${more}`;
  }

  /** "11-23 08:00:01" */
  #wallTime(unixMs: number): string {
    return Temporal.Instant.fromEpochMilliseconds(Math.round(unixMs))
      .toZonedDateTimeISO(this.#timeZone)
      .toPlainDateTime().toString({ smallestUnit: "second" }).slice(5).replace("T", " ");
  }
}

function remove(path: string): void {
  try {
    Deno.removeSync(path);
  } catch { /* it is not there */ }
}
