// The command `recorder-agent devices`: shows a person which microphones there are and which one
// would be recorded. Reads no configuration, opens no device and changes nothing.

import {
  type CaptureDevice,
  chooseDevice,
  NoMicrophoneError,
  readSoundSystem,
  type SampleRates,
  type SoundOptions,
} from "../capture/devices.ts";

export interface DevicesOptions extends SoundOptions {
  /** Receives the text, without a newline at its end; default: standard output. */
  readonly print?: (text: string) => void;
}

/** Prints the table. Returns the exit code: 0, or 1 when nothing here can capture. */
export async function runDevices(options: DevicesOptions = {}): Promise<number> {
  // deno-lint-ignore no-console
  const { print = console.log } = options;
  const { cards, devices } = await readSoundSystem(options);
  try {
    const { device, reason } = chooseDevice(devices, cards);
    print(formatTable(devices, device));
    print(`\n* recorded unless audio_device says otherwise: ${reason}.`);
    return 0;
  } catch (error) {
    if (!(error instanceof NoMicrophoneError)) throw error;
    print(`${error.message}.`);
    return 1;
  }
}

function formatTable(devices: readonly CaptureDevice[], chosen: CaptureDevice): string {
  const rows = [
    ["", "CARD", "NAME", "AUDIO_DEVICE", "USB ID", "USB PATH", "CHANNELS", "RATES, HZ"],
    ...devices.map((device) => [
      device === chosen ? "*" : "",
      `${device.card}`,
      device.name,
      device.alsaName,
      device.usb?.vendorProduct ?? "-",
      device.usb?.path ?? "-",
      device.offers?.channels.join(", ") ?? "?",
      device.offers === null ? "?" : formatRates(device.offers.rates),
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

function formatRates(rates: SampleRates): string {
  return "min" in rates ? `${rates.min} to ${rates.max}` : rates.join(", ");
}
