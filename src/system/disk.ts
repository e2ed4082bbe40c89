// File system operations that Deno does not offer as one call, for a store that must survive power cuts.
// The module knows nothing about chunks.

import { delay } from "@std/async/delay";

/** Mode of files that only the service's user may read. */
export const PRIVATE_FILE = 0o600;

/** Writes all bytes, of a file at its position. */
export async function writeAll(file: Pick<Deno.FsFile, "write">, bytes: Uint8Array): Promise<void> {
  for (let written = 0; written < bytes.length;) {
    written += await file.write(bytes.subarray(written));
  }
}

const REWRITE_BYTES = 65_536;

/**
 * Writes a file over itself, so that the next sync of it writes everything. After a sync that failed, Linux
 * counts what it could not write as written: it is still read, and a sync that succeeds later does not write it.
 */
export async function rewrite(path: string): Promise<void> {
  using file = await Deno.open(path, { read: true, write: true });
  const block = new Uint8Array(REWRITE_BYTES);
  for (let at = 0, size; (size = await file.read(block)) !== null; at += size) {
    await file.seek(at, Deno.SeekMode.Start);
    await writeAll(file, block.subarray(0, size));
  }
}

/** Writes a private file completely or not at all, even if the power fails. */
export async function writeWhole(path: string, text: string): Promise<void> {
  await removeIfThere(`${path}.tmp`); // never written through a link
  {
    using file = await Deno.open(`${path}.tmp`, {
      write: true,
      createNew: true,
      mode: PRIVATE_FILE,
    });
    await writeAll(file, new TextEncoder().encode(text));
    await file.sync();
  }
  await Deno.rename(`${path}.tmp`, path);
  await syncDirectory(path.slice(0, path.lastIndexOf("/")) || "/");
}

/**
 * How many bytes can still be written to a file system; also 0 if it is out of inodes. A file system that
 * reports 0 of 0 inodes does not count them (btrfs).
 */
export function freeBytesOf(
  { bavail, bsize, files, ffree }: Record<"bavail" | "bsize" | "files" | "ffree", number>,
): number {
  return files > 0 && ffree === 0 ? 0 : bavail * bsize;
}

/**
 * Takes an exclusive lock (flock) of an open file; false: another process keeps it for half a second. Between fork()
 * and exec(), a program that is being started has all files of the process that starts it: the lock of a file that
 * was closed meanwhile ends only then. That takes up to 11 ms when a process of 400 MB starts programs on a busy PC.
 */
export async function takeLock(file: Deno.FsFile): Promise<boolean> {
  for (let attempt = 0; attempt < 25; attempt++) {
    if (await file.tryLock(true)) return true;
    await delay(20);
  }
  return false;
}

/** Calls fsync on a directory, so that renames and removals in it survive a power cut. */
export async function syncDirectory(path: string): Promise<void> {
  using directory = await Deno.open(path, { read: true });
  await directory.sync();
}

/** What the work gives, or null if the file does not exist. @throws every other error of the work. */
export async function ifThere<T>(work: Promise<T>): Promise<T | null> {
  try {
    return await work;
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return null;
    throw error;
  }
}

/** The size of a file in bytes; null if the file does not exist. */
export async function sizeOf(path: string): Promise<number | null> {
  return (await ifThere(Deno.lstat(path)))?.size ?? null;
}

/** When a file was written last, Unix milliseconds; null if the file does not exist. */
export async function modifiedMs(path: string): Promise<number | null> {
  return (await ifThere(Deno.lstat(path)))?.mtime?.getTime() ?? null;
}

/** A file is larger than what it should hold can be. */
export class TooLargeError extends Error {}

/**
 * The contents of a regular file of at most `maxBytes`. A link, a pipe or a device is never opened: reading it
 * could lead elsewhere, or wait forever.
 * @throws {TooLargeError}, an error if it is not a regular file, or that of the disk.
 */
export async function readWhole(path: string, maxBytes: number): Promise<Uint8Array<ArrayBuffer>> {
  const { isFile } = await Deno.lstat(path);
  if (!isFile) throw new Error("it is not a regular file");
  using file = await Deno.open(path, { read: true });
  const { size } = await file.stat();
  if (size > maxBytes) {
    throw new TooLargeError(`it has ${size} bytes, and at most ${maxBytes} are right`);
  }
  return await readUpTo(file, size);
}

/** The bytes from the position of a file on: `length` of them, or fewer if the file ends before. */
export async function readUpTo(
  file: Deno.FsFile,
  length: number,
): Promise<Uint8Array<ArrayBuffer>> {
  const bytes = new Uint8Array(length);
  let filled = 0;
  for (let read: number | null = 1; read !== null && filled < length; filled += read ?? 0) {
    read = await file.read(bytes.subarray(filled));
  }
  return filled === length ? bytes : bytes.slice(0, filled);
}

/** The last `maxBytes` of a regular file as text. @throws as `readWhole`. */
export async function readEnd(path: string, maxBytes: number): Promise<string> {
  const { isFile, size } = await Deno.lstat(path);
  if (!isFile) throw new Error("it is not a regular file");
  using file = await Deno.open(path, { read: true });
  await file.seek(Math.max(0, size - maxBytes), Deno.SeekMode.Start);
  return new TextDecoder().decode(await readUpTo(file, maxBytes));
}

/** As `readWhole`, as text. */
export async function readWholeText(path: string, maxBytes: number): Promise<string> {
  return new TextDecoder().decode(await readWhole(path, maxBytes));
}

/** A file of settings, certificates or accounts is smaller than this: a bundle of all authorities has 0.3 MB. */
const MAX_NAMED_BYTES = 4 * 1024 * 1024;

/**
 * The text of a file that a person or the configuration names: a link is followed, and a pipe is read.
 * @throws {TooLargeError}, or the error of the disk.
 */
export async function readNamedText(path: string): Promise<string> {
  using file = await Deno.open(path, { read: true });
  const bytes = new Filling();
  for (let count = await file.read(bytes.room); count !== null;) {
    bytes.add(count);
    count = await file.read(bytes.room);
  }
  return bytes.text;
}

/** As `readNamedText`, at once. */
export function readNamedTextSync(path: string): string {
  using file = Deno.openSync(path, { read: true });
  const bytes = new Filling();
  for (let count = file.readSync(bytes.room); count !== null;) {
    bytes.add(count);
    count = file.readSync(bytes.room);
  }
  return bytes.text;
}

/** As `readNamedTextSync`, of a regular file that nobody names: a link, a pipe or a device is never opened. */
export function readOwnTextSync(path: string): string {
  if (!Deno.lstatSync(path).isFile) throw new Error("it is not a regular file");
  return readNamedTextSync(path);
}

/** Bytes whose number is not known before. */
class Filling {
  #bytes = new Uint8Array(16_384);
  #length = 0;

  /** Where the next bytes go. */
  get room(): Uint8Array {
    return this.#bytes.subarray(this.#length);
  }

  /** @throws {TooLargeError} */
  add(count: number): void {
    this.#length += count;
    if (this.#length > MAX_NAMED_BYTES) {
      throw new TooLargeError(`it has more than ${MAX_NAMED_BYTES} bytes`);
    }
    if (this.#length < this.#bytes.length) return;
    const bytes = this.#bytes;
    this.#bytes = new Uint8Array(2 * bytes.length);
    this.#bytes.set(bytes);
  }

  get text(): string {
    return new TextDecoder().decode(this.#bytes.subarray(0, this.#length));
  }
}

/** Renames a file. Returns false if the file does not exist. */
export async function renameIfThere(from: string, to: string): Promise<boolean> {
  try {
    await Deno.rename(from, to);
    return true;
  } catch (error) {
    // The missing part may also be the target's directory.
    if (!(error instanceof Deno.errors.NotFound) || await exists(from)) throw error;
    return false;
  }
}

/** Deletes a file if it exists. */
export async function removeIfThere(path: string): Promise<void> {
  await ifThere(Deno.remove(path));
}

/** Whether something is there, a dangling link included. @throws if it cannot be seen. */
export async function exists(path: string): Promise<boolean> {
  return await ifThere(Deno.lstat(path)) !== null;
}

/** Deletes a file that may be gone already, at once. */
export function removeIfThereSync(path: string): void {
  try {
    Deno.removeSync(path);
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
  }
}
