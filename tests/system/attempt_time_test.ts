// The limits of an attempt in simulated time, with the cap of the rate, and how patient the client is with a
// line: whatever carries 1.25 times the sound arrives, for every length and bitrate.

import { assert, assertAlmostEquals, assertEquals } from "@std/assert";
import { AttemptTime } from "../../src/system/attempt_time.ts";
import { LinePatience } from "../../src/upload/line_patience.ts";
import { RateCap } from "../../src/system/rate_cap.ts";
import { SimulatedClock } from "../fixtures/simulated_clock.ts";

const START_MS = Date.UTC(2026, 10, 29);
const newClock = () => new SimulatedClock(START_MS, { awaits: "promises" });
const never = new AbortController().signal;

function attempt(clock: SimulatedClock, totalMs: number, silentMs: number, signal = never) {
  return new AttemptTime({ clock, totalMs, silenceMs: () => silentMs, signal });
}

Deno.test("an attempt ends when nothing moves, and at its limit however much moves", async () => {
  const clock = newClock();
  using time = attempt(clock, 90_000, 30_000);
  for (let second = 0; second < 85; second += 5) {
    await clock.advance(5000);
    time.moved();
  }
  assertEquals(time.signal.aborted, false);
  await clock.advance(6000);
  assertEquals(String(time.signal.reason), "TimeoutError: timed out after 90 s");

  using silent = attempt(clock, 90_000, 30_000);
  await clock.advance(10_000);
  silent.moved();
  await clock.advance(29_000);
  assertEquals(silent.signal.aborted, false);
  await clock.advance(2000);
  assertEquals(String(silent.signal.reason), "TimeoutError: nothing moved for 30 s");
});

Deno.test("an attempt ends as its parent does, and leaves no timer and no listener behind", async () => {
  const clock = newClock();
  const parent = new AbortController();
  {
    using time = attempt(clock, 90_000, 30_000, parent.signal);
    parent.abort(new Error("stop!"));
    assertEquals(String(time.signal.reason), "Error: stop!");
    using late = attempt(clock, 90_000, 30_000, parent.signal);
    assertEquals(String(late.signal.reason), "Error: stop!");
  }
  {
    using _ = attempt(clock, 90_000, 30_000);
    assertEquals(clock.sleepers > 0, true);
  }
  await clock.advance(0);
  assertEquals(clock.sleepers, 0);
});

Deno.test("the wait for a cap does not count as time of the attempt", async () => {
  const clock = newClock();
  using time = attempt(clock, 10_000, 4000);
  await clock.advance(3000);
  const waiting = time.paused(clock.sleep(60_000));
  await clock.advance(59_000);
  assertEquals([time.signal.aborted, time.tookMs], [false, 3000]);
  await clock.advance(1000);
  await waiting;
  await clock.advance(900);
  assertEquals([time.signal.aborted, time.tookMs], [false, 3900]);
  await clock.advance(200);
  assertEquals(String(time.signal.reason), "TimeoutError: nothing moved for 4 s");
});

Deno.test("waits for a cap that overlap count once", async () => {
  const clock = newClock();
  using time = attempt(clock, 10_000, 4000);
  await clock.advance(1000);
  const first = time.paused(clock.sleep(20_000));
  await clock.advance(5000);
  const second = time.paused(clock.sleep(30_000));
  await clock.advance(20_000);
  await first;
  assertEquals([time.signal.aborted, time.tookMs], [false, 1000]);
  await clock.advance(10_000);
  await second;
  assertEquals([time.signal.aborted, time.tookMs], [false, 1000]);
  await clock.advance(4100);
  assertEquals(String(time.signal.reason), "TimeoutError: nothing moved for 4 s");
});

for (const kbps of [8, 64, 1000]) {
  Deno.test(`a cap of ${kbps} kbit/s holds for all requests together, and is used`, async () => {
    const clock = newClock();
    const cap = new RateCap(kbps, clock);
    const startMs = clock.monotonicMs();
    const send = async (bytes: number) => {
      for (let left = bytes; left > 0;) left -= await cap.take(Math.min(left, 65_536), never);
    };
    const bytes = [40_000, 60_000, 20_000];
    let done = 0;
    for (const size of bytes) send(size).then(() => done++);
    await clock.advanceUntil("sends all", () => done === 3, 1e9);
    const seconds = (clock.monotonicMs() - startMs) / 1000;
    // The last piece is granted before it has gone.
    assertAlmostEquals(seconds, 120_000 * 8 / 1000 / kbps, 0.5);
  });
}

Deno.test("a cap that rested grants one piece at once, and no more", async () => {
  const clock = newClock();
  const cap = new RateCap(80, clock);
  await clock.advance(60_000);
  assertEquals(await cap.take(65_536, never), 2500);
  let isGranted = false;
  cap.take(10, never).then(() => isGranted = true);
  await clock.advance(249);
  assertEquals(isGranted, false);
  await clock.advance(1);
  assertEquals(isGranted, true);
});

// ---- a line

const TIMEOUT_MS = 30_000;

/**
 * Sends a request over a line with a buffer, as the client does, and says when the client gives up, or null
 * if the answer comes before that. A write returns when the buffer has room for it.
 */
function giveUpMs(
  patience: LinePatience,
  { sizeBytes, durationMs }: { sizeBytes: number; durationMs: number },
  line: { bytesPerS: number; bufferBytes: number; answerMs: number },
): number | null {
  const piece = 65_536;
  const totalMs = TIMEOUT_MS + durationMs;
  const gone = (ms: number) => ms * line.bytesPerS / 1000;
  let nowMs = 0;
  let writtenBytes = 0;
  while (writtenBytes < sizeBytes) {
    const next = Math.min(sizeBytes, writtenBytes + piece);
    const roomMs = Math.max(nowMs, (next - line.bufferBytes) / line.bytesPerS * 1000);
    const limitMs = patience.silenceMs(TIMEOUT_MS, {
      sizeBytes,
      durationMs,
      writtenBytes: next,
      sendingMs: nowMs,
    });
    if (roomMs - nowMs > limitMs) return nowMs + limitMs;
    if (roomMs > totalMs) return totalMs;
    nowMs = roomMs;
    writtenBytes = next;
  }
  const answeredMs = sizeBytes / line.bytesPerS * 1000 + line.answerMs;
  assert(gone(answeredMs) >= sizeBytes);
  const limitMs = patience.silenceMs(TIMEOUT_MS, {
    sizeBytes,
    durationMs,
    writtenBytes,
    sendingMs: nowMs,
  });
  if (answeredMs - nowMs > limitMs) return nowMs + limitMs;
  return answeredMs > totalMs ? totalMs : null;
}

Deno.test("whatever a line carries at 1.25 times the sound arrives, for every length, bitrate and buffer", () => {
  for (const seconds of [1, 5, 60, 600, 3600]) {
    for (const kbps of [6, 24, 64, 256]) {
      const sizeBytes = kbps * 125 * seconds + 3000;
      const durationMs = seconds * 1000;
      for (const bufferBytes of [0, 16_384, 200_000, 4_194_304, 8_000_000]) {
        const bytesPerS = Math.max(kbps * 125, sizeBytes / seconds) * 1.25;
        const line = { bytesPerS, bufferBytes, answerMs: 1000 };
        const what = `${seconds} s of ${kbps} kbit/s, buffer ${bufferBytes}`;
        assertEquals(giveUpMs(new LinePatience(), { sizeBytes, durationMs }, line), null, what);
        // The line was as slow at the last delivery, or up to four times faster.
        for (const before of [1, 4]) {
          const patience = new LinePatience();
          patience.delivered(sizeBytes, sizeBytes / (bytesPerS * before) * 1000);
          assertEquals(giveUpMs(patience, { sizeBytes, durationMs }, line), null, what);
        }
      }
    }
  }
});

Deno.test("200 kB over 40 kbit/s and 2 MB over 200 kbit/s arrive with default settings", () => {
  const line = (kbps: number) => ({ bytesPerS: kbps * 125, bufferBytes: 4_194_304, answerMs: 500 });
  const minute = { sizeBytes: 200_000, durationMs: 60_000 };
  assertEquals(giveUpMs(new LinePatience(), minute, line(40)), null);
  assertEquals(
    giveUpMs(new LinePatience(), { sizeBytes: 2_000_000, durationMs: 60_000 }, line(200)),
    null,
  );
});

Deno.test("a line that turned slow is given its time in the attempt after the first failure", () => {
  const patience = new LinePatience();
  patience.delivered(200_000, 20); // 10 MB/s
  const minute = { sizeBytes: 200_000, durationMs: 60_000 };
  const slow = { bytesPerS: 5000, bufferBytes: 4_194_304, answerMs: 500 };
  assertAlmostEquals(giveUpMs(patience, minute, slow) ?? 0, TIMEOUT_MS, 1000);
  patience.failed();
  assertEquals(giveUpMs(patience, minute, slow), null);
});

Deno.test("a connection that breaks silently is noticed after the time limit on a line known as fast", () => {
  const patience = new LinePatience();
  patience.delivered(180_000, 300);
  const progress = { sizeBytes: 180_000, durationMs: 60_000, writtenBytes: 180_000, sendingMs: 10 };
  assertAlmostEquals(patience.silenceMs(TIMEOUT_MS, progress), TIMEOUT_MS, 1300);
  // Nothing is known yet: at most the whole time of an attempt.
  const unknown = new LinePatience().silenceMs(TIMEOUT_MS, progress);
  assert(unknown <= TIMEOUT_MS + 60_000, String(unknown));
  // A chunk of an hour of which much has gone shows its own rate.
  const hour = { sizeBytes: 115e6, durationMs: 3_600_000, writtenBytes: 50e6, sendingMs: 50_000 };
  assert(new LinePatience().silenceMs(TIMEOUT_MS, hour) < 150_000);
  // Before anything went, no buffer holds anything.
  const nothing = { ...hour, writtenBytes: 0, sendingMs: 0 };
  assertEquals(new LinePatience().silenceMs(TIMEOUT_MS, nothing), TIMEOUT_MS);
});
