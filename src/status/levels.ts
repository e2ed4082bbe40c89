// How loud a stretch of sound was, and what counts as silence. Pure; src/capture/level_meter.ts measures.

/** The level of digital silence; 16 bits reach down to -90 dB, and JSON has no -Infinity. */
export const FLOOR_DBFS = -120;

/** Levels in dB relative to full scale: 0 is the highest value, FLOOR_DBFS the lowest. */
export interface Levels {
  readonly peakDbfs: number;
  readonly rmsDbfs: number;
}

/** A ratio to full scale in dB, to one decimal place. */
export function decibels(ratio: number): number {
  return Math.max(FLOOR_DBFS, Math.round(200 * Math.log10(ratio)) / 10);
}

/**
 * A peak below 16 of 32,768 steps: exact zeros, or the noise of a converter without a microphone (-72 to
 * -90 dBFS). An empty shop at night is louder: it has a fridge, a street and a clock.
 */
export const SILENT_PEAK_DBFS = -66;

/** Whether a connected microphone delivers only silence. */
export function isSilent(levels: Levels): boolean {
  return levels.peakDbfs < SILENT_PEAK_DBFS;
}
