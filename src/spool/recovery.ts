// Recovers the files that a crash or a power cut left in recording/: each is cut back to its last whole
// page, finished and moved to outbox/. Runs once at start, before anything else touches the spool. One bad
// file never prevents a start: a file that cannot be read as sound is kept in rejected/ with its reason.

import { join } from "@std/path/join";
import type { Logger } from "../system/log.ts";
import { cutToLastPage, repairedHeader, samplesToUs } from "../chunk/chunk_file.ts";
import { parsePartName } from "../chunk/chunk_name.ts";
import { writeAll } from "../system/disk.ts";
import type { Spool } from "./spool.ts";

/** Finishes every file in recording/. Returns how many chunks were moved to outbox/. */
export async function recoverRecordings(spool: Spool, log: Logger): Promise<number> {
  let recovered = 0;
  try {
    for (const { name } of [...Deno.readDirSync(join(spool.dir, "recording"))]) {
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
  const bytes = await Deno.readFile(path);
  const header = repairedHeader(bytes, name === null ? {} : { CHUNK_ID: name.key });
  if (header !== null) bytes.set(header);
  const whole = cutToLastPage(bytes);
  if (whole === null) return await setAside(spool, fileName, "no Ogg/Opus header", log);
  if (name === null || whole.samples === 0) {
    await Deno.remove(path);
    log.info("A recording that was cut off held no sound yet.", { file: fileName, bytes: size });
    return false;
  }
  await overwrite(path, bytes, whole.bytes, header);
  const durationUs = samplesToUs(whole.samples);
  const chunk = await spool.admit(path, { ...name, durationUs });
  log.warning("A recording that was cut off has been finished and will be delivered.", {
    chunk,
    seconds: durationUs / 1e6,
    bytes_cut: size - whole.bytes.length,
  });
  return true;
}

/**
 * Cuts the file to its new length, and rewrites it only from the first difference on, in its last page; and
 * its header, if that was repaired.
 */
async function overwrite(
  path: string,
  before: Uint8Array,
  after: Uint8Array,
  header: Uint8Array | null,
): Promise<void> {
  using file = await Deno.open(path, { write: true });
  await file.truncate(after.length);
  if (header !== null) await writeAll(file, header);
  const changed = after.findIndex((byte, at) => byte !== before[at]);
  if (changed >= 0) {
    await file.seek(changed, Deno.SeekMode.Start);
    await writeAll(file, after.subarray(changed));
  }
  await file.sync();
}

async function setAside(
  spool: Spool,
  fileName: string,
  reason: string,
  log: Logger,
): Promise<false> {
  await spool.setAside(fileName, { reason });
  log.error("A file in recording/ is not a recording; it was moved to rejected/.", {
    file: fileName,
    reason,
  });
  return false;
}
