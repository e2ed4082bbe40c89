// Keeps to one microphone over time: the one recorded last is waited for, another may stand in for it
// and is left when it is back. How to open one, and what to do when none gives sound, is recorder.ts's.

import type { Clock } from "../system/clock.ts";
import type { Logger } from "../system/log.ts";
import type { Status } from "../status/status.ts";
import { ProblemReport } from "../status/problem_report.ts";
import { problems } from "../status/problems.ts";
import type { Microphone, Microphones } from "./microphones.ts";

/** So long after a plug udev may still be giving the node its group, and a sound server try the card. */
const SETTLE_MS = 3_000;
/** The microphone recorded last may be on its way (boot, brown-out) before another is taken. */
const GRACE_MS = 5_000;
/** So often it is looked for a better one without a plug: the look at a plug may have failed. */
const BETTER_LOOK_MS = 60_000;
/** A working day: when another one has been recorded for so long, it counts as the successor. */
const SUCCESSION_MS = 8 * 3_600_000;
/** So much of it is written down at once. */
const COUNT_MS = 600_000;
/** The last one has proved itself when it gave sound for so long. */
const PROOF_MS = 60_000;
/**
 * Otherwise another is recorded, if there is one, for 1, 2, 4 … 60 min until it is tried again; after a
 * plug for no longer than five.
 */
const PASS_MIN_MS = 60_000;
const PASS_MAX_MS = 3_600_000;
const PASS_PLUGGED_MS = 300_000;

export interface MicrophoneKeeperDeps {
  readonly clock: Clock;
  readonly status: Status;
  readonly log: Logger;
  /** Writes something down, one after the other; that it cannot be done stops nothing. */
  readonly note: (write: () => Promise<void>) => void;
}

export class MicrophoneKeeper {
  readonly #microphones: Microphones;
  readonly #deps: MicrophoneKeeperDeps;
  readonly #problem: ProblemReport;
  /** Until the last one has proved itself: another one stood in for it, or it has taken over since. */
  #doubt: "none" | "stand_in" | "trial" = "none";
  /** The one to keep to since it gave sound, or stood in for long enough. */
  #kept: Microphone | null = null;
  /** Monotonic time of the first sound of what is recorded. */
  #heardMs: number | null = null;
  /** The stand-in that gives sound, counted up to this monotonic time. */
  #counted: { readonly microphone: Microphone; ms: number } | null = null;
  /** Monotonic time since which there is one to stand in, and not the last one. */
  #awayMs: number | null = null;
  /** The last one gives nothing, or comes and goes: between these times another one is recorded. */
  #passed: { microphone: Microphone; fromMs: number; untilMs: number; delayMs: number } | null =
    null;
  /** Monotonic time at which what was plugged in last has settled. */
  #settledMs = -Infinity;
  #chosen = "";

  constructor(microphones: Microphones, deps: MicrophoneKeeperDeps) {
    this.#microphones = microphones;
    this.#deps = deps;
    this.#problem = new ProblemReport(deps);
  }

  /**
   * The microphone to record now; one that stands in for the last one only after a while.
   * @throws {NoMicrophoneError}
   */
  async find(signal: AbortSignal): Promise<Microphone> {
    const { clock } = this.#deps;
    while (true) {
      const awayMs = this.#awayMs;
      this.#awayMs = null;
      const microphone = await this.#look();
      if (signal.aborted) return microphone;
      if (!microphone.isStandIn || this.#doubt !== "none") return this.#announced(microphone);
      this.#awayMs = awayMs ?? clock.monotonicMs();
      const leftMs = this.#awayMs + GRACE_MS - clock.monotonicMs();
      if (leftMs <= 0) return this.#announced(microphone);
      await this.waitForPlug(leftMs, signal);
    }
  }

  /** Resolves with true as soon as something was plugged in, with false after `ms`. */
  async waitForPlug(ms: number, signal: AbortSignal): Promise<boolean> {
    const { clock } = this.#deps;
    const endMs = clock.monotonicMs() + ms;
    while (!signal.aborted && clock.monotonicMs() < endMs) {
      await this.#microphones.waitForNews(endMs - clock.monotonicMs(), clock, signal);
      if (!await this.#microphones.plugged()) continue;
      const nowMs = clock.monotonicMs();
      this.#settledMs = nowMs + SETTLE_MS;
      const passed = this.#passed;
      if (passed !== null) {
        passed.untilMs = Math.min(passed.untilMs, passed.fromMs + PASS_PLUGGED_MS);
      }
      return true;
    }
    return false;
  }

  /** Whether at this monotonic time what was plugged in last may not be ready yet. */
  isSettling(ms: number): boolean {
    return ms < this.#settledMs;
  }

  /** Sound comes from it. */
  heard(microphone: Microphone): void {
    this.#settledMs = -Infinity;
    this.#heardMs = this.#deps.clock.monotonicMs();
    if (!microphone.isStandIn) return this.#keepTo(microphone);
    this.#standsIn();
    // One that is not on USB is never the successor of one that is.
    if (!microphone.isStopgap) this.#counted = { microphone, ms: this.#heardMs };
    this.#problem.set(problems.standIn(microphone.reason));
  }

  /** It gave no sound though it was tried. */
  gaveNothing(microphone: Microphone): void {
    if (rank(microphone) === 0) this.#passOver(microphone, 0);
    else if (this.#passed !== null) this.#passed.untilMs = -Infinity;
  }

  /** No more sound comes from what was recorded. */
  ended(microphone: Microphone): void {
    const lastedMs = this.#deps.clock.monotonicMs() - (this.#heardMs ?? Infinity);
    this.#heardMs = null;
    this.#count();
    this.#counted = null;
    this.#problem.clear();
    if (this.#kept !== microphone || lastedMs < PROOF_MS) return;
    this.#doubt = "none";
    this.#passed = null;
  }

  /** While this one is recorded: resolves when there is a better one, or on abort. */
  async betterComes(microphone: Microphone, signal: AbortSignal): Promise<void> {
    const { clock } = this.#deps;
    while (!signal.aborted) {
      await this.waitForPlug(BETTER_LOOK_MS, signal);
      if (clock.monotonicMs() - (this.#counted?.ms ?? Infinity) >= COUNT_MS) this.#count();
      if (this.#kept === microphone && !microphone.isStopgap) continue;
      const found = await this.#look().catch(() => null);
      if (found === null || rank(found) >= rank(microphone)) continue;
      // Once is a replug; if it has not proved itself since, it may cost sound that often only.
      if (rank(found) > 0) return;
      if (this.#doubt === "trial") this.#passOver(found, SETTLE_MS);
      this.#doubt = "trial";
      return;
    }
  }

  /** Looks anew, past the last one while that is passed over. */
  async #look(): Promise<Microphone> {
    const [passed, nowMs] = [this.#passed, this.#deps.clock.monotonicMs()];
    if (passed !== null && passed.fromMs <= nowMs && nowMs < passed.untilMs) {
      const other = await this.#microphones.find(passed.microphone).catch(() => null);
      if (other !== null && rank(other) > 0) {
        this.#standsIn(); // the last one is not waited for
        return { ...other, reason: `${other.reason}, or back without a sound` };
      }
    }
    return await this.#microphones.find();
  }

  #standsIn(): void {
    if (this.#doubt === "none") this.#doubt = "stand_in";
  }

  /** Another one is recorded in its place, if there is one, after `trialMs` more. */
  #passOver(microphone: Microphone, trialMs: number): void {
    const [nowMs, before] = [this.#deps.clock.monotonicMs(), this.#passed];
    const isOneTrial = before !== null && nowMs < before.untilMs;
    const delayMs = before === null
      ? PASS_MIN_MS
      : Math.min(PASS_MAX_MS, before.delayMs * (isOneTrial ? 1 : 2));
    const fromMs = nowMs + trialMs;
    this.#passed = { microphone, fromMs, untilMs: fromMs + delayMs, delayMs };
  }

  /** When a stand-in has been recorded for long enough, it is the one to keep to. */
  #count(): void {
    if (this.#counted === null) return;
    const { microphone, ms } = this.#counted;
    const nowMs = this.#deps.clock.monotonicMs();
    this.#counted.ms = nowMs;
    this.#deps.note(async () => {
      const totalMs = await this.#microphones.countStandIn(microphone, nowMs - ms);
      const isRecorded = this.#counted?.microphone === microphone;
      if (totalMs >= SUCCESSION_MS && isRecorded) this.#keepTo(microphone);
    });
  }

  #keepTo(microphone: Microphone): void {
    this.#kept = microphone;
    this.#counted = null;
    this.#problem.clear();
    this.#deps.note(() => this.#microphones.remember(microphone));
  }

  /** Says which microphone and why, whenever that changes. */
  #announced(microphone: Microphone): Microphone {
    const { name, reason } = microphone;
    const chosen = `${name}\n${reason}`;
    if (chosen !== this.#chosen) {
      this.#chosen = chosen;
      this.#deps.log.info("Microphone chosen.", { microphone: name, reason });
    }
    return microphone;
  }
}

/** Less is better: the one to record, one that stands in for it, one for want of any on USB. */
export function rank({ isStandIn = false, isStopgap = false }: Microphone): number {
  return isStopgap ? 2 : isStandIn ? 1 : 0;
}
