// Carries out what the machine in keeper_machine.ts decides: it looks for microphones, waits, saves and
// reports. It decides nothing. recorder.ts decides how to open a microphone, and what to do when none gives
// sound.

import type { Clock } from "../system/clock.ts";
import type { Logger } from "../system/log.ts";
import type { Status } from "../status/status.ts";
import { ProblemReport } from "../status/problem_report.ts";
import { problems } from "../status/problems.ts";
import {
  type Action,
  BETTER_LOOK_MS,
  INITIAL_STATE,
  isDying,
  isSettling,
  type KeeperEvent,
  type Order,
  rank,
  step,
} from "./keeper_machine.ts";
import type { Microphone, Microphones } from "./microphones.ts";

export interface MicrophoneKeeperDeps {
  readonly clock: Clock;
  readonly status: Status;
  readonly log: Logger;
  /** Queues a write; writes run one after the other. A failure stops nothing else. */
  readonly note: (write: () => Promise<void>) => void;
}

export class MicrophoneKeeper {
  readonly #microphones: Microphones;
  readonly #deps: MicrophoneKeeperDeps;
  readonly #problem: ProblemReport;
  #state = INITIAL_STATE;

  constructor(microphones: Microphones, deps: MicrophoneKeeperDeps) {
    this.#microphones = microphones;
    this.#deps = deps;
    this.#problem = new ProblemReport(deps);
  }

  /**
   * The microphone to record now, perhaps after a wait for the last one; null on abort.
   * @throws {NoMicrophoneError}
   */
  async find(signal: AbortSignal): Promise<Microphone | null> {
    let order = this.#send({ kind: "search" });
    while (order !== null && !signal.aborted) {
      if (order.kind === "look") order = await this.#look(order.past);
      else if (order.kind === "wait") order = await this.#wait(order.untilMs, signal);
      else return order.kind === "record" ? order.microphone : null;
    }
    return null;
  }

  /** Ends what it reports, for another keeper to find out. Do not use it afterwards. */
  withdraw(why: string): void {
    this.#problem.clear(why);
  }

  /** Whether there may be a better one while this one is recorded. */
  canBeBettered(microphone: Microphone): boolean {
    return rank(microphone) > 0;
  }

  /**
   * Call this while the microphone that was found is recorded: resolves when there is a better one, or on
   * abort.
   */
  async betterComes(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      let order = await this.#wait(this.#deps.clock.monotonicMs() + BETTER_LOOK_MS, signal);
      while (order?.kind === "look") order = await this.#look(order.past).catch(() => null);
      if (order?.kind === "change") return;
    }
  }

  /** Resolves with true as soon as something is plugged in, with false after `ms` or on abort. */
  async waitForPlug(ms: number, signal: AbortSignal): Promise<boolean> {
    const isPlugged = await this.#plugComes(this.#deps.clock.monotonicMs() + ms, signal);
    this.#send({ kind: isPlugged ? "plugged" : "time_passed" });
    return isPlugged;
  }

  /** Whether, at this monotonic time, a microphone that was just plugged in may not be ready yet. */
  isSettling(ms: number): boolean {
    return isSettling(this.#state, ms);
  }

  /** Call this when sound arrives from the microphone that was found. */
  heard(): void {
    this.#send({ kind: "heard" });
  }

  /**
   * Call this after each `find()`, when the microphone that was found is closed.
   * @param isAsked whether that was asked for; otherwise it was lost.
   */
  ended(isAsked: boolean): void {
    this.#send({ kind: "ended", isAsked });
  }

  /** Whether the one that was recorded last is lost again and again, soon after its first sound. */
  get isDying(): boolean {
    return isDying(this.#state);
  }

  /** Call this after `ended()` if this microphone was tried and gave no sound. */
  gaveNothing(microphone: Microphone): void {
    this.#send({ kind: "gave_nothing", microphone });
  }

  async #look(past: Microphone | null): Promise<Order | null> {
    const isPast = past !== null;
    let microphone: Microphone;
    try {
      microphone = await this.#microphones.find(past ?? undefined);
    } catch (error) {
      const order = this.#send({ kind: "nothing_found", isPast });
      if (order === null) throw error;
      return order;
    }
    return this.#send({ kind: "found", microphone, isPast });
  }

  async #wait(untilMs: number, signal: AbortSignal): Promise<Order | null> {
    const isPlugged = await this.#plugComes(untilMs, signal);
    if (signal.aborted && !isPlugged) return null;
    // plugged() reports a plug only once: the machine learns of it although nobody waits any more.
    const order = this.#send({ kind: isPlugged ? "plugged" : "time_passed" });
    return signal.aborted ? null : order;
  }

  async #plugComes(untilMs: number, signal: AbortSignal): Promise<boolean> {
    const { clock } = this.#deps;
    while (!signal.aborted && clock.monotonicMs() < untilMs) {
      await this.#microphones.waitForNews(untilMs - clock.monotonicMs(), clock, signal);
      if (await this.#microphones.plugged()) return true;
    }
    return false;
  }

  /** Passes an event to the machine, carries out the actions, and returns what to do next, if anything. */
  #send(event: KeeperEvent): Order | null {
    const { state, actions } = step(this.#state, event, this.#deps.clock.monotonicMs());
    this.#state = state;
    let order: Order | null = null;
    for (const action of actions) order = this.#carryOut(action) ?? order;
    return order;
  }

  #carryOut(action: Action): Order | null {
    const { log, note } = this.#deps;
    switch (action.kind) {
      case "announce": {
        const { name, reason } = action.microphone;
        log.info("Microphone chosen.", { microphone: name, reason });
        return null;
      }
      case "set_problem":
        this.#problem.set(problems.standIn(action.reason));
        return null;
      case "clear_problem":
        this.#problem.clear();
        return null;
      case "remember":
        note(() => this.#microphones.remember(action.microphone));
        return null;
      case "count":
        note(async () => {
          const { microphone, ms } = action;
          const totalMs = await this.#microphones.countStandIn(microphone, ms);
          this.#send({ kind: "counted", microphone, totalMs });
        });
        return null;
      case "look":
      case "wait":
      case "record":
      case "change":
        return action;
    }
  }
}
