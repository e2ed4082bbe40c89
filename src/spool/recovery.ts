// What a crash or a power cut left in recording/: cut back to the last whole page, finished and moved
// to outbox/. Runs once at start, before anything else touches the spool. One bad file never stops a
// start: what cannot be read as sound is kept in rejected/ with its reason.

import { join } from "@std/path/join";
import type { Logger } from "../log.ts";
import { cutToLastPage, samplesToUs } from "../capture/chunk_file.ts";
import { parsePartName } from "./chunk_name.ts";
import { type Spool, syncDirectory } from "./spool.ts";

/** Finishes every file in recording/. Returns how many chunks were brought to outbox/. */
export async function recoverRecordings(spool: Spool, log: Logger): Promise<number> {
  const dir = join(spool.dir, "recording");
  let recovered = 0;
  for (const { name } of [...Deno.readDirSync(dir)]) {
    try {
      if (name.endsWith(".tmp")) await Deno.remove(join(dir, name));
      else if (await recoverOne(spool, name, log)) recovered++;
    } catch (error) {
      log.error("A recording that was cut off cannot be recovered; it stays where it is.", {
        file: name,
        error: String(error),
      });
    }
  }
  return recovered;
}

async function recoverOne(spool: Spool, fileName: string, log: Logger): Promise<boolean> {
  const path = spool.path("recording", fileName);
  const name = parsePartName(fileName);
  const bytes = await Deno.readFile(path);
  const whole = name === null ? null : cutToLastPage(bytes);
  if (name === null || whole === null) {
    if (bytes.length > 0) await setAside(spool, fileName, bytes.length, log);
    else await Deno.remove(path);
    return false;
  }
  if (whole.samples === 0) {
    await Deno.remove(path);
    return false;
  }
  const finished = `${path}.tmp`;
  await Deno.writeFile(finished, whole.bytes);
  using file = await Deno.open(finished, { write: true });
  await file.sync();
  const admitted = await spool.admit(finished, { ...name, durationUs: samplesToUs(whole.samples) });
  await Deno.remove(path);
  await syncDirectory(join(spool.dir, "recording"));
  log.warning("A recording that was cut off has been finished and will be delivered.", {
    chunk: admitted,
    duration_s: samplesToUs(whole.samples) / 1e6,
    bytes_cut: bytes.length - whole.bytes.length,
  });
  return true;
}

async function setAside(spool: Spool, fileName: string, sizeBytes: number, log: Logger) {
  const reason = "not a recording of ours: no Ogg/Opus header at its beginning";
  const target = spool.path("rejected", fileName);
  await Deno.rename(spool.path("recording", fileName), target);
  await Deno.writeTextFile(
    `${target}.reason.json`,
    JSON.stringify({ reason, size_bytes: sizeBytes }, null, 2) + "\n",
  );
  log.error("A file in recording/ is not a recording; it was moved to rejected/.", {
    file: fileName,
    size_bytes: sizeBytes,
  });
}
