// Reads the PCM that ffmpeg writes to a socket, and passes it to a meter. It reads after sound has arrived:
// this process is awake then, and the PCM of that sound is available. A separate wake-up for each piece
// cost as much processor time as the sound itself. It decides nothing and never delays the sound.

import type { FfmpegSocket } from "./ffmpeg_socket.ts";
import type { LevelMeter } from "./level_meter.ts";

/** A second of PCM at 48 kHz. */
const BUFFER_BYTES = 98_304;
/**
 * How long the reader waits for a call of look(), ms. When the socket is full, ffmpeg waits for this reader
 * and delivers no sound, and without sound nobody calls look(). A socket of Linux holds two seconds of PCM.
 */
const UNASKED_MS = 1000;

export class LevelsReader {
  readonly #socket: FfmpegSocket;
  readonly #unaskedMs: number;
  readonly #read: Promise<void>;
  #isOver = false;
  /** look() was called during a read. */
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

  /** Reads the PCM that has arrived. */
  look(): void {
    this.#isAsked = true;
    this.#lookNow?.();
  }

  /** Call this when ffmpeg has ended: reads the rest. */
  async end(): Promise<void> {
    this.#isOver = true;
    this.look();
    await this.#socket.ended();
    await this.#read;
  }

  /** Stops reading. */
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
      // A full buffer: more PCM is waiting.
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
