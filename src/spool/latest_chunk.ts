// Finds the chunk that was recorded last, among names in any order: the next one continues after it. Names
// of this boot that are provisional come first, because their times by a wrong clock say little; then the
// recording that began last of those of this run; then one that the start had to finish and whose time is
// provisional; then the latest start. Pure.
//
// Of chunks with true times the one with the latest start counts, also if the start had to finish another one. A
// chunk that could not be sealed stays in recording/ for hours while later ones are delivered: to continue after
// it would declare those as missing. The other case is a synchronized clock that was set back before a power
// cut. It is rarer, and costs less: nothing is declared between the two, and the tag of the next chunk gives no
// length for the gap.

import type { ChunkName } from "../chunk/chunk_name.ts";

export class LatestChunk {
  /** Of those with a true time, that with the latest start. */
  #listed: ChunkName | null = null;
  #admitted: { readonly name: ChunkName; readonly number: number } | null = null;
  #recovered: ChunkName | null = null;
  /** By boot id, the provisional name with the latest time since boot. */
  readonly #ofBoot = new Map<string, ChunkName>();

  /** A chunk that the start found in a directory. */
  listed(name: ChunkName): void {
    if (name.provisional !== undefined) this.#noteBoot(name);
    else if (name.startUnixUs > (this.#listed?.startUnixUs ?? -Infinity)) this.#listed = name;
  }

  /** A chunk that the start had to finish; they come in the order of their names. */
  recovered(name: ChunkName): void {
    this.listed(name);
    if (name.provisional !== undefined) this.#recovered = name;
  }

  /**
   * A chunk of this run that came into outbox/, in any order.
   * @param number of the chunk in this run, by its beginning.
   */
  admitted(name: ChunkName, number: number): void {
    this.#noteBoot(name);
    if (number > (this.#admitted?.number ?? -Infinity)) this.#admitted = { name, number };
  }

  /** A chunk has another time in its name. */
  renamed(name: ChunkName): void {
    if (this.#admitted?.name.key === name.key) this.#admitted = { ...this.#admitted, name };
    if (this.#recovered?.key === name.key) this.#recovered = null;
    for (const [bootId, { key }] of this.#ofBoot) {
      if (key === name.key) this.#ofBoot.delete(bootId);
    }
    this.listed(name);
  }

  /** Whether there are provisional names of this boot. */
  has(bootId: string): boolean {
    return this.#ofBoot.has(bootId);
  }

  /** The chunk that was recorded last as far as names tell; null if there is none. */
  find(bootId: string): ChunkName | null {
    return this.#ofBoot.get(bootId) ?? this.#last();
  }

  /** Whether this chunk is the last one of this run, or was the last one at the start. */
  isLatest({ key }: ChunkName): boolean {
    return this.#last()?.key === key;
  }

  #last(): ChunkName | null {
    return this.#admitted?.name ?? this.#recovered ?? this.#latestStart();
  }

  #latestStart(): ChunkName | null {
    return this.#ofBoot.values().reduce(
      (latest, name) => name.startUnixUs > (latest?.startUnixUs ?? -Infinity) ? name : latest,
      this.#listed,
    );
  }

  #noteBoot(name: ChunkName): void {
    const { provisional } = name;
    if (provisional === undefined) return;
    const known = this.#ofBoot.get(provisional.bootId)?.provisional;
    if (provisional.startBootUs >= (known?.startBootUs ?? -Infinity)) {
      this.#ofBoot.set(provisional.bootId, name);
    }
  }
}
