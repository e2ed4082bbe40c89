// The words of the status page: what the service is doing, in one sentence, and how times and amounts
// are written. Pure.

import { isHint, isSoundMissing, problems } from "../status/problems.ts";
import { nextChange } from "../config/schedule.ts";
import type { Problem } from "../status/history.ts";
import type { StatusView } from "./view.ts";

export type Mood = "recording" | "starting" | "paused" | "trouble" | "failure";

export interface Summary {
  readonly mood: Mood;
  /** The sentence; no times in it that would change while nothing happens. */
  readonly headline: string;
  /** The first problem with its fix, or that all is well. */
  readonly detail: string;
}

/** What it is doing. */
export function summarize(view: StatusView): Summary {
  const { report } = view;
  const [first, ...others] = bySeverity(report.problems);
  const more = others.length === 0 ? "" : ` (and ${others.length} more below)`;
  const complaint = first === undefined ? null : asSentence(first.message) + more;
  const waiting = report.queue_size === 0
    ? report.chunks_rejected === 0
      ? "Everything recorded is delivered."
      : `The server refused ${chunks(report.chunks_rejected)}.`
    : `${chunks(report.queue_size)} ${report.queue_size === 1 ? "waits" : "wait"} ` +
      "to be delivered.";
  const detail = complaint ?? waiting;
  const isTrouble = first !== undefined && !isHint(first.code);
  if (report.recording) {
    const mood = isTrouble ? "trouble" : "recording";
    return { mood, headline: `Recording from ${report.microphone}`, detail };
  }
  if (!report.in_schedule) {
    const startMs = nextChange(view.nowMs, view.schedule, view.timeZone);
    const until = startMs === null ? "" : ` until ${dayAndTime(startMs, view)}`;
    const mood = isTrouble ? "trouble" : "paused";
    return { mood, headline: `Paused by schedule${until}`, detail };
  }
  if (first?.code === problems.paused.code) {
    return { mood: "paused", headline: "Paused by a command", detail };
  }
  if (report.status === "error" || isTrouble) {
    const nothing = "No sound has come from a microphone yet.";
    return { mood: "failure", headline: "Not recording", detail: complaint ?? nothing };
  }
  return {
    mood: "starting",
    headline: "Starting to record",
    detail: "The microphone is being opened.",
  };
}

/** What keeps it from recording comes before what else is wrong. */
export function bySeverity(problems: readonly Problem[]): Problem[] {
  const rank = ({ code }: Problem) => isSoundMissing(code) ? 0 : 1;
  return problems.toSorted((a, b) => rank(a) - rank(b));
}

/** "microphone_lost" as a person would say it. */
export function spoken(code: string): string {
  const words = code.replaceAll("_", " ");
  return words.charAt(0).toUpperCase() + words.slice(1);
}

export function chunks(count: number): string {
  return `${count.toLocaleString("en")} chunk${count === 1 ? "" : "s"}`;
}

/** "−16.4", with the sign that is as wide as a digit. */
export function decibels(dbfs: number, digits = 1): string {
  return dbfs.toFixed(digits).replace("-", "−");
}

/** Three digits at least: "932 kB", "1.24 GB". */
export function bytes(size: number): string {
  const units = ["B", "kB", "MB", "GB", "TB"];
  let unit = 0;
  for (; size >= 999.5 && unit < units.length - 1; unit++) size /= 1000;
  const digits = unit === 0 || size >= 99.95 ? 0 : size >= 9.995 ? 1 : 2;
  return `${size.toFixed(digits)} ${units[unit]}`;
}

/** "42 s", "12 min", "5 h 03 min"; "0.7 s" below ten seconds. */
export function duration(ms: number): string {
  if (ms < 10_000) return `${(ms / 1000).toFixed(1)} s`;
  const seconds = Math.round(ms / 1000);
  if (seconds < 120) return `${seconds} s`;
  const minutes = Math.floor(seconds / 60);
  if (minutes < 60) return `${minutes} min`;
  return `${Math.floor(minutes / 60)} h ${String(minutes % 60).padStart(2, "0")} min`;
}

type Zone = Pick<StatusView, "timeZone">;

/** "08:00:01" by the wall clock. */
export function timeOfDay(unixMs: number, zone: Zone, precision: "minute" | "second" = "second") {
  return wallClock(unixMs, zone).toPlainTime().toString({ smallestUnit: precision });
}

/** The time; with the day before it if that is not today's. */
export function dayAndTime(
  unixMs: number,
  view: Zone & Pick<StatusView, "nowMs">,
  precision: "minute" | "second" = "minute",
): string {
  const time = timeOfDay(unixMs, view, precision);
  const date = wallClock(unixMs, view).toPlainDate();
  const today = wallClock(view.nowMs, view).toPlainDate();
  if (date.equals(today)) return time;
  if (date.equals(today.add({ days: 1 }))) return `tomorrow ${time}`;
  return `${date.toLocaleString("en-GB", { day: "numeric", month: "short" })} ${time}`;
}

export function wallClock(unixMs: number, { timeZone }: Zone): Temporal.ZonedDateTime {
  return Temporal.Instant.fromEpochMilliseconds(Math.round(unixMs)).toZonedDateTimeISO(timeZone);
}

function asSentence(text: string): string {
  return /[.?!]$/.test(text) ? text : `${text}.`;
}
