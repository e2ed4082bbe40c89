// Chooses the chunk that is sent next: the oldest one in outbox/, unless blame.ts names another; now and
// then one from rejected/, because the server may have changed its mind. It looks into the spool, and
// neither sends nor moves anything. A chunk that the janitor is about to delete is not there for it.
//
// Refused chunks are tried one at a time, the oldest first and then those after it, an hour after the start
// or the first refusal, then after 2, 4 ... 24 h. When one is accepted, the next follows at once, in turn
// with the waiting ones.

import { type ChunkName, compareChunkNames, formatChunkName } from "../chunk/chunk_name.ts";
import type { Spool } from "../spool/spool.ts";
import type { Clock } from "../system/clock.ts";
import type { Blame } from "./blame.ts";
import { Interval } from "./interval.ts";
import type { Unfiled } from "./unfiled.ts";

/** The times at which refused chunks are tried again. */
const REJECTED_FIRST_MS = 3_600_000;
const REJECTED_MAX_MS = 24 * 3_600_000;

export interface Chosen {
  readonly dir: "outbox" | "rejected";
  readonly fileName: string;
  readonly name: ChunkName;
}

export class Queue {
  readonly #spool: Spool;
  readonly #blame: Blame;
  readonly #unfiled: Unfiled;
  readonly #clock: Pick<Clock, "monotonicMs">;
  readonly #deferMs: (name: ChunkName) => number;
  readonly #rejected = new Interval(REJECTED_FIRST_MS, REJECTED_MAX_MS);
  /** The chunk that is sent next, in place of the suspect. */
  #probe: Chosen | null = null;
  /** The last refused chunk that was tried again; the next one is after it. */
  #rejectedTo: ChunkName | null = null;
  /** Whether the last chunk came from rejected/: then it is the turn of the waiting ones. */
  #wasRejected = false;

  /** @param deferMs how much longer a chunk is deferred, for its true time or its turn, ms; 0: it is sent. */
  constructor(
    { spool, blame, unfiled, clock }: {
      spool: Spool;
      blame: Blame;
      unfiled: Unfiled;
      clock: Pick<Clock, "monotonicMs">;
    },
    deferMs: (name: ChunkName) => number,
  ) {
    this.#spool = spool;
    this.#blame = blame;
    this.#unfiled = unfiled;
    this.#clock = clock;
    this.#deferMs = deferMs;
    this.#rejected.begin(clock.monotonicMs());
  }

  /** The chunk that is sent next, or for how long the next one waits for its true time; null: there is none. */
  async next(): Promise<Chosen | { readonly waitMs: number } | null> {
    const probe = this.#probe;
    this.#probe = null;
    if (probe !== null && this.#isToSend(probe.name)) return probe;
    const due = this.#blame.due(this.#clock.monotonicMs());
    if (due !== null && !this.#spool.deleting.has(due)) {
      const name = await this.#spool.waitingWithKey(due);
      if (name !== null) return choose("outbox", name);
      this.#blame.forget(due); // the janitor has removed it
    }
    if (!this.#wasRejected) {
      const refused = await this.#nextRejected();
      if (refused !== null) return refused;
    }
    this.#wasRejected = false;
    const name = await this.#spool.oldest("outbox", (name) => this.#isInTurn(name));
    if (name === null) return this.#isRejectedDue ? await this.#nextRejected() : null;
    const waitMs = this.#deferMs(name);
    return waitMs > 0 ? { waitMs } : choose("outbox", name);
  }

  /**
   * The chunk after those in flight. Null unless it may be sent together with them: no chunk is in doubt,
   * and no other work is due.
   */
  async behind(inFlight: readonly Chosen[]): Promise<Chosen | null> {
    const blame = this.#blame;
    const isOther = blame.state !== "working" || this.#isRejectedDue || this.#unfiled.isFull ||
      blame.due(this.#clock.monotonicMs()) !== null ||
      this.#spool.tally.outbox.files <=
        inFlight.length + blame.passedOver.size + this.#unfiled.waiting;
    if (isOther || inFlight.some(({ dir }) => dir === "rejected")) return null;
    const { sending } = this.#spool;
    const isNext = (name: ChunkName) => this.#isInTurn(name) && !sending.has(name.key);
    const name = await this.#spool.oldest("outbox", isNext);
    return name === null || this.#deferMs(name) > 0 ? null : choose("outbox", name);
  }

  /** Chooses a chunk that is sent next, in place of the suspect. False: there is none. */
  async planProbe(): Promise<boolean> {
    const mayProbe = (name: ChunkName) =>
      this.#blame.mayProbe(name) && this.#isToSend(name) && this.#deferMs(name) === 0;
    let name = await this.#spool.oldest("outbox", mayProbe);
    if (name === null) {
      this.#blame.probesEnded();
      const passedOver = this.#blame.passedOver.entries();
      const [key] = passedOver.find(([, { by }]) => by !== "disk") ?? [];
      if (key !== undefined) name = await this.#spool.waitingWithKey(key);
      name ??= await this.#spool.oldest("outbox", mayProbe);
    }
    this.#probe = name === null ? null : choose("outbox", name);
    return name !== null;
  }

  /** Whether nothing but the chunks before it keeps a chunk waiting. */
  #isInTurn(name: ChunkName): boolean {
    return !this.#blame.passedOver.has(name.key) && this.#isToSend(name);
  }

  /** Whether the server has not accepted a chunk yet, and the janitor is not about to delete it. */
  #isToSend({ key }: ChunkName): boolean {
    return !this.#unfiled.has(key) && !this.#spool.deleting.has(key);
  }

  /** A chunk went to rejected/, where there were none: the first try is an interval from now. */
  rejectionsBegin(): void {
    this.#rejected.begin(this.#clock.monotonicMs());
  }

  /** A refused chunk was tried again. @param result "failed" if the server did not judge it. */
  triedAgain(name: ChunkName, result: "accepted" | "refused" | "failed"): void {
    const nowMs = this.#clock.monotonicMs();
    this.#rejectedTo = name;
    if (result === "accepted") this.#rejected.accepted(nowMs);
    else if (result === "refused") this.#rejected.failed(nowMs);
    else this.#rejected.postponed(nowMs);
  }

  /** When the next refused chunk is tried, ms from now. */
  get rejectedWaitMs(): number {
    return this.#rejected.waitMs(this.#clock.monotonicMs());
  }

  get #isRejectedDue(): boolean {
    return this.#blame.state === "working" &&
      this.#spool.tally.rejected.files > this.#unfiled.refused &&
      this.#rejected.isDue(this.#clock.monotonicMs());
  }

  async #nextRejected(): Promise<Chosen | null> {
    if (!this.#isRejectedDue) return null;
    const to = this.#rejectedTo;
    const isToSend = (name: ChunkName) => this.#isToSend(name);
    const isNext = (name: ChunkName) =>
      isToSend(name) && (to === null || compareChunkNames(name, to) > 0);
    const name = await this.#spool.oldest("rejected", isNext) ??
      await this.#spool.oldest("rejected", isToSend);
    if (name === null) return null;
    this.#wasRejected = true;
    return choose("rejected", name);
  }
}

function choose(dir: Chosen["dir"], name: ChunkName): Chosen {
  return { dir, fileName: formatChunkName(name), name };
}
