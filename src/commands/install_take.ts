// Settings from a file that is taken: read, and wiped once they are in their places. A card is prepared with it
// on another computer, for instance on the boot partition, which everybody can read. Ids that the file does not
// give come from the board, so that one file serves many boards.

import { dirname } from "node:path";
import { parseConfigFile } from "../config/config_file.ts";
import { KEYS } from "../config/keys.ts";
import { unknownKeys } from "../config/sources.ts";
import { fileFailure } from "../config/file_failure.ts";
import { readNamedText, syncDirectory, writeAll } from "../system/disk.ts";
import { contentsOf } from "./install_root.ts";
import type { Settings } from "./install_settings.ts";
import type { Step } from "./install_steps.ts";

/** Keys whose value may come from the board. */
const BOARD_KEYS = ["register_id", "device_id"];
/** Where a board has a number of its own: that of a Raspberry Pi; else what the first boot has drawn. */
const SERIALS = ["/sys/firmware/devicetree/base/serial-number", "/etc/machine-id"];

/**
 * The settings in a file that has the form of the configuration; also one that a text editor of Windows has saved.
 * @throws an error that lists every problem.
 */
export async function readTaken(path: string): Promise<Map<string, string>> {
  let text: string;
  try {
    text = await readNamedText(path);
  } catch (error) {
    throw new Error(`Cannot take ${path} as the file ${fileFailure(error)}`);
  }
  const problems: string[] = [];
  const source = text.replace(/^\uFEFF/, "").replaceAll("\r\n", "\n");
  const file = parseConfigFile(path, source, (name) => Object.hasOwn(KEYS, name), problems);
  problems.push(...unknownKeys(KEYS, file));
  const settings = new Map<string, string>();
  for (const [key, { place, value }] of file.entries) {
    if (value === null) continue;
    // Never as text: lists within lists, each several times, have no end.
    if (typeof value === "object") problems.push(`${place}: is not a single value`);
    else settings.set(key, `${value}`);
  }
  if (problems.length > 0) throw new Error(`Cannot take ${path}:\n${problems.join("\n")}`);
  return settings;
}

/**
 * Ids for the `missing` keys that may come from the board; the same ones whenever it is set up again.
 * @param root the system of the board
 */
export async function boardIds(root: string, missing: readonly string[]): Promise<Settings> {
  const serial = await readSerial(root);
  const ids = new Map<string, string>();
  if (serial === null) return ids;
  for (const key of BOARD_KEYS.filter((key) => missing.includes(key))) {
    ids.set(key, await uuidOf(`recorder-agent ${key} ${serial}`));
  }
  return ids;
}

async function readSerial(root: string): Promise<string | null> {
  for (const path of SERIALS) {
    const text = await readNamedText(contentsOf(root, path)).catch(() => "");
    const serial = text.replaceAll("\0", "").trim();
    // An image that was never booted has "uninitialized" as its machine-id, or nothing.
    if (/[1-9a-f]/.test(serial) && serial !== "uninitialized") return serial;
  }
  return null;
}

/** A UUID of one's own making: version 8 (RFC 9562, section 5.8), from a hash, which does not tell the serial. */
async function uuidOf(text: string): Promise<string> {
  const hash = await crypto.subtle.digest("SHA-256", new TextEncoder().encode(text));
  const bytes = new Uint8Array(hash).slice(0, 16);
  bytes[6] = (bytes[6] ?? 0) & 0x0f | 0x80;
  bytes[8] = (bytes[8] ?? 0) & 0x3f | 0x80;
  return bytes.toHex().replace(/^(.{8})(.{4})(.{4})(.{4})/, "$1-$2-$3-$4-");
}

/**
 * The last step: the file may hold the token, and removing a name would leave its bytes on the card. What a power
 * cut leaves of it has no settings, and is taken at the next boot without a complaint. A card that cannot be written
 * keeps the token, and the till records all the same.
 */
export function wipeStep(path: string): Step {
  return {
    what: `Wipe and remove ${path}`,
    ifItFails:
      `The settings were taken, and ${path} still has the token: delete it on another computer`,
    isDone: () => Promise.resolve(false),
    async apply() {
      {
        const there = await Deno.lstat(path);
        if (!there.isFile) throw new Error("it is not a regular file");
        using file = await Deno.open(path, { write: true });
        const { size, dev, ino, nlink } = await file.stat();
        // A user to whom the folder belongs may have put a link there since it was read.
        if (dev !== there.dev || ino !== there.ino || nlink !== 1) {
          throw new Error("it leads to another file");
        }
        await writeAll(file, new Uint8Array(size).fill(0x0a));
        await file.sync();
      }
      await Deno.remove(path);
      await syncDirectory(dirname(path));
    },
    undo: null,
  };
}
