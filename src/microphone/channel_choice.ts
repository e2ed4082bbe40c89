// Decides which channels of a microphone are recorded, from what is heard on each of them, as a pure state
// machine: levels go in, the channels to take come out. It measures nothing and opens nothing.
//
//   listening --- sound was heard for 3 s ----------------------> decided
//     all channels are averaged
//
//   decided  --- a channel that is taken is dead for 20 s,
//                while another one hears sound ----------------> decided, anew
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
}

/** Two stretches in each second are measured. */
export const STRETCHES_PER_S = 2;
/** How much sound a decision needs. */
const LISTEN_S = 3;
/** A channel that hears nothing for this long, while another one hears sound, is dead. */
const DEAD_S = 20;
/** A channel that is this much quieter than the loudest one hears only crosstalk, dB. */
const CROSSTALK_DB = 40;
/** Two channels hear the same if their levels differ by no more than this, dB. */
const EQUAL_DB = 12;
/** Two channels cancel each other if their average is this much quieter than the louder one, dB. */
const CANCEL_DB = 6;

export interface ChannelState {
  readonly choice: ChannelChoice;
  readonly isDecided: boolean;
  /** The last `DEAD_S` seconds; while nothing is decided, only stretches with sound. */
  readonly heard: readonly ChannelLevels[];
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
  return isUsable ? { choice: known, isDecided: true, heard: [] } : {
    choice: { channels: all(count), reason: "the average of all until they have been heard" },
    isDecided: false,
    heard: [],
  };
}

/** The next state, when another stretch of sound has come; it has another choice if that changes. */
export function hear(state: ChannelState, levels: ChannelLevels): ChannelState {
  if (!state.isDecided) {
    if (hearing([levels]).length === 0) return state;
    const heard = [...state.heard, levels];
    if (heard.length < LISTEN_S * STRETCHES_PER_S) return { ...state, heard };
    return { ...state, choice: choose(heard), isDecided: true, heard: [] };
  }
  const most = DEAD_S * STRETCHES_PER_S;
  const heard = [...state.heard, levels].slice(-most);
  if (heard.length < most) return { ...state, heard };
  const { channels } = state.choice;
  const dead = channels.filter((channel) => heard.every((levels) => !isHeard(levels, channel)));
  const live = heard.filter((levels) => hearing([levels]).length > 0);
  if (dead.length === 0 || live.length < LISTEN_S * STRETCHES_PER_S) return { ...state, heard };
  const choice = choose(live);
  const reason = `${choice.reason}; ${say(dead)} ${
    dead.length === 1 ? "has" : "have"
  } fallen silent`;
  return { ...state, choice: { ...choice, reason }, heard: [] };
}

/** The channels to take, from stretches in which some of them hear sound. */
function choose(heard: readonly ChannelLevels[]): ChannelChoice {
  const count = heard[0]?.channels.length ?? 0;
  const live = hearing(heard);
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
