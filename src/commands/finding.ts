// What one check of `recorder-agent check` found. Values only; the checks are in check_*.ts.

export type Verdict = "ok" | "warning" | "failed" | "skipped";

/** What a check found. */
export interface Finding {
  /** What was looked at: one word or two. */
  readonly name: string;
  readonly verdict: Verdict;
  /** What was found. */
  readonly message: string;
  /** What mends it; null where nothing needs mending. */
  readonly mend: string | null;
}

export function ok(name: string, message: string): Finding {
  return { name, verdict: "ok", message, mend: null };
}

export function warning(name: string, message: string, mend: string): Finding {
  return { name, verdict: "warning", message, mend };
}

export function failed(name: string, message: string, mend: string): Finding {
  return { name, verdict: "failed", message, mend };
}

export function skipped(name: string, message: string): Finding {
  return { name, verdict: "skipped", message, mend: null };
}
