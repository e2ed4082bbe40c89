// The oldest names of a directory that may have far more of them than are held in memory. Names sort
// by time, so the oldest is the smallest. Pure.

export class OldestNames {
  readonly #count: number;
  /** The newest first: the oldest, which is wanted first, is at the end. */
  #names: string[] = [];
  #isSorted = true;
  /** Names from here on are not held; null: all that were offered are. */
  #bound: string | null = null;

  /** @param count of names that are held if there are so many; at most, twice as many are. */
  constructor(count: number) {
    this.#count = count;
  }

  /** Takes a name, in any order; it is held if it is among the oldest. */
  offer(name: string): void {
    if (this.#bound !== null && name >= this.#bound) return;
    this.#names.push(name);
    this.#isSorted = false;
    if (this.#names.length < 2 * this.#count) return;
    this.#sort();
    this.#bound = this.#names.splice(0, this.#count).at(-1) ?? null;
  }

  /** The oldest of those held that are wanted; null: none is. */
  find(isWanted: (name: string) => boolean): string | null {
    this.#sort();
    return this.#names.findLast(isWanted) ?? null;
  }

  forget(name: string): void {
    if (this.#names.at(-1) === name) this.#names.pop();
    else this.#names = this.#names.filter((held) => held !== name);
  }

  #sort(): void {
    if (!this.#isSorted) this.#names.sort().reverse();
    this.#isSorted = true;
  }
}
