// Makes durable what was done before, beside the work and one round at a time: a round covers all that
// was done before it began, so that many changes cost one. It knows nothing of files and never fails:
// what a round could not do, the next one asked for does.

export class CoalescedSync {
  readonly #sync: () => Promise<void>;
  #isWanted = false;
  #rounds: Promise<void> | null = null;

  /** @param sync makes durable all that was done until it is called; may reject. */
  constructor(sync: () => Promise<void>) {
    this.#sync = sync;
  }

  /** What was done until now is to be made durable, soon. */
  request(): void {
    this.#isWanted = true;
    this.#rounds ??= this.#run();
  }

  /** Resolves when all that was asked for has been tried. */
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
