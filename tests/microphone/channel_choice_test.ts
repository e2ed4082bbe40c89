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
