// How delivery does, to the log and to the status: an outage, chunks that are passed over, chunks that
// were rejected or cannot be filed, a line that is too slow. It decides nothing and sends nothing.

import type { Clock } from "../system/clock.ts";
import type { Logger } from "../system/log.ts";
import type { Spool } from "../spool/spool.ts";
import { ProblemReport } from "../status/problem_report.ts";
import { type Diagnosis, problems } from "../status/problems.ts";
import type { Status } from "../status/status.ts";
import type { PassedOver } from "./blame.ts";
import type { Rates } from "./line_rate.ts";

export interface DeliveryReportDeps {
  readonly spool: Pick<Spool, "tally" | "path" | "totalBytes">;
  readonly clock: Pick<Clock, "monotonicMs">;
  readonly status: Status;
  readonly log: Logger;
}

export class DeliveryReport {
  readonly #deps: DeliveryReportDeps;
  readonly #outage: ProblemReport;
  readonly #passedOver: ProblemReport;
  readonly #disk: ProblemReport;
  readonly #rejected: ProblemReport;
  readonly #tooSlow: ProblemReport;
  readonly #maxSpoolBytes: number;
  /** Accepted chunks that cannot be filed, and refused ones that cannot be moved: one problem. */
  #unfiled: Diagnosis | null = null;
  #unmoved: Diagnosis | null = null;
  /** How many rejected chunks were told last. */
  #toldRejected = 0;

  /** @param maxSpoolBytes the limit of the spool. */
  constructor(deps: DeliveryReportDeps, maxSpoolBytes: number) {
    this.#deps = deps;
    this.#maxSpoolBytes = maxSpoolBytes;
    this.#outage = new ProblemReport({ ...deps, countField: "failed_attempts" });
    this.#passedOver = new ProblemReport(deps);
    this.#disk = new ProblemReport(deps);
    this.#rejected = new ProblemReport(deps);
    this.#tooSlow = new ProblemReport(deps);
  }

  /** Whether nothing can be delivered at present. */
  get isOutage(): boolean {
    return this.#outage.isLasting;
  }

  /** Ends what only the present settings have shown. The chunks in rejected/ stay. */
  withdraw(why: string): void {
    for (const problem of [this.#outage, this.#passedOver, this.#disk, this.#tooSlow]) {
      problem.clear(why);
    }
  }

  /** Nothing can be delivered, for a cause that concerns more than one chunk; tried again in `retryInMs`. */
  outage(diagnosis: Diagnosis, retryInMs: number): void {
    this.#outage.set(diagnosis, retryInMs);
  }

  /** The server accepted a chunk: nothing keeps all chunks waiting any longer. */
  accepted(): void {
    this.#outage.clear();
  }

  /** @param passedOver by key, the chunks that are passed over now, the next to be tried first. */
  tellPassedOver(passedOver: ReadonlyMap<string, PassedOver>): void {
    const causes = [...passedOver.values()];
    const errors = causes.flatMap((why) => why.by === "disk" ? [why.error] : []);
    const sizes = causes.flatMap((why) => why.by === "size" ? [why.sizeBytes] : []);
    const [key] = passedOver.entries().find(([, { by }]) => by === "server") ?? [];
    const count = causes.length - errors.length;
    if (count === 0) this.#passedOver.clear();
    else if (key !== undefined) this.#passedOver.set(problems.chunksPassedOver(count, key));
    else this.#passedOver.set(problems.chunksTooLarge(count, Math.min(...sizes)));
    this.#unmoved = errors.length === 0
      ? null
      : problems.chunksUnmoved(errors.length, errors.at(-1));
    this.#tellDisk();
  }

  /** A problem while accepted chunks cannot be filed. @param error the last of the disk */
  tellUnfiled(chunks: number, error: unknown): void {
    this.#unfiled = chunks === 0 ? null : problems.chunksUnfiled(chunks, error);
    this.#tellDisk();
  }

  #tellDisk(): void {
    const diagnosis = this.#unfiled ?? this.#unmoved;
    if (diagnosis === null) this.#disk.clear();
    else this.#disk.set(diagnosis);
  }

  /** A problem while there are rejected chunks, including those of an earlier run. */
  tellRejected(): void {
    const { spool } = this.#deps;
    const { files } = spool.tally.rejected;
    if (files === this.#toldRejected) return;
    this.#toldRejected = files;
    if (files === 0) this.#rejected.clear();
    else this.#rejected.set(problems.chunksRejected(files, spool.path("rejected", "")));
  }

  /** A problem while the line is slower than the sound. @param rates null: it is not. */
  tellRates(rates: Rates | null): void {
    if (rates === null) return this.#tooSlow.clear();
    const { lineKbps, soundKbps } = rates;
    const growth = Math.max(0.01, soundKbps - lineKbps) / 8; // bytes per ms
    this.#tooSlow.set(problems.uploadTooSlow(lineKbps, soundKbps, this.#roomBytes() / growth));
  }

  /** What the spool may still take; delivered chunks make room. */
  #roomBytes(): number {
    const { spool, status } = this.#deps;
    const free = status.counters.freeBytes ?? Infinity;
    const room = Math.min(this.#maxSpoolBytes - spool.totalBytes, free);
    return Math.max(0, room + spool.tally.uploaded.bytes);
  }
}
