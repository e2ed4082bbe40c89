// Makes earlier changes durable, beside the work and one round at a time. A round covers everything that
// was done before it began, so that many changes cost one sync. It knows nothing about files and never
// fails: what a round could not sync, the next requested round syncs.

export class CoalescedSync {
  readonly #sync: () => Promise<void>;
  #isWanted = false;
  #rounds: Promise<void> | null = null;

  /** @param sync makes everything durable that was done before the call; may reject. */
  constructor(sync: () => Promise<void>) {
    this.#sync = sync;
  }

  /** Requests that everything done until now becomes durable soon. */
  request(): void {
    this.#isWanted = true;
    this.#rounds ??= this.#run();
  }

  /** Resolves when all requests have been tried. */
  async settled(): Promise<void> {
    while (this.#rounds !== null) await this.#rounds;
  }

  async #run(): Promise<void> {
    while (this.#isWanted) {
      this.#isWanted = false;
      try {
        await this.#sync();
      } catch {
        /* left to the next round */
      }
    }
    this.#rounds = null;
  }
}
