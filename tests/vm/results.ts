// The last result of each scenario in each guest: kept beside the images, so that runs of some scenarios
// add up, and shown as one table with a column for each guest.

import { join } from "@std/path/join";
import type { Finding } from "./scenario.ts";

/** What a run of a scenario found. */
export interface Result {
  /** Version and commit of the program, as /health says them. */
  readonly program: string;
  /** UTC, such as "2026-11-30". */
  readonly day: string;
  readonly findings: readonly Finding[];
}

/** By the name of the scenario. */
export type Results = Readonly<Record<string, Result>>;

/** A longer value is a message, which is cut in the table; characters. */
const MOST_CHARACTERS = 100;

const pathIn = (folder: string) => join(folder, "results.json");

/** Empty if the guest has none. */
export async function readResults(folder: string): Promise<Results> {
  try {
    return JSON.parse(await Deno.readTextFile(pathIn(folder)));
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return {};
    throw error;
  }
}

/** Replaces the last result of this scenario. */
export async function keepResult(folder: string, scenario: string, result: Result): Promise<void> {
  const all = { ...await readResults(folder), [scenario]: result };
  await Deno.writeTextFile(pathIn(folder), JSON.stringify(all, null, 1));
}

/**
 * A table in Markdown: a row for each measurement, the scenarios in this order, and a column for each guest. A
 * value that breaks its promise has ✘ before it; "–" was not measured there.
 */
export function resultsTable(
  scenarios: readonly string[],
  guests: ReadonlyMap<string, Results>,
): string {
  const columns = [...guests.values()];
  const rows = scenarios.flatMap((scenario) => {
    const found = columns.map((results) => results[scenario]?.findings ?? []);
    return inOrder(found.map((findings) => findings.map(nameOf))).map((name) => {
      const cells = found.map((findings) => {
        const all = findings.filter((finding) => nameOf(finding) === name);
        return all.find(({ holds }) => !holds) ?? all[0];
      });
      const limit = cells.find((cell) => cell !== undefined)?.limit ?? "";
      return [scenario, name, ...cells.map(cellOf), limit];
    });
  });
  const head = ["scenario", "measured", ...guests.keys(), "limit"];
  return [head, head.map(() => "---"), ...rows].map((row) => `| ${row.join(" | ")} |`).join("\n");
}

/** Which programs and days the columns are of, a line for each guest. */
export function sourcesOf(guests: ReadonlyMap<string, Results>): string {
  return [...guests].map(([guest, results]) => {
    const all = Object.values(results);
    const list = (values: readonly string[]) => [...new Set(values)].sort().join(", ");
    return `- ${guest}: ${list(all.map(({ program }) => program))}; ` +
      list(all.map(({ day }) => day));
  }).join("\n");
}

function nameOf({ what }: Finding): string {
  return escaped(what.split("\n")[0] ?? "");
}

function cellOf(finding: Finding | undefined): string {
  if (finding === undefined) return "–";
  const [value, quote] = [escaped(finding.value), finding.value.startsWith("`") ? "`" : ""];
  const short = value.length > MOST_CHARACTERS
    ? `${value.slice(0, MOST_CHARACTERS).trimEnd()}…${quote}`
    : value;
  return finding.holds ? short : `✘ ${short}`;
}

function escaped(text: string): string {
  return text.replaceAll(/\s+/g, " ").replaceAll("|", "\\|");
}

/** All names, each behind the one that precedes it in the first list that has it. */
function inOrder(lists: readonly (readonly string[])[]): string[] {
  const all: string[] = [];
  for (const names of lists) {
    for (const [at, name] of names.entries()) {
      if (all.includes(name)) continue;
      all.splice(at === 0 ? 0 : all.indexOf(names[at - 1] ?? "") + 1, 0, name);
    }
  }
  return all;
}
