// Keeps to one microphone over time: the one recorded last is waited for, another may stand in for it
// and is left when it is back. How to open one, and what to do when none gives sound, is recorder.ts's.

import type { Clock } from "../clock.ts";
import type { Logger } from "../log.ts";
import type { Status } from "../status/status.ts";
import { CaptureProblem } from "./capture_problem.ts";
import { diagnoses } from "./diagnosis.ts";
import type { Microphone, Microphones } from "./microphones.ts";

/** While it is waited, it is looked so often whether something was plugged in. */
const PLUG_LOOK_MS = 1_000;
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
/** One that is back and gives nothing is left alone for so long; after a plug, for PLUGGED_MS at most. */
const DEAD_MIN_MS = 60_000;
const DEAD_MAX_MS = 3_600_000;
const DEAD_PLUGGED_MS = 300_000;

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
  readonly #problem: CaptureProblem;
  /** Another one was recorded since the last one was. */
  #hasStandIn = false;
  /** The stand-in that gives sound, counted up to this monotonic time. */
  #counted: { readonly microphone: Microphone; ms: number } | null = null;
  /** Monotonic time since which there is one to stand in, and not the last one. */
  #awayMs: number | null = null;
  /** The last one is back and gave nothing, while another one could. */
  #dead: { readonly microphone: Microphone; sinceMs: number; delayMs: number } | null = null;
  /** Monotonic time at which what was plugged in last has settled. */
  #settledMs = -Infinity;
  #chosen = "";

  constructor(microphones: Microphones, deps: MicrophoneKeeperDeps) {
    this.#microphones = microphones;
    this.#deps = deps;
    this.#problem = new CaptureProblem(deps);
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
      const microphone = await this.#look(false);
      if (signal.aborted) return microphone;
      if (!microphone.isStandIn || this.#hasStandIn) return this.#announced(microphone);
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
      await clock.sleep(Math.min(endMs - clock.monotonicMs(), PLUG_LOOK_MS), signal);
      if (!await this.#microphones.plugged()) continue;
      this.#settledMs = clock.monotonicMs() + SETTLE_MS;
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
    if (!microphone.isStandIn) return this.#keepTo(microphone);
    this.#hasStandIn = true;
    this.#counted = { microphone, ms: this.#deps.clock.monotonicMs() };
    this.#problem.set(diagnoses.standIn(microphone.reason));
  }

  /** It gave no sound though it was tried. */
  gaveNothing(microphone: Microphone): void {
    if (!this.#hasStandIn || rank(microphone) > 0) return;
    const delayMs = Math.min(DEAD_MAX_MS, 2 * (this.#dead?.delayMs ?? DEAD_MIN_MS / 2));
    this.#dead = { microphone, sinceMs: this.#deps.clock.monotonicMs(), delayMs };
  }

  /** No more sound comes from what was recorded. */
  ended(): void {
    this.#count();
    this.#counted = null;
    this.#problem.clear();
  }

  /** While this one is recorded: resolves when there is a better one, or on abort. */
  async betterComes(microphone: Microphone, signal: AbortSignal): Promise<void> {
    const { clock } = this.#deps;
    while (!signal.aborted) {
      const isPlugged = await this.waitForPlug(BETTER_LOOK_MS, signal);
      if (clock.monotonicMs() - (this.#counted?.ms ?? Infinity) >= COUNT_MS) this.#count();
      const isKept = microphone.isStandIn && !this.#hasStandIn;
      const ownRank = rank(isKept ? { ...microphone, isStandIn: false } : microphone);
      if (ownRank === 0) continue;
      const found = await this.#look(isPlugged).catch(() => null);
      if (found !== null && rank(found) < ownRank) return;
    }
  }

  /** Looks anew, past a dead one until it is its turn. */
  async #look(isPlugged: boolean): Promise<Microphone> {
    const dead = this.#dead;
    if (dead === null) return await this.#microphones.find();
    const { delayMs, sinceMs } = dead;
    const untilMs = sinceMs + (isPlugged ? Math.min(delayMs, DEAD_PLUGGED_MS) : delayMs);
    if (this.#deps.clock.monotonicMs() >= untilMs) {
      dead.sinceMs = -Infinity; // until it is tried
      return await this.#microphones.find();
    }
    try {
      const other = await this.#microphones.find(dead.microphone);
      return { ...other, reason: `${other.reason}, or back without a sound` };
    } catch {
      return await this.#microphones.find();
    }
  }

  /** When a stand-in has been recorded for long enough, it is the one to keep to. */
  #count(): void {
    if (this.#counted === null) return;
    const { microphone, ms } = this.#counted;
    const nowMs = this.#deps.clock.monotonicMs();
    this.#counted.ms = nowMs;
    this.#deps.note(async () => {
      const totalMs = await this.#microphones.countStandIn(microphone, nowMs - ms);
      if (totalMs >= SUCCESSION_MS) this.#keepTo(microphone);
    });
  }

  #keepTo(microphone: Microphone): void {
    this.#hasStandIn = false;
    this.#counted = null;
    this.#dead = null;
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
