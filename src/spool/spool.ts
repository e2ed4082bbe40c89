// The storage: recording/ -> outbox/ -> uploaded/ or rejected/. The directories are the truth; what is
// kept in memory are counters and the oldest few thousand names. It moves files durably and never
// decides which ones, and never looks into them. A directory of any size is listed in small portions:
// the event loop goes on meanwhile, and so does the recording.

import { statfs } from "node:fs/promises";
import { delay } from "@std/async/delay";
import { join } from "@std/path/join";
import type { Tally } from "../status/tally.ts";
import { Wakeup } from "../system/wakeup.ts";
import {
  CHUNK_DIRS,
  type ChunkDir,
  type ChunkName,
  formatChunkName,
  formatPartName,
  parseChunkName,
  type PartName,
} from "../chunk/chunk_name.ts";
import { CoalescedSync } from "./coalesced_sync.ts";
import {
  freeBytesOf,
  PRIVATE_FILE,
  removeIfThere,
  renameIfThere,
  sizeOf,
  syncDirectory,
} from "../system/disk.ts";
import { OldestNames } from "./oldest_names.ts";
import { PartFile } from "./part_file.ts";
import { copyReason, reasonPath, removeOldReason, writeReason } from "./reason_file.ts";
import { lockSpool, SpoolLockedError } from "./spool_lock.ts";

export { SpoolLockedError };

/** Half a megabyte of names; a backlog of 110,000 is listed 28 times while it is delivered. */
const HELD_NAMES = 4000;
const LISTED_AT_ONCE = 2000;
/** In a drain so many delivered chunks share the syncs of their folders. */
const FILED_AT_ONCE = 16;
/** So many files are asked for their size at once. */
const SIZES_AT_ONCE = 16;
/** Recordings are people's voices: nobody but the service's user reads them. */
const PRIVATE_DIR = 0o700;

export class Spool {
  readonly dir: string;
  /** Rings when a chunk was sealed into outbox/. */
  readonly sealed = new Wakeup();
  /** Rings when something did not fit, or would not. */
  readonly roomWanted = new Wakeup();
  /** Rings when a chunk whose time is provisional was sealed. */
  readonly provisional = new Wakeup();
  /**
   * What is in each directory, kept and not recounted. After `open` and after other hands changed
   * something `bytes` is too low, never too high, until `countSizes` is through.
   */
  readonly tally: Readonly<Record<ChunkDir, Tally>> = {
    outbox: { files: 0, bytes: 0, durationUs: 0 },
    uploaded: { files: 0, bytes: 0, durationUs: 0 },
    rejected: { files: 0, bytes: 0, durationUs: 0 },
  };
  /** Chunks that are being sent, or filed: their names must not change under the sender. */
  readonly sending = new Set<string>();
  /** Sound in chunks that other hands put into outbox/ since the spool was opened, microseconds. */
  returnedUs = 0;
  /** When rejected/ was last changed, as it was last seen; Unix ms. */
  #rejectedChangedMs: number | null = null;
  readonly #lock: Deno.FsFile;
  readonly #heldNames: number;
  /** The oldest names; null: to be listed when they are asked for. */
  readonly #held: Record<ChunkDir, OldestNames | null> = {
    outbox: null,
    uploaded: null,
    rejected: null,
  };
  /** Chunks whose size is not in the tally yet. */
  readonly #unsized: Record<ChunkDir, Set<string>> = {
    outbox: new Set(),
    uploaded: new Set(),
    rejected: new Set(),
  };
  /** On their way into outbox/ just now. */
  readonly #admitting = new Set<string>();
  /** Came into outbox/ since a listing of it began; null: none is under way. */
  #admittedMeanwhile: Set<string> | null = null;
  #lastTurn: Promise<unknown> = Promise.resolve();
  /** Chunks filed as delivered since a sync was asked for. */
  #unsynced = 0;
  readonly #uploadedSync = new CoalescedSync(() => this.#syncMove("uploaded"));

  private constructor(dir: string, lock: Deno.FsFile, heldNames: number) {
    this.dir = dir;
    this.#lock = lock;
    this.#heldNames = heldNames;
  }

  /**
   * Makes the directories, takes the lock and counts the files that are there. Their sizes wait for
   * `countSizes`, so that a start takes no longer than one listing.
   * @param heldNames of each directory; it is listed again when they run out.
   * @throws {SpoolLockedError} if another process has it.
   * @throws an error that names the directory if it cannot be made or written.
   */
  static async open(dir: string, heldNames = HELD_NAMES): Promise<Spool> {
    let lock: Deno.FsFile | null = null;
    try {
      await Deno.mkdir(join(dir, ".."), { recursive: true });
      for (const sub of ["", "recording", ...CHUNK_DIRS]) {
        await Deno.mkdir(join(dir, sub), { recursive: true, mode: PRIVATE_DIR });
      }
      lock = await lockSpool(dir);
      const spool = new Spool(dir, lock, heldNames);
      spool.#rejectedChangedMs = await spool.#readRejectedChangedMs();
      for (const sub of CHUNK_DIRS) await spool.#countAnew(sub);
      return spool;
    } catch (error) {
      lock?.close();
      throw error instanceof SpoolLockedError ? error : unusable(dir, error);
    }
  }

  /** Gives the lock back; `uploadedSynced` is to be awaited before. */
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
    return freeBytesOf(await statfs(this.dir));
  }

  /**
   * Names of the sealed chunks in a directory that are wanted, the oldest first. Other files are passed
   * over. If files came or went by other hands, the tally is put right, sizes included.
   */
  async recount(
    dir: ChunkDir,
    isWanted: (chunk: ChunkName) => boolean = () => true,
  ): Promise<string[]> {
    const wanted: string[] = [];
    const wasRight = await this.#inTurn(async () => {
      const found = { files: 0, durationUs: 0 };
      const isRight = await this.#scan(dir, (fileName, chunk) => {
        found.files++;
        found.durationUs += chunk.durationUs;
        if (isWanted(chunk)) wanted.push(fileName);
      }, () => {
        const { files, durationUs } = this.tally[dir];
        return found.files === files && found.durationUs === durationUs;
      });
      const moreUs = isRight ? 0 : await this.#countAnew(dir);
      if (dir === "outbox") this.returnedUs += Math.max(0, moreUs);
      return isRight;
    });
    if (!wasRight) await this.countSizes([dir]);
    return wanted.sort();
  }

  /**
   * Brings into the tally the sizes that are not in it yet, a few files at a time, while chunks come
   * and go. One whose size a broken disk does not tell counts as empty until then.
   */
  async countSizes(dirs: readonly ChunkDir[] = CHUNK_DIRS): Promise<void> {
    for (const dir of dirs) {
      const unsized = this.#unsized[dir];
      const names = [...unsized];
      for (let at = 0; at < names.length; at += SIZES_AT_ONCE) {
        await Promise.all(
          names.slice(at, at + SIZES_AT_ONCE).map(async (name) => {
            const size = await sizeOf(this.path(dir, name)).catch(() => null);
            // One that is gone is left to whoever takes it out of the tally; one whose size the disk
            // does not tell now, to the next count.
            if (size !== null && unsized.delete(name)) this.tally[dir].bytes += size;
          }),
        );
      }
    }
  }

  /**
   * Chunks that were put back from rejected/ into outbox/ by other hands, while this process has the
   * spool, are counted and offered in their order. Cheap if nothing has changed there.
   */
  async noticeReturned(): Promise<void> {
    const changedMs = await this.#readRejectedChangedMs();
    if (changedMs === this.#rejectedChangedMs) return;
    this.#rejectedChangedMs = changedMs;
    const { files } = this.tally.rejected;
    await this.recount("rejected");
    if (this.tally.rejected.files !== files) await this.recount("outbox");
  }

  /** The chunk that has waited longest of those that are wanted, or null if none waits. */
  async oldestWaiting(
    isWanted: (fileName: string) => boolean = () => true,
  ): Promise<string | null> {
    return await this.oldest("outbox", isWanted);
  }

  /** The oldest chunk of those that are wanted in a directory, or null. */
  async oldest(
    dir: ChunkDir,
    isWanted: (fileName: string) => boolean = () => true,
  ): Promise<string | null> {
    const held = this.#held[dir]?.find(isWanted) ?? null;
    if (held !== null) return held;
    return await this.#inTurn(async () => {
      const oldest = new OldestNames(this.#heldNames);
      return await this.#scan(dir, (fileName) => oldest.offer(fileName), () => {
        this.#held[dir] = oldest;
        return oldest.find(isWanted);
      });
    });
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
    const { size } = await Deno.lstat(fromPath);
    // Not in turn: what is being recorded does not wait until a directory has been listed.
    this.#admitting.add(fileName);
    try {
      await Deno.rename(fromPath, this.path("outbox", fileName));
      this.#admittedMeanwhile?.add(fileName);
      this.#came("outbox", fileName, size);
    } finally {
      this.#admitting.delete(fileName);
    }
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
      const newName = formatChunkName(name);
      const to = this.path(dir, newName);
      const size = await sizeOf(from);
      if (size === null) return true;
      if (dir === "rejected") await copyReason(from, to);
      // Nobody starts to send it between the question and the rename: there is no await.
      if (this.sending.has(fileName)) return false;
      Deno.renameSync(from, to);
      this.#held[dir]?.forget(fileName);
      this.#held[dir]?.offer(newName);
      if (this.#unsized[dir].delete(fileName)) this.tally[dir].bytes += size;
      if (dir === "rejected") await removeOldReason(from).catch(() => {});
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

  /**
   * Files a waiting chunk as delivered; it survives a power cut a moment later, without the next one
   * waiting for that. False: it was gone already, and is forgotten.
   * @param sizeBytes as far as it is known.
   */
  async markUploaded(fileName: string, sizeBytes?: number): Promise<boolean> {
    const isMoved = await this.#move(fileName, "uploaded", sizeBytes);
    if (++this.#unsynced >= FILED_AT_ONCE) this.syncUploaded();
    return isMoved;
  }

  /** What has been filed as delivered is to survive a power cut, soon. */
  syncUploaded(): void {
    if (this.#unsynced === 0) return;
    this.#unsynced = 0;
    this.#uploadedSync.request();
  }

  /** Resolves when what was filed as delivered survives a power cut, or the disk has refused that. */
  async uploadedSynced(): Promise<void> {
    this.syncUploaded();
    await this.#uploadedSync.settled();
  }

  /** Files a waiting chunk as refused, its reason beside it as `NAME.reason.json`. */
  async reject(fileName: string, reason: Readonly<Record<string, unknown>>): Promise<void> {
    await writeReason(this.path("rejected", fileName), reason);
    await this.#move(fileName, "rejected");
    await this.#syncMove("rejected").catch(() => {}); // it has been moved; see #syncMove
  }

  /** Moves a file that is no recording from recording/ to rejected/, its reason beside it. */
  async setAside(fileName: string, reason: Readonly<Record<string, unknown>>): Promise<void> {
    await writeReason(this.path("rejected", fileName), reason);
    await Deno.rename(this.path("recording", fileName), this.path("rejected", fileName));
  }

  /** Deletes a sealed chunk and returns its size; null if it was gone already, or is being sent. */
  remove(dir: ChunkDir, fileName: string): Promise<number | null> {
    return this.#inTurn(async () => {
      const path = this.path(dir, fileName);
      const size = await sizeOf(path);
      if (dir === "outbox" && this.sending.has(fileName)) return null;
      if (size !== null) {
        Deno.removeSync(path);
        this.#left(dir, fileName, size);
      }
      this.#held[dir]?.forget(fileName);
      // The chunk is gone and must be counted; a reason that is left goes when it is old.
      if (dir === "rejected") await removeIfThere(reasonPath(path)).catch(() => {});
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
    for await (const { name, isFile } of Deno.readDir(dir)) {
      if (!isFile || parseChunkName(name) !== null) continue;
      // A reason is younger than its chunk: most need not be looked at.
      const chunk = parseChunkName(name.replace(/\.reason\.json$/, ""));
      if (chunk !== null && chunk.startUnixUs / 1000 >= unixMs) continue;
      const { mtime } = await Deno.lstat(join(dir, name));
      if (mtime !== null && mtime.getTime() < unixMs) strays.push(name);
    }
    const removed: string[] = [];
    // A file set aside sorts before its reason, which goes with it.
    for (const name of strays.sort()) if (await this.#removeStray(name)) removed.push(name);
    return removed;
  }

  /** A reason stays as long as its chunk, whose time may only now be known. */
  #removeStray(fileName: string): Promise<boolean> {
    return this.#inTurn(async () => {
      const chunk = fileName.replace(/\.reason\.json$/, "");
      const isReason = chunk !== fileName && await sizeOf(this.path("rejected", chunk)) !== null;
      if (!isReason) await removeIfThere(this.path("rejected", fileName));
      return !isReason;
    });
  }

  /** A waiting chunk is gone from outbox/, whoever took it: it is not offered again. */
  forgetMissing(fileName: string): void {
    this.#held.outbox?.forget(fileName);
  }

  async #move(
    fileName: string,
    to: "uploaded" | "rejected",
    sizeBytes?: number,
  ): Promise<boolean> {
    return await this.#inTurn(async () => {
      const from = this.path("outbox", fileName);
      const size = sizeBytes ?? await sizeOf(from);
      const isMoved = size !== null && await renameIfThere(from, this.path(to, fileName));
      if (isMoved) {
        this.#left("outbox", fileName, size);
        this.#came(to, fileName, size);
      }
      this.#held.outbox?.forget(fileName);
      return isMoved;
    });
  }

  /**
   * What was moved out of outbox/ survives a power cut. If the disk does not do it, a chunk at worst
   * waits again after one, under the same key.
   */
  async #syncMove(to: "uploaded" | "rejected"): Promise<void> {
    // In this order, so that a power cut leaves a chunk in one of them at least.
    for (const dir of [to, "outbox"]) await syncDirectory(join(this.dir, dir));
  }

  async #readRejectedChangedMs(): Promise<number | null> {
    return (await Deno.stat(join(this.dir, "rejected"))).mtime?.getTime() ?? null;
  }

  /**
   * Lists a directory and counts its files; their sizes are still to be counted. Returns by how much
   * more sound that is than there was, microseconds.
   */
  async #countAnew(dir: ChunkDir): Promise<number> {
    const oldest = new OldestNames(this.#heldNames);
    const unsized = new Set<string>();
    let durationUs = 0;
    return await this.#scan(dir, (fileName, chunk) => {
      oldest.offer(fileName);
      unsized.add(fileName);
      durationUs += chunk.durationUs;
    }, () => {
      const moreUs = durationUs - this.tally[dir].durationUs;
      Object.assign(this.tally[dir], { files: unsized.size, bytes: 0, durationUs });
      this.#unsized[dir].clear(); // a count of sizes that is under way does not add to this tally
      this.#unsized[dir] = unsized;
      this.#held[dir] = oldest;
      return moreUs;
    });
  }

  /**
   * Shows every sealed chunk in a directory once, in any order, and returns what `conclude` does: at
   * that moment what was shown agrees with the tally, if no other hands were at work. In turn only, so
   * that none leaves meanwhile; what comes into outbox/ meanwhile is shown last.
   */
  async #scan<T>(
    dir: ChunkDir,
    visit: (fileName: string, chunk: ChunkName) => void,
    conclude: () => T,
  ): Promise<T> {
    let listed = 0;
    const show = (fileName: string) => {
      const chunk = parseChunkName(fileName);
      if (chunk !== null) visit(fileName, chunk);
    };
    const meanwhile = new Set<string>();
    if (dir === "outbox") this.#admittedMeanwhile = meanwhile;
    try {
      for await (const { name, isFile } of Deno.readDir(join(this.dir, dir))) {
        if (isFile && !meanwhile.has(name) && !this.#admitting.has(name)) show(name);
        // Deno 2.7 reads all of a directory first, and gives it out without a pause.
        if (++listed % LISTED_AT_ONCE === 0) await delay(0);
      }
      for (const name of meanwhile) show(name);
      return conclude();
    } finally {
      this.#admittedMeanwhile = null;
    }
  }

  #came(dir: ChunkDir, fileName: string, sizeBytes: number): void {
    this.tally[dir].files++;
    this.tally[dir].bytes += sizeBytes;
    this.tally[dir].durationUs += durationOf(fileName);
    this.#held[dir]?.offer(fileName);
  }

  #left(dir: ChunkDir, fileName: string, sizeBytes: number): void {
    const isCounted = !this.#unsized[dir].delete(fileName);
    this.tally[dir].files--;
    this.tally[dir].bytes -= isCounted ? sizeBytes : 0;
    this.tally[dir].durationUs -= durationOf(fileName);
  }

  /** One change at a time: whoever lists a directory finds the tally in step with it. */
  #inTurn<T>(change: () => T | Promise<T>): Promise<T> {
    const done = this.#lastTurn.then(change);
    this.#lastTurn = done.catch(() => {});
    return done;
  }
}

function unusable(dir: string, error: unknown): Error {
  return new Error(
    `Cannot use spool_dir as it must be a directory this user can write: ` +
      `${dir}: ${error instanceof Error ? error.message : error}`,
    { cause: error },
  );
}

function durationOf(fileName: string): number {
  return parseChunkName(fileName)?.durationUs ?? 0;
}
