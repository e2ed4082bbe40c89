// Caps the rate at which the requests in flight send together (`upload_max_kbps`): each asks before it
// sends a piece, and waits for its turn. It counts what the program sends; TLS and TCP add a few percent.

import type { Clock } from "./clock.ts";

/** A piece takes at most this long, so that the line is shared evenly with others. */
const PIECE_MS = 250;
const LEAST_PIECE = 512;

export class RateCap {
  readonly #clock: Clock;
  /** Bytes a millisecond. */
  readonly #rate: number;
  /** When the pieces that were granted are over. */
  #busyUntilMs = -Infinity;

  constructor(kbps: number, clock: Clock) {
    this.#rate = kbps / 8;
    this.#clock = clock;
  }

  /** Waits until up to `bytes` may be sent, in the order of the calls; returns how many. */
  async take(bytes: number, signal: AbortSignal): Promise<number> {
    const granted = Math.min(bytes, Math.max(LEAST_PIECE, Math.floor(this.#rate * PIECE_MS)));
    const nowMs = this.#clock.monotonicMs();
    const startMs = Math.max(nowMs, this.#busyUntilMs);
    this.#busyUntilMs = startMs + granted / this.#rate;
    if (startMs > nowMs) await this.#clock.sleep(startMs - nowMs, signal);
    return granted;
  }
}
