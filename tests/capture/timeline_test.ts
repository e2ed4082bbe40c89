import type { ChunkTimes } from "../../src/chunk/chunk_times.ts";
import { assert, assertAlmostEquals, assertEquals, assertLessOrEqual } from "@std/assert";
import { Timeline } from "../../src/capture/timeline.ts";
import { seededRandom } from "../fixtures/random.ts";

const PACKET_SAMPLES = 960;
/** How much sound ffmpeg writes at once. */
const PAGE_MS = 400;
const PAGE_PACKETS = PAGE_MS / 20;
const PRE_SKIP = 312;
/** Unix time minus monotonic time in most tests, ms. */
const OFFSET_MS = 1_785_000_000_000;
/** Monotonic time at which sample 0 is heard, ms. */
const START_MS = 5_000;
const DAY_MS = 14 * 3600_000;

interface Chunk {
  startSample: number;
  endSample: number;
  times: ChunkTimes;
}

/**
 * A microphone, the events that affect it, and a recorder that cuts as stream_cutter.ts does: every
 * `chunkMs`, and where the timeline says "late".
 */
class Recording {
  readonly timeline = new Timeline(PAGE_MS);
  readonly chunks: Chunk[] = [];
  /** The largest error of the timeline, ms, after it had settled. */
  worstErrorMs = 0;
  lateCuts = 0;
  offsetMs = OFFSET_MS;
  /** Delayed sound arrives at this pace, ms per page; 0: all at once. */
  trickleMs = 0;
  #heldUntilMs = 0;
  /** When the packets that arrive together were heard. */
  #together: number[] = [];
  /** The same for the page that is not full yet, and for the full one before it, which ffmpeg holds. */
  #page: number[] = [];
  #held: number[] = [];
  #position = 0;
  #heardMs = START_MS;
  #arrivedMs = 0;
  #chunkStart = 0;
  readonly #chunkSamples: number;
  readonly #packetMs: number;
  readonly #jitterMs: () => number;

  constructor(options: { chunkMs?: number; driftPpm?: number; jitterMs?: () => number } = {}) {
    this.#chunkSamples = (options.chunkMs ?? 60_000) * 48;
    this.#packetMs = 20 * (1 + (options.driftPpm ?? 0) / 1e6);
    this.#jitterMs = options.jitterMs ?? jitter(1);
  }

  /** When the next sample will be heard, monotonic. */
  get nowMs(): number {
    return this.#heardMs;
  }

  record(ms: number): this {
    const endMs = this.#heardMs + ms - 1;
    while (this.#heardMs < endMs) {
      this.#heardMs += this.#packetMs;
      this.#page.push(this.#heardMs);
      if (this.#page.length < PAGE_PACKETS) continue;
      const arrivalMs = Math.max(
        this.#heardMs + this.#jitterMs(),
        this.#heldUntilMs,
        this.#arrivedMs + this.trickleMs,
      );
      if (arrivalMs > this.#arrivedMs) this.#read();
      this.#arrivedMs = arrivalMs;
      this.#together.push(...this.#held);
      this.#held = this.#page;
      this.#page = [];
    }
    return this;
  }

  /** Sound is lost for this long. */
  lose(ms: number): this {
    this.#heardMs += ms;
    return this;
  }

  /** No sound arrives for this long, from now on. */
  hold(ms: number): this {
    this.#heldUntilMs = this.#heardMs + ms;
    return this;
  }

  end(): Chunk[] {
    this.#read();
    this.#together = [...this.#held, ...this.#page];
    this.#read();
    this.#seal();
    return this.chunks;
  }

  #read(): void {
    if (this.#together.length === 0) return;
    const endPosition = this.#position + this.#together.length * PACKET_SAMPLES;
    const late = this.timeline.observe(endPosition, this.#arrivedMs - PAGE_MS);
    for (const heardMs of this.#together) {
      this.#position += PACKET_SAMPLES;
      if (this.#arrivedMs > START_MS + 1000) {
        const errorMs = Math.abs(this.timeline.timeOf(this.#position) - heardMs);
        this.worstErrorMs = Math.max(this.worstErrorMs, errorMs);
      }
      if (this.#position - this.#chunkStart >= this.#chunkSamples) this.#seal();
    }
    this.#together = [];
    if (late === null) return;
    this.lateCuts++;
    this.#seal();
  }

  #seal(): void {
    const startSample = Math.max(0, this.#chunkStart - PRE_SKIP);
    const endSample = this.#position - PRE_SKIP;
    if (endSample <= startSample) return;
    const times = this.timeline.seal(startSample, endSample, this.offsetMs);
    this.chunks.push({ startSample, endSample, times });
    this.#chunkStart = this.#position;
  }
}

/** Delays of up to 30 ms, most of them short, and sometimes one of 80 ms. */
function jitter(seed: number): () => number {
  const random = seededRandom(seed);
  return () => random() < 0.002 ? 80 : Math.min(30, -4 * Math.log(1 - random()));
}

function totalGapMs(chunks: Chunk[]): number {
  return chunks.reduce((sum, { times }) => sum + times.gapMs, 0);
}

/** Every chunk begins where the previous one ended, plus its gap, to the microsecond. */
function assertJoined(chunks: Chunk[]): void {
  for (const [index, { times }] of chunks.entries()) {
    const before = chunks[index - 1]?.times;
    if (before === undefined) continue;
    assertEquals(times.startUnixUs, before.endUnixUs + Math.round(times.gapMs * 1000));
    assert(times.endUnixUs > times.startUnixUs);
  }
}

/** Unix microseconds of a monotonic time. */
function unixUs(monotonicMs: number): number {
  return (OFFSET_MS + monotonicMs) * 1000;
}

Deno.test("Timeline gives contiguous chunks contiguous times, correct to a few milliseconds", () => {
  const recording = new Recording({ chunkMs: 5000 });
  const chunks = recording.record(120_000).end();
  assertEquals(chunks.length, 24);
  assertJoined(chunks);
  assertEquals(totalGapMs(chunks), 0);
  assertEquals(recording.lateCuts, 0);
  assertLessOrEqual(recording.worstErrorMs, 2);
  const [first, last] = [chunks[0]?.times, chunks.at(-1)?.times];
  assertAlmostEquals(first?.startUnixUs ?? 0, unixUs(START_MS), 2000);
  assertAlmostEquals(last?.endUnixUs ?? 0, unixUs(recording.nowMs), 10_000);
  assert([...chunks].every(({ times }) => Number.isInteger(times.startUnixUs)));
});

Deno.test("Timeline follows a microphone that drifts by 100 ppm for 14 hours to within 12 ms", () => {
  for (const driftPpm of [100, -100]) {
    const recording = new Recording({ driftPpm });
    const chunks = recording.record(DAY_MS).end();
    assertLessOrEqual(recording.worstErrorMs, 12); // 9 ms; without the correction it would be 5 s
    assertJoined(chunks);
    assertEquals([totalGapMs(chunks), recording.lateCuts], [0, 0]);
  }
});

Deno.test("Timeline follows a clock that NTP slews by 500 ppm, and declares no gap", () => {
  for (const driftPpm of [500, -500]) {
    const recording = new Recording({ driftPpm });
    const chunks = recording.record(2 * 3600_000).end();
    assertLessOrEqual(recording.worstErrorMs, 100);
    assertEquals([totalGapMs(chunks), recording.lateCuts], [0, 0]);
  }
});

Deno.test("Timeline takes the start from the earliest packet when the first packets arrive in a burst", () => {
  const recording = new Recording({ chunkMs: 5000 });
  const chunks = recording.hold(1500).record(20_000).end();
  assertEquals(totalGapMs(chunks), 0);
  assertAlmostEquals(chunks[0]?.times.startUnixUs ?? 0, unixUs(START_MS), 3000);
  assertJoined(chunks);
});

Deno.test("A stall of 5 s without loss causes no gap and changes no time, soon after the start or hours later", () => {
  for (const beforeMs of [10_000, 3600_000]) {
    for (const [trickleMs, lateCuts] of [[0, 0], [1, 1], [8, 1]] as const) {
      const recording = new Recording().record(beforeMs).hold(5000);
      recording.trickleMs = trickleMs;
      const chunks = recording.record(60_000).end();
      assertEquals(totalGapMs(chunks), 0);
      assertJoined(chunks);
      assertLessOrEqual(recording.worstErrorMs, 2);
      assertEquals(recording.lateCuts, lateCuts);
    }
  }
});

Deno.test("A page that is 250 ms late is on time, and a later one begins a late stretch", () => {
  const timeline = new Timeline(PAGE_MS);
  const observe = (page: number, lateMs: number) =>
    timeline.observe(page * PAGE_MS * 48, page * PAGE_MS + lateMs);
  for (let page = 1; page <= 10; page++) assertEquals(observe(page, 0), null);
  assertEquals(observe(11, 250), null);
  assertEquals(observe(12, 251), "late");
});

Deno.test("One page that is on time ends a late stretch: pages after it that are 200 ms late are on time again", () => {
  const timeline = new Timeline(PAGE_MS);
  const observe = (page: number, lateMs: number) =>
    timeline.observe(page * PAGE_MS * 48, page * PAGE_MS + lateMs);
  for (let page = 1; page <= 10; page++) assertEquals(observe(page, 0), null);
  assertEquals(observe(11, 300), "late");
  assertEquals(observe(12, 0), null);
  for (let page = 13; page <= 30; page++) assertEquals(observe(page, 200), null);
  assertAlmostEquals(timeline.timeOf(0), 0, 1);
});

Deno.test("A loss is a gap of the same length before the next chunk, and later times are correct", () => {
  // The first two losses are at the end of a page, the last one is in the middle of a page.
  for (const beforeMs of [10_600, 605_600, 10_500]) {
    const placedWithinUs = 20_000 + beforeMs % PAGE_MS * 1000;
    for (const lostMs of [150, 245, 260, 500, 5000, 60_000]) {
      const recording = new Recording({ chunkMs: 60_000 });
      recording.record(beforeMs);
      const lostAtMs = recording.nowMs;
      const before = recording.chunks.length;
      // A loss of less than 250 ms shows only after some time.
      const chunks = recording.lose(lostMs).record(150_000).end();
      const what = `${lostMs} ms lost after ${beforeMs} ms`;
      assertAlmostEquals(totalGapMs(chunks), lostMs, 60, what);
      assertEquals(chunks.filter(({ times }) => times.gapMs > 0).length, 1, what);
      assertJoined(chunks);
      const endUnixUs = unixUs(recording.nowMs);
      assertAlmostEquals(chunks.at(-1)?.times.endUnixUs ?? 0, endUnixUs, 20_000, what);
      assertLessOrEqual(recording.lateCuts, 1);
      if (lostMs < 500) continue;
      const behind = chunks.find(({ times }) => times.gapMs > 0)?.times.startUnixUs ?? 0;
      assertAlmostEquals(behind, unixUs(lostAtMs + lostMs), placedWithinUs, what);
      assertEquals(chunks.findIndex(({ times }) => times.gapMs > 0), before + 1, what);
    }
  }
});

Deno.test("After a pause of the reader, the gap lies between the sound that waited in the pipe and live sound", () => {
  for (const lostMs of [500, 5000]) {
    for (const [trickleMs, lateCuts] of [[0, 1], [1, 2]] as const) {
      const recording = new Recording().record(100_600);
      const [pausedMs, backlogMs] = [recording.nowMs, 13_000];
      recording.trickleMs = trickleMs;
      // The pipe holds 13 s; later sound is lost until the reader reads again.
      recording.hold(backlogMs + lostMs).record(backlogMs).lose(lostMs);
      const chunks = recording.record(150_000).end();
      const gaps = chunks.filter(({ times }) => times.gapMs > 0);
      assertEquals(gaps.length, 1);
      assertAlmostEquals(gaps[0]?.times.gapMs ?? 0, lostMs, 60);
      // While the end of the backlog trickles in, some live sound waits with it.
      const liveUnixUs = unixUs(pausedMs + backlogMs + lostMs);
      assertAlmostEquals(gaps[0]?.times.startUnixUs ?? 0, liveUnixUs, trickleMs === 0 ? 20e3 : 1e6);
      assertJoined(chunks);
      assertEquals(recording.lateCuts, lateCuts);
    }
  }
});

Deno.test("A second loss right after the first is cut at its own place", () => {
  const recording = new Recording().record(100_000).lose(1000).record(400).lose(1000);
  const secondUnixUs = unixUs(recording.nowMs);
  const chunks = recording.record(150_000).end();
  assertEquals(recording.lateCuts, 2);
  assertAlmostEquals(totalGapMs(chunks), 2000, 60);
  const behind = chunks.findLast(({ times }) => times.gapMs > 0)?.times.startUnixUs ?? 0;
  assertAlmostEquals(behind, secondUnixUs, 20_000);
  assertJoined(chunks);
});

Deno.test("A short loss soon after a long one counts, too, wherever it is", () => {
  for (let betweenMs = 400; betweenMs <= 4000; betweenMs += 400) {
    const recording = new Recording().record(100_000).lose(1000).record(betweenMs).lose(200);
    const chunks = recording.record(150_000).end();
    assertAlmostEquals(totalGapMs(chunks), 1200, 60, `${betweenMs} ms later`);
    const endUnixUs = unixUs(recording.nowMs);
    assertAlmostEquals(chunks.at(-1)?.times.endUnixUs ?? 0, endUnixUs, 20_000);
  }
});

Deno.test("A loss about as long as the limit does not cut the sound into many small chunks", () => {
  for (let lostMs = 200; lostMs <= 280; lostMs += 10) {
    const recording = new Recording().record(100_000).lose(lostMs).record(120_000);
    assertLessOrEqual(recording.lateCuts, 1, `${lostMs} ms`);
    assertAlmostEquals(totalGapMs(recording.end()), lostMs, 60);
  }
});

Deno.test("Sound that is lost all the time is declared as it is lost, at most one cut in ten seconds", () => {
  for (const lostShare of [0.02, 0.05, 0.1, 0.12, 0.15, 0.3, 0.5]) {
    const recording = new Recording().record(100_000);
    const seconds = 600;
    for (let second = 0; second < seconds; second++) {
      recording.record(1000 * (1 - lostShare)).lose(1000 * lostShare);
    }
    const lostMs = seconds * 1000 * lostShare;
    const what = `${lostShare * 100} %`;
    // What has not been declared at this moment, and how wrong the time is.
    assertLessOrEqual(recording.worstErrorMs, 400 + 8000 * lostShare, what);
    assertLessOrEqual(recording.lateCuts, 2 + seconds / 10, what);
    const chunks = recording.record(150_000).end();
    assertAlmostEquals(totalGapMs(chunks), lostMs, 120, what);
    assertJoined(chunks);
    assertAlmostEquals(chunks.at(-1)?.times.endUnixUs ?? 0, unixUs(recording.nowMs), 20_000, what);
  }
});

Deno.test("A program that is slower than the sound declares almost none of the sound that waits for it", () => {
  for (const slowness of [1.1, 1.3, 2, 3]) {
    for (const mostPages of [4, Infinity]) {
      const timeline = new Timeline(PAGE_MS);
      let [readPages, nowMs] = [0, 0];
      while (readPages < 1500) {
        const isSlow = nowMs > 60_000 && nowMs < 120_000;
        const pages = Math.min(mostPages, Math.floor(nowMs / PAGE_MS) - readPages);
        if (pages === 0) {
          nowMs = (readPages + 1) * PAGE_MS;
          continue;
        }
        readPages += pages;
        timeline.observe(readPages * PAGE_MS * 48, START_MS + nowMs);
        nowMs += pages * PAGE_MS * (isSlow ? slowness : 0.1);
        // A page that waited alone cannot be told from one that came late.
        assertAlmostEquals(timeline.timeOf(0), START_MS, 800, `${slowness}, ${mostPages}`);
      }
    }
  }
});

Deno.test("While sound is lost all the time, the times follow although some of it waits as well", () => {
  // Lost sound, ms, how often, whether ALSA reports it; how much of every 4 s the program does not read.
  for (
    const { lostMs, everyMs, isReported, waitMs, mostMs } of [
      { lostMs: 300, everyMs: 1500, isReported: true, waitMs: 700, mostMs: 2_500 },
      { lostMs: 1000, everyMs: 2000, isReported: true, waitMs: 700, mostMs: 5_000 },
      { lostMs: 300, everyMs: 1500, isReported: false, waitMs: 700, mostMs: 40_000 },
      { lostMs: 4000, everyMs: 2000, isReported: false, waitMs: 0, mostMs: 100_000 },
    ]
  ) {
    const timeline = new Timeline(PAGE_MS);
    let [heardMs, worstMs, lossMs] = [START_MS, 0, START_MS + 40_000];
    for (let page = 1; heardMs < START_MS + 1_800_000; page++) {
      heardMs += PAGE_MS;
      if (heardMs >= lossMs) {
        heardMs += lostMs;
        lossMs = heardMs + everyMs;
        if (isReported) timeline.expectGap(heardMs);
      }
      if (heardMs % 4000 < waitMs) continue;
      timeline.observe(page * PAGE_MS * 48, heardMs);
      worstMs = Math.max(worstMs, heardMs - timeline.timeOf(page * PAGE_MS * 48));
    }
    assertLessOrEqual(worstMs, mostMs, `${lostMs} of ${everyMs}, ${isReported}`);
  }
});

Deno.test("While sound is lost all the time, a page that is delayed as well moves no time beyond its own", () => {
  for (let delayed = 5; delayed < 40; delayed++) {
    const timeline = new Timeline(PAGE_MS);
    for (let page = 1; page <= 100; page++) {
      const heardMs = START_MS + page * PAGE_MS / 0.85;
      timeline.observe(page * PAGE_MS * 48, heardMs + (page === delayed ? 200 : 0));
      assertLessOrEqual(timeline.timeOf(page * PAGE_MS * 48), heardMs + 1, `page ${page}`);
    }
  }
});

Deno.test("Sound that waited and is worked off slowly is a stall and not a gap", () => {
  for (const trickleMs of [200, 340, 380]) {
    const recording = new Recording().record(100_000).hold(8000);
    recording.trickleMs = trickleMs;
    const chunks = recording.record(300_000).end();
    assertEquals(totalGapMs(chunks), 0, `${trickleMs} ms`);
    assertLessOrEqual(recording.worstErrorMs, 2);
  }
});

Deno.test("A stall after a late page is not a gap, however much of its sound fits into a read", () => {
  const readBytes = 16_384;
  for (const kbps of [24, 96, 192, 256, 320]) {
    const pageBytes = kbps * PAGE_MS / 8;
    for (let phase = 0; phase < 30; phase++) {
      const timeline = new Timeline(PAGE_MS);
      for (let page = 1; page <= 125; page++) {
        timeline.observe(page * PAGE_MS * 48, START_MS + page * PAGE_MS + (page === 125 ? 300 : 0));
      }
      // The rest of a page waits to be read with the next one.
      let readPages = 125;
      for (let bytes = pageBytes * phase / 30; readPages < 143; bytes += readBytes) {
        const pages = Math.min(143, 125 + Math.floor(bytes / pageBytes));
        if (pages === readPages) continue;
        readPages = pages;
        timeline.observe(pages * PAGE_MS * 48, START_MS + 125 * PAGE_MS + 7200);
        assertEquals(timeline.timeOf(0), START_MS, `${kbps} kbit/s, phase ${phase}`);
      }
    }
  }
});

Deno.test("A microphone that runs slower than it says has true times, however slow it is", () => {
  for (const ratio of [0.98, 0.92, 0.85, 0.5, 1 / 3, 1 / 6]) {
    const recording = new Recording({ driftPpm: (1 / ratio - 1) * 1e6 });
    const chunks = recording.record(600_000).end();
    const endUnixUs = chunks.at(-1)?.times.endUnixUs ?? 0;
    assertAlmostEquals(endUnixUs, unixUs(recording.nowMs), (500 + 8000 * (1 - ratio)) * 1000);
    assertLessOrEqual(recording.lateCuts, 62, `${ratio}`);
    assertJoined(chunks);
  }
});

Deno.test("A microphone that runs faster than it says has true times, however fast it is", () => {
  for (const ratio of [1.01, 1.088, 2, 3, 4]) {
    const recording = new Recording({ driftPpm: (1 / ratio - 1) * 1e6 });
    const chunks = recording.record(600_000).end();
    const endUnixUs = chunks.at(-1)?.times.endUnixUs ?? 0;
    assertAlmostEquals(endUnixUs, unixUs(recording.nowMs), 35_000 * (ratio - 1) * 1000, `${ratio}`);
    assertEquals([totalGapMs(chunks), recording.lateCuts], [0, 0]);
  }
});

Deno.test("No gap is forgotten if chunks are shorter than the time to tell a gap from a stall", () => {
  const recording = new Recording({ chunkMs: 1000 }).record(40_000).lose(5000);
  const chunks = recording.record(20_000).end();
  assertAlmostEquals(totalGapMs(chunks), 5000, 60);
  assertJoined(chunks);
  assertAlmostEquals(chunks.at(-1)?.times.endUnixUs ?? 0, unixUs(recording.nowMs), 20_000);
});

Deno.test("A start that was set too late is corrected when packets arrive earlier than it allows", () => {
  // For 40 s all packets arrive 400 ms late. Sound cannot arrive before it is heard, so earlier packets
  // correct the start.
  let delayMs = 400;
  const recording = new Recording({ jitterMs: () => delayMs }).record(40_000);
  delayMs = 0;
  const chunks = recording.record(120_000).end();
  assertAlmostEquals(chunks.at(-1)?.times.endUnixUs ?? 0, unixUs(recording.nowMs), 10_000);
  assertEquals(totalGapMs(chunks), 0);
});

Deno.test("Samples missing in the stream itself are a gap of their own length", () => {
  const timeline = new Timeline(PAGE_MS);
  timeline.observe(960, 1020);
  const [first, second, third] = [[0, 48_000], [48_960, 96_000], [96_000, 144_000]].map(
    ([start = 0, end = 0]) => timeline.seal(start, end, OFFSET_MS),
  );
  assertEquals([first?.gapMs, second?.gapMs, third?.gapMs], [0, 20, 0]);
  assertEquals(first?.startUnixUs, unixUs(1000));
  assertEquals(second?.startUnixUs, unixUs(2020));
  assertEquals(third?.startUnixUs, second?.endUnixUs);
});

Deno.test("A step of the system clock moves the next chunk to the new time, and is not a gap", () => {
  for (const stepMs of [3600_000, -3600_000]) {
    const recording = new Recording().record(90_000);
    recording.offsetMs += stepMs;
    const chunks = recording.record(90_000).end();
    assertEquals(totalGapMs(chunks), 0);
    const [before, stepped, after] = chunks.map(({ times }) => times);
    assert(before && stepped && after);
    assertAlmostEquals(stepped.startUnixUs, before.endUnixUs + stepMs * 1000, 1000);
    assertEquals(after.startUnixUs, stepped.endUnixUs);
    assertAlmostEquals(after.endUnixUs, unixUs(recording.nowMs + stepMs), 10_000);
  }
});

Deno.test("Chunks stay contiguous although the two clocks are not read at the same instant", () => {
  const recording = new Recording({ chunkMs: 1000 });
  const random = seededRandom(9);
  for (let second = 0; second < 60; second++) {
    recording.offsetMs = OFFSET_MS + Math.floor(random() * 5) - 2;
    recording.record(1000);
  }
  assertJoined(recording.end());
});

Deno.test("What an ffmpeg that ends writes before its time moves nothing, soon after the start or hours later", () => {
  for (const pages of [2, 5, 80, 150, 9000]) {
    for (const [earlyMs, splitMs] of [[390, 0], [200, 3], [50, 10]] as const) {
      const timeline = new Timeline(PAGE_MS);
      const observe = (ms: number, arrivalMs: number) =>
        timeline.observe(ms * 48, START_MS + arrivalMs);
      for (let page = 1; page <= pages; page++) observe(page * PAGE_MS, page * PAGE_MS);
      const startMs = timeline.timeOf(0);
      // The full page that it held, and then the rest, which is not longer than what was early.
      const [heldMs, endMs] = [(pages + 1) * PAGE_MS, (pages + 2) * PAGE_MS - earlyMs];
      observe(heldMs, heldMs - earlyMs);
      observe(endMs, heldMs - earlyMs + splitMs);
      assertAlmostEquals(timeline.timeOf(0), startMs, 0.001);
    }
  }
});

Deno.test("A stream that seems early is believed when it continues at its pace", () => {
  const timeline = new Timeline(PAGE_MS);
  const lateMs = [300, 250, 0, 0, 0];
  for (const [page, late] of lateMs.entries()) {
    const ms = (page + 1) * PAGE_MS;
    timeline.observe(ms * 48, START_MS + ms + late);
  }
  assertAlmostEquals(timeline.timeOf(0), START_MS, 0.001);
});

Deno.test("A short chunk keeps half of its length when the start turns out to be earlier", () => {
  const timeline = new Timeline(PAGE_MS);
  const samples = (ms: number) => ms * 48;
  timeline.observe(samples(400), START_MS + 600); // 200 ms later than the later packets allow
  const first = timeline.seal(0, samples(400), OFFSET_MS);
  for (const ms of [800, 1200]) timeline.observe(samples(ms), START_MS + ms);
  const short = timeline.seal(samples(400), samples(480), OFFSET_MS);
  assertEquals(short.startUnixUs, first.endUnixUs);
  assertEquals(short.endUnixUs - short.startUnixUs, 40_000);
  // The next chunk takes over the rest of the correction, and still joins.
  timeline.observe(samples(1600), START_MS + 1600);
  const next = timeline.seal(samples(480), samples(1480), OFFSET_MS);
  assertEquals(next.startUnixUs, short.endUnixUs);
  assertAlmostEquals(next.endMs, START_MS + 1480, 1);
});

Deno.test("A short chunk keeps half of its length when the system clock is set back by less than a step", () => {
  const timeline = new Timeline(PAGE_MS);
  const samples = (ms: number) => ms * 48;
  for (const ms of [400, 800, 1200]) timeline.observe(samples(ms), START_MS + ms);
  const first = timeline.seal(0, samples(1000), OFFSET_MS);
  const short = timeline.seal(samples(1000), samples(1040), OFFSET_MS - 45);
  assertEquals(short.startUnixUs, first.endUnixUs);
  assertEquals(short.endUnixUs - short.startUnixUs, 20_000);
  // The next chunk takes over the rest of the correction, and still joins.
  const next = timeline.seal(samples(1040), samples(1200), OFFSET_MS - 45);
  assertEquals(next.startUnixUs, short.endUnixUs);
  assertEquals(next.endUnixUs, unixUs(START_MS + 1200 - 45));
});
