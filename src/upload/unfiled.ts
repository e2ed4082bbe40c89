// Chunks that the server has accepted and that could not be moved out of their directory, as with a damaged
// entry of it. They are not sent again while the program runs, only filed again from time to time; the next
// start no longer knows them and sends them once more, under the same key. The janitor may delete one of them:
// that counts as no loss. It knows names, and touches no file.

import type { ChunkName } from "../chunk/chunk_name.ts";

/** If more cannot be filed, the disk is the cause, and not their names. */
const MAX_UNFILED = 100;

/** An accepted chunk; its file may have got another time in its name meanwhile. */
export interface Accepted {
  readonly dir: "outbox" | "rejected";
  readonly name: ChunkName;
}

export class Unfiled {
  readonly #chunks: Map<string, Accepted>;
  readonly #intervalMs: number;
  #dueMs: number;
  /** The last error of the disk. */
  error: unknown = null;

  /**
   * @param intervalMs between two attempts to file them.
   * @param chunks all of them, by key; an earlier uploader may have left some.
   */
  constructor(intervalMs: number, chunks: Map<string, Accepted>) {
    this.#intervalMs = intervalMs;
    this.#chunks = chunks;
    this.#dueMs = chunks.size > 0 ? -Infinity : Infinity;
  }

  /** Whether nothing more may be sent until one of them is filed. */
  get isFull(): boolean {
    return this.#chunks.size >= MAX_UNFILED;
  }

  /** How many there are. */
  get size(): number {
    return this.#chunks.size;
  }

  /** How many of them are in outbox/. */
  get waiting(): number {
    return this.#chunks.values().filter(({ dir }) => dir === "outbox").toArray().length;
  }

  /** How many of them are in rejected/. */
  get refused(): number {
    return this.size - this.waiting;
  }

  has(key: string): boolean {
    return this.#chunks.has(key);
  }

  add({ dir, name }: Accepted, error: unknown, nowMs: number): void {
    this.#chunks.set(name.key, { dir, name });
    this.error = error;
    if (this.#dueMs === Infinity) this.#dueMs = nowMs + this.#intervalMs;
  }

  /** It was filed, or is gone. */
  delete(key: string): void {
    this.#chunks.delete(key);
    if (this.#chunks.size === 0) this.#dueMs = Infinity;
  }

  /** Those that are to be filed now: all of them, once in an interval. */
  take(nowMs: number): readonly Accepted[] {
    if (nowMs < this.#dueMs) return [];
    this.#dueMs = nowMs + this.#intervalMs;
    return [...this.#chunks.values()];
  }
}
