// Measures loudness: peak, RMS, noise floor and clipping of a chunk, from its samples. Pure: it receives PCM and
// sample numbers, and never opens a device. The mean of each bin is subtracted: a microphone without a capsule
// gives a constant, which is not a sound.

import { decibels, type SoundLevels } from "../status/levels.ts";
import { concatBytes } from "../system/concat_bytes.ts";

/** Samples at 48 kHz in one bin: 20 ms, the length of a packet. */
const BIN_SAMPLES = 960;
/** Bins of 20 ms in one live level; there are ten levels per second. */
const LIVE_BINS = 5;
/** A sample at or beyond this is at full scale: rounding by a filter may have taken a few steps off. */
const CLIPPED = 32_760;

/** What is known of 20 ms; in units of a sample, peak and variance without the mean. */
interface Bin {
  readonly peak: number;
  readonly variance: number;
  readonly mean: number;
  readonly clipped: number;
}

/** Collects signed 16-bit little-endian mono samples of one stream and returns levels chunk by chunk. */
export class LevelMeter {
  readonly #binLength: number;
  /** The first byte of a sample whose second byte has not arrived yet. */
  #half = new Uint8Array(0);
  #bins: Bin[] = [];
  #firstBin = 0;
  #filled = 0;
  // Infinity would make numbers with a fraction of the whole ones in the loop below, at half the speed.
  #highest = -32768;
  #lowest = 32767;
  #sum = 0;
  #squares = 0;
  #clipped = 0;
  readonly #isTaken: boolean;
  readonly #onLevels: (levels: SoundLevels) => void;
  #live: Bin[] = [];

  /**
   * @param sampleRate of the samples pushed, Hz; a multiple of 50.
   * @param onLevels is called with the level of each LIVE_BINS bins as soon as they are full.
   * @param options.isTaken false if `take()` is never called: then nothing is kept for it.
   */
  constructor(
    sampleRate: number,
    onLevels: (levels: SoundLevels) => void = () => {},
    { isTaken = true }: { readonly isTaken?: boolean } = {},
  ) {
    this.#binLength = sampleRate / 50;
    this.#onLevels = onLevels;
    this.#isTaken = isTaken;
  }

  /** Adds the next bytes of the stream; they may be split anywhere. */
  push(bytes: Uint8Array): void {
    const whole = this.#half.length === 0 ? bytes : concatBytes([this.#half, bytes]);
    const count = whole.length >> 1;
    this.#half = whole.slice(count * 2);
    const aligned = whole.byteOffset % 2 === 0 ? whole : whole.slice();
    // Little-endian, as is every machine that Deno runs on.
    const samples = new Int16Array(aligned.buffer, aligned.byteOffset, count);
    for (let at = 0; at < count;) {
      const end = Math.min(count, at + this.#binLength - this.#filled);
      this.#add(samples.subarray(at, end));
      at = end;
    }
  }

  /**
   * Levels of the samples since the last call up to `endSample` (48 kHz, from the stream's start), as far
   * as they have arrived; null if none have.
   */
  take(endSample: number): SoundLevels | null {
    const count = Math.max(0, Math.round(endSample / BIN_SAMPLES) - this.#firstBin);
    const bins = this.#bins.splice(0, count);
    this.#firstBin += bins.length;
    return bins.length === 0 ? null : this.#levelsOf(bins);
  }

  #levelsOf(bins: readonly Bin[]): SoundLevels {
    let [peak, variances, clipped, offset] = [0, 0, 0, 0];
    for (const bin of bins) {
      peak = Math.max(peak, bin.peak);
      variances += bin.variance;
      clipped += bin.clipped;
      if (Math.abs(bin.mean) > Math.abs(offset)) offset = bin.mean;
    }
    const quietest = bins.map(({ variance }) => variance).sort((a, b) => a - b);
    return {
      peakDbfs: decibels(peak / 32768),
      rmsDbfs: decibels(Math.sqrt(variances / bins.length) / 32768),
      floorDbfs: decibels(Math.sqrt(quietest[Math.floor(bins.length / 10)] ?? 0) / 32768),
      clippedShare: clipped / (bins.length * this.#binLength),
      offset: offset / 32768,
    };
  }

  /** Adds samples of one bin, or of a part of it. */
  #add(samples: Int16Array): void {
    let highest = this.#highest;
    let lowest = this.#lowest;
    let sum = 0;
    let squares = 0;
    // An index and Math.max take half the time of an iterator and a comparison; whole numbers stay such.
    for (let at = 0; at < samples.length; at++) {
      const sample = samples[at] ?? 0;
      highest = Math.max(highest, sample);
      lowest = Math.min(lowest, sample);
      sum = (sum + sample) | 0;
      squares += sample * sample;
    }
    if (highest >= CLIPPED || lowest <= -CLIPPED) {
      for (const sample of samples) if (Math.abs(sample) >= CLIPPED) this.#clipped++;
    }
    [this.#highest, this.#lowest] = [highest, lowest];
    this.#sum += sum;
    this.#squares += squares;
    this.#filled += samples.length;
    if (this.#filled === this.#binLength) this.#endBin();
  }

  #endBin(): void {
    const mean = this.#sum / this.#binLength;
    const bin = {
      peak: Math.max(this.#highest - mean, mean - this.#lowest),
      variance: Math.max(0, this.#squares / this.#binLength - mean * mean),
      mean,
      clipped: this.#clipped,
    };
    [this.#filled, this.#sum, this.#squares, this.#clipped] = [0, 0, 0, 0];
    [this.#highest, this.#lowest] = [-32768, 32767];
    if (this.#isTaken) this.#bins.push(bin);
    if (this.#live.push(bin) < LIVE_BINS) return;
    this.#onLevels(this.#levelsOf(this.#live));
    this.#live = [];
  }
}
