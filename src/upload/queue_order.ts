// Decides which waiting chunk is sent next: the oldest one, unless the server fails on that chunk alone.
// Such a chunk is passed over and tried again at intervals; it stays in outbox/. Pure: it knows chunks by
// their keys, and neither sends nor waits.
//
// To find the cause of failures: after the oldest chunk has failed eight times, the next chunk is tried
// in its place (a probe). If the probe fails too, the cause may be the server, the network or the second
// chunk as well, and the next probe uses the chunk after that. If a probe is accepted, the oldest chunk is
// tried once more, because the server may just have come back. If it fails again, the chunk is the cause.

/** After this many failures of the oldest chunk, another chunk is tried once. */
export const PROBE_AFTER = 8;
/** If more chunks than this fail, the chunks are not the cause. */
const MAX_PASSED_OVER = 100;
/** How many failed probes are remembered. */
const MAX_PROBED = 100;

const NONE = { key: "", times: 0 };

export class QueueOrder {
  readonly #intervalMs: number;
  /** The oldest chunk, and how often it has failed since the last acceptance or probe. */
  #failing = NONE;
  /** Chunks that failed as a probe since a chunk was last accepted. */
  readonly #probed = new Set<string>();
  /** The oldest chunk, after a probe was accepted: it has one more try. */
  #onTrial: string | null = null;
  /** Keys; the first one is tried again next. */
  readonly #passedOver = new Set<string>();
  #againFromMs = 0;

  /** @param intervalMs between two attempts with any of the chunks that are passed over. */
  constructor(intervalMs: number) {
    this.#intervalMs = intervalMs;
  }

  /** Keys of the chunks that are passed over. */
  get passedOver(): ReadonlySet<string> {
    return this.#passedOver;
  }

  /** The suspect, or a chunk that is passed over and due for another try; else null. */
  dueAgain(nowMs: number): string | null {
    const [key] = this.#passedOver;
    return this.#onTrial ?? (key === undefined || nowMs < this.#againFromMs ? null : key);
  }

  /** Whether this chunk, the oldest, has failed often enough for a probe. */
  isSuspect(key: string): boolean {
    return key === this.#failing.key && this.#failing.times >= PROBE_AFTER;
  }

  /** Whether this chunk can serve as a probe: it has not been tried as one. */
  isUnknown(key: string): boolean {
    return key !== this.#failing.key && !this.#probed.has(key) && !this.#passedOver.has(key);
  }

  /**
   * The server failed on this chunk or did not answer, but it did not refuse the chunk. Returns true if
   * the chunk is passed over from now on.
   * @param waitMs the delay that the server asked for; it counts for a chunk that is passed over.
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
      this.#failing = { key: oldest, times: 0 }; // its tries continue
    } else this.#failing = { key, times: 1 };
    return false;
  }

  /** The server accepted this chunk. */
  accepted(key: string, nowMs: number): void {
    const { key: suspect } = this.#failing;
    if (key !== suspect && this.isSuspect(suspect)) this.#onTrial = suspect;
    this.#failing = NONE;
    this.#probed.clear();
    // Whatever made the server fail on it may be over for the others, too.
    if (this.#passedOver.has(key)) this.#againFromMs = nowMs;
    this.forget(key);
  }

  /** The failures so far say nothing about the chunks. */
  absolve(): void {
    this.#failing = NONE;
    this.#probed.clear();
    this.#onTrial = null;
  }

  /** This chunk does not wait any longer. */
  forget(key: string): void {
    this.#passedOver.delete(key);
    if (this.#failing.key === key) this.#failing = NONE;
    if (this.#onTrial === key) this.#onTrial = null;
  }
}
