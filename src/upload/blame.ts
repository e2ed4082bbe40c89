// Decides who is to blame when chunks are not accepted: one chunk, or everything around it (the server, a
// proxy, the line, the settings). One rule covers refusals, errors of the server, silence, cut connections
// and files that cannot be read: a failure says something about a chunk only if the server accepts
// another one, after that failure and before the next. Until then everything stays in outbox/, in order.
// Pure: it knows chunks by their names, takes the time as a value, and neither sends nor waits.
//
//   working      the server accepts what is sent
//   suspecting   the oldest chunk failed: it is tried again after the backoff
//   probing      it failed twice by a refusal, or eight times: another chunk is sent in its place
//   holding      the other one failed, too, or there is none: the cause is not the chunk. The oldest is
//                tried again after the backoff
//   retrying     the other one was accepted: the first is tried once more, at once, as the server may just
//                have come back
//
//   working    -- failed --> suspecting -- failed often enough --> probing -- the other failed --> holding
//   suspecting, holding -- any chunk was accepted --> working      probing -- there is no other --> holding
//   holding    -- failed often enough --> probing                  probing -- the suspect was accepted --> working
//   probing    -- the other was accepted --> retrying
//   retrying   -- accepted --> working
//   retrying   -- failed: the chunk is to blame --> working
//   retrying   -- another failed --> holding                       retrying -- the server asks to wait --> probing
//   any        -- the settings are wrong --> holding, without a suspect
//
// What happens to a chunk that is to blame depends on its last failure. If it was refused, or cannot be
// read, it goes to rejected/. If the server failed on it, it is passed over: it stays in outbox/ and is tried
// at intervals. So is one that cannot be moved to rejected/; it stays to blame, and is never sent in place of
// a suspect. A size limit (413) concerns all chunks of that size: it is held against a chunk only if one that
// is at least as large was accepted. If only smaller ones were, the chunk is passed over.

import { type ChunkName, compareChunkNames } from "../chunk/chunk_name.ts";
import { Interval } from "./interval.ts";

/** After this many refusals of the oldest chunk, another chunk is tried once. */
export const PROBE_AFTER_REFUSALS = 2;
/** After this many failures of any kind. */
export const PROBE_AFTER = 8;
/** If the server fails on more chunks than this, the chunks are not the cause. */
export const MAX_PASSED_OVER = 100;

/** Why a chunk was not accepted. */
export type Failure =
  /** 5xx, silence, a cut connection, an answer that is not from the API. */
  | "failed"
  /** 400, 415, 422. */
  | "refused"
  /** 413. */
  | "too large"
  /** The file cannot be read. */
  | "unreadable";

/** What to do after a failure. */
export type Judgement =
  /** Everything waits for the backoff. */
  | "wait"
  /** Another chunk is sent at once, see `mayProbe`. */
  | "probe"
  /** The chunk is to blame: it goes to rejected/. */
  | "reject"
  /** The chunk is to blame: from now on it is passed over. */
  | "pass over"
  /** The chunk stays passed over. It delays no other chunk. */
  | "stays passed over";

/** Why a chunk is passed over. */
export type PassedOver =
  /** The server fails on it. */
  | { readonly by: "server" }
  /** It is too large. */
  | { readonly by: "size"; readonly sizeBytes: number }
  /** It cannot be moved to rejected/. */
  | { readonly by: "disk"; readonly error: unknown };

/** A chunk that was sent. */
export interface Sent {
  readonly name: ChunkName;
  readonly sizeBytes: number;
}

/** The chunk that failed. */
interface Suspect {
  readonly key: string;
  /** How often it failed since it was first in doubt. */
  readonly attempts: number;
  /** How often it failed since the last probe, and how often by a refusal. */
  readonly failures: number;
  readonly refusals: number;
}

interface Retrying {
  readonly name: "retrying";
  readonly suspect: Suspect;
  /** The size of the largest chunk that was accepted in its place. */
  readonly acceptedBytes: number;
}

type State =
  | { readonly name: "working" }
  | { readonly name: "suspecting"; readonly suspect: Suspect }
  | { readonly name: "probing"; readonly suspect: Suspect }
  | { readonly name: "holding"; readonly suspect: Suspect | null }
  | Retrying;

export type StateName = State["name"];

export class Blame {
  #state: State = { name: "working" };
  /** The last chunk that failed as a probe since a chunk was accepted: the next probe is one after it. */
  #probedTo: ChunkName | null = null;
  /** By key. The first one is tried again next. */
  readonly #passedOver = new Map<string, PassedOver>();
  readonly #again: Interval;

  /** @param intervalMs between two attempts with any of the chunks that are passed over. */
  constructor(intervalMs: number) {
    this.#again = new Interval(intervalMs, intervalMs);
  }

  get state(): StateName {
    return this.#state.name;
  }

  /** The chunk that is in doubt; null: none is. */
  get suspect(): string | null {
    return this.#state.name === "working" ? null : this.#state.suspect?.key ?? null;
  }

  /** How often this chunk has failed since it was first in doubt. */
  attemptsWith(key: string): number {
    const state = this.#state;
    return state.name !== "working" && state.suspect?.key === key ? state.suspect.attempts : 0;
  }

  /** By key, the chunks that are passed over, the one that is tried next first. */
  get passedOver(): ReadonlyMap<string, PassedOver> {
    return this.#passedOver;
  }

  /**
   * A certain chunk that is due now: the suspect that is tried once more, or one that is passed over. Null:
   * the oldest that is not passed over is next.
   */
  due(nowMs: number): string | null {
    if (this.#state.name === "retrying") return this.#state.suspect.key;
    const [key] = this.#passedOver.keys();
    const isDue = this.#state.name === "working" && this.#again.isDue(nowMs);
    return key === undefined || !isDue ? null : key;
  }

  /**
   * Whether this chunk can be sent in place of the suspect. After the last one it is the turn of one that is
   * passed over, then of the first again.
   */
  mayProbe(name: ChunkName): boolean {
    return name.key !== this.suspect && !this.#passedOver.has(name.key) &&
      (this.#probedTo === null || compareChunkNames(name, this.#probedTo) > 0);
  }

  /** No chunk may probe any longer: all have had their turn, and may again. */
  probesEnded(): void {
    this.#probedTo = null;
  }

  /** There is no other chunk: one that is alone cannot be blamed. */
  noProbe(): void {
    if (this.#state.name === "probing") this.#state = { ...this.#state, name: "holding" };
  }

  /**
   * A chunk was not accepted.
   * @param waitMs the delay that the server asked for; it counts for a chunk that is passed over.
   */
  failed({ name, sizeBytes }: Sent, failure: Failure, nowMs: number, waitMs = 0): Judgement {
    const { key } = name;
    const isStill = failure === "failed" || failure === "too large";
    const state = this.#state;
    const why = this.#passedOver.get(key);
    this.#passedOver.delete(key);
    const isUnmoved = why?.by === "disk";
    if (isUnmoved && failure !== "failed") return "reject";
    if (why !== undefined && isStill) {
      this.#passedOver.set(key, isUnmoved ? why : causeOf(failure, sizeBytes)); // behind the others
      this.#again.failed(nowMs, waitMs);
      if (state.name !== "probing") return "stays passed over";
      this.#hold(state.suspect);
      return "wait";
    }
    const isOther = state.name !== "working" && state.suspect !== null &&
      state.suspect.key !== key;
    switch (state.name) {
      case "retrying":
        if (!isOther) return this.#convict(state, sizeBytes, failure, nowMs);
        this.#hold(state.suspect);
        return "wait";
      case "probing":
        if (!isOther) break;
        this.#probedTo = name;
        this.#hold(state.suspect);
        return "wait";
      case "holding":
      case "suspecting":
      case "working":
        break;
    }
    const before = state.name === "working" || isOther ? null : state.suspect;
    const suspect = {
      key,
      attempts: (before?.attempts ?? 0) + 1,
      failures: (before?.failures ?? 0) + 1,
      refusals: (before?.refusals ?? 0) + (failure === "failed" ? 0 : 1),
    };
    if (suspect.failures >= PROBE_AFTER || suspect.refusals >= PROBE_AFTER_REFUSALS) {
      this.#state = { name: "probing", suspect };
      return "probe";
    }
    this.#state = { name: state.name === "holding" ? "holding" : "suspecting", suspect };
    return "wait";
  }

  /** The server accepted this chunk. */
  accepted({ name, sizeBytes }: Sent, nowMs: number): void {
    const { key } = name;
    // Whatever made the server fail on it may be over for the others, too.
    const isRelated = this.#passedOver.delete(key) ||
      [...this.#passedOver.values()].some((why) => why.by === "size" && why.sizeBytes <= sizeBytes);
    if (isRelated) this.#again.accepted(nowMs);
    const state = this.#state;
    const isOther = state.name !== "working" && state.suspect?.key !== key;
    if (state.name === "probing" && isOther) {
      this.#state = { name: "retrying", suspect: state.suspect, acceptedBytes: sizeBytes };
    } else if (state.name === "retrying" && isOther) {
      const acceptedBytes = Math.max(state.acceptedBytes, sizeBytes);
      this.#state = { ...state, acceptedBytes };
    } else this.#state = { name: "working" };
    this.#probedTo = null;
  }

  /** The server asks for a delay, or for fewer requests: that says nothing about any chunk. */
  asked(): void {
    const state = this.#state;
    // What it accepted before the delay does not prove that it accepts others after it.
    if (state.name === "retrying") this.#state = { name: "probing", suspect: state.suspect };
  }

  /** The settings are wrong: the failures so far say nothing about the chunks. */
  misconfigured(): void {
    this.#state = { name: "holding", suspect: null };
    this.#probedTo = null;
  }

  /**
   * This chunk cannot be moved to rejected/: it is passed over, although the server would refuse it again.
   * False: too many are passed over.
   * @param error of the disk.
   */
  passOver({ name }: Pick<Sent, "name">, nowMs: number, error: unknown): boolean {
    if (this.#passedOver.size >= MAX_PASSED_OVER) return false;
    this.forget(name.key);
    this.#again.begin(nowMs); // also if others are passed over: one of them may be due
    this.#passedOver.set(name.key, { by: "disk", error });
    return true;
  }

  /** This chunk does not wait any longer. */
  forget(key: string): void {
    this.#passedOver.delete(key);
    const state = this.#state;
    if (state.name === "working" || state.suspect?.key !== key) return;
    // A server that has not accepted anything is still to blame.
    this.#state = state.name === "holding" ? { ...state, suspect: null } : { name: "working" };
  }

  /** The suspect failed once more although the server accepts others. */
  #convict(
    { suspect, acceptedBytes }: Retrying,
    sizeBytes: number,
    failure: Failure,
    nowMs: number,
  ): Judgement {
    const isSmaller = failure === "too large" && acceptedBytes < sizeBytes;
    if (failure !== "failed" && !isSmaller) {
      this.#state = { name: "working" };
      return "reject";
    }
    if (this.#passedOver.size >= MAX_PASSED_OVER) {
      this.#hold({ ...suspect, attempts: suspect.attempts + 1 });
      return "wait";
    }
    if (this.#passedOver.size === 0) this.#again.begin(nowMs);
    this.#passedOver.set(suspect.key, causeOf(failure, sizeBytes));
    this.#state = { name: "working" };
    return "pass over";
  }

  /** The cause is not this chunk: its tries begin anew. */
  #hold({ key, attempts }: Suspect): void {
    this.#state = { name: "holding", suspect: { key, attempts, failures: 0, refusals: 0 } };
  }
}

function causeOf(failure: Failure, sizeBytes: number): PassedOver {
  return failure === "too large" ? { by: "size", sizeBytes } : { by: "server" };
}
