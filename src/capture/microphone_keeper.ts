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
/** The microphone recorded last may be on its way (boot, brown-out) before another is taken. */
const GRACE_MS = 5_000;
/** A working day: when another one has been recorded for so long, it counts as the successor. */
const SUCCESSION_MS = 8 * 3_600_000;
/** Without a plug it is counted so often for how long another one has been recorded. */
const COUNT_MS = 60_000;

export interface MicrophoneKeeperDeps {
  readonly clock: Clock;
  readonly status: Status;
  readonly log: Logger;
  /** The one to keep to is to be remembered; that it cannot be stops nothing. */
  readonly remember: (microphone: Microphone) => void;
}

export class MicrophoneKeeper {
  readonly #microphones: Microphones;
  readonly #deps: MicrophoneKeeperDeps;
  /** Another microphone than the last one is recorded. */
  readonly #standIn: CaptureProblem;
  /** For so long, ms; null if the last one was. */
  #stoodInMs: number | null = null;
  /** Monotonic time since which there is one to stand in, and not the last one. */
  #awayMs: number | null = null;
  #chosen = "";

  constructor(microphones: Microphones, deps: MicrophoneKeeperDeps) {
    this.#microphones = microphones;
    this.#deps = deps;
    this.#standIn = new CaptureProblem(deps);
  }

  /** The microphone to record now; one that stands in for the last one only after a while. */
  async find(signal: AbortSignal): Promise<Microphone> {
    const { clock } = this.#deps;
    while (true) {
      const awayMs = this.#awayMs;
      this.#awayMs = null;
      const microphone = await this.#microphones.find();
      if (!microphone.isStandIn || this.#stoodInMs !== null) return this.#announced(microphone);
      this.#awayMs = awayMs ?? clock.monotonicMs();
      const leftMs = this.#awayMs + GRACE_MS - clock.monotonicMs();
      if (leftMs <= 0 || signal.aborted) return this.#announced(microphone);
      await this.waitForPlug(leftMs, signal);
    }
  }

  /** Resolves with true as soon as something was plugged in, with false after `ms`. */
  async waitForPlug(ms: number, signal: AbortSignal): Promise<boolean> {
    const { clock } = this.#deps;
    const endMs = clock.monotonicMs() + ms;
    while (!signal.aborted && clock.monotonicMs() < endMs) {
      await clock.sleep(Math.min(endMs - clock.monotonicMs(), PLUG_LOOK_MS), signal);
      if (await this.#microphones.plugged()) return true;
    }
    return false;
  }

  /** Sound came from it. */
  heard(microphone: Microphone): void {
    if (!microphone.isStandIn) return this.#keepTo(microphone);
    this.#stoodInMs ??= 0;
    this.#standIn.set(diagnoses.standIn(microphone.reason));
  }

  /** No sound comes any more. */
  lost(): void {
    this.#standIn.clear();
  }

  /**
   * While this one is recorded: resolves when there is a better one, or on abort. One that stands in
   * long enough becomes the one to keep to.
   */
  async betterComes(microphone: Microphone, signal: AbortSignal): Promise<void> {
    const { clock } = this.#deps;
    let [ownRank, countedMs] = [rank(microphone), clock.monotonicMs()];
    while (!signal.aborted) {
      const isPlugged = await this.waitForPlug(COUNT_MS, signal);
      const nowMs = clock.monotonicMs();
      if (this.#stoodInMs !== null) this.#stoodInMs += nowMs - countedMs;
      countedMs = nowMs;
      if ((this.#stoodInMs ?? 0) >= SUCCESSION_MS) {
        this.#keepTo(microphone);
        ownRank = rank({ ...microphone, isStandIn: false });
      }
      if (!isPlugged || ownRank === 0) continue;
      const found = await this.#microphones.find().catch(() => null);
      if (found !== null && rank(found) < ownRank) return;
    }
  }

  #keepTo(microphone: Microphone): void {
    this.#stoodInMs = null;
    this.#standIn.clear();
    this.#deps.remember(microphone);
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
