// How much sealed sound is in a directory of the spool. It only defines the type.

/** What is in a directory of the spool. */
export interface Tally {
  files: number;
  bytes: number;
  /** Sound in them, microseconds. */
  durationUs: number;
}
