import { assert, assertAlmostEquals, assertEquals } from "@std/assert";
import { ChannelMeter } from "../../src/capture/channel_meter.ts";
import type { ChannelLevels } from "../../src/microphone/channel_choice.ts";

const FRAMES = 1600;

/** Interleaved samples of one stretch; a signal is a value from -1 to 1 at each frame. */
function interleave(signals: readonly ((frame: number) => number)[]): Uint8Array {
  const samples = Int16Array.from(
    { length: FRAMES * signals.length },
    (_, at) =>
      Math.round(32767 * (signals[at % signals.length]?.(Math.floor(at / signals.length)) ?? 0)),
  );
  return new Uint8Array(samples.buffer);
}

function measure(bytes: Uint8Array, count: number, piece = bytes.length): ChannelLevels[] {
  const heard: ChannelLevels[] = [];
  const meter = new ChannelMeter(count, FRAMES, (levels) => heard.push(levels));
  for (let at = 0; at < bytes.length; at += piece) meter.push(bytes.slice(at, at + piece));
  return heard;
}

const sine = (amplitude: number, offset = 0) => (frame: number) =>
  offset + amplitude * Math.sin(frame / 16 * 2 * Math.PI);

Deno.test("ChannelMeter measures each channel for itself, without its mean", () => {
  const bytes = interleave([sine(0.5), () => 0.02, sine(0.05, 0.3)]);
  const [levels] = measure(bytes, 3);
  assertEquals(levels?.channels.map(({ peakDbfs }) => Math.round(peakDbfs)), [-6, -120, -26]);
  assertEquals(levels?.channels.map(({ rmsDbfs }) => Math.round(rmsDbfs)), [-9, -120, -29]);
});

Deno.test("ChannelMeter measures the average of two channels, which may cancel each other", () => {
  const together = (right: number) =>
    measure(interleave([sine(0.5), sine(right)]), 2)[0]?.pairRmsDbfs;
  assert((together(-0.5) ?? 0) < -100, "but for the rounding of samples");
  assertAlmostEquals(together(0.5) ?? NaN, -9, 0.1);
  assertAlmostEquals(together(0) ?? NaN, -15, 0.1);
});

Deno.test("ChannelMeter measures the same wherever the bytes are split", () => {
  const bytes = interleave([sine(0.5), sine(0.1)]);
  const expected = measure(bytes, 2);
  assertEquals(expected.length, 1);
  for (const piece of [1, 7, 1000, bytes.length - 1]) {
    assertEquals(measure(bytes, 2, piece), expected);
  }
  assert(measure(bytes.slice(1), 2).length === 0, "a stretch that is not complete");
});
