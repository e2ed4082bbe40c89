// A run: chunk names in their order, in two typed arrays, 52 bytes a name however it looks. Names leave
// it from the front or from within, and none ever joins it; runs merge into a new one. Pure.

import { type ChunkName, compareChunkNames, type Provisional } from "../chunk/chunk_name.ts";

/** Numbers of a name: its start, its duration, the start since boot, when it was first seen. */
const NUMBERS = 4;
const [START, DURATION, BOOT_US, SEEN] = [0, 1, 2, 3] as const;
/** Words of a name: the 128 bits of the key, the boot id. */
const WORDS = 5;
const BOOT_ID = 4;
/** Stands for "none" in a column whose numbers are never negative; as a duration: the name has left. */
const NONE = -1;

export class NameRun {
  readonly #numbers: Float64Array;
  readonly #words: Uint32Array;
  readonly #length: number;
  /** All names before this have left. */
  #first = 0;
  #size: number;

  private constructor(numbers: Float64Array, words: Uint32Array) {
    this.#numbers = numbers;
    this.#words = words;
    this.#length = numbers.length / NUMBERS;
    this.#size = this.#length;
  }

  static #ofSize(size: number): NameRun {
    return new NameRun(new Float64Array(size * NUMBERS), new Uint32Array(size * WORDS));
  }

  /** A run of these names, which it sorts. */
  static of(names: ChunkName[]): NameRun {
    names.sort(compareChunkNames);
    const run = NameRun.#ofSize(names.length);
    for (const [at, name] of names.entries()) {
      const { bootId, startBootUs, seenUnixS } = name.provisional ?? NOT_PROVISIONAL;
      const numbers = [name.startUnixUs, name.durationUs, startBootUs, seenUnixS ?? NONE];
      run.#numbers.set(numbers, at * NUMBERS);
      packKey(name.key, run.#words, at * WORDS);
      run.#words[at * WORDS + BOOT_ID] = parseInt(bootId, 16);
    }
    return run;
  }

  /** A run of all that are left in some runs. */
  static merge(runs: readonly NameRun[]): NameRun {
    const merged = NameRun.#ofSize(runs.reduce((sum, run) => sum + run.#size, 0));
    const heads = new Heads(runs.map((run) => ({ run, at: run.first })));
    for (let at = 0; at < merged.#length; at++) {
      const oldest = heads.oldest();
      if (oldest === null) break;
      merged.#copy(at, oldest.run, oldest.at);
      heads.advance(oldest);
    }
    return merged;
  }

  /** Names that are left. */
  get size(): number {
    return this.#size;
  }

  /** Index of the oldest that is left; `end` if none is. */
  get first(): number {
    return this.#first;
  }

  get end(): number {
    return this.#length;
  }

  /** Index of the one that is left behind this one, or `end`. */
  next(index: number): number {
    do index++; while (index < this.#length && this.#number(index, DURATION) === NONE);
    return index;
  }

  /** Unix microseconds; Infinity for `end`. */
  startAt(index: number): number {
    return index < this.#length ? this.#number(index, START) : Infinity;
  }

  nameAt(index: number): ChunkName {
    const name = {
      startUnixUs: this.#number(index, START),
      durationUs: this.#number(index, DURATION),
      key: unpackKey(this.#words, index * WORDS),
    };
    const startBootUs = this.#number(index, BOOT_US);
    if (startBootUs === NONE) return name;
    const seenUnixS = this.#number(index, SEEN);
    const bootId = hex8(this.#words[index * WORDS + BOOT_ID]);
    const provisional = { bootId, startBootUs, seenUnixS: seenUnixS === NONE ? null : seenUnixS };
    return { ...name, provisional };
  }

  /** Index of the first that is left and starts at this time or later, or `end`. */
  from(startUnixUs: number): number {
    let [low, high] = [this.#first, this.#length];
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (this.#number(middle, START) < startUnixUs) low = middle + 1;
      else high = middle;
    }
    return low < this.#length && this.#number(low, DURATION) === NONE ? this.next(low) : low;
  }

  /** Index of the first that is left and comes behind this name, which it need not have; or `end`. */
  behind(name: ChunkName): number {
    let index = this.from(name.startUnixUs);
    while (index < this.#length && this.startAt(index) === name.startUnixUs) {
      if (compareChunkNames(this.nameAt(index), name) > 0) break;
      index = this.next(index);
    }
    return index;
  }

  /** The oldest name with this key, or null. */
  findKey(key: string): ChunkName | null {
    const wanted = new Uint32Array(WORDS);
    packKey(key, wanted, 0);
    for (let index = this.#first; index < this.#length; index = this.next(index)) {
      // The first word nearly always differs.
      if (this.#words[index * WORDS] !== wanted[0]) continue;
      const name = this.nameAt(index);
      if (name.key === key) return name;
    }
    return null;
  }

  /** False: it does not have this name. */
  forget(name: ChunkName): boolean {
    let index = this.from(name.startUnixUs);
    while (index < this.#length && this.startAt(index) === name.startUnixUs) {
      if (compareChunkNames(this.nameAt(index), name) === 0) {
        this.#numbers[index * NUMBERS + DURATION] = NONE;
        if (index === this.#first) this.#first = this.next(index);
        this.#size--;
        return true;
      }
      index = this.next(index);
    }
    return false;
  }

  /** The run without what starts at this time or later, and without the memory for what has left. */
  before(startUnixUs: number): NameRun {
    const end = this.from(startUnixUs);
    const kept = new NameRun(
      this.#numbers.slice(this.#first * NUMBERS, end * NUMBERS),
      this.#words.slice(this.#first * WORDS, end * WORDS),
    );
    for (let index = 0; index < kept.#length; index++) {
      if (kept.#number(index, DURATION) === NONE) kept.#size--;
    }
    return kept;
  }

  #copy(at: number, from: NameRun, index: number): void {
    for (let column = 0; column < NUMBERS; column++) {
      this.#numbers[at * NUMBERS + column] = from.#number(index, column);
    }
    for (let column = 0; column < WORDS; column++) {
      this.#words[at * WORDS + column] = from.#words[index * WORDS + column] ?? 0;
    }
  }

  #number(index: number, column: number): number {
    return this.#numbers[index * NUMBERS + column] ?? NONE;
  }
}

const NOT_PROVISIONAL: Provisional = { bootId: "0", startBootUs: NONE, seenUnixS: null };

interface Head {
  readonly run: NameRun;
  at: number;
}

/** A place in each of some runs: what lies behind them comes out in order. */
export class Heads {
  #heads: Head[];

  constructor(heads: readonly Head[]) {
    this.#heads = heads.filter(({ run, at }) => at < run.end);
  }

  /** Null: all have come to their end. */
  oldest(): Head | null {
    let [oldest] = this.#heads;
    if (oldest === undefined) return null;
    for (const head of this.#heads) if (comesBefore(head, oldest)) oldest = head;
    return oldest;
  }

  advance(head: Head): void {
    head.at = head.run.next(head.at);
    if (head.at >= head.run.end) this.#heads = this.#heads.filter((other) => other !== head);
  }
}

function comesBefore(a: Head, b: Head): boolean {
  const [startA, startB] = [a.run.startAt(a.at), b.run.startAt(b.at)];
  if (startA !== startB) return startA < startB;
  return a !== b && compareChunkNames(a.run.nameAt(a.at), b.run.nameAt(b.at)) < 0;
}

/** A UUID's 32 digits are read as four words of eight. */
function packKey(key: string, words: Uint32Array, at: number): void {
  words[at] = parseInt(key.slice(0, 8), 16);
  words[at + 1] = parseInt(key.slice(9, 13) + key.slice(14, 18), 16);
  words[at + 2] = parseInt(key.slice(19, 23) + key.slice(24, 28), 16);
  words[at + 3] = parseInt(key.slice(28, 36), 16);
}

function unpackKey(words: Uint32Array, at: number): string {
  const b = hex8(words[at + 1]);
  const c = hex8(words[at + 2]);
  return `${hex8(words[at])}-${b.slice(0, 4)}-${b.slice(4)}-${c.slice(0, 4)}-${c.slice(4)}` +
    hex8(words[at + 3]);
}

/** The eight digits of a word. */
function hex8(word = 0): string {
  return (word + 2 ** 32).toString(16).slice(1);
}
