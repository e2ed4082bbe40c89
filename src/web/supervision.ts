// Tells the service manager how the service does (sd_notify(3)): that it is ready, what it is doing, that
// it lives, that it ends. Without a notifier nothing of this happens. It watches and tells; nothing it
// knows flows back into the work.

import { isSoundMissing } from "../status/problems.ts";
import type { HealthReport } from "../status/status.ts";
import type { Clock } from "../system/clock.ts";
import type { Notifier } from "../system/notify_socket.ts";

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
    const missing = problems.find(({ code }) => isSoundMissing(code));
    const first = report.recording ? problems[0] : missing ?? problems[0];
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
