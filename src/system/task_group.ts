// Structured concurrency: tasks that start together, fail together and are all awaited. The module does
// not know what the tasks do.

import { messageOf } from "./error_text.ts";

/** The first failure of a task aborts the group's signal. No rejection is lost. */
export class TaskGroup {
  readonly #controller = new AbortController();
  readonly #tasks: Promise<void>[] = [];
  #failure: { name: string; error: unknown } | null = null;

  get signal(): AbortSignal {
    return this.#controller.signal;
  }

  /** Starts a task at once. It should resolve soon after the signal aborts. */
  start(name: string, run: (signal: AbortSignal) => Promise<void>): void {
    const started = async () => await run(this.signal);
    const task = started().catch((error: unknown) => {
      if (this.signal.aborted && error === this.signal.reason) return;
      this.#failure ??= { name, error };
      this.stop();
    });
    this.#tasks.push(task);
  }

  /** Asks every task to end. */
  stop(): void {
    this.#controller.abort();
  }

  /**
   * Resolves when every task has ended.
   * @throws the first task's failure, with the task's name before its message.
   */
  async join(): Promise<void> {
    for (const task of this.#tasks) await task; // includes tasks that start in the meantime
    if (this.#failure === null) return;
    const { name, error } = this.#failure;
    throw new Error(`${name}: ${messageOf(error)}`, { cause: error });
  }
}
