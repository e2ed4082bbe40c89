// Measures loudness: peak and RMS of a chunk, from its samples. Pure: it receives PCM and sample numbers,
// and never opens a device.

import { decibels, type Levels } from "../status/levels.ts";
import { concatBytes } from "../system/concat_bytes.ts";

/** Samples at 48 kHz in one bin: 20 ms, the length of a packet. */
const BIN_SAMPLES = 960;
/** Bins of 20 ms in one live level; there are ten levels per second. */
const LIVE_BINS = 5;

/** Collects signed 16-bit little-endian mono samples of one stream and returns levels chunk by chunk. */
export class LevelMeter {
  readonly #binLength: number;
  /** The first byte of a sample whose second byte has not arrived yet. */
  #half = new Uint8Array(0);
  #bins: { peak: number; squares: number }[] = [];
  #firstBin = 0;
  #filled = 0;
  #peak = 0;
  #squares = 0;
  readonly #onLevels: (levels: Levels) => void;
  #live: { peak: number; squares: number }[] = [];

  /**
   * @param sampleRate of the samples pushed, Hz; a multiple of 50.
   * @param onLevels is called with the level of each LIVE_BINS bins as soon as they are full.
   */
  constructor(sampleRate: number, onLevels: (levels: Levels) => void = () => {}) {
    this.#binLength = sampleRate / 50;
    this.#onLevels = onLevels;
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

  /** Adds samples of one bin, or of a part of it. */
  #add(samples: Int16Array): void {
    let peak = this.#peak;
    let squares = 0;
    // An index and Math.max take half the time of an iterator and a comparison.
    for (let at = 0; at < samples.length; at++) {
      const sample = samples[at] ?? 0;
      peak = Math.max(peak, Math.abs(sample));
      squares += sample * sample;
    }
    this.#peak = peak;
    this.#squares += squares;
    this.#filled += samples.length;
    if (this.#filled < this.#binLength) return;
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
