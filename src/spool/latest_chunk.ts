// Finds the chunk that was recorded last, among names in any order: the next one continues after it. Names
// of this boot that are provisional come first, because their times by a wrong clock say little; then the
// recording that came into outbox/ last; then the latest start. Pure.

import type { ChunkName } from "../chunk/chunk_name.ts";

export class LatestChunk {
  /** Of those with a true time, that with the latest start. */
  #listed: ChunkName | null = null;
  #admitted: ChunkName | null = null;
  /** By boot id, the provisional name with the latest time since boot. */
  readonly #ofBoot = new Map<string, ChunkName>();

  /** A chunk that the start found in a directory. */
  listed(name: ChunkName): void {
    if (name.provisional !== undefined) this.#noteBoot(name);
    else if (name.startUnixUs > (this.#listed?.startUnixUs ?? -Infinity)) this.#listed = name;
  }

  /**
   * A chunk that came into outbox/ from recording/; they come in the order in which they were recorded,
   * whatever the clock says.
   */
  admitted(name: ChunkName): void {
    this.#admitted = name;
    this.#noteBoot(name);
  }

  /** A chunk has another time in its name. */
  renamed(name: ChunkName): void {
    if (this.#admitted?.key === name.key) this.#admitted = name;
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
    return this.#ofBoot.get(bootId) ?? this.#admitted ?? this.#latestStart();
  }

  /** Whether this chunk is the one that came last into outbox/, or was there last at the start. */
  isLatest({ key }: ChunkName): boolean {
    return (this.#admitted ?? this.#latestStart())?.key === key;
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
