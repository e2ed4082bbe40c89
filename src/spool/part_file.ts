// A chunk while it is being recorded: a file in recording/ that grows by whole appends, and is sealed into
// outbox/ or discarded. Every step may be tried again after it has failed; its owner decides when. After a
// sync that failed, everything is written once more before the next one: see `rewrite`.

import { join } from "@std/path/join";
import type { ChunkName } from "../chunk/chunk_name.ts";
import {
  ifThere,
  removeIfThere,
  rewrite,
  sizeOf,
  syncDirectory,
  writeAll,
} from "../system/disk.ts";

/** Where finished files go; the spool implements it. */
export interface Outbox {
  admit(fromPath: string, name: ChunkName): Promise<string>;
  syncAdmitted(): Promise<void>;
}

export class PartFile {
  readonly #outbox: Outbox;
  readonly #file: Deno.FsFile;
  readonly #path: string;
  #sizeBytes = 0;
  /** Whether the file position is where the last whole append ended. */
  #isAtEnd = true;
  #entrySynced = false;
  /** Whether a sync has failed since the last one that succeeded. */
  #isUnsure = false;
  /** What changes bytes that are in the file goes one after the other. */
  #lastChange: Promise<void> = Promise.resolve();
  #sealedAs: string | null = null;

  constructor(outbox: Outbox, file: Deno.FsFile, path: string) {
    this.#outbox = outbox;
    this.#file = file;
    this.#path = path;
  }

  get sizeBytes(): number {
    return this.#sizeBytes;
  }

  /** @throws the error of the disk (full, broken). May be called again: nothing is written twice. */
  async append(bytes: Uint8Array): Promise<void> {
    if (!this.#isAtEnd) await this.#file.seek(this.#sizeBytes, Deno.SeekMode.Start);
    this.#isAtEnd = false;
    await writeAll(this.#file, bytes);
    this.#isAtEnd = true;
    this.#sizeBytes += bytes.length;
  }

  /** Replaces bytes at the start of the file, within those that were appended. May be called again. */
  replaceStart(bytes: Uint8Array): Promise<void> {
    this.#isAtEnd = false;
    return this.#change(async () => {
      await this.#file.seek(0, Deno.SeekMode.Start);
      await writeAll(this.#file, bytes);
    });
  }

  /**
   * fdatasync: the appended bytes survive a power cut. It may run during an append: it opens a handle of
   * its own, because Deno runs the operations of one handle one after the other.
   */
  async sync(): Promise<void> {
    using file = await ifThere(Deno.open(this.#path, { read: true }));
    if (file === null) return; // sealed, discarded or deleted meanwhile
    await this.#sync(() => file.syncData());
    if (this.#entrySynced) return;
    await syncDirectory(join(this.#path, ".."));
    this.#entrySynced = true;
  }

  /**
   * Makes the finished file visible in outbox/, durably, and closes it; null if another process has
   * deleted it. May be called again after it has failed.
   */
  async seal(name: ChunkName): Promise<string | null> {
    if (this.#sealedAs === null) {
      if (await sizeOf(this.#path) === null) {
        this.#file.close();
        return null;
      }
      await this.#sync(() => this.#file.sync());
      this.#sealedAs = await this.#outbox.admit(this.#path, name);
    }
    await this.#outbox.syncAdmitted();
    this.#file.close();
    return this.#sealedAs;
  }

  async #sync(sync: () => Promise<void>): Promise<void> {
    if (this.#isUnsure) await this.#change(() => rewrite(this.#path));
    this.#isUnsure = true;
    await sync();
    this.#isUnsure = false;
  }

  #change(change: () => Promise<void>): Promise<void> {
    const done = this.#lastChange.then(change);
    this.#lastChange = done.catch(() => {});
    return done;
  }

  /** Closes the file and leaves it in recording/. The next start recovers it. */
  abandon(): void {
    this.#file.close();
  }

  /** Removes the file and closes it, because it has no sound. */
  async discard(): Promise<void> {
    await removeIfThere(this.#path);
    this.#file.close();
  }
}
