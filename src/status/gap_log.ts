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
