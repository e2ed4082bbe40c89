// A short day, and moments of it, as fixtures/simulated_day.ts simulates them. tests/integration has a long one.

import { assert, assertEquals } from "@std/assert";
import { getLogger } from "@logtape/logtape";
import { ChunkChain } from "../../src/capture/chunk_chain.ts";
import { LevelMeter } from "../../src/capture/level_meter.ts";
import { StreamCutter } from "../../src/capture/stream_cutter.ts";
import type { WriteStep } from "../../src/spool/chunk_writer.ts";
import { isSilent } from "../../src/status/levels.ts";
import { seededRandom } from "../fixtures/random.ts";
import { checkDay, Day, MORNING, PACKET } from "../fixtures/simulated_day.ts";

for (const ppm of [100, -100]) {
  Deno.test(`a day of 3 h is recorded or declared missing, the microphone ${ppm} ppm off`, () => {
    checkDay(3, ppm);
  });
}

Deno.test("an overrun of 100 ms is declared; without the report it would count as jitter", () => {
  // Anywhere in a page of ffmpeg's output.
  for (let inPageMs = 0; inPageMs < 400; inPageMs += 40) {
    const day = new Day(0);
    day.hear(70_000 + inPageMs);
    day.overrun(100);
    day.hear(10_000);
    day.end();
    const [gap, ...more] = day.gaps.filter(({ ms }) => ms > 50);
    assertEquals(more, []);
    assertEquals(gap?.cause, "overrun");
    assert(Math.abs((gap?.ms ?? NaN) - 100) < 40, `${gap?.ms} ms`);
    // The chunks before and after it say truly when they end and begin.
    const [before, after] = day.chunks.slice(-2);
    const endMs = (before?.times.endUnixUs ?? NaN) / 1000 - (before?.trueEndMs ?? NaN);
    const startMs = (after?.times.startUnixUs ?? NaN) / 1000 - (after?.trueStartMs ?? NaN);
    assert(Math.abs(endMs) < 60 && Math.abs(startMs) < 60, `${endMs} ms, ${startMs} ms`);
  }
});

Deno.test("exact zeros and the noise of a converter count as silence, a quiet shop does not", () => {
  const levelsOf = (noise: number, click: number) => {
    const meter = new LevelMeter(48_000);
    const next = seededRandom(5);
    const samples = Int16Array.from({ length: 48_000 * 2 }, (_, index) => {
      const bang = index % 30_000 < 200 ? click : 0;
      return Math.round((next() + next() + next() - 1.5) * noise + bang * Math.sin(index));
    });
    meter.push(new Uint8Array(samples.buffer));
    const levels = meter.take(48_000 * 2);
    assert(levels !== null);
    return levels;
  };
  assertEquals(isSilent(levelsOf(0, 0)), true);
  assertEquals(isSilent(levelsOf(6, 0)), true, "some steps of noise");
  assertEquals(isSilent(levelsOf(12, 300)), false, "a fridge, and something that clicks");
  assertEquals(isSilent(levelsOf(60, 0)), false, "a street outside");
});

Deno.test("a stream that is stopped before its first page still has a time", () => {
  const pushed: WriteStep[] = [];
  const cutter = new StreamCutter(null, { chunkSeconds: 60, vendor: "test", tags: {} }, {
    clock: { unixMs: () => MORNING, monotonicMs: () => 5000, sleep: () => Promise.resolve() },
    writer: { push: (step) => void pushed.push(step), isFull: false },
    log: getLogger("test"),
    provisional: () => undefined,
    gapCause: "starting",
    chain: new ChunkChain(),
    onSound: () => {},
    onDropping: () => {},
  });
  cutter.isFlushing = true;
  cutter.take([{ kind: "head", head: { channels: 1, preSkip: 312, inputSampleRate: 48_000 } }], 0);
  const packet = { data: PACKET, samples: 960, endPosition: 960, trimSamples: 100 };
  cutter.take([{ kind: "packet", packet }], 5000);
  cutter.finish();
  const close = pushed.find((step) => step.kind === "close");
  assertEquals(close?.times.startUnixUs, (MORNING - 20) * 1000);
});

Deno.test("onDropping() is called when sound begins to be lost because writes fail, and when that ends", () => {
  const told: boolean[] = [];
  const writer = { push: () => {}, isFull: false };
  const cutter = new StreamCutter(null, { chunkSeconds: 60, vendor: "test", tags: {} }, {
    clock: { unixMs: () => MORNING, monotonicMs: () => 5000, sleep: () => Promise.resolve() },
    writer,
    log: getLogger("test"),
    provisional: () => undefined,
    gapCause: "starting",
    chain: new ChunkChain(),
    onSound: () => {},
    onDropping: (dropping) => told.push(dropping),
  });
  cutter.take([{ kind: "head", head: { channels: 1, preSkip: 312, inputSampleRate: 48_000 } }], 0);
  for (const [index, isFull] of [false, true, true, false, false].entries()) {
    writer.isFull = isFull;
    const endPosition = (index + 1) * 960;
    const packet = { data: PACKET, samples: 960, endPosition, trimSamples: 0 };
    cutter.take([{ kind: "packet", packet }], 5000 + index * 20);
  }
  assertEquals(told, [true, false]);
});
