// The known facts about one folder of sealed chunks: how many there are, how long and how large, the names
// of the oldest, and whether another process has changed it. It lists the folder and reads sizes; it never
// changes a file. Its owner reports which chunks came and left, and makes sure that none leaves while it
// lists or reads sizes.
//
// A folder of any size is listed in small portions, so that the event loop keeps running. Sizes are read
// in the order of names: the tally has the sizes of the chunks up to a certain name, so that no list of
// the remaining chunks is needed.

import type { Tally } from "../status/tally.ts";
import { delay } from "@std/async/delay";
import { join } from "@std/path/join";
import {
  type ChunkName,
  compareChunkNames,
  formatChunkName,
  formatTime,
  parseChunkName,
} from "../chunk/chunk_name.ts";
import { sizeOf } from "../system/disk.ts";
import { FolderWatch, type WatchTiming } from "./folder_watch.ts";
import { OldestNames } from "./oldest_names.ts";

/** How many names are read without a pause. */
const LISTED_AT_ONCE = 2000;
/** How many sizes are read at once. */
const SIZES_AT_ONCE = 16;

export class Folder {
  readonly tally: Tally = { files: 0, bytes: 0, durationUs: 0 };
  readonly watch: FolderWatch;
  readonly #path: string;
  readonly #heldNames: number;
  #held: OldestNames;
  #isListed = false;
  /** Whether sizes are being counted again because another process changed something. */
  #isCorrected = false;
  /** The tally has the sizes of chunks up to this name; null: of none; "all": of all. */
  #sizedTo: ChunkName | null | "all" = "all";
  /** The next names whose sizes are read, if they are not among the held names. */
  #toSize: OldestNames | null = null;
  /** Names of chunks whose size could not be read. */
  readonly #unsized = new Set<string>();
  /** File names of chunks that are being moved into the folder. */
  readonly #arriving = new Set<string>();
  /** Chunks that came since a listing began; null: no listing is under way. */
  #arrived: Map<string, ChunkName> | null = null;

  /** @param heldNames how many of the oldest names are held; the folder is listed again when they run out. */
  constructor(path: string, heldNames: number, timing: WatchTiming) {
    this.#path = path;
    this.#heldNames = heldNames;
    this.#held = new OldestNames(heldNames);
    this.watch = new FolderWatch(path, timing);
  }

  /** A chunk is about to be moved here. Needed only if that may happen while the folder is listed. */
  arrives(fileName: string): void {
    this.#arriving.add(fileName);
  }

  /** The move has ended: the chunk came, or it did not. */
  arrivalEnds(fileName: string): void {
    this.#arriving.delete(fileName);
  }

  came(fileName: string, name: ChunkName, sizeBytes: number): void {
    this.#arrived?.set(fileName, name);
    this.tally.files++;
    this.tally.durationUs += name.durationUs;
    if (this.#isSized(name)) this.tally.bytes += sizeBytes;
    else this.#toSize?.offer(name);
    this.#held.offer(name);
  }

  left(fileName: string, name: ChunkName, sizeBytes: number): void {
    const isUnsized = this.#unsized.delete(fileName) || !this.#isSized(name);
    this.tally.files--;
    this.tally.durationUs -= name.durationUs;
    if (!isUnsized) this.tally.bytes -= sizeBytes;
    // Sizes that another process changed are not seen, but an empty folder has none.
    if (this.tally.files === 0) this.tally.bytes = 0;
    this.#held.forget(name);
    this.#toSize?.forget(name);
  }

  /** The chunk should be here and is not: another process removed it, and perhaps others. */
  isMissing(name: ChunkName): void {
    this.#held.forget(name);
    this.watch.touch();
  }

  /** The oldest held chunk that is wanted, or null. */
  oldestHeld(isWanted: (name: ChunkName) => boolean): ChunkName | null {
    return this.#held.find(isWanted);
  }

  heldWithKey(key: string): ChunkName | null {
    return this.#held.findKey(key);
  }

  /** Whether all known names are held. */
  get isAllHeld(): boolean {
    return this.#held.isComplete;
  }

  /** At most `count` of the held names, the oldest first, only those after `behind`. */
  take(count: number, behind?: ChunkName): ChunkName[] {
    return this.#held.inOrder(behind).take(count).toArray();
  }

  /**
   * Visits every chunk in the folder once, in any order, and corrects the tally; sizes may have to be
   * counted after that. The held names are kept if they can be right. Returns how much more sound there is
   * than was known, microseconds.
   */
  async list(visit: (fileName: string, name: ChunkName) => void = () => {}): Promise<number> {
    const held = this.watch.isTouched ? new OldestNames(this.#heldNames) : null;
    this.watch.listingBegins();
    let [files, durationUs] = [0, 0];
    const add = (fileName: string, name: ChunkName) => {
      files++;
      durationUs += name.durationUs;
      held?.offer(name);
      visit(fileName, name);
    };
    try {
      const moreUs = await this.#scan(add, () => {
        if (held !== null) this.#held = held;
        return this.#correct(files, durationUs);
      });
      // The held names were wrong after all.
      if (moreUs !== null && held === null) await this.listOldest();
      return moreUs ?? 0;
    } catch (error) {
      this.watch.touch();
      throw error;
    }
  }

  /** Lists the folder only for its oldest names; no other process has changed it. */
  async listOldest(): Promise<void> {
    const held = new OldestNames(this.#heldNames);
    let boundUs = Infinity;
    let bound = "";
    const isAmongThem = (fileName: string) => {
      // Most names need not be parsed.
      if (held.boundUs !== boundUs) bound = formatTime(boundUs = held.boundUs);
      return boundUs === Infinity || fileName < bound;
    };
    await this.#scan((_, name) => held.offer(name), () => this.#held = held, isAmongThem);
  }

  #correct(files: number, durationUs: number): number | null {
    const { tally } = this;
    const isFirst = !this.#isListed;
    this.#isListed = true;
    if (files === tally.files && durationUs === tally.durationUs) return null;
    const moreUs = durationUs - tally.durationUs;
    Object.assign(tally, { files, bytes: 0, durationUs });
    this.#sizedTo = files === 0 ? "all" : null;
    this.#isCorrected = !isFirst;
    this.#toSize = null;
    this.#unsized.clear();
    return moreUs;
  }

  /** Whether sizes have to be read again because another process changed something. */
  get isCorrected(): boolean {
    return this.#isCorrected;
  }

  /**
   * Adds the next few sizes to the tally. False: all have been read. A chunk whose size cannot be read
   * from a broken disk counts as empty until `countUnsized`.
   */
  async countSizes(): Promise<boolean> {
    let names = this.#nextToSize();
    if (names === null) {
      await this.#findNextToSize();
      names = this.#nextToSize() ?? [];
    }
    // A chunk that comes from now on, up to the last of these names, is counted with its size.
    this.#sizedTo = names.at(-1) ?? "all";
    if (this.#sizedTo === "all") this.#isCorrected = false;
    await this.#count(names.map(formatChunkName));
    return names.length > 0;
  }

  /** Reads the sizes again that could not be read. */
  async countUnsized(): Promise<void> {
    const names = [...this.#unsized];
    this.#unsized.clear();
    for (let at = 0; at < names.length; at += SIZES_AT_ONCE) {
      await this.#count(names.slice(at, at + SIZES_AT_ONCE));
    }
  }

  async #count(fileNames: readonly string[]): Promise<void> {
    await Promise.all(fileNames.map(async (fileName) => {
      try {
        const size = await sizeOf(join(this.#path, fileName));
        if (size === null) this.watch.touch();
        else this.tally.bytes += size;
      } catch {
        this.#unsized.add(fileName);
      }
    }));
  }

  /** Names of the chunks whose sizes are read next; empty: there are no more; null: they are not held. */
  #nextToSize(): ChunkName[] | null {
    if (this.#sizedTo === "all") return [];
    const behind = this.#sizedTo ?? undefined;
    for (const names of [this.#held, this.#toSize]) {
      const next = names?.inOrder(behind).take(SIZES_AT_ONCE).toArray() ?? [];
      if (next.length > 0 || names?.isComplete) return next;
    }
    return null;
  }

  async #findNextToSize(): Promise<void> {
    const toSize = new OldestNames(this.#heldNames);
    const offer = (_: string, name: ChunkName) => {
      if (!this.#isSized(name)) toSize.offer(name);
    };
    await this.#scan(offer, () => this.#toSize = toSize);
  }

  #isSized(name: ChunkName): boolean {
    const to = this.#sizedTo;
    return to === "all" || (to !== null && compareChunkNames(name, to) <= 0);
  }

  /**
   * Visits every chunk in the folder and returns the result of `conclude`. When `conclude` runs, the
   * visited chunks agree with the tally, unless another process changed the folder. Chunks that come
   * meanwhile are visited last.
   */
  async #scan<T>(
    visit: (fileName: string, name: ChunkName) => void,
    conclude: () => T,
    isWanted: (fileName: string) => boolean = () => true,
  ): Promise<T> {
    let listed = 0;
    const arrived = new Map<string, ChunkName>();
    this.#arrived = arrived;
    try {
      for await (const { name: fileName, isFile } of Deno.readDir(this.#path)) {
        if (
          isFile && isWanted(fileName) && !arrived.has(fileName) && !this.#arriving.has(fileName)
        ) {
          const name = parseChunkName(fileName);
          if (name !== null) visit(fileName, name);
        }
        // Deno 2.7 first reads the whole directory, and then returns the entries without a pause.
        if (++listed % LISTED_AT_ONCE === 0) await delay(0);
      }
      for (const [fileName, name] of arrived) visit(fileName, name);
      return conclude();
    } finally {
      this.#arrived = null;
    }
  }
}
