// Decides over time which microphone is recorded, as a pure state machine: an event and the time go in,
// the next state and the actions come out. It never waits, looks or writes: microphone_keeper.ts does. The
// module is long because every event has its outcome in every state here, and nowhere else.
//
// "The last one" is the microphone that was recorded last; it is preferred. Another one may stand in for
// it, and gives way when the last one is back. A lower rank() is better.
//
// What is recorded (`activity`):
//
//   searching --- found -----------------------> opening --- heard ---> recording    the last one
//     ^   |                                       ^   |                    ^
//     |   | found a stand-in                      |   |                    | recorded for 8 h
//     |   v                                       |   |                    |
//   waiting_for_last --- still away after 5 s ----+   +----- heard ---> standing_in  another on USB
//     nothing found: searching                        |
//                                                     +----- heard ---> making_do    none is on USB
//
//   opening, standing_in, making_do --- a better one found --------------> giving_way
//   opening, recording, standing_in, making_do, giving_way --- ended ----> searching
//
// How far the last one is trusted (`trust`); the keeper waits for it in `trusted` only:
//
//   trusted      another one gives sound in its place  -> replaced
//   any          it takes over from another one        -> on_trial
//   on_trial     it takes over again                   -> on_trial, and is passed over 3 s later
//   any          it ended after 60 s of its sound      -> trusted, and is not passed over
//
// When another one is recorded although the last one is present (`pass`):
//
//   null         the last one gave no sound            -> passed over for 1 min
//   null         it was lost 3 times in a row, each
//                time in the first 60 s of its sound   -> passed over for 1 min
//   passed over  the time has passed                   -> due: the last one is tried again
//   passed over  the other one gave no sound, or was
//                lost so 3 times in a row              -> due
//   passed over  something was plugged in              -> passed over for at most 5 min
//   due          the last one gave no sound, or was
//                lost in the first 60 s of its sound   -> passed over for 2, 4 ... 60 min

import type { Microphone } from "./microphones.ts";

/**
 * For this long after a plug, udev may still be giving the node its group, and a sound server may be
 * probing the card.
 */
export const SETTLE_MS = 3_000;
/** The keeper waits this long for the last one (boot, brown-out) before it takes another one. */
export const GRACE_MS = 5_000;
/**
 * The keeper also looks for a better one at this interval, without a plug: the look after a plug may have
 * failed.
 */
export const BETTER_LOOK_MS = 60_000;
/** A stand-in that was recorded for this long, a working day, becomes the last one. */
export const SUCCESSION_MS = 8 * 3_600_000;
/** The recorded time of a stand-in is saved in steps of this length. */
export const COUNT_MS = 600_000;
/** The last one is trusted again when it gave sound for this long. */
export const PROOF_MS = 60_000;
/** A microphone that is lost this often in a row, each time before PROOF_MS, counts as one without sound. */
export const MOST_BRIEF = 3;
/** The last one is passed over for 1, 2, 4 ... 60 min; after a plug for at most 5 min. */
export const PASS_MIN_MS = 60_000;
export const PASS_MAX_MS = 3_600_000;
export const PASS_PLUGGED_MS = 300_000;

/** What is being recorded, or done in order to record. Times are monotonic. */
export type Activity =
  | { readonly name: "searching" }
  /** A stand-in is present, and the last one is not: that one has 5 s from `awaySinceMs` on. */
  | { readonly name: "waiting_for_last" }
  | Opening
  /** The last one gives sound. */
  | { readonly name: "recording"; readonly microphone: Microphone; readonly heardMs: number }
  | StandingIn
  | MakingDo
  /** A better one was found: the current recording must end. */
  | { readonly name: "giving_way"; readonly left: Opening | StandingIn | MakingDo };

interface Opening {
  readonly name: "opening";
  readonly microphone: Microphone;
}

/** A stand-in on USB gives sound; its time has been counted up to `countedMs`. */
interface StandingIn {
  readonly name: "standing_in";
  readonly microphone: Microphone;
  readonly heardMs: number;
  readonly countedMs: number;
}

/** A stopgap gives sound. It never succeeds a microphone on USB, so its time is not counted. */
interface MakingDo {
  readonly name: "making_do";
  readonly microphone: Microphone;
  readonly heardMs: number;
}

export type Trust = "trusted" | "replaced" | "on_trial";

/** Between these monotonic times another one is recorded, if there is one. */
export interface Pass {
  readonly microphone: Microphone;
  readonly fromMs: number;
  readonly untilMs: number;
  /** The length of this time as planned; the next one is twice as long. */
  readonly delayMs: number;
}

/** How often one of this rank was lost in a row, each time sooner than PROOF_MS after its first sound. */
export interface Brief {
  readonly rank: number;
  readonly count: number;
}

export interface KeeperState {
  readonly activity: Activity;
  readonly trust: Trust;
  readonly pass: Pass | null;
  readonly brief: Brief;
  /**
   * Monotonic time of the first look that found a stand-in and not the last one; null while that is not so.
   * It outlives attempts with the stand-in: the last one is waited for once, not before each attempt.
   */
  readonly awaySinceMs: number | null;
  /** Monotonic time at which the last plug has settled. */
  readonly settledMs: number;
  /** Name and reason that were announced last. */
  readonly announced: string;
}

export type KeeperEvent =
  /** The recorder needs a microphone. */
  | { readonly kind: "search" }
  /** The answer to `look`; `isPast` if that look left the last one out. */
  | { readonly kind: "found"; readonly microphone: Microphone; readonly isPast: boolean }
  | { readonly kind: "nothing_found"; readonly isPast: boolean }
  /** Something was plugged in. */
  | { readonly kind: "plugged" }
  /** A wait is over. */
  | { readonly kind: "time_passed" }
  /** The microphone that was opened gives sound. */
  | { readonly kind: "heard" }
  /** The microphone that was opened is closed: it was lost, or its end was asked for. */
  | { readonly kind: "ended"; readonly isAsked: boolean }
  /** This one was tried and gave no sound. Comes after `ended`. */
  | { readonly kind: "gave_nothing"; readonly microphone: Microphone }
  /** The answer to `count`: this stand-in has been recorded for `totalMs` in total. */
  | { readonly kind: "counted"; readonly microphone: Microphone; readonly totalMs: number };

/** What to do next. An event leads to at most one of these. */
export type Order =
  /** Look for a microphone other than `past`; the answer is `found` or `nothing_found`. */
  | { readonly kind: "look"; readonly past: Microphone | null }
  /** Wait for a plug until this monotonic time; the answer is `plugged` or `time_passed`. */
  | { readonly kind: "wait"; readonly untilMs: number }
  | { readonly kind: "record"; readonly microphone: Microphone }
  /** End the recording, then search: there is a better one. */
  | { readonly kind: "change" };

export type Action =
  | Order
  | { readonly kind: "announce"; readonly microphone: Microphone }
  /** The problem: another one is recorded in place of the last one. */
  | { readonly kind: "set_problem"; readonly reason: string }
  | { readonly kind: "clear_problem" }
  | { readonly kind: "remember"; readonly microphone: Microphone }
  /** This one has stood in for another `ms`; the answer is `counted`. */
  | { readonly kind: "count"; readonly microphone: Microphone; readonly ms: number };

export interface Step {
  readonly state: KeeperState;
  readonly actions: readonly Action[];
}

export const INITIAL_STATE: KeeperState = {
  activity: { name: "searching" },
  trust: "trusted",
  pass: null,
  brief: { rank: 0, count: 0 },
  awaySinceMs: null,
  settledMs: -Infinity,
  announced: "",
};

/** The result of an event at this monotonic time. Every event has an outcome in every state. */
export function step(state: KeeperState, event: KeeperEvent, nowMs: number): Step {
  switch (event.kind) {
    case "search":
      return search(state, nowMs);
    case "found":
      return event.isPast
        ? foundPast(state, event.microphone, nowMs)
        : found(state, event.microphone, nowMs);
    case "nothing_found":
      return nothingFound(state, event.isPast);
    case "plugged":
      return plugged(state, nowMs);
    case "time_passed":
      return lookAgain(state, nowMs);
    case "heard":
      return heard(state, nowMs);
    case "ended":
      return ended(state, nowMs, event.isAsked);
    case "gave_nothing":
      return gaveNothing(state, event.microphone, nowMs);
    case "counted":
      return counted(state, event);
  }
}

/**
 * Lower is better: 0 for the one to record, 1 for a stand-in, 2 for a stopgap, taken because none is on
 * USB.
 */
export function rank({ isStandIn = false, isStopgap = false }: Microphone): number {
  return isStopgap ? 2 : isStandIn ? 1 : 0;
}

/** Whether the one that was recorded last is lost again and again, soon after its first sound. */
export function isDying({ brief }: KeeperState): boolean {
  return brief.count >= MOST_BRIEF;
}

/** Whether, at this monotonic time, a microphone that was just plugged in may not be ready yet. */
export function isSettling({ settledMs }: KeeperState, ms: number): boolean {
  return ms < settledMs;
}

function search(state: KeeperState, nowMs: number): Step {
  const before = ended(state, nowMs, true);
  const next: KeeperState = { ...before.state, activity: { name: "searching" } };
  return { state: next, actions: [...before.actions, look(next, nowMs)] };
}

function look({ pass }: KeeperState, nowMs: number): Order {
  const isPassing = pass !== null && pass.fromMs <= nowMs && nowMs < pass.untilMs;
  return { kind: "look", past: isPassing ? pass.microphone : null };
}

/**
 * A look that left the last one out has found this one. If there is no other one, the last one is not
 * passed over.
 */
function foundPast(state: KeeperState, microphone: Microphone, nowMs: number): Step {
  if (rank(microphone) === 0) return nothingFound(state, true);
  const reason = `${microphone.reason}, or back without lasting sound`;
  return found(replaced(state), { ...microphone, reason }, nowMs);
}

function found(state: KeeperState, microphone: Microphone, nowMs: number): Step {
  const { activity } = state;
  switch (activity.name) {
    case "searching":
    case "waiting_for_last":
      return choose(state, microphone, nowMs);
    case "opening":
    case "standing_in":
    case "making_do":
      return compare(state, activity, microphone, nowMs);
    case "recording":
    case "giving_way":
      return unchanged(state);
  }
}

/** While nothing is recorded: takes this one, or waits for the last one. */
function choose(state: KeeperState, microphone: Microphone, nowMs: number): Step {
  const awaySinceMs = microphone.isStandIn === true ? state.awaySinceMs ?? nowMs : null;
  const untilMs = (awaySinceMs ?? -Infinity) + GRACE_MS;
  if (state.trust === "trusted" && nowMs < untilMs) {
    const activity = { name: "waiting_for_last" } as const;
    return { state: { ...state, activity, awaySinceMs }, actions: [{ kind: "wait", untilMs }] };
  }
  const announced = `${microphone.name}\n${microphone.reason}`;
  return {
    state: { ...state, activity: { name: "opening", microphone }, awaySinceMs, announced },
    actions: [
      ...(announced === state.announced ? [] : [{ kind: "announce", microphone } as const]),
      { kind: "record", microphone },
    ],
  };
}

/** While another one is recorded: it gives way to a better one. */
function compare(
  state: KeeperState,
  left: Opening | StandingIn | MakingDo,
  better: Microphone,
  nowMs: number,
): Step {
  if (rank(better) >= rank(left.microphone)) return unchanged(state);
  const next: KeeperState = { ...state, activity: { name: "giving_way", left } };
  const actions: Action[] = [{ kind: "change" }];
  if (rank(better) > 0) return { state: next, actions };
  // The first time is a replug. A second time, before the last one is trusted again, is a loose cable: it
  // may interrupt the stand-in only as often as a microphone that gives no sound.
  const pass = state.trust === "on_trial"
    ? passOver(state.pass, better, nowMs, nowMs + SETTLE_MS)
    : state.pass;
  return { state: { ...next, trust: "on_trial", pass }, actions };
}

function nothingFound(state: KeeperState, isPast: boolean): Step {
  switch (state.activity.name) {
    case "searching":
    case "waiting_for_last":
      if (isPast) return { state, actions: [{ kind: "look", past: null }] };
      return {
        state: { ...state, activity: { name: "searching" }, awaySinceMs: null },
        actions: [],
      };
    case "opening":
    case "standing_in":
    case "making_do":
      return { state, actions: isPast ? [{ kind: "look", past: null }] : [] };
    case "recording":
    case "giving_way":
      return unchanged(state);
  }
}

function plugged(state: KeeperState, nowMs: number): Step {
  const pass = state.pass === null ? null : {
    ...state.pass,
    untilMs: Math.min(state.pass.untilMs, state.pass.fromMs + PASS_PLUGGED_MS),
  };
  return lookAgain({ ...state, pass, settledMs: nowMs + SETTLE_MS }, nowMs);
}

/** Looks for the last one, or a better one. */
function lookAgain(state: KeeperState, nowMs: number): Step {
  const { activity } = state;
  switch (activity.name) {
    case "opening":
      if (rank(activity.microphone) === 0) return unchanged(state);
      return { state, actions: [look(state, nowMs)] };
    case "waiting_for_last":
    case "making_do":
      return { state, actions: [look(state, nowMs)] };
    case "standing_in": {
      const isDue = nowMs - activity.countedMs >= COUNT_MS;
      const next = isDue ? { ...activity, countedMs: nowMs } : activity;
      const actions = isDue ? [count(activity, nowMs)] : [];
      return { state: { ...state, activity: next }, actions: [...actions, look(state, nowMs)] };
    }
    case "searching":
    case "recording":
    case "giving_way":
      return unchanged(state);
  }
}

function heard(before: KeeperState, nowMs: number): Step {
  if (before.activity.name !== "opening") return unchanged(before);
  const { microphone } = before.activity;
  const state = { ...before, settledMs: -Infinity };
  const sound = { microphone, heardMs: nowMs };
  const problem = { kind: "set_problem", reason: microphone.reason } as const;
  const memory = { kind: "remember", microphone } as const;
  if (microphone.isStopgap === true) {
    const next: KeeperState = { ...state, activity: { name: "making_do", ...sound } };
    if (microphone.isStandIn === true) return { state: replaced(next), actions: [problem] };
    return { state: next, actions: [memory] };
  }
  if (microphone.isStandIn === true) {
    const activity = { name: "standing_in", ...sound, countedMs: nowMs } as const;
    return { state: replaced({ ...state, activity }), actions: [problem] };
  }
  return { state: { ...state, activity: { name: "recording", ...sound } }, actions: [memory] };
}

function ended(before: KeeperState, nowMs: number, isAsked: boolean): Step {
  const { activity } = before;
  const searching: KeeperState = { ...before, activity: { name: "searching" } };
  const after = ({ microphone, heardMs }: { microphone: Microphone; heardMs: number }) =>
    isAsked ? searching : lost(searching, microphone, nowMs - heardMs, nowMs);
  switch (activity.name) {
    case "searching":
    case "waiting_for_last":
      return unchanged(before);
    case "opening":
      return { state: searching, actions: [] };
    case "recording":
      return { state: proved(after(activity), nowMs - activity.heardMs), actions: [] };
    case "standing_in":
      return {
        state: after(activity),
        actions: [count(activity, nowMs), { kind: "clear_problem" }],
      };
    case "making_do":
      return activity.microphone.isStandIn === true
        ? { state: after(activity), actions: [{ kind: "clear_problem" }] }
        : { state: proved(after(activity), nowMs - activity.heardMs), actions: [] };
    case "giving_way": {
      // The sound of the one that gives way proves nothing about the one that is tried next.
      const { actions } = ended({ ...before, activity: activity.left }, nowMs, true);
      return { state: searching, actions };
    }
  }
}

/** A microphone was lost after `lastedMs` of sound, which may count as none. */
function lost(
  state: KeeperState,
  microphone: Microphone,
  lastedMs: number,
  nowMs: number,
): KeeperState {
  const [place, before] = [rank(microphone), state.brief];
  const times = lastedMs >= PROOF_MS ? 0 : before.rank === place ? before.count + 1 : 1;
  const next: KeeperState = { ...state, brief: { rank: place, count: times } };
  const isAgain = place === 0 && state.pass !== null;
  return times >= MOST_BRIEF || isAgain ? gaveNothing(next, microphone, nowMs).state : next;
}

/** The last one gave sound for `lastedMs`. */
function proved(state: KeeperState, lastedMs: number): KeeperState {
  return lastedMs < PROOF_MS ? state : { ...state, trust: "trusted", pass: null };
}

/** Passes over the last one. If it was another one that gave no sound, the last one is due at once. */
function gaveNothing(state: KeeperState, microphone: Microphone, nowMs: number): Step {
  if (rank(microphone) === 0) {
    return { state: { ...state, pass: passOver(state.pass, microphone, nowMs) }, actions: [] };
  }
  const pass = state.pass === null ? null : { ...state.pass, untilMs: -Infinity };
  return { state: { ...state, pass }, actions: [] };
}

function counted(
  state: KeeperState,
  { microphone, totalMs }: { readonly microphone: Microphone; readonly totalMs: number },
): Step {
  const { activity } = state;
  const isRecorded = activity.name === "standing_in" && activity.microphone === microphone;
  if (!isRecorded || totalMs < SUCCESSION_MS) return unchanged(state);
  const { heardMs } = activity;
  return {
    state: { ...state, activity: { name: "recording", microphone, heardMs } },
    actions: [{ kind: "clear_problem" }, { kind: "remember", microphone }],
  };
}

function count({ microphone, countedMs }: StandingIn, nowMs: number): Action {
  return { kind: "count", microphone, ms: nowMs - countedMs };
}

/** Another one takes the place of the last one. */
function replaced(state: KeeperState): KeeperState {
  return state.trust === "trusted" ? { ...state, trust: "replaced" } : state;
}

/** Passes over this one from `fromMs` on. Failures before the end of the previous time count as one. */
function passOver(
  before: Pass | null,
  microphone: Microphone,
  nowMs: number,
  fromMs = nowMs,
): Pass {
  const isOneFailure = before !== null && nowMs < before.untilMs;
  const delayMs = before === null
    ? PASS_MIN_MS
    : Math.min(PASS_MAX_MS, before.delayMs * (isOneFailure ? 1 : 2));
  return { microphone, fromMs, untilMs: fromMs + delayMs, delayMs };
}

function unchanged(state: KeeperState): Step {
  return { state, actions: [] };
}
