// Restores today's history from before this start out of the spool: chunks by their names, and the
// declared gaps. Nothing depends on it: what cannot be read is not shown.

import { CHUNK_DIRS, type ChunkName } from "../chunk/chunk_name.ts";
import type { Spool } from "./spool.ts";
import { readLastGaps } from "../status/gap_log.ts";
import type { Heard, History } from "../status/history.ts";

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
  const gaps = (await readLastGaps(spool.dir)).filter(({ start }) => Date.parse(start) < beforeMs);
  history.restore([...heard.values()], gaps);
}

function endMs(name: { startUnixUs: number; durationUs: number }): number {
  return (name.startUnixUs + name.durationUs) / 1000;
}
