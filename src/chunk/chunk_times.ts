// When the sound of a chunk was recorded, on both clocks. A type only.

/** When the sound of a chunk was recorded: UTC and monotonic. */
export interface ChunkTimes {
  readonly startUnixUs: number;
  readonly endUnixUs: number;
  /** The same times on the monotonic clock. */
  readonly startMs: number;
  readonly endMs: number;
  /** Missing sound between the previous chunk of the same stream and this one; 0 if there is none. */
  readonly gapMs: number;
}
