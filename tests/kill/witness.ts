// What the microphone really heard, and when: noise that never repeats is played to it, and a second
// program records the same device all along. Any piece of a recording is recognized in that, to the
// sample, and thereby told from all other moments. It knows nothing of agents, chunks or their times.

import type { PulseMicrophone } from "../fixtures/pulse_microphone.ts";

/** Hz at which the witness keeps what it heard; the noise is all below half of it. */
export const WITNESS_RATE = 8000;
/** Below this, what is compared is not the same sound: noise of 0.2 s has 0.1 at most by chance. */
const SAME = 0.5;
/** Arrivals this far from a moment tell which sample was heard at it, ms. */
const NEAR_MS = 3000;

/** Where a piece of a recording was found. */
export interface Place {
  /** Sample of the witness at which the piece begins. */
  readonly at: number;
  /** Normalized, 1: the same. */
  readonly correlation: number;
}

/** Plays noise to a microphone and records it; stop it with `await using`. */
export class Witness implements AsyncDisposable {
  readonly #child: Deno.ChildProcess;
  readonly #read: Promise<void>;
  readonly #noise: AsyncDisposable;
  readonly #pieces: Int16Array[] = [];
  /** How many samples had been heard at which time of `performance.now()`. */
  readonly #arrivals: { readonly atMs: number; readonly samples: number }[] = [];
  #samples = 0;
  #heard = new Float32Array(0);

  private constructor(microphone: PulseMicrophone, seed: number) {
    this.#noise = microphone.playNoise(seed);
    this.#child = new Deno.Command("parec", {
      args: [
        ...["--device", "mic.monitor", "--raw", "--format=s16le", `--rate=${WITNESS_RATE}`],
        ...["--channels=1", "--latency-msec=10"],
      ],
      env: microphone.env,
      stdin: "null",
      stdout: "piped",
      stderr: "null",
    }).spawn();
    this.#read = this.#readAll();
  }

  /** `seed` chooses the noise. Resolves once it is heard. */
  static async start(microphone: PulseMicrophone, seed: number): Promise<Witness> {
    const witness = new Witness(microphone, seed);
    while (witness.#samples < WITNESS_RATE / 2) await new Promise((r) => setTimeout(r, 20));
    return witness;
  }

  /** The sample that was heard at a time of `performance.now()`; fractions do not matter. */
  sampleAt(atMs: number): number {
    const near = this.#arrivals.filter((arrival) => Math.abs(arrival.atMs - atMs) < NEAR_MS);
    // Nothing arrives before it was heard: the arrival that waited least tells the time best.
    return near.reduce(
      (most, { atMs: arrivedMs, samples }) =>
        Math.max(most, samples + (atMs - arrivedMs) * WITNESS_RATE / 1000),
      0,
    );
  }

  /** Time of `performance.now()` at which a sample was heard. */
  timeOf(sample: number): number {
    const index = this.#arrivals.findIndex(({ samples }) => samples >= sample);
    const atMs = this.#arrivals[index]?.atMs ?? NaN;
    return atMs + (sample - this.sampleAt(atMs)) * 1000 / WITNESS_RATE;
  }

  /** Looks for a piece within `reach` samples of `around`; null if it is not there. */
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

  /** Ends the noise and the recording; what was heard can still be asked for. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.#noise[Symbol.asyncDispose]();
    try {
      this.#child.kill("SIGKILL");
    } catch { /* it went with the microphone */ }
    await this.#child.status;
    await this.#read;
  }

  /** Everything until now, in one piece. */
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
