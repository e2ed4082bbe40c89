// Keeps to one microphone over time: the last one (the microphone to keep to) is waited for, another
// one may stand in for it, and is left when the last one is back. A pure state machine: events and the
// time go in, the next state and actions come out. What to do with the actions is microphone_keeper.ts's.
//
// What is recorded (`activity`):
//
//   searching --- found -----------------------> opening --- heard ---> recording   the last one
//     |   ^                                       ^   |                    ^
//     |   | nothing found                         |   |                8 h recorded
//     v   |                                       |   |                    |
//   waiting_for_last --- still away after 5 s ----+   +----- heard ---> standing_in  on USB, as it is
//     ^                                               |
//     +-- a stand-in found, by searching              +----- heard ---> making_do    nothing is on USB
//
//   opening, standing_in, making_do --- a better one found ---> giving_way
//   opening, recording, standing_in, making_do, giving_way --- ended ---> searching
//
// How far the last one is trusted (`trust`):
//
//   trusted    --- another one heard in its place ------------> replaced      is not waited for
//   (each)     --- it takes over from another one ------------> on_trial
//   on_trial   --- it takes over again -----------------------> on_trial      passed over 3 s later
//   (each)     --- ended after 60 s of its sound -------------> trusted       never passed over
//
// Whether another one is recorded although the last one is there (`pass`):
//
//   null       --- the last one gave nothing -----------------> passed over for 1 min
//   passed over -- the time is over, or the other gave nothing > due: the last one is tried again
//   due        --- the last one gave nothing -----------------> passed over for 2, 4 ... 60 min
//   passed over -- plugged -----------------------------------> for no longer than 5 min

import type { Microphone } from "./microphones.ts";

/** For this long after a plug udev may be giving the node its group, and a sound server probe the card. */
export const SETTLE_MS = 3_000;
/** The last one may be on its way (boot, brown-out) for this long before another one is recorded. */
export const GRACE_MS = 5_000;
/** A better one is looked for at this interval even without a plug: the look at a plug may have failed. */
export const BETTER_LOOK_MS = 60_000;
/** A working day: a stand-in that was recorded for this long is the one to keep to. */
export const SUCCESSION_MS = 8 * 3_600_000;
/** The time of a stand-in is written down in steps of this. */
export const COUNT_MS = 600_000;
/** The last one has proved itself when it gave sound for this long. */
export const PROOF_MS = 60_000;
/** The last one is passed over for 1, 2, 4 ... 60 min; after a plug for at most 5 min. */
export const PASS_MIN_MS = 60_000;
export const PASS_MAX_MS = 3_600_000;
export const PASS_PLUGGED_MS = 300_000;

/** What is recorded, or being done about it. Times are monotonic. */
export type Activity =
  | { readonly name: "searching" }
  /** Since `sinceMs` there is one to stand in for the last one, and not the last one. */
  | { readonly name: "waiting_for_last"; readonly sinceMs: number }
  | Opening
  /** The one to keep to gives sound. */
  | { readonly name: "recording"; readonly microphone: Microphone; readonly heardMs: number }
  | StandingIn
  | MakingDo
  /** A better one is there: what is recorded is to end. */
  | { readonly name: "giving_way"; readonly left: Opening | StandingIn | MakingDo };

interface Opening {
  readonly name: "opening";
  readonly microphone: Microphone;
}

/** Another one on USB gives sound; its time is counted up to `countedMs`. */
interface StandingIn {
  readonly name: "standing_in";
  readonly microphone: Microphone;
  readonly heardMs: number;
  readonly countedMs: number;
}

/** A stopgap gives sound. It is never the successor of one on USB: its time is not counted. */
interface MakingDo {
  readonly name: "making_do";
  readonly microphone: Microphone;
  readonly heardMs: number;
}

export type ActivityName = Activity["name"];

export type Trust = "trusted" | "replaced" | "on_trial";

/** Between two monotonic times another one is recorded, if there is one. */
export interface Pass {
  readonly microphone: Microphone;
  readonly fromMs: number;
  readonly untilMs: number;
  /** For how long it was meant; the next time it is twice that. */
  readonly delayMs: number;
}

export interface KeeperState {
  readonly activity: Activity;
  readonly trust: Trust;
  readonly pass: Pass | null;
  /** Monotonic time at which what was plugged in last has settled. */
  readonly settledMs: number;
  /** Name and reason that were announced last. */
  readonly announced: string;
}

export type KeeperEvent =
  /** A microphone is wanted. */
  | { readonly kind: "search" }
  /** The answer to `look`; `isPast`: it was a look past the last one. */
  | { readonly kind: "found"; readonly microphone: Microphone; readonly isPast: boolean }
  | { readonly kind: "nothing_found"; readonly isPast: boolean }
  /** Something was plugged in. */
  | { readonly kind: "plugged" }
  /** A wait is over. */
  | { readonly kind: "time_passed" }
  /** The microphone that was opened gives sound. */
  | { readonly kind: "heard" }
  /** What was opened or recorded has ended. */
  | { readonly kind: "ended" }
  /** This one gave no sound although it was tried; comes after `ended`. */
  | { readonly kind: "gave_nothing"; readonly microphone: Microphone }
  /** The answer to `count`: this stand-in was recorded for `totalMs` altogether. */
  | { readonly kind: "counted"; readonly microphone: Microphone; readonly totalMs: number };

/** What to do next: at most one of them comes out of an event. */
export type Order =
  /** Answer with `found` or `nothing_found`; `past` is not to be found. */
  | { readonly kind: "look"; readonly past: Microphone | null }
  /** For a plug, until this monotonic time. */
  | { readonly kind: "wait"; readonly untilMs: number }
  | { readonly kind: "record"; readonly microphone: Microphone }
  /** End what is recorded and search: a better one is there. */
  | { readonly kind: "change" };

export type Action =
  | Order
  | { readonly kind: "announce"; readonly microphone: Microphone }
  /** The problem that another one is recorded in place of the last one. */
  | { readonly kind: "set_problem"; readonly reason: string }
  | { readonly kind: "clear_problem" }
  | { readonly kind: "remember"; readonly microphone: Microphone }
  /** It stood in for `ms` more. Answer with `counted`. */
  | { readonly kind: "count"; readonly microphone: Microphone; readonly ms: number };

export interface Step {
  readonly state: KeeperState;
  readonly actions: readonly Action[];
}

export const INITIAL_STATE: KeeperState = {
  activity: { name: "searching" },
  trust: "trusted",
  pass: null,
  settledMs: -Infinity,
  announced: "",
};

/** What an event at this monotonic time leads to. Every event has an outcome in every state. */
export function step(state: KeeperState, event: KeeperEvent, nowMs: number): Step {
  switch (event.kind) {
    case "search":
      return search(state, nowMs);
    case "found":
      return event.isPast ? foundPast(state, event.microphone, nowMs) : found(state, event, nowMs);
    case "nothing_found":
      return nothingFound(state, event.isPast);
    case "plugged":
      return plugged(state, nowMs);
    case "time_passed":
      return lookAgain(state, nowMs);
    case "heard":
      return heard(state, nowMs);
    case "ended":
      return ended(state, nowMs);
    case "gave_nothing":
      return gaveNothing(state, event.microphone, nowMs);
    case "counted":
      return counted(state, event);
  }
}

/** Less is better: the one to record, one that stands in for it, one for want of any on USB. */
export function rank({ isStandIn = false, isStopgap = false }: Microphone): number {
  return isStopgap ? 2 : isStandIn ? 1 : 0;
}

/** Whether at this monotonic time what was plugged in last may not be ready yet. */
export function isSettling({ settledMs }: KeeperState, ms: number): boolean {
  return ms < settledMs;
}

function search(state: KeeperState, nowMs: number): Step {
  const before = ended(state, nowMs);
  const next: KeeperState = { ...before.state, activity: { name: "searching" } };
  return { state: next, actions: [...before.actions, look(next, nowMs)] };
}

function look({ pass }: KeeperState, nowMs: number): Order {
  const isPassing = pass !== null && pass.fromMs <= nowMs && nowMs < pass.untilMs;
  return { kind: "look", past: isPassing ? pass.microphone : null };
}

/** A look past the last one has found this. If nothing stands in, the last one is not passed over. */
function foundPast(state: KeeperState, microphone: Microphone, nowMs: number): Step {
  if (rank(microphone) === 0) return nothingFound(state, true);
  const reason = `${microphone.reason}, or back without a sound`;
  return found(replaced(state), { microphone: { ...microphone, reason } }, nowMs);
}

function found(
  state: KeeperState,
  { microphone }: { readonly microphone: Microphone },
  nowMs: number,
): Step {
  const { activity } = state;
  switch (activity.name) {
    case "searching":
      return choose(state, microphone, nowMs, nowMs);
    case "waiting_for_last":
      return choose(state, microphone, activity.sinceMs, nowMs);
    case "opening":
    case "standing_in":
    case "making_do":
      return compare(state, activity, microphone, nowMs);
    case "recording":
    case "giving_way":
      return unchanged(state);
  }
}

/** Nothing is recorded: this one is, or the last one is waited for since `sinceMs`. */
function choose(state: KeeperState, microphone: Microphone, sinceMs: number, nowMs: number): Step {
  const untilMs = sinceMs + GRACE_MS;
  if (microphone.isStandIn === true && state.trust === "trusted" && nowMs < untilMs) {
    const activity = { name: "waiting_for_last", sinceMs } as const;
    return { state: { ...state, activity }, actions: [{ kind: "wait", untilMs }] };
  }
  const announced = `${microphone.name}\n${microphone.reason}`;
  return {
    state: { ...state, activity: { name: "opening", microphone }, announced },
    actions: [
      ...(announced === state.announced ? [] : [{ kind: "announce", microphone } as const]),
      { kind: "record", microphone },
    ],
  };
}

/** Something is recorded that is not the one to keep to: it gives way to a better one. */
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
  // The first time is a replug. If it has not proved itself since, it has a loose cable, and may take
  // the sound of its stand-in only as often as one that gives nothing.
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
      return { state: { ...state, activity: { name: "searching" } }, actions: [] };
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

/** Looks whether the last one, or a better one, is there by now. */
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

function ended(state: KeeperState, nowMs: number): Step {
  const { activity } = state;
  const searching: KeeperState = { ...state, activity: { name: "searching" } };
  switch (activity.name) {
    case "searching":
    case "waiting_for_last":
      return unchanged(state);
    case "opening":
      return { state: searching, actions: [] };
    case "recording":
      return { state: proved(searching, nowMs - activity.heardMs), actions: [] };
    case "standing_in":
      return { state: searching, actions: [count(activity, nowMs), { kind: "clear_problem" }] };
    case "making_do":
      return activity.microphone.isStandIn === true
        ? { state: searching, actions: [{ kind: "clear_problem" }] }
        : { state: proved(searching, nowMs - activity.heardMs), actions: [] };
    case "giving_way": {
      // How long it gave sound says nothing about the one that is tried now.
      const { actions } = ended({ ...state, activity: activity.left }, nowMs);
      return { state: searching, actions };
    }
  }
}

/** The one to keep to gave sound for so long. */
function proved(state: KeeperState, lastedMs: number): KeeperState {
  return lastedMs < PROOF_MS ? state : { ...state, trust: "trusted", pass: null };
}

/** If it was the last one, it is passed over; if it was another one, the last one is due at once. */
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

/** Another one was heard, or is taken, in place of the last one. */
function replaced(state: KeeperState): KeeperState {
  return state.trust === "trusted" ? { ...state, trust: "replaced" } : state;
}

/** From `fromMs` on; what happens while it is passed over, or in its last chance, is one failure. */
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
