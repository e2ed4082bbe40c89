// Remembers on the disk when the boot began whose clock became right last: `boot_time.json`. A power cut may come
// before a chunk of that boot has its true time in its name; then the next start gives it. Only what this program
// wrote is believed: anything else counts as a missing file.

import { join } from "@std/path/join";
import { formatUtc, parseUtc } from "../chunk/chunk_tags.ts";
import { readWholeText, writeWhole } from "../system/disk.ts";

const FILE = "boot_time.json";
const MAX_BYTES = 1000;

export interface BootTime {
  readonly bootId: string;
  /** When this boot began, Unix microseconds. */
  readonly bootUnixUs: number;
}

/** What an earlier run knew; null if there is nothing. Never rejects. */
export async function readBootTime(spoolDir: string): Promise<BootTime | null> {
  try {
    const { boot_id, began } = JSON.parse(await readWholeText(join(spoolDir, FILE), MAX_BYTES));
    const bootUnixUs = parseUtc(String(began));
    return typeof boot_id === "string" && bootUnixUs !== null
      ? { bootId: boot_id, bootUnixUs }
      : null;
  } catch {
    return null;
  }
}

/** Resolves when the file survives a power cut. @throws the errors of the disk. */
export async function writeBootTime(
  spoolDir: string,
  { bootId, bootUnixUs }: BootTime,
): Promise<void> {
  const record = { boot_id: bootId, began: formatUtc(bootUnixUs) };
  await writeWhole(join(spoolDir, FILE), `${JSON.stringify(record)}\n`);
}
