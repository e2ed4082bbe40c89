// Pauses and resumes the recording on command, keeps the pause over a restart, and reports it. pause.ts has
// its states; the recorder obeys.

import { join } from "@std/path/join";
import {
  fromRecord,
  leftMs,
  pauseFor,
  type PauseSpan,
  type PauseState,
  RUNNING,
  spanOf,
  toRecord,
  withTrueTime,
} from "../capture/pause.ts";
import { ProblemReport } from "../status/problem_report.ts";
import { problems } from "../status/problems.ts";
import type { Status } from "../status/status.ts";
import type { Clock } from "../system/clock.ts";
import type { ClockSync } from "../system/clock_sync.ts";
import {
  type ControlAnswer,
  type ControlRequest,
  MAX_PAUSE_S,
} from "../system/control_protocol.ts";
import { readWholeText, removeIfThere, writeWhole } from "../system/disk.ts";
import { repeating } from "../system/held_lines.ts";
import type { Logger } from "../system/log.ts";
import { Wakeup } from "../system/wakeup.ts";
import { wallTime } from "../system/wall_time.ts";

const FILE = "pause.json";
const MAX_BYTES = 1024;
/**
 * The most pauses within this time. Each one ends a chunk, and takes lines of the log and writes to the card: a user
 * who may pause must not fill the log, or wear the card out. A resume needs a pause before it.
 */
const MAX_PAUSES = 10;
const MAX_PAUSES_MS = 600_000;

export interface PausingDeps {
  readonly clock: Clock;
  readonly status: Status;
  readonly log: Logger;
  readonly spoolDir: string;
  readonly clockSync: Pick<ClockSync, "isTrusted">;
  /** IANA name of the zone in which times are told. */
  readonly timeZone: string;
  /** Called when a pause has begun, or has ended before its time. */
  readonly onChange: () => void;
}

export class Pausing {
  readonly #deps: PausingDeps;
  readonly #path: string;
  readonly #problem: ProblemReport;
  readonly #changed = new Wakeup();
  #state: PauseState = RUNNING;
  /** When the last pauses were requested, monotonic ms. */
  #askedMs: readonly number[] = [];
  /** As it was when this run began. */
  #takenUp: PauseState = RUNNING;
  /** The last write; the next one waits for it, so that the disk has what was asked for last. */
  #writing: Promise<unknown> = Promise.resolve();

  constructor(deps: PausingDeps) {
    this.#deps = deps;
    this.#path = join(deps.spoolDir, FILE);
    this.#problem = new ProblemReport(deps);
  }

  /** Takes up the pause of an earlier run. Never rejects. */
  async takeUp(): Promise<void> {
    try {
      const record = JSON.parse(await readWholeText(this.#path, MAX_BYTES));
      this.#state = this.#takenUp = fromRecord(record, this.#now(), MAX_PAUSE_S * 1000);
    } catch {
      return; // there is none
    }
    // One that is over must not begin again at a start whose clock is in the past.
    if (this.#state.kind === "running") await this.#keep();
    this.#report();
  }

  /** How much longer nothing is recorded, ms; 0: it is not paused. */
  leftMs(): number {
    return leftMs(this.#state, this.#deps.clock.monotonicMs());
  }

  /** The pause of an earlier run that was taken up; it may be over. */
  earlier(): PauseSpan | null {
    return spanOf(this.#takenUp, this.#now(), this.#deps.clockSync.isTrusted);
  }

  /** Call this when the system clock has become synchronized: the pause of an earlier run may be over. */
  clockTrusted(): void {
    const before = this.#state;
    this.#state = withTrueTime(before, this.#now());
    if (this.#state === before) return;
    this.#report();
    this.#deps.onChange();
    this.#changed.ring();
    if (this.#state.kind === "running") void this.#keep();
  }

  /** Carries out a command. Rejects never: a disk that fails is said in the answer. */
  async control(request: ControlRequest): Promise<ControlAnswer> {
    const wasPaused = this.leftMs() > 0;
    if (request.command === "resume" && !wasPaused) {
      return { ok: true, message: "Recording is not paused" };
    }
    if (request.command === "pause") {
      const waitMs = this.#countPause();
      if (waitMs > 0) {
        const message = `Cannot pause: ${MAX_PAUSES} pauses within ${MAX_PAUSES_MS / 60_000} ` +
          `minutes are the most; try again in ${Math.ceil(waitMs / 1000)} s`;
        return { ok: false, message };
      }
    }
    this.#state = request.command === "pause"
      ? pauseFor(request.seconds * 1000, this.#now())
      : RUNNING;
    this.#report();
    this.#deps.onChange();
    this.#changed.ring();
    const isKept = await this.#keep();
    if (request.command === "resume") return { ok: true, message: "Recording resumes" };
    const message = `Recording is paused until ${this.#untilText()}`;
    const lost = "; a restart of the service would end that, because the disk cannot be written";
    return { ok: true, message: isKept ? message : message + lost };
  }

  /** Ends the pause when its time has come. Runs until the signal aborts. */
  async run(signal: AbortSignal): Promise<void> {
    const { clock } = this.#deps;
    while (!signal.aborted) {
      const left = this.leftMs();
      if (left === 0) await this.#changed.rung(signal);
      else await this.#changed.wait(clock, left, signal);
      if (signal.aborted || this.#state.kind === "running" || this.leftMs() > 0) continue;
      this.#state = RUNNING;
      this.#report();
      await this.#keep();
    }
  }

  /** Counts a requested pause, and returns 0; or how long to wait until another one is accepted, ms. */
  #countPause(): number {
    const nowMs = this.#deps.clock.monotonicMs();
    const nextMs = (this.#askedMs.at(-MAX_PAUSES) ?? -Infinity) + MAX_PAUSES_MS;
    if (nowMs < nextMs) return nextMs - nowMs;
    this.#askedMs = [...this.#askedMs, nowMs].slice(-MAX_PAUSES);
    return 0;
  }

  #report(): void {
    const left = this.leftMs();
    if (left > 0) this.#problem.set(problems.paused(this.#untilText()), left);
    else this.#problem.clear();
  }

  /** Whether it is on the disk. */
  #keep(): Promise<boolean> {
    const written = this.#writing.then(() => this.#write());
    this.#writing = written;
    return written;
  }

  async #write(): Promise<boolean> {
    const record = toRecord(this.#state, this.#now(), this.#deps.clockSync.isTrusted);
    try {
      if (record === null) await removeIfThere(this.#path);
      else await writeWhole(this.#path, `${JSON.stringify(record)}\n`);
      return true;
    } catch (error) {
      const fields = repeating(FILE, { file: FILE, error: String(error) });
      this.#deps.log.warning("{file} cannot be written.", fields);
      return false;
    }
  }

  #now() {
    const { clock } = this.#deps;
    return { monotonicMs: clock.monotonicMs(), unixMs: clock.unixMs() };
  }

  #untilText(): string {
    const { clock, timeZone } = this.#deps;
    return wallTime(clock.unixMs() + this.leftMs(), timeZone);
  }
}
