// The storage: recording/ -> outbox/ -> uploaded/ or rejected/. The directories are the truth; memory
// holds counters and the names of the oldest chunks (folder.ts). It moves files durably, never decides
// which ones, and never looks into their contents. A directory is listed when the spool is opened, when another
// process has changed it, and when the held names have run out. The module is long because all changes go
// through one queue, so that a listing finds the counters in step with the directory.
//
// Where a chunk must not begin to be sent between a check and a change, the change is a synchronous call, which
// needs no lock. It blocks the event loop for as long as the disk takes. With a disk that took 8 s for each such
// call, no sound was missing and /health answered within 10 s: the socket of ffmpeg holds a minute of sound, and
// the watchdog of the unit waits for three.

import { statfs } from "node:fs/promises";
import { delay } from "@std/async/delay";
import { join } from "@std/path/join";
import { Wakeup } from "../system/wakeup.ts";
import {
  CHUNK_DIRS,
  type ChunkDir,
  type ChunkName,
  compareChunkNames,
  formatChunkName,
  formatPartName,
  parseChunkName,
  type PartName,
} from "../chunk/chunk_name.ts";
import { type BootTime, readBootTime } from "./boot_time.ts";
import { CoalescedSync } from "./coalesced_sync.ts";
import {
  freeBytesOf,
  modifiedMs,
  PRIVATE_FILE,
  readWholeText,
  removeIfThere,
  renameIfThere,
  sizeOf,
  syncDirectory,
  writeWhole,
} from "../system/disk.ts";
import { GapLog } from "../status/gap_log.ts";
import type { Tally } from "../status/tally.ts";
import { DeliveredDeletions } from "./deletions.ts";
import { Folder } from "./folder.ts";
import { LatestChunk } from "./latest_chunk.ts";
import { SYSTEM_TIMING, type WatchTiming } from "./folder_watch.ts";
import { type Outbox, PartFile } from "./part_file.ts";
import { copyReason, reasonPath, removeOldReason, writeReason } from "./reason_file.ts";
import { lockSpool, SpoolLockedError } from "./spool_lock.ts";
import { retimed } from "./true_time.ts";
import { messageOf } from "../system/error_text.ts";

/**
 * A week of chunks of 1 s, in 21 MB; if all are provisional, four sevenths of them in the same memory. While
 * a larger backlog is delivered, its folder is listed again each time these have run out: a listing takes
 * 5 µs for each name in it.
 */
const HELD_NAMES = 610_000;
/** How many names are checked without a pause. */
const NAMES_AT_ONCE = 1000;
/** While a backlog is delivered, this many delivered chunks share the syncs of their folders. */
const FILED_AT_ONCE = 16;
/** Holds the name of the last chunk if that was deleted at delivery: the next start continues after it. */
const LAST_DELETED = "last_deleted";
/** Recordings are people's voices: only the user of the service can read them. */
const PRIVATE_DIR = 0o700;

export class Spool {
  readonly dir: string;
  /** Rings when a chunk has been sealed into outbox/. */
  readonly sealed = new Wakeup();
  /** Rings when something did not fit, or may not fit. */
  readonly roomWanted = new Wakeup();
  /** Rings when a chunk whose time is provisional has been sealed. */
  readonly provisional = new Wakeup();
  /**
   * What is in each directory, updated with each change and not recounted. After `open`, and after another
   * process has changed something, `bytes` is too low, never too high, until `countSizes` is done.
   */
  readonly tally: Readonly<Record<ChunkDir, Tally>>;
  /** Keys of chunks that are being sent or filed: their names must not change meanwhile. */
  readonly sending = new Set<string>();
  /** Keys of undelivered chunks that are about to be deleted: none of them is sent or renamed. */
  readonly deleting = new Set<string>();
  /** Chunks that the server has accepted and that are still undelivered by their directory, by key. */
  readonly accepted = new Map<
    string,
    { readonly dir: "outbox" | "rejected"; readonly name: ChunkName }
  >();
  /** False: a chunk is deleted at the moment of delivery, and never comes into uploaded/. */
  keepsDelivered = true;
  /** Delivered chunks that were deleted. */
  readonly deliveredDeletions = new DeliveredDeletions();
  /** Declared gaps, gaps.jsonl. */
  readonly gaps: GapLog;
  /** Sound in chunks that another process put into outbox/ since the spool was opened, microseconds. */
  returnedUs = 0;
  /** Called when the number of refused chunks may have changed, by another process, too. */
  rejectedChanged: () => void = () => {};
  /** When the boot began whose clock became right last, as an earlier run wrote it; null if none did. */
  readonly bootTime: BootTime | null;
  readonly #latest = new LatestChunk();
  #created = 0;
  readonly #lock: Deno.FsFile;
  readonly #folders: Readonly<Record<ChunkDir, Folder>>;
  #lastTurn: Promise<unknown> = Promise.resolve();
  /** Chunks filed as delivered since the last sync was requested. */
  #unsynced = 0;
  readonly #uploadedSync = new CoalescedSync(() => this.#syncMove("outbox", "uploaded"));

  private constructor(
    dir: string,
    lock: Deno.FsFile,
    bootTime: BootTime | null,
    heldNames: number,
    timing: WatchTiming,
  ) {
    this.dir = dir;
    this.bootTime = bootTime;
    this.gaps = new GapLog(dir);
    this.#lock = lock;
    const folder = (sub: ChunkDir) => new Folder(join(dir, sub), heldNames, timing);
    const [outbox, uploaded, rejected] = [folder("outbox"), folder("uploaded"), folder("rejected")];
    this.#folders = { outbox, uploaded, rejected };
    this.tally = { outbox: outbox.tally, uploaded: uploaded.tally, rejected: rejected.tally };
  }

  /**
   * Creates the directories, takes the lock and counts the files that are there. `countSizes` reads their
   * sizes later, so that a start takes no longer than one listing.
   * @param heldNames how many names of each directory are held; it is listed again when they run out.
   * @param timing how long changes take, as folder_watch.ts uses it.
   * @throws {SpoolLockedError} if another process has the spool.
   * @throws an error that names the directory if it cannot be created or written.
   */
  static async open(
    dir: string,
    heldNames = HELD_NAMES,
    timing: WatchTiming = SYSTEM_TIMING,
  ): Promise<Spool> {
    let lock: Deno.FsFile | null = null;
    try {
      await Deno.mkdir(join(dir, ".."), { recursive: true });
      await makeDirectories(dir);
      lock = await lockSpool(dir);
      const bootTime = await readBootTime(dir);
      const spool = new Spool(dir, lock, bootTime, heldNames, timing);
      for (const sub of CHUNK_DIRS) {
        await spool.#folders[sub].list((_, name) => spool.#latest.listed(name));
      }
      const last = await readWholeText(join(dir, LAST_DELETED), 1000).catch(() => "");
      const deleted = parseChunkName(last.trim());
      if (deleted !== null) spool.#latest.listed(spool.#withTrueTime(deleted));
      return spool;
    } catch (error) {
      lock?.close();
      throw error instanceof SpoolLockedError ? error : unusable(dir, error);
    }
  }

  /** The name with the true time, if an earlier run knew it. */
  #withTrueTime(name: ChunkName): ChunkName {
    const { bootTime } = this;
    return bootTime === null ? name : retimed(name, { ...bootTime, unixS: null }) ?? name;
  }

  /** Releases the lock. Await `uploadedSynced` before. */
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

  /** Whether another process has changed a directory, as far as folder_watch.ts can tell. */
  isTouched(dir: ChunkDir): boolean {
    return this.#folders[dir].watch.isTouched;
  }

  /**
   * Lists a directory. Returns the sealed chunks that are wanted, the oldest first; other files are
   * ignored. If another process added or removed files, the tally is corrected, sizes included.
   */
  async recount(
    dir: ChunkDir,
    isWanted: (chunk: ChunkName) => boolean = () => true,
  ): Promise<ChunkName[]> {
    const wanted: ChunkName[] = [];
    const folder = this.#folders[dir];
    await this.#inTurn(async () => {
      if (folder.watch.isTouched) await folder.watch.settled();
      await this.#list(dir, (_, chunk) => {
        if (isWanted(chunk)) wanted.push(chunk);
      });
    });
    if (folder.isCorrected) await this.countSizes([dir]);
    return wanted.sort(compareChunkNames);
  }

  /**
   * Adds the missing sizes to the tally, a few files at a time, while chunks come and go. A chunk whose
   * size cannot be read from a broken disk counts as empty until the next call.
   * @param signal ends the counting early, as a large spool takes seconds; the next call continues.
   */
  async countSizes(
    dirs: readonly ChunkDir[] = CHUNK_DIRS,
    signal: AbortSignal | null = null,
  ): Promise<void> {
    for (const folder of dirs.map((dir) => this.#folders[dir])) {
      if (signal?.aborted) return;
      await this.#inTurn(() => folder.countUnsized());
      while (!signal?.aborted && await this.#inTurn(() => folder.countSizes()));
    }
  }

  /**
   * Finds chunks that another process has put into outbox/, from rejected/ or from elsewhere, while this
   * process has the spool: they are counted, and offered in their order. Cheap if nothing has changed
   * there.
   */
  async noticeReturned(): Promise<void> {
    for (const dir of ["rejected", "outbox"] as const) {
      if (this.isTouched(dir)) await this.recount(dir, () => false);
    }
  }

  /** The chunk that has waited longest, if that is known without a listing; else undefined. */
  get oldestWaitingNow(): ChunkName | null | undefined {
    const oldest = this.#folders.outbox.oldestHeld(() => true);
    return oldest ?? (this.#isKnown("outbox") ? null : undefined);
  }

  /** The chunk that was recorded last, in this or an earlier run; null if there is none. */
  latest(bootId: string): ChunkName | null {
    return this.#latest.find(bootId);
  }

  /** Whether the start found chunks of this boot whose times are provisional. */
  hasProvisional(bootId: string): boolean {
    return this.#latest.has(bootId);
  }

  /** A waiting chunk by its key, or null. */
  async waitingWithKey(key: string): Promise<ChunkName | null> {
    const { outbox } = this.#folders;
    const held = outbox.heldWithKey(key);
    if (held !== null || this.#isKnown("outbox")) return held;
    const [found = null] = await this.recount("outbox", (name) => name.key === key);
    return found;
  }

  /** The oldest wanted chunk in a directory, or null. */
  async oldest(
    dir: ChunkDir,
    isWanted: (name: ChunkName) => boolean = () => true,
  ): Promise<ChunkName | null> {
    const folder = this.#folders[dir];
    const held = folder.oldestHeld(isWanted);
    if (held !== null || this.#isKnown(dir)) return held;
    return await this.#inTurn(async () => {
      // Another call may have listed it meanwhile.
      const held = folder.oldestHeld(isWanted);
      if (held !== null || this.#isKnown(dir)) return held;
      if (this.isTouched(dir)) await this.#list(dir);
      else await folder.listOldest();
      return folder.oldestHeld(isWanted);
    });
  }

  /**
   * Finds old chunks without listing the directory: from the oldest on, up to the first that is not old,
   * because chunks that start later are not old either. A chunk whose time is provisional says nothing
   * about the others. `isCutShort`: all held names were checked, and there are more chunks.
   */
  async findOld(
    dir: ChunkDir,
    isOld: (name: ChunkName) => boolean,
  ): Promise<{ old: ChunkName[]; isCutShort: boolean }> {
    const folder = this.#folders[dir];
    const old: ChunkName[] = [];
    await this.oldest(dir); // names are held from here on
    let behind: ChunkName | undefined;
    while (old.length < NAMES_AT_ONCE) {
      const names = folder.take(NAMES_AT_ONCE, behind);
      for (const name of names) {
        if (isOld(name)) old.push(name);
        else if (name.provisional === undefined) return { old, isCutShort: false };
      }
      if (names.length < NAMES_AT_ONCE) return { old, isCutShort: !folder.isAllHeld };
      behind = names.at(-1);
      await delay(0);
    }
    return { old, isCutShort: false };
  }

  /** Creates the directories that somebody has deleted: without one nothing could be filed there. */
  async ensureDirectories(): Promise<void> {
    await makeDirectories(this.dir);
  }

  /** Creates a file in recording/. */
  async create(name: PartName): Promise<PartFile> {
    const path = this.path("recording", formatPartName(name));
    const file = await Deno.open(path, { createNew: true, write: true, mode: PRIVATE_FILE });
    const number = ++this.#created;
    const outbox: Outbox = {
      admit: (fromPath, name) => this.admit(fromPath, name, number),
      syncAdmitted: () => this.syncAdmitted(),
    };
    return new PartFile(outbox, file, path);
  }

  /**
   * Moves a finished, synced file into outbox/ and rings `sealed`; `syncAdmitted` makes that durable.
   * @param number of the chunk in this run, by its beginning; null: an earlier run recorded it.
   * @throws {Deno.errors.NotFound} if the file is gone.
   */
  async admit(
    fromPath: string,
    name: ChunkName,
    number: number | null = null,
  ): Promise<string> {
    const fileName = formatChunkName(name);
    const { size } = await Deno.lstat(fromPath);
    const { outbox } = this.#folders;
    // Not in turn: a recording does not wait until a directory has been listed.
    outbox.arrives(fileName);
    try {
      await outbox.watch.change(async () => {
        await Deno.rename(fromPath, this.path("outbox", fileName));
        outbox.came(fileName, name, size);
      });
    } finally {
      outbox.arrivalEnds(fileName);
    }
    if (number === null) this.#latest.recovered(name);
    else this.#latest.admitted(name, number);
    this.sealed.ring();
    if (name.provisional !== undefined) this.provisional.ring();
    return fileName;
  }

  /**
   * Changes the time in the name of a chunk; its key stays. False: the chunk is being sent or deleted. A
   * chunk that is gone is skipped.
   */
  async rename(dir: ChunkDir, fileName: string, name: ChunkName): Promise<boolean> {
    const folder = this.#folders[dir];
    const free = await this.#inTurn(async () => {
      const from = this.path(dir, fileName);
      const newName = formatChunkName(name);
      const to = this.path(dir, newName);
      const oldName = parseChunkName(fileName);
      const size = await sizeOf(from);
      if (size === null || oldName === null) return true;
      if (dir === "rejected") await folder.watch.change(() => copyReason(from, to));
      const isFree = await folder.watch.change(() => {
        // Nothing starts to send the chunk between this check and the rename: there is no await.
        if (this.sending.has(oldName.key) || this.deleting.has(oldName.key)) return false;
        Deno.renameSync(from, to);
        folder.left(fileName, oldName, size);
        folder.came(newName, name, size);
        this.#latest.renamed(name);
        return true;
      });
      if (!isFree) return false;
      if (dir === "rejected") {
        await folder.watch.change(() => removeOldReason(from)).catch(() => {});
      }
      return true;
    });
    this.sealed.ring();
    return free;
  }

  /** Makes the chunks that were admitted until now survive a power cut. */
  async syncAdmitted(): Promise<void> {
    await syncDirectory(join(this.dir, "outbox"));
    await syncDirectory(join(this.dir, "recording"));
  }

  /**
   * Files a waiting chunk as delivered. This survives a power cut only a moment later, so that the next
   * chunk need not wait for it. False: the chunk was gone already, and is forgotten.
   * @param sizeBytes if it is known.
   */
  async markUploaded(fileName: string, sizeBytes?: number): Promise<boolean> {
    const isMoved = await this.#fileDelivered("outbox", fileName, sizeBytes);
    if (++this.#unsynced >= FILED_AT_ONCE) this.syncUploaded();
    return isMoved;
  }

  async #fileDelivered(
    dir: "outbox" | "rejected",
    fileName: string,
    sizeBytes?: number,
  ): Promise<boolean> {
    if (this.keepsDelivered) return await this.#move(dir, fileName, "uploaded", sizeBytes);
    const isDeleted = await this.#inTurn(async () => {
      const folder = this.#folders[dir];
      const path = this.path(dir, fileName);
      const name = parseChunkName(fileName);
      const size = await sizeOf(path);
      if (name === null) return false;
      if (size === null) {
        folder.isMissing(name);
        return false;
      }
      if (this.#latest.isLatest(name)) await this.#remember(fileName);
      await folder.watch.change(() => {
        Deno.removeSync(path);
        folder.left(fileName, name, size);
      });
      this.deliveredDeletions.add(name, size);
      return true;
    });
    if (dir === "rejected") this.rejectedChanged();
    return isDeleted;
  }

  /** An older name would make delivered sound count as missing: rather none than that one. */
  async #remember(fileName: string): Promise<void> {
    const path = join(this.dir, LAST_DELETED);
    await writeWhole(path, `${fileName}\n`).catch(() => removeIfThere(path)).catch(() => {});
  }

  /**
   * Files a refused chunk as delivered; its reason is deleted when that survives a power cut. False: the
   * chunk was gone already, and is forgotten.
   */
  async markRejectedUploaded(fileName: string, sizeBytes?: number): Promise<boolean> {
    if (!await this.#fileDelivered("rejected", fileName, sizeBytes)) return false;
    const reason = reasonPath(this.path("rejected", fileName));
    // A reason that is left is deleted when it expires.
    await this.#syncMove("rejected", this.keepsDelivered ? "uploaded" : "rejected")
      .then(() => this.#folders.rejected.watch.change(() => removeIfThere(reason)))
      .catch(() => {});
    return true;
  }

  /** Requests that the chunks filed as delivered survive a power cut, soon. */
  syncUploaded(): void {
    if (this.#unsynced === 0) return;
    this.#unsynced = 0;
    this.#uploadedSync.request();
  }

  /** Resolves when the chunks filed as delivered survive a power cut, or when the disk has refused that. */
  async uploadedSynced(): Promise<void> {
    this.syncUploaded();
    await this.#uploadedSync.settled();
  }

  /**
   * Files a waiting chunk as refused, with its reason beside it as `NAME.reason.json`. False: the chunk was
   * gone already, and is forgotten.
   */
  async reject(fileName: string, reason: Readonly<Record<string, unknown>>): Promise<boolean> {
    const { watch } = this.#folders.rejected;
    const path = this.path("rejected", fileName);
    await watch.change(() => writeReason(path, reason));
    let isMoved = false;
    try {
      isMoved = await this.#move("outbox", fileName, "rejected");
    } finally {
      if (!isMoved) await watch.change(() => removeIfThere(reasonPath(path))).catch(() => {});
    }
    // See #syncMove: it has been moved.
    if (isMoved) await this.#syncMove("outbox", "rejected").catch(() => {});
    return isMoved;
  }

  /** Moves a file that is not a recording from recording/ to rejected/, with its reason beside it. */
  async setAside(fileName: string, reason: Readonly<Record<string, unknown>>): Promise<void> {
    const to = this.path("rejected", fileName);
    await this.#folders.rejected.watch.change(async () => {
      await writeReason(to, reason);
      await Deno.rename(this.path("recording", fileName), to);
    });
  }

  /** Deletes a sealed chunk and returns its size; null if it was gone already, or is being sent. */
  remove(dir: ChunkDir, fileName: string): Promise<number | null> {
    return this.#inTurn(async () => {
      const path = this.path(dir, fileName);
      const name = parseChunkName(fileName);
      if (name === null) return null;
      const folder = this.#folders[dir];
      const size = await sizeOf(path);
      const isFree = await folder.watch.change(() => {
        if (this.sending.has(name.key)) return false;
        if (size !== null) {
          Deno.removeSync(path);
          folder.left(fileName, name, size);
          if (dir === "uploaded") this.deliveredDeletions.add(name, size);
        } else folder.isMissing(name);
        return true;
      });
      if (!isFree) return null;
      // The chunk is gone and must be counted; a reason that is left is deleted when it expires.
      if (dir === "rejected") {
        this.rejectedChanged();
        await folder.watch.change(() => removeIfThere(reasonPath(path))).catch(() => {});
      }
      return size;
    });
  }

  /**
   * Deletes files in rejected/ that are not chunks (files set aside, reasons without a chunk) and were
   * last written before `unixMs`. Returns the names of the deleted files.
   */
  async removeStrays(unixMs: number): Promise<string[]> {
    const strays: string[] = [];
    const dir = join(this.dir, "rejected");
    for await (const { name, isFile } of Deno.readDir(dir)) {
      if (!isFile || parseChunkName(name) !== null) continue;
      // A reason is younger than its chunk: most need not be checked.
      const chunk = parseChunkName(name.replace(/\.reason\.json$/, ""));
      if (chunk !== null && chunk.startUnixUs / 1000 >= unixMs) continue;
      const mtime = await modifiedMs(join(dir, name));
      if (mtime !== null && mtime < unixMs) strays.push(name);
    }
    const removed: string[] = [];
    // A file set aside sorts before its reason, which is deleted with it.
    for (const name of strays.sort()) if (await this.#removeStray(name)) removed.push(name);
    return removed;
  }

  /** A reason stays as long as its chunk, whose time may have become known only now. */
  #removeStray(fileName: string): Promise<boolean> {
    return this.#inTurn(async () => {
      const chunk = fileName.replace(/\.reason\.json$/, "");
      const isReason = chunk !== fileName && await sizeOf(this.path("rejected", chunk)) !== null;
      const { watch } = this.#folders.rejected;
      if (!isReason) await watch.change(() => removeIfThere(this.path("rejected", fileName)));
      return !isReason;
    });
  }

  /** A chunk is gone from its directory, for whatever reason: it is not offered again. */
  forgetMissing(dir: ChunkDir, fileName: string): void {
    const name = parseChunkName(fileName);
    if (name !== null) this.#folders[dir].isMissing(name);
  }

  async #move(
    from: "outbox" | "rejected",
    fileName: string,
    to: "uploaded" | "rejected",
    sizeBytes?: number,
  ): Promise<boolean> {
    const isMoved = await this.#inTurn(async () => {
      const [source, target] = [this.#folders[from], this.#folders[to]];
      const path = this.path(from, fileName);
      const name = parseChunkName(fileName);
      const size = sizeBytes ?? await sizeOf(path);
      if (name === null) return false;
      const move = async () => {
        const isMoved = size !== null && await renameIfThere(path, this.path(to, fileName));
        if (isMoved) {
          source.left(fileName, name, size);
          target.came(fileName, name, size);
        } else source.isMissing(name);
        return isMoved;
      };
      return await source.watch.change(() => target.watch.change(move));
    });
    if (from === "rejected" || to === "rejected") this.rejectedChanged();
    return isMoved;
  }

  /**
   * Makes moves survive a power cut. If the sync fails, a chunk at worst is in its old directory again
   * after a power cut, under the same key.
   */
  async #syncMove(from: "outbox" | "rejected", to: "uploaded" | "rejected"): Promise<void> {
    // In this order, so that a power cut leaves a chunk in at least one of them.
    for (const dir of [to, from]) await syncDirectory(join(this.dir, dir));
  }

  /** In turn only. */
  async #list(
    dir: ChunkDir,
    visit?: (fileName: string, name: ChunkName) => void,
  ): Promise<void> {
    const moreUs = await this.#folders[dir].list(visit);
    if (dir === "outbox") this.returnedUs += Math.max(0, moreUs);
    // Refused chunks that are gone are requeued ones as a rule. A change of our own in outbox/ may have
    // hidden that they came.
    if (dir === "rejected" && moreUs < 0) this.#folders.outbox.watch.touch();
    if (dir === "rejected") this.rejectedChanged();
  }

  /** Whether all chunks in a directory are held, as far as folder_watch.ts can tell. */
  #isKnown(dir: ChunkDir): boolean {
    return this.#folders[dir].isAllHeld && !this.isTouched(dir);
  }

  /** Makes one change at a time, so that a listing of a directory agrees with its tally. */
  #inTurn<T>(change: () => T | Promise<T>): Promise<T> {
    const done = this.#lastTurn.then(change);
    this.#lastTurn = done.catch(() => {});
    return done;
  }
}

async function makeDirectories(dir: string): Promise<void> {
  for (const sub of ["", "recording", ...CHUNK_DIRS]) {
    await Deno.mkdir(join(dir, sub), { recursive: true, mode: PRIVATE_DIR });
  }
}

function unusable(dir: string, error: unknown): Error {
  return new Error(
    `Cannot use spool_dir as it must be a directory this user can write: ` +
      `${dir}: ${messageOf(error)}`,
    { cause: error },
  );
}
