// Declares in gaps.jsonl what the janitor deletes undelivered, before it is deleted and a few chunks at a time, so
// that nothing is missing without a declaration. From before the declaration until after the deletion the chunks
// are reserved: none of them is sent, so that nothing is declared and then delivered. The exceptions:
// - While gaps.jsonl cannot be written, as on a full disk, the janitor deletes one chunk at a time, and what it has
//   deleted is declared as soon as possible.
// - A chunk that the disk does not delete stays declared, is sent when its turn comes, and is not declared again by
//   this run.
// - A chunk that was declared just before a power cut is still there after it. The next start does not declare it
//   again, unless the janitor could keep it at first: then it may be sent.
// It deletes nothing.

import { repeating } from "../system/held_lines.ts";
import type { Logger } from "../system/log.ts";
import { sizeOf } from "../system/disk.ts";
import { CHUNK_DIRS, type ChunkDir, type ChunkName, formatChunkName } from "../chunk/chunk_name.ts";
import type { GapRecord } from "../status/gap_log.ts";
import { isDelivered } from "./retention.ts";
import type { Spool } from "./spool.ts";

/** A chunk that is to be deleted. */
export interface Doomed {
  readonly dir: ChunkDir;
  readonly name: ChunkName;
}

export type Cause = "evicted" | "expired";

type SpoolPart = Pick<Spool, "gaps" | "sending" | "deleting" | "accepted" | "path">;

export class Declarations {
  readonly #spool: SpoolPart;
  readonly #log: Logger;
  /** Keys of chunks that are declared and not deleted yet. */
  readonly #declared = new Set<string>();
  /** What earlier runs have declared, until the first complete pass; null: not read yet. */
  #before: readonly GapRecord[] | null = null;
  #isWorking = true;

  constructor(spool: SpoolPart, log: Logger) {
    this.#spool = spool;
    this.#log = log;
  }

  /**
   * Reserves chunks and declares the undelivered ones as missing, the oldest first: of each folder one gap, from
   * the first chunk to the last. What the server has accepted is not missing. A failure is logged, and those gaps
   * are written with the next ones. Returns the chunks that may be deleted, up to `release`: not those that are
   * being sent.
   */
  async declare(doomed: readonly Doomed[], cause: Cause): Promise<Doomed[]> {
    const free = doomed.filter(({ dir, name }) =>
      isDelivered(dir) || !this.#spool.sending.has(name.key)
    );
    // Nothing begins to be sent between that check and the reservation: there is no await.
    for (const { dir, name } of free) if (!isDelivered(dir)) this.#spool.deleting.add(name.key);
    // What cannot be synced is declared again.
    this.#before ??= (await this.#spool.gaps.syncedLast().catch(() => [])).filter(isDeletion);
    const records: GapRecord[] = [];
    for (const dir of CHUNK_DIRS.filter((dir) => !isDelivered(dir))) {
      const names: ChunkName[] = [];
      for (const chunk of free) {
        if (chunk.dir === dir && await this.#isMissingSoon(chunk)) names.push(chunk.name);
      }
      records.push(...gapOf(names, cause));
    }
    await this.#append(records.sort((a, b) => a.start < b.start ? -1 : 1));
    return free;
  }

  /** Tries again to write what could not be written, if there is something. */
  async retry(): Promise<void> {
    if (!this.#isWorking) await this.#append([]);
  }

  /** This chunk has been deleted. */
  deleted({ key }: ChunkName): void {
    this.#declared.delete(key);
  }

  /** What is reserved may be sent again, if it is still there. */
  release(): void {
    this.#spool.deleting.clear();
  }

  /**
   * A pass is over.
   * @param isComplete everything that must be deleted is deleted: what earlier runs have declared, too.
   */
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

  /** Whether the deletion of a chunk must be declared: it counts as declared from here on. */
  async #isMissingSoon({ dir, name }: Doomed): Promise<boolean> {
    if (this.#declared.has(name.key) || this.#spool.accepted.has(name.key)) return false;
    // It may have been delivered since it was chosen. If the disk does not say so, it may still be deleted.
    const size = await sizeOf(this.#spool.path(dir, formatChunkName(name))).catch(() => 0);
    if (size === null) return false;
    this.#declared.add(name.key);
    return this.#before?.some((gap) => includes(gap, name)) !== true;
  }
}

/** @param names in order. */
function gapOf(names: readonly ChunkName[], cause: Cause): GapRecord[] {
  const [first] = names;
  if (first === undefined) return [];
  return [{
    start: new Date(startMs(first)).toISOString(),
    // Of chunks that overlap, as the clock was set back, the first may end last.
    end: new Date(Math.max(...names.map(endMs))).toISOString(),
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
