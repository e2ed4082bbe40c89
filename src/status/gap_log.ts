// Keeps declared gaps on disk, to explain later why sound is missing: one JSON object per line in
// `gaps.jsonl`. The size of the file is limited. A failed write never stops a recording.

import { join } from "@std/path/join";

/** A larger file loses its older half; a gap takes about 150 bytes. */
const MAX_BYTES = 256 * 1024;

export interface GapRecord {
  /** UTC, ISO 8601, by the clock as it was when the gap was declared. */
  readonly start: string;
  readonly end: string;
  readonly ms: number;
  /** Why: a problem code, "overrun", "stream_damaged", "starting", "disk_failing". */
  readonly cause: string;
}

/** Causes of gaps at the start and the end of a recording, and the length that is normal for them. */
const EDGE_CAUSES = ["starting", "stopping", "schedule_end"];
const NORMAL_EDGE_MS = 3000;

/** Whether every start or end of a recording makes a gap like this: it is declared, but it is not a fault. */
export function isNormalEdge({ ms, cause }: Pick<GapRecord, "ms" | "cause">): boolean {
  return ms < NORMAL_EDGE_MS && EDGE_CAUSES.includes(cause);
}

/** Appends a gap. @throws the errors of the disk. */
export async function appendGap(spoolDir: string, gap: GapRecord): Promise<void> {
  const path = join(spoolDir, "gaps.jsonl");
  await Deno.writeTextFile(path, JSON.stringify(gap) + "\n", { append: true, mode: 0o600 });
  if ((await Deno.stat(path)).size <= MAX_BYTES) return;
  const lines = (await Deno.readTextFile(path)).split("\n");
  const kept = lines.slice(Math.floor(lines.length / 2)).join("\n");
  await Deno.writeTextFile(`${path}.tmp`, kept, { mode: 0o600 });
  await Deno.rename(`${path}.tmp`, path);
}
