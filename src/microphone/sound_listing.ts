// Parses what ALSA and sysfs say about the sound cards: cards, devices that can capture, what they offer,
// and the identity of USB devices. Pure: it reads no files and chooses nothing.

import { printable } from "../system/printable.ts";

/** Names and serial numbers of USB have at most 126 characters, ALSA's long names 80 bytes. */
const MAX_NAME = 200;

/** A sound card as /proc/asound/cards lists it. */
export interface SoundCard {
  readonly number: number;
  /** ALSA's short identifier, unique among the cards present, for instance `Device_1`. */
  readonly id: string;
  readonly driver: string;
  readonly name: string;
  /** The longer description; for USB it ends with the place where the card is plugged in. */
  readonly longName: string;
}

/** Sample rates in Hz: a list in ascending order, or everything from `min` to `max`. */
export type SampleRates = readonly number[] | { readonly min: number; readonly max: number };

/** One alternate setting of a USB microphone: a combination that the hardware supports. */
export interface Altset {
  /** ALSA's names of the sample formats, for instance `S16_LE`. */
  readonly formats: readonly string[];
  readonly channels: number;
  readonly rates: SampleRates;
}

/** What a USB microphone offers, according to its /proc/asound/cardN/streamM. */
export interface CaptureOffers {
  /** All channel counts of all alternate settings, ascending. */
  readonly channels: readonly number[];
  /** All rates of all alternate settings. */
  readonly rates: SampleRates;
  /** The combinations that the two fields above summarize. */
  readonly altsets: readonly Altset[];
}

/** The identity of a USB device; null where the system does not provide a value. */
export interface UsbIdentity {
  /** The socket as sysfs names it, for instance `1-1.2`: the same after every replug there. */
  readonly path: string | null;
  /** For instance `0d8c:0014`. */
  readonly vendorProduct: string | null;
  readonly serial: string | null;
}

/** An ALSA device that can capture. */
export interface CaptureDevice {
  readonly card: number;
  readonly device: number;
  readonly cardId: string;
  readonly name: string;
  /** The PCM to open now, `hw:CARD=<id>,DEV=<device>`; a replug may change it. */
  readonly alsaName: string;
  /** Null for a card that is not on USB. */
  readonly usb: UsbIdentity | null;
  /** Null if the driver does not say; only the USB driver does. */
  readonly offers: CaptureOffers | null;
}

/** Everything found by one look at the system. */
export interface SoundSystem {
  readonly cards: readonly SoundCard[];
  /** Ascending by card, then device. */
  readonly devices: readonly CaptureDevice[];
  /** True if a part could not be read in time: another look may show more. */
  readonly isIncomplete?: boolean;
}

/** The lines of each file that was read, by its path. */
export type SoundFiles = ReadonlyMap<string, readonly string[]>;

/** The USB socket (`1-1.2`) of each card on USB, by card number. */
export type UsbSockets = ReadonlyMap<number, string>;

/** Combines what /proc/asound (`files`) and /sys/class/sound (`sockets`) say. */
export function parseSoundSystem(files: SoundFiles, sockets: UsbSockets): SoundSystem {
  const cards = withoutForgedIds(parseCards(files.get("/proc/asound/cards") ?? []));
  const devices: CaptureDevice[] = [];
  for (const { card: number, device } of parseCapturePcms(files.get("/proc/asound/pcm") ?? [])) {
    const card = cards.find((card) => card.number === number);
    if (card === undefined) continue;
    devices.push({
      card: number,
      device,
      cardId: card.id,
      name: card.name,
      alsaName: pcmOf(card, device),
      usb: usbIdentity(card, files, sockets),
      offers: parseStream(files.get(`/proc/asound/card${number}/stream${device}`) ?? []),
    });
  }
  devices.sort((a, b) => a.card - b.card || a.device - b.device);
  return { cards, devices };
}

/** The sockets in lines of the form `card1 ../../devices/…/usb1/1-1/1-1.2/1-1.2:1.0/sound/card1`. */
export function parseUsbSockets(links: readonly string[]): UsbSockets {
  const sockets = new Map<number, string>();
  for (const link of links) {
    const [, card, socket] = /^card(\d+) .*\/(\d+-[\d.]+):[^/]*\/sound\/card\d+$/.exec(link) ?? [];
    if (card !== undefined && socket !== undefined) sockets.set(Number(card), socket);
  }
  return sockets;
}

/** The path of the serial number of a card's USB device; `device` is a link to one of its interfaces. */
export function serialPath(card: number): string {
  return `/sys/class/sound/card${card}/device/../serial`;
}

// The formats of sound/core/init.c, sound/core/pcm.c and sound/usb/proc.c of Linux.

/** Names the card by its id, or by its present number if ALSA's syntax would misread the id. */
function pcmOf(card: SoundCard, device: number): string {
  return /^[\w-]+$/.test(card.id)
    ? `hw:CARD=${card.id},DEV=${device}`
    : `hw:${card.number},${device}`;
}

function parseCards(lines: readonly string[]): SoundCard[] {
  const cards: SoundCard[] = [];
  lines.forEach((line, i) => {
    // " 1 [Device         ]: USB-Audio - USB PnP Sound Device", then the long name on its own line
    const [, number, id, driver, name] = /^ *(\d+) \[(.*?) *\]: (.*?) - ([^]*)$/.exec(line) ?? [];
    if (number === undefined || id === undefined || driver === undefined) return;
    cards.push({
      number: Number(number),
      id,
      driver,
      name: fromDevice(name ?? "") || fromDevice(id),
      longName: fromDevice(lines[i + 1] ?? ""),
    });
  });
  return cards;
}

/**
 * The name of a USB device may have a line break, and then what looks like the line of another card. Of a number
 * that has two lines the id is not known: the card is opened by its number.
 */
function withoutForgedIds(cards: readonly SoundCard[]): SoundCard[] {
  const lines = (wanted: number) => cards.filter(({ number }) => number === wanted).length;
  return cards.map((card) => lines(card.number) > 1 ? { ...card, id: "" } : card);
}

/** A text that comes from the device, without half a character where Linux cut it. */
function fromDevice(text: string): string {
  return printable(text.replace(/\uFFFD+$/, ""), MAX_NAME);
}

function parseCapturePcms(lines: readonly string[]): { card: number; device: number }[] {
  // "01-00: USB Audio : USB Audio : playback 1 : capture 1"
  return lines.flatMap((line) => {
    const [, card, device] = /^(\d+)-(\d+): .* : capture \d+$/.exec(line) ?? [];
    return card === undefined ? [] : [{ card: Number(card), device: Number(device) }];
  });
}

function usbIdentity(
  card: SoundCard,
  files: SoundFiles,
  sockets: UsbSockets,
): UsbIdentity | null {
  const first = (path: string) => fromDevice(files.get(path)?.[0] ?? "") || null;
  const socket = sockets.get(card.number);
  const vendorProduct = first(`/proc/asound/card${card.number}/usbid`);
  if (card.driver !== "USB-Audio" && socket === undefined && vendorProduct === null) return null;
  return {
    path: socket ?? socketFromName(card.longName, first(`/proc/asound/card${card.number}/usbbus`)),
    vendorProduct,
    serial: first(serialPath(card.number)),
  };
}

/** Without sysfs: "… at usb-0000:01:00.0-1.2, full speed" on bus and address 001/004 is the socket 1-1.2. */
function socketFromName(longName: string, bus: string | null): string | null {
  const [, ports] = / at usb-.*-([\d.]+),/.exec(longName) ?? [];
  return ports === undefined || bus === null ? null : `${Number.parseInt(bus)}-${ports}`;
}

function parseStream(lines: readonly string[]): CaptureOffers | null {
  const start = lines.indexOf("Capture:");
  if (start < 0) return null;
  const altsets: Altset[] = [];
  let formats: string[] = [];
  let channels = 0;
  for (const line of lines.slice(start + 1)) { // to the end: "Playback:" comes before
    const [, key, value] = /^ {4}(Format|Channels|Rates): ?(.*)$/.exec(line) ?? [];
    if (key === undefined || value === undefined) continue;
    if (key === "Format") formats = value.split(" ");
    else if (key === "Channels") channels = Number(value);
    else { // the rates come last in each block
      const rates = parseRates(value);
      if (channels > 0 && rates !== null) altsets.push({ formats, channels, rates });
    }
  }
  if (altsets.length === 0) return null;
  return {
    channels: ascending(altsets.map((altset) => altset.channels)),
    rates: allRates(altsets.map((altset) => altset.rates)),
    altsets,
  };
}

/** "8000, 16000, 44100, 48000" or "8000 - 48000 (continuous)"; null if it is neither. */
function parseRates(text: string): SampleRates | null {
  const [, min, max] = /^(\d+) - (\d+) \(continuous\)$/.exec(text) ?? [];
  if (min !== undefined) return { min: Number(min), max: Number(max) };
  const rates = ascending((text.match(/\d+/g) ?? []).map(Number));
  return rates.length > 0 ? rates : null;
}

function allRates(rates: readonly SampleRates[]): SampleRates {
  const numbers = rates.flatMap((rate) => "min" in rate ? [rate.min, rate.max] : rate);
  return rates.some((rate) => "min" in rate)
    ? { min: Math.min(...numbers), max: Math.max(...numbers) }
    : ascending(numbers);
}

function ascending(numbers: readonly number[]): number[] {
  return [...new Set(numbers)].sort((a, b) => a - b);
}
