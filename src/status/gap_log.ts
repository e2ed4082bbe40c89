// Keeps declared gaps on disk, to explain later why sound is missing: one JSON object per line in
// `gaps.jsonl`. The size of the file is limited. A failed write never stops a recording.

import { join } from "@std/path/join";
import { exists, readEnd, readUpTo, removeIfThere } from "../system/disk.ts";

/** A larger file loses its older half; a gap takes about 150 bytes. */
const MAX_BYTES = 256 * 1024;
/** The last gaps are within this many bytes at the end of the file. */
const LAST_BYTES = 4096;
const KEPT_BYTES = MAX_BYTES / 2;

export interface GapRecord {
  /** UTC, ISO 8601, by the clock as it was when the gap was declared. */
  readonly start: string;
  readonly end: string;
  readonly ms: number;
  /** Why: a problem code, or one of the causes in docs/reference/problems.md. */
  readonly cause: string;
}

/** Causes of gaps at the start and the end of a recording, and the length that is normal for them. */
const EDGE_CAUSES = ["starting", "stopping", "schedule_end", "not_running"];
const NORMAL_EDGE_MS = 3000;

/** Whether every start or end of a recording makes a gap like this: it is declared, but it is not a fault. */
export function isNormalEdge({ ms, cause }: Pick<GapRecord, "ms" | "cause">): boolean {
  return ms < NORMAL_EDGE_MS && EDGE_CAUSES.includes(cause);
}

/** Appends a gap. @throws the errors of the disk. */
export async function appendGap(spoolDir: string, gap: GapRecord): Promise<void> {
  const path = join(spoolDir, "gaps.jsonl");
  const isThere = await exists(path);
  if (isThere && !(await Deno.lstat(path)).isFile) throw new Error(`${path} is not a regular file`);
  // A power cut may have torn the last line: this one must not become part of it.
  const start = isThere && !await endsWithLine(path) ? "\n" : "";
  await Deno.writeTextFile(path, `${start}${JSON.stringify(gap)}\n`, { append: true, mode: 0o600 });
  const { size } = await Deno.stat(path);
  if (size <= MAX_BYTES) return;
  const kept = await readFrom(path, size - KEPT_BYTES);
  await removeIfThere(`${path}.tmp`); // never written through a link
  await Deno.writeTextFile(`${path}.tmp`, kept, { mode: 0o600, createNew: true });
  await Deno.rename(`${path}.tmp`, path);
}

/** The ends of the gaps that were declared last, Unix milliseconds by the clock of then. Never rejects. */
export async function declaredEnds(spoolDir: string): Promise<number[]> {
  try {
    const text = await readEnd(join(spoolDir, "gaps.jsonl"), LAST_BYTES);
    return text.split("\n").flatMap((line) => endOf(line) ?? []);
  } catch {
    return []; // the file does not exist yet
  }
}

function endOf(line: string): number | null {
  try {
    const endMs = Date.parse(JSON.parse(line).end);
    return Number.isNaN(endMs) ? null : endMs;
  } catch {
    return null; // a line that was cut off
  }
}

/** Whether the last byte ends a line, or there is none. */
async function endsWithLine(path: string): Promise<boolean> {
  using file = await Deno.open(path, { read: true });
  const { size } = await file.stat();
  if (size === 0) return true;
  await file.seek(size - 1, Deno.SeekMode.Start);
  return (await readUpTo(file, 1))[0] === 0x0a;
}

/** The whole lines of the next KEPT_BYTES, however large the file has become. */
async function readFrom(path: string, offset: number): Promise<string> {
  using file = await Deno.open(path, { read: true });
  await file.seek(offset, Deno.SeekMode.Start);
  const text = new TextDecoder().decode(await readUpTo(file, KEPT_BYTES));
  return text.slice(text.indexOf("\n") + 1);
}
