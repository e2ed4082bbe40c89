// The delivery side: the client of the Ingest API and the uploader, with the settings in force. When those
// change, both are replaced over the same spool while recording continues: requests in flight have a moment to
// finish, and what they could not deliver is sent again under its key. It sends nothing itself.

import type { ChunkName } from "../chunk/chunk_name.ts";
import type { Config } from "../config/config.ts";
import { phaseOf } from "../config/phase.ts";
import { endsWithSchedule, scheduleOf } from "../config/schedule.ts";
import { BYTES_PER_GB } from "../spool/retention.ts";
import type { Spool } from "../spool/spool.ts";
import type { Status } from "../status/status.ts";
import type { Clock } from "../system/clock.ts";
import type { Boot } from "../system/clock_sync.ts";
import type { Logger } from "../system/log.ts";
import { aborted, openUntil } from "../system/window.ts";
import { ingestClientOf } from "../upload/ingest_client.ts";
import { Uploader } from "../upload/uploader.ts";
import type { Settings } from "./settings.ts";

/** How long requests in flight may take when the settings have changed. */
const FINISH_MS = 10_000;
/**
 * All tills of one schedule seal their last chunk in the same second: they send it within this time, or
 * within the length of a chunk.
 */
const MAX_SPREAD_MS = 60_000;

export interface DeliveryDeps {
  readonly settings: Settings;
  readonly clock: Clock;
  readonly status: Status;
  readonly spool: Spool;
  readonly boot: Boot;
  /** IANA name of the local time zone. */
  readonly timeZone: string;
  readonly log: Logger;
  readonly env: Readonly<Record<string, string>>;
}

export class Delivery {
  readonly #deps: DeliveryDeps;
  readonly #startedMs: number;
  #uploader: Uploader | null = null;

  constructor(deps: DeliveryDeps) {
    this.#deps = deps;
    this.#startedMs = deps.clock.monotonicMs();
  }

  /** Whether no chunk is left to deliver, or delivery does not work at the moment. */
  get idle(): boolean {
    return this.#uploader?.idle ?? true;
  }

  /** Delivers until the signal aborts. Attempts in progress are then abandoned; their chunks stay. */
  async run(signal: AbortSignal): Promise<void> {
    const groups = ["identity", "delivery", "storage"] as const;
    const turn = (config: Config, turn: AbortSignal) => this.#turn(config, turn, signal);
    await this.#deps.settings.runWith(groups, turn, signal);
  }

  async #turn(config: Config, turn: AbortSignal, signal: AbortSignal): Promise<void> {
    const { clock, env } = this.#deps;
    using client = ingestClientOf(config, env, { clock });
    const uploader = new Uploader(this.#deps.spool, client, this.#optionsOf(config), {
      ...this.#deps,
      log: this.#deps.log.getChild("uploader"),
    });
    this.#uploader = uploader;
    await using patience = openUntil(signal, async (signal) => {
      await Promise.race([aborted(turn), aborted(signal)]);
      await clock.sleep(FINISH_MS, signal);
    });
    await uploader.run(turn, patience.signal);
    if (!signal.aborted) uploader.withdraw("the settings were changed");
  }

  #optionsOf(config: Config) {
    const { clock, boot, timeZone } = this.#deps;
    const spreadMs = phaseOf(config.deviceId) * Math.min(config.chunkSeconds * 1000, MAX_SPREAD_MS);
    const waitEndsMs = this.#startedMs + config.maxClockWaitS * 1000;
    return {
      retryMinMs: config.retryMinS * 1000,
      retryMaxMs: config.retryMaxS * 1000,
      concurrency: config.uploadConcurrency,
      timeoutMs: config.uploadTimeoutS * 1000,
      maxSpoolBytes: config.maxSpoolGb * BYTES_PER_GB,
      deferMs: (name: ChunkName) => {
        const { provisional } = name;
        if (provisional?.bootId === boot.id) return Math.max(0, waitEndsMs - clock.monotonicMs());
        const endMs = (name.startUnixUs + name.durationUs) / 1000;
        const nowMs = clock.unixMs();
        const leftMs = endMs + spreadMs - nowMs;
        if (provisional !== undefined || leftMs <= 0 || nowMs < endMs) return 0;
        return endsWithSchedule(endMs, scheduleOf(config), timeZone) ? leftMs : 0;
      },
    };
  }
}
