// What a receiver shows: the page with the tills, and the metrics. Texts from values; it reads no folder. Pure.

import { Html, markup } from "../system/html.ts";
import { formatMetrics, Metrics, type Sample } from "../system/prometheus.ts";
import { type Coverage, missingHoles, missingUs } from "./day_coverage.ts";
import { longestHoles } from "./hole_causes.ts";
import type { Overview, Till } from "./overview.ts";

/** What the receiver has counted since its start. */
export interface Counts {
  /** Answers to uploads, by status. */
  readonly answers: ReadonlyMap<number, number>;
  readonly stored: number;
  readonly repeated: number;
  readonly storedBytes: number;
  readonly connections: number;
}

/** A till whose last chunk is older than this is marked. */
const LATE_MS = 15 * 60_000;

const STYLE = "body{font:15px/1.4 system-ui,sans-serif;margin:2em;color:#222;background:#fff}" +
  "table{border-collapse:collapse}th,td{text-align:left;padding:.3em 1em .3em 0;vertical-align:top;" +
  "border-bottom:1px solid #ddd}td.n{font-variant-numeric:tabular-nums;white-space:nowrap}" +
  ".late{color:#b00}small{color:#666}" +
  "@media(prefers-color-scheme:dark){body{color:#ddd;background:#181818}.late{color:#f77}" +
  "th,td{border-color:#444}}";

/** The page, HTML. @param nowUnixMs for the age of the last chunks. */
export function renderTills(
  { tills, isCut, unseen, lookedUnixMs }: Overview,
  nowUnixMs: number,
): string {
  const note = isCut ? markup`<p>Only the first ${tills.length} tills are shown.</p>` : "";
  const missing = unseen === 0
    ? ""
    : markup`<p class="late">${unseen} tills or groups of tills could not be looked at yet.</p>`;
  const late = nowUnixMs - lookedUnixMs > LATE_MS ? "late" : "";
  const table = tills.length === 0
    ? markup`<p>No chunk has been received yet.</p>`
    : markup`<table><thead><tr><th>point, register, device</th><th>last chunk ends</th>
<th>day (UTC)</th><th>sound</th><th>missing in between</th></tr></thead>
<tbody>${tills.map((till) => renderTill(till, nowUnixMs))}</tbody></table>`;
  return markup`<!doctype html><html lang="en"><meta charset="utf-8">
<meta http-equiv="refresh" content="60">
<meta name="viewport" content="width=device-width"><title>Received chunks</title>
<style>${new Html(STYLE)}</style><h1>Received chunks</h1>${table}${note}${missing}
<p class="${late}"><small>as the store was at ${
    new Date(lookedUnixMs).toISOString().slice(0, 19)
  }Z</small></p></html>
`.text;
}

function renderTill(till: Till, nowMs: number): Html {
  const { pointId, registerId, deviceId, day, coverage, hasFuture } = till;
  const { fromUnixUs, toUnixUs, presentUs, chunks } = coverage;
  const [from, to] = [clockTime(fromUnixUs), clockTime(toUnixUs)];
  const ageMs = nowMs - toUnixUs / 1000;
  const late = ageMs > LATE_MS ? "n late" : "n";
  return markup`<tr><td><small>${pointId}<br>${registerId}</small><br>${deviceId}</td>
<td class="${late}">${to}<br><small>${age(ageMs)}</small>${
    hasFuture ? markup`<br><small class="late">others are in the future</small>` : ""
  }</td>
<td class="n">${day}<br><small>${from} – ${to}</small></td>
<td class="n">${duration(presentUs)}<br><small>${chunks} chunks</small></td>
<td class="n">${renderHoles(coverage)}</td></tr>
`;
}

function renderHoles(coverage: Coverage): Html {
  const { holes } = coverage;
  if (holes.length === 0) return markup`nothing`;
  const missing = missingHoles(coverage);
  const sum = missing.length === 0
    ? "nothing"
    : `${duration(missingUs(coverage))} in ${missing.length}`;
  const longest = longestHoles(coverage);
  const lines = longest.map(({ fromUnixUs, toUnixUs, why = [] }) => {
    const [from, to] = [clockTime(fromUnixUs), clockTime(toUnixUs)];
    const words = why.length === 0 ? "" : ` ${why.join(", ")}`;
    return markup`${from} – ${to} (${duration(toUnixUs - fromUnixUs)})${words}<br>`;
  });
  const more = holes.length - longest.length;
  return markup`${sum}<br><small>${lines}${more > 0 ? `and ${more} shorter` : ""}</small>`;
}

function clockTime(unixUs: number): string {
  return new Date(unixUs / 1000).toISOString().slice(11, 19);
}

function age(ms: number): string {
  if (ms < 0) return "in the future";
  const minutes = Math.floor(ms / 60_000);
  return minutes < 120 ? `${minutes} min ago` : `${Math.floor(minutes / 60)} h ago`;
}

/** As h:mm:ss.mmm. */
function duration(us: number): string {
  const ms = Math.round(us / 1000);
  const two = (value: number) => String(value).padStart(2, "0");
  const [hours, minutes] = [Math.floor(ms / 3_600_000), Math.floor(ms / 60_000) % 60];
  return `${hours}:${two(minutes)}:${two(Math.floor(ms / 1000) % 60)}.` +
    String(ms % 1000).padStart(3, "0");
}

/** The metrics, in the text format of Prometheus. */
export function formatReceiverMetrics(
  { tills, lookedUnixMs }: Overview,
  counts: Counts,
): string {
  const metrics = new Metrics("recorder_receiver_");
  const perTill = (value: (till: Till) => number) =>
    tills.map((till): Sample => [value(till), {
      point_id: till.pointId,
      register_id: till.registerId,
      device_id: till.deviceId,
    }]);
  metrics.counter(
    "uploads_total",
    "Answers to uploads, by status.",
    [...counts.answers].sort(([a], [b]) => a - b)
      .map(([status, count]) => [count, { status: String(status) }]),
  );
  metrics.counter("chunks_stored_total", "Chunks that were stored.", counts.stored);
  metrics.counter(
    "chunks_repeated_total",
    "Uploads of chunks that were there already.",
    counts.repeated,
  );
  metrics.counter(
    "stored_bytes_total",
    "Bytes of the chunks that were stored.",
    counts.storedBytes,
  );
  metrics.gauge("connections", "Connections now.", counts.connections);
  metrics.gauge(
    "looked_seconds",
    "When the store was looked at for the values of the tills, Unix seconds.",
    lookedUnixMs / 1000,
  );
  metrics.gauge(
    "last_chunk_end_seconds",
    "End of the latest chunk of a device, Unix seconds.",
    perTill(({ coverage }) => coverage.toUnixUs / 1e6),
  );
  metrics.gauge(
    "day_sound_seconds",
    "Sound of the latest day of a device.",
    perTill(({ coverage }) => coverage.presentUs / 1e6),
  );
  metrics.gauge(
    "day_missing_seconds",
    "Sound missing between chunks of that day, without pauses and time outside the schedule.",
    perTill(({ coverage }) => missingUs(coverage) / 1e6),
  );
  metrics.gauge(
    "day_holes",
    "Holes between chunks of that day in which sound is missing.",
    perTill(({ coverage }) => missingHoles(coverage).length),
  );
  metrics.gauge(
    "future_chunks",
    "1 if a device has chunks in the future, which the other values leave out; otherwise 0.",
    perTill(({ hasFuture }) => hasFuture ? 1 : 0),
  );
  return formatMetrics(metrics.families);
}
