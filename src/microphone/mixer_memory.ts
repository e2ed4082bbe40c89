// Remembers which controls of a microphone the program has changed and what they were before, so that they are
// restored even if the program was killed in between.

import { join } from "@std/path/join";
import { MicrophoneNotes, type Noted } from "./microphone_notes.ts";

const FILE = "mixer.json";

export interface ChangedControl {
  readonly name: string;
  readonly index: number;
  readonly before: readonly number[];
  readonly set: readonly number[];
}

interface Entry extends Noted {
  readonly controls: readonly ChangedControl[];
}

const NOTES = new MicrophoneNotes<Entry>(FILE, (value) => {
  const controls: unknown = Reflect.get(value, "controls");
  return Array.isArray(controls) && controls.every(isChanged);
});

/** Whether anything is remembered. Costs one system call. */
export function hasMixerMemory(spoolDir: string): boolean {
  try {
    return Deno.statSync(join(spoolDir, FILE)).size > 0;
  } catch {
    return false;
  }
}

/** What was changed of this microphone. Never rejects. */
export async function readMixerMemory(
  spoolDir: string,
  microphone: string,
): Promise<readonly ChangedControl[]> {
  return (await NOTES.find(spoolDir, microphone))?.controls ?? [];
}

/** Replaces what is remembered of this microphone. @throws the errors of the disk. */
export async function writeMixerMemory(
  spoolDir: string,
  microphone: string,
  controls: readonly ChangedControl[],
): Promise<void> {
  const entry = controls.length === 0 ? null : { microphone, controls };
  await NOTES.write(spoolDir, microphone, entry);
}

function isChanged(value: unknown): value is ChangedControl {
  if (typeof value !== "object" || value === null) return false;
  const [name, index, before, set] = ["name", "index", "before", "set"]
    .map((key) => Reflect.get(value, key));
  return typeof name === "string" && Number.isInteger(index) &&
    [before, set].every((list) => Array.isArray(list) && list.every(Number.isInteger));
}
