// Which tills a bucket has, and how complete the latest day of each is, from listings: two for each till, one
// for each point and register; and from the beginning of the chunks around a hole. It looks at most once a
// minute, and at most a tenth of the time. It changes nothing.

import { parseChunkName } from "../chunk/chunk_name.ts";
import type { Clock } from "../system/clock.ts";
import { uuidOf } from "./chunk_form.ts";
import { coverageOf } from "./day_coverage.ts";
import { type DayFile, HEAD_BYTES, HoleCauses } from "./hole_causes.ts";
import { MAX_TILLS, type Overview, type OverviewSource, type Till } from "./overview.ts";
import type { S3Client } from "./s3_client.ts";

/** How old an overview may be, unless a look takes long. */
export const MAX_S3_AGE_MS = 60_000;
/** A look takes at most one part in this many of the time. */
const IDLE_SHARE = 10;
/** Tills that are looked at together: more requests would keep uploads waiting. */
const TOGETHER = 16;

export interface S3OverviewOptions {
  readonly client: S3Client;
  /** "" or a text that ends with a slash. */
  readonly prefix: string;
  readonly clock: Clock;
}

export class S3Overview implements OverviewSource {
  readonly #options: S3OverviewOptions;
  readonly #causes: HoleCauses;
  #latest: Promise<Overview> | null = null;
  #isLooking = false;
  #nextMs = -Infinity;

  constructor(options: S3OverviewOptions) {
    this.#options = options;
    this.#causes = new HoleCauses((name) => options.client.read(name, HEAD_BYTES));
  }

  async read(): Promise<Overview> {
    const { clock } = this.#options;
    const startedMs = clock.monotonicMs();
    if (this.#latest === null || (!this.#isLooking && startedMs >= this.#nextMs)) {
      this.#isLooking = true;
      const looking = this.#look().finally(() => {
        const endedMs = clock.monotonicMs();
        this.#nextMs = endedMs + Math.max(MAX_S3_AGE_MS, IDLE_SHARE * (endedMs - startedMs));
        this.#isLooking = false;
      });
      // What is known already is shown until the look is over.
      this.#latest ??= looking;
      looking.then(() => this.#latest = looking, () => {
        if (this.#latest === looking) this.#latest = null; // the next reader tries again
      });
    }
    return await this.#latest;
  }

  async #look(): Promise<Overview> {
    const devices = await this.#devices();
    const tills: Till[] = [];
    const wanted = devices.slice(0, MAX_TILLS);
    for (let at = 0; at < wanted.length; at += TOGETHER) {
      const found = await Promise.all(
        wanted.slice(at, at + TOGETHER).map((device) => this.#turn(() => this.#till(device))),
      );
      tills.push(...found.filter((till) => till !== null));
    }
    return { tills, isCut: devices.length > MAX_TILLS };
  }

  /** Prefixes POINT/REGISTER/DEVICE/ in order, and not many more than can be shown. */
  async #devices(): Promise<string[]> {
    let level = [this.#options.prefix];
    for (let depth = 0; depth < 3; depth++) {
      const below: string[] = [];
      for (let at = 0; at < level.length && below.length <= MAX_TILLS; at += TOGETHER) {
        const found = await Promise.all(
          level.slice(at, at + TOGETHER).map((prefix) => this.#turn(() => this.#below(prefix))),
        );
        below.push(...found.flat().filter((prefix) => uuidOf(lastOf(prefix)) === lastOf(prefix)));
      }
      level = below;
    }
    return level;
  }

  /** Uploads of tills and what is looked at for pages take turns. */
  #turn<T>(work: () => Promise<T>): Promise<T> {
    return this.#options.client.turns.take("pages", work);
  }

  async #till(device: string): Promise<Till | null> {
    const days = (await this.#below(device)).map(lastOf)
      .filter((day) => /^\d{4}-\d\d-\d\d$/.test(day)).sort();
    const [pointId = "", registerId = "", deviceId = ""] = device.split("/").slice(-4);
    for (let day = days.pop(); day !== undefined; day = days.pop()) {
      const files: DayFile[] = [];
      for await (const page of this.#options.client.list(`${device}${day}/`, "/")) {
        for (const path of page.names) {
          const name = parseChunkName(lastOf(path));
          if (name !== null) files.push({ name, path });
        }
      }
      const found = coverageOf(files.map(({ name }) => name));
      if (found === null) continue;
      const coverage = await this.#causes.explain(found, files);
      return { pointId, registerId, deviceId, day, coverage };
    }
    return null;
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
