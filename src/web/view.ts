// The data behind the status page and /metrics at one moment. Types only.

import type { Tally } from "../status/tally.ts";
import type { Schedule } from "../config/schedule.ts";
import type { ChunkDir } from "../chunk/chunk_name.ts";
import type { Counters } from "../status/counters.ts";
import type { History } from "../status/history.ts";
import type { HealthReport } from "../status/status.ts";

export interface StatusView {
  /** The system clock, Unix ms. */
  readonly nowMs: number;
  /** IANA name of the local time zone. */
  readonly timeZone: string;
  readonly schedule: Schedule;
  readonly report: HealthReport;
  readonly history: Pick<
    History,
    "today" | "wave" | "level" | "gaps" | "problems" | "soundSinceMs" | "knownSinceMs"
  >;
  readonly counters: Counters;
  readonly tally: Readonly<Record<ChunkDir, Tally>>;
  /** Start of the oldest chunk that waits, Unix ms; null: none waits; undefined: not known at this moment. */
  readonly oldestWaitingMs: number | null | undefined;
  /** `max_spool_gb` and `min_free_gb`, bytes. */
  readonly maxSpoolBytes: number;
  readonly minFreeBytes: number;
  /** Resident memory of this process, bytes. */
  readonly rssBytes: number;
}
