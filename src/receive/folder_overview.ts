// Which tills a folder has, and how complete the latest day of each is. It reads names of files, and the
// beginning of the chunks around a hole, keeps what it found until a folder changes, and looks at most every ten
// seconds. It changes nothing.

import { delay } from "@std/async/delay";
import { join } from "@std/path/join";
import { type DayFile, HEAD_BYTES, HoleCauses } from "./hole_causes.ts";
import { parseChunkName } from "../chunk/chunk_name.ts";
import type { Clock } from "../system/clock.ts";
import { readUpTo } from "../system/disk.ts";
import { uuidOf } from "./chunk_form.ts";
import { type Coverage, coverageOf, type LatestDay, latestDayOf } from "./day_coverage.ts";
import { MAX_TILLS, type Overview, type OverviewSource, type Till } from "./overview.ts";

/** How old an overview may be. */
export const MAX_AGE_MS = 10_000;

/** A day has at most 86,400 chunks. */
const MAX_NAMES = 100_000;
/** Some milliseconds of work. */
const NAMES_IN_ONE_GO = 1000;

/** File systems have coarse timestamps. */
const SETTLED_MS = 2000;

/** What was found in the folder of a day, and when that had changed last. */
type Known = Map<string, {
  readonly changed: number;
  readonly coverage: Coverage | null;
  readonly hasOthers: boolean;
}>;

export class FolderOverview implements OverviewSource {
  readonly #dir: string;
  readonly #clock: Clock;
  readonly #maxNames: number;
  /** By the path of a day's folder. */
  #known: Known = new Map();
  #latest: { readonly atMs: number; readonly overview: Promise<Overview> } | null = null;

  readonly #causes = new HoleCauses(headOf);
  #isLooking = false;

  /** @param maxNames how many files of a day are looked at. */
  constructor(dir: string, clock: Clock, maxNames = MAX_NAMES) {
    this.#dir = dir;
    this.#clock = clock;
    this.#maxNames = maxNames;
  }

  /** @throws the error of the file system. */
  async read(): Promise<Overview> {
    const nowMs = this.#clock.monotonicMs();
    const isOld = this.#latest === null || nowMs - this.#latest.atMs >= MAX_AGE_MS;
    if (this.#latest === null || (isOld && !this.#isLooking)) {
      this.#isLooking = true;
      const overview = this.#look().finally(() => this.#isLooking = false);
      this.#latest = { atMs: nowMs, overview };
    }
    return await this.#latest.overview;
  }

  async #look(): Promise<Overview> {
    const tills: Till[] = [];
    const seen: Known = new Map();
    const rest = { unseen: 0, lookedUnixMs: this.#clock.unixMs() };
    for (const pointId of await uuidsIn(this.#dir)) {
      for (const registerId of await uuidsIn(join(this.#dir, pointId))) {
        const register = join(this.#dir, pointId, registerId);
        for (const deviceId of await uuidsIn(register)) {
          if (tills.length >= MAX_TILLS) {
            this.#known = seen;
            return { tills, isCut: true, ...rest };
          }
          const found = await this.#latestDay(join(register, deviceId), seen);
          if (found !== null) tills.push({ pointId, registerId, deviceId, ...found });
        }
      }
    }
    this.#known = seen;
    return { tills, isCut: false, ...rest };
  }

  async #latestDay(device: string, seen: Known): Promise<LatestDay | null> {
    const nowMs = this.#clock.unixMs();
    const today = new Date(nowMs).toISOString().slice(0, 10);
    const days: string[] = [];
    for (const day of await namesIn(device)) {
      if (!/^\d{4}-\d\d-\d\d$/.test(day)) continue;
      if (day <= today || (await chunksIn(join(device, day), 1)).length > 0) days.push(day);
    }
    return await latestDayOf(days, nowMs, async (day, isWanted) => {
      const path = join(device, day);
      const mtimeMs = (await Deno.stat(path)).mtime?.getTime() ?? NaN;
      // A folder that has just changed may change again without another time.
      const changed = nowMs - mtimeMs > SETTLED_MS ? mtimeMs : NaN;
      let known = this.#known.get(path);
      if (known?.changed !== changed) {
        const all = await chunksIn(path, this.#maxNames);
        const files = all.filter(({ name }) => isWanted(name));
        const found = coverageOf(files.map(({ name }) => name));
        const coverage = found && await this.#causes.explain(found, files);
        // What is in the future now is not at a later look.
        const isPast = all.every(({ name }) => name.startUnixUs + name.durationUs <= nowMs * 1000);
        const hasOthers = files.length < all.length;
        known = { changed: isPast ? changed : NaN, coverage, hasOthers };
      }
      seen.set(path, known);
      return known;
    });
  }
}

async function uuidsIn(dir: string): Promise<string[]> {
  return (await namesIn(dir)).filter((name) => uuidOf(name) === name).sort();
}

/** The chunks of a day, without blocking uploads: a till may have sent any number of them. */
async function chunksIn(path: string, maxNames: number): Promise<DayFile[]> {
  const files: DayFile[] = [];
  let names = 0;
  for await (const { name: file } of Deno.readDir(path)) {
    if (++names > maxNames) break;
    if (names % NAMES_IN_ONE_GO === 0) await delay(0);
    const name = parseChunkName(file);
    if (name !== null) files.push({ name, path: join(path, file) });
  }
  return files;
}

/** A folder that was removed meanwhile is empty. */
async function namesIn(dir: string): Promise<string[]> {
  try {
    return (await Array.fromAsync(Deno.readDir(dir))).map(({ name }) => name);
  } catch (error) {
    if (error instanceof Deno.errors.NotFound || error instanceof Deno.errors.NotADirectory) {
      return [];
    }
    throw error;
  }
}

/** The beginning of a file. */
async function headOf(path: string): Promise<Uint8Array> {
  using file = await Deno.open(path, { read: true });
  return await readUpTo(file, HEAD_BYTES);
}
