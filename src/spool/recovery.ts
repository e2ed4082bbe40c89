// Recovers the files that a crash or a power cut left in recording/: each is cut back to its last whole
// page, finished and moved to outbox/. Runs once at start, before anything else touches the spool. One bad
// file never prevents a start: a file that cannot be read as sound is kept in rejected/ with its reason. Any
// file costs a few megabytes of memory at most, whatever its size.

import { join } from "@std/path/join";
import type { Logger } from "../system/log.ts";
import {
  BLOCK_BYTES,
  endOfStream,
  HEADER_READ_BYTES,
  MAX_CHUNK_BYTES,
  repairedHeader,
  samplesToUs,
  type WholePart,
  WholePartFinder,
} from "../chunk/chunk_file.ts";
import { parsePartName } from "../chunk/chunk_name.ts";
import { readUpTo, rewrite, writeAll } from "../system/disk.ts";
import type { Spool } from "./spool.ts";

const TOO_LARGE = `larger than a chunk can be, ${MAX_CHUNK_BYTES} bytes`;

/** Finishes every file in recording/, in the order of their names. Returns how many chunks were moved to outbox/. */
export async function recoverRecordings(spool: Spool, log: Logger): Promise<number> {
  let recovered = 0;
  try {
    const names = [...Deno.readDirSync(join(spool.dir, "recording"))].map(({ name }) => name);
    for (const name of names.sort()) { // the one that was recorded last comes last
      if (await recoverOrReport(spool, name, log)) recovered++;
    }
    await spool.syncAdmitted();
  } catch (error) {
    log.error("Recordings that were cut off cannot be recovered.", {
      error: String(error),
    });
  }
  return recovered;
}

async function recoverOrReport(spool: Spool, fileName: string, log: Logger): Promise<boolean> {
  try {
    return await recoverOne(spool, fileName, log);
  } catch (error) {
    log.error("A recording that was cut off cannot be recovered; it stays in recording/.", {
      file: fileName,
      error: String(error),
    });
    return false;
  }
}

/** Works in place: it needs no space on a full disk, and may itself be interrupted at any moment. */
async function recoverOne(spool: Spool, fileName: string, log: Logger): Promise<boolean> {
  const path = spool.path("recording", fileName);
  const { isFile, size } = await Deno.lstat(path);
  if (!isFile) throw new Error("it is not a file");
  const name = parsePartName(fileName);
  if (name === null && size > 0) {
    return await setAside(spool, fileName, "not a file name of this program", log);
  }
  await repairHeader(path, name === null ? {} : { CHUNK_ID: name.key });
  const whole = await findWholePart(path);
  if (whole === "too large") return await setAside(spool, fileName, TOO_LARGE, log);
  if (whole === null) return await setAside(spool, fileName, "no Ogg/Opus header", log);
  if (name === null || whole.samples === 0) {
    await Deno.remove(path);
    log.info("A recording that was cut off held no sound yet.", { file: fileName, bytes: size });
    return false;
  }
  await finish(path, whole);
  const durationUs = samplesToUs(whole.samples);
  const chunk = await spool.admit(path, { ...name, durationUs });
  log.warning("A recording that was cut off has been finished and will be delivered.", {
    chunk,
    seconds: durationUs / 1e6,
    bytes_cut: size - whole.sizeBytes,
  });
  return true;
}

/** Writes the tags of a header again whose replacement was cut off. Nothing else changes. */
async function repairHeader(path: string, tags: Readonly<Record<string, string>>): Promise<void> {
  using file = await Deno.open(path, { read: true, write: true });
  const header = repairedHeader(await readUpTo(file, HEADER_READ_BYTES), tags);
  if (header === null) return;
  await file.seek(0, Deno.SeekMode.Start);
  await writeAll(file, header);
}

/** Reads the file in blocks, up to its first damage, and no more of it than a chunk can have. */
async function findWholePart(path: string): Promise<WholePart | null | "too large"> {
  using file = await Deno.open(path, { read: true });
  const finder = new WholePartFinder();
  const block = new Uint8Array(BLOCK_BYTES);
  for (let total = 0;;) {
    const length = await file.read(block);
    if (length === null || !finder.push(block.subarray(0, length))) return finder.result;
    total += length;
    if (total > MAX_CHUNK_BYTES) return "too large";
  }
}

/** Cuts the file to its whole part, and marks its last page as the end of the stream. */
async function finish(path: string, { sizeBytes, lastPageOffset }: WholePart): Promise<void> {
  using file = await Deno.open(path, { read: true, write: true });
  await file.truncate(sizeBytes);
  await file.seek(lastPageOffset, Deno.SeekMode.Start);
  const page = await readUpTo(file, sizeBytes - lastPageOffset);
  if (page.length < sizeBytes - lastPageOffset) throw new Error("it was shortened meanwhile");
  await file.seek(lastPageOffset, Deno.SeekMode.Start);
  await writeAll(file, endOfStream(page));
  await rewrite(path); // a sync of the last run may have failed
  await file.sync();
}

async function setAside(
  spool: Spool,
  fileName: string,
  reason: string,
  log: Logger,
): Promise<false> {
  await spool.setAside(fileName, { reason });
  log.error("A file in {dir} is not a recording; it was moved to rejected/.", {
    dir: "recording/",
    file: fileName,
    reason,
  });
  return false;
}
