// Decides which channels of a microphone are recorded, from what is heard on each of them, as a pure state
// machine: levels go in, the channels to take come out. It measures nothing and opens nothing.
//
//   listening --- sound was heard for 3 s ----------------------> assumed
//     all channels are averaged
//
//   assumed   --- a channel that is taken is dead for 20 s,
//                 while another one hears sound ----------------> assumed, anew
//             --- another one has sound of its own -------------> confirmed, with that one
//             --- a channel that is taken has such sound -------> confirmed
//     what is taken hears something, which may be only a hum
//
//   confirmed --- the only channel is dead for 20 s (of two
//                 that are averaged, one of them for 10 min),
//                 while another one has sound of its own -------> assumed or confirmed, with that one
//             --- the other one of two, about as loud, has
//                 sound at other times -------------------------> confirmed, with the average
//             --- an earlier one of an array has such sound ----> confirmed, with that one
//
// A sound of its own is one that changes, so that a hum does not count, and that no other channel hears much
// louder, so that crosstalk does not count. Each channel has an account of it, which a stretch of sound raises or
// lowers; on a channel that is not taken, a stretch counts only if none that is taken has such sound then. A channel
// is therefore never left because another one is louder.
//
// Of two channels that hear the same, or two people, the average is taken, unless they cancel each other. More
// than two channels are an array, whose channels differ in kind (processed, raw, the till's own playback):
// the first that hears sound is taken.

import { SILENT_PEAK_DBFS } from "../status/levels.ts";

/** The values of audio_channel; a number counts from 1. */
export type ChannelSetting = "auto" | "mix" | number;

/** What one short stretch of sound has on one channel, without the mean. */
export interface ChannelLevel {
  readonly peakDbfs: number;
  readonly rmsDbfs: number;
}

/** The same stretch on all channels. */
export interface ChannelLevels {
  readonly channels: readonly ChannelLevel[];
  /** RMS of the average of the first two; of no meaning if there is one. */
  readonly pairRmsDbfs: number;
}

/** Which channels are recorded, counted from 0; several are averaged. */
export interface ChannelChoice {
  readonly channels: readonly number[];
  /** For people: why. */
  readonly reason: string;
  /** For each channel: the level of its own sound, RMS dBFS; null if it has had too little of it. */
  readonly ownDbfs?: readonly (number | null)[];
}

/** Two stretches in each second are measured. */
export const STRETCHES_PER_S = 2;
/** How much sound a decision needs. */
const LISTEN_AT = 3 * STRETCHES_PER_S;
/** A channel that hears nothing for this long, while another one hears sound, is dead. */
const DEAD_AT = 20 * STRETCHES_PER_S;
/** One of two that are averaged may be a lapel microphone whose wearer says nothing: the average costs only 6 dB. */
const REST_AT = 600 * STRETCHES_PER_S;
/** A channel that is this much quieter than the loudest one hears only crosstalk, dB. */
const CROSSTALK_DB = 40;
/** Two channels hear the same if their levels differ by no more than this, dB. */
const EQUAL_DB = 12;
/** Two channels cancel each other if their average is this much quieter than the louder one, dB. */
const CANCEL_DB = 6;
/** A sound changes if it is this much louder than the quietest stretch of the last 20 s, dB: speech has pauses. */
const CHANGE_DB = 10;
/** A stretch with sound of its own raises the account of a channel by this; any other lowers it by 1. */
const OWN_COUNTS = 20;
/** Half a minute of such sound; a motor that starts to hum changes for no more than 20 s. */
const OWN_AT = 50 * OWN_COUNTS;
/** As much as 3 s, of a channel that has had such sound before. */
const AGAIN_AT = 5 * OWN_COUNTS;
/** How fast the level of a channel's own sound follows. */
const LEVEL_SHARE = 1 / 16;

/** A stretch of sound, and the channels that have sound of their own in it. */
interface Heard {
  readonly levels: ChannelLevels;
  readonly own: readonly number[];
}

/** What has been heard on one channel. */
interface Account {
  /** 0 to OWN_AT. */
  readonly own: number;
  /** The level of its own sound, RMS dBFS; null before there was any. */
  readonly levelDbfs: number | null;
  /** Stretches in a row in which it hears nothing. */
  readonly silent: number;
}

export interface ChannelState {
  readonly choice: ChannelChoice;
  readonly isDecided: boolean;
  /** The last `DEAD_AT` stretches. */
  readonly heard: readonly Heard[];
  /** One for each channel. */
  readonly accounts: readonly Account[];
}

/** What the configuration decides without listening; null if the channels have to be heard. */
export function fixedChannels(setting: ChannelSetting, count: number): ChannelChoice | null {
  if (count === 1) return { channels: [0], reason: "the only channel" };
  if (setting === "auto") return null;
  if (setting === "mix") return { channels: all(count), reason: "audio_channel is mix" };
  return setting <= count
    ? { channels: [setting - 1], reason: `audio_channel is ${setting}` }
    : { channels: [count - 1], reason: `the nearest to audio_channel ${setting}` };
}

/** The state when a microphone is opened. @param known what was decided when it was heard before. */
export function listenTo(count: number, known: ChannelChoice | null): ChannelState {
  const isUsable = known !== null && known.channels.length > 0 &&
    known.channels.every((channel) => Number.isInteger(channel) && channel >= 0 && channel < count);
  const choice = isUsable
    ? known
    : { channels: all(count), reason: "the average of all until they have been heard" };
  const accounts = all(count).map(() => ({ own: 0, levelDbfs: null, silent: 0 }));
  return { choice, isDecided: isUsable, heard: [], accounts };
}

/** The next state, when another stretch of sound has come; it has another choice if that changes. */
export function hear(before: ChannelState, levels: ChannelLevels): ChannelState {
  const stretch = { levels, own: ownSound(levels, before.heard) };
  const accounts = before.accounts.map((account, channel) =>
    record(account, channel, stretch, before.choice.channels)
  );
  const state: ChannelState = {
    ...before,
    choice: withOwn(before.choice, accounts),
    heard: [...before.heard, stretch].slice(-DEAD_AT),
    accounts,
  };
  const choice = state.isDecided ? leaveDead(state) ?? takeOwn(state) : decide(state);
  if (choice === null) return state;
  return {
    ...state,
    choice: { ...state.choice, ...choice },
    isDecided: true,
    // A channel that was left comes back only for what is heard from now on.
    accounts: accounts.map((account, channel) => ({
      ...account,
      own: choice.channels.includes(channel) ? account.own : 0,
      silent: 0,
    })),
  };
}

/** The account of a channel after another stretch. */
function record(
  { own, levelDbfs, silent }: Account,
  channel: number,
  stretch: Heard,
  taken: readonly number[],
): Account {
  const hasOwn = stretch.own.includes(channel);
  const isNews = taken.includes(channel) || !taken.some((other) => stretch.own.includes(other));
  const { rmsDbfs = 0 } = stretch.levels.channels[channel] ?? {};
  return {
    own: Math.min(OWN_AT, Math.max(0, own + (hasOwn && isNews ? OWN_COUNTS : -1))),
    levelDbfs: hasOwn
      ? rmsDbfs * LEVEL_SHARE + (levelDbfs ?? rmsDbfs) * (1 - LEVEL_SHARE)
      : levelDbfs,
    silent: isHeard(stretch.levels, channel) ? 0 : silent + 1,
  };
}

/** The choice with the levels that are known now; the same one if they are not new. */
function withOwn(choice: ChannelChoice, accounts: readonly Account[]): ChannelChoice {
  const before = accounts.map((_, channel) => choice.ownDbfs?.[channel] ?? null);
  const ownDbfs = accounts.map(({ own, levelDbfs }, channel) => {
    const known = before[channel] ?? null;
    if (own < OWN_AT || levelDbfs === null) return known;
    const isNew = known === null || Math.abs(levelDbfs - known) > EQUAL_DB;
    return isNew ? Math.round(levelDbfs) : known;
  });
  return ownDbfs.join() === before.join() ? choice : { ...choice, ownDbfs };
}

/** The first decision, when there was enough sound. */
function decide({ heard }: ChannelState): ChannelChoice | null {
  const live = heard.map(({ levels }) => levels).filter((levels) => hearing([levels]).length > 0);
  return live.length < LISTEN_AT ? null : choose(live, hearing(live));
}

/** The decision when a channel that is taken is dead. */
function leaveDead({ choice, heard, accounts }: ChannelState): ChannelChoice | null {
  const hadOwn = (channel: number) => (choice.ownDbfs?.[channel] ?? null) !== null;
  const dead = choice.channels.filter((channel) => {
    const isResting = choice.channels.length > 1 && hadOwn(channel);
    return (accounts[channel]?.silent ?? 0) >= (isResting ? REST_AT : DEAD_AT);
  });
  if (dead.length === 0) return null;
  // A gate may have closed. The hum of an open input is then no better.
  const hears = ({ levels, own }: Heard) => dead.some(hadOwn) ? own : hearing([levels]);
  const live = heard.filter((stretch) => hears(stretch).length > 0);
  if (live.length < LISTEN_AT) return null;
  const channels = all(accounts.length).filter((one) =>
    live.some((each) => hears(each).includes(one))
  );
  const { channels: next, reason } = choose(live.map(({ levels }) => levels), channels);
  const has = dead.length === 1 ? "has" : "have";
  return { channels: next, reason: `${reason}; ${say(dead)} ${has} fallen silent` };
}

/** The decision when a channel that is not taken has sound of its own, while none that is taken has. */
function takeOwn({ choice, accounts }: ChannelState): ChannelChoice | null {
  const { channels, ownDbfs = [] } = choice;
  const count = accounts.length;
  const others = all(count).filter((channel) => !channels.includes(channel));
  const amount = (channel: number) => accounts[channel]?.own ?? 0;
  const level = (channel: number) => ownDbfs[channel] ?? null;
  const isDue = others.some((other) =>
    amount(other) >= (level(other) === null ? OWN_AT : AGAIN_AT)
  );
  const next = others.find((other) => amount(other) >= AGAIN_AT);
  if (!isDue || next === undefined) return null;
  const known = channels.find((channel) => level(channel) !== null);
  if (known !== undefined && count === 2) {
    const isEqual = Math.abs((level(known) ?? 0) - (level(next) ?? 0)) <= EQUAL_DB;
    const reason = "the average of 2 channels that hear sound at different times";
    return isEqual ? { channels: [0, 1], reason } : null;
  }
  if (known !== undefined && known < next) return null;
  const one = count === 2 ? "the one" : "the first";
  return { channels: [next], reason: `${one} of ${count} channels that hears more than a hum` };
}

/** The channels to take, of those that hear sound in these stretches. */
function choose(heard: readonly ChannelLevels[], live: readonly number[]): ChannelChoice {
  const count = heard[0]?.channels.length ?? 0;
  const [first = 0, second] = live;
  if (second === undefined) {
    return { channels: [first], reason: `the only one of ${count} channels that hears sound` };
  }
  if (count > 2) {
    const reason = `the first of ${live.length} channels that hear sound, of ${count}`;
    return { channels: [first], reason };
  }
  const levels = live.map((channel) => mean(heard.map(({ channels }) => channels[channel])));
  const [left = 0, right = 0] = levels;
  const louder = left >= right ? 0 : 1;
  if (Math.abs(left - right) > EQUAL_DB) {
    return { channels: [louder], reason: "the louder one of 2 channels" };
  }
  const together = mean(heard.map(({ pairRmsDbfs }) => ({ rmsDbfs: pairRmsDbfs })));
  return Math.max(left, right) - together > CANCEL_DB
    ? { channels: [louder], reason: "one of 2 channels, which are inverted and cancel each other" }
    : { channels: [0, 1], reason: "the average of 2 channels that hear sound" };
}

/** The channels that have sound of their own in a stretch, after those that were heard before it. */
function ownSound({ channels }: ChannelLevels, heard: readonly Heard[]): number[] {
  const changing = all(channels.length).filter((channel) => {
    const { peakDbfs = -Infinity, rmsDbfs = -Infinity } = channels[channel] ?? {};
    return peakDbfs >= SILENT_PEAK_DBFS &&
      heard.some(({ levels }) =>
        rmsDbfs >= (levels.channels[channel]?.rmsDbfs ?? Infinity) + CHANGE_DB
      );
  });
  const loudest = Math.max(...changing.map((channel) => channels[channel]?.rmsDbfs ?? -Infinity));
  return changing.filter((channel) =>
    (channels[channel]?.rmsDbfs ?? -Infinity) >= loudest - EQUAL_DB
  );
}

/** The channels that hear sound in one of these stretches at least. */
function hearing(heard: readonly ChannelLevels[]): number[] {
  const count = heard[0]?.channels.length ?? 0;
  return all(count).filter((channel) => heard.some((levels) => isHeard(levels, channel)));
}

function isHeard({ channels }: ChannelLevels, channel: number): boolean {
  const loudest = Math.max(...channels.map(({ rmsDbfs }) => rmsDbfs));
  const level = channels[channel];
  return level !== undefined && level.peakDbfs >= SILENT_PEAK_DBFS &&
    level.rmsDbfs > loudest - CROSSTALK_DB;
}

/** The mean power, dB. */
function mean(levels: readonly ({ readonly rmsDbfs: number } | undefined)[]): number {
  const powers = levels.map((level) => 10 ** ((level?.rmsDbfs ?? -Infinity) / 10));
  return 10 * Math.log10(powers.reduce((sum, power) => sum + power, 0) / powers.length);
}

function all(count: number): number[] {
  return Array.from({ length: count }, (_, channel) => channel);
}

/** For people, who count from 1: "channel 3", "channels 1, 2". */
export function say(channels: readonly number[]): string {
  const numbers = channels.map((channel) => channel + 1).join(", ");
  return `${channels.length === 1 ? "channel" : "channels"} ${numbers}`;
}
