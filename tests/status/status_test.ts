// The report of /health, field by field.

import { assertEquals } from "@std/assert";
import { STARTING_MS, Status } from "../../src/status/status.ts";
import { ids } from "../fixtures/chunks.ts";
import { SimulatedClock } from "../fixtures/simulated_clock.ts";

const START_MS = Date.UTC(2026, 10, 23, 9, 0, 0, 250);
const spool = {
  tally: {
    outbox: { files: 3, bytes: 300, durationUs: 180e6 },
    uploaded: { files: 20, bytes: 2000, durationUs: 1200e6 },
    rejected: { files: 1, bytes: 100, durationUs: 60e6 },
  },
  totalBytes: 2400,
};

function start() {
  const clock = new SimulatedClock(START_MS);
  const status = new Status({ ...ids, version: "1.2.3" }, clock);
  return { clock, status, report: () => status.report(spool) };
}

const NOT_MEASURED = {
  peak_dbfs: null,
  rms_dbfs: null,
  noise_floor_dbfs: null,
  clipped_share: null,
};

Deno.test("a report has the top-level fields of the contract, with their types", () => {
  const { status, report } = start();
  assertEquals(report(), {
    status: "ok",
    recording: false,
    in_schedule: false,
    queue_size: 3,
    uploaded_total: 0,
    upload_errors_total: 0,
    last_upload_ts: null,
    spool_files: 24,
    spool_bytes: 2400,
    point_id: ids.pointId,
    register_id: ids.registerId,
    device_id: ids.deviceId,
    version: "1.2.3",
    started_ts: START_MS / 1000,
    microphone: null,
    microphone_stalls_total: 0,
    chunks_recorded_total: 0,
    chunks_rejected_total: 0,
    chunks_rejected: 1,
    chunks_lost_total: 0,
    bytes_lost_total: 0,
    seconds_lost_total: 0,
    gaps_total: 0,
    gap_seconds_total: 0,
    last_gap: null,
    clock_synchronized: true,
    ledger: {
      scheduled_s: 0,
      recorded_s: 0,
      gaps_s: 0,
      open_s: 0,
      adjusted_s: 0,
      carried_over_s: 0,
      delivered_s: 0,
      waiting_s: 180,
      refused_s: 0,
      lost_s: 0,
      unaccounted_s: -180, // the test did not report what waited at the start
    },
    last_chunk: null,
    problems: [],
  });
  status.schedule(true);
  status.recording("usb microphone");
  status.uploaded(0);
  status.uploadFailed();
  status.uploadFailed();
  const { recording, in_schedule, uploaded_total, upload_errors_total, last_upload_ts } = report();
  assertEquals([recording, in_schedule], [true, true]);
  assertEquals([uploaded_total, upload_errors_total, last_upload_ts], [1, 2, START_MS / 1000]);
});

Deno.test("chunks, losses and gaps add up", async () => {
  const { clock, status } = start();
  const books = { scheduledUs: 130e6, recordedUs: 120e6, gapUs: 1.25e6, openUs: 8.75e6, gaps: 2 };
  const report = () => status.report(spool, books);
  status.carriedOver(299.5e6, 0);
  const chunk = { name: "a.ogg", seconds: 60, bytes: 180_000 };
  status.chunkRecorded({ ...chunk, ...NOT_MEASURED });
  status.chunkRecorded({ ...chunk, ...NOT_MEASURED, peak_dbfs: -3, rms_dbfs: -20.5 });
  status.chunkRejected(60e6);
  status.chunksLost({ chunks: 2, bytes: 300, seconds: 119.5 });
  status.chunksLost({ chunks: 1, bytes: 150, seconds: 60 });
  status.evicted("outbox", 119.5);
  await clock.advance(60_000);
  status.uploaded(60e6);
  const now = report();
  assertEquals([now.chunks_recorded_total, now.chunks_rejected_total], [2, 1]);
  assertEquals([now.chunks_lost_total, now.bytes_lost_total], [3, 450]);
  assertEquals(now.seconds_lost_total, 179.5);
  assertEquals([now.gaps_total, now.gap_seconds_total], [2, 1.25]);
  assertEquals(now.last_upload_ts, START_MS / 1000 + 60);
  const { ledger } = now;
  assertEquals(ledger.scheduled_s, ledger.recorded_s + ledger.gaps_s + ledger.open_s);
  assertEquals(ledger.lost_s, 119.5);
  assertEquals(ledger.unaccounted_s, 0, "120 s and 299.5 s are 60 + 180 + 60 + 119.5 s");
  assertEquals(now.last_chunk, { ...chunk, ...NOT_MEASURED, peak_dbfs: -3, rms_dbfs: -20.5 });
});

Deno.test("a problem keeps its start time while its message changes, until it is cleared", async () => {
  const { clock, status, report } = start();
  status.setProblem("upload_failing", "refused");
  await clock.advance(5000);
  status.setProblem("upload_failing", "timeout");
  status.setProblem("disk_low", "1 MB");
  assertEquals(report().problems, [
    { code: "upload_failing", message: "timeout", since: START_MS / 1000 },
    { code: "disk_low", message: "1 MB", since: START_MS / 1000 + 5 },
  ]);
  assertEquals(report().status, "degraded");
  status.clearProblem("upload_failing");
  status.clearProblem("disk_failing");
  assertEquals([status.hasProblem("upload_failing"), status.hasProblem("disk_low")], [false, true]);
  status.clearProblem("disk_low");
  status.setProblem("upload_failing", "again");
  assertEquals(report().problems[0]?.since, START_MS / 1000 + 5);
  status.clearProblem("upload_failing");
  assertEquals([report().status, report().problems], ["ok", []]);
});

Deno.test("a hint is shown after the problems, and the state stays ok with it alone", () => {
  const { status, report } = start();
  status.setProblem("microphone_too_quiet", "peak -50 dBFS");
  assertEquals([report().status, report().problems.length], ["ok", 1]);
  status.setProblem("microphone_silent", "peak -90 dBFS");
  assertEquals(report().status, "degraded");
  const codes = ["microphone_silent", "microphone_too_quiet"];
  assertEquals(report().problems.map(({ code }) => code), codes);
  status.schedule(true);
  status.clearProblem("microphone_silent");
  assertEquals(report().status, "ok");
});

Deno.test("the state is error after more time in schedule without sound than a start may take", async () => {
  const { clock, status, report } = start();
  await clock.advance(3_600_000); // outside the schedule no sound is missing
  assertEquals(report().status, "ok");
  status.schedule(true);
  await clock.advance(STARTING_MS);
  assertEquals(report().status, "ok");
  status.schedule(true); // called repeatedly
  await clock.advance(1);
  assertEquals(report().status, "error");
  status.recording("usb microphone");
  assertEquals(report().status, "ok");
  await clock.advance(3_600_000);
  assertEquals(report().status, "ok");
});

Deno.test("a lost microphone is an error after the same grace period, even if it is reported repeatedly", async () => {
  const { clock, status, report } = start();
  status.schedule(true);
  status.recording("usb microphone");
  await clock.advance(3_600_000);
  status.recording(null);
  status.setProblem("microphone_missing", "plug it in");
  assertEquals([report().status, report().recording], ["degraded", false]);
  for (let second = 1; second <= 11; second++) {
    await clock.advance(1000);
    status.recording(null);
  }
  assertEquals(report().status, "error");
  assertEquals(report().microphone, "usb microphone");
  status.schedule(false);
  assertEquals(report().status, "degraded");
});

Deno.test("a step of the system clock neither causes nor hides an error", async () => {
  const { clock, status, report } = start();
  status.schedule(true);
  clock.step(86_400_000);
  assertEquals(report().status, "ok");
  clock.step(-2 * 86_400_000);
  await clock.advance(STARTING_MS + 1);
  assertEquals(report().status, "error");
});

Deno.test("a report is valid JSON for every measured value", () => {
  const { status, report } = start();
  const levels = { ...NOT_MEASURED, peak_dbfs: -Infinity, rms_dbfs: -Infinity };
  status.chunkRecorded({ name: "a.ogg", seconds: 60, bytes: 1000, ...levels });
  const read = JSON.parse(JSON.stringify(report()));
  assertEquals([read.last_chunk.peak_dbfs, read.last_chunk.rms_dbfs], [null, null]);
});
