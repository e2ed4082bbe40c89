// What a receiver shows of its store: which tills there are, and how complete the latest day of each is.
// Types only; folder_overview.ts and s3_overview.ts find it out.

import type { LatestDay } from "./day_coverage.ts";

/** More are not looked at. */
export const MAX_TILLS = 2000;

export interface Till extends LatestDay {
  readonly pointId: string;
  readonly registerId: string;
  readonly deviceId: string;
}

export interface Overview {
  readonly tills: readonly Till[];
  /** Whether there are more tills than were looked at. */
  readonly isCut: boolean;
  /** Tills, or points and registers with tills, that could not be looked at yet, and are not in the list. */
  readonly unseen: number;
  /** When the store was looked at; of parts that were looked at earlier, the oldest. Unix milliseconds. */
  readonly lookedUnixMs: number;
}

export interface OverviewSource {
  /** What was found lately. @throws if the store cannot be listed, and what was found before is old. */
  read(): Promise<Overview>;
}
