// A small file in the spool directory with one entry for each of the microphones opened last. If the file is
// missing, broken or not writable, nothing is known: nothing depends on it. What an entry holds, the caller
// decides.

import { join } from "@std/path/join";
import { readWholeText, removeIfThere, writeWhole } from "../system/disk.ts";

/** The microphones that are remembered. */
const MOST = 16;
/** Far more than they take. */
const MAX_BYTES = 65_536;

export interface Noted {
  /** Identifies the microphone. */
  readonly microphone: string;
}

export class MicrophoneNotes<Entry extends Noted> {
  readonly #file: string;
  readonly #isRest: (value: object) => boolean;

  /**
   * @param file its name in the spool directory
   * @param isRest whether an object that has a microphone has the rest of an entry
   */
  constructor(file: string, isRest: (value: object) => boolean) {
    this.#file = file;
    this.#isRest = isRest;
  }

  /** What is noted of a microphone, or null. Never rejects. */
  async find(spoolDir: string, microphone: string): Promise<Entry | null> {
    const entries = await this.#read(spoolDir);
    return entries.find((entry) => entry.microphone === microphone) ?? null;
  }

  /** Replaces what is noted of a microphone; null: nothing is. @throws the errors of the disk. */
  async write(spoolDir: string, microphone: string, entry: Entry | null): Promise<void> {
    const others = (await this.#read(spoolDir)).filter((other) => other.microphone !== microphone);
    const entries = [...(entry === null ? [] : [entry]), ...others].slice(0, MOST);
    const path = join(spoolDir, this.#file);
    if (entries.length > 0) await writeWhole(path, `${JSON.stringify(entries)}\n`);
    else await removeIfThere(path);
  }

  async #read(spoolDir: string): Promise<Entry[]> {
    try {
      const value: unknown = JSON.parse(
        await readWholeText(join(spoolDir, this.#file), MAX_BYTES),
      );
      return Array.isArray(value) ? value.filter((one) => this.#isEntry(one)) : [];
    } catch {
      return [];
    }
  }

  #isEntry(value: unknown): value is Entry {
    return typeof value === "object" && value !== null &&
      typeof Reflect.get(value, "microphone") === "string" && this.#isRest(value);
  }
}
