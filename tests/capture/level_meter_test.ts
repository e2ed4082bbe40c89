import { FLOOR_DBFS, type SoundLevels } from "../../src/status/levels.ts";
import { assert, assertAlmostEquals, assertEquals } from "@std/assert";
import { LevelMeter } from "../../src/capture/level_meter.ts";

const RATE = 16_000;
/** One second in samples at 48 kHz, the unit of take(). */
const SECOND = 48_000;

/** Signed 16-bit little-endian samples of a sine with this amplitude (1 is full scale). */
function sine(amplitude: number, seconds: number, sampleRate = RATE): Uint8Array {
  const view = new DataView(new ArrayBuffer(seconds * sampleRate * 2));
  for (let i = 0; i < seconds * sampleRate; i++) {
    const value = amplitude * Math.sin((2 * Math.PI * 1000 * i) / sampleRate);
    view.setInt16(i * 2, Math.round(value * 32767), true);
  }
  return new Uint8Array(view.buffer);
}

function measure(bytes: Uint8Array, endSample: number, sampleRate = RATE): SoundLevels | null {
  const meter = new LevelMeter(sampleRate);
  meter.push(bytes);
  return meter.take(endSample);
}

Deno.test("LevelMeter measures the peak of a sine, and its RMS 3 dB below, at every sample rate of Opus", () => {
  for (const sampleRate of [8000, 12_000, 16_000, 24_000, 48_000]) {
    for (const [amplitude, peakDbfs] of [[1, 0], [0.5, -6], [0.1, -20], [0.001, -60]] as const) {
      const levels = measure(sine(amplitude, 1, sampleRate), SECOND, sampleRate);
      assert(levels !== null);
      // There are 8 samples per period at 8 kHz; at 12 and 24 kHz, too, one sample is at the peak.
      assertAlmostEquals(levels.peakDbfs, peakDbfs, 0.15);
      assertAlmostEquals(levels.rmsDbfs, peakDbfs - 3, 0.15);
    }
  }
});

Deno.test("LevelMeter reports the most negative sample as full scale, and a single bit as -90 dB", () => {
  const bytes = new Uint8Array(RATE * 2);
  bytes.set([0x00, 0x80], 100); // -32768
  const full = measure(bytes, SECOND);
  assertAlmostEquals(full?.peakDbfs ?? NaN, 0, 0.1);
  assertAlmostEquals(full?.rmsDbfs ?? NaN, -42, 0.2);
  bytes.set([0xff, 0xff], 100); // -1
  assertAlmostEquals(measure(bytes, SECOND)?.peakDbfs ?? NaN, -90.3, 0.2);
});

Deno.test("LevelMeter reports digital silence as FLOOR_DBFS, a number that JSON can represent", () => {
  const levels = measure(new Uint8Array(RATE * 2), SECOND);
  const silence = { peakDbfs: FLOOR_DBFS, rmsDbfs: FLOOR_DBFS, floorDbfs: FLOOR_DBFS };
  assertEquals(levels, { ...silence, offset: 0, clippedShare: 0 });
  assertEquals(JSON.parse(JSON.stringify(levels)), levels);
});

Deno.test("LevelMeter measures the same wherever the bytes are split, even inside a sample", () => {
  const bytes = sine(0.3, 0.1);
  const expected = measure(bytes, SECOND);
  for (let at = 0; at <= bytes.length; at++) {
    const meter = new LevelMeter(RATE);
    for (const piece of [bytes.subarray(0, at), new Uint8Array(0), bytes.subarray(at)]) {
      meter.push(piece);
    }
    assertEquals(meter.take(SECOND), expected);
  }
  const meter = new LevelMeter(RATE);
  for (const byte of bytes) meter.push(Uint8Array.of(byte));
  assertEquals(meter.take(SECOND), expected);
});

Deno.test("take() covers the sound between two calls, and leaves later sound to the next call", () => {
  const meter = new LevelMeter(RATE);
  for (const amplitude of [0.5, 0, 0.05]) meter.push(sine(amplitude, 1));
  // A stream's first chunk is shorter by the pre-skip: that must not shift the others.
  assertAlmostEquals(meter.take(SECOND - 312)?.peakDbfs ?? NaN, -6, 0.1);
  assertEquals(meter.take(2 * SECOND - 312)?.peakDbfs, FLOOR_DBFS);
  assertAlmostEquals(meter.take(3 * SECOND - 312)?.peakDbfs ?? NaN, -26, 0.1);
});

Deno.test("take() returns null when nothing has arrived, and a late sample counts for the next chunk", () => {
  const meter = new LevelMeter(RATE);
  assertEquals(meter.take(SECOND), null);
  meter.push(sine(0.5, 0.5));
  assertAlmostEquals(meter.take(SECOND)?.peakDbfs ?? NaN, -6, 0.1);
  assertEquals(meter.take(SECOND), null);
  assertEquals(meter.take(0), null);
  meter.push(sine(0.05, 1));
  assertAlmostEquals(meter.take(2 * SECOND)?.peakDbfs ?? NaN, -26, 0.1);
});

Deno.test("LevelMeter reports the level of every 100 ms as soon as it has arrived", () => {
  const told: SoundLevels[] = [];
  const meter = new LevelMeter(RATE, (levels) => told.push(levels));
  meter.push(sine(0.5, 1).subarray(0, 2 * RATE * 0.25));
  assertEquals(told.length, 2);
  for (const { peakDbfs, rmsDbfs } of told) {
    assertAlmostEquals(peakDbfs, -6, 0.15);
    assertAlmostEquals(rmsDbfs, -9, 0.15);
  }
  meter.push(new Uint8Array(2 * RATE * 0.25));
  assertEquals(told.length, 5);
  assertEquals(told.at(-1)?.peakDbfs, FLOOR_DBFS);
  assertAlmostEquals(meter.take(SECOND)?.peakDbfs ?? 0, -6, 0.15);
});

Deno.test("LevelMeter keeps nothing for a take() that is never called", () => {
  let told = 0;
  const meter = new LevelMeter(RATE, () => told++, { isTaken: false });
  meter.push(sine(0.5, 1));
  assertEquals([told, meter.take(SECOND)], [10, null]);
});

/** Samples with these values, one after the other, repeated for a second. */
function samples(...values: readonly number[]): Uint8Array {
  return new Uint8Array(
    Int16Array.from({ length: RATE }, (_, at) => values[at % values.length] ?? 0).buffer,
  );
}

Deno.test("LevelMeter measures without the mean: a constant with one bit of noise is silence", () => {
  const levels = measure(samples(655, 656, 655, 655), SECOND);
  assert((levels?.peakDbfs ?? 0) < -85);
  assertAlmostEquals(levels?.offset ?? NaN, 0.02, 0.0001);
  const stuck = measure(samples(-32768), SECOND);
  assertEquals([stuck?.peakDbfs, stuck?.rmsDbfs, stuck?.offset], [FLOOR_DBFS, FLOOR_DBFS, -1]);
});

Deno.test("LevelMeter measures a small sound on a large constant, positive or negative, from the first sample", () => {
  for (const mean of [25_000, -25_000]) {
    const levels = measure(samples(...Array(500).fill([mean + 1000, mean - 1000]).flat()), SECOND);
    assertAlmostEquals(levels?.peakDbfs ?? 0, 20 * Math.log10(1000 / 32768), 0.01, `${mean}`);
  }
});

Deno.test("LevelMeter counts the samples at full scale", () => {
  assertEquals(measure(samples(32767, 0, 0, -32768), SECOND)?.clippedShare, 0.5);
  assertEquals(measure(samples(32700, -32700), SECOND)?.clippedShare, 0);
  for (const oneSide of [32767, 32_760, -32_760, -32768]) {
    assertEquals(measure(samples(oneSide, 0), SECOND)?.clippedShare, 0.5, `${oneSide}`);
  }
  assertEquals(measure(samples(32_759, -32_759), SECOND)?.clippedShare, 0);
});

Deno.test("LevelMeter reports the noise floor: the level of the quietest tenth", () => {
  const meter = new LevelMeter(RATE);
  for (const amplitude of [0.5, 0.3, 0.001, 0.5, 0.2]) meter.push(sine(amplitude, 1));
  assertAlmostEquals(meter.take(5 * SECOND)?.floorDbfs ?? NaN, -63, 0.3);
});
