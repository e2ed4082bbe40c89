// Loudness: peak and RMS of a chunk from the samples that went into it. Pure: it is given PCM and
// sample numbers, and never hears a device.

/** What digital silence measures; 16 bits reach down to -90 dB, and JSON has no -Infinity. */
export const FLOOR_DBFS = -120;

/** Levels in dB relative to full scale: 0 is the loudest there is, FLOOR_DBFS the lowest. */
export interface Levels {
  readonly peakDbfs: number;
  readonly rmsDbfs: number;
}

/** Samples at 48 kHz in one bin: 20 ms, the length of a packet. */
const BIN_SAMPLES = 960;
/** Bins of 20 ms that make one live level: ten a second. */
const LIVE_BINS = 5;

/**
 * A peak below 16 of 32,768 steps: exact zeros, or the noise of a converter with no microphone behind
 * it (-72 to -90 dBFS). An empty shop at night, which has a fridge, a street and a clock, is louder.
 */
const SILENT_PEAK_DBFS = -66;

export function isSilent(levels: Levels): boolean {
  return levels.peakDbfs < SILENT_PEAK_DBFS;
}

/** Collects signed 16-bit little-endian mono samples of one stream and answers chunk by chunk. */
export class LevelMeter {
  readonly #binLength: number;
  #odd: number | null = null;
  #bins: { peak: number; squares: number }[] = [];
  #firstBin = 0;
  #filled = 0;
  #peak = 0;
  #squares = 0;
  readonly #onLevels: (levels: Levels) => void;
  #live: { peak: number; squares: number }[] = [];

  /**
   * @param sampleRate of the samples pushed, Hz; a multiple of 50.
   * @param onLevels is told of each LIVE_BINS as soon as they are full.
   */
  constructor(sampleRate: number, onLevels: (levels: Levels) => void = () => {}) {
    this.#binLength = sampleRate / 50;
    this.#onLevels = onLevels;
  }

  /** The next bytes of the stream, split anywhere. */
  push(bytes: Uint8Array): void {
    let at = 0;
    if (this.#odd !== null && bytes.length > 0) {
      this.#add(((bytes[0] ?? 0) << 24 >> 16) | this.#odd);
      this.#odd = null;
      at = 1;
    }
    for (; at + 1 < bytes.length; at += 2) {
      this.#add(((bytes[at + 1] ?? 0) << 24 >> 16) | (bytes[at] ?? 0));
    }
    if (at < bytes.length) this.#odd = bytes[at] ?? 0;
  }

  /**
   * Levels of what was heard since the last call up to `endSample` (48 kHz, from the stream's
   * start), as far as it has arrived; null if nothing has.
   */
  take(endSample: number): Levels | null {
    const count = Math.max(0, Math.round(endSample / BIN_SAMPLES) - this.#firstBin);
    const bins = this.#bins.splice(0, count);
    this.#firstBin += bins.length;
    return bins.length === 0 ? null : this.#levelsOf(bins);
  }

  #levelsOf(bins: readonly { peak: number; squares: number }[]): Levels {
    const peak = bins.reduce((max, bin) => Math.max(max, bin.peak), 0);
    const squares = bins.reduce((sum, bin) => sum + bin.squares, 0);
    return {
      peakDbfs: decibels(peak / 32768),
      rmsDbfs: decibels(Math.sqrt(squares / (bins.length * this.#binLength)) / 32768),
    };
  }

  #add(sample: number): void {
    const magnitude = Math.abs(sample);
    if (magnitude > this.#peak) this.#peak = magnitude;
    this.#squares += sample * sample;
    if (++this.#filled < this.#binLength) return;
    const bin = { peak: this.#peak, squares: this.#squares };
    this.#bins.push(bin);
    this.#filled = 0;
    this.#peak = 0;
    this.#squares = 0;
    if (this.#live.push(bin) < LIVE_BINS) return;
    this.#onLevels(this.#levelsOf(this.#live));
    this.#live = [];
  }
}

function decibels(ratio: number): number {
  return Math.max(FLOOR_DBFS, Math.round(200 * Math.log10(ratio)) / 10);
}
