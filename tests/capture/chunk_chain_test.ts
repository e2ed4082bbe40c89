import { assertEquals } from "@std/assert";
import { type Before, causeBeforeStart } from "../../src/capture/before_start.ts";
import { ChunkChain } from "../../src/capture/chunk_chain.ts";
import type { ChunkName } from "../../src/chunk/chunk_name.ts";
import { makeName } from "../fixtures/chunks.ts";

const NOON_US = Date.UTC(2026, 5, 15, 12) * 1000;
const KEYS = ["a", "b", "c"].map((letter) => `${letter.repeat(8)}-0000-4000-8000-000000000000`);

/** A minute that begins `minute` minutes after noon; the monotonic clock began at noon. */
function times(minute: number) {
  const [startMs, endMs] = [minute * 60_000, (minute + 1) * 60_000];
  const at = (ms: number) => NOON_US + ms * 1000;
  return { startUnixUs: at(startMs), endUnixUs: at(endMs), startMs, endMs, gapMs: 0 };
}

Deno.test("each chunk follows the one whose sound was complete before it, over streams", () => {
  const chain = new ChunkChain();
  assertEquals(chain.previousKey, null);
  assertEquals(chain.gapBefore({ ...times(0), provisional: undefined }), null);
  chain.closed(KEYS[0] ?? "", times(0), undefined);
  assertEquals(chain.previousKey, KEYS[0]);
  // The system clock was set in between: the monotonic one tells.
  const start = { startMs: 61_500, startUnixUs: 0, provisional: undefined };
  assertEquals(chain.gapBefore(start), 1500);
  assertEquals(chain.causeBefore("microphone_lost", 61_500, 1500), "microphone_lost");
});

Deno.test("the first chunk of a run follows the last one of the run before, with its cause", () => {
  const name: ChunkName = { ...makeName(), startUnixUs: NOON_US, durationUs: 60e6 };
  const boot = { id: "b", zeroMs: 0 };
  const chain = new ChunkChain({ chunk: name, boot }, { causeBefore: () => "program_killed" });
  assertEquals(chain.previousKey, name.key);
  const start = { startMs: 5, startUnixUs: NOON_US + 63.2e6, provisional: undefined };
  assertEquals(chain.gapBefore(start), 3200);
  assertEquals(chain.gapBefore({ ...start, startUnixUs: NOON_US + 59e6 }), 0, "jitter");
  const past = chain.gapBefore({ ...start, startUnixUs: NOON_US - 60e6 });
  assertEquals(past, null, "the clock was set back: nobody knows");
  assertEquals(chain.causeBefore("starting", 5, 3200), "program_killed");
  chain.closed(KEYS[0] ?? "", times(0), undefined);
  assertEquals(chain.causeBefore("late", 65_000, 5000), "late");
});

Deno.test("of several causes in one gap the chunk after it names that of the longest part", () => {
  const chunk: ChunkName = { ...makeName(), startUnixUs: NOON_US, durationUs: 60e6 };
  const boot = { id: "b", zeroMs: 0 };
  const begun = (begunMs: number) =>
    new ChunkChain({ chunk, boot }, { causeBefore: () => "program_killed", begunMs });
  const killed = begun(1000);
  // Killed for 3 s; then the microphone was missing for a second, or for an hour.
  assertEquals(killed.causeBefore("microphone_missing", 2000, 4000), "program_killed");
  const hour = killed.causeBefore("microphone_missing", 3_601_000, 3_603_000);
  assertEquals(hour, "microphone_missing");
  const unknown = killed.causeBefore("microphone_missing", 3_601_000, null);
  assertEquals(unknown, "program_killed", "nobody knows how long it was dead");
  // In this run, a pause after a minute without the microphone, and another one.
  const chain = new ChunkChain();
  chain.closed(KEYS[0] ?? "", times(0), undefined);
  const part = (ms: number) => ({ startMs: 60_000, endMs: 60_000 + ms });
  chain.missed("microphone_missing", part(60_000));
  assertEquals(chain.causeBefore("paused", 420_000, 360_000), "paused");
  assertEquals(chain.causeBefore("paused", 150_000, 90_000), "microphone_missing");
  chain.missed("paused", part(70_000));
  chain.missed("microphone_missing", part(20_000));
  assertEquals(chain.causeBefore("device_busy", 215_000, 155_000), "microphone_missing");
  chain.closed(KEYS[1] ?? "", times(5), undefined);
  assertEquals(chain.causeBefore("late", 400_000, 40_000), "late");
});

Deno.test("between two runs without the right time only those of one boot have a known distance", () => {
  const at = (bootId: string, startBootUs: number) => ({ bootId, startBootUs, seenUnixS: null });
  const name: ChunkName = { ...makeName(), durationUs: 60e6, provisional: at("b", 10e6) };
  const gap = (bootId: string, provisional?: ReturnType<typeof at>, chunk = name) =>
    new ChunkChain({ chunk, boot: { id: bootId, zeroMs: 71_995 } })
      .gapBefore({ startMs: 5, startUnixUs: NOON_US, provisional });
  assertEquals(gap("b", at("b", 72e6)), 2000);
  assertEquals(gap("b"), 2000, "the clock has become right between two chunks of one boot");
  assertEquals(gap("c", at("c", 72e6)), null);
  assertEquals(gap("c"), null);
  const sure: ChunkName = { ...makeName(), startUnixUs: NOON_US - 63e6, durationUs: 60e6 };
  assertEquals(gap("b", at("b", 72e6), sure), null);
});

Deno.test("after the end of the schedule, the gap before the next chunk is the schedule's", () => {
  const chain = new ChunkChain();
  chain.closed(KEYS[0] ?? "", times(0), undefined);
  chain.scheduleEnded();
  const night = [36e6, 36e6 - 60_000] as const;
  assertEquals(chain.causeBefore("starting", ...night), "outside_schedule");
  const late = chain.causeBefore("microphone_missing", ...night);
  assertEquals(late, "microphone_missing", "the day began late");
  chain.missed("clock_not_synchronized", { startMs: 0, endMs: 59_000 });
  const known = chain.causeBefore("starting", ...night);
  assertEquals(known, "outside_schedule", "it was missing before another chunk");
  chain.missed("clock_not_synchronized", { startMs: 60_000, endMs: 61_000 });
  assertEquals(chain.causeBefore("starting", ...night), "clock_not_synchronized");
  chain.closed(KEYS[1] ?? "", times(1), undefined);
  assertEquals(chain.causeBefore("late", ...night), "late");
});

Deno.test("a chunk says since when none before it is on its way, and never too late a time", () => {
  let waiting: ChunkName | null | undefined = null;
  const chain = new ChunkChain(null, { oldestWaiting: () => waiting });
  const startUs = times(2).startUnixUs;
  assertEquals(chain.waitingFromUs(startUs), startUs, "nothing waits");
  for (const [index, key] of KEYS.slice(0, 2).entries()) chain.closed(key, times(index), undefined);
  assertEquals(chain.waitingFromUs(startUs), times(0).startUnixUs, "two are not in outbox/ yet");
  chain.sealed(KEYS[0] ?? "");
  assertEquals(chain.waitingFromUs(startUs), times(1).startUnixUs);
  chain.sealed(KEYS[1] ?? "");
  assertEquals(chain.waitingFromUs(startUs), startUs);
  waiting = { ...makeName(), startUnixUs: 1000 };
  assertEquals(chain.waitingFromUs(startUs), 1000);
  waiting = undefined;
  assertEquals(chain.waitingFromUs(startUs), null, "nobody knows");
  waiting = { ...makeName(), provisional: { bootId: "b", startBootUs: 1, seenUnixS: null } };
  assertEquals(chain.waitingFromUs(startUs), null, "its time may be wrong");
});

Deno.test("a start knows whether the program was killed, the machine restarted, or nothing was to be recorded", () => {
  const before: Before = {
    chunk: { ...makeName(), startUnixUs: NOON_US, durationUs: 60e6 },
    wasCutOff: true,
    declaredEndsMs: [],
    boot: { id: "b", zeroMs: 0 },
  };
  const [earlier, later] = [NOON_US / 1000 - 1000, NOON_US / 1000 + 61_000];
  const short = { bootUnixMs: earlier, missingMs: 1800, scheduledMs: 1800, begunMs: 5000 };
  assertEquals(causeBeforeStart(before, short), "program_killed");
  assertEquals(causeBeforeStart({ ...before, wasCutOff: false }, short), "not_running");
  assertEquals(causeBeforeStart(before, { ...short, bootUnixMs: later }), "machine_restarted");
  const past = { ...short, bootUnixMs: earlier - 900_000, missingMs: -800_000, scheduledMs: 0 };
  assertEquals(causeBeforeStart(before, past), "machine_restarted", "the clock went back");
  const night = { ...short, bootUnixMs: later, missingMs: 36e6, scheduledMs: 900 };
  assertEquals(causeBeforeStart(before, night), "outside_schedule");
  const provisional = { bootId: "c", startBootUs: 1, seenUnixS: null };
  const chunk = { ...makeName(), ...before.chunk, provisional };
  assertEquals(causeBeforeStart({ ...before, chunk }, short), "machine_restarted");
  const paused = (startMs: number, endMs: number, now: typeof short) =>
    causeBeforeStart({ ...before, pause: () => ({ startMs, endMs }) }, now);
  assertEquals(paused(3000, 60_000, short), "paused");
  assertEquals(paused(3000, 4500, short), "paused", "it is over, and was most of that time");
  assertEquals(paused(4500, 60_000, short), "program_killed", "it began late");
  assertEquals(paused(1000, 60_000, past), "paused", "the clock went back");
  assertEquals(paused(1000, 4900, past), "machine_restarted", "it is over");
  assertEquals(paused(3000, 60_000, night), "outside_schedule");
});
