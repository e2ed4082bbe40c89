// Remembers, in a small file in the spool directory, which controls of a microphone the program has changed and what
// they were before, so that they are restored even if the program was killed in between. If the file is missing,
// broken or not writable, nothing is restored.

import { join } from "@std/path/join";
import { readWholeText, writeWhole } from "../system/disk.ts";

const FILE = "mixer.json";
/** The microphones that are remembered, those opened last. */
const MOST = 16;
/** Far more than they take. */
const MAX_BYTES = 65_536;

export interface ChangedControl {
  readonly name: string;
  readonly index: number;
  readonly before: readonly number[];
  readonly set: readonly number[];
}

interface Entry {
  /** Identifies the microphone. */
  readonly microphone: string;
  readonly controls: readonly ChangedControl[];
}

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
  const entries = await readEntries(spoolDir);
  return entries.find((entry) => entry.microphone === microphone)?.controls ?? [];
}

/** Replaces what is remembered of this microphone. @throws the errors of the disk. */
export async function writeMixerMemory(
  spoolDir: string,
  microphone: string,
  controls: readonly ChangedControl[],
): Promise<void> {
  const others = (await readEntries(spoolDir)).filter((entry) => entry.microphone !== microphone);
  const own = controls.length === 0 ? [] : [{ microphone, controls }];
  const entries = [...own, ...others].slice(0, MOST);
  const path = join(spoolDir, FILE);
  if (entries.length > 0) await writeWhole(path, `${JSON.stringify(entries)}\n`);
  else await Deno.remove(path).catch(() => {});
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
  const [microphone, controls] = ["microphone", "controls"].map((key) => Reflect.get(value, key));
  return typeof microphone === "string" && Array.isArray(controls) && controls.every(isChanged);
}

function isChanged(value: unknown): value is ChangedControl {
  if (typeof value !== "object" || value === null) return false;
  const [name, index, before, set] = ["name", "index", "before", "set"]
    .map((key) => Reflect.get(value, key));
  return typeof name === "string" && Number.isInteger(index) &&
    [before, set].every((list) => Array.isArray(list) && list.every(Number.isInteger));
}
