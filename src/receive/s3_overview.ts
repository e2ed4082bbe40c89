// Which tills a bucket has, and how complete the latest day of each is, from listings: two for each till, one
// for each point and register; and from the beginning of the chunks around a hole. It looks at most once a
// minute, and at most a tenth of the time. What a look cannot list stays as an earlier look saw it; a look that
// can list nothing is an error, which is reported, and what was seen before is shown for a while. It changes
// nothing.

import { parseChunkName } from "../chunk/chunk_name.ts";
import type { Clock } from "../system/clock.ts";
import { uuidOf } from "./chunk_form.ts";
import { coverageOf, latestDayOf } from "./day_coverage.ts";
import { type DayFile, HEAD_BYTES, HoleCauses } from "./hole_causes.ts";
import { MAX_TILLS, type Overview, type OverviewSource, type Till } from "./overview.ts";
import type { S3Client } from "./s3_client.ts";
import { StoreFailure } from "./store.ts";

/** How old an overview may be, unless a look takes long. */
export const MAX_S3_AGE_MS = 60_000;
/** What is older is not shown while looks fail. */
export const STALE_MS = 15 * 60_000;
/** A look takes at most one part in this many of the time. */
const IDLE_SHARE = 10;
/** Tills that are looked at together: more requests would keep uploads waiting. */
const TOGETHER = 16;
/** Uploads may have all turns for the ten seconds that one wait takes: how often a look waits. */
const WAITS = 6;

export interface S3OverviewOptions {
  readonly client: S3Client;
  /** "" or a text that ends with a slash. */
  readonly prefix: string;
  readonly clock: Clock;
  /** Called after a look that could not list something, while what was seen before is shown. */
  readonly onFailure: (error: unknown) => void;
}

/** What was found below a prefix, and when. */
interface Found<T> {
  readonly value: T;
  readonly atUnixMs: number;
}

/** What one look has found, by prefix. */
class Look {
  readonly levels = new Map<string, Found<readonly string[]>>();
  readonly tills = new Map<string, Found<Till | null>>();
  unseen = 0;
  succeeded = 0;
  failedInARow = 0;
  error: unknown = null;
  /** How long it was at work, ms; it was not while it waited for its turns. */
  workMs = 0;
  #turns = 0;
  #sinceMs = 0;

  /** A turn of it begins or ends. */
  count(step: 1 | -1, nowMs: number): void {
    if (this.#turns > 0) this.workMs += nowMs - this.#sinceMs;
    this.#turns += step;
    this.#sinceMs = nowMs;
  }
}

export class S3Overview implements OverviewSource {
  readonly #options: S3OverviewOptions;
  readonly #causes: HoleCauses;
  #latest: Promise<Overview> | null = null;
  #isLooking = false;
  #nextMs = -Infinity;
  /** The last look that found something, and when it was over. */
  #known: { readonly look: Look; readonly atMs: number } | null = null;
  /** Of the last look, if it found nothing. */
  #failure: { readonly error: unknown } | null = null;

  constructor(options: S3OverviewOptions) {
    this.#options = options;
    this.#causes = new HoleCauses((name) => options.client.read(name, HEAD_BYTES));
  }

  async read(): Promise<Overview> {
    const nowMs = this.#options.clock.monotonicMs();
    if (this.#latest === null || (!this.#isLooking && nowMs >= this.#nextMs)) {
      this.#isLooking = true;
      const looking = this.#look();
      // What is known already is shown until the look is over.
      this.#latest ??= looking;
      looking.then(() => this.#latest = looking, (error) => {
        if (this.#latest === looking) this.#latest = null; // the next reader tries again
        else this.#options.onFailure(error); // nobody has it
      });
    }
    const isStale = this.#known !== null && nowMs - this.#known.atMs > STALE_MS;
    if (isStale && this.#failure !== null) throw this.#failure.error;
    return await this.#latest;
  }

  async #look(): Promise<Overview> {
    const { clock, onFailure } = this.#options;
    const look = new Look();
    const lookedUnixMs = clock.unixMs();
    try {
      const devices = await this.#devices(look);
      const wanted = devices.slice(0, MAX_TILLS);
      await this.#each(
        look,
        look.tills,
        this.#known?.look.tills,
        wanted,
        (device) => this.#till(device),
      );
      if (look.succeeded === 0) throw look.error;
      this.#known = { look, atMs: clock.monotonicMs() };
      this.#failure = null;
      if (look.error !== null) onFailure(look.error);
      const tills = [...look.tills.values()];
      return {
        tills: tills.flatMap(({ value }) => value ?? []),
        isCut: devices.length > MAX_TILLS,
        unseen: look.unseen,
        lookedUnixMs: [...tills, ...look.levels.values()].reduce(
          (oldest, { atUnixMs }) => Math.min(oldest, atUnixMs),
          lookedUnixMs,
        ),
      };
    } catch (error) {
      this.#failure = { error };
      throw error;
    } finally {
      this.#nextMs = clock.monotonicMs() + Math.max(MAX_S3_AGE_MS, IDLE_SHARE * look.workMs);
      this.#isLooking = false;
    }
  }

  /** Prefixes POINT/REGISTER/DEVICE/ in order, and not many more than can be shown. */
  async #devices(look: Look): Promise<readonly string[]> {
    let level: readonly string[] = [this.#options.prefix];
    for (let depth = 0; depth < 3; depth++) {
      const below: string[] = [];
      for (let at = 0; at < level.length && below.length <= MAX_TILLS; at += TOGETHER) {
        const some = level.slice(at, at + TOGETHER);
        await this.#each(
          look,
          look.levels,
          this.#known?.look.levels,
          some,
          (one) => this.#below(one),
        );
        const found = some.flatMap((prefix) => look.levels.get(prefix)?.value ?? []);
        below.push(...found.filter((prefix) => uuidOf(lastOf(prefix)) === lastOf(prefix)));
      }
      level = below;
    }
    return level;
  }

  /**
   * Lists what is below each of these prefixes; what cannot be listed is taken from what is known.
   * @throws if nothing can be listed any more.
   */
  async #each<T>(
    look: Look,
    into: Map<string, Found<T>>,
    known: ReadonlyMap<string, Found<T>> | undefined,
    prefixes: readonly string[],
    list: (prefix: string) => Promise<T>,
  ): Promise<void> {
    const { clock } = this.#options;
    for (let at = 0; at < prefixes.length; at += TOGETHER) {
      const some = prefixes.slice(at, at + TOGETHER);
      const found = await Promise.all(some.map(async (prefix): Promise<Found<T> | null> => {
        try {
          const value = await this.#turn(look, () => list(prefix));
          look.succeeded++;
          look.failedInARow = 0;
          return { value, atUnixMs: clock.unixMs() };
        } catch (error) {
          look.error = error;
          if (++look.failedInARow >= TOGETHER) throw error; // so will the others
          return known?.get(prefix) ?? null;
        }
      }));
      some.forEach((prefix, index) => {
        const one = found[index] ?? null;
        if (one === null) look.unseen++;
        else into.set(prefix, one);
      });
    }
  }

  /** Uploads of tills and what is looked at for pages take turns. */
  async #turn<T>(look: Look, work: () => Promise<T>): Promise<T> {
    const { client, clock } = this.#options;
    for (let waits = 1;; waits++) {
      try {
        return await client.turns.take("pages", async () => {
          look.count(1, clock.monotonicMs());
          return await work().finally(() => look.count(-1, clock.monotonicMs()));
        });
      } catch (error) {
        const isBusy = error instanceof StoreFailure && error.retryS !== null;
        if (!isBusy || waits === WAITS) throw error;
      }
    }
  }

  async #till(device: string): Promise<Till | null> {
    const { client, clock } = this.#options;
    const days = (await this.#below(device)).map(lastOf)
      .filter((day) => /^\d{4}-\d\d-\d\d$/.test(day));
    const [pointId = "", registerId = "", deviceId = ""] = device.split("/").slice(-4);
    const latest = await latestDayOf(days, clock.unixMs(), async (day, isWanted) => {
      const files: DayFile[] = [];
      let hasOthers = false;
      for await (const page of client.list(`${device}${day}/`, "/")) {
        for (const path of page.names) {
          const name = parseChunkName(lastOf(path));
          if (name === null) continue;
          if (isWanted(name)) files.push({ name, path });
          else hasOthers = true;
        }
      }
      const coverage = coverageOf(files.map(({ name }) => name));
      return { coverage: coverage && await this.#causes.explain(coverage, files), hasOthers };
    });
    return latest && { pointId, registerId, deviceId, ...latest };
  }

  /** The prefixes one level below this one, each with a slash at its end. */
  async #below(prefix: string): Promise<string[]> {
    const found: string[] = [];
    for await (const page of this.#options.client.list(prefix, "/")) {
      found.push(...page.prefixes);
      if (found.length > MAX_TILLS) break;
    }
    return found;
  }
}

/** The last part of a name or a prefix. */
function lastOf(path: string): string {
  return path.replace(/\/$/, "").split("/").at(-1) ?? "";
}
