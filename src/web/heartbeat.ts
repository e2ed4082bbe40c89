// Tells a monitor at an interval that all is well, or what is wrong, so that silence is an alarm: a dead
// man's switch with the convention of healthchecks.io (POST to the URL, or to URL/fail with a text). It
// judges nothing: `/health` does. A failed ping is not repeated before the next interval.

import type { Clock } from "../system/clock.ts";
import { messageOf } from "../system/error_text.ts";
import { isHint, problems } from "../status/problems.ts";
import type { ProblemReport } from "../status/problem_report.ts";
import type { HealthReport } from "../status/status.ts";

/** "degraded" is a failure only after this: a short outage of the network wakes nobody. */
const PATIENCE_MS = 10 * 60_000;
/** The monitor keeps the first 100 kB; a list of problems is far shorter. */
const MAX_TEXT = 10_000;

/** Posts a text to this URL. Resolves with the status of the answer. @throws without an answer. */
export type Ping = (url: string, text: string, signal: AbortSignal) => Promise<number>;

export interface HeartbeatOptions {
  readonly url: string;
  readonly intervalMs: number;
  /** What is left of the first interval for this till, so that a fleet does not send in step. */
  readonly firstIntervalMs?: number;
  readonly report: () => Pick<HealthReport, "status" | "problems">;
  readonly ping: Ping;
}

export interface HeartbeatDeps {
  readonly clock: Clock;
  readonly problem: Pick<ProblemReport, "set" | "clear">;
}

/** Runs until the signal aborts. */
export async function sendHeartbeats(
  { url, intervalMs, firstIntervalMs = intervalMs, report, ping }: HeartbeatOptions,
  { clock, problem }: HeartbeatDeps,
  signal: AbortSignal,
): Promise<void> {
  let wellMs = clock.monotonicMs();
  let waitMs = firstIntervalMs;
  while (!signal.aborted) {
    const wait = clock.sleep(waitMs, signal);
    waitMs = intervalMs;
    try {
      const current = withoutOwn(report());
      const nowMs = clock.monotonicMs();
      if (current.status === "ok") wellMs = nowMs;
      const { to, text } = heartbeatOf(url, current, nowMs - wellMs);
      const status = await ping(to, text, signal);
      if (status >= 200 && status < 300) problem.clear();
      else problem.set(problems.heartbeatFailing(`the monitor answered ${status}`));
    } catch (error) {
      if (!signal.aborted) problem.set(problems.heartbeatFailing(messageOf(error)));
    }
    await wait;
  }
}

/** What the monitor could not be told is not a failure when it can be told again. */
function withoutOwn(
  { status, problems: all }: Pick<HealthReport, "status" | "problems">,
): Pick<HealthReport, "status" | "problems"> {
  const others = all.filter(({ code }) => code !== problems.heartbeatFailing.code);
  return {
    status: status === "degraded" && others.every(({ code }) => isHint(code)) ? "ok" : status,
    problems: others,
  };
}

/**
 * Where to post what. Pure.
 * @param unwellMs how long the status has not been "ok".
 */
export function heartbeatOf(
  url: string,
  { status, problems }: Pick<HealthReport, "status" | "problems">,
  unwellMs: number,
): { to: string; text: string } {
  const lines = problems.map(({ code, message }) => `${code}: ${message}`);
  const text = [status, ...lines].join("\n").slice(0, MAX_TEXT);
  const isFailure = status === "error" || (status === "degraded" && unwellMs >= PATIENCE_MS);
  if (!isFailure) return { to: url, text };
  const failing = new URL(url);
  failing.pathname = `${failing.pathname.replace(/\/$/, "")}/fail`;
  return { to: failing.href, text };
}
