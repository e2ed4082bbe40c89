// The bytes that arrive over one connection, in one buffer that is never larger than a piece of a body. It
// does not know what they mean, and closes nothing.

import { MAX_HEAD_BYTES } from "./http_request.ts";

const PIECE_BYTES = 65_536;

export class ConnectionInput {
  readonly #conn: Pick<Deno.Conn, "read">;
  readonly #head: Uint8Array<ArrayBuffer>;
  #buffer: Uint8Array<ArrayBuffer>;
  #start = 0;
  #end = 0;

  /** @param head a buffer of MAX_HEAD_BYTES. */
  constructor(conn: Pick<Deno.Conn, "read">, head: Uint8Array<ArrayBuffer>) {
    this.#conn = conn;
    this.#head = head;
    this.#buffer = head;
  }

  /** The bytes that arrived and were not taken. The next call of fill() or resize() overwrites them. */
  get bytes(): Uint8Array {
    return this.#buffer.subarray(this.#start, this.#end);
  }

  take(count: number): void {
    this.#start += count;
  }

  /** Makes room for pieces of a body, or gives it back as soon as no more than a head is in it. */
  resize(isLarge: boolean): void {
    const { bytes } = this;
    if (isLarge === (this.#buffer !== this.#head) || bytes.length > MAX_HEAD_BYTES) return;
    const buffer = isLarge ? new Uint8Array(PIECE_BYTES) : this.#head;
    buffer.set(bytes);
    [this.#buffer, this.#start, this.#end] = [buffer, 0, bytes.length];
  }

  /** Waits for more bytes, and returns how many came; null at the end of the input. */
  async fill(): Promise<number | null> {
    if (this.#start > 0) {
      this.#buffer.copyWithin(0, this.#start, this.#end);
      [this.#end, this.#start] = [this.#end - this.#start, 0];
    }
    const count = await this.#conn.read(this.#buffer.subarray(this.#end));
    this.#end += count ?? 0;
    return count;
  }
}
