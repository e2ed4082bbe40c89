// What one check of `check` or `conform` found, and how it is shown. It checks nothing: the checks are in
// check_*.ts and conform_tests.ts. Pure.

export type Verdict = "ok" | "warning" | "failed" | "skipped";

/** What a check found. */
export interface Finding {
  /** What was checked: one or two words. */
  readonly name: string;
  readonly verdict: Verdict;
  /** What was found. */
  readonly message: string;
  /** How to fix it; null if nothing is wrong. */
  readonly fix: string | null;
  /** Name of the check whose failure is the reason that this one was skipped; otherwise null. */
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

/** Cannot be checked on this machine; the message says why. */
export function skipped(name: string, message: string): Finding {
  return { name, verdict: "skipped", message, fix: null, because: null };
}

/** Not checked, because a check that these depend on failed. The cause is reported once, by that check. */
export function skippedAll(names: readonly string[], because: string): Finding[] {
  const message = `needs ${because}, which failed`;
  return names.map((name) => ({ name, verdict: "skipped", message, fix: null, because }));
}

export function hasFailed(findings: readonly Finding[]): boolean {
  return findings.some(({ verdict }) => verdict === "failed");
}

/** Words of a message as a sentence. */
export function sentence(text: string): string {
  return `${text.slice(0, 1).toUpperCase()}${text.slice(1)}`;
}

export const MARKS: Readonly<Record<Verdict, string>> = {
  ok: "✔",
  warning: "!",
  failed: "✘",
  skipped: "–",
};

/** Width of the column of names. */
export const NAME_WIDTH = 15;

/** A line, and what fixes it below. */
export function formatFinding({ name, verdict, message, fix }: Finding): string {
  const indent = " ".repeat(NAME_WIDTH + 2);
  const line = `${MARKS[verdict]} ${name.padEnd(NAME_WIDTH)}${
    message.replaceAll("\n", `\n${indent}`)
  }`;
  return fix === null ? line : `${line}\n${indent}→ ${fix}`;
}
