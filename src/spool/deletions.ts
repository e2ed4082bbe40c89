// Counts recordings that were deleted, and delivered ones by the day of the deletion, so that an operator can show
// when recordings left the till. Pure: it deletes nothing, and its owner says the time.

import { type ChunkName, formatChunkName } from "../chunk/chunk_name.ts";

/** Chunks that were deleted. */
export class Deletions {
  chunks = 0;
  bytes = 0;
  seconds = 0;
  /** File names of the first and the last of them. */
  first = "";
  last = "";

  add(name: ChunkName, bytes: number): void {
    this.chunks++;
    this.bytes += bytes;
    this.seconds += name.durationUs / 1e6;
    this.last = formatChunkName(name);
    this.first ||= this.last;
  }
}

/** What was deleted on one day: UTC, `2026-11-29`. */
export type DayOfDeletions = { readonly day: string } & Omit<Deletions, "add">;

export class DeliveredDeletions {
  /** Since the start of the program. */
  chunks = 0;
  #pending: Deletions | null = null;
  #day: string | null = null;

  /** A delivered chunk was deleted. */
  add(name: ChunkName, bytes: number): void {
    this.chunks++;
    this.#pending ??= new Deletions();
    this.#pending.add(name, bytes);
  }

  /**
   * What was deleted on a day that is over, once; null: nothing, or the day is not over. To be called often
   * enough that no day is missed.
   * @param isLast the program ends: the present day is taken as it is.
   */
  takeDay(unixMs: number, isLast = false): DayOfDeletions | null {
    const day = this.#day ?? dayOf(unixMs);
    this.#day = dayOf(unixMs);
    const pending = this.#pending;
    if (pending === null || (day === this.#day && !isLast)) return null;
    this.#pending = null;
    return { day, ...pending };
  }
}

function dayOf(unixMs: number): string {
  return new Date(unixMs).toISOString().slice(0, 10);
}
