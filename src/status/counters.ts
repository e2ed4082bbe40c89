// Counts that nobody but a fleet's monitoring asks for. They take a fixed amount of memory: what they
// are kept by (causes, results) comes from short lists in this program, never from outside.

/** Upper bounds of the classes in which upload times are counted, seconds. */
export const UPLOAD_BOUNDS_S = [0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30] as const;

export class Counters {
  /** ffmpeg was started so often. */
  captureStarts = 0;
  /** And ended, by the reason. */
  readonly captureEnds = new Map<string, number>();
  /** Sound that is missing, by the cause; milliseconds. */
  readonly missingMs = new Map<string, number>();
  /** Attempts to deliver a chunk, by what came of them. */
  readonly attempts = new Map<string, number>();
  /** How many attempts took at most UPLOAD_BOUNDS_S, and how many took longer. */
  readonly attemptsWithin: number[] = new Array(UPLOAD_BOUNDS_S.length + 1).fill(0);
  attemptsMs = 0;
  /** Start of the chunk that the uploader took last, Unix ms. */
  oldestWaitingMs: number | null = null;
  /** As the janitor saw it last; null: not yet. */
  freeBytes: number | null = null;

  captureEnded(reason: string): void {
    add(this.captureEnds, reason, 1);
  }

  missing(cause: string, ms: number): void {
    add(this.missingMs, cause, ms);
  }

  /** An attempt to deliver a chunk took `ms`. */
  attempted(result: string, ms: number): void {
    add(this.attempts, result, 1);
    this.attemptsMs += ms;
    const found = UPLOAD_BOUNDS_S.findIndex((boundS) => ms <= boundS * 1000);
    const index = found < 0 ? UPLOAD_BOUNDS_S.length : found;
    this.attemptsWithin[index] = (this.attemptsWithin[index] ?? 0) + 1;
  }
}

function add(counts: Map<string, number>, key: string, count: number): void {
  counts.set(key, (counts.get(key) ?? 0) + count);
}
