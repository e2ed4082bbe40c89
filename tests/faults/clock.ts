// Time for a schedule of faults. It jumps, as for a machine that stood still: whoever should have
// woken wakes late, once. And it knows who sleeps, so that time moves on only when nothing is left to
// be done at the present moment. (SimulatedClock wakes a sleeper for every tick of the way instead.)

import type { Clock } from "../../src/system/clock.ts";

interface Sleeper {
  readonly wakeMs: number;
  readonly wake: () => void;
}

/** The clock as one worker sees it. */
export class WorkerClock implements Clock {
  readonly #clock: ScheduleClock;
  readonly sleepers = new Set<Sleeper>();

  constructor(clock: ScheduleClock) {
    this.#clock = clock;
  }

  get isAsleep(): boolean {
    return this.sleepers.size > 0;
  }

  unixMs(): number {
    return this.#clock.unixMs();
  }

  monotonicMs(): number {
    return this.#clock.monotonicMs;
  }

  sleep(ms: number, signal?: AbortSignal): Promise<void> {
    if (signal?.aborted) return Promise.resolve();
    const { promise, resolve } = Promise.withResolvers<void>();
    const wake = () => {
      signal?.removeEventListener("abort", wake);
      this.sleepers.delete(sleeper);
      resolve();
    };
    const sleeper = { wakeMs: this.monotonicMs() + ms, wake };
    this.sleepers.add(sleeper);
    signal?.addEventListener("abort", wake);
    return promise;
  }
}

export class ScheduleClock {
  /** Since the first boot; a power cut does not set it back. */
  monotonicMs = 100_000;
  /** What the system clock shows at `monotonicMs` 0. */
  offsetMs: number;
  #workers: WorkerClock[] = [];

  constructor(unixMs: number) {
    this.offsetMs = unixMs - this.monotonicMs;
  }

  unixMs(): number {
    return Math.floor(this.monotonicMs + this.offsetMs);
  }

  worker(): WorkerClock {
    const worker = new WorkerClock(this);
    this.#workers.push(worker);
    return worker;
  }

  /** Time passes, and then those wake who slept no longer than until now. */
  jump(ms: number): void {
    this.monotonicMs += ms;
    const due = this.#workers.flatMap(({ sleepers }) => [...sleepers])
      .filter(({ wakeMs }) => wakeMs <= this.monotonicMs)
      .sort((a, b) => a.wakeMs - b.wakeMs);
    for (const { wake } of due) wake();
  }

  /** Those who sleep belong to a process that has ended: nobody wakes them. */
  forgetWorkers(): void {
    this.#workers = [];
  }
}
