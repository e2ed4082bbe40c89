// What one check of `recorder-agent check` found. Values only; the checks are in check_*.ts.

export type Verdict = "ok" | "warning" | "failed" | "skipped";

/** What a check found. */
export interface Finding {
  /** What was looked at: one word or two. */
  readonly name: string;
  readonly verdict: Verdict;
  /** What was found. */
  readonly message: string;
  /** What a person can do about it; null where nothing is wrong. */
  readonly fix: string | null;
  /** Name of the finding from which it follows that this was not checked; else null. */
  readonly because: string | null;
}

export function ok(name: string, message: string): Finding {
  return { name, verdict: "ok", message, fix: null, because: null };
}

export function warning(name: string, message: string, fix: string): Finding {
  return { name, verdict: "warning", message, fix, because: null };
}

export function failed(name: string, message: string, fix: string): Finding {
  return { name, verdict: "failed", message, fix, because: null };
}

/** Could not be checked here, for a reason of its own. */
export function skipped(name: string, message: string): Finding {
  return { name, verdict: "skipped", message, fix: null, because: null };
}

/** Not checked, as what it depends on failed: the cause is reported once, there. */
export function skippedAll(names: readonly string[], because: string): Finding[] {
  const message = `needs ${because}, which failed`;
  return names.map((name) => ({ name, verdict: "skipped", message, fix: null, because }));
}

export function hasFailed(findings: readonly Finding[]): boolean {
  return findings.some(({ verdict }) => verdict === "failed");
}
