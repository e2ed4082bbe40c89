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
    const single = (channel: number) => this.#levelOf(samples, channel, channel);
    return {
      channels: Array.from({ length: this.#count }, (_, channel) => single(channel)),
      pairRmsDbfs: this.#count === 2 ? this.#levelOf(samples, 0, 1).rmsDbfs : single(0).rmsDbfs,
    };
  }

  /** The level of the average of two channels, which may be the same one. */
  #levelOf(samples: Int16Array, one: number, other: number) {
    let [sum, squares, highest, lowest] = [0, 0, -32768, 32767];
    for (let at = 0; at < samples.length; at += this.#count) {
      const sample = ((samples[at + one] ?? 0) + (samples[at + other] ?? 0)) / 2;
      sum += sample;
      squares += sample * sample;
      highest = Math.max(highest, sample);
      lowest = Math.min(lowest, sample);
    }
    const mean = sum / this.#frames;
    return {
      peakDbfs: decibels(Math.max(highest - mean, mean - lowest) / 32768),
      rmsDbfs: decibels(Math.sqrt(Math.max(0, squares / this.#frames - mean * mean)) / 32768),
    };
  }
}
