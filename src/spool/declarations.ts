// Declares in gaps.jsonl what the janitor deletes undelivered, before it is deleted and a few chunks at a time, so
// that nothing is missing without a declaration. After a power cut in between, a chunk can be declared and still
// be there: the next start does not declare it again. While gaps.jsonl cannot be written, as on a full disk, the
// janitor deletes one chunk at a time, and what it has deleted is declared as soon as possible. It deletes nothing.

import { repeating } from "../system/held_lines.ts";
import type { Logger } from "../system/log.ts";
import { CHUNK_DIRS, type ChunkDir, type ChunkName } from "../chunk/chunk_name.ts";
import type { GapRecord } from "../status/gap_log.ts";
import { isDelivered } from "./retention.ts";
import type { Spool } from "./spool.ts";

/** Up to this many chunks share a line in gaps.jsonl, and its sync. */
const MOST_AT_ONCE = 16;

/** A chunk that is to be deleted. */
export interface Doomed {
  readonly dir: ChunkDir;
  readonly name: ChunkName;
}

export type Cause = "evicted" | "expired";

export class Declarations {
  readonly #spool: Pick<Spool, "gaps" | "sending">;
  readonly #log: Logger;
  /** Keys of chunks that are declared and not deleted yet. */
  readonly #declared = new Set<string>();
  /** What earlier runs have declared, until the first complete pass; null: not read yet. */
  #before: readonly GapRecord[] | null = null;
  #isWorking = true;

  constructor(spool: Pick<Spool, "gaps" | "sending">, log: Logger) {
    this.#spool = spool;
    this.#log = log;
  }

  /** How many chunks may be declared, or deleted after that, together: fewer if they could not be declared. */
  get mostAtOnce(): number {
    return this.#isWorking ? MOST_AT_ONCE : 1;
  }

  /**
   * Declares undelivered chunks as missing, the oldest first: of each folder one gap, from the first chunk to the
   * last. A failure is logged, and those gaps are written with the next ones.
   */
  async declare(doomed: readonly Doomed[], cause: Cause): Promise<void> {
    // What cannot be synced is declared again.
    this.#before ??= (await this.#spool.gaps.syncedLast().catch(() => [])).filter(isDeletion);
    const records: GapRecord[] = [];
    for (const dir of CHUNK_DIRS.filter((dir) => !isDelivered(dir))) {
      const names = doomed.filter((chunk) => chunk.dir === dir).map(({ name }) => name)
        .filter((name) => !this.#isDeclared(name) && !this.#spool.sending.has(name.key));
      for (const { key } of names) this.#declared.add(key);
      records.push(...gapOf(names, cause));
    }
    await this.#append(records.sort((a, b) => a.start < b.start ? -1 : 1));
  }

  /** This chunk has been deleted. */
  deleted({ key }: ChunkName): void {
    this.#declared.delete(key);
  }

  /** A pass is over. @param isComplete what the last run has declared last is deleted, if it was still there. */
  async passed(isComplete: boolean): Promise<void> {
    if (isComplete) this.#before = [];
    await this.#append([]);
  }

  async #append(records: readonly GapRecord[]): Promise<void> {
    try {
      await this.#spool.gaps.append(...records);
      this.#isWorking = true;
    } catch (error) {
      this.#isWorking = false;
      const fields = repeating("gaps.jsonl", { file: "gaps.jsonl", error: String(error) });
      this.#log.warning("{file} cannot be written.", fields);
    }
  }

  #isDeclared(name: ChunkName): boolean {
    return this.#declared.has(name.key) ||
      this.#before?.some((gap) => includes(gap, name)) === true;
  }
}

/** @param names in order. */
function gapOf(names: readonly ChunkName[], cause: Cause): GapRecord[] {
  const [first, last] = [names[0], names.at(-1)];
  if (first === undefined || last === undefined) return [];
  return [{
    start: new Date(startMs(first)).toISOString(),
    end: new Date(endMs(last)).toISOString(),
    ms: Math.round(names.reduce((sum, { durationUs }) => sum + durationUs, 0) / 1000),
    cause,
  }];
}

/** Whether the gap is one of deleted chunks that joined: it means every chunk between its ends. */
function isDeletion({ start, end, ms, cause }: GapRecord): boolean {
  const isWhole = Math.abs(Date.parse(end) - Date.parse(start) - ms) <= 2;
  return isWhole && (cause === "evicted" || cause === "expired");
}

/** Times in gaps.jsonl are whole milliseconds. */
function includes({ start, end }: GapRecord, name: ChunkName): boolean {
  return Date.parse(start) <= startMs(name) && endMs(name) < Date.parse(end) + 1;
}

function startMs({ startUnixUs }: ChunkName): number {
  return startUnixUs / 1000;
}

function endMs({ startUnixUs, durationUs }: ChunkName): number {
  return (startUnixUs + durationUs) / 1000;
}
