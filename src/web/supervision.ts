// Tells the service manager the state of the service (sd_notify(3)): that it is ready, what it is doing,
// that it is alive, that it is stopping. Without a notifier it does nothing. It only observes and reports;
// the workers never read anything from it.

import { isSoundMissing, kindOf, type ProblemCode, problems } from "../status/problems.ts";
import type { HealthReport } from "../status/status.ts";
import type { Clock } from "../system/clock.ts";
import { printable } from "../system/printable.ts";
import type { Notifier } from "../system/notify_socket.ts";
import { wallTime } from "../system/wall_time.ts";

/** How often it polls for changes; less often while the manager does not take messages. */
const LOOK_MS = 2_000;
const LOOK_SELDOM_MS = 60_000;
/**
 * A start without sound also counts as a start. Otherwise systemd would stop the service when its start
 * time is over, again and again, and with it the delivery of waiting chunks; and `systemctl start` and
 * every unit that is ordered after this one would hang because a microphone is missing. STATUS and /health
 * say what is missing.
 */
const READY_LATEST_MS = 10_000;
/** Feeds within the watchdog's time: three reconnect delays (60 s) fit into the unit's three minutes. */
const FEEDS_PER_WATCHDOG = 6;
/** While the service stops, it requests this much more time each time, and this much in total. */
const EXTENSION_MS = 10_000;
const STOPPING_LATEST_MS = 60_000;
const MAX_STATUS_LENGTH = 300;
/** What is recorded is not sound. */
const SILENCE: readonly ProblemCode[] = [problems.silent.code, problems.stuck.code];

export interface SupervisionOptions {
  /** Null: there is no manager to notify. */
  readonly notifier: Notifier | null;
  /** WATCHDOG_USEC from the environment; empty or absent: no watchdog. */
  readonly watchdogUsec?: string | undefined;
  /** IANA name of the zone whose wall clock the status line shows. */
  readonly timeZone: string;
  /** Called when the manager has taken READY. */
  readonly onReady?: () => void;
}

/** Tells the service manager the state of the service, from its health report. */
export class Supervision {
  readonly #options: SupervisionOptions;
  readonly #feedMs: number;
  readonly #clock: Clock;
  #fedMs = -Infinity;
  #isReady = false;
  #told = "";
  #doing = "";
  #doingSinceMs = 0;

  constructor(options: SupervisionOptions, clock: Clock) {
    this.#options = options;
    this.#feedMs = Number(options.watchdogUsec ?? "") / 1000 / FEEDS_PER_WATCHDOG;
    this.#clock = clock;
  }

  /**
   * Feeds the watchdog: packets were processed, or the loop that waits for a microphone or for the
   * schedule made a pass. A timer must never call this: the watchdog exists for a service whose timers run
   * although its sound has stopped.
   */
  alive(): void {
    const nowMs = this.#clock.monotonicMs();
    if (!(this.#feedMs > 0) || nowMs - this.#fedMs < this.#feedMs) return;
    this.#fedMs = nowMs;
    this.#options.notifier?.send("WATCHDOG=1");
  }

  /**
   * Sends READY and STATUS until `stopping` aborts, then requests time to stop until `signal` aborts.
   * Start it after the workers, because it reads their first report. Never rejects.
   */
  async run(
    report: () => HealthReport,
    stopping: AbortSignal,
    signal: AbortSignal,
  ): Promise<void> {
    const { notifier } = this.#options;
    if (notifier === null) return;
    const startedMs = this.#clock.monotonicMs();
    let lookMs = LOOK_MS;
    while (!stopping.aborted) {
      const taken = await this.#tell(notifier, report(), this.#clock.monotonicMs() - startedMs);
      lookMs = taken ? LOOK_MS : Math.min(lookMs * 2, LOOK_SELDOM_MS);
      await this.#clock.sleep(lookMs, stopping);
    }
    const latestMs = this.#clock.monotonicMs() + STOPPING_LATEST_MS;
    while (!signal.aborted && this.#clock.monotonicMs() < latestMs) {
      const extension = `EXTEND_TIMEOUT_USEC=${EXTENSION_MS * 1000}`;
      const status = "STATUS=Finishing what was recorded, and delivering it";
      await notifier.send(`STOPPING=1\n${extension}\n${status}`);
      await this.#clock.sleep(LOOK_MS, signal);
    }
  }

  /** Sends what has changed. False if it was not taken: the next poll sends it again. */
  async #tell(notifier: Notifier, report: HealthReport, waitedMs: number): Promise<boolean> {
    const isWaiting = !report.in_schedule || isPaused(report);
    const isReady = this.#isReady || report.recording || isWaiting || waitedMs >= READY_LATEST_MS;
    const status = `STATUS=${this.#statusLine(report)}`;
    if (status === this.#told && isReady === this.#isReady) return true;
    const message = isReady && !this.#isReady ? `READY=1\n${status}` : status;
    if (!await notifier.send(message)) return false;
    this.#told = status;
    if (isReady && !this.#isReady) this.#options.onReady?.();
    this.#isReady = isReady;
    return true;
  }

  /** One line for `systemctl status`. It has no durations, so it changes only when something happens. */
  #statusLine(report: HealthReport): string {
    const { queue_size: waiting, chunks_rejected: refused, last_upload_ts: lastUploadS, problems } =
      report;
    const doing = report.recording
      ? `Recording ${report.microphone}`
      : isPaused(report)
      ? "Paused"
      : report.in_schedule
      ? "NOT recording"
      : "Outside the schedule";
    if (doing !== this.#doing) this.#doingSinceMs = this.#clock.monotonicMs();
    this.#doing = doing;
    const agoMs = this.#clock.monotonicMs() - this.#doingSinceMs;
    // The problem that prevents recording comes before other problems.
    const missing = problems.find(({ code }) => isSoundMissing(code));
    // Of a sound that is not the wanted one, too, and silence before all else: packaging/update/update-trial and
    // packaging/led/led read it here.
    const wrong = problems.find(({ code }) => SILENCE.includes(code)) ??
      problems.find(({ code }) => kindOf(code) === "sound");
    const first = (report.recording ? wrong : missing) ?? problems[0];
    const line = [
      `${doing} since ${this.#wallTime(this.#clock.unixMs() - agoMs)}`,
      ...(waiting === 0 && refused > 0 ? [] : [
        waiting === 0
          ? "nothing waits"
          : `${waiting} ${waiting === 1 ? "chunk waits" : "chunks wait"}`,
      ]),
      ...(refused === 0 ? [] : [`${refused} refused`]),
      lastUploadS === null
        ? "none delivered yet"
        : `last delivery ${this.#wallTime(lastUploadS * 1000)}`,
      ...(first === undefined ? [] : [`${first.code}: ${first.message}`]),
    ].join("; ");
    const more = problems.length > 1 ? ` (and ${problems.length - 1} more)` : "";
    return printable(line, MAX_STATUS_LENGTH) + more;
  }

  /** "11-23 08:00:01" */
  #wallTime(unixMs: number): string {
    return wallTime(unixMs, this.#options.timeZone).slice(5);
  }
}

/** Whether a person has paused the recording. */
function isPaused({ problems: lasting }: HealthReport): boolean {
  return lasting.some(({ code }) => code === problems.paused.code);
}
