// Work on one key at a time: what concerns the same key waits for its turn, other keys do not. Pure.

export class KeyTurns {
  /** The last work on each key, while there is any. */
  readonly #last = new Map<string, Promise<unknown>>();

  /** Does the work when all earlier work on this key has ended. @throws what the work throws. */
  async take<T>(key: string, work: () => Promise<T>): Promise<T> {
    const before = this.#last.get(key) ?? Promise.resolve();
    const mine = before.catch(() => {}).then(work);
    this.#last.set(key, mine);
    try {
      return await mine;
    } finally {
      if (this.#last.get(key) === mine) this.#last.delete(key);
    }
  }
}
