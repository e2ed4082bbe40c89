// Keeps chunks in a folder, without an index and without a database: what a chunk is called follows from
// what its sender says, so the same chunk finds itself again, also after a restart.
//
//   DIR/POINT/REGISTER/DEVICE/2026-11-23/20261123T184500.123456Z_59993500us_KEY.ogg
//   DIR/POINT/REGISTER/DEVICE/.unsynchronized/KEY      where a chunk with an unsure time is
//   DIR/.incoming/…                                    files that arrive; emptied at the start
//
// A file appears under its name by one rename, when all of it is on the disk. Nothing here removes a chunk.

import { createHash } from "node:crypto";
import { join } from "@std/path/join";
import {
  exists,
  ifThere,
  readWholeText,
  removeIfThere,
  sizeOf,
  syncDirectory,
  takeLock,
  writeAll,
} from "../system/disk.ts";
import { messageOf } from "../system/error_text.ts";
import { KeyTurns } from "./key_turns.ts";
import {
  type ChunkFacts,
  type IncomingFile,
  isPlace,
  type Kept,
  placeOf,
  type Store,
  StoreFailure,
  UNSYNCHRONIZED,
} from "./store.ts";

/** A marker holds the path of one chunk. */
const MAX_MARKER_BYTES = 1024;
const INCOMING = ".incoming";
/** The group may read recordings, for instance a program that evaluates them; nobody else. */
const FILE_MODE = 0o640;
const DIR_MODE = 0o750;
const READ_BYTES = 65_536;
/** Folders that are known to be durable; a few hundred bytes each. */
const MAX_KNOWN_DIRS = 5000;

/** Another process keeps chunks in the folder. */
export class FolderLockedError extends Error {}

export class FolderStore implements Store, Disposable {
  readonly #dir: string;
  readonly #lock: Deno.FsFile;
  readonly #turns = new KeyTurns();
  /** Folders that exist and survive a power cut, or will soon. */
  readonly #known = new Map<string, Promise<void>>();

  private constructor(dir: string, lock: Deno.FsFile) {
    this.#dir = join(dir); // as join() writes it: without a slash at its end
    this.#lock = lock;
  }

  /**
   * Opens the folder, which is created if its parent exists, and removes what an earlier process left half
   * received.
   * @throws {FolderLockedError}; the error of the file system if the folder cannot be used.
   */
  static async open(dir: string): Promise<FolderStore> {
    const incoming = join(dir, INCOMING);
    const options = { create: true, read: true, write: true, mode: FILE_MODE };
    let lock: Deno.FsFile;
    try {
      for (const path of [dir, incoming]) await makeDir(path);
      lock = await Deno.open(join(incoming, "lock"), options);
    } catch (error) {
      throw new Error(
        `Cannot use ${dir} as this user must be able to create it and write in it: ` +
          messageOf(error),
      );
    }
    if (!await takeLock(lock)) {
      lock.close();
      throw new FolderLockedError(
        `Cannot use ${dir} as another recorder-agent receives into it: ` +
          `stop that one, or give this one another folder`,
      );
    }
    for await (const { name } of Deno.readDir(incoming)) {
      if (name !== "lock") await Deno.remove(join(incoming, name));
    }
    return new FolderStore(dir, lock);
  }

  /** Releases the folder. */
  [Symbol.dispose](): void {
    this.#lock.close();
  }

  async begin(): Promise<IncomingFile> {
    const path = join(this.#dir, INCOMING, `${crypto.randomUUID()}.part`);
    const file = await telling(() =>
      Deno.open(path, { createNew: true, write: true, mode: FILE_MODE })
    );
    return new ArrivingFile(path, file, (chunk, sha256) => this.#keep(path, chunk, sha256));
  }

  /** Uploads of one key are kept one after the other. */
  async #keep(path: string, chunk: ChunkFacts, sha256: Uint8Array): Promise<Kept> {
    return await this.#turns.take(chunk.key, () => this.#keepAlone(path, chunk, sha256));
  }

  async #keepAlone(path: string, chunk: ChunkFacts, sha256: Uint8Array): Promise<Kept> {
    const device = join(this.#dir, chunk.pointId, chunk.registerId, chunk.deviceId);
    const place = placeOf(chunk);
    const target = join(device, place);
    const marker = join(device, UNSYNCHRONIZED, chunk.key);
    const noted = await ifThere(readWholeText(marker, MAX_MARKER_BYTES));
    const earlier = noted !== null && isPlace(noted, chunk.key) && await exists(join(device, noted))
      ? noted
      : null;
    const found = earlier ?? (await exists(target) ? place : null);
    if (found !== null) {
      const old = join(device, found);
      if (!await isSame(old, path, sha256)) return { outcome: "conflict", place: this.#below(old) };
      const keeps = chunk.isProvisional ? found : place;
      if (keeps !== found && await exists(target) && !await isSame(target, path, sha256)) {
        return { outcome: "conflict", place: this.#below(target) }; // a move would overwrite it
      }
      await this.#ensureDir(join(device, keeps, ".."));
      if (keeps !== found) await Deno.rename(old, target); // it has its true time now
      // Also without a move: the process that made the name may have ended before its sync.
      await syncDirectory(join(device, keeps, ".."));
      if (keeps !== found) await syncDirectory(join(old, ".."));
      if (noted !== null && !chunk.isProvisional) await removeIfThere(marker);
      return { outcome: "repeated", place: this.#below(join(device, keeps)) };
    }
    await this.#ensureDir(join(target, ".."));
    if (chunk.isProvisional) await this.#note(marker, place);
    else if (noted !== null) await removeIfThere(marker);
    await Deno.rename(path, target);
    await syncDirectory(join(target, ".."));
    return { outcome: "stored", place: this.#below(target) };
  }

  /** A path without the store's folder. */
  #below(path: string): string {
    return path.slice(this.#dir.length + 1);
  }

  /** Writes durably where a chunk with an unsure time will be. */
  async #note(marker: string, place: string): Promise<void> {
    await this.#ensureDir(join(marker, ".."));
    const draft = join(this.#dir, INCOMING, `${crypto.randomUUID()}.note`);
    try {
      using file = await Deno.open(draft, { createNew: true, write: true, mode: FILE_MODE });
      await writeAll(file, new TextEncoder().encode(place));
      await file.syncData();
      await Deno.rename(draft, marker);
    } catch (error) {
      await removeIfThere(draft); // the client sends the chunk again, and each time makes another one
      throw error;
    }
    await syncDirectory(join(marker, ".."));
  }

  /** Creates the folders down to this one, durably. The folder may have been removed since it was known. */
  async #ensureDir(path: string): Promise<void> {
    if (this.#known.has(path) && !await exists(path)) this.#known.clear();
    if (this.#known.size > MAX_KNOWN_DIRS) this.#known.clear();
    if (path === this.#dir) return;
    let known = this.#known.get(path);
    if (known === undefined) {
      const parent = join(path, "..");
      known = this.#ensureDir(parent).then(async () => {
        await makeDir(path);
        await syncDirectory(parent);
      });
      this.#known.set(path, known);
      known.catch(() => this.#known.delete(path)); // the caller has the error
    }
    await known;
  }
}

class ArrivingFile implements IncomingFile {
  readonly #path: string;
  readonly #file: Deno.FsFile;
  readonly #keep: (chunk: ChunkFacts, sha256: Uint8Array) => Promise<Kept>;
  #isOpen = true;

  constructor(
    path: string,
    file: Deno.FsFile,
    keep: (chunk: ChunkFacts, sha256: Uint8Array) => Promise<Kept>,
  ) {
    this.#path = path;
    this.#file = file;
    this.#keep = keep;
  }

  async write(bytes: Uint8Array): Promise<void> {
    await telling(() => writeAll(this.#file, bytes));
  }

  async keep(chunk: ChunkFacts, sha256: Uint8Array): Promise<Kept> {
    return await telling(async () => {
      await this.#file.syncData();
      this.#close();
      return await this.#keep(chunk, sha256);
    });
  }

  async discard(): Promise<void> {
    this.#close();
    await removeIfThere(this.#path).catch(() => {}); // the next start removes it
  }

  #close(): void {
    if (this.#isOpen) this.#file.close();
    this.#isOpen = false;
  }
}

/** @param path of the file that has just arrived, whose digest is `sha256`. */
async function isSame(old: string, path: string, sha256: Uint8Array): Promise<boolean> {
  if (await sizeOf(old) !== await sizeOf(path)) return false;
  using file = await Deno.open(old, { read: true });
  const hash = createHash("sha256");
  const buffer = new Uint8Array(READ_BYTES);
  for (let count; (count = await file.read(buffer)) !== null;) {
    hash.update(buffer.subarray(0, count));
  }
  return hash.digest().every((byte, index) => byte === sha256[index]);
}

async function makeDir(path: string): Promise<void> {
  try {
    await Deno.mkdir(path, { mode: DIR_MODE });
  } catch (error) {
    if (!(error instanceof Deno.errors.AlreadyExists)) throw error;
  }
}

/** @throws {StoreFailure} for every error of the file system. */
async function telling<T>(work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    const isFull = /ENOSPC|EDQUOT|No space left|quota|os error (28|122)/i.test(String(error));
    throw new StoreFailure(messageOf(error), isFull);
  }
}
