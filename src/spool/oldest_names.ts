// The oldest names of a directory that may have far more of them than are held in memory. They are kept
// in sorted runs. What comes begins a run, and eight short runs merge into one that is eight times as
// long, so that there are never many of them, and no name is moved more than a few times. All names that
// start before the bound are held; when there are too many, the bound moves down. Pure.

import { type ChunkName, isSameChunkName } from "../chunk/chunk_name.ts";
import { Heads, NameRun } from "./name_run.ts";

/** So many new names are sorted at once: a millisecond. */
const SORTED_AT_ONCE = 1024;
/** So many runs of about the same length merge into one. */
const MERGED_AT_ONCE = 8;
/** Runs of 8 ** 4 names and more are not merged: that would hold up the event loop. */
const MERGED_LEVELS = 4;
/** So many of the first names are made ready for whoever asks again and again. */
const READY_NAMES = 64;

export class OldestNames {
  readonly #count: number;
  /** The latest is the last. */
  #runs: NameRun[] = [];
  /** Came since the last question, in any order. */
  #fresh: ChunkName[] = [];
  /** The first names of all runs, in order; at most READY_NAMES. */
  #ready: ChunkName[] = [];
  #size = 0;
  /** At this size the bound moves. */
  #limit: number;
  #boundUs = Infinity;

  /** @param count of names that are held if there are so many; at most, a third more are. */
  constructor(count: number) {
    this.#count = count;
    this.#limit = limitOf(count);
  }

  /** Unix microseconds: names that start then or later are not held. */
  get boundUs(): number {
    return this.#boundUs;
  }

  /** Names that are held. */
  get size(): number {
    return this.#size;
  }

  /** Whether all names that were offered and not forgotten are held. */
  get isComplete(): boolean {
    return this.#boundUs === Infinity;
  }

  /** Takes a name, in any order; it is held if it is among the oldest. */
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

  /** The oldest of those held that are wanted; null: none is. */
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

  /** One of those held by its key, or null. */
  findKey(key: string): ChunkName | null {
    this.#sort();
    for (const run of this.#runs) {
      const name = run.findKey(key);
      if (name !== null) return name;
    }
    return null;
  }

  /** Those held, the oldest first, from behind a name on. Nothing may come or go meanwhile. */
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
    // What comes is newer than what is ready, as a rule.
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

  /** Only the oldest `count` are held from now on, and those that start with the last of them. */
  #moveBound(): void {
    let lowUs = -Number.MAX_SAFE_INTEGER;
    let highUs = Number.MAX_SAFE_INTEGER;
    // The lowest bound that leaves `count`: names that have left count, too, which makes it a little lower.
    while (lowUs < highUs) {
      const middleUs = Math.floor(lowUs / 2 + highUs / 2);
      if (this.#countBefore(middleUs) >= this.#count) highUs = middleUs;
      else lowUs = middleUs + 1;
    }
    // What was not held before begins at the old bound, what is let go now at the first of these.
    const goneUs = this.#runs.map((run) => run.startAt(run.from(highUs)));
    const runs = this.#runs.map((run) => run.before(highUs)).filter(({ size }) => size > 0);
    const size = runs.reduce((sum, run) => sum + run.size, 0);
    // More than `count` that start in the same microsecond cannot be parted.
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

/** Runs of the same level are about equally long. */
function levelOf(run: NameRun | undefined): number {
  return Math.floor(Math.log(run?.size ?? 1) / Math.log(MERGED_AT_ONCE));
}
