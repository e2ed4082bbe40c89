// What is known of one folder of sealed chunks: how many there are, how long and how large, the names of
// the oldest, and whether another process has been at work in it. It lists the folder and asks for sizes;
// it never changes a file. Its owner tells it what came and went, and sees to it that nothing leaves
// while it lists or asks for sizes.
//
// A folder of any size is listed in small portions: the event loop goes on meanwhile. Sizes are asked for
// in the order of names: those of the chunks up to a certain name are in the tally, so that no list of
// what is still to be asked for is needed.

import type { Tally } from "../status/tally.ts";
import { delay } from "@std/async/delay";
import { join } from "@std/path/join";
import {
  type ChunkName,
  compareChunkNames,
  firstTextOf,
  formatChunkName,
  parseChunkName,
} from "../chunk/chunk_name.ts";
import { sizeOf } from "../system/disk.ts";
import { FolderWatch } from "./folder_watch.ts";
import { OldestNames } from "./oldest_names.ts";

/** Names that are looked at without a pause. */
const LISTED_AT_ONCE = 2000;
/** So many files are asked for their size at once. */
const SIZES_AT_ONCE = 16;

export class Folder {
  readonly tally: Tally = { files: 0, bytes: 0, durationUs: 0 };
  readonly watch: FolderWatch;
  readonly #path: string;
  readonly #heldNames: number;
  #held: OldestNames;
  #isListed = false;
  /** Whether sizes are being counted again, as another process changed something. */
  #isCorrected = false;
  /** Sizes of chunks up to this name are in the tally; null: none are; "all": all are. */
  #sizedTo: ChunkName | null | "all" = "all";
  /** The next names to be asked for their size, if they are not among those held. */
  #toSize: OldestNames | null = null;
  /** Names of chunks whose size the disk did not tell when it was asked. */
  readonly #unsized = new Set<string>();
  /** On their way into the folder just now. */
  readonly #arriving = new Set<string>();
  /** Came since a listing began; null: none is under way. */
  #arrived: Map<string, ChunkName> | null = null;

  /** @param heldNames of the oldest; the folder is listed again when they run out. */
  constructor(path: string, heldNames: number) {
    this.#path = path;
    this.#heldNames = heldNames;
    this.#held = new OldestNames(heldNames);
    this.watch = new FolderWatch(path);
  }

  /** A chunk is about to be moved here; only if that may happen while the folder is listed. */
  arrives(fileName: string): void {
    this.#arriving.add(fileName);
  }

  /** It came, or did not. */
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
    this.#held.forget(name);
    this.#toSize?.forget(name);
  }

  /** It was to be here and is not: another process took it, and with luck not only that. */
  isMissing(name: ChunkName): void {
    this.#held.forget(name);
    this.watch.touch();
  }

  /** The oldest chunk of those held that is wanted, or null. */
  oldestHeld(isWanted: (name: ChunkName) => boolean): ChunkName | null {
    return this.#held.find(isWanted);
  }

  heldWithKey(key: string): ChunkName | null {
    return this.#held.findKey(key);
  }

  /** Whether all names are held that are known of. */
  get isAllHeld(): boolean {
    return this.#held.isComplete;
  }

  /** Names of chunks that are held, the oldest first, from behind a name on; at most so many. */
  take(count: number, behind?: ChunkName): ChunkName[] {
    return this.#held.inOrder(behind).take(count).toArray();
  }

  /**
   * Shows every chunk in the folder once, in any order, and puts the tally right; sizes may then have to
   * be counted. Returns by how much more sound there is than was known, microseconds.
   * @param holdsAnew default true; false: the names that are held stay, if they can be right.
   */
  async list(
    visit: (fileName: string, name: ChunkName) => void = () => {},
    holdsAnew = true,
  ): Promise<number> {
    const held = holdsAnew || this.watch.isTouched ? new OldestNames(this.#heldNames) : null;
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
      // The names that are held were wrong after all.
      if (moreUs !== null && held === null) await this.listOldest();
      return moreUs ?? 0;
    } catch (error) {
      this.watch.touch();
      throw error;
    }
  }

  /** Lists the folder for the oldest names alone; no other process has been at work in it. */
  async listOldest(): Promise<void> {
    const held = new OldestNames(this.#heldNames);
    let boundUs = Infinity;
    let bound = "";
    const isAmongThem = (fileName: string) => {
      // Most need not be parsed.
      if (held.boundUs !== boundUs) bound = firstTextOf(boundUs = held.boundUs);
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
    this.#isCorrected = files > 0 && !isFirst;
    this.#toSize = null;
    this.#unsized.clear();
    return moreUs;
  }

  /** Whether sizes have to be asked for again, as another process changed something. */
  get isCorrected(): boolean {
    return this.#isCorrected;
  }

  /**
   * Brings the next few sizes into the tally. False: all have been asked for. A chunk whose size a
   * broken disk does not tell counts as empty until `countUnsized`.
   */
  async countSizes(): Promise<boolean> {
    let names = this.#nextToSize();
    if (names === null) {
      await this.#findNextToSize();
      names = this.#nextToSize() ?? [];
    }
    // What comes from here on, up to the last of them, brings its size with it.
    this.#sizedTo = names.at(-1) ?? "all";
    if (this.#sizedTo === "all") this.#isCorrected = false;
    await this.#count(names.map(formatChunkName));
    return names.length > 0;
  }

  /** Asks again for the sizes that the disk did not tell. */
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

  /** Names of the chunks whose sizes come next; empty: no more; null: they are not held. */
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
   * Shows every chunk in the folder and returns what `conclude` does: at that moment what was shown
   * agrees with the tally, if no other process was at work. What comes meanwhile is shown last.
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
        // Deno 2.7 reads all of a directory first, and gives it out without a pause.
        if (++listed % LISTED_AT_ONCE === 0) await delay(0);
      }
      for (const [fileName, name] of arrived) visit(fileName, name);
      return conclude();
    } finally {
      this.#arrived = null;
    }
  }
}
