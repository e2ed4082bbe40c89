// Remembers, in a small file in the spool directory, which microphone was recorded last, and for how long
// another one has stood in for it. If the file is missing, broken or not writable, the recorder works
// without it.

import { join } from "@std/path/join";
import { readWholeText, writeWhole } from "../system/disk.ts";
import type { MicrophoneIdentity } from "./microphone_choice.ts";

const FILE = "microphone.json";
const MAX_BYTES = 65_536;

/** What has been recorded in place of the last one since then. */
export interface StandIn extends MicrophoneIdentity {
  readonly recordedMs: number;
}

/** Null if there is none, or it cannot be read. */
export interface RecordedMicrophones {
  readonly last: MicrophoneIdentity | null;
  /** The PCM by which audio_device named it then. @default null */
  readonly pcm?: string | null;
  readonly standIn: StandIn | null;
}

/** What was recorded before, from the spool; all null if the file is missing or cannot be read. */
export async function readMicrophones(spoolDir: string): Promise<RecordedMicrophones> {
  const value = await readFile(spoolDir);
  const standIn = fieldOf(value, "standIn");
  const [identity, recordedMs] = [identityIn(standIn), fieldOf(standIn, "recordedMs")];
  const isWhole = identity !== null && typeof recordedMs === "number";
  const pcm = fieldOf(value, "pcm");
  return {
    last: identityIn(value),
    pcm: typeof pcm === "string" ? pcm : null,
    standIn: isWhole ? { ...identity, recordedMs } : null,
  };
}

/** Writes the file completely or not at all, even if the power fails. @throws the errors of the disk. */
export async function writeMicrophones(
  spoolDir: string,
  { last, pcm = null, standIn }: RecordedMicrophones,
): Promise<void> {
  const value = {
    ...last,
    ...(pcm === null ? {} : { pcm }),
    ...(standIn === null ? {} : { standIn }),
  };
  await writeWhole(join(spoolDir, FILE), `${JSON.stringify(value)}\n`);
}

async function readFile(spoolDir: string): Promise<unknown> {
  try {
    return JSON.parse(await readWholeText(join(spoolDir, FILE), MAX_BYTES));
  } catch {
    return null;
  }
}

function identityIn(value: unknown): MicrophoneIdentity | null {
  const name = fieldOf(value, "name");
  if (typeof name !== "string") return null;
  const text = (key: string) => {
    const found = fieldOf(value, key);
    return typeof found === "string" ? found : null;
  };
  return { path: text("path"), vendorProduct: text("vendorProduct"), serial: text("serial"), name };
}

function fieldOf(value: unknown, key: string): unknown {
  return typeof value === "object" && value !== null ? Reflect.get(value, key) : undefined;
}
