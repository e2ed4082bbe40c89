// The account of a recorder: what of the scheduled time is recorded, and why the rest is missing. It declares each
// gap with its cause, in the log, in /health, in gaps.jsonl and, through the chain, in the chunks' tags. The recorder
// says what happens; the account influences nothing.

import type { Schedule } from "../config/schedule.ts";
import type { SealedChunk } from "../spool/chunk_writer.ts";
import type { Spool } from "../spool/spool.ts";
import { isNormalEdge } from "../status/gap_log.ts";
import { type Gap, type GapCause, Ledger, type LedgerBalance } from "../status/ledger.ts";
import { problems } from "../status/problems.ts";
import type { Status } from "../status/status.ts";
import type { Clock } from "../system/clock.ts";
import type { Logger } from "../system/log.ts";
import { type Before, missingBefore, scheduledWithin } from "./before_start.ts";
import { ChunkChain } from "./chunk_chain.ts";
import type { StreamCutterDeps } from "./stream_cutter.ts";

export interface AccountOptions {
  readonly schedule: Schedule;
  /** IANA name of the zone whose wall clock the schedule means. */
  readonly timeZone: string;
  readonly provisional: StreamCutterDeps["provisional"];
}

export interface AccountDeps {
  readonly clock: Clock;
  readonly spool: Spool;
  readonly status: Status;
  readonly log: Logger;
  /** Queues a write; writes run one after the other. */
  readonly note: (write: () => Promise<void>) => void;
}

export class Account {
  /** The cause of the gap if no sound arrives at the moment. */
  cause: GapCause = "starting";
  /** Links the chunks. */
  readonly chain: ChunkChain;
  readonly #deps: AccountDeps;
  readonly #options: () => AccountOptions;
  readonly #ledger = new Ledger();
  /** What is missing before this start is declared when the clock can be trusted; then this is null. */
  #before: Before | null;
  #begunMs: number;
  /**
   * Up to when the gap of now is a pause, monotonic ms: Infinity while the pause lasts; null if the gap has
   * another cause.
   */
  #pausedUntilMs: number | null = null;
  /** When the schedule ended; null after the account is closed. In between, the last chunk may still be written. */
  #scheduleEndMs: number | null = null;
  /** Since when it is not scheduled to record by a clock that may be wrong, monotonic ms; null if that is not so. */
  #offSinceMs: number | null = null;
  /** Such times that have ended; what of them was scheduled is declared when the true time is known. */
  #unsureOff: Gap[] = [];

  /** @param before what is known of the time before this start. @param options those in force. */
  constructor(before: Before | null, options: () => AccountOptions, deps: AccountDeps) {
    this.#before = before;
    this.#options = options;
    this.#deps = deps;
    this.#begunMs = deps.clock.monotonicMs();
    this.chain = new ChunkChain(before, {
      oldestWaiting: () => deps.spool.oldestWaitingNow,
      begunMs: this.#begunMs,
      ...(before === null ? {} : { causeBefore: () => this.#missingBefore(before).cause }),
    });
  }

  /** Scheduled, recorded and missing time of this run. */
  balance(): LedgerBalance {
    return this.#ledger.balance(this.#deps.clock.monotonicMs());
  }

  /** The time before this is that of earlier runs. */
  runBegins(): void {
    this.#begunMs = this.#deps.clock.monotonicMs();
  }

  /** It is scheduled to record now. */
  inSchedule(): void {
    if (this.#scheduleEndMs !== null) this.close("schedule_end");
    const nowMs = this.#deps.clock.monotonicMs();
    this.#offEnds(nowMs);
    this.#ledger.begin(nowMs);
  }

  /** It is not scheduled to record now. @param isWritten whether all chunks are in the spool. */
  scheduleEnded(isWritten: boolean): void {
    this.#scheduleEndMs ??= this.#deps.clock.monotonicMs();
    if (isWritten) this.close("schedule_end");
    const nowMs = this.#deps.clock.monotonicMs();
    if (this.#isClockRight()) this.#offEnds(nowMs);
    else this.#offSinceMs ??= nowMs;
  }

  /** The clock has become right while sound is recorded: the next chunk says what the wrong one has cost. */
  clockTrusted(): void {
    this.#declareOff();
  }

  /** A chunk has come into the spool. */
  recorded({ name, times, gapCause }: SealedChunk): void {
    this.chain.sealed(name.key);
    this.#declareBefore();
    this.#declare(this.#ledger.record(times.startMs, times.endMs), gapCause);
  }

  /** A chunk was complete, and its file is deleted or cannot be sealed. */
  lost({ times, gapCause }: SealedChunk): void {
    this.#declareBefore();
    this.#declare(this.#ledger.gapUntil(times.startMs), gapCause);
    this.#declare(this.#ledger.gapUntil(times.endMs), problems.diskFailing.code);
  }

  /** Sound arrives. */
  soundArrived(): void {
    this.#pausedUntilMs = null;
  }

  /** Recording is paused. @param isMissing whether sound is missing up to now, which is not the pause. */
  paused(isMissing: boolean): void {
    if (isMissing) this.#declarePart(this.#deps.clock.monotonicMs(), this.cause);
    this.cause = "paused";
    this.#pausedUntilMs = Infinity;
  }

  /** Recording is not paused, or not any more. */
  resumed(): void {
    if (this.#pausedUntilMs === Infinity) this.#pausedUntilMs = this.#deps.clock.monotonicMs();
  }

  /** After a pause, sound is missing for another cause, or longer than until `endMs`: the pause is declared apart. */
  pauseIsOver(endMs = Infinity): void {
    if (this.#pausedUntilMs === null) return;
    this.#declarePart(Math.min(this.#pausedUntilMs, endMs), "paused");
    this.#pausedUntilMs = null;
  }

  /** The schedule or the program has ended: the rest of the scheduled time is a gap. */
  close(cause: "schedule_end" | "stopping"): void {
    this.#declareBefore();
    if (cause === "schedule_end") this.chain.scheduleEnded();
    const endMs = this.#scheduleEndMs ?? this.#deps.clock.monotonicMs();
    if (cause === "stopping") this.#offEnds(this.#deps.clock.monotonicMs());
    this.pauseIsOver(endMs);
    this.#declare(this.#ledger.end(endMs), cause);
    this.#scheduleEndMs = null;
    this.cause = "starting";
  }

  #missingBefore(before: Before) {
    const now = { begunMs: this.#begunMs, offsetMs: this.#offsetMs() };
    return missingBefore(before, this.#options(), now);
  }

  /** Declares what is missing before this start, once, when both ends of it have their true time. */
  #declareBefore(): void {
    const before = this.#before;
    if (before === null) return;
    const { provisional = null } = before.chunk ?? {};
    if (provisional !== null && provisional.bootId !== before.boot.id) return; // that is never known
    if (!this.#isClockRight()) return;
    this.#before = null;
    const { cause, gaps } = this.#missingBefore(before);
    for (const gap of gaps) {
      this.#ledger.missed(gap);
      this.#declare(gap, cause);
    }
  }

  /** A time without recording ends, in which a clock that may be wrong said that none was scheduled. */
  #offEnds(nowMs: number): void {
    if (this.#offSinceMs !== null) {
      this.#unsureOff.push({ startMs: this.#offSinceMs, endMs: nowMs });
    }
    this.#offSinceMs = null;
    this.#declareOff();
  }

  /** Declares what of such times was scheduled, if the true time is known now. */
  #declareOff(): void {
    if (!this.#isClockRight()) return;
    const cause = problems.clockNotSynchronized.code;
    for (const span of this.#unsureOff.splice(0)) {
      for (const gap of scheduledWithin(span, this.#options(), this.#offsetMs())) {
        this.#ledger.missed(gap);
        this.chain.missed(cause, gap);
        this.#declare(gap, cause);
      }
    }
  }

  #isClockRight(): boolean {
    return this.#options().provisional(this.#deps.clock.monotonicMs()) === undefined;
  }

  /** Declares the gap up to this time apart; the next chunk's tag names the longest part. */
  #declarePart(untilMs: number, cause: GapCause): void {
    const gap = this.#ledger.gapUntil(untilMs);
    if (gap !== null) this.chain.missed(cause, gap);
    this.#declare(gap, cause);
  }

  /** Declares a gap; none is hidden. */
  #declare(gap: Gap | null, cause: string): void {
    if (gap === null) return;
    const { log, spool, status } = this.#deps;
    const offsetMs = this.#offsetMs();
    const record = {
      start: new Date(gap.startMs + offsetMs).toISOString(),
      end: new Date(gap.endMs + offsetMs).toISOString(),
      ms: Math.round(gap.endMs - gap.startMs),
      cause,
      ...(this.#isClockRight() ? {} : { clock: "unsynchronized" as const }),
    };
    if (isNormalEdge(record)) log.info("Sound is missing.", record);
    else log.warning("Sound is missing.", record);
    status.gapDeclared({ start: record.start, ms: record.ms, cause });
    this.#deps.note(() => spool.gaps.append(record));
  }

  #offsetMs(): number {
    const { clock } = this.#deps;
    return clock.unixMs() - clock.monotonicMs();
  }
}
