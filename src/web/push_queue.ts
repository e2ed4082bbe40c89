// Holds what could not be pushed yet, within a bound. An outage of any length stays covered: when the queue
// is full, every other entry goes, and from then on it keeps every second entry, then every fourth, so that
// the entries stay spread evenly. Pure.

export class PushQueue<T> {
  readonly #max: number;
  #entries: T[] = [];
  /** Every entry with a multiple of this number stays. */
  #stride = 1;
  /** The number of the newest entry, from the last one that stays: 0 if it stays. */
  #number = 0;
  #newest: T | null = null;

  /** @param max the most entries, at least 3. */
  constructor(max: number) {
    this.#max = max;
  }

  get length(): number {
    return this.#entries.length;
  }

  /** Adds the newest entry. The newest and the oldest one are always there. */
  add(entry: T): void {
    if (this.#entries.length === 0) [this.#stride, this.#number] = [1, 0];
    else if (this.#number > 0 && this.#entries.at(-1) === this.#newest) this.#entries.pop();
    this.#newest = entry;
    this.#entries.push(entry);
    this.#number = (this.#number + 1) % this.#stride;
    if (this.#entries.length <= this.#max) return;
    const last = this.#entries.length - 1;
    const fromFirst = this.#number === 0
      ? last * this.#stride
      : (last - 1) * this.#stride + this.#number;
    this.#entries = this.#entries.filter((_, index) => index % 2 === 0 || index === last);
    this.#stride *= 2;
    this.#number = fromFirst % this.#stride;
  }

  /** Up to `count` of the oldest entries; they stay until `drop`. */
  oldest(count: number): readonly T[] {
    return this.#entries.slice(0, count);
  }

  /** These entries have been sent, or never will be. Those that went in the meantime do not matter. */
  drop(entries: readonly T[]): void {
    const gone = new Set(entries);
    this.#entries = this.#entries.filter((entry) => !gone.has(entry));
  }
}
