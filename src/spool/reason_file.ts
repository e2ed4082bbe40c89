// Why a chunk is in rejected/, in a file beside it: NAME.reason.json. It never moves the chunk itself.
// A path is always the chunk's.

import { join } from "@std/path/join";
import { PRIVATE_FILE, removeIfThere, syncDirectory, writeAll } from "../system/disk.ts";

/** Where the reason for the refusal of a chunk is, beside the chunk. */
export function reasonPath(path: string): string {
  return `${path}.reason.json`;
}

/** Never rejects: a full disk must not hold up the queue; then only the log has the reason. */
export async function writeReason(
  path: string,
  reason: Readonly<Record<string, unknown>>,
): Promise<void> {
  try {
    await store(path, JSON.stringify(reason, null, 2) + "\n");
  } catch {
    await removeIfThere(reasonPath(path)).catch(() => {});
  }
}

/**
 * Under the chunk's next name, before it gets that: at no moment it is without its reason, if it has one.
 * @throws as the disk does.
 */
export async function copyReason(path: string, nextPath: string): Promise<void> {
  let text: string;
  try {
    text = await Deno.readTextFile(reasonPath(path));
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return;
    throw error;
  }
  await store(nextPath, text);
}

/**
 * After the chunk's next name is durable: a power cut may bring the old one back, and would not bring
 * its reason. One that is left goes when it is old. @throws as the disk does.
 */
export async function removeOldReason(oldPath: string): Promise<void> {
  await syncDirectory(join(oldPath, ".."));
  await removeIfThere(reasonPath(oldPath));
}

/** Durably, if the disk can, so that no power cut leaves a chunk in rejected/ without it. */
async function store(path: string, text: string): Promise<void> {
  const options = { create: true, truncate: true, write: true, mode: PRIVATE_FILE };
  using file = await Deno.open(reasonPath(path), options);
  await writeAll(file, new TextEncoder().encode(text));
  await file.sync();
  await syncDirectory(join(path, "..")).catch(() => {});
}
