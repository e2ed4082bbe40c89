// When the sound of a chunk was heard, on both clocks. It only names the values.

/** When the sound of a chunk was heard, UTC and monotonic. */
export interface ChunkTimes {
  readonly startUnixUs: number;
  readonly endUnixUs: number;
  /** The same on the monotonic clock. */
  readonly startMs: number;
  readonly endMs: number;
  /** How much is missing between the chunk before, of this stream, and this one; 0 if nothing. */
  readonly gapMs: number;
}
