// What the microphone really heard, and when: this module plays noise that never repeats to it, and a
// second program records the same device the whole time. Any piece of a recording can be found in it,
// exact to the sample, and at one place only. It knows nothing about agents, chunks or their times.

import type { PulseMicrophone } from "../fixtures/pulse_microphone.ts";

/** The sample rate of the witness, Hz; the noise is completely below half of it. */
export const WITNESS_RATE = 8000;
/** Below this correlation two pieces are not the same sound: by chance, noise of 0.2 s has at most 0.1. */
const SAME = 0.5;
/** Arrivals within this distance of a moment determine which sample was heard then, ms. */
const NEAR_MS = 3000;

/** The place of a piece of a recording. */
export interface Place {
  /** The sample of the witness at which the piece begins. */
  readonly at: number;
  /** Normalized; 1 means equal. */
  readonly correlation: number;
}

/** Plays noise to a microphone and records it; stop it with `await using`. */
export class Witness implements AsyncDisposable {
  readonly #child: Deno.ChildProcess;
  readonly #read: Promise<void>;
  readonly #noise: AsyncDisposable;
  readonly #pieces: Int16Array[] = [];
  /** The number of samples that had arrived at each time of `performance.now()`. */
  readonly #arrivals: { readonly atMs: number; readonly samples: number }[] = [];
  #samples = 0;
  #heard = new Float32Array(0);

  private constructor(microphone: PulseMicrophone, seed: number) {
    this.#noise = microphone.playNoise(seed);
    // As nice as the player: what it hears must not depend on how busy the machine is.
    this.#child = new Deno.Command("nice", {
      args: [
        ...["-n", "-10", "parec", "--device", "mic.monitor", "--raw", "--format=s16le"],
        `--rate=${WITNESS_RATE}`,
        ...["--channels=1", "--latency-msec=10"],
      ],
      env: microphone.env,
      stdin: "null",
      stdout: "piped",
      stderr: "null",
    }).spawn();
    this.#read = this.#readAll();
  }

  /** `seed` determines the noise. Resolves when the witness hears it. */
  static async start(microphone: PulseMicrophone, seed: number): Promise<Witness> {
    const witness = new Witness(microphone, seed);
    while (witness.#samples < WITNESS_RATE / 2) await new Promise((r) => setTimeout(r, 20));
    return witness;
  }

  /** The sample that was heard at a time of `performance.now()`; fractions do not matter. */
  sampleAt(atMs: number): number {
    const near = this.#arrivals.filter((arrival) => Math.abs(arrival.atMs - atMs) < NEAR_MS);
    // No sample arrives before it was heard: the arrival with the least delay gives the best time.
    return near.reduce(
      (most, { atMs: arrivedMs, samples }) =>
        Math.max(most, samples + (atMs - arrivedMs) * WITNESS_RATE / 1000),
      0,
    );
  }

  /** The time of `performance.now()` at which a sample was heard. */
  timeOf(sample: number): number {
    const index = this.#arrivals.findIndex(({ samples }) => samples >= sample);
    const atMs = this.#arrivals[index]?.atMs ?? NaN;
    return atMs + (sample - this.sampleAt(atMs)) * 1000 / WITNESS_RATE;
  }

  /** Searches for a piece within `reach` samples of `around`; null if it is not there. */
  find(piece: Float32Array, around: number, reach: number): Place | null {
    const heard = this.#all();
    const energy = Math.sqrt(piece.reduce((sum, value) => sum + value * value, 0));
    const from = Math.max(0, Math.round(around - reach));
    const to = Math.min(heard.length - piece.length, Math.round(around + reach));
    let best: Place = { at: from, correlation: -1 };
    let square = 0;
    for (let i = 0; i < piece.length; i++) square += (heard[from + i] ?? 0) ** 2;
    for (let at = from; at <= to; at++) {
      let product = 0;
      for (let i = 0; i < piece.length; i++) product += (heard[at + i] ?? 0) * (piece[i] ?? 0);
      const correlation = product / (energy * Math.sqrt(square) + 1e-9);
      if (correlation > best.correlation) best = { at, correlation };
      square += (heard[at + piece.length] ?? 0) ** 2 - (heard[at] ?? 0) ** 2;
    }
    return best.correlation < SAME ? null : best;
  }

  /** Ends the noise and the recording; the recorded sound stays available. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.#noise[Symbol.asyncDispose]();
    try {
      this.#child.kill("SIGKILL");
    } catch { /* it went with the microphone */ }
    await this.#child.status;
    await this.#read;
  }

  /** All sound until now, in one piece. */
  #all(): Float32Array {
    if (this.#heard.length < this.#samples) {
      this.#heard = new Float32Array(this.#samples);
      let at = 0;
      for (const piece of this.#pieces) {
        for (const value of piece) this.#heard[at++] = value / 32768;
      }
    }
    return this.#heard;
  }

  async #readAll(): Promise<void> {
    let odd = new Uint8Array(0);
    for await (const bytes of this.#child.stdout) {
      const whole = new Uint8Array(odd.length + bytes.length);
      whole.set(odd);
      whole.set(bytes, odd.length);
      const even = whole.length - whole.length % 2;
      this.#pieces.push(new Int16Array(whole.slice(0, even).buffer));
      odd = whole.slice(even);
      this.#samples += even / 2;
      this.#arrivals.push({ atMs: performance.now(), samples: this.#samples });
    }
  }
}
