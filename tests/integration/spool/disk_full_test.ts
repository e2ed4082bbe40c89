// The disk is full of other files, for real: a small file system, with the writer, the janitor and the
// spool working together. Only time is simulated.

import { assert, assertEquals } from "@std/assert";
import { join } from "@std/path/join";
import { ChunkWriter, type WriteStep } from "../../../src/spool/chunk_writer.ts";
import { inOneLine, problems } from "../../../src/status/problems.ts";
import { parseChunkName, type PartName } from "../../../src/chunk/chunk_name.ts";
import { freeBytesOf } from "../../../src/system/disk.ts";
import { Janitor } from "../../../src/spool/janitor.ts";
import { recoverRecordings } from "../../../src/spool/recovery.ts";
import { Spool } from "../../../src/spool/spool.ts";
import { Status } from "../../../src/status/status.ts";
import { makeChunk } from "../../fixtures/chunks.ts";
import { SimulatedClock } from "../../fixtures/simulated_clock.ts";
import { SmallDisk } from "../../fixtures/small_disk.ts";
import { capturedLog, chunksIn } from "../../fixtures/temp_spool.ts";

const NOON = Date.UTC(2026, 5, 15, 12);
const IDENTITY = { pointId: "p", registerId: "r", deviceId: "d", version: "0" };
const CHUNK_BYTES = 120_000;
/** Twice as many chunks as fit. */
const CHUNKS = 15;
const LIMITS = {
  keepDeliveredDays: 7,
  maxWaitingDays: 7,
  maxSpoolBytes: 1e9,
  minFreeBytes: 3e6,
  chunkBytes: 160_000,
};

/** Writer and janitor, running on a disk of 6 MB. */
async function recordingOn(disk: SmallDisk) {
  const spool = await Spool.open(join(disk.dir, "spool"));
  const clock = new SimulatedClock(NOON);
  const status = new Status(IDENTITY, clock);
  const captured = capturedLog();
  const deps = { clock, status, log: captured.log };
  const writer = new ChunkWriter(spool, 5000, deps);
  const stop = new AbortController();
  const janitor = new Janitor(spool, LIMITS, deps).run(stop.signal);
  const report = () => status.report(spool);
  return {
    spool,
    clock,
    writer,
    report,
    log: captured.log,
    problems: () => report().problems.map(({ code }) => code).sort(),
    async [Symbol.asyncDispose]() {
      stop.abort();
      await janitor;
      captured[Symbol.dispose]();
      await spool.uploadedSynced();
      spool.close();
    },
  };
}

type Recording = Awaited<ReturnType<typeof recordingOn>>;

/** Records a chunk of one minute in that minute; each of its bytes is its number. */
async function record({ writer, clock }: Recording, index: number): Promise<void> {
  const startUnixUs = (NOON + index * 60_000) * 1000;
  const times = {
    startUnixUs,
    endUnixUs: startUnixUs + 60e6,
    startMs: startUnixUs / 1000,
    endMs: startUnixUs / 1000 + 60_000,
    gapMs: 0,
  };
  const name: PartName = { startUnixUs, key: crypto.randomUUID() };
  const bytes = new Uint8Array(CHUNK_BYTES / 12).fill(index);
  const steps: WriteStep[] = [
    { kind: "open", name, bytes },
    ...Array.from({ length: 10 }, (): WriteStep => ({ kind: "append", bytes })),
    { kind: "close", bytes, times, name, gapCause: "", levels: null },
  ];
  for (const step of steps) {
    writer.push(step);
    await clock.advance(5000);
  }
}

/** The numbers of the waiting chunks. Each chunk must be complete. */
function waiting(spool: Spool): number[] {
  return chunksIn(spool, "outbox").map((name) => {
    const bytes = Deno.readFileSync(spool.path("outbox", name));
    assertEquals(bytes.length, CHUNK_BYTES);
    assert(bytes.every((byte) => byte === bytes[0]), name);
    return ((parseChunkName(name)?.startUnixUs ?? 0) / 1000 - NOON) / 60_000;
  });
}

function range(from: number, to: number): number[] {
  return Array.from({ length: to - from }, (_, index) => from + index);
}

Deno.test("a disk full of other files: recording uses the space that is left and never runs out of it", async () => {
  await using disk = await SmallDisk.open(6);
  await using recording = await recordingOn(disk);
  const { spool } = recording;
  await disk.fill(1_000_000);
  for (let index = 0; index < CHUNKS; index++) {
    await record(recording, index);
    // Space was freed before it was needed: the disk is never full, only too low for min_free_gb.
    assertEquals(recording.problems(), ["disk_low"], `chunk ${index}`);
  }
  const left = waiting(spool);
  assert(left.length >= 5, `${left}`);
  assertEquals(left, range(CHUNKS - left.length, CHUNKS));
  const lost = CHUNKS - left.length;
  const report = recording.report();
  assertEquals(report.status, "degraded");
  assertEquals(report.chunks_recorded_total, CHUNKS);
  assertEquals(
    [report.chunks_lost_total, report.bytes_lost_total, report.seconds_lost_total],
    [lost, lost * CHUNK_BYTES, lost * 60],
  );
  assertEquals(report.ledger.lost_s, lost * 60);
  await disk.free();
  await record(recording, CHUNKS);
  await recording.clock.advance(300_000);
  assertEquals([recording.problems(), recording.report().status], [[], "ok"]);
  assertEquals(recording.report().chunks_lost_total, lost);
});

Deno.test("without a free byte recordings wait in memory, and are written when there is space", async () => {
  await using disk = await SmallDisk.open(6);
  await using recording = await recordingOn(disk);
  const { spool } = recording;
  await disk.fill();
  for (let index = 0; index < 3; index++) await record(recording, index);
  assertEquals(recording.problems(), ["disk_failing", "disk_low"]);
  const full = recording.report().problems.find(({ code }) => code === "disk_failing");
  assertEquals(full?.message, inOneLine(problems.diskFull()));
  assertEquals(waiting(spool), []);
  // There is some space, less than the other files fill again: the first chunks, half written, continue.
  await disk.fill(20_000);
  await recording.clock.advance(3000);
  assertEquals(recording.problems(), ["disk_failing", "disk_low"]);
  await disk.free();
  // The clock is simulated, the disk is not: it gets as many seconds as it needs.
  for (let second = 0; second < 30 && waiting(spool).length < 3; second++) {
    await recording.clock.advance(1000);
  }
  assertEquals(waiting(spool), [0, 1, 2]);
  await recording.clock.advance(1000);
  assertEquals([recording.problems(), recording.report().status], [[], "ok"]);
  assertEquals(recording.report().chunks_lost_total, 0);
  assertEquals(recording.report().ledger.unaccounted_s, 0);
});

Deno.test("on a full disk chunks are filed, and a recording that was cut off is finished", async () => {
  await using disk = await SmallDisk.open(6);
  const dir = join(disk.dir, "spool");
  {
    await using recording = await recordingOn(disk);
    const { spool, writer } = recording;
    for (let index = 0; index < 2; index++) await record(recording, index);
    // A recording that the next start finds.
    const name = { startUnixUs: (NOON + 600_000) * 1000, key: crypto.randomUUID() };
    writer.push({ kind: "open", name, bytes: makeChunk() });
    await recording.clock.advance(1000);
    await disk.fill();
    const [delivered = "", refused = ""] = chunksIn(spool, "outbox");
    assertEquals(await spool.markUploaded(delivered), true);
    await spool.reject(refused, { reason: "it is too quiet" });
    assertEquals(chunksIn(spool, "uploaded"), [delivered]);
    assertEquals([...Deno.readDirSync(join(dir, "rejected"))].map(({ name }) => name), [refused]);
    assertEquals([spool.tally.outbox.files, spool.tally.rejected.files], [0, 1]);
    await writer.finish();
  }
  using captured = capturedLog();
  const spool = await Spool.open(dir);
  assertEquals(await recoverRecordings(spool, captured.log), 1);
  assertEquals(spool.tally.outbox.files, 1);
  spool.close();
});

Deno.test("a disk that cannot hold another file is full, however many bytes are free", async () => {
  const room = { bavail: 1000, bsize: 4096 };
  assertEquals(freeBytesOf({ ...room, files: 500, ffree: 1 }), 4_096_000);
  assertEquals(freeBytesOf({ ...room, files: 500, ffree: 0 }), 0);
  assertEquals(freeBytesOf({ ...room, files: 0, ffree: 0 }), 4_096_000);
  await using disk = await SmallDisk.open(6);
  const spool = await Spool.open(join(disk.dir, "spool"));
  try {
    assert(await spool.freeBytes() > 5e6);
    await disk.fill();
    assertEquals(await spool.freeBytes(), 0);
  } finally {
    spool.close();
  }
});
