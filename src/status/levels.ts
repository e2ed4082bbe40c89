// How loud a stretch of sound was, and when that counts as silence. Pure; the measuring is done elsewhere.

/** What digital silence measures; 16 bits reach down to -90 dB, and JSON has no -Infinity. */
export const FLOOR_DBFS = -120;

/** Levels in dB relative to full scale: 0 is the loudest there is, FLOOR_DBFS the lowest. */
export interface Levels {
  readonly peakDbfs: number;
  readonly rmsDbfs: number;
}

/**
 * A peak below 16 of 32,768 steps: exact zeros, or the noise of a converter with no microphone behind
 * it (-72 to -90 dBFS). An empty shop at night, which has a fridge, a street and a clock, is louder.
 */
const SILENT_PEAK_DBFS = -66;

/** Whether a microphone that is there hears nothing. */
export function isSilent(levels: Levels): boolean {
  return levels.peakDbfs < SILENT_PEAK_DBFS;
}
