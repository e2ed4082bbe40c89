// The reason why a chunk is in rejected/, in a file beside it: NAME.reason.json. This module never moves
// the chunk itself. A path is always the path of the chunk.

import { join } from "@std/path/join";
import { toJson } from "../system/printable.ts";
import {
  PRIVATE_FILE,
  readWholeText,
  removeIfThere,
  syncDirectory,
  TooLargeError,
  writeAll,
} from "../system/disk.ts";

/** A larger file is not the reason of a refused chunk. */
export const MAX_REASON_BYTES = 65_536;

/** The path of the file with the reason why a chunk was refused. */
export function reasonPath(path: string): string {
  return `${path}.reason.json`;
}

/**
 * Never rejects: a full disk must not block the queue. If the file cannot be written, only the log has the
 * reason.
 */
export async function writeReason(
  path: string,
  reason: Readonly<Record<string, unknown>>,
): Promise<void> {
  try {
    await store(path, toJson(reason, 2) + "\n");
  } catch {
    await removeIfThere(reasonPath(path)).catch(() => {});
  }
}

/**
 * Writes the reason under the chunk's next name, before the chunk gets that name. So a chunk with a reason
 * is never without it.
 * @throws the error of the disk.
 */
export async function copyReason(path: string, nextPath: string): Promise<void> {
  let text: string;
  try {
    text = await readWholeText(reasonPath(path), MAX_REASON_BYTES);
  } catch (error) {
    // What is not a reason of this program stays behind.
    if (error instanceof Deno.errors.NotFound || error instanceof TooLargeError) return;
    throw error;
  }
  await store(nextPath, text);
}

/**
 * Removes the reason under the old name, after the next name is durable: a power cut may restore the old
 * name, but would not restore its reason. A reason that is left is deleted when it expires.
 * @throws the error of the disk.
 */
export async function removeOldReason(oldPath: string): Promise<void> {
  await syncDirectory(join(oldPath, ".."));
  await removeIfThere(reasonPath(oldPath));
}

/**
 * Writes durably if the disk permits it, so that a power cut never leaves a chunk in rejected/ without its
 * reason.
 */
async function store(path: string, text: string): Promise<void> {
  await removeIfThere(reasonPath(path)); // never written through a link, or into a pipe
  const options = { createNew: true, write: true, mode: PRIVATE_FILE };
  using file = await Deno.open(reasonPath(path), options);
  await writeAll(file, new TextEncoder().encode(text));
  await file.sync();
  await syncDirectory(join(path, "..")).catch(() => {});
}
