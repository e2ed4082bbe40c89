// The charts of the status page as SVG: the meter, the last minutes, the day. No chart uses colour as the
// only sign. Pure.
import type { Levels } from "../status/levels.ts";
import { type DayView, type StretchKind } from "./day_view.ts";
import type { Day } from "../status/history.ts";
import { Html, markup } from "../system/html.ts";
import { decibels, type Mood, timeOfDay, wallClock } from "./page_words.ts";

/** The lowest level that the charts show; the highest is 0 dBFS. */
export const LOWEST_DBFS = -60;
const WAVE_HEIGHT = 60;
const METER_WIDTH = 240;
/** A gap is drawn at least this long, because a shorter one would not be visible. */
const SEEN_MS = 5 * 60_000;
const MARKED_HOURS = 3;
/** Diagonal lines, so that colour is not the only sign of a gap. */
const HATCH = new Html(
  '<pattern id="hatch" width="6" height="6" patternUnits="userSpaceOnUse" ' +
    'patternTransform="rotate(45)"><rect class="hatch-ground" width="6" height="6"/>' +
    '<rect class="hatch-line" width="3" height="6"/></pattern>',
);

const LEGEND: Readonly<Record<StretchKind, string>> = {
  recorded: "recorded",
  missing: "missing",
  planned: "still to come",
  unasked: "not scheduled",
};

/** Hides a drawing from screen readers and from the Tab key. */
const MUTE = new Html('aria-hidden="true" focusable="false"');

/** The level meter: one segment per dB. The last segments mean that the sound is too loud. */
export function drawMeter(level: Levels | null): Html {
  const width = Math.round(share(level?.peakDbfs ?? LOWEST_DBFS) * METER_WIDTH);
  return markup`<svg viewBox="0 0 ${METER_WIDTH} 10" preserveAspectRatio="none" ${MUTE}><defs>
<clipPath id="lit"><rect id="fill" x="0" y="0" width="${width}" height="10"/></clipPath></defs>
${segments("dim")}<g clip-path="url(#lit)">${segments("lit")}</g>
<rect id="hold" x="-4" y="0" width="3" height="10"/></svg>`;
}

function segments(name: string): Html {
  const path = (from: number, to: number) => {
    let path = "";
    for (let at = from; at < to; at += 4) path += `M${at} 0h3v10h-3z`;
    return path;
  };
  return markup`<path class="${name} calm" d="${path(0, 168)}"/><path class="${name} loud" d="${
    path(168, 216)
  }"/><path class="${name} clip" d="${path(216, METER_WIDTH)}"/>`;
}

/** Labels at equal distances. */
export function drawScale(marks: readonly string[]): Html {
  const spans = marks.map((mark) => markup`<span>${mark}</span>`);
  return markup`<div class="scale" aria-hidden="true">${spans}</div>`;
}

/** A bar for the used part of a limit. @param used 0 to 1, or more. */
export function drawGauge(used: number): Html {
  const percent = Math.min(100, 100 * used).toFixed(1);
  return markup`<svg class="gauge" viewBox="0 0 100 6" preserveAspectRatio="none" role="img"
aria-label="${percent} % of the allowed size is used" focusable="false">
<rect class="dim" width="100" height="6"/><rect class="lit" width="${percent}" height="6"/></svg>`;
}

/** The level of the last minutes: one bar per second above the middle, and its mirror image below. */
export function drawWave(seconds: readonly (Levels | null)[]): Html {
  const size = `0 0 ${seconds.length} ${2 * WAVE_HEIGHT}`;
  const peaks = outline("peak", seconds.map((levels) => levels && barHeight(levels.peakDbfs)));
  const rms = outline("rms", seconds.map((levels) => levels && barHeight(levels.rmsDbfs)));
  return markup`<svg class="wave" viewBox="${size}" preserveAspectRatio="none" ${MUTE}>
<defs><g id="half">${peaks}${rms}</g></defs><use xlink:href="#half"/>
<use xlink:href="#half" transform="matrix(1 0 0 -1 0 ${2 * WAVE_HEIGHT})"/></svg>`;
}

/** Describes the wave in words. */
export function describeWave(seconds: readonly (Levels | null)[]): string {
  const heard = seconds.filter((levels) => levels !== null);
  if (heard.length === 0) return "No sound arrived in the last 5 minutes.";
  const peak = Math.max(...heard.map(({ peakDbfs }) => peakDbfs));
  const begin = seconds.findIndex((levels) => levels !== null);
  const silent = seconds.length - begin - heard.length;
  return `Loudest in the last 5 minutes: ${decibels(peak, 0)} dBFS` +
    (silent > 2 ? `; no sound for ${silent} s of them` : "");
}

function barHeight(dbfs: number): number {
  return Math.max(1, Math.round(share(dbfs) * WAVE_HEIGHT));
}

/** 0 for LOWEST_DBFS and below, 1 for 0 dBFS and above. */
function share(dbfs: number): number {
  return Math.min(1, Math.max(0, 1 - dbfs / LOWEST_DBFS));
}

/** A stepped outline above the middle, with no shape where there was no sound. */
function outline(name: string, heights: readonly (number | null)[]): Html {
  let path = "";
  let height: number | null = null;
  let steps = 0;
  for (const [index, next] of [...heights, null].entries()) {
    if (next !== height) {
      if (height === null) path += `M${index} ${WAVE_HEIGHT}`;
      else path += `h${steps}`;
      path += next === null ? `V${WAVE_HEIGHT}z` : `v${(height ?? 0) - next}`;
      height = next;
      steps = 0;
    }
    steps++;
  }
  return markup`<path class="wave-${name}" d="${path}"/>`;
}

/** The day from midnight to midnight. */
export function drawDay(day: Day, view: DayView, nowMs: number, timeZone: string): Html {
  const place = (unixMs: number) =>
    `${(100 * (unixMs - day.startMs) / (day.endMs - day.startMs)).toFixed(2)}%`;
  // Missing parts are drawn on top of the others.
  const bars = view.stretches.toSorted((a, b) => rank(a.kind) - rank(b.kind)).map((stretch) => {
    const { kind, startMs, endMs } = stretch;
    const longEnoughMs = kind === "missing" ? Math.max(SEEN_MS, endMs - startMs) : endMs - startMs;
    const [y, height] = kind === "unasked" ? [21, 2] : kind === "missing" ? [4, 36] : [8, 28];
    return markup`<rect class="${kind}" x="${place(endMs - longEnoughMs)}" y="${y}" width="${
      place(day.startMs + longEnoughMs)
    }" height="${height}"/>`;
  });
  const hours = hoursOf(day, timeZone).map(({ unixMs, hour }) => {
    const side = hour === 0 ? "start" : hour === 24 ? "end" : "middle";
    const name = hour % (2 * MARKED_HOURS) === 0 ? "hour" : "hour minor";
    const words = `${String(hour).padStart(2, "0")}:00`;
    return markup`<text class="${name}" x="${
      place(unixMs)
    }" y="58" text-anchor="${side}">${words}</text>`;
  });
  return markup`<svg class="day" role="img" aria-labelledby="day-words" width="100%" height="62"
focusable="false"><defs>${HATCH}</defs>${bars}${hours}
<line class="now" x1="${place(nowMs)}" x2="${place(nowMs)}" y1="0" y2="44"/></svg>`;
}

function rank(kind: StretchKind): number {
  return kind === "missing" ? 1 : 0;
}

/** The legend: the four kinds of stretches. */
export function drawLegend(): Html {
  const keys = (["recorded", "missing", "planned", "unasked"] as const).map((kind) => {
    const [y, height] = kind === "unasked" ? [6, 2] : [2, 10];
    return markup`<li><svg width="20" height="14" ${MUTE}><rect class="${kind}" x="1" y="${y}" width="18" height="${height}"/></svg>${
      LEGEND[kind]
    }</li>`;
  });
  return markup`<ul class="legend">${keys}</ul>`;
}

/** "recorded 08:00 to 12:03, …", for users who cannot see the chart. */
export function describeDay(view: DayView, timeZone: string): string {
  const told = view.stretches.filter(({ kind }) => kind === "recorded" || kind === "missing");
  const time = (unixMs: number) => timeOfDay(unixMs, { timeZone }, "minute");
  const last = told.slice(-6).map(({ kind, startMs, endMs }) =>
    `${kind} ${time(startMs)} to ${time(endMs)}`
  );
  if (last.length === 0) return "Nothing has been scheduled today so far.";
  return `Today: ${told.length > last.length ? "…, " : ""}${last.join(", ")}.`;
}

function hoursOf(day: Day, timeZone: string): { unixMs: number; hour: number }[] {
  const hours: { unixMs: number; hour: number }[] = [];
  const midnight = wallClock(day.startMs, { timeZone });
  for (let hour = 0; hour <= 24; hour += MARKED_HOURS) {
    const time = hour === 24
      ? midnight.add({ days: 1 })
      : midnight.with({ hour, minute: 0, second: 0 });
    hours.push({ unixMs: Math.min(time.epochMilliseconds, day.endMs), hour });
  }
  return hours;
}

/** An icon for each mood; each has its own shape. @param size in pixels. */
export function drawLamp(mood: Mood, size: number): Html {
  return markup`<svg class="lamp ${mood}" viewBox="0 0 24 24" width="${size}" height="${size}" ${MUTE}>${
    LAMPS[mood]
  }</svg>`;
}

const LAMPS: Readonly<Record<Mood, Html>> = {
  recording: new Html(
    '<circle cx="12" cy="12" r="10"/><circle class="cut" cx="12" cy="12" r="4"/>',
  ),
  starting: new Html('<path d="M12 2a10 10 0 1 0 10 10h-4a6 6 0 1 1-6-6z"/>'),
  paused: new Html('<path d="M5 3h5v18H5zM14 3h5v18h-5z"/>'),
  trouble: new Html(
    '<path d="M12 1.5 23.5 22H.5z"/><path class="cut" d="M11 8.5h2v7h-2zM11 17h2v2.2h-2z"/>',
  ),
  failure: new Html(
    '<path d="M7.5 1h9L23 7.5v9L16.5 23h-9L1 16.5v-9z"/>' +
      '<path class="cut" d="m8.5 6.8 3.5 3.5 3.5-3.5 1.7 1.7-3.5 3.5 3.5 3.5-1.7 1.7-3.5-3.5-3.5 3.5-1.7-1.7 3.5-3.5-3.5-3.5z"/>',
  ),
};
