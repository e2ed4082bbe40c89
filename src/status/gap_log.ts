// Keeps declared gaps on disk, to explain later why sound is missing: one JSON object per line in
// `gaps.jsonl`. It alone reads and writes that file, whose size is limited.

import { join } from "@std/path/join";
import {
  ifThere,
  PRIVATE_FILE,
  readEnd,
  readUpTo,
  rewrite,
  syncDirectory,
  writeAll,
  writeWhole,
} from "../system/disk.ts";

const FILE = "gaps.jsonl";
/** A larger file loses its older half; a gap takes about 150 bytes. */
const MAX_BYTES = 256 * 1024;
/** The last gaps are within this many bytes at the end of the file. */
const LAST_BYTES = 16_384;
const KEPT_BYTES = MAX_BYTES / 2;
/** While they cannot be written, no more gaps than this are held; then the oldest are dropped. */
const MAX_HELD = 1000;

export interface GapRecord {
  /** UTC, ISO 8601, by the clock as it was when the gap was declared. */
  readonly start: string;
  readonly end: string;
  readonly ms: number;
  /** Why: a problem code, or one of the causes in docs/reference/problems.md. */
  readonly cause: string;
  /** Present if that clock was not synchronized: the times may be wrong. */
  readonly clock?: "unsynchronized";
}

/** Causes of gaps at the start and the end of a recording, and the length that is normal for them. */
const EDGE_CAUSES = ["starting", "stopping", "schedule_end", "not_running"];
const NORMAL_EDGE_MS = 3000;

/** Whether every start or end of a recording makes a gap like this: it is declared, but it is not a fault. */
export function isNormalEdge({ ms, cause }: Pick<GapRecord, "ms" | "cause">): boolean {
  return ms < NORMAL_EDGE_MS && EDGE_CAUSES.includes(cause);
}

/**
 * Writes the file. Everybody who has gaps to declare shares one of these. What could not be written is kept,
 * and written with the next gaps.
 */
export class GapLog {
  readonly #path: string;
  readonly #held: GapRecord[] = [];
  /** Whether the entry of the file in its folder survives a power cut. */
  #isEntrySynced = false;
  #lastChange: Promise<unknown> = Promise.resolve();

  constructor(spoolDir: string) {
    this.#path = join(spoolDir, FILE);
  }

  /**
   * Appends gaps, after those before them; they survive a power cut then. Without a gap it only writes what
   * could not be written before. @throws the errors of the disk.
   */
  append(...gaps: GapRecord[]): Promise<void> {
    this.#held.push(...gaps);
    this.#held.splice(0, this.#held.length - MAX_HELD);
    return this.#inTurn(async () => {
      const gaps = [...this.#held];
      if (gaps.length > 0) await this.#appendNow(gaps);
      for (const gap of gaps) this.#forget(gap);
    });
  }

  /** The last gaps, which survive a power cut then: an earlier run may have ended before it had synced them. */
  syncedLast(): Promise<GapRecord[]> {
    return this.#inTurn(async () => {
      const gaps = await readLastGaps(join(this.#path, ".."));
      if (gaps.length === 0) return [];
      await rewrite(this.#path);
      using file = await Deno.open(this.#path, { read: true });
      await file.syncData();
      await syncDirectory(join(this.#path, ".."));
      return gaps;
    });
  }

  /** What changes the file goes one after the other. */
  #inTurn<T>(change: () => Promise<T>): Promise<T> {
    const done = this.#lastChange.then(change);
    this.#lastChange = done.catch(() => {});
    return done;
  }

  async #appendNow(gaps: readonly GapRecord[]): Promise<void> {
    const path = this.#path;
    const info = await ifThere(Deno.lstat(path));
    if (info?.isFile === false) throw new Error(`${path} is not a regular file`);
    if (info === null) this.#isEntrySynced = false;
    const size = await appendLines(path, gaps.map((gap) => JSON.stringify(gap)));
    // Also for a file that is there: what created it may have failed before it came to this.
    if (!this.#isEntrySynced) await syncDirectory(join(path, ".."));
    this.#isEntrySynced = true;
    if (size > MAX_BYTES) await writeWhole(path, await readFrom(path, size - KEPT_BYTES));
  }

  #forget(gap: GapRecord): void {
    const at = this.#held.indexOf(gap);
    if (at >= 0) this.#held.splice(at, 1); // else it was dropped meanwhile
  }
}

/** Returns the new size. Nothing is appended if that fails. */
async function appendLines(path: string, lines: readonly string[]): Promise<number> {
  const options = { read: true, write: true, create: true, mode: PRIVATE_FILE };
  using file = await Deno.open(path, options);
  const { size } = await file.stat();
  // A power cut may have torn the last line: the next one must not become part of it.
  const start = await endsWithLine(file, size) ? "" : "\n";
  const bytes = new TextEncoder().encode(`${start}${lines.join("\n")}\n`);
  try {
    await file.seek(size, Deno.SeekMode.Start);
    await writeAll(file, bytes);
    await file.syncData();
  } catch (error) {
    await file.truncate(size).catch(() => {});
    throw error;
  }
  return size + bytes.length;
}

/** The gaps that were declared last, the newest last. Lines that are not gaps are skipped. Never rejects. */
export async function readLastGaps(spoolDir: string): Promise<GapRecord[]> {
  try {
    const text = await readEnd(join(spoolDir, FILE), LAST_BYTES);
    return text.split("\n").flatMap((line) => parseGap(line) ?? []);
  } catch {
    return []; // the file does not exist yet
  }
}

function parseGap(line: string): GapRecord | null {
  try {
    const { start, end, ms, cause, clock } = JSON.parse(line);
    const areTimes = [start, end].every((time) =>
      typeof time === "string" && !Number.isNaN(Date.parse(time))
    );
    return areTimes && Number.isFinite(ms) && typeof cause === "string"
      ? { start, end, ms, cause, ...(clock === "unsynchronized" ? { clock } : {}) }
      : null;
  } catch {
    return null; // a line that was cut off
  }
}

/** Whether the last byte ends a line, or there is none. */
async function endsWithLine(file: Deno.FsFile, size: number): Promise<boolean> {
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
