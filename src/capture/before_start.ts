// What is missing between the last chunk of an earlier run and this start of the program, and why. Pure: what the
// spool and the clocks say are values.

import type { ChunkName } from "../chunk/chunk_name.ts";
import { type Schedule, scheduledBetween } from "../config/schedule.ts";
import type { GapRecord } from "../status/gap_log.ts";
import type { Gap, GapCause } from "../status/ledger.ts";
import type { Boot } from "../system/clock_sync.ts";
import type { PauseSpan } from "./pause.ts";

/** What the spool says about the time before this start of the program. */
export interface Before {
  /** The chunk that was recorded last; null if the spool has none. */
  readonly chunk: ChunkName | null;
  /** Whether it was cut off, by a crash or a power cut. */
  readonly wasCutOff: boolean;
  /** Unix milliseconds: sound that is missing before each of these times has been declared. */
  readonly declaredEndsMs: readonly number[];
  readonly boot: Boot;
  /** The pause that an earlier run had begun, and this start took up. @default there was none */
  readonly pause?: () => PauseSpan | null;
}

/**
 * Up to when sound that was not recorded has been declared, Unix milliseconds, for `declaredEndsMs`: not what a clock
 * that may have been wrong says, and not chunks that were recorded and deleted.
 */
export function declaredEnds(gaps: readonly GapRecord[]): number[] {
  return gaps.filter(({ cause, clock }) =>
    clock === undefined && cause !== "evicted" && cause !== "expired"
  ).map(({ end }) => Date.parse(end));
}

/** A gap of less scheduled time than this is the edge of a schedule that ended or began. */
const EDGE_MS = 3000;

/** The time of this start. */
interface Start {
  /** Monotonic. */
  readonly begunMs: number;
  readonly bootUnixMs: number;
  /** Since the last chunk; the clock may have gone back. */
  readonly missingMs: number;
  /** Of that time. */
  readonly scheduledMs: number;
}

/** Why nothing was recorded between the last chunk and this start. */
export function causeBeforeStart(
  { chunk, wasCutOff, boot, pause = () => null }: Before,
  now: Start,
): GapCause {
  if (now.scheduledMs < EDGE_MS && now.missingMs > now.scheduledMs + 1000) {
    return "outside_schedule";
  }
  // If the clock went back, nobody knows how long nothing was recorded.
  const { startMs, endMs } = pause() ?? { startMs: Infinity, endMs: -Infinity };
  const pausedMs = Math.min(endMs, now.begunMs) - Math.max(startMs, now.begunMs - now.missingMs);
  if (now.missingMs > 0 ? pausedMs > now.missingMs / 2 : endMs > now.begunMs) return "paused";
  if (chunk !== null && isOfAnotherBoot(chunk, boot, now)) return "machine_restarted";
  return wasCutOff ? "program_killed" : "not_running";
}

function isOfAnotherBoot(
  { provisional, startUnixUs, durationUs }: ChunkName,
  boot: Boot,
  { bootUnixMs, missingMs }: Start,
): boolean {
  if (provisional !== undefined) return provisional.bootId !== boot.id;
  // A chunk from the future: the clock went back, as that of a Pi does when the power fails.
  return missingMs < -EDGE_MS || (startUnixUs + durationUs) / 1000 < bootUnixMs;
}

/**
 * Why sound is missing before this start, and the scheduled part of that time which is not declared yet.
 * @param now.begunMs when this run began, monotonic. @param now.offsetMs Unix minus monotonic milliseconds.
 */
export function missingBefore(
  before: Before,
  { schedule, timeZone }: { readonly schedule: Schedule; readonly timeZone: string },
  { begunMs, offsetMs }: { readonly begunMs: number; readonly offsetMs: number },
): { cause: GapCause; gaps: Gap[] } {
  const bootUnixMs = offsetMs - before.boot.zeroMs;
  const { startUnixUs, durationUs, provisional } = before.chunk ??
    { startUnixUs: Infinity, durationUs: 0 };
  const startMs = provisional?.bootId === before.boot.id
    ? bootUnixMs + provisional.startBootUs / 1000
    : startUnixUs / 1000;
  const [fromMs, toMs] = [startMs + durationUs / 1000, begunMs + offsetMs];
  const scheduled = scheduledBetween(fromMs, toMs, schedule, timeZone);
  const cause = causeBeforeStart(before, {
    begunMs,
    bootUnixMs,
    missingMs: toMs - fromMs,
    scheduledMs: scheduled.reduce((sum, { startMs, endMs }) => sum + endMs - startMs, 0),
  });
  // An end in the future was written by a clock that was wrong.
  const declaredMs = Math.max(fromMs, ...before.declaredEndsMs.filter((endMs) => endMs <= toMs));
  const span = { startMs: declaredMs - offsetMs, endMs: begunMs };
  return { cause, gaps: scheduledWithin(span, { schedule, timeZone }, offsetMs) };
}

/** The scheduled parts of a time, both monotonic. @param offsetMs Unix minus monotonic milliseconds. */
export function scheduledWithin(
  span: Gap,
  { schedule, timeZone }: { readonly schedule: Schedule; readonly timeZone: string },
  offsetMs: number,
): Gap[] {
  return scheduledBetween(span.startMs + offsetMs, span.endMs + offsetMs, schedule, timeZone)
    .map(({ startMs, endMs }) => ({ startMs: startMs - offsetMs, endMs: endMs - offsetMs }));
}
