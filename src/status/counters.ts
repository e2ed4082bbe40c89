// Counters that only the monitoring of a fleet uses. They take a fixed amount of memory: their keys
// (causes, results) come from short lists in this program, never from outside.

/** Upper bounds of the classes in which upload times are counted, seconds. */
export const UPLOAD_BOUNDS_S = [0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30] as const;

export class Counters {
  /** How often ffmpeg was started. */
  captureStarts = 0;
  /** How often ffmpeg ended, by reason. */
  readonly captureEnds = new Map<string, number>();
  /** Missing sound by cause, milliseconds. */
  readonly missingMs = new Map<string, number>();
  /** Attempts to deliver a chunk, by result. */
  readonly attempts = new Map<string, number>();
  /** How many attempts took at most UPLOAD_BOUNDS_S, and how many took longer. */
  readonly attemptsWithin: number[] = new Array(UPLOAD_BOUNDS_S.length + 1).fill(0);
  attemptsMs = 0;
  /** Delivered chunks that were deleted. */
  deliveredDeleted = 0;
  /** Free space when the janitor last measured it; null before the first time. */
  freeBytes: number | null = null;

  captureEnded(reason: string): void {
    add(this.captureEnds, reason, 1);
  }

  missing(cause: string, ms: number): void {
    add(this.missingMs, cause, ms);
  }

  /** Counts an attempt to deliver a chunk, which took `ms`. */
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
