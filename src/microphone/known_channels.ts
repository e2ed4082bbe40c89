// Remembers which channels of a microphone were recorded, so that its next start needs no time to find out.

import type { ChannelChoice } from "./channel_choice.ts";
import { MicrophoneNotes, type Noted } from "./microphone_notes.ts";

interface Entry extends ChannelChoice, Noted {
  readonly count: number;
}

const NOTES = new MicrophoneNotes<Entry>("channels.json", (value) => {
  const [count, channels, reason] = ["count", "channels", "reason"]
    .map((key) => Reflect.get(value, key));
  const ownDbfs: unknown = Reflect.get(value, "ownDbfs") ?? [];
  return typeof count === "number" && typeof reason === "string" && Array.isArray(channels) &&
    channels.every((channel) => typeof channel === "number") && Array.isArray(ownDbfs) &&
    ownDbfs.every((level) => level === null || typeof level === "number");
});

/** Null if nothing is known. Never rejects. */
export async function readChannels(
  spoolDir: string,
  microphone: string,
  count: number,
): Promise<ChannelChoice | null> {
  const found = await NOTES.find(spoolDir, microphone);
  if (found?.count !== count) return null;
  const { channels, reason, ownDbfs } = found;
  return { channels, reason, ...(ownDbfs ? { ownDbfs } : {}) };
}

/** Adds or replaces one entry. @throws the errors of the disk. */
export async function writeChannels(
  spoolDir: string,
  microphone: string,
  count: number,
  choice: ChannelChoice,
): Promise<void> {
  await NOTES.write(spoolDir, microphone, { microphone, count, ...choice });
}
