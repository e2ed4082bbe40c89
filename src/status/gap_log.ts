// Declared gaps, kept on disk: one JSON object a line in `gaps.jsonl`, for whoever asks later why a
// second is missing. The file is kept small; that it cannot be written never stops a recording.

import { join } from "@std/path/join";

/** Beyond this the older half goes; a gap takes about 150 bytes. */
const MAX_BYTES = 256 * 1024;

export interface GapRecord {
  /** UTC, ISO 8601, as the clock stood when the gap was declared. */
  readonly start: string;
  readonly end: string;
  readonly ms: number;
  /** Why: a problem code, "overrun", "stream_damaged", "starting", "disk_failing". */
  readonly cause: string;
}

/** Gaps at the start and the end of a recording, and how short they are as a rule. */
const EDGE_CAUSES = ["starting", "stopping", "schedule_end"];
const NORMAL_EDGE_MS = 3000;

/** Whether a gap is one that each start or end of a recording makes: it is declared, but not a fault. */
export function isNormalEdge({ ms, cause }: Pick<GapRecord, "ms" | "cause">): boolean {
  return ms < NORMAL_EDGE_MS && EDGE_CAUSES.includes(cause);
}

/** Appends a gap. @throws as the disk does. */
export async function appendGap(spoolDir: string, gap: GapRecord): Promise<void> {
  const path = join(spoolDir, "gaps.jsonl");
  await Deno.writeTextFile(path, JSON.stringify(gap) + "\n", { append: true, mode: 0o600 });
  if ((await Deno.stat(path)).size <= MAX_BYTES) return;
  const lines = (await Deno.readTextFile(path)).split("\n");
  const kept = lines.slice(Math.floor(lines.length / 2)).join("\n");
  await Deno.writeTextFile(`${path}.tmp`, kept, { mode: 0o600 });
  await Deno.rename(`${path}.tmp`, path);
}
