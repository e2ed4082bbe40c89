// The storage: recording/ -> outbox/ -> uploaded/ or rejected/. The directories are the truth; what is
// kept in memory are counters and the oldest few hundred names. It moves files durably and never
// decides which ones, and never looks into them.

import { statfs } from "node:fs/promises";
import { join } from "@std/path/join";
import { Wakeup } from "../wakeup.ts";
import {
  CHUNK_DIRS,
  type ChunkDir,
  type ChunkName,
  formatChunkName,
  formatPartName,
  parseChunkName,
  type PartName,
} from "./chunk_name.ts";
import { removeIfThere, renameIfThere, sizeOf, syncDirectory, writeAll } from "./disk.ts";
import { PartFile } from "./part_file.ts";

export interface Tally {
  files: number;
  bytes: number;
  /** Sound in them, microseconds. */
  durationUs: number;
}

/** Another process has the spool. */
export class SpoolLockedError extends Error {}

/** How many names of waiting chunks are held; the directory is listed again when they run out. */
const HELD_NAMES = 500;
/** Recordings are people's voices: nobody but the service's user reads them. */
const PRIVATE_DIR = 0o700;
const PRIVATE_FILE = 0o600;

export class Spool {
  readonly dir: string;
  /** Rings when a chunk was sealed into outbox/. */
  readonly sealed = new Wakeup();
  /** Rings when something did not fit, or would not. */
  readonly roomWanted = new Wakeup();
  /** Rings when a chunk whose time is provisional was sealed. */
  readonly provisional = new Wakeup();
  /** What is in each directory, kept and not recounted. */
  readonly tally: Readonly<Record<ChunkDir, Tally>> = {
    outbox: { files: 0, bytes: 0, durationUs: 0 },
    uploaded: { files: 0, bytes: 0, durationUs: 0 },
    rejected: { files: 0, bytes: 0, durationUs: 0 },
  };
  /** The chunk that is being sent: its name must not change under the sender. */
  sending: string | null = null;
  readonly #lock: Deno.FsFile;
  #held: string[] = [];
  #lastTurn: Promise<unknown> = Promise.resolve();

  private constructor(dir: string, lock: Deno.FsFile) {
    this.dir = dir;
    this.#lock = lock;
  }

  /**
   * Makes the directories, takes the lock and counts what is there.
   * @throws {SpoolLockedError} if another process has it.
   * @throws an error that names the directory if it cannot be made or written.
   */
  static async open(dir: string): Promise<Spool> {
    let lock: Deno.FsFile;
    try {
      await Deno.mkdir(join(dir, ".."), { recursive: true });
      for (const sub of ["", "recording", ...CHUNK_DIRS]) {
        await Deno.mkdir(join(dir, sub), { recursive: true, mode: PRIVATE_DIR });
      }
      lock = await Deno.open(join(dir, "lock"), { create: true, read: true, write: true });
    } catch (error) {
      throw unusable(dir, error);
    }
    if (!await lock.tryLock(true)) {
      const holder = await holderOf(lock);
      lock.close();
      throw new SpoolLockedError(
        `Cannot use spool_dir ${dir} as another recorder-agent is using it` +
          (holder === null ? "" : ` (process ${holder})`) +
          `: stop that one, or give this one another spool_dir`,
      );
    }
    await signLock(lock);
    const spool = new Spool(dir, lock);
    try {
      for (const sub of CHUNK_DIRS) await spool.recount(sub);
      return spool;
    } catch (error) {
      spool.close();
      throw unusable(dir, error);
    }
  }

  /** Gives the lock back. */
  close(): void {
    this.#lock.close();
  }

  path(sub: ChunkDir | "recording", fileName: string): string {
    return join(this.dir, sub, fileName);
  }

  /** Bytes in all three directories of sealed chunks. */
  get totalBytes(): number {
    return CHUNK_DIRS.reduce((sum, dir) => sum + this.tally[dir].bytes, 0);
  }

  /** Bytes that this user may still write to the disk. */
  async freeBytes(): Promise<number> {
    const { bavail, bsize } = await statfs(this.dir);
    return bavail * bsize;
  }

  /** Names of the sealed chunks in a directory, the oldest first. Other files are passed over. */
  list(dir: ChunkDir): string[] {
    const names: string[] = [];
    for (const entry of Deno.readDirSync(join(this.dir, dir))) {
      if (entry.isFile && parseChunkName(entry.name) !== null) names.push(entry.name);
    }
    return names.sort();
  }

  /** As `list`; and if files came or went by other hands, the tally is put right. */
  recount(dir: ChunkDir): Promise<string[]> {
    return this.#inTurn(() => {
      const names = this.list(dir);
      if (names.length === this.tally[dir].files) return names;
      const bytes = names.reduce((sum, name) => sum + sizeForTally(this.path(dir, name)), 0);
      const durationUs = names.reduce((sum, name) => sum + durationOf(name), 0);
      Object.assign(this.tally[dir], { files: names.length, bytes, durationUs });
      return names;
    });
  }

  /** The chunk that has waited longest, or null if none waits. */
  oldestWaiting(): string | null {
    if (this.#held.length === 0) {
      this.#held = this.list("outbox").slice(0, HELD_NAMES).reverse();
    }
    return this.#held.at(-1) ?? null;
  }

  /** Starts a file in recording/. */
  async create(name: PartName): Promise<PartFile> {
    const path = this.path("recording", formatPartName(name));
    const file = await Deno.open(path, { createNew: true, write: true, mode: PRIVATE_FILE });
    return new PartFile(this, file, path);
  }

  /**
   * Moves a finished, synced file into outbox/ and rings `sealed`; `syncAdmitted` makes that durable.
   * @throws {Deno.errors.NotFound} if there is no such file any more.
   */
  async admit(fromPath: string, name: ChunkName): Promise<string> {
    const fileName = formatChunkName(name);
    await this.#inTurn(async () => {
      const { size } = await Deno.lstat(fromPath);
      await Deno.rename(fromPath, this.path("outbox", fileName));
      this.#tally("outbox", 1, fileName, size);
    });
    const newestHeld = this.#held[0];
    // A chunk older than one that is held (recovered, or after a step of the clock) goes in order.
    if (newestHeld !== undefined && fileName < newestHeld) this.#held = [];
    this.sealed.ring();
    if (name.provisional !== undefined) this.provisional.ring();
    return fileName;
  }

  /**
   * Gives a chunk another time in its name; its key stays. False: it is being sent just now. One
   * that is gone is passed over.
   */
  async rename(dir: ChunkDir, fileName: string, name: ChunkName): Promise<boolean> {
    const free = await this.#inTurn(async () => {
      const from = this.path(dir, fileName);
      const to = this.path(dir, formatChunkName(name));
      if (await sizeOf(from) === null) return true;
      if (dir === "rejected") await renameIfThere(reasonPath(from), reasonPath(to));
      // Nobody starts to send it between the question and the rename: there is no await.
      if (fileName === this.sending) return false;
      Deno.renameSync(from, to);
      if (dir === "outbox") this.#held = [];
      return true;
    });
    this.sealed.ring();
    return free;
  }

  /** What was admitted until now survives a power cut. */
  async syncAdmitted(): Promise<void> {
    await syncDirectory(join(this.dir, "outbox"));
    await syncDirectory(join(this.dir, "recording"));
  }

  /** Files a waiting chunk as delivered. False: it was gone already, and is forgotten. */
  async markUploaded(fileName: string): Promise<boolean> {
    return await this.#move(fileName, "uploaded");
  }

  /** Files a waiting chunk as refused, its reason beside it as `NAME.reason.json`. */
  async reject(fileName: string, reason: Readonly<Record<string, unknown>>): Promise<void> {
    await this.#writeReason(fileName, reason);
    await this.#move(fileName, "rejected");
  }

  /** Moves a file that is no recording from recording/ to rejected/, its reason beside it. */
  async setAside(fileName: string, reason: Readonly<Record<string, unknown>>): Promise<void> {
    await this.#writeReason(fileName, reason);
    await Deno.rename(this.path("recording", fileName), this.path("rejected", fileName));
  }

  /** Deletes a sealed chunk and returns its size; null if it was gone already, or is being sent. */
  remove(dir: ChunkDir, fileName: string): Promise<number | null> {
    return this.#inTurn(async () => {
      const path = this.path(dir, fileName);
      const size = await sizeOf(path);
      if (dir === "outbox" && fileName === this.sending) return null;
      if (size !== null) {
        Deno.removeSync(path);
        this.#tally(dir, -1, fileName, size);
      }
      if (dir === "rejected") await removeIfThere(reasonPath(path));
      if (dir === "outbox") this.#forget(fileName);
      return size;
    });
  }

  /**
   * Deletes what lies in rejected/ besides chunks (files set aside, reasons without a chunk) and was
   * last written before `unixMs`. Returns the names of the files deleted.
   */
  async removeStrays(unixMs: number): Promise<string[]> {
    const strays: string[] = [];
    const dir = join(this.dir, "rejected");
    for (const { name, isFile } of Deno.readDirSync(dir)) {
      if (!isFile || parseChunkName(name) !== null) continue;
      const { mtime } = await Deno.lstat(join(dir, name));
      if (mtime !== null && mtime.getTime() < unixMs) strays.push(name);
    }
    for (const name of strays) await removeIfThere(join(dir, name));
    return strays;
  }

  /** A waiting chunk is gone from outbox/, whoever took it: it is not offered again. */
  forgetMissing(fileName: string): void {
    this.#forget(fileName);
  }

  async #move(fileName: string, to: "uploaded" | "rejected"): Promise<boolean> {
    const moved = await this.#inTurn(async () => {
      const from = this.path("outbox", fileName);
      const size = await sizeOf(from);
      if (size !== null) {
        await Deno.rename(from, this.path(to, fileName));
        this.#tally("outbox", -1, fileName, size);
        this.#tally(to, 1, fileName, size);
      }
      this.#forget(fileName);
      return size !== null;
    });
    await syncDirectory(join(this.dir, to));
    return moved;
  }

  async #writeReason(fileName: string, reason: Readonly<Record<string, unknown>>): Promise<void> {
    const path = reasonPath(this.path("rejected", fileName));
    await Deno.writeTextFile(path, JSON.stringify(reason, null, 2) + "\n", { mode: PRIVATE_FILE });
  }

  #forget(fileName: string): void {
    if (this.#held.at(-1) === fileName) this.#held.pop();
    else this.#held = this.#held.filter((held) => held !== fileName);
  }

  #tally(dir: ChunkDir, sign: 1 | -1, fileName: string, sizeBytes: number): void {
    this.tally[dir].files += sign;
    this.tally[dir].bytes += sign * sizeBytes;
    this.tally[dir].durationUs += sign * durationOf(fileName);
  }

  /** One change at a time: whoever lists a directory finds the tally in step with it. */
  #inTurn<T>(change: () => T | Promise<T>): Promise<T> {
    const done = this.#lastTurn.then(change);
    this.#lastTurn = done.catch(() => {});
    return done;
  }
}

/** The number that the lock's holder has written into it, or null. */
async function holderOf(lock: Deno.FsFile): Promise<string | null> {
  const bytes = new Uint8Array(16);
  await lock.read(bytes);
  return /^\d+/.exec(new TextDecoder().decode(bytes))?.[0] ?? null;
}

/** The process's number, for whoever finds the lock taken. A full disk must not stop a start. */
async function signLock(lock: Deno.FsFile): Promise<void> {
  try {
    await lock.truncate();
    await writeAll(lock, new TextEncoder().encode(`${Deno.pid}\n`));
  } catch { /* the lock holds without it */ }
}

function unusable(dir: string, error: unknown): Error {
  return new Error(
    `Cannot use spool_dir as it must be a directory this user can write: ` +
      `${dir}: ${error instanceof Error ? error.message : error}`,
    { cause: error },
  );
}

function reasonPath(path: string): string {
  return `${path}.reason.json`;
}

function durationOf(fileName: string): number {
  return parseChunkName(fileName)?.durationUs ?? 0;
}

/** A file whose size a broken disk does not tell counts as empty: it must not stop a start. */
function sizeForTally(path: string): number {
  try {
    return Deno.lstatSync(path).size;
  } catch {
    return 0;
  }
}
