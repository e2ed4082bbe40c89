import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import {
  type ChannelLevels,
  type ChannelState,
  fixedChannels,
  hear,
  listenTo,
  STRETCHES_PER_S,
} from "../../src/microphone/channel_choice.ts";

/** Channels with these RMS levels, dBFS; peaks are 3 dB above. */
function levels(rms: readonly number[], pairRmsDbfs = -10): ChannelLevels {
  return { channels: rms.map((rmsDbfs) => ({ rmsDbfs, peakDbfs: rmsDbfs + 3 })), pairRmsDbfs };
}

function hearFor(state: ChannelState, seconds: number, sound: ChannelLevels): ChannelState {
  for (let n = 0; n < seconds * STRETCHES_PER_S; n++) state = hear(state, sound);
  return state;
}

/** Some seconds in which somebody talks, with a pause in each: `quiet` is heard in the pauses. */
function talkFor(
  state: ChannelState,
  seconds: number,
  talk: ChannelLevels,
  quiet: ChannelLevels,
): ChannelState {
  for (let second = 0; second < seconds; second++) state = hear(hear(state, talk), quiet);
  return state;
}

/** The seconds until this is recorded. */
function secondsUntil(
  channels: readonly number[],
  state: ChannelState,
  next: (state: ChannelState) => ChannelState,
): number {
  for (let second = 0; second < 3600; second++) {
    if (state.choice.channels.join() === channels.join()) return second;
    state = next(state);
  }
  return Infinity;
}

/** After a restart, from what the file in the spool says. */
function restart({ choice, accounts }: ChannelState): ChannelState {
  return listenTo(accounts.length, JSON.parse(JSON.stringify(choice)));
}

/** What is recorded after some seconds of this sound. */
function decide(sound: ChannelLevels): ChannelState {
  const state = hearFor(listenTo(sound.channels.length, null), 4, sound);
  assert(state.isDecided);
  return state;
}

Deno.test("until sound has been heard, the average of all channels is recorded", () => {
  const state = hearFor(listenTo(3, null), 3600, levels([-90, -90, -90]));
  assertEquals([state.choice.channels, state.isDecided], [[0, 1, 2], false]);
  assertEquals(hearFor(state, 2, levels([-90, -90, -30])).isDecided, false);
});

Deno.test("the only channel that hears sound is taken", () => {
  assertEquals(decide(levels([-90, -90, -30])).choice.channels, [2]);
  assertEquals(decide(levels([-30, -90])).choice.channels, [0]);
  // Crosstalk is not sound.
  assertEquals(decide(levels([-60, -10, -60])).choice.channels, [1]);
});

Deno.test("of two channels that hear sound the average is taken, unless that loses sound", () => {
  assertEquals(decide(levels([-30, -30], -30)).choice.channels, [0, 1]);
  assertEquals(decide(levels([-30, -34], -34)).choice.channels, [0, 1], "two people");
  const inverted = decide(levels([-31, -30], -60)).choice;
  assertEquals(inverted.channels, [1]);
  assertStringIncludes(inverted.reason, "inverted");
  assertEquals(decide(levels([-50, -30], -36)).choice.channels, [1], "one much louder");
});

Deno.test("of an array the first channel that hears sound is taken, even if another one is louder", () => {
  assertEquals(decide(levels([-40, -35, -35, -35, -35, -15])).choice.channels, [0]);
});

Deno.test("a dead channel is left for a live one within 30 s, and a pause of all is not death", () => {
  let state = decide(levels([-30, -90]));
  state = hearFor(state, 600, levels([-90, -90]));
  assertEquals(state.choice.channels, [0]);
  let seconds = 0;
  for (; state.choice.channels[0] === 0 && seconds < 60; seconds++) {
    state = hearFor(state, 1, levels([-90, -30]));
  }
  assertEquals(state.choice.channels, [1]);
  assert(seconds < 30, `${seconds} s`);
  assertStringIncludes(state.choice.reason, "channel 1 has fallen silent");
  assertEquals(hearFor(decide(levels([-30, -30], -30)), 25, levels([-30, -90])).choice.channels, [
    0,
  ]);
});

Deno.test("a channel that hears sound is never left for a louder one", () => {
  const state = decide(levels([-30, -90, -90]));
  assertEquals(hearFor(state, 600, levels([-30, -10, -10])).choice.channels, [0]);
});

// A microphone on the left in a quiet shop, and a hum on the right, which is an open input.
const HUM = levels([-82, -56], -62);
const TALK_AND_HUM = levels([-28, -56], -34);

Deno.test("a hum that was taken in a quiet hour is left for speech, and stays left the next day", () => {
  const hum = decide(HUM);
  assertEquals(hum.choice.channels, [1], "nothing else is heard");
  const talk = (state: ChannelState) => talkFor(state, 1, TALK_AND_HUM, HUM);
  const seconds = secondsUntil([0], hum, talk);
  assert(seconds < 120, `${seconds} s`);
  let state = restart(talkFor(hum, 3600, TALK_AND_HUM, HUM));
  assertEquals(state.choice.channels, [0]);
  state = hearFor(state, 3600, HUM);
  assertEquals(state.choice.channels, [0], "a quiet hour, or a gate that has closed");
  const crosstalk = levels([-28, -42], -34);
  assertEquals(
    talkFor(hum, 120, crosstalk, HUM).choice.channels,
    [0],
    "it has no sound of its own",
  );
  // A few words an hour.
  state = hum;
  for (let n = 0; n < 4; n++) state = hearFor(talkFor(state, 60, TALK_AND_HUM, HUM), 3600, HUM);
  assertEquals(state.choice.channels, [0]);
});

Deno.test("a channel that is gated is not left for a hum, and a dead one is for speech within 30 s", () => {
  const state = talkFor(decide(TALK_AND_HUM), 120, TALK_AND_HUM, HUM);
  assertEquals(state.choice.channels, [0]);
  assertEquals(hearFor(state, 3600, HUM).choice.channels, [0]);
  assertEquals(hearFor(restart(state), 3600, HUM).choice.channels, [0]);
  const other = (state: ChannelState) => talkFor(state, 1, levels([-90, -30]), levels([-90, -56]));
  const seconds = secondsUntil([1], hearFor(state, 60, HUM), other);
  assert(seconds < 30, `${seconds} s`);
  const knock = talkFor(hearFor(state, 60, HUM), 2, levels([-90, -30]), levels([-90, -56]));
  assertEquals(knock.choice.channels, [0], "two knocks are not speech");
  let left = hearFor(state, 60, HUM);
  for (let second = 0; second < 120; second++) left = other(left);
  assertEquals(left.choice.channels, [1], "it has no more sound");
});

Deno.test("two channels that cancel each other stay one of them, however long both hear the same", () => {
  const inverted = decide(levels([-31, -30], -60));
  const state = talkFor(inverted, 3600, levels([-31, -30], -60), levels([-61, -60], -90));
  assertEquals(state.choice.channels, [1]);
});

Deno.test("two who talk in turn are both recorded, also when one is silent for a while", () => {
  const [none, left, right] = [levels([-90, -90]), levels([-28, -90]), levels([-90, -30])];
  const both = (state: ChannelState) => talkFor(talkFor(state, 60, left, none), 60, right, none);
  let state = talkFor(listenTo(2, null), 60, left, none);
  assertEquals(state.choice.channels, [0]);
  state = both(both(both(state)));
  assertEquals(state.choice.channels, [0, 1]);
  state = talkFor(state, 300, left, none);
  assertEquals(state.choice.channels, [0, 1], "five minutes without the other one");
  state = talkFor(restart(state), 900, left, none);
  assertEquals(state.choice.channels, [0], "a quarter of an hour");
  // The one who was close at first is as far away as the other one now.
  const [low, lower] = [levels([-50, -90]), levels([-90, -52])];
  const away = talkFor(talkFor(listenTo(2, null), 120, left, none), 300, low, none);
  const turned = talkFor(talkFor(away, 120, lower, none), 60, low, none);
  assertEquals(turned.choice.channels, [0, 1]);
  const talk = (state: ChannelState) => talkFor(state, 1, right, none);
  const seconds = secondsUntil([0, 1], state, talk);
  assert(seconds < 30, `${seconds} s until it is back`);
});

Deno.test("speech is left neither for louder music, nor for a motor that starts again and again", () => {
  const quiet = levels([-70, -75]);
  const speech = talkFor(decide(levels([-45, -75])), 120, levels([-45, -75]), quiet);
  assertEquals(speech.choice.channels, [0]);
  const music = talkFor(speech, 3600, levels([-50, -15]), levels([-70, -40]));
  assertEquals(music.choice.channels, [0]);
  let state = decide(levels([-60, -75]));
  for (let n = 0; n < 20; n++) {
    state = hearFor(hearFor(state, 300, levels([-60, -40])), 300, levels([-60, -75]));
  }
  assertEquals(state.choice.channels, [0], "a quiet room is not left either");
});

Deno.test("an open input of an interface is left for the one that somebody talks into", () => {
  const hum = levels([-56, -90, -90, -90]);
  let state = talkFor(decide(hum), 120, levels([-56, -90, -30, -35]), hum);
  assertEquals(state.choice.channels, [2], "the first of two that hear it");
  state = talkFor(restart(state), 3600, levels([-56, -90, -40, -10]), levels([-56, -90, -45, -50]));
  assertEquals(state.choice.channels, [2], "not left for a louder one");
  // The first channel of an array is the processed one, the last one may be what the till plays.
  state = talkFor(
    decide(levels([-60, -60, -60])),
    120,
    levels([-60, -60, -10]),
    levels([-60, -60, -60]),
  );
  state = talkFor(state, 300, levels([-30, -31, -60]), levels([-60, -60, -60]));
  assertEquals(state.choice.channels, [0]);
});

Deno.test("what was decided before is recorded from the start, if the microphone has such channels", () => {
  const known = { channels: [2], reason: "before" };
  assertEquals(listenTo(4, known).choice, known);
  for (const channels of [[], [4], [0.5], [-1]]) {
    assertEquals(listenTo(4, { channels, reason: "broken" }).choice.channels, [0, 1, 2, 3]);
  }
});

Deno.test("the configuration may decide, and a channel that does not exist is the last one", () => {
  assertEquals(fixedChannels("auto", 2), null);
  assertEquals(fixedChannels("auto", 1)?.channels, [0]);
  assertEquals(fixedChannels("mix", 3)?.channels, [0, 1, 2]);
  assertEquals(fixedChannels(3, 6)?.channels, [2]);
  assertEquals(fixedChannels(7, 2)?.channels, [1]);
  assertEquals(fixedChannels(7, 1)?.channels, [0]);
});
