// Links each chunk to the one recorded before it, over streams and over restarts of the program, and measures
// the gap between them. It holds what the chunks' tags say beyond one stream; it reads no clock and no disk.

import type { ChunkName, PartName } from "../chunk/chunk_name.ts";
import type { ChunkTimes } from "../chunk/chunk_times.ts";
import type { Gap } from "../status/ledger.ts";
import type { Boot } from "../system/clock_sync.ts";
import type { Before } from "./before_start.ts";

/** If a chunk of an earlier run ends so much after the next one begins, the clock was set back. */
const SET_BACK_MS = 3000;

/** The end of the last chunk, on the clocks that are comparable with those of the next one. */
interface Link {
  readonly key: string;
  readonly endUnixUs: number;
  /** Monotonic; null if it was recorded before this start. */
  readonly endMs: number | null;
  readonly provisional: PartName["provisional"];
  readonly durationUs: number;
}

interface Start {
  readonly startMs: number;
  readonly startUnixUs: number;
  readonly provisional: PartName["provisional"];
}

export class ChunkChain {
  readonly #oldestWaiting: () => ChunkName | null | undefined;
  /** The cause of the gap before the next chunk, up to `#begunMs`: that before this run or this day. */
  #cause: (() => string) | null;
  readonly #begunMs: number;
  /** Parts of that gap which have causes of their own, ms. */
  readonly #partsMs = new Map<string, number>();
  #last: Link | null;
  readonly #boot: Boot | null;
  /** Chunks whose sound is complete and which are not in outbox/ yet, in order. */
  readonly #unsealed: { readonly key: string; readonly startUnixUs: number }[] = [];

  /**
   * @param deps.oldestWaiting the oldest chunk in outbox/; null: there is none; undefined: unknown.
   * @param deps.causeBefore why sound is missing since the last chunk of an earlier run.
   * @param deps.begunMs when this run began, monotonic.
   */
  constructor(
    before: Pick<Before, "chunk" | "boot"> | null = null,
    deps: {
      oldestWaiting?: () => ChunkName | null | undefined;
      causeBefore?: () => string;
      begunMs?: number;
    } = {},
  ) {
    this.#oldestWaiting = deps.oldestWaiting ?? (() => undefined);
    this.#cause = deps.causeBefore ?? null;
    this.#begunMs = deps.begunMs ?? 0;
    const { chunk = null, boot = null } = before ?? {};
    this.#boot = boot;
    this.#last = chunk === null ? null : {
      key: chunk.key,
      endUnixUs: chunk.startUnixUs + chunk.durationUs,
      endMs: null,
      provisional: chunk.provisional,
      durationUs: chunk.durationUs,
    };
  }

  /** The key of the chunk before the next one; null if there is none. */
  get previousKey(): string | null {
    return this.#last?.key ?? null;
  }

  /**
   * Milliseconds between the end of the last chunk and the start of the next; null if that is not known,
   * because one of them has only a provisional time, and they are of two boots, or because the clock was set back
   * in between.
   */
  gapBefore({ startMs, startUnixUs, provisional }: Start): number | null {
    const last = this.#last;
    if (last === null) return null;
    if (last.endMs !== null) return Math.max(0, startMs - last.endMs);
    if (last.provisional === undefined) {
      const gapMs = (startUnixUs - last.endUnixUs) / 1000;
      return provisional || gapMs < -SET_BACK_MS ? null : Math.max(0, gapMs);
    }
    // In one boot the monotonic clock tells, even if the other one has become right meanwhile.
    const { bootId, startBootUs } = last.provisional;
    if (this.#boot?.id !== bootId) return null;
    return Math.max(0, startMs + this.#boot.zeroMs - (startBootUs + last.durationUs) / 1000);
  }

  /** Sound is missing for a cause of its own; if that was before the next chunk, it is a part of the gap there. */
  missed(cause: string, { startMs, endMs }: Gap): void {
    if (endMs <= (this.#last?.endMs ?? -Infinity)) return;
    this.#partsMs.set(cause, (this.#partsMs.get(cause) ?? 0) + endMs - startMs);
  }

  /**
   * The cause of the gap before the next chunk: that of its longest part.
   * @param cause that the recorder knows for the end of the gap.
   * @param startMs of the next chunk, monotonic. @param gapMs from `gapBefore`.
   */
  causeBefore(cause: string, startMs: number, gapMs: number | null): string {
    let longest = this.#causeOfEnds(cause, startMs, gapMs);
    let most = (gapMs ?? Infinity) - this.#partsMs.values().reduce((sum, ms) => sum + ms, 0);
    if (longest === "outside_schedule") most = 0; // a night is expected: any other part is the cause
    for (const [part, ms] of this.#partsMs) if (ms > most) [longest, most] = [part, ms];
    return longest;
  }

  /** What was before this run, or this day, and what was after it began: one of the two. */
  #causeOfEnds(cause: string, startMs: number, gapMs: number | null): string {
    const before = this.#cause?.();
    if (before === undefined) return cause;
    if (cause === "starting") return before;
    // A night does not hide that the day began without sound.
    if (before === "outside_schedule") return cause;
    const sinceMs = startMs - this.#begunMs;
    return gapMs !== null && sinceMs > gapMs - sinceMs ? cause : before;
  }

  /** The schedule has ended: the gap before the next chunk is the time until it begins again. */
  scheduleEnded(): void {
    if (this.#last?.endMs !== null) this.#cause = () => "outside_schedule";
  }

  /** The sound of a chunk is complete: the next one follows it. */
  closed(key: string, times: ChunkTimes, provisional: PartName["provisional"]): void {
    const { endMs, endUnixUs, startUnixUs } = times;
    const durationUs = endUnixUs - startUnixUs;
    this.#last = { key, endUnixUs, endMs, provisional, durationUs };
    this.#cause = null;
    this.#partsMs.clear();
    this.#unsealed.push({ key, startUnixUs });
  }

  /** A chunk has come into outbox/; those before it have come, or never will. */
  sealed(key: string): void {
    this.#unsealed.splice(0, this.#unsealed.findIndex((chunk) => chunk.key === key) + 1);
  }

  /**
   * Unix microseconds: no chunk that began earlier is on its way to delivery; null if that is not known.
   * @param startUnixUs of the chunk that begins now.
   */
  waitingFromUs(startUnixUs: number): number | null {
    const waiting = this.#oldestWaiting();
    if (waiting === undefined || waiting?.provisional !== undefined) return null;
    const starts = [waiting, this.#unsealed[0]].flatMap((chunk) => chunk?.startUnixUs ?? []);
    return Math.min(startUnixUs, ...starts);
  }
}
