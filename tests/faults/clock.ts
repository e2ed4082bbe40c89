// Time for a schedule of faults. It jumps, as on a machine that was suspended: a worker whose wake time
// has passed wakes late, once. The clock also knows which workers sleep, so that time advances only when
// nothing is left to do at the present moment. (SimulatedClock wakes a sleeper at each tick instead.)

import type { Clock } from "../../src/system/clock.ts";

interface Sleeper {
  readonly wakeMs: number;
  readonly wake: () => void;
}

/** The clock of one worker. */
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
  /** Since the first boot; a power cut does not reset it. */
  monotonicMs = 100_000;
  /** The time of the system clock at `monotonicMs` 0. */
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

  /** Advances the time, and then wakes the sleepers whose wake time has passed. */
  jump(ms: number): void {
    this.monotonicMs += ms;
    const due = this.#workers.flatMap(({ sleepers }) => [...sleepers])
      .filter(({ wakeMs }) => wakeMs <= this.monotonicMs)
      .sort((a, b) => a.wakeMs - b.wakeMs);
    for (const { wake } of due) wake();
  }

  /** Forgets the sleepers of a process that has ended: they never wake. */
  forgetWorkers(): void {
    this.#workers = [];
  }
}
