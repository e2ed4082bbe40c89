// The controls of one sound card, read and changed with `amixer` of alsa-utils: a program of Deno cannot speak the
// protocol of /dev/snd/controlC* itself. Each call takes one child process. It decides nothing.

import { isMissing, outputOf } from "../system/child.ts";
import { MAX_TEXT, printable } from "../system/printable.ts";
import { PROGRAMS } from "../system/programs.ts";
import { type MixerControl, parseMixer } from "./mixer_listing.ts";

/** `amixer` is not installed. */
export class AmixerMissingError extends Error {}

export interface Mixer {
  /** @throws {AmixerMissingError}, {HangingError}, or an error in the words of amixer. */
  read(): Promise<MixerControl[]>;
  /** Sets all channels; errors as in `read()`. */
  set(control: Pick<MixerControl, "numid">, values: readonly number[]): Promise<void>;
}

/** @param env where ALSA's configuration is, for amixer; default: that of the system. */
export function mixerOf(card: number, env: Readonly<Record<string, string>> = {}): Mixer {
  const amixer = async (...args: string[]): Promise<string> => {
    const output = await outputOf(PROGRAMS.amixer, ["-D", `hw:${card}`, ...args], {
      env: { ...env },
    })
      .catch((error) => {
        throw isMissing(error) ? new AmixerMissingError("amixer is not installed") : error;
      });
    if (output.success) return output.stdout;
    // ALSA's library may have written hints before the error.
    const [, error = "amixer failed"] = /^amixer: (.*)$/m.exec(output.stderr) ?? [];
    throw new Error(printable(error, MAX_TEXT));
  };
  return {
    read: async () => parseMixer(await amixer("contents")),
    set: async ({ numid }, values) => {
      // "--" because a value may be negative.
      await amixer("--", "cset", `numid=${numid}`, values.join(","));
    },
  };
}
