// How much sealed sound lies in a directory of the spool. It only names the values.

/** What is in a directory of the spool. */
export interface Tally {
  files: number;
  bytes: number;
  /** Sound in them, microseconds. */
  durationUs: number;
}
