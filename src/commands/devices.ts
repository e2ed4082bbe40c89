// The command `recorder-agent devices`: shows a person which microphones there are, which one would
// be recorded, and what to write in audio_device to name one. Reads no configuration, opens no device
// and changes nothing.

import { describeRates } from "../microphone/capture_attempts.ts";
import { readMicrophones } from "../microphone/last_microphone.ts";
import {
  audioDeviceTexts,
  chooseMicrophone,
  describePresent,
  NoMicrophoneError,
} from "../microphone/microphone_choice.ts";
import type { CaptureDevice } from "../microphone/sound_listing.ts";
import { readSoundSystem, type SoundOptions } from "../microphone/sound_system.ts";
import { KEYS } from "../config/keys.ts";

export interface DevicesOptions extends SoundOptions {
  /** Where the microphone recorded last is remembered; default: the usual spool directory. */
  readonly spoolDir?: string;
  /** Receives the text, without a newline at its end; default: standard output. */
  readonly print?: (text: string) => void;
}

/** Prints the table. Returns the exit code: 0, or 1 when nothing here can capture. */
export async function runDevices(options: DevicesOptions = {}): Promise<number> {
  // deno-lint-ignore no-console -- this command talks to a person
  const { print = console.log, spoolDir = KEYS.spool_dir.default } = options;
  const system = await readSoundSystem(options);
  try {
    const recorded = await readMicrophones(spoolDir);
    const { device, reason } = chooseMicrophone({ kind: "any" }, system, recorded);
    print(formatTable(system.devices, device));
    print(`\n* recorded unless audio_device says otherwise: ${reason}.`);
    if (recorded.last === null && await isHidden(spoolDir)) {
      print(
        "  Which one the service recorded last is for root to see: sudo recorder-agent devices.",
      );
    }
    print("\nTo name one, paste one of its lines into config.yaml:");
    for (const device of system.devices) print(formatTexts(device, system.devices));
    return 0;
  } catch (error) {
    if (!(error instanceof NoMicrophoneError)) throw error;
    print(`${error.message}.`);
    return 1;
  }
}

/** The problems of a configuration; one with audio_device says what there is to name. */
export async function withMicrophones(
  problems: readonly string[],
  options: SoundOptions = {},
): Promise<string[]> {
  return await Promise.all(problems.map(async (problem) => {
    if (!/^(.*: )?(audio_device|RA_AUDIO_DEVICE): /.test(problem)) return problem;
    const present = await readSoundSystem(options).then(describePresent, () => null);
    return present === null ? problem : `${problem}; ${present}`;
  }));
}

async function isHidden(dir: string): Promise<boolean> {
  return await Array.fromAsync(Deno.readDir(dir)).then(
    () => false,
    (error) => error instanceof Deno.errors.PermissionDenied,
  );
}

function formatTexts(device: CaptureDevice, devices: readonly CaptureDevice[]): string {
  const lines = audioDeviceTexts(device, devices)
    .map((text) => `\n  audio_device: ${JSON.stringify(text)}`);
  const place = device.device === 0 ? "" : `, device ${device.device}`;
  return `${device.name} (card ${device.card}${place})${lines.join("")}`;
}

function formatTable(devices: readonly CaptureDevice[], chosen: CaptureDevice): string {
  const rows = [
    ["", "CARD", "NAME", "USB PATH", "USB ID", "SERIAL", "CHANNELS", "RATES, HZ"],
    ...devices.map((device) => [
      device === chosen ? "*" : "",
      `${device.card}`,
      device.name,
      device.usb?.path ?? "-",
      device.usb?.vendorProduct ?? "-",
      device.usb?.serial ?? "-",
      device.offers?.channels.join(", ") ?? "?",
      device.offers === null ? "?" : describeRates(device.offers.rates),
    ]),
  ];
  const lengthOf = (text: string) => [...text].length;
  const widths =
    rows[0]?.map((_, column) => Math.max(...rows.map((row) => lengthOf(row[column] ?? "")))) ?? [];
  return rows.map((row) =>
    row.map((cell, column) => cell + " ".repeat((widths[column] ?? 0) - lengthOf(cell)))
      .join("  ").trimEnd()
  ).join("\n");
}
