// Which of the waiting chunks is sent next: the oldest, unless the server fails on that one alone. Such
// a chunk is passed over and tried again at intervals; it never leaves outbox/ for that. Pure: it knows
// chunks by their keys, and neither sends nor waits.
//
// Who is at fault? If the oldest has failed eight times, the one behind it is tried. If that fails too,
// it may be the server, or the network, or that one as well: next time it is the one behind that. If one
// is accepted, the oldest is tried once more, as the server may just have come back; only if it fails
// then it is the chunk.

/** After so many failures of the oldest chunk, one attempt is made with another. */
export const PROBE_AFTER = 8;
/** If more chunks than this fail, it is not the chunks. */
const MAX_PASSED_OVER = 100;
/** So many that failed in the place of the oldest are remembered. */
const MAX_PROBED = 100;

const NONE = { key: "", times: 0 };

export class QueueOrder {
  readonly #intervalMs: number;
  /** The oldest chunk, and how often it failed since it or another was accepted or probed. */
  #failing = NONE;
  /** Failed in the place of the oldest since any chunk was accepted. */
  readonly #probed = new Set<string>();
  /** The oldest, after another has been accepted in its place: it has one more try. */
  #onTrial: string | null = null;
  /** Keys; the first of them is the next to be tried again. */
  readonly #passedOver = new Set<string>();
  #againFromMs = 0;

  /** @param intervalMs between two attempts with chunks that are passed over, all of them together. */
  constructor(intervalMs: number) {
    this.#intervalMs = intervalMs;
  }

  /** Keys of the chunks that are passed over. */
  get passedOver(): ReadonlySet<string> {
    return this.#passedOver;
  }

  /** The suspect, or one of those passed over, if it is time to try that; or null. */
  dueAgain(nowMs: number): string | null {
    const [key] = this.#passedOver;
    return this.#onTrial ?? (key === undefined || nowMs < this.#againFromMs ? null : key);
  }

  /** Whether this, the oldest, failed so often that another is to show who is at fault. */
  isSuspect(key: string): boolean {
    return key === this.#failing.key && this.#failing.times >= PROBE_AFTER;
  }

  /** Whether this one may show it: it has not been tried for that. */
  isUnknown(key: string): boolean {
    return key !== this.#failing.key && !this.#probed.has(key) && !this.#passedOver.has(key);
  }

  /**
   * The server failed on this chunk, or did not answer: nothing that it says of the chunk itself.
   * Returns true if it is passed over from now on.
   * @param waitMs what the server asked for, if the chunk is one that is passed over.
   */
  failed(key: string, nowMs: number, waitMs = 0): boolean {
    if (key === this.#onTrial && this.#passedOver.size < MAX_PASSED_OVER) {
      this.#onTrial = null;
      if (this.#passedOver.size === 0) this.#againFromMs = nowMs + this.#intervalMs;
      this.#passedOver.add(key);
      return true;
    }
    this.#onTrial = null;
    if (this.#passedOver.delete(key)) {
      this.#passedOver.add(key); // behind the others
      this.#againFromMs = nowMs + Math.max(this.#intervalMs, waitMs);
      return false;
    }
    const { key: oldest, times } = this.#failing;
    if (key === oldest) this.#failing = { key, times: times + 1 };
    else if (times >= PROBE_AFTER) {
      if (this.#probed.size >= MAX_PROBED) this.#probed.clear();
      this.#probed.add(key);
      this.#failing = { key: oldest, times: 0 }; // it is tried on
    } else this.#failing = { key, times: 1 };
    return false;
  }

  /** The server took this chunk. */
  accepted(key: string, nowMs: number): void {
    const { key: suspect } = this.#failing;
    if (key !== suspect && this.isSuspect(suspect)) this.#onTrial = suspect;
    this.#failing = NONE;
    this.#probed.clear();
    // What was wrong with it may be over for the others, too.
    if (this.#passedOver.has(key)) this.#againFromMs = nowMs;
    this.forget(key);
  }

  /** What failed until now says nothing about chunks. */
  absolve(): void {
    this.#failing = NONE;
    this.#probed.clear();
    this.#onTrial = null;
  }

  /** This chunk does not wait any more. */
  forget(key: string): void {
    this.#passedOver.delete(key);
    if (this.#failing.key === key) this.#failing = NONE;
    if (this.#onTrial === key) this.#onTrial = null;
  }
}
