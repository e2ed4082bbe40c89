// Counts the delivered recordings that were deleted, by the day of the deletion, so that an operator can show
// when recordings left the till. Pure: it deletes nothing, and its owner says the time.

import { type ChunkName, formatChunkName } from "../chunk/chunk_name.ts";

/** What was deleted on one day. */
export interface DayOfDeletions {
  /** UTC, `2026-11-29`. */
  readonly day: string;
  readonly chunks: number;
  readonly bytes: number;
  readonly seconds: number;
  /** File names of the first and the last deleted chunk. */
  readonly first: string;
  readonly last: string;
}

export class DeliveredDeletions {
  /** Since the start of the program. */
  chunks = 0;
  #pending: Omit<DayOfDeletions, "day"> | null = null;
  #day: string | null = null;

  /** A delivered chunk was deleted. */
  add(name: ChunkName, bytes: number): void {
    const before = this.#pending;
    const fileName = formatChunkName(name);
    this.chunks++;
    this.#pending = {
      chunks: (before?.chunks ?? 0) + 1,
      bytes: (before?.bytes ?? 0) + bytes,
      seconds: (before?.seconds ?? 0) + name.durationUs / 1e6,
      first: before?.first ?? fileName,
      last: fileName,
    };
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
