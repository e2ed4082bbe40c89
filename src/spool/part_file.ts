// A chunk while it is being recorded: a file in recording/ that grows by whole appends, and is sealed
// into outbox/ or thrown away. Every step may be tried again after it has failed; when to do so is its
// owner's decision.

import { join } from "@std/path/join";
import type { ChunkName } from "../chunk/chunk_name.ts";
import { removeIfThere, sizeOf, syncDirectory, writeAll } from "../system/disk.ts";

/** Where finished files go; the spool is one. */
export interface Outbox {
  admit(fromPath: string, name: ChunkName): Promise<string>;
  syncAdmitted(): Promise<void>;
}

export class PartFile {
  readonly #outbox: Outbox;
  readonly #file: Deno.FsFile;
  readonly #path: string;
  #sizeBytes = 0;
  /** Whether the next write goes where the last whole append ended. */
  #isAtEnd = true;
  #entrySynced = false;
  #sealedAs: string | null = null;

  constructor(outbox: Outbox, file: Deno.FsFile, path: string) {
    this.#outbox = outbox;
    this.#file = file;
    this.#path = path;
  }

  get sizeBytes(): number {
    return this.#sizeBytes;
  }

  /** @throws as the disk does (full, broken); it may be tried again: nothing is written twice. */
  async append(bytes: Uint8Array): Promise<void> {
    if (!this.#isAtEnd) await this.#file.seek(this.#sizeBytes, Deno.SeekMode.Start);
    this.#isAtEnd = false;
    await writeAll(this.#file, bytes);
    this.#isAtEnd = true;
    this.#sizeBytes += bytes.length;
  }

  /**
   * fdatasync: what was appended survives a power cut. It may run beside an append: by a handle of its
   * own, as Deno does one thing after the other with each.
   */
  async sync(): Promise<void> {
    try {
      using file = await Deno.open(this.#path, { read: true });
      await file.syncData();
    } catch (error) {
      if (error instanceof Deno.errors.NotFound) return; // sealed, discarded or deleted meanwhile
      throw error;
    }
    if (this.#entrySynced) return;
    await syncDirectory(join(this.#path, ".."));
    this.#entrySynced = true;
  }

  /**
   * Makes the finished file visible in outbox/, durably, and closes it; null if someone has deleted
   * it. May be tried again when it has failed.
   */
  async seal(name: ChunkName): Promise<string | null> {
    if (this.#sealedAs === null) {
      await this.#file.sync();
      if (await sizeOf(this.#path) === null) {
        this.#file.close();
        return null;
      }
      this.#sealedAs = await this.#outbox.admit(this.#path, name);
    }
    await this.#outbox.syncAdmitted();
    this.#file.close();
    return this.#sealedAs;
  }

  /** Closes the file and leaves it in recording/, to be recovered at the next start. */
  abandon(): void {
    this.#file.close();
  }

  /** Removes the file and closes it: it holds no sound. */
  async discard(): Promise<void> {
    await removeIfThere(this.#path);
    this.#file.close();
  }
}
