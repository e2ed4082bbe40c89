// The oldest names of a directory that may have far more names than are held in memory. They are kept in
// sorted runs. New names start a run, and eight short runs merge into one that is eight times as long. So
// there are never many runs, and no name is moved more than a few times. All names that start before the
// bound are held; when there are too many, the bound moves down. Pure.

import { type ChunkName, isSameChunkName } from "../chunk/chunk_name.ts";
import { Heads, NameRun } from "./name_run.ts";

/** How many new names are sorted at once: this takes a millisecond. */
const SORTED_AT_ONCE = 1024;
/** How many runs of about the same length merge into one. */
const MERGED_AT_ONCE = 8;
/** Runs of 8 ** 4 names and more are not merged: that would block the event loop. */
const MERGED_LEVELS = 4;
/** How many of the first names are kept ready for repeated calls of `find`. */
const READY_NAMES = 64;

export class OldestNames {
  readonly #count: number;
  /** The newest run is the last. */
  #runs: NameRun[] = [];
  /** Names that came since the last query, in any order. */
  #fresh: ChunkName[] = [];
  /** The first names of all runs, in order; at most READY_NAMES. */
  #ready: ChunkName[] = [];
  #size = 0;
  /** At this size the bound moves. */
  #limit: number;
  #boundUs = Infinity;

  /** @param count how many names are held if there are that many; at most a third more. */
  constructor(count: number) {
    this.#count = count;
    this.#limit = limitOf(count);
  }

  /** Unix microseconds: names that start then or later are not held. */
  get boundUs(): number {
    return this.#boundUs;
  }

  /** How many names are held. */
  get size(): number {
    return this.#size;
  }

  /** Whether all names that were offered and not forgotten are held. */
  get isComplete(): boolean {
    return this.#boundUs === Infinity;
  }

  /** Offers a name, in any order. It is held if it is among the oldest. */
  offer(name: ChunkName): void {
    if (name.startUnixUs >= this.#boundUs) return;
    this.#fresh.push(name);
    this.#size++;
    if (this.#fresh.length >= SORTED_AT_ONCE || this.#size >= this.#limit) this.#sort();
    if (this.#size >= this.#limit) this.#moveBound();
  }

  forget(name: ChunkName): void {
    this.#sort();
    if (!this.#runs.some((run) => run.forget(name))) return;
    this.#size--;
    this.#runs = this.#runs.filter((run) => run.size > 0);
    if (this.#ready[0] !== undefined && isSameChunkName(this.#ready[0], name)) this.#ready.shift();
    else this.#ready = this.#ready.filter((ready) => !isSameChunkName(ready, name));
  }

  /** The oldest held name that is wanted, or null. */
  find(isWanted: (name: ChunkName) => boolean): ChunkName | null {
    this.#sort();
    const ready = this.#ready.find(isWanted);
    if (ready !== undefined) return ready;
    const more = this.inOrder(this.#ready.at(-1));
    let found: ChunkName | null = null;
    for (const name of more) {
      if (found === null && isWanted(name)) found = name;
      if (this.#ready.length < READY_NAMES) this.#ready.push(name);
      else if (found !== null) break;
    }
    return found;
  }

  /** The held name with this key, or null. */
  findKey(key: string): ChunkName | null {
    this.#sort();
    for (const run of this.#runs) {
      const name = run.findKey(key);
      if (name !== null) return name;
    }
    return null;
  }

  /** The held names after `behind`, the oldest first. No name may come or leave meanwhile. */
  *inOrder(behind?: ChunkName): Generator<ChunkName, void> {
    this.#sort();
    const heads = new Heads(this.#runs.map((run) => ({
      run,
      at: behind === undefined ? run.first : run.behind(behind),
    })));
    for (let oldest = heads.oldest(); oldest !== null; oldest = heads.oldest()) {
      yield oldest.run.nameAt(oldest.at);
      heads.advance(oldest);
    }
  }

  #sort(): void {
    if (this.#fresh.length === 0) return;
    const first = this.#ready.at(-1);
    // New names usually start later than the ready ones.
    if (first !== undefined && this.#fresh.some((name) => name.startUnixUs <= first.startUnixUs)) {
      this.#ready = [];
    }
    this.#runs.push(NameRun.of(this.#fresh));
    this.#fresh = [];
    while (true) {
      const level = levelOf(this.#runs.at(-1));
      const longer = this.#runs.findLastIndex((run) => levelOf(run) > level);
      if (level >= MERGED_LEVELS) break;
      if (this.#runs.length - longer <= MERGED_AT_ONCE) break;
      this.#runs.push(NameRun.merge(this.#runs.splice(longer + 1)));
    }
  }

  /**
   * From now on only the oldest `count` names are held, and those that start at the same time as the last
   * of them.
   */
  #moveBound(): void {
    let lowUs = -Number.MAX_SAFE_INTEGER;
    let highUs = Number.MAX_SAFE_INTEGER;
    // The lowest bound that leaves `count` names. Names that have left count as well, so it is a little
    // lower.
    while (lowUs < highUs) {
      const middleUs = Math.floor(lowUs / 2 + highUs / 2);
      if (this.#countBefore(middleUs) >= this.#count) highUs = middleUs;
      else lowUs = middleUs + 1;
    }
    // Names that were not held before start at the old bound; names that are dropped now start at these
    // times.
    const goneUs = this.#runs.map((run) => run.startAt(run.from(highUs)));
    const runs = this.#runs.map((run) => run.before(highUs)).filter(({ size }) => size > 0);
    const size = runs.reduce((sum, run) => sum + run.size, 0);
    // More than `count` names that start in the same microsecond cannot be separated.
    this.#limit = limitOf(size === this.#size ? 2 * size : this.#count);
    if (size === this.#size) return;
    this.#boundUs = Math.min(...goneUs);
    this.#runs = runs;
    this.#size = size;
    this.#ready = [];
  }

  #countBefore(startUnixUs: number): number {
    return this.#runs.reduce((sum, run) => sum + run.from(startUnixUs) - run.first, 0);
  }
}

function limitOf(count: number): number {
  return Math.ceil(count * 4 / 3);
}

/** Runs of the same level have about the same length. */
function levelOf(run: NameRun | undefined): number {
  return Math.floor(Math.log(run?.size ?? 1) / Math.log(MERGED_AT_ONCE));
}
