// Chooses the microphone to record: the one that matches audio_device, and the reason. Pure: the caller
// passes in the sound system and the microphone recorded last, and nothing is remembered.

import { type AudioDevice, parseAudioDevice } from "../config/audio_device.ts";
import { type Diagnosis, inOneLine, problems } from "../status/problems.ts";
import type { CaptureDevice, SoundCard, SoundSystem, UsbIdentity } from "./sound_listing.ts";

/** Identifies a microphone across replugs and restarts; card numbers and ids are not part of it. */
export interface MicrophoneIdentity extends UsbIdentity {
  readonly name: string;
}

/** What was recorded before. */
export interface Known {
  readonly last: MicrophoneIdentity | null;
  /** The PCM by which audio_device named it then; null if another form did, or none. */
  readonly pcm?: string | null;
  /** What has been recorded in its place since. */
  readonly standIn?: MicrophoneIdentity | null;
}

/** A device and the reason for the choice, in words. */
export interface Choice {
  readonly device: CaptureDevice;
  readonly reason: string;
  /** False if the microphone recorded last is away and this one, in another socket, stands in for it. */
  readonly isExpected: boolean;
}

/** There is no microphone to record; `diagnosis` says why and lists what is present. */
export class NoMicrophoneError extends Error {
  override readonly name = "NoMicrophoneError";

  constructor(readonly diagnosis: Diagnosis) {
    super(inOneLine(diagnosis));
  }
}

/**
 * The microphone to record. If the configuration names none, virtual devices do not count, and USB comes before
 * everything else; among USB
 * microphones, the one recorded last (`last`), else the lowest card number. A microphone that matches in
 * another socket than the last one is always only a stand-in, because two of the same model must not be
 * confused. A card with several capture devices counts once, with the first one.
 * @throws {NoMicrophoneError} which lists what is present.
 */
export function chooseMicrophone(
  wanted: Exclude<AudioDevice, { kind: "pcm" }>,
  { cards, devices }: SoundSystem,
  { last, standIn = null }: Known,
): Choice {
  const microphones = firstOfEachCard(devices);
  if (wanted.kind === "any") return chooseAny(microphones, cards, { last, standIn });
  const spelled = spell(wanted);
  const fitting = microphones.filter((device) => fits(identify(device), wanted));
  const whole = wanted.kind === "name"
    ? fitting.filter(({ name }) => sameText(name, wanted.text))
    : [];
  const found = whole.length > 0 ? whole : fitting;
  const [device] = found;
  if (device === undefined) {
    throw new NoMicrophoneError(problems.noMatch(spelled, describePresent({ cards, devices })));
  }
  const reason = `audio_device "${spelled}" matches it`;
  if (found.length === 1) {
    const meant = wanted.kind === "name" && whole.length > 0 ? sameText : includesText;
    if (last === null || !fits(last, wanted, meant) || isAt(device, last)) {
      return { device, reason, isExpected: true };
    }
    return { device, reason: `${reason}; ${isAway(last)}`, isExpected: false };
  }
  const known = found.find((device) => last !== null && isSame(identify(device), last));
  const second = found.find((device) => standIn !== null && isSame(identify(device), standIn));
  if (known === undefined && second !== undefined && last !== null) {
    return { device: second, reason: `${reason}; ${isAway(last)}`, isExpected: false };
  }
  if (known !== undefined) {
    const more = `the one recorded last, of ${found.length} that audio_device "${spelled}" matches`;
    return { device: known, reason: more, isExpected: true };
  }
  const list = found.map(describe).join(", ");
  throw new NoMicrophoneError(problems.unclear(spelled, found.length, list));
}

/**
 * The device that a PCM of audio_device is now; null if that is not a device that is present, or only ALSA knows.
 * A card number is given anew at each start of the machine: if another one, in another socket, was recorded under
 * the same name before, this one only stands in for it.
 */
export function choosePcm(
  pcm: string,
  devices: readonly CaptureDevice[],
  { last, pcm: before = null }: Known,
): Choice | null {
  const device = deviceOfPcm(pcm, devices);
  if (device === null) return null;
  const reason = `audio_device "${pcm}" names it`;
  const isExpected = last === null || before !== pcm || isSame(identify(device), last) ||
    (last.path !== null && isAt(device, last));
  if (isExpected) return { device, reason, isExpected };
  const what = `"${last.name}"${last.path === null ? "" : ` at usb:${last.path}`}`;
  return {
    device,
    reason: `${describe(device)}: ${reason} now, and named ${what} before`,
    isExpected,
  };
}

function chooseAny(
  microphones: readonly CaptureDevice[],
  cards: readonly SoundCard[],
  { last: recordedLast, standIn = null }: Known,
): Choice {
  const real = microphones.filter((device) => !isVirtual(device, cards));
  const usb = real.filter((device) => device.usb !== null);
  const candidates = usb.length > 0 ? usb : real;
  const [lowest] = candidates;
  if (lowest === undefined) {
    const what = microphones.length === 0
      ? withoutCapture(cards)
      : `there is only ${microphones.map(describe).join(", ")}, which is not a microphone and is ` +
        "recorded only if audio_device names it";
    throw new NoMicrophoneError(problems.noMicrophone(what));
  }
  const choice = (device: CaptureDevice, why: string, isExpected = true): Choice => {
    const what = device.usb === null ? "microphone" : "USB microphone";
    const caveat = device.usb === null ? ", not on USB" : "";
    return { device, reason: `${what} ${describe(device)}: ${why}${caveat}`, isExpected };
  };
  const kind = usb.length > 0 ? "USB microphone" : "microphone";
  const others = candidates.filter((device) => device !== lowest).map(describe).join(", ");
  const rank = candidates.length > 1
    ? `the lowest number of ${candidates.length} ${kind}s; to record another one, ${others}, ` +
      'set audio_device to a line of "recorder-agent devices"'
    : `the only ${kind}`;
  // A microphone that is not on USB was recorded only because none was on USB: nothing stands in for it.
  const isOnboard = recordedLast?.path === null && recordedLast.vendorProduct === null;
  const last = isOnboard && usb.length > 0 ? null : recordedLast;
  if (last === null) return choice(lowest, rank);

  const same = candidates.find((device) => isSame(identify(device), last));
  if (same !== undefined) return choice(same, "the one recorded last");
  const second = candidates.find((device) => standIn !== null && isSame(identify(device), standIn));
  const moved = [second, ...candidates].find((device) => device && isLike(device, last));
  if (moved !== undefined) {
    // It may be another microphone of the same model; some models have the same serial number everywhere.
    const at = last.path === null ? "elsewhere" : `at usb:${last.path}`;
    return choice(moved, `like the one recorded last, which was ${at}`, false);
  }
  const there = candidates.find((device) => last.path !== null && isAt(device, last));
  if (there !== undefined) return choice(there, `in the socket of the last one, "${last.name}"`);
  const why = second === undefined ? rank : "recorded since";
  return choice(second ?? lowest, `${why}; ${isAway(last)}`, false);
}

/** The identity of this device. */
export function identify({ usb, name }: CaptureDevice): MicrophoneIdentity {
  const { path = null, vendorProduct = null, serial = null } = usb ?? {};
  return { path, vendorProduct, serial, name };
}

/**
 * The values of audio_device that select this device among those present, the most reliable first: its
 * socket, its USB id with serial number, and its name, if they match no other device; always its ALSA name.
 */
export function audioDeviceTexts(
  device: CaptureDevice,
  devices: readonly CaptureDevice[],
): string[] {
  const microphones = firstOfEachCard(devices);
  const { path, vendorProduct, serial } = device.usb ?? {};
  const id = serial === null ? vendorProduct : `${vendorProduct}:${serial}`;
  const texts = [path && `usb:${path}`, vendorProduct && `usb:${id}`, `name:${device.name}`]
    .filter((text) => typeof text === "string");
  const sure = texts.filter((text) => {
    const wanted = parseAudioDevice(text);
    if (wanted === null || wanted.kind === "pcm" || wanted.kind === "any") return false;
    const fitting = microphones.filter((other) =>
      wanted.kind === "name" ? sameText(other.name, wanted.text) : fits(identify(other), wanted)
    );
    return fitting.length === 1 && fitting[0] === device;
  });
  return [...sure, device.alsaName];
}

/** The device of a PCM name of the form hw:… or plughw:…; null for any other name. */
export function deviceOfPcm(pcm: string, devices: readonly CaptureDevice[]): CaptureDevice | null {
  const [, card, device = "0"] =
    /^(?:plug)?hw:(?:CARD=)?([^,]+)(?:,(?:DEV=)?(\d+))?(?:,|$)/.exec(pcm) ?? [];
  return devices.find((found) =>
    (found.cardId === card || String(found.card) === card) && found.device === Number(device)
  ) ?? null;
}

/** Sound that programs of this machine, or another machine, play: never a microphone. */
function isVirtual({ card, usb }: CaptureDevice, cards: readonly SoundCard[]): boolean {
  if (usb !== null) return false; // whatever a name says, which may come from another device
  const driver = cards.find(({ number }) => number === card)?.driver ?? "";
  return ["Loopback", "Dummy", "UAC1_Gadget", "UAC2_Gadget"].includes(driver);
}

/** Of devices in ascending order, as SoundSystem has them. */
function firstOfEachCard(devices: readonly CaptureDevice[]): CaptureDevice[] {
  return devices.filter(({ card }, i) => card !== devices[i - 1]?.card);
}

type Named = Exclude<AudioDevice, { kind: "pcm" } | { kind: "any" }>;

function fits(
  { path, vendorProduct, serial, name }: MicrophoneIdentity,
  wanted: Named,
  isNamed = includesText,
): boolean {
  if (wanted.kind === "usb_path") return path === wanted.path;
  if (wanted.kind === "name") return isNamed(name, wanted.text);
  return vendorProduct === wanted.vendorProduct &&
    (wanted.serial === null || serial === wanted.serial);
}

function sameText(a: string, b: string): boolean {
  return a.toLowerCase() === b.toLowerCase();
}

function includesText(a: string, b: string): boolean {
  return a.toLowerCase().includes(b.toLowerCase());
}

/** The same socket and the same model; some of the values in sysfs may have been unreadable. */
export function isSame(a: MicrophoneIdentity, b: MicrophoneIdentity): boolean {
  const agree = (one: string | null, other: string | null) =>
    one === other || (a.path !== null && (one === null || other === null));
  return a.path === b.path && a.name === b.name && agree(a.vendorProduct, b.vendorProduct) &&
    agree(a.serial, b.serial);
}

function isAt(device: CaptureDevice, last: MicrophoneIdentity): boolean {
  return identify(device).path === last.path;
}

function isLike(device: CaptureDevice, last: MicrophoneIdentity): boolean {
  const { vendorProduct, serial, name } = identify(device);
  return vendorProduct === last.vendorProduct && serial === last.serial && name === last.name;
}

function spell(wanted: Named): string {
  if (wanted.kind === "usb_path") return `usb:${wanted.path}`;
  if (wanted.kind === "name") return `name:${wanted.text}`;
  return `usb:${wanted.vendorProduct}${wanted.serial === null ? "" : `:${wanted.serial}`}`;
}

/** `"USB PnP Sound Device" (card 1, usb:1-1.2)`. */
function describe({ name, card, device, usb }: CaptureDevice): string {
  const parts = [`card ${card}`];
  if (device !== 0) parts.push(`device ${device}`);
  const path = usb?.path ?? null;
  if (path !== null) parts.push(`usb:${path}`);
  return `"${name}" (${parts.join(", ")})`;
}

function isAway({ name, path }: MicrophoneIdentity): string {
  return `the one recorded last, "${name}"${path === null ? "" : ` at usb:${path}`}, is away`;
}

/** `there is "USB PnP Sound Device" (card 1, usb:1-1.2)`, and so on, for people. */
export function describePresent({ cards, devices }: SoundSystem): string {
  const microphones = firstOfEachCard(devices);
  if (microphones.length === 0) return withoutCapture(cards);
  const mute = cards.filter(({ number }) => !microphones.some(({ card }) => card === number));
  const plays = mute.map(({ number, name }) => `"${name}" (card ${number})`);
  return `there is ${microphones.map(describe).join(", ")}` +
    (plays.length === 0 ? "" : `; without capture: ${plays.join(", ")}`);
}

function withoutCapture(cards: readonly SoundCard[]): string {
  const list = cards.map((card) => `card ${card.number} "${card.name}"`).join(", ");
  if (cards.length === 0) return "there are no sound cards";
  if (cards.length === 1) return `the only sound card can play, but not capture (${list})`;
  return `none of the ${cards.length} sound cards can capture (${list})`;
}
