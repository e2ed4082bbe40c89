// The storage: recording/ -> outbox/ -> uploaded/ or rejected/. The directories are the truth; what is
// kept in memory are counters and the oldest few hundred names. It moves files durably and never
// decides which ones, and never looks into them.

import { statfs } from "node:fs/promises";
import { join } from "@std/path/join";
import { Wakeup } from "../wakeup.ts";
import { type ChunkName, formatChunkName, formatPartName, parseChunkName } from "./chunk_name.ts";

export const CHUNK_DIRS = ["outbox", "uploaded", "rejected"] as const;
export type ChunkDir = typeof CHUNK_DIRS[number];

export interface Tally {
  files: number;
  bytes: number;
}

/** Another process has the spool. */
export class SpoolLockedError extends Error {}

/** How many names of waiting chunks are held; the directory is listed again when they run out. */
const HELD_NAMES = 500;

export class Spool {
  readonly dir: string;
  /** Rings when a chunk was sealed into outbox/. */
  readonly sealed = new Wakeup();
  /** Rings when something did not fit, or would not. */
  readonly roomWanted = new Wakeup();
  /** Files and bytes in each directory, kept and not recounted. */
  readonly tally: Readonly<Record<ChunkDir, Tally>> = {
    outbox: { files: 0, bytes: 0 },
    uploaded: { files: 0, bytes: 0 },
    rejected: { files: 0, bytes: 0 },
  };
  readonly #lock: Deno.FsFile;
  #held: string[] = [];

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
      for (const sub of ["recording", ...CHUNK_DIRS]) {
        await Deno.mkdir(join(dir, sub), { recursive: true });
      }
      lock = await Deno.open(join(dir, "lock"), { create: true, read: true, write: true });
    } catch (error) {
      throw new Error(
        `Cannot use spool_dir as it must be a directory this user can write: ` +
          `${dir}: ${error instanceof Error ? error.message : error}`,
        { cause: error },
      );
    }
    if (!await lock.tryLock(true)) {
      const holder = (await new Response(lock.readable).text()).trim();
      throw new SpoolLockedError(
        `Cannot use spool_dir ${dir} as another recorder-agent is using it` +
          (holder === "" ? "" : ` (process ${holder})`) +
          `: stop that one, or give this one another spool_dir`,
      );
    }
    await lock.truncate();
    await lock.write(new TextEncoder().encode(`${Deno.pid}\n`));
    const spool = new Spool(dir, lock);
    spool.#count();
    return spool;
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

  /** The chunk that has waited longest, or null if none waits. */
  oldestWaiting(): string | null {
    if (this.#held.length === 0 && this.tally.outbox.files > 0) {
      this.#held = this.list("outbox").slice(0, HELD_NAMES).reverse();
      if (this.#held.length === 0) this.tally.outbox.files = this.tally.outbox.bytes = 0;
    }
    return this.#held.at(-1) ?? null;
  }

  /** Starts a file in recording/. */
  async create(name: Pick<ChunkName, "startUnixUs" | "key">): Promise<PartFile> {
    const path = this.path("recording", formatPartName(name));
    const file = await Deno.open(path, { createNew: true, write: true });
    return new PartFile(this, file, path, name.key);
  }

  /** Moves a finished, synced file into outbox/, durably, and rings `sealed`. */
  async admit(fromPath: string, name: ChunkName): Promise<string> {
    const fileName = formatChunkName(name);
    const target = this.path("outbox", fileName);
    const replaced = await sizeOf(target);
    const size = await sizeOf(fromPath);
    // No source but a target: an earlier call renamed and counted it, and failed at the fsync.
    if (size !== null || replaced === null) {
      await Deno.rename(fromPath, target);
      if (replaced === null) this.tally.outbox.files++;
      this.tally.outbox.bytes += (size ?? 0) - (replaced ?? 0);
    }
    await syncDirectory(join(this.dir, "outbox"));
    await syncDirectory(join(this.dir, "recording"));
    const newestHeld = this.#held[0];
    // A chunk older than one that is held (recovered, or after a step of the clock) goes in order.
    if (newestHeld !== undefined && fileName < newestHeld) this.#held = [];
    this.sealed.ring();
    return fileName;
  }

  /** Files a waiting chunk as delivered. */
  async markUploaded(fileName: string): Promise<void> {
    await this.#move(fileName, "uploaded");
  }

  /** Files a waiting chunk as refused, its reason beside it as `NAME.reason.json`. */
  async reject(fileName: string, reason: Readonly<Record<string, unknown>>): Promise<void> {
    const reasonPath = this.path("rejected", `${fileName}.reason.json`);
    await Deno.writeTextFile(reasonPath, JSON.stringify(reason, null, 2) + "\n");
    await this.#move(fileName, "rejected");
  }

  /** Deletes a sealed chunk and returns its size; null if it was gone already. */
  async remove(dir: ChunkDir, fileName: string): Promise<number | null> {
    const path = this.path(dir, fileName);
    const size = await sizeOf(path);
    if (size === null) return null;
    await Deno.remove(path);
    if (dir === "rejected") await removeIfThere(`${path}.reason.json`);
    this.#uncount(dir, size);
    if (dir === "outbox") this.#forget(fileName);
    return size;
  }

  /** A waiting chunk is gone from outbox/, whoever took it: it is not offered again. */
  forgetMissing(fileName: string): void {
    this.#forget(fileName);
  }

  async #move(fileName: string, to: "uploaded" | "rejected"): Promise<void> {
    const from = this.path("outbox", fileName);
    const { size } = await Deno.lstat(from);
    await Deno.rename(from, this.path(to, fileName));
    await syncDirectory(join(this.dir, to));
    this.#uncount("outbox", size);
    this.tally[to].files++;
    this.tally[to].bytes += size;
    this.#forget(fileName);
  }

  #forget(fileName: string): void {
    if (this.#held.at(-1) === fileName) this.#held.pop();
    else this.#held = this.#held.filter((held) => held !== fileName);
  }

  #uncount(dir: ChunkDir, size: number): void {
    this.tally[dir].files--;
    this.tally[dir].bytes -= size;
  }

  #count(): void {
    for (const dir of CHUNK_DIRS) {
      for (const name of this.list(dir)) {
        this.tally[dir].files++;
        this.tally[dir].bytes += Deno.lstatSync(this.path(dir, name)).size;
      }
    }
  }
}

/** A chunk being recorded. Whole appends only: one that fails half-way is taken back. */
export class PartFile {
  readonly key: string;
  readonly #spool: Spool;
  readonly #file: Deno.FsFile;
  readonly #path: string;
  #sizeBytes = 0;

  constructor(spool: Spool, file: Deno.FsFile, path: string, key: string) {
    this.#spool = spool;
    this.#file = file;
    this.#path = path;
    this.key = key;
  }

  get sizeBytes(): number {
    return this.#sizeBytes;
  }

  /** @throws as the disk does (full, broken); the file is then as it was before. */
  async append(bytes: Uint8Array): Promise<void> {
    try {
      for (let written = 0; written < bytes.length;) {
        written += await this.#file.write(bytes.subarray(written));
      }
      this.#sizeBytes += bytes.length;
    } catch (error) {
      await this.#file.truncate(this.#sizeBytes);
      await this.#file.seek(this.#sizeBytes, Deno.SeekMode.Start);
      throw error;
    }
  }

  /** fdatasync: what was appended survives a power cut. */
  async sync(): Promise<void> {
    await this.#file.syncData();
  }

  /** Makes the finished file visible in outbox/, durably. May be tried again when it has failed. */
  async seal(times: Pick<ChunkName, "startUnixUs" | "durationUs">): Promise<string> {
    await this.#file.sync();
    const name = await this.#spool.admit(this.#path, { ...times, key: this.key });
    this.#file.close();
    return name;
  }

  /** Closes the file and leaves it in recording/, to be recovered at the next start. */
  abandon(): void {
    this.#file.close();
  }

  /** Closes the file and removes it: it holds no sound. */
  async discard(): Promise<void> {
    this.#file.close();
    await Deno.remove(this.#path);
  }
}

/** fsync of a directory: renames and removals in it survive a power cut. */
export async function syncDirectory(path: string): Promise<void> {
  using directory = await Deno.open(path, { read: true });
  await directory.sync();
}

async function sizeOf(path: string): Promise<number | null> {
  try {
    return (await Deno.lstat(path)).size;
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return null;
    throw error;
  }
}

async function removeIfThere(path: string): Promise<void> {
  try {
    await Deno.remove(path);
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
  }
}
