// How loud a stretch of sound was, and what counts as silence. Pure; src/capture/level_meter.ts measures.

/** The level of digital silence; 16 bits reach down to -90 dB, and JSON has no -Infinity. */
export const FLOOR_DBFS = -120;

/** Levels in dB relative to full scale: 0 is the highest value, FLOOR_DBFS the lowest. */
export interface Levels {
  readonly peakDbfs: number;
  readonly rmsDbfs: number;
}

/** Everything that is measured of a stretch of sound. Peak, RMS and noise floor are without the mean. */
export interface SoundLevels extends Levels {
  /** The mean of the samples where it is furthest from 0; 1 is full scale. */
  readonly offset: number;
  /** Share of the samples at full scale, 0 to 1. */
  readonly clippedShare: number;
  /** RMS that a tenth of the stretch does not exceed. */
  readonly floorDbfs: number;
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

/** Whether nothing is heard in this stretch. */
export function isSilent(levels: Pick<Levels, "peakDbfs">): boolean {
  return levels.peakDbfs < SILENT_PEAK_DBFS;
}
