// The oldest names of a directory that may have far more names than are held in memory. They are held in
// order, in blocks: a full block is divided, and an empty one is dropped. So a name costs the same to find,
// to add and to remove, however many there are. All names that start before the bound are held; when there
// are too many, the newest are dropped, and the bound moves down to them. Pure.

import type { ChunkName } from "../chunk/chunk_name.ts";
import { NAME_BYTES, NameBlock } from "./name_block.ts";

export class OldestNames {
  readonly #limitBytes: number;
  /** In order. None is empty, unless there is no name. */
  readonly #blocks = [new NameBlock()];
  #bytes = 0;
  #boundUs = Infinity;

  /** @param count how many names are held; if there are provisional ones, as many as need no more memory. */
  constructor(count: number) {
    this.#limitBytes = count * NAME_BYTES;
  }

  /** Unix microseconds: names that start then or later are not held. */
  get boundUs(): number {
    return this.#boundUs;
  }

  /** Whether all names that were offered and not forgotten are held. */
  get isComplete(): boolean {
    return this.#boundUs === Infinity;
  }

  /** Offers a name, in any order. It is held if it is among the oldest. */
  offer(name: ChunkName): void {
    if (name.startUnixUs >= this.#boundUs) return;
    const at = this.#blockOf(name);
    let block = this.#block(at);
    let index = block.indexOf(name);
    if (block.has(index, name)) return;
    if (block.isFull) {
      // Names often come in order: then a block stays full.
      const half = index === block.size ? index : block.size >>> 1;
      const later = block.split(half);
      this.#blocks.splice(at + 1, 0, later);
      if (index >= half) [block, index] = [later, index - half];
    }
    this.#bytes -= block.bytes;
    block.insert(index, name);
    this.#bytes += block.bytes;
    while (this.#bytes > this.#limitBytes) if (!this.#dropNewest()) break;
  }

  forget(name: ChunkName): void {
    const at = this.#blockOf(name);
    const block = this.#block(at);
    const index = block.indexOf(name);
    if (block.has(index, name)) this.#remove(at, index);
  }

  /** The oldest held name that is wanted, or null. */
  find(isWanted: (name: ChunkName) => boolean): ChunkName | null {
    return this.inOrder().find(isWanted) ?? null;
  }

  /** The held name with this key, or null. */
  findKey(key: string): ChunkName | null {
    for (const block of this.#blocks) {
      const name = block.findKey(key);
      if (name !== null) return name;
    }
    return null;
  }

  /** The held names after `behind`, the oldest first. No name may come or leave meanwhile. */
  *inOrder(behind?: ChunkName): Generator<ChunkName, void> {
    let at = behind === undefined ? 0 : this.#blockOf(behind);
    let index = behind === undefined ? 0 : this.#block(at).indexOf(behind);
    for (; at < this.#blocks.length; at++, index = 0) {
      const block = this.#block(at);
      if (behind !== undefined && block.has(index, behind)) index++;
      for (; index < block.size; index++) yield block.nameAt(index);
    }
  }

  /** Index of the block that has this name, or would have it. */
  #blockOf(name: ChunkName): number {
    let [low, high] = [0, this.#blocks.length - 1];
    while (low < high) {
      const middle = (low + high + 1) >>> 1;
      if (this.#block(middle).compare(0, name) <= 0) low = middle;
      else high = middle - 1;
    }
    return low;
  }

  #block(at: number): NameBlock {
    return this.#blocks[at] ?? new NameBlock();
  }

  #remove(at: number, index: number): void {
    const block = this.#block(at);
    this.#bytes -= block.bytes;
    block.remove(index);
    this.#bytes += block.bytes;
    if (block.size === 0 && this.#blocks.length > 1) this.#blocks.splice(at, 1);
  }

  /**
   * Drops the names that start last. False: all start in the same microsecond, and cannot be separated by
   * the bound.
   */
  #dropNewest(): boolean {
    const newestUs = this.#newestUs;
    if (this.#block(0).startAt(0) === newestUs) return false;
    while (this.#newestUs === newestUs) {
      const last = this.#blocks.length - 1;
      this.#remove(last, this.#block(last).size - 1);
    }
    this.#boundUs = newestUs;
    return true;
  }

  get #newestUs(): number {
    const last = this.#block(this.#blocks.length - 1);
    return last.startAt(last.size - 1);
  }
}
