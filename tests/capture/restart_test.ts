import { assert, assertEquals } from "@std/assert";
import { join } from "@std/path/join";
import { type Before, declaredEnds } from "../../src/capture/before_start.ts";
import { readChunkHeader } from "../../src/chunk/chunk_file.ts";
import { makeName } from "../fixtures/chunks.ts";
import { simulatedRecorder } from "../fixtures/simulated_recorder.ts";
import { named } from "../fixtures/sockets.ts";
import type { RecorderOptions } from "../../src/capture/recorder.ts";

const NOON = Date.UTC(2026, 5, 15, 12);

/** The last chunk ended this long before noon, when the recorder starts. */
function before(agoMs: number, changes: Partial<Before> = {}): Before {
  const durationUs = 60e6;
  return {
    chunk: { ...makeName(), startUnixUs: (NOON - agoMs) * 1000 - durationUs, durationUs },
    wasCutOff: true,
    declaredEndsMs: [],
    boot: { id: "b", zeroMs: 3_600_000 },
    ...changes,
  };
}

/** Records some seconds after such a start. */
async function restarted(options: Partial<RecorderOptions>, pausedMs = 0) {
  const pausedForMs = (): number => Math.max(0, NOON + pausedMs - rig.clock.unixMs());
  await using rig = await simulatedRecorder(options, { pausedForMs });
  rig.microphones.plug(named("usb"));
  rig.run();
  await rig.records("usb");
  await rig.clock.advance(5000);
  await rig.stop();
  const outbox = join(rig.spool.dir, "outbox");
  const names = [...Deno.readDirSync(outbox)].map(({ name }) => name).sort();
  const path = join(rig.spool.dir, "gaps.jsonl");
  const lines = (await Deno.readTextFile(path)).trimEnd().split("\n");
  return {
    tags: names.map((name) => readChunkHeader(Deno.readFileSync(join(outbox, name)))?.tags ?? {}),
    /** Those of before this start. */
    gaps: lines.map((line): { ms: number; start: string; end: string; cause: string } =>
      JSON.parse(line)
    ).filter(({ cause }) => cause !== "starting" && cause !== "stopping"),
    balance: rig.recorder.balance(),
  };
}

Deno.test("what a crash and the time until the start have cost is declared, with its cause", async () => {
  const last = before(1800);
  const { gaps, tags, balance } = await restarted({ before: last });
  const [crash] = gaps;
  assertEquals([crash?.ms, crash?.cause], [1800, "program_killed"]);
  assertEquals(crash?.end, new Date(NOON).toISOString());
  assertEquals(gaps.length, 1);
  assertEquals(tags[0]?.["PREVIOUS_CHUNK_ID"], last.chunk?.key);
  assertEquals(tags[0]?.["GAP_CAUSE"], "program_killed");
  assertEquals(tags[0]?.["GAP_BEFORE_MS"], "1800"); // the simulated microphone gives sound at once
  assertEquals(balance.scheduledUs, balance.recordedUs + balance.gapUs + balance.openUs);
  assert(balance.gapUs >= 1_800_000);
});

Deno.test("a restart of the machine, and a service that did not run, are causes of their own", async () => {
  const restart = await restarted({
    before: before(90_000, { boot: { id: "b", zeroMs: 30_000 } }),
  });
  assertEquals(restart.gaps[0]?.cause, "machine_restarted");
  assertEquals(restart.tags[0]?.["GAP_CAUSE"], "machine_restarted");
  // Its end was declared when it stopped.
  const declaredEndsMs = [NOON - 3_600_000, NOON - 60_000, NOON + 86_400_000]; // one by a wrong clock
  const stopped = before(90_000, { wasCutOff: false, declaredEndsMs });
  const stop = await restarted({ before: stopped });
  assertEquals([stop.gaps[0]?.ms, stop.gaps[0]?.cause], [60_000, "not_running"]);
});

Deno.test("a gap by a clock that may have been wrong, and a deleted chunk, do not hide what is missing", async () => {
  const gap = (cause: string, endMs: number) => {
    const [start, end] = [endMs - 1000, endMs].map((ms) => new Date(ms).toISOString());
    return { start: start ?? "", end: end ?? "", ms: 1000, cause };
  };
  const declaredEndsMs = declaredEnds([
    gap("stopping", NOON - 80_000),
    { ...gap("starting", NOON - 40_000), clock: "unsynchronized" },
    ...["evicted", "expired"].map((cause) => gap(cause, NOON - 20_000)),
  ]);
  const { gaps } = await restarted({ before: before(90_000, { declaredEndsMs }) });
  assertEquals(gaps.map(({ ms }) => ms), [80_000]);
});

Deno.test("a restart does not hide a pause, nor a pause what was missing for longer before it", async () => {
  const pausedMs = 30_000;
  const causes = async (last: Before) => {
    const { gaps, tags } = await restarted({ before: last }, pausedMs);
    return [...gaps.map(({ cause }) => cause), tags[0]?.["GAP_CAUSE"]];
  };
  const down = { wasCutOff: false, boot: { id: "b", zeroMs: 1e9 } };
  assertEquals(await causes(before(3 * 86_400_000, down)), [
    "not_running",
    "paused",
    "not_running",
  ]);
  assertEquals(await causes(before(10_000, down)), ["not_running", "paused", "paused"]);
  // The monotonic clock began at the start; the pause of an hour was begun 58 minutes before it.
  const begun = { ...down, pause: () => ({ startMs: -3_480_000, endMs: 120_000 }) };
  assertEquals(await causes(before(3_500_000, begun)), ["paused", "paused", "paused"]);
  assertEquals(await causes(before(86_400_000, begun)), ["not_running", "paused", "not_running"]);
});

Deno.test("outside the schedule nothing is missing, and the next chunk says so", async () => {
  const night = { startMinute: 12 * 60, endMinute: 11 * 60 };
  const { gaps, tags } = await restarted({ before: before(3_600_000), schedule: night });
  assertEquals(gaps, []);
  assertEquals(tags[0]?.["GAP_CAUSE"], "outside_schedule");
  assert(Number(tags[0]?.["GAP_BEFORE_MS"]) >= 3_600_000);
});

Deno.test("nothing is declared for the time before the first chunk of all, or of a clock that is not right", async () => {
  const first = await restarted({ before: before(5000, { chunk: null }) });
  assertEquals(first.gaps, []);
  assertEquals(first.tags[0]?.["PREVIOUS_CHUNK_ID"], undefined);
  const provisional = { bootId: "b", startBootUs: 5, seenUnixS: null };
  const unsure = await restarted({ before: before(5000), provisional: () => provisional });
  assertEquals(unsure.gaps, []);
  assertEquals(unsure.tags[0]?.["CLOCK"], "unsynchronized");
  assertEquals(unsure.tags[0]?.["GAP_BEFORE_MS"], undefined);
  assertEquals(unsure.tags[0]?.["GAP_CAUSE"], "program_killed");
});

Deno.test("what a restart without the right time has cost is declared when the clock has become right", async () => {
  const chunk = {
    ...makeName(),
    startUnixUs: 0,
    durationUs: 60e6,
    // The machine has run for an hour, and the monotonic clock shows a second; the chunk ended ten minutes ago.
    provisional: { bootId: "b", startBootUs: (3_600_000 - 660_000) * 1000, seenUnixS: null },
  };
  const last = before(0, { chunk, boot: { id: "b", zeroMs: 3_599_000 } });
  const { gaps, tags } = await restarted({ before: last });
  assertEquals(gaps.map(({ ms, cause }) => [ms, cause]), [[600_000, "program_killed"]]);
  assertEquals(tags[0]?.["GAP_BEFORE_MS"], "600000");
  assertEquals(tags[0]?.["GAP_CAUSE"], "program_killed");
});
