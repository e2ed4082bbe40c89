// The check of the schedule: what it means, and what it says about now. Pure, except for the time that is passed in.

import type { Config } from "../config/config.ts";
import { isInSchedule, nextChange, scheduleOf } from "../config/schedule.ts";
import { formatSchedule } from "../config/schedule_text.ts";
import { problems } from "../status/problems.ts";
import { wallTime } from "../system/wall_time.ts";
import { type Finding, ok, warning } from "./finding.ts";

/** @param nowMs Unix ms. @param timeZone an IANA name. */
export function checkSchedule(config: Config, nowMs: number, timeZone: string): Finding[] {
  const schedule = scheduleOf(config);
  const change = nextChange(nowMs, schedule, timeZone);
  const now = isInSchedule(nowMs, schedule, timeZone) ? "on" : "off";
  const when = change === null ? "always" : `until ${wallTime(change, timeZone, "minute")}`;
  const found = [ok("schedule", `${formatSchedule(schedule)}; now ${now}, ${when} (${timeZone})`)];
  const overlaps = "week" in schedule ? schedule.overlaps : [];
  if (overlaps.length === 0) return found;
  const { message, fix } = problems.scheduleOverlaps(overlaps);
  return [...found, warning("schedule", message, fix)];
}
