// A Unix socket to which ffmpeg writes one of its outputs. A read costs half as much as a read from a
// child's stdout, which goes through a web stream, and sound is read all day. This module does not
// interpret the bytes.

import { removeIfThereSync } from "../system/disk.ts";

export class FfmpegSocket {
  readonly path: string;
  readonly #listener: Deno.UnixListener;
  /** Null if ffmpeg ended without connecting, or the socket was closed before. */
  readonly #connection: Promise<Deno.UnixConn | null>;
  #isListening = true;

  private constructor(path: string, listener: Deno.UnixListener) {
    this.path = path;
    this.#listener = listener;
    this.#connection = this.#accept();
  }

  /**
   * Null if the socket cannot be created: the path is too long, a foreign file is there, or the file system
   * does not support sockets. Then `onFailure` is called with the reason.
   */
  static listen(
    path: string,
    onFailure: (error: unknown) => void = () => {},
  ): FfmpegSocket | null {
    try {
      removeIfThereSync(path); // left by a process that was killed
      return new FfmpegSocket(path, Deno.listen({ transport: "unix", path }));
    } catch (error) {
      onFailure(error);
      return null;
    }
  }

  /** Waits for bytes; resolves with their number, or with null at the end of the output. Never rejects. */
  async read(buffer: Uint8Array): Promise<number | null> {
    try {
      return await (await this.#connection)?.read(buffer) ?? null;
    } catch {
      return null; // the connection is broken or closed
    }
  }

  /**
   * Call this when ffmpeg has ended. `read()` then returns the remaining bytes and null, even if ffmpeg
   * never connected.
   */
  async ended(): Promise<void> {
    if (!this.#isListening) return;
    try {
      // If ffmpeg's own connection has not been accepted yet, this one is queued after it.
      (await Deno.connect({ transport: "unix", path: this.path })).close();
    } catch { /* it no longer listens */ }
  }

  /** Ends a read in progress. May be called more than once. */
  async close(): Promise<void> {
    this.#listenNoMore();
    try {
      (await this.#connection)?.close();
    } catch { /* it is already closed */ }
  }

  /** Accepts one connection, then frees the path for the next ffmpeg. */
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
    } catch { /* the next listen() tries again */ }
  }
}
