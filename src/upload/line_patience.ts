// How long the client waits while nothing moves on a connection. The time limit alone would be wrong: what
// was written may still be under way in the buffers of the kernel, of a proxy or of a modem, and no program
// sees it move there. So the wait is the time limit and the time that a slow line would take for these
// bytes. How slow the line is follows from the last delivery; after a failure nothing is known, and the
// slowest line that can carry the sound is assumed. State: a rate. Pure.

/** The most that all buffers on the way hold; Linux grows that of one socket up to 4 MiB. */
const MAX_BUFFERED_BYTES = 16 * 1024 * 1024;
/** A line may become this much slower than at the last delivery, for instance by other requests. */
const MARGIN = 4;
/** No slower line is waited for, bytes a second: 4 kbit/s, less than the lowest bitrate of Opus. */
const LEAST_RATE = 500;

/** How far an attempt is. */
export interface Progress {
  /** The whole request, bytes. */
  readonly sizeBytes: number;
  /** The sound in it, ms. */
  readonly durationMs: number;
  /** Bytes that were given to the connection. */
  readonly writtenBytes: number;
  /** Time since the first of them, ms, without waits of our own. */
  readonly sendingMs: number;
}

export class LinePatience {
  /** Bytes a second; 0 if nothing is known. */
  #rate = 0;

  /** A request was answered. The time includes the server's, so the line is not slower. */
  delivered(bytes: number, tookMs: number): void {
    this.#rate = bytes * 1000 / Math.max(1, tookMs);
  }

  /** A request got no answer. */
  failed(): void {
    this.#rate = 0;
  }

  /** How long nothing may move, ms. @param limitMs the limit on a line without buffers. */
  silenceMs(limitMs: number, progress: Progress): number {
    const { sizeBytes, durationMs, writtenBytes, sendingMs } = progress;
    const unseen = Math.min(writtenBytes, MAX_BUFFERED_BYTES);
    const own = sizeBytes * 1000 / Math.max(1, durationMs);
    const seen = (writtenBytes - unseen) * 1000 / Math.max(1, sendingMs);
    const rate = Math.max(LEAST_RATE, own, this.#rate / MARGIN, seen / MARGIN);
    return limitMs + unseen * 1000 / rate;
  }
}
