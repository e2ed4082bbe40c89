// A block: up to 2048 chunk names in order, in one piece of memory: 32 bytes for each, or 56 in a block
// with a provisional name. Its owner divides a block that is full. Pure.

import { type ChunkName, compareChunkNames } from "../chunk/chunk_name.ts";

/** What a name needs in a block without a provisional one. */
export const NAME_BYTES = 32;
const WIDE_BYTES = 56;
const NUMBER_BYTES = 8;
/** Numbers of a name; in a wide block also the start since boot, when it was first seen, the boot id. */
const [START, DURATION, BOOT_US, SEEN, BOOT_ID] = [0, 1, 4, 5, 6] as const;
/** The bytes of the key are between them. */
const [KEY, KEY_END] = [16, 32];
/** Means "none" as a number that is never negative. */
const NONE = -1;
/**
 * A block has memory for this many: 64 kB, which glibc takes from the system and returns by itself (under
 * the thresholds of the unit). What no name has used yet takes no real memory.
 */
const NAMES_IN_BLOCK = 2048;

export class NameBlock {
  #size = 0;
  #nameBytes = NAME_BYTES;
  #bytes = new Uint8Array(NAMES_IN_BLOCK * NAME_BYTES);
  /** The same memory. */
  #numbers = new Float64Array(this.#bytes.buffer);

  /** How many names there are. */
  get size(): number {
    return this.#size;
  }

  get isFull(): boolean {
    return this.#size === NAMES_IN_BLOCK;
  }

  /** What the names need. */
  get bytes(): number {
    return this.#size * this.#nameBytes;
  }

  /** Unix microseconds. */
  startAt(index: number): number {
    return this.#number(index, START);
  }

  nameAt(index: number): ChunkName {
    const name = {
      startUnixUs: this.#number(index, START),
      durationUs: this.#number(index, DURATION),
      key: unpackKey(this.#keyAt(index)),
    };
    const startBootUs = this.#nameBytes === NAME_BYTES ? NONE : this.#number(index, BOOT_US);
    if (startBootUs === NONE) return name;
    const bootId = this.#number(index, BOOT_ID).toString(16).padStart(8, "0");
    const seen = this.#number(index, SEEN);
    return {
      ...name,
      provisional: { bootId, startBootUs, seenUnixS: seen === NONE ? null : seen },
    };
  }

  /** Negative if the name at this index comes before `name`, 0 if it is the same. */
  compare(index: number, name: ChunkName): number {
    return this.startAt(index) - name.startUnixUs || compareChunkNames(this.nameAt(index), name);
  }

  /** Index of this name; if the block does not have it, the index at which it belongs. */
  indexOf(name: ChunkName): number {
    let [low, high] = [0, this.#size];
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (this.compare(middle, name) < 0) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  /** Whether this name is at the index. */
  has(index: number, name: ChunkName): boolean {
    return index < this.#size && this.compare(index, name) === 0;
  }

  /** The oldest name with this key, or null. */
  findKey(key: string): ChunkName | null {
    const wanted = new Uint8Array(KEY_END - KEY);
    packKey(key, wanted);
    for (let index = 0; index < this.#size; index++) {
      // The first byte nearly always differs.
      if (this.#bytes[index * this.#nameBytes + KEY] !== wanted[0]) continue;
      const name = this.nameAt(index);
      if (name.key === key) return name;
    }
    return null;
  }

  /** Inserts a name into a block that is not full. */
  insert(index: number, name: ChunkName): void {
    if (name.provisional !== undefined) this.#widen();
    this.#bytes.copyWithin(this.#at(index + 1), this.#at(index), this.bytes);
    this.#size++;
    const at = this.#at(index) / NUMBER_BYTES;
    this.#numbers[at + START] = name.startUnixUs;
    this.#numbers[at + DURATION] = name.durationUs;
    packKey(name.key, this.#keyAt(index));
    if (this.#nameBytes === NAME_BYTES) return;
    this.#numbers[at + BOOT_US] = name.provisional?.startBootUs ?? NONE;
    this.#numbers[at + SEEN] = name.provisional?.seenUnixS ?? NONE;
    this.#numbers[at + BOOT_ID] = parseInt(name.provisional?.bootId ?? "0", 16);
  }

  remove(index: number): void {
    this.#bytes.copyWithin(this.#at(index), this.#at(index + 1), this.bytes);
    this.#size--;
  }

  /** Moves the names from this index on into a new block. */
  split(index: number): NameBlock {
    const later = new NameBlock();
    later.#nameBytes = this.#nameBytes;
    later.#size = this.#size - index;
    later.#store(this.#bytes.subarray(this.#at(index), this.bytes));
    this.#size = index;
    this.#store(this.#bytes.subarray(0, this.bytes));
    return later;
  }

  /** Moves names into new memory. */
  #store(names: Uint8Array): void {
    this.#bytes = new Uint8Array(NAMES_IN_BLOCK * this.#nameBytes);
    this.#bytes.set(names);
    this.#numbers = new Float64Array(this.#bytes.buffer);
  }

  #widen(): void {
    if (this.#nameBytes === WIDE_BYTES) return;
    const plain = this.#bytes;
    this.#nameBytes = WIDE_BYTES;
    this.#store(new Uint8Array(0));
    this.#numbers.fill(NONE);
    for (let index = 0; index < this.#size; index++) {
      const at = index * NAME_BYTES;
      this.#bytes.set(plain.subarray(at, at + NAME_BYTES), this.#at(index));
    }
  }

  #at(index: number): number {
    return index * this.#nameBytes;
  }

  #number(index: number, column: number): number {
    return this.#numbers[this.#at(index) / NUMBER_BYTES + column] ?? NONE;
  }

  #keyAt(index: number): Uint8Array {
    return this.#bytes.subarray(this.#at(index) + KEY, this.#at(index) + KEY_END);
  }
}

/** Packs the 32 digits of a UUID. */
function packKey(key: string, bytes: Uint8Array): void {
  bytes.setFromHex(key.replaceAll("-", ""));
}

function unpackKey(bytes: Uint8Array): string {
  const hex = bytes.toHex();
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-${hex.slice(12, 16)}-${hex.slice(16, 20)}-` +
    hex.slice(20);
}
