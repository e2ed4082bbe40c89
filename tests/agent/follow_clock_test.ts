// A power cut in the moments in which the clock becomes right: what the run before it knew is used by the next one.

import { assertEquals } from "@std/assert";
import { join } from "@std/path/join";
import { followClock, retimeEarlier } from "../../src/agent/follow_clock.ts";
import { missingBefore } from "../../src/capture/before_start.ts";
import {
  type ChunkName,
  formatChunkName,
  formatPartName,
  parseChunkName,
} from "../../src/chunk/chunk_name.ts";
import { recoverRecordings } from "../../src/spool/recovery.ts";
import { Status } from "../../src/status/status.ts";
import { ClockSync } from "../../src/system/clock_sync.ts";
import { makePacket, makeStreamPages } from "../fixtures/ogg_stream.ts";
import { seededRandom } from "../fixtures/random.ts";
import { SimulatedClock } from "../fixtures/simulated_clock.ts";
import { capturedLog, chunkAt, chunksIn, TempSpool, until } from "../fixtures/temp_spool.ts";

const NOON = Date.UTC(2026, 5, 15, 12);
const HOUR = 3_600_000;
/** The boot in which the clock became right; at noon it is 41 s old. */
const BOOT = { id: "0a1b2c3d", zeroMs: 40_000 };

/** A chunk of that boot, named by a clock that was ten days off. */
function provisional(sinceBootMs: number, bootId = BOOT.id): ChunkName {
  const startBootUs = sinceBootMs * 1000;
  const name = chunkAt(NOON - 240 * HOUR + sinceBootMs, 1);
  return { ...name, provisional: { bootId, startBootUs, seenUnixS: null } };
}

/** Becomes right at noon, and runs until its file is written; `spool` keeps the names it has. */
async function becomesRight(temp: TempSpool, log: ReturnType<typeof capturedLog>["log"]) {
  const clock = new SimulatedClock(NOON);
  const stop = new AbortController();
  const ids = { pointId: "", registerId: "", deviceId: "", version: "" };
  await followClock({
    ...{ clock, log, spool: temp.spool, boot: BOOT, timeZone: "UTC" },
    status: new Status(ids, clock),
    clockSync: new ClockSync({ clock, log, probe: () => Promise.resolve(true) }),
    onTrusted: () => stop.abort(), // the power fails before anything is renamed
  }, stop.signal);
}

Deno.test("after a power cut, chunks of the boot whose clock became right get their true time at once", async () => {
  using captured = capturedLog();
  await using temp = await TempSpool.open();
  await becomesRight(temp, captured.log);
  const { durationUs: _, ...part } = provisional(30_000);
  const [waiting, refused, other] = [
    provisional(20_000),
    provisional(10_000),
    provisional(5, "ff"),
  ];
  const unknown = {
    ...other,
    provisional: { ...other.provisional, bootId: "ffffffff" },
  } as ChunkName;
  await temp.store("outbox", waiting);
  await temp.store("rejected", refused);
  await temp.store("outbox", unknown);
  const packets = Array.from({ length: 60 }, () => makePacket(60, seededRandom(4)));
  const pages = makeStreamPages(packets, { perPage: 4, preSkip: 312 });
  const path = join(temp.dir, "recording", formatPartName(part));
  await Deno.writeFile(path, new Uint8Array(pages.flatMap((page) => [...page])));
  const spool = await temp.reopen();
  assertEquals(await recoverRecordings(spool, captured.log), 1);
  await retimeEarlier(spool, captured.log);
  const starts = (dir: "outbox" | "rejected") =>
    chunksIn(spool, dir).map((name) => parseChunkName(name)).map((name) => [
      name?.key,
      name?.provisional?.bootId,
      name?.provisional === undefined ? (name?.startUnixUs ?? 0) / 1000 - NOON : null,
    ]);
  assertEquals(starts("outbox"), [
    [unknown.key, "ffffffff", null],
    [waiting.key, undefined, -21_000],
    [part.key, undefined, -11_000],
  ]);
  assertEquals(starts("rejected"), [[refused.key, undefined, -31_000]]);
  // The outage is declared: the machine booted two hours later.
  const chunk = spool.latest("b");
  assertEquals(chunk?.key, part.key);
  const before = { chunk, wasCutOff: true, declaredEndsMs: [], boot: { id: "b", zeroMs: 20_000 } };
  const hours = { schedule: { startMinute: 0, endMinute: 0 }, timeZone: "UTC" };
  const now = { begunMs: 1000, offsetMs: NOON + 2 * HOUR - 1000 };
  const { cause, gaps } = missingBefore(before, hours, now);
  assertEquals(cause, "machine_restarted");
  const endMs = ((chunk?.startUnixUs ?? 0) + (chunk?.durationUs ?? 0)) / 1000;
  assertEquals(gaps, [{ startMs: endMs - now.offsetMs, endMs: 1000 }]);
});

Deno.test("a deleted chunk without its true time is not later than those that have theirs", async () => {
  using captured = capturedLog();
  await using temp = await TempSpool.open();
  temp.spool.keepsDelivered = false;
  const sent = provisional(20_000); // it was sent after `max_clock_wait_s`
  await temp.store("outbox", sent);
  await temp.spool.markUploaded(formatChunkName(sent));
  await becomesRight(temp, captured.log);
  const next = chunkAt(NOON);
  await temp.store("outbox", next);
  assertEquals((await temp.reopen()).latest(BOOT.id)?.key, next.key);
});

Deno.test("a chunk that cannot be renamed at the start gets its true time later, though the machine has booted again", async () => {
  using captured = capturedLog();
  await using temp = await TempSpool.open();
  await becomesRight(temp, captured.log);
  const chunk = provisional(20_000);
  await temp.store("outbox", chunk);
  const spool = await temp.reopen();
  const path = join(temp.dir, "boot_time.json");
  const kept = () => JSON.parse(Deno.readTextFileSync(path)).boot_id;
  const [renameSync, stop] = [Deno.renameSync, new AbortController()];
  const clock = new SimulatedClock(NOON + HOUR);
  const ids = { pointId: "", registerId: "", deviceId: "", version: "" };
  let failures = 0;
  try {
    Deno.renameSync = () => {
      failures++;
      throw new Error("Structure needs cleaning (os error 117)");
    };
    await retimeEarlier(spool, captured.log);
    const following = followClock({
      ...{ clock, log: captured.log, spool, timeZone: "UTC", onTrusted: () => {} },
      boot: { id: "bbbbbbbb", zeroMs: 20_000 },
      status: new Status(ids, clock),
      clockSync: new ClockSync({
        ...{ clock, log: captured.log },
        probe: () => Promise.resolve(true),
      }),
    }, stop.signal);
    await until(() => clock.sleepers > 0);
    assertEquals([failures, kept()], [3, BOOT.id]);
    Deno.renameSync = renameSync;
    await clock.advance(5000);
    await until(() => kept() === "bbbbbbbb");
    stop.abort();
    await following;
  } finally {
    Deno.renameSync = renameSync;
  }
  const { provisional: _, ...name } = { ...chunk, startUnixUs: (NOON - 21_000) * 1000 };
  assertEquals(chunksIn(spool, "outbox"), [formatChunkName(name)]);
  const told = captured.lines.filter(({ message }) =>
    String(message).startsWith("Chunks that waited")
  );
  assertEquals(told.map(({ chunks }) => chunks), [1], "nothing is told of no chunks");
});

Deno.test("what is not such a file changes nothing", async () => {
  using captured = capturedLog();
  await using temp = await TempSpool.open();
  const name = provisional(20_000);
  await temp.store("outbox", name);
  const began = "2026-06-15T11:59:19.000000Z";
  const others = [{ boot_id: 7, began }, { boot_id: BOOT.id }, { boot_id: BOOT.id, began: 1e9 }];
  for (const text of ["", "null", "7", ...others.map((other) => JSON.stringify(other))]) {
    await Deno.writeTextFile(join(temp.dir, "boot_time.json"), text);
    const spool = await temp.reopen();
    await retimeEarlier(spool, captured.log);
    assertEquals([spool.bootTime, chunksIn(spool, "outbox")], [null, [formatChunkName(name)]]);
  }
});
