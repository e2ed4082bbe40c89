// A unix socket to which ffmpeg writes one of its outputs. A read takes half of what one from a child's
// stdout takes, where a web stream lies in between; sound comes all day. It knows nothing of what is
// written.

import { removeIfThereSync } from "../system/disk.ts";

export class FfmpegSocket {
  readonly path: string;
  readonly #listener: Deno.UnixListener;
  /** Null if ffmpeg ended without connecting, or nobody waits for it any more. */
  readonly #connection: Promise<Deno.UnixConn | null>;
  #isListening = true;

  private constructor(path: string, listener: Deno.UnixListener) {
    this.path = path;
    this.#listener = listener;
    this.#connection = this.#accept();
  }

  /** Null if it cannot be made: the path is too long, a foreign file is there, the disk has no sockets. */
  static listen(path: string): FfmpegSocket | null {
    try {
      removeIfThereSync(path); // of a process that was killed
      return new FfmpegSocket(path, Deno.listen({ transport: "unix", path }));
    } catch {
      return null;
    }
  }

  /** Waits for bytes; resolves with their number, or with null when there are no more. Never rejects. */
  async read(buffer: Uint8Array): Promise<number | null> {
    try {
      return await (await this.#connection)?.read(buffer) ?? null;
    } catch {
      return null; // broken off, or closed
    }
  }

  /** ffmpeg has ended: what it has written is read to its end, even if it never came to connect. */
  async ended(): Promise<void> {
    if (!this.#isListening) return;
    try {
      // Behind ffmpeg's own connection, if that one has not been accepted yet.
      (await Deno.connect({ transport: "unix", path: this.path })).close();
    } catch { /* it does not listen any more */ }
  }

  /** Ends a read that is under way. May be called again. */
  async close(): Promise<void> {
    this.#listenNoMore();
    try {
      (await this.#connection)?.close();
    } catch { /* it is closed */ }
  }

  /** One connection, and then the path is free for the next ffmpeg's. */
  async #accept(): Promise<Deno.UnixConn | null> {
    try {
      return await this.#listener.accept();
    } catch {
      return null;
    } finally {
      this.#listenNoMore();
    }
  }

  #listenNoMore(): void {
    if (!this.#isListening) return;
    this.#isListening = false;
    this.#listener.close();
    try {
      removeIfThereSync(this.path);
    } catch { /* the next one tries again */ }
  }
}
