// Measures each channel of a microphone for itself: peak and RMS without the mean. Pure: it receives PCM, and
// never opens a device.

import type { ChannelLevels } from "../microphone/channel_choice.ts";
import { concatBytes } from "../system/concat_bytes.ts";
import { decibels } from "../status/levels.ts";

/** Collects interleaved signed 16-bit little-endian samples, and reports every `frames` of them. */
export class ChannelMeter {
  readonly #count: number;
  readonly #frames: number;
  readonly #onLevels: (levels: ChannelLevels) => void;
  #rest = new Uint8Array(0);

  /** @param frames samples per channel in one stretch that is reported. */
  constructor(count: number, frames: number, onLevels: (levels: ChannelLevels) => void) {
    this.#count = count;
    this.#frames = frames;
    this.#onLevels = onLevels;
  }

  /** Adds the next bytes; they may be split anywhere. */
  push(bytes: Uint8Array): void {
    const whole = concatBytes([this.#rest, bytes]);
    const length = this.#count * this.#frames * 2;
    let at = 0;
    // Little-endian, as is every machine that Deno runs on.
    for (; at + length <= whole.length; at += length) {
      this.#onLevels(this.#measure(new Int16Array(whole.slice(at, at + length).buffer)));
    }
    this.#rest = whole.slice(at);
  }

  #measure(samples: Int16Array): ChannelLevels {
    const columns = Array.from({ length: this.#count }, () => new Float64Array(this.#frames));
    for (let at = 0, frame = 0; frame < this.#frames; frame++) {
      for (const column of columns) column[frame] = samples[at++] ?? 0;
    }
    const channels = columns.map(levelOf);
    // Of more than two channels no pair is averaged: the first one stands for it.
    const [left, right] = columns.length === 2 ? columns : [];
    const pair = left && right
      ? levelOf(left.map((value, frame) => (value + (right[frame] ?? 0)) / 2))
      : channels[0];
    return { channels, pairRmsDbfs: pair?.rmsDbfs ?? 0 };
  }
}

/** Peak and RMS of 16-bit values, without their mean. */
function levelOf(values: Float64Array): { peakDbfs: number; rmsDbfs: number } {
  let [sum, squares, highest, lowest] = [0, 0, -32768, 32767];
  for (const value of values) {
    sum += value;
    squares += value * value;
    highest = Math.max(highest, value);
    lowest = Math.min(lowest, value);
  }
  const mean = sum / values.length;
  return {
    peakDbfs: decibels(Math.max(highest - mean, mean - lowest) / 32768),
    rmsDbfs: decibels(Math.sqrt(Math.max(0, squares / values.length - mean * mean)) / 32768),
  };
}
