// The metrics of the service, from the data of the status page. How they are written for /metrics and OTLP,
// system/prometheus.ts and otlp.ts know. Pure.

import { UPLOAD_BOUNDS_S } from "../status/counters.ts";
import { type Labels, type MetricFamily, Metrics } from "../system/prometheus.ts";
import type { StatusView } from "./view.ts";

/** The current metrics: the same families in every call, some of them without samples. */
export function collectMetrics(view: StatusView): MetricFamily[] {
  const { report, counters, tally } = view;
  const { ledger, last_chunk: chunk } = report;
  const metrics = new Metrics("recorder_agent_");

  metrics.gauge("build_info", "Always 1; the version is a label.", [[1, {
    version: report.version,
    point_id: report.point_id,
    register_id: report.register_id,
    device_id: report.device_id,
  }]]);
  metrics.gauge("recording", "1 while sound is being recorded.", Number(report.recording));
  metrics.gauge("in_schedule", "1 during the scheduled hours.", Number(report.in_schedule));
  metrics.gauge(
    "status",
    "1 for the state that /health reports.",
    ["ok", "degraded", "error"].map((status) => [Number(report.status === status), { status }]),
  );
  metrics.gauge(
    "problem",
    "1 for each current problem; /health has its message and the fix.",
    report.problems.map(({ code }) => [1, { code }]),
  );
  metrics.gauge(
    "clock_synchronized",
    "1 while the system clock is synchronized.",
    Number(report.clock_synchronized),
  );

  metrics.counter("scheduled_seconds_total", "Scheduled recording time.", ledger.scheduled_s);
  metrics.counter("recorded_seconds_total", "Sound recorded.", ledger.recorded_s);
  metrics.counter(
    "missing_seconds_total",
    "Scheduled sound that is missing, by cause.",
    [...counters.missingMs].map(([cause, ms]) => [ms / 1000, { cause }]),
  );
  // A label is exported with its first value, which increase() does not see: an alert needs one series from the start.
  const missed = [...counters.missingMs].filter(([cause]) => cause !== "paused");
  metrics.counter(
    "unrecorded_seconds_total",
    "Scheduled sound that is missing, without what somebody paused.",
    missed.reduce((sum, [, ms]) => sum + ms, 0) / 1000,
  );
  metrics.counter("gaps_total", "Declared gaps.", report.gaps_total);
  metrics.counter("chunks_recorded_total", "Chunks recorded.", report.chunks_recorded_total);
  metrics.counter("capture_starts_total", "Starts of ffmpeg.", counters.captureStarts);
  metrics.counter(
    "capture_ends_total",
    "Ends of ffmpeg, by reason; asked is an end that the program requested.",
    [...counters.captureEnds].map(([reason, count]) => [count, { reason }]),
  );
  metrics.counter(
    "microphone_stalls_total",
    "How often a connected microphone delivered no sound for 10 s.",
    report.microphone_stalls_total,
  );
  const levels = (["peak", "rms", "noise_floor"] as const).flatMap((measure) => {
    const dbfs = chunk?.[`${measure}_dbfs`] ?? null;
    return dbfs === null ? [] : [[dbfs, { measure }] satisfies [number, Labels]];
  });
  metrics.gauge(
    "last_chunk_clipped_ratio",
    "Share of the samples of the last chunk at full scale.",
    chunk?.clipped_share ?? [],
  );
  metrics.gauge("last_chunk_level_dbfs", "Loudness of the last chunk, dB of full scale.", levels);

  metrics.counter(
    "chunks_delivered_total",
    "Chunks accepted by the server.",
    report.uploaded_total,
  );
  metrics.counter(
    "upload_errors_total",
    "Failed attempts to deliver a chunk.",
    report.upload_errors_total,
  );
  metrics.counter(
    "upload_attempts_total",
    "Attempts to deliver a chunk, by result.",
    [...counters.attempts].map(([result, count]) => [count, { result }]),
  );
  metrics.histogram("upload_duration_seconds", "Duration of the attempts to deliver a chunk.", {
    bounds: UPLOAD_BOUNDS_S,
    counts: counters.attemptsWithin,
    sum: counters.attemptsMs / 1000,
  });
  metrics.gauge(
    "last_upload_timestamp_seconds",
    "When the server last accepted a chunk, Unix time; 0 if never.",
    report.last_upload_ts ?? 0,
  );
  const { oldestWaitingMs, nowMs } = view;
  metrics.gauge(
    "oldest_waiting_age_seconds",
    "Age of the oldest chunk that waits; 0 if none does.",
    oldestWaitingMs === undefined
      ? []
      : oldestWaitingMs === null
      ? 0
      : Math.max(0, nowMs - oldestWaitingMs) / 1000,
  );
  metrics.counter(
    "delivered_deleted_total",
    "Delivered chunks that were deleted since the start.",
    counters.deliveredDeleted,
  );
  metrics.counter(
    "chunks_lost_total",
    "Chunks that were lost before delivery.",
    report.chunks_lost_total,
  );
  metrics.counter(
    "chunks_lost_seconds_total",
    "Sound in chunks that were lost before delivery.",
    report.seconds_lost_total,
  );

  const states = [
    ["waiting", tally.outbox],
    ["delivered", tally.uploaded],
    ["refused", tally.rejected],
  ] as const;
  metrics.gauge(
    "spool_chunks",
    "Chunks in the spool, by state.",
    states.map(([state, { files }]) => [files, { state }]),
  );
  metrics.gauge(
    "spool_bytes",
    "Size of the chunks in the spool, by state.",
    states.map(([state, { bytes }]) => [bytes, { state }]),
  );
  metrics.gauge(
    "spool_sound_seconds",
    "Sound in the chunks in the spool, by state.",
    states.map(([state, { durationUs }]) => [durationUs / 1e6, { state }]),
  );
  metrics.gauge("spool_limit_bytes", "The limit max_spool_gb.", view.maxSpoolBytes);
  const { freeBytes } = counters;
  metrics.gauge(
    "disk_free_bytes",
    "Free space on the disk of the spool, measured once per chunk.",
    freeBytes === null ? [] : [[freeBytes]],
  );

  // Every Prometheus client library uses these two names.
  const process = new Metrics("process_");
  process.gauge("resident_memory_bytes", "Resident memory size in bytes.", view.rssBytes);
  process.gauge(
    "start_time_seconds",
    "Start time of the process since unix epoch in seconds.",
    report.started_ts,
  );
  return [...metrics.families, ...process.families];
}
