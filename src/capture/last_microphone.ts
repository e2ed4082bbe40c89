// Remembers, in a small file in the spool directory, which microphone was recorded last. A file that
// is missing, broken or cannot be written is as if there were none: it never stops a recording.

import { join } from "@std/path/join";
import { syncDirectory, writeAll } from "../spool/disk.ts";
import type { MicrophoneIdentity } from "./microphone_choice.ts";

const FILE = "microphone.json";

/** Null if there is none, or none that can be read. */
export async function readLastMicrophone(spoolDir: string): Promise<MicrophoneIdentity | null> {
  try {
    const value: unknown = JSON.parse(await Deno.readTextFile(join(spoolDir, FILE)));
    if (typeof value !== "object" || value === null || !("name" in value)) return null;
    const { name } = value;
    if (typeof name !== "string") return null;
    const text = (key: string) => {
      const found: unknown = Reflect.get(value, key);
      return typeof found === "string" ? found : null;
    };
    return {
      path: text("path"),
      vendorProduct: text("vendorProduct"),
      serial: text("serial"),
      name,
    };
  } catch {
    return null;
  }
}

/** Whole or not at all, whenever the power goes. @throws as the disk does. */
export async function writeLastMicrophone(
  spoolDir: string,
  identity: MicrophoneIdentity,
): Promise<void> {
  const path = join(spoolDir, FILE);
  {
    using file = await Deno.open(`${path}.tmp`, {
      write: true,
      create: true,
      truncate: true,
      mode: 0o600,
    });
    await writeAll(file, new TextEncoder().encode(`${JSON.stringify(identity)}\n`));
    await file.sync();
  }
  await Deno.rename(`${path}.tmp`, path);
  await syncDirectory(spoolDir);
}
