// The command `recorder-agent devices`: shows which microphones there are, which one the service records with
// this configuration, what to write in audio_device to select one, and which controls of its level each of them has.
// Records nothing and changes nothing.

import { ConfigError } from "../config/config.ts";
import { isForbidden } from "../config/file_failure.ts";
import { type GivenConfig, loadGivenConfig, NoConfigError } from "../config/first_run.ts";
import { say } from "../microphone/channel_choice.ts";
import { describeRates } from "../microphone/capture_attempts.ts";
import { readMicrophones } from "../microphone/last_microphone.ts";
import {
  audioDeviceTexts,
  describePresent,
  NoMicrophoneError,
} from "../microphone/microphone_choice.ts";
import { type Microphone, SystemMicrophones } from "../microphone/microphones.ts";
import type { CaptureDevice } from "../microphone/sound_listing.ts";
import { readSoundSystem, type SoundOptions } from "../microphone/sound_system.ts";
import { messageOf } from "../system/error_text.ts";
import { KEYS } from "../config/keys.ts";
import { AmixerMissingError, type Mixer, mixerOf } from "../microphone/mixer.ts";
import { captureControls, describeControl } from "../microphone/mixer_listing.ts";
import { formatTable, printText } from "./terminal.ts";

/** What the configuration says about the microphone. */
export interface WantedMicrophone {
  /** Null, the default: none is named. */
  readonly audioDevice?: string | null;
  /** Where the microphone recorded last is remembered; default: the usual spool directory. */
  readonly spoolDir?: string;
  /** Why the configuration cannot be used. */
  readonly problems?: readonly string[];
}

export interface DevicesOptions extends SoundOptions, WantedMicrophone {
  /** The controls of a sound card; default: those that amixer knows. */
  readonly mixerOf?: (card: number) => Mixer;
  /** Receives the text, without a newline at its end; default: standard output. */
  readonly print?: (text: string) => void;
}

/**
 * What the configuration says, if there is one that can be used: the list must not need it.
 * @throws {ConfigError} if the file that was named cannot be read.
 */
export function readWantedMicrophone(given: GivenConfig): WantedMicrophone {
  try {
    const { audioDevice, spoolDir } = loadGivenConfig(given).config;
    return { audioDevice, spoolDir };
  } catch (error) {
    if (error instanceof NoConfigError) return {};
    if (!(error instanceof ConfigError)) throw error;
    const { problems } = error;
    const unread = `${given.explicit}: the configuration file `;
    if (problems.some((problem) => problem.startsWith(unread))) throw error;
    return { problems };
  }
}

/** Prints the table. Returns the exit code: 0, or 1 if there is no microphone to record. */
export async function runDevices(options: DevicesOptions = {}): Promise<number> {
  const { print = printText, audioDevice = null, spoolDir = KEYS.spool_dir.default } = options;
  const { devices } = await readSoundSystem(options);
  const sampleRate = Number(KEYS.sample_rate.default);
  const microphones = new SystemMicrophones({ ...options, audioDevice, spoolDir, sampleRate });
  const chosen = await microphones.find().catch((error) => {
    if (error instanceof NoMicrophoneError) return error;
    throw error;
  });
  const isMissing = chosen instanceof NoMicrophoneError;
  if (devices.length > 0) print(`${tableOf(devices, isMissing ? null : chosen)}\n`);
  print(isMissing ? `${chosen.message}.` : sayChosen(chosen, audioDevice));
  for (const line of isMissing ? [] : await channelNotes(microphones, chosen)) print(line);
  for (const line of await notesOn(spoolDir, options.problems ?? [])) print(line);
  if (devices.length > 0) print("\nTo select one, paste one of its lines into config.yaml:");
  for (const device of devices) {
    print(formatTexts(device, devices));
    print(`  ${await sayControls(device, options.mixerOf ?? mixerOf)}`);
  }
  return isMissing ? 1 : 0;
}

function sayChosen({ reason, device }: Microphone, audioDevice: string | null): string {
  if (audioDevice === null) return `* recorded unless audio_device says otherwise: ${reason}.`;
  const named = `audio_device is ${JSON.stringify(audioDevice)}`;
  return device === undefined
    ? `Recorded: ${named}; only ALSA knows which of these that is.`
    : `* recorded: ${named}.`;
}

/** Which channels of a microphone with several the service has recorded, and why. */
async function channelNotes(
  microphones: SystemMicrophones,
  microphone: Microphone,
): Promise<string[]> {
  const counts = microphone.attempts.map((source) => source.kind === "alsa" ? source.channels : 1);
  for (const count of new Set(counts)) {
    const known = count > 1 ? await microphones.knownChannels(microphone, count) : null;
    if (known !== null) {
      return [`  audio_channel auto: ${say(known.channels)} of ${count}, ${known.reason}.`];
    }
  }
  return [];
}

/** What may be otherwise than the table shows. */
async function notesOn(spoolDir: string, problems: readonly string[]): Promise<string[]> {
  const asRoot = "sudo recorder-agent devices";
  if (problems.some(isForbidden)) {
    return [
      `  Only root can read the configuration and see which one the service recorded last: ${asRoot}.`,
    ];
  }
  const { last } = await readMicrophones(spoolDir);
  return [
    ...(last === null && await isHidden(spoolDir)
      ? [`  Only root can see which one the service recorded last: ${asRoot}.`]
      : []),
    ...(problems.length === 0
      ? []
      : ["\nThe configuration cannot be used, so this is without it:"]),
    ...problems.map((problem) => `  ${problem}`),
  ];
}

/** The problems of a configuration; a problem of audio_device also lists the microphones. */
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

/** The controls for capture_volume and capture_agc, with their ranges and present values. */
async function sayControls(
  { card }: CaptureDevice,
  mixerOf: (card: number) => Mixer,
): Promise<string> {
  try {
    const { volume, switches, agc } = captureControls(await mixerOf(card).read());
    const found = [...volume, ...switches, ...agc].map(describeControl);
    return found.length === 0
      ? "capture_volume, capture_agc: it has no controls for them"
      : `capture_volume, capture_agc: ${found.join(", ")}`;
  } catch (error) {
    return error instanceof AmixerMissingError
      ? "capture_volume, capture_agc: install amixer (sudo apt-get install --yes alsa-utils)"
      : `capture_volume, capture_agc: not known (${messageOf(error)})`;
  }
}

function tableOf(devices: readonly CaptureDevice[], chosen: Microphone | null): string {
  const isChosen = ({ card, device }: CaptureDevice) =>
    card === chosen?.device?.card && device === chosen.device.device;
  return formatTable([
    ["", "CARD", "NAME", "USB PATH", "USB ID", "SERIAL", "CHANNELS", "RATES, HZ"],
    ...devices.map((device) => [
      isChosen(device) ? "*" : "",
      `${device.card}`,
      device.name,
      device.usb?.path ?? "-",
      device.usb?.vendorProduct ?? "-",
      device.usb?.serial ?? "-",
      device.offers?.channels.join(", ") ?? "?",
      device.offers === null ? "?" : describeRates(device.offers.rates),
    ]),
  ]);
}
