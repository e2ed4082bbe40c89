// Restores today's history from before this start out of the spool: chunks by their names, and the
// declared gaps. Nothing depends on it: what cannot be read is not shown.

import { readEnd } from "../system/disk.ts";
import { join } from "@std/path/join";
import { CHUNK_DIRS, type ChunkName } from "../chunk/chunk_name.ts";
import type { Spool } from "./spool.ts";
import type { DeclaredGap, Heard, History } from "../status/history.ts";

/** Gaps are read from this many bytes at the end of the file. */
const TAIL_BYTES = 16_384;

/**
 * Tells the history what was heard today before `beforeMs` (Unix). Sound after that is reported while it
 * is recorded. Never rejects.
 */
export async function restoreHistory(
  history: History,
  spool: Pick<Spool, "dir" | "recount">,
  beforeMs: number,
): Promise<void> {
  const { startMs: midnightMs } = history.today();
  const heard = new Map<string, Heard>();
  try {
    for (const dir of CHUNK_DIRS) {
      const wanted = (name: ChunkName) =>
        endMs(name) > midnightMs && name.startUnixUs / 1000 < beforeMs;
      for (const name of await spool.recount(dir, wanted)) {
        // By the key: a chunk may be delivered between two listings.
        heard.set(name.key, { startMs: name.startUnixUs / 1000, endMs: endMs(name) });
      }
    }
  } catch { /* the directory cannot be listed: the history begins with this start */ }
  const gaps = (await readGaps(spool.dir)).filter(({ start }) => Date.parse(start) < beforeMs);
  history.restore([...heard.values()], gaps);
}

function endMs(name: { startUnixUs: number; durationUs: number }): number {
  return (name.startUnixUs + name.durationUs) / 1000;
}

/** The last gaps of gaps.jsonl. Lines that are not gaps are skipped. */
async function readGaps(spoolDir: string): Promise<DeclaredGap[]> {
  const gaps: DeclaredGap[] = [];
  try {
    const text = await readEnd(join(spoolDir, "gaps.jsonl"), TAIL_BYTES);
    for (const line of text.split("\n")) {
      const gap = parseGap(line);
      if (gap !== null) gaps.push(gap);
    }
  } catch { /* the file does not exist yet */ }
  return gaps;
}

function parseGap(line: string): DeclaredGap | null {
  try {
    const { start, ms, cause } = JSON.parse(line);
    const isGap = typeof start === "string" && !Number.isNaN(Date.parse(start)) &&
      typeof ms === "number" && typeof cause === "string";
    return isGap ? { start, ms, cause } : null;
  } catch {
    return null;
  }
}
