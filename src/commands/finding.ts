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
}

export function ok(name: string, message: string): Finding {
  return { name, verdict: "ok", message, fix: null };
}

export function warning(name: string, message: string, fix: string): Finding {
  return { name, verdict: "warning", message, fix };
}

export function failed(name: string, message: string, fix: string): Finding {
  return { name, verdict: "failed", message, fix };
}

export function skipped(name: string, message: string): Finding {
  return { name, verdict: "skipped", message, fix: null };
}
