// The file of an upload: its size, its SHA-256 and its bytes in pieces. It is read from the disk twice, as
// it is hashed and as it is sent, with one kept buffer, so that its size does not matter for memory; a file
// that changes meanwhile is noticed. It sends nothing.

import { createHash } from "node:crypto";
import { MAX_CHUNK_BYTES } from "../chunk/chunk_file.ts";
import { TooLargeError } from "../system/disk.ts";
import { BodyFailure } from "../system/client_connection.ts";
import { messageOf } from "../system/error_text.ts";

const BUFFER_BYTES = 131_072;
/** How much of the beginning is kept: the header and the tags of a chunk. */
const HEAD_BYTES = 16_384;

/** A file that can be sent. Close it. */
export interface UploadFile {
  readonly sizeBytes: number;
  /** Its beginning. */
  readonly head: Uint8Array;
  /** In base64. @throws {FileFailure}; the reason of the signal: a large file takes seconds. */
  sha256(signal: AbortSignal): Promise<string>;
  /** Its bytes, from the beginning. The next piece overwrites each one. @throws {FileFailure} */
  pieces(): AsyncIterable<Uint8Array<ArrayBuffer>>;
  close(): void;
}

/** The file cannot be read to its end, or has changed. */
export class FileFailure extends BodyFailure {
  override readonly name = "FileFailure";
}

/** Opens files for uploads, with buffers that it keeps: what each upload allocates would stay for long. */
export class UploadFiles {
  readonly #free: Uint8Array<ArrayBuffer>[] = [];

  /**
   * Opens a regular file. A link, a pipe or a device is never opened: reading it could wait forever.
   * @throws an error of the disk, `Deno.errors.NotFound` for instance; an error if it is not a regular file;
   * {TooLargeError} if it is larger than a chunk can be.
   */
  async open(path: string): Promise<UploadFile> {
    const { isFile, size } = await Deno.lstat(path);
    if (!isFile) throw new Error("it is not a regular file");
    if (size > MAX_CHUNK_BYTES) {
      throw new TooLargeError(`it is larger than a chunk can be: ${size} bytes`);
    }
    const file = await Deno.open(path, { read: true });
    const buffer = this.#free.pop() ?? new Uint8Array(BUFFER_BYTES);
    const opened = new OpenFile(file, buffer, () => this.#free.push(buffer));
    try {
      await opened.begin();
    } catch (error) {
      opened.close();
      throw error;
    }
    return opened;
  }
}

/** A file of these bytes. */
export function inMemory(bytes: Uint8Array<ArrayBuffer>): UploadFile {
  return {
    sizeBytes: bytes.length,
    head: bytes.subarray(0, HEAD_BYTES),
    sha256: () => Promise.resolve(createHash("sha256").update(bytes).digest("base64")),
    async *pieces() {
      yield bytes;
    },
    close() {},
  };
}

class OpenFile implements UploadFile {
  readonly #file: Deno.FsFile;
  readonly #buffer: Uint8Array<ArrayBuffer>;
  readonly #onFree: () => void;
  /** The latest read: it may write into the buffer even after an attempt was given up. */
  #reading: Promise<number | null> = Promise.resolve(0);
  #isClosed = false;
  #mtimeMs = 0;
  sizeBytes = 0;
  head: Uint8Array = new Uint8Array(0);

  constructor(file: Deno.FsFile, buffer: Uint8Array<ArrayBuffer>, onFree: () => void) {
    this.#file = file;
    this.#buffer = buffer;
    this.#onFree = onFree;
  }

  async begin(): Promise<void> {
    const { size, mtime } = await this.#file.stat();
    this.sizeBytes = size;
    this.#mtimeMs = mtime?.getTime() ?? 0;
    this.head = this.#buffer.slice(0, await this.#read(HEAD_BYTES) ?? 0);
  }

  async sha256(signal: AbortSignal): Promise<string> {
    const hash = createHash("sha256");
    for await (const piece of this.pieces()) {
      signal.throwIfAborted();
      hash.update(piece);
    }
    return hash.digest("base64");
  }

  async *pieces(): AsyncGenerator<Uint8Array<ArrayBuffer>> {
    let left = this.sizeBytes;
    try {
      await this.#file.seek(0, Deno.SeekMode.Start);
      while (left > 0) {
        const size = await this.#read(Math.min(left, BUFFER_BYTES));
        left -= size ?? 0;
        // Before the last piece goes out: without it the server has no complete request.
        if (size === null || left === 0) await this.#refuseChange(left);
        yield this.#buffer.subarray(0, size ?? 0);
      }
    } catch (error) {
      if (error instanceof FileFailure) throw error;
      throw new FileFailure(`the file cannot be read: ${messageOf(error)}`);
    }
  }

  async #refuseChange(left: number): Promise<void> {
    const { size, mtime } = await this.#file.stat();
    const isSame = left === 0 && size === this.sizeBytes && mtime?.getTime() === this.#mtimeMs;
    if (!isSame) throw new FileFailure("the file changed while it was sent");
  }

  #read(most: number): Promise<number | null> {
    this.#reading = this.#file.read(this.#buffer.subarray(0, most));
    return this.#reading;
  }

  close(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#file.close();
    this.#reading.catch(() => {}).then(this.#onFree);
  }
}
