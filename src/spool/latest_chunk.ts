// Finds the chunk that was recorded last, among names in any order: the next one continues after it. Names
// of this boot that are provisional come first, because their times by a wrong clock say little; then the
// recordings that the start had to finish; then the latest start. Pure.

import type { ChunkName } from "../chunk/chunk_name.ts";

export class LatestChunk {
  #listed: ChunkName | null = null;
  #admitted: ChunkName | null = null;
  #last: ChunkName | null = null;
  /** By boot id, the provisional name with the latest time since boot. */
  readonly #ofBoot = new Map<string, ChunkName>();

  /** A chunk that the start found in a directory. */
  listed(name: ChunkName): void {
    if (name.startUnixUs > (this.#listed?.startUnixUs ?? -Infinity)) this.#listed = name;
    this.#noteBoot(name);
  }

  /** A chunk that came into outbox/ from recording/. */
  admitted(name: ChunkName): void {
    this.#last = name;
    if (name.startUnixUs >= (this.#admitted?.startUnixUs ?? -Infinity)) this.#admitted = name;
    this.#noteBoot(name);
  }

  /** The chunk that came into outbox/ last; null if none has come. */
  get lastAdmitted(): ChunkName | null {
    return this.#last;
  }

  /** The chunk that was recorded last as far as names tell; null if there is none. */
  find(bootId: string): ChunkName | null {
    return this.#ofBoot.get(bootId) ?? this.#admitted ?? this.#listed;
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
