// The status page that a technician sees at http://127.0.0.1:8042/. The server renders the whole page, and
// then the parts that have changed, so that the page is useful without a script. The page never plays
// sound, changes anything or shows the token. Pure.

import { viewDay } from "./day_view.ts";
import {
  describeDay,
  describeWave,
  drawDay,
  drawGauge,
  drawLamp,
  drawLegend,
  drawMeter,
  drawScale,
  drawWave,
  LOWEST_DBFS,
} from "./page_charts.ts";
import { Html, markup } from "../system/html.ts";
import { PAGE_SCRIPT } from "./page_script.ts";
import { PAGE_STYLE } from "./page_style.ts";
import * as words from "./page_words.ts";
import type { StatusView } from "./view.ts";
import { isNormalEdge } from "../status/gap_log.ts";

/** The interval at which the page reloads itself if scripts are disabled, seconds. */
const RELOAD_S = 10;
const SHOWN_GAPS = 4;
const SHOWN_PROBLEMS = 5;
const ICON = "data:image/svg+xml," + encodeURIComponent(
  '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 32 32"><rect width="32" height="32" rx="7" ' +
    'fill="#1d6f5c"/><path stroke="#fff" stroke-width="3" stroke-linecap="round" ' +
    'd="M7 14v4M12 10v12M17 6v20M22 11v10M27 14v4"/></svg>',
);

/** The contents of the page's parts, by the id of the element; "title" is the document's title, as text. */
export type PageParts = Readonly<Record<string, string>>;

/** The parts that change while the page is open. */
export function renderParts(view: StatusView): PageParts {
  const { headline, mood } = words.summarize(view);
  const wave = view.history.wave();
  const mark = mood === "failure" || mood === "trouble" ? "⚠ " : "";
  return {
    title: `${mark}${headline} – recorder-agent`,
    now: renderNow(view).text,
    clock: words.timeOfDay(view.nowMs, view),
    wave: drawWave(wave).text,
    "wave-words": markup`${describeWave(wave)}`.text,
    today: renderToday(view).text,
    delivery: renderDelivery(view).text,
    storage: renderStorage(view).text,
    problems: renderProblems(view).text,
    gaps: renderGaps(view).text,
  };
}

/** The whole page. @param nonce the nonce in the answer's Content-Security-Policy. */
export function renderPage(view: StatusView, nonce: string): string {
  const { title = "", ...parts } = renderParts(view);
  const part = (id: string) => new Html(parts[id] ?? "");
  const { point_id: point, register_id: till, started_ts: startedS, version } = view.report;
  const started = words.dayAndTime(startedS * 1000, view);
  return markup`<!DOCTYPE html>
<html lang="en" data-program="${version} ${startedS}">
<head>
<meta charset="utf-8">
<title>${title}</title>
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta name="robots" content="noindex">
<link rel="icon" href="${ICON}">
<noscript><meta http-equiv="refresh" content="${RELOAD_S}"></noscript>
<style nonce="${nonce}">${new Html(PAGE_STYLE)}</style>
</head>
<body>
<header>
<h1>recorder-agent</h1>
<p class="till">Till <b title="${till}">${till.slice(0, 8)}</b>
<span>at point <b title="${point}">${point.slice(0, 8)}</b></span></p>
<p class="link"><span id="clock">${part("clock")}</span>
<span id="link" role="status">as loaded</span></p>
</header>
<main>
<section id="now" class="now" aria-live="polite" aria-label="Current state">
${part("now")}
</section>
<section class="panel sound" aria-labelledby="sound-head">
<h2 id="sound-head">Sound</h2>
${renderMeter(view)}
<div id="wave" class="wavebox">${part("wave")}</div>
${drawScale(["5 min ago", "4", "3", "2", "1", "now"])}
<p class="small" id="wave-words">${part("wave-words")}</p>
</section>
<section class="panel today" aria-labelledby="today-head">
<h2 id="today-head">Today <small>${view.timeZone}</small></h2>
<div id="today">${part("today")}</div>
${drawLegend()}
<h3 class="gaps-head">Missing sound</h3>
<div id="gaps" class="gaps">${part("gaps")}</div>
</section>
<section class="panel delivery" aria-labelledby="delivery-head">
<h2 id="delivery-head">Delivery</h2>
<div id="delivery">${part("delivery")}</div>
</section>
<section class="panel storage" aria-labelledby="storage-head">
<h2 id="storage-head">Storage</h2>
<div id="storage">${part("storage")}</div>
</section>
<section class="panel problems" aria-labelledby="problems-head">
<h2 id="problems-head">Problems</h2>
<div id="problems" class="list">${part("problems")}</div>
</section>
</main>
<footer><p>recorder-agent ${version}, running since ${started} ·
<a href="/health">health</a> · <a href="/metrics">metrics</a></p></footer>
<p id="lost" role="alert"></p>
<script nonce="${nonce}">${new Html(PAGE_SCRIPT)}</script>
</body>
</html>
`.text;
}

/** The meter with the level at the time of loading. The script moves it afterwards. */
function renderMeter(view: StatusView): Html {
  const level = view.history.level();
  const peak = Math.max(LOWEST_DBFS, level?.peakDbfs ?? LOWEST_DBFS);
  const spoken = level === null ? "no sound" : `${Math.round(peak)} dBFS`;
  return markup`<div class="meter" id="meter" role="meter" aria-label="Peak level"
aria-valuemin="${LOWEST_DBFS}" aria-valuemax="0" aria-valuenow="${Math.round(peak)}"
aria-valuetext="${spoken}">
${drawMeter(level)}
<output id="dbfs">${level === null ? "–" : words.decibels(level.peakDbfs)}</output>
<span class="unit">dBFS</span>
</div>
${drawScale(["−60", "−48", "−36", "−24", "−12", "0"])}`;
}

function renderNow(view: StatusView): Html {
  const { mood, headline, detail } = words.summarize(view);
  return markup`${drawLamp(mood, 40)}<div>
<p class="headline">${headline}</p>
<p class="detail">${detail}</p></div>`;
}

function renderToday(view: StatusView): Html {
  const { history, nowMs, report, schedule, timeZone } = view;
  const day = history.today();
  const dayView = viewDay({
    day,
    schedule,
    timeZone,
    nowMs,
    settledMs: nowMs - report.ledger.open_s * 1000,
    soundSinceMs: report.recording ? history.soundSinceMs ?? nowMs : null,
    knownSinceMs: history.knownSinceMs,
  });
  const recorded = words.duration(dayView.recordedMs);
  const missing = dayView.missingMs === 0 ? "nothing" : words.duration(dayView.missingMs);
  return markup`${drawDay(day, dayView, nowMs, timeZone)}
<p id="day-words" class="unseen">${describeDay(dayView, timeZone)}</p>
<p class="sum"><b>${recorded}</b> recorded, <b>${missing}</b> missing</p>`;
}

function renderDelivery(view: StatusView): Html {
  const { report, oldestWaitingMs: since = null, nowMs } = view;
  const { queue_size: waiting, chunks_rejected: refused, last_upload_ts: lastS } = report;
  return facts([
    [
      "Waiting",
      waiting > 0 || refused > 0 ? words.chunks(waiting) : "nothing",
      since === null ? "" : `the oldest from ${words.dayAndTime(since, view)}`,
    ],
    ...(refused === 0
      ? []
      : [["Refused", words.chunks(refused), "tried again at intervals"] as const]),
    [
      "Last delivery",
      lastS === null ? "none yet" : words.dayAndTime(lastS * 1000, view, "second"),
      lastS === null || nowMs - lastS * 1000 < 60_000
        ? ""
        : `${words.duration(minutes(nowMs - lastS * 1000))} ago`,
    ],
    ["Delivered", words.chunks(report.uploaded_total), "since the program started"],
    [
      "Failed attempts",
      report.upload_errors_total.toLocaleString("en"),
      report.upload_errors_total === 0 ? "" : "each is tried again",
    ],
  ]);
}

function renderStorage(view: StatusView): Html {
  const { counters: { freeBytes }, maxSpoolBytes, minFreeBytes, tally, report } = view;
  const isTight = freeBytes !== null && freeBytes < minFreeBytes;
  const { uploaded } = tally;
  const rows = facts([
    ["Recordings", words.bytes(report.spool_bytes), `of ${words.bytes(maxSpoolBytes)} allowed`],
    [
      "Free on the disk",
      freeBytes === null ? "not known yet" : words.bytes(freeBytes),
      isTight ? `too little: ${words.bytes(minFreeBytes)} are needed` : "",
    ],
    ["Kept", words.chunks(uploaded.files), "delivered already"],
  ]);
  return markup`${drawGauge(report.spool_bytes / maxSpoolBytes)}${rows}`;
}

function renderProblems(view: StatusView): Html {
  const active = words.bySeverity(view.report.problems);
  const codes = new Set(active.map(({ code }) => code));
  const past = view.history.problems.filter(({ code }) => !codes.has(code)).toReversed();
  const shown = past.slice(0, Math.max(0, SHOWN_PROBLEMS - active.length));
  if (active.length + shown.length === 0) {
    return markup`<p class="none">None since the start.</p>`;
  }
  const time = (unixS: number) => words.dayAndTime(unixS * 1000, view);
  const items = [
    ...active.map(({ code, message, since }) =>
      markup`<li><h3>${drawLamp("trouble", 16)} ${words.spoken(code)}
<small>since ${time(since)}</small></h3><p>${message}</p></li>`
    ),
    ...shown.map(({ code, message, since, until }) =>
      markup`<li class="past"><h3>${words.spoken(code)}
<small>${time(since)} to ${time(until)}, resolved</small></h3><p>${message}</p></li>`
    ),
  ];
  return markup`<ul>${items}</ul>`;
}

function renderGaps(view: StatusView): Html {
  const gaps = view.history.gaps.toReversed().filter((gap) => !isNormalEdge(gap));
  if (gaps.length === 0) return markup`<p class="none">No known gaps.</p>`;
  const rows = gaps.slice(0, SHOWN_GAPS).map(({ start, ms, cause }) => {
    const from = words.dayAndTime(Date.parse(start), view, "second");
    return markup`<tr><td>${from}<td>${words.duration(ms)}<td>${words.spoken(cause)}</tr>`;
  });
  return markup`<table>
<thead><tr><th scope="col">From<th scope="col">Length<th scope="col">Cause</tr></thead>
<tbody>${rows}</tbody></table>`;
}

/** A list of values, each with a name and a small note. */
function facts(rows: readonly (readonly [name: string, value: string, note: string])[]): Html {
  const items = rows.map(([name, value, note]) =>
    markup`<div><dt>${name}</dt><dd>${value}<small>${note}</small></dd></div>`
  );
  return markup`<dl>${items}</dl>`;
}

/** Rounded down to minutes, so that the text changes once a minute. */
function minutes(ms: number): number {
  return Math.floor(ms / 60_000) * 60_000;
}
