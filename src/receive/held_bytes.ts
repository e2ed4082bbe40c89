// The bytes of an upload that is held in memory, in blocks: an array for each piece that arrives could take
// several hundred times its size. How much may be held, the owner decides (upload_memory.ts). Pure.

import { concatBytes } from "../system/concat_bytes.ts";

const BLOCK_BYTES = 65_536;

export class HeldBytes {
  /** Called with what is about to be held. May throw. */
  readonly #hold: (bytes: number) => void;
  #blocks: Uint8Array<ArrayBuffer>[] = [];
  /** Of the last block, how much is taken. */
  #used = BLOCK_BYTES;

  constructor(hold: (bytes: number) => void) {
    this.#hold = hold;
  }

  /** @throws what `hold` throws. */
  push(bytes: Uint8Array): void {
    this.#hold(bytes.length);
    for (let at = 0; at < bytes.length;) {
      if (this.#used === BLOCK_BYTES) {
        this.#blocks.push(new Uint8Array(BLOCK_BYTES));
        this.#used = 0;
      }
      const part = bytes.subarray(at, at + BLOCK_BYTES - this.#used);
      this.#blocks.at(-1)?.set(part, this.#used);
      this.#used += part.length;
      at += part.length;
    }
  }

  /** All bytes; the blocks are given up. */
  whole(): Uint8Array<ArrayBuffer> {
    const last = this.#blocks.pop()?.subarray(0, this.#used) ?? new Uint8Array(0);
    const whole = concatBytes([...this.#blocks, last]);
    this.#blocks = [];
    return whole;
  }

  clear(): void {
    this.#blocks = [];
    this.#used = BLOCK_BYTES;
  }
}
