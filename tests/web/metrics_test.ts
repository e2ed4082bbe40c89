// /metrics. tests/integration/web/metrics_test.ts checks it with the tool of Prometheus.

import { assertEquals, assertStringIncludes } from "@std/assert";
import { formatMetrics } from "../../src/system/prometheus.ts";
import { collectMetrics } from "../../src/web/metrics.ts";
import type { StatusView } from "../../src/web/view.ts";
import { ShiftedClock } from "../fixtures/shifted_clock.ts";
import { fillDay, NOW_MS, startStatusRig } from "../fixtures/status_rig.ts";

function metricsText(view: StatusView): string {
  return formatMetrics(collectMetrics(view));
}

/** Value by "name{labels}". */
function samples(text: string): Map<string, number> {
  const lines = text.split("\n").filter((line) => line !== "" && !line.startsWith("#"));
  return new Map(lines.map((line) => {
    const space = line.lastIndexOf(" ");
    return [line.slice(0, space), Number(line.slice(space + 1))];
  }));
}

Deno.test("the metrics answer the questions of the operator of a fleet", async () => {
  const clock = new ShiftedClock(NOW_MS);
  await using rig = startStatusRig({ clock });
  fillDay(rig, "microphone");
  const { status, tally } = rig;
  tally.outbox = { files: 2, bytes: 400e3, durationUs: 120e6 };
  status.counters.captureStarts = 3;
  status.counters.captureEnded("microphone_lost");
  status.counters.captureEnded("microphone_lost");
  status.microphoneStalled();
  for (const ms of [50, 100, 700, 40_000]) status.counters.attempted("delivered", ms);
  status.counters.attempted("retry", 30_000);
  status.setProblem("upload_failing", "m");
  const nowMs = clock.unixMs();
  const view = { ...rig.view(), nowMs, oldestWaitingMs: nowMs - 600_000 };
  const found = samples(metricsText(view));
  const expected = {
    recorder_agent_oldest_waiting_age_seconds: 600,
    recorder_agent_recording: 1,
    recorder_agent_in_schedule: 1,
    'recorder_agent_status{status="degraded"}': 1,
    'recorder_agent_status{status="ok"}': 0,
    'recorder_agent_problem{code="upload_failing"}': 1,
    recorder_agent_clock_synchronized: 1,
    recorder_agent_unrecorded_seconds_total: 702,
    'recorder_agent_missing_seconds_total{cause="microphone_lost"}': 42,
    'recorder_agent_missing_seconds_total{cause="microphone_missing"}': 660,
    recorder_agent_capture_starts_total: 3,
    'recorder_agent_capture_ends_total{reason="microphone_lost"}': 2,
    recorder_agent_microphone_stalls_total: 1,
    recorder_agent_chunks_delivered_total: 381,
    'recorder_agent_upload_attempts_total{result="delivered"}': 4,
    'recorder_agent_upload_duration_seconds_bucket{le="0.1"}': 2,
    'recorder_agent_upload_duration_seconds_bucket{le="1"}': 3,
    'recorder_agent_upload_duration_seconds_bucket{le="30"}': 4,
    'recorder_agent_upload_duration_seconds_bucket{le="+Inf"}': 5,
    recorder_agent_upload_duration_seconds_count: 5,
    recorder_agent_upload_duration_seconds_sum: 70.85,
    recorder_agent_last_upload_timestamp_seconds: view.report.last_upload_ts,
    'recorder_agent_spool_chunks{state="waiting"}': 2,
    'recorder_agent_spool_bytes{state="delivered"}': 812e6,
    'recorder_agent_spool_sound_seconds{state="waiting"}': 120,
    recorder_agent_spool_limit_bytes: 20e9,
    recorder_agent_disk_free_bytes: 11.4e9,
    process_resident_memory_bytes: 77e6,
    process_start_time_seconds: view.report.started_ts,
  };
  for (const [name, value] of Object.entries(expected)) assertEquals(found.get(name), value, name);
  const ageOf = (oldestWaitingMs: number | null | undefined) =>
    samples(metricsText({ ...view, oldestWaitingMs }))
      .get("recorder_agent_oldest_waiting_age_seconds");
  assertEquals([ageOf(null), ageOf(undefined)], [0, undefined]);
});

Deno.test("the value of a label cannot break out of its quotes", async () => {
  await using rig = startStatusRig();
  rig.status.counters.captureEnded('a"b\\c\nd');
  const text = metricsText(rig.view());
  assertStringIncludes(text, 'capture_ends_total{reason="a\\"b\\\\c\\nd"} 1\n');
});
