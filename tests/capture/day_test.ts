// Simulates a day of 14 h with the real cutter, timeline and ledger. A microphone's clock produces the
// packets, and two clocks tell the time. Only ffmpeg and the disk are left out.

import type { GapCause } from "../../src/status/ledger.ts";
import { isSilent } from "../../src/status/levels.ts";
import { assert, assertEquals } from "@std/assert";
import { getLogger } from "@logtape/logtape";
import type { SealedChunk, WriteStep } from "../../src/spool/chunk_writer.ts";
import { Ledger } from "../../src/status/ledger.ts";
import { LevelMeter } from "../../src/capture/level_meter.ts";
import { MUXER_DELAY_MS, PAGE_MS } from "../../src/capture/ffmpeg_arguments.ts";
import type { OpusEvent } from "../../src/chunk/opus.ts";
import { ChunkChain } from "../../src/capture/chunk_chain.ts";
import { StreamCutter } from "../../src/capture/stream_cutter.ts";
import { seededRandom } from "../fixtures/random.ts";

const MORNING = Date.UTC(2026, 5, 15, 8);
const HOUR = 3_600_000;
const PRE_SKIP = 312;

/** 20 ms of CELT silence: the content does not matter here. */
const PACKET = new Uint8Array([0xf8, 0xff, 0xfe]);

interface DayChunk extends SealedChunk {
  /**
   * Unix milliseconds at which its first and its last sample were really heard. The first is calculated
   * from the third packet, because a cut after a loss is at most two packets off.
   */
  readonly trueStartMs: number;
  readonly trueEndMs: number;
}

/**
 * A simulated world: a true time, a monotonic clock, a system clock that may be wrong, and a microphone.
 */
class Day {
  readonly chunks: DayChunk[] = [];
  readonly ledger = new Ledger();
  readonly gaps: { ms: number; cause: string }[] = [];
  trueMs = MORNING;
  /** How far the system clock is ahead of the true time, ms. */
  stepMs = 0;
  readonly #random = seededRandom(14);
  readonly #ppm: number;
  #cutter: StreamCutter;
  #packets = 0;
  /** What ffmpeg has not written yet: the page that it is filling, and the full one before it. */
  #page: OpusEvent[] = [];
  #held: OpusEvent[] = [];
  /** True time of the stream's sample 0, by the microphone's clock. */
  #streamStartMs = MORNING;
  #cause: GapCause = "starting";
  /** When the last sample of each packet of this stream was really heard. */
  #heardMs: number[] = [];
  /** Samples of this stream in sealed chunks, and those of the open chunk that a decoder discards. */
  #sealedSamples = 0;
  #preSkip = 0;

  constructor(ppm: number) {
    this.#ppm = ppm;
    this.ledger.begin(this.#monotonicMs());
    this.#cutter = this.#newStream();
  }

  /** The microphone delivers sound for this long. */
  hear(ms: number): void {
    const endMs = this.trueMs + ms;
    const packetMs = 20 * (1 - this.#ppm * 1e-6);
    while (true) {
      const heardMs = this.#streamStartMs + (this.#packets + 1) * packetMs;
      if (heardMs > endMs) break;
      this.trueMs = heardMs;
      this.#heardMs.push(heardMs);
      this.#packets++;
      const packet = {
        data: PACKET,
        samples: 960,
        endPosition: this.#packets * 960,
        trimSamples: 0,
      };
      this.#page.push({ kind: "packet", packet });
      if (this.#page.length === PAGE_MS / 20) {
        // The page arrives up to 30 ms later, never before the previous one.
        const arrivalMs = this.#monotonicMs() + 2 + this.#random() * 28 * this.#random();
        this.#cutter.take(this.#held, arrivalMs - MUXER_DELAY_MS);
        this.#held = this.#page;
        this.#page = [];
      }
    }
    this.trueMs = endMs;
  }

  /**
   * ALSA loses this much sound. ffmpeg reports it when it restarts the microphone, and continues; its
   * stream does not show the loss.
   */
  overrun(ms: number): void {
    this.trueMs += ms;
    this.#cutter.overrun(this.#monotonicMs());
    this.#streamStartMs += ms;
  }

  /** The microphone is away for this long; then another ffmpeg starts another stream. */
  reconnect(ms: number): void {
    this.#flush();
    this.#cutter.finish();
    this.trueMs += ms;
    this.#streamStartMs = this.trueMs;
    this.#packets = 0;
    this.#cause = "microphone_lost";
    this.#cutter = this.#newStream();
  }

  end(): void {
    this.#flush();
    this.#cutter.finish();
    this.ledger.end(this.#monotonicMs());
  }

  /** The rest of ffmpeg's output. */
  #flush(): void {
    this.#cutter.isFlushing = true;
    this.#cutter.take([...this.#held, ...this.#page], this.#monotonicMs());
    this.#held = [];
    this.#page = [];
  }

  balance() {
    return this.ledger.balance(this.#monotonicMs());
  }

  #monotonicMs(): number {
    return this.trueMs - MORNING + 5000;
  }

  #newStream(): StreamCutter {
    const clock = {
      unixMs: () => Math.floor(this.trueMs + this.stepMs),
      monotonicMs: () => this.#monotonicMs(),
      sleep: () => Promise.resolve(),
    };
    this.#heardMs = [];
    this.#sealedSamples = 0;
    const push = (step: WriteStep) => {
      // Its first page is the header: 27 bytes, a lacing value, OpusHead (RFC 7845, section 5.1).
      if (step.kind === "open") this.#preSkip = viewOf(step.bytes).getUint16(27 + 1 + 10, true);
      if (step.kind === "close") this.#sealed(step);
    };
    const cutter = new StreamCutter(null, { chunkSeconds: 60, vendor: "test", tags: {} }, {
      clock,
      writer: { push, isFull: false },
      log: getLogger("test"),
      provisional: () => undefined,
      gapCause: this.#cause,
      chain: new ChunkChain(),
      onSound: () => {},
      onDropping: () => {},
    });
    const head = { channels: 1, preSkip: PRE_SKIP, inputSampleRate: 48_000 };
    cutter.take([{ kind: "head", head }], this.#monotonicMs());
    return cutter;
  }

  #sealed(step: SealedChunk): void {
    const { startMs, endMs } = step.times;
    const gap = this.ledger.record(startMs, endMs);
    if (gap !== null) this.gaps.push({ ms: gap.endMs - gap.startMs, cause: step.gapCause });
    const first = Math.floor((this.#sealedSamples + PRE_SKIP) / 960);
    this.#sealedSamples += Number(viewOf(step.bytes).getBigInt64(6, true)) - this.#preSkip;
    const last = (this.#sealedSamples + PRE_SKIP) / 960 - 1;
    this.chunks.push({
      ...step,
      trueStartMs: (this.#heardMs[first + 2] ?? NaN) - 60,
      trueEndMs: this.#heardMs[last] ?? NaN,
    });
  }
}

function viewOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

for (const [hours, ppm] of [[14, 100], [3.5, -100]] as const) {
  Deno.test(`a day of ${hours} h is recorded or declared missing, the microphone ${ppm} ppm off`, () => {
    const part = hours / 14;
    const day = new Day(ppm);
    day.hear(3 * part * HOUR);
    day.stepMs = HOUR; // the system clock is set one hour ahead
    day.hear(2 * part * HOUR);
    day.stepMs = -14 * 24 * HOUR; // and then two weeks back
    day.hear(2 * part * HOUR);
    day.stepMs = 0;
    day.hear(part * HOUR);
    day.overrun(700);
    day.hear(3 * part * HOUR);
    day.reconnect(4200);
    day.hear(3 * part * HOUR - 4900);
    day.end();

    // The ledger balances: the day is recorded or declared missing, to the microsecond.
    const books = day.balance();
    assertEquals(books.scheduledUs, hours * HOUR * 1000);
    assertEquals(books.scheduledUs, books.recordedUs + books.gapUs);
    const gaps = day.gaps.filter(({ ms }) => ms > 50);
    assertEquals(gaps.map(({ cause }) => cause), ["overrun", "microphone_lost"]);
    for (const [index, trueMs] of [700, 4200].entries()) {
      const { ms } = gaps[index] ?? { ms: NaN };
      assert(Math.abs(ms - trueMs) < 60, `a gap of ${trueMs} ms is declared as ${ms} ms`);
    }

    // A step of the clock causes no cut: a chunk a minute, and a cut for each of the two gaps.
    assert(day.chunks.length <= 60 * hours + 3, `${day.chunks.length} chunks`);
    let worst = 0;
    for (const [index, { times, trueStartMs, trueEndMs }] of day.chunks.entries()) {
      const next = day.chunks[index + 1];
      for (
        const off of [times.startUnixUs / 1000 - trueStartMs, times.endUnixUs / 1000 - trueEndMs]
      ) {
        const unstepped = [0, HOUR, -14 * 24 * HOUR].map((step) => Math.abs(off - step));
        worst = Math.max(worst, Math.min(...unstepped));
      }
      if (next === undefined) continue;
      const between = next.times.startUnixUs - times.endUnixUs;
      const joins = next.times.startMs === times.endMs && next.times.gapMs === 0;
      if (joins && Math.abs(between) < 1e6) assertEquals(between, 0, `after chunk ${index}`);
    }
    assert(worst < 100, `a chunk's start or end is ${worst} ms from the truth`);
  });
}

Deno.test("an overrun of 100 ms is declared; without the report it would count as jitter", () => {
  const day = new Day(0);
  day.hear(90_000);
  day.overrun(100);
  day.hear(90_000);
  day.end();
  const [gap, ...more] = day.gaps.filter(({ ms }) => ms > 50);
  assertEquals(more, []);
  assertEquals(gap?.cause, "overrun");
  assert(Math.abs((gap?.ms ?? NaN) - 100) < 40, `${gap?.ms} ms`);
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
