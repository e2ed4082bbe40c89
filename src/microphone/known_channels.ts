// Remembers, in a small file in the spool directory, which channels of a microphone were recorded, so that its
// next start needs no time to find out. If the file is missing, broken or not writable, the recorder works
// without it.

import { join } from "@std/path/join";
import { readWholeText, writeWhole } from "../system/disk.ts";
import type { ChannelChoice } from "./channel_choice.ts";

const FILE = "channels.json";
/** The microphones that are remembered, those heard last. */
const MOST = 16;
/** Far more than they take. */
const MAX_BYTES = 65_536;

interface Entry extends ChannelChoice {
  /** Identifies the microphone. */
  readonly microphone: string;
  readonly count: number;
}

/** Null if nothing is known. Never rejects. */
export async function readChannels(
  spoolDir: string,
  microphone: string,
  count: number,
): Promise<ChannelChoice | null> {
  const entries = await readEntries(spoolDir);
  const found = entries.find((entry) => entry.microphone === microphone && entry.count === count);
  return found === undefined ? null : { channels: found.channels, reason: found.reason };
}

/** Adds or replaces one entry. @throws the errors of the disk. */
export async function writeChannels(
  spoolDir: string,
  microphone: string,
  count: number,
  { channels, reason }: ChannelChoice,
): Promise<void> {
  const others = (await readEntries(spoolDir)).filter((entry) => entry.microphone !== microphone);
  const entries = [{ microphone, count, channels, reason }, ...others].slice(0, MOST);
  await writeWhole(join(spoolDir, FILE), `${JSON.stringify(entries)}\n`);
}

async function readEntries(spoolDir: string): Promise<Entry[]> {
  try {
    const value: unknown = JSON.parse(await readWholeText(join(spoolDir, FILE), MAX_BYTES));
    return Array.isArray(value) ? value.filter(isEntry) : [];
  } catch {
    return [];
  }
}

function isEntry(value: unknown): value is Entry {
  if (typeof value !== "object" || value === null) return false;
  const [microphone, count, channels, reason] = ["microphone", "count", "channels", "reason"]
    .map((key) => Reflect.get(value, key));
  return typeof microphone === "string" && typeof count === "number" &&
    typeof reason === "string" && Array.isArray(channels) &&
    channels.every((channel) => typeof channel === "number");
}
