// What a store that must survive power cuts asks of the file system, and Deno does not have as one
// call. It knows nothing of chunks.

/** Mode of what only the service's user may read. */
export const PRIVATE_FILE = 0o600;

/** Writes all of the bytes at the file's position. */
export async function writeAll(file: Deno.FsFile, bytes: Uint8Array): Promise<void> {
  for (let written = 0; written < bytes.length;) {
    written += await file.write(bytes.subarray(written));
  }
}

/**
 * Bytes that may still be written to a file system; 0, too, if it takes no further file. One that
 * says it has 0 of 0 files counts none (btrfs).
 */
export function freeBytesOf(
  { bavail, bsize, files, ffree }: Record<"bavail" | "bsize" | "files" | "ffree", number>,
): number {
  return files > 0 && ffree === 0 ? 0 : bavail * bsize;
}

/** fsync of a directory: renames and removals in it survive a power cut. */
export async function syncDirectory(path: string): Promise<void> {
  using directory = await Deno.open(path, { read: true });
  await directory.sync();
}

/** Bytes; null if there is no such file. */
export async function sizeOf(path: string): Promise<number | null> {
  try {
    return (await Deno.lstat(path)).size;
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return null;
    throw error;
  }
}

/** False if there is no such file. */
export async function renameIfThere(from: string, to: string): Promise<boolean> {
  try {
    await Deno.rename(from, to);
    return true;
  } catch (error) {
    // It may also be the folder that is missing.
    if (!(error instanceof Deno.errors.NotFound) || await sizeOf(from) !== null) throw error;
    return false;
  }
}

/** Deletes a file that may be gone already. */
export async function removeIfThere(path: string): Promise<void> {
  try {
    await Deno.remove(path);
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
  }
}
