// Reads the PCM that ffmpeg hands back over a socket, into a meter: when the sound has come and this
// process is awake for it anyhow, as what belongs to it is then there. A wake of its own for each piece
// cost as much as the sound itself. It decides nothing and never holds the sound up.

import type { FfmpegSocket } from "./ffmpeg_socket.ts";
import type { LevelMeter } from "./level_meter.ts";

/** A second of PCM at 48 kHz. */
const BUFFER_BYTES = 98_304;
/**
 * So long it waits to be asked: a socket that is full makes ffmpeg wait for this reader, and then no sound
 * comes for which it would be asked. Linux's holds two seconds.
 */
const UNASKED_MS = 1000;

export class LevelsReader {
  readonly #socket: FfmpegSocket;
  readonly #unaskedMs: number;
  readonly #read: Promise<void>;
  #isOver = false;
  /** It was asked to look while it did. */
  #isAsked = false;
  #lookNow: (() => void) | null = null;

  constructor(
    socket: FfmpegSocket,
    meter: Pick<LevelMeter, "push">,
    unaskedMs = UNASKED_MS,
  ) {
    this.#socket = socket;
    this.#unaskedMs = unaskedMs;
    this.#read = this.#readInto(meter);
  }

  /** Takes what has arrived. */
  look(): void {
    this.#isAsked = true;
    this.#lookNow?.();
  }

  /** ffmpeg has ended: reads the rest. */
  async end(): Promise<void> {
    this.#isOver = true;
    this.look();
    await this.#socket.ended();
    await this.#read;
  }

  /** Reads no more. */
  async close(): Promise<void> {
    this.#isOver = true;
    this.look();
    await this.#socket.close();
    await this.#read;
  }

  async #readInto(meter: Pick<LevelMeter, "push">): Promise<void> {
    const buffer = new Uint8Array(BUFFER_BYTES);
    for (let count; (count = await this.#socket.read(buffer)) !== null;) {
      meter.push(buffer.subarray(0, count));
      // A full buffer: there is more.
      if (count < buffer.length) await this.#asked();
    }
    await this.#socket.close();
  }

  async #asked(): Promise<void> {
    if (!this.#isAsked && !this.#isOver) {
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, this.#unaskedMs);
        this.#lookNow = () => {
          clearTimeout(timer);
          resolve();
        };
      });
      this.#lookNow = null;
    }
    this.#isAsked = false;
  }
}
