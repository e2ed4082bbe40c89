// Finds the microphones that ALSA knows, chooses one, and says with which parameters to open it.
// Everything is read from /proc/asound and /sys/class/sound by one `find` and one `grep`, because
// Deno lets no program read those folders itself unless it may do everything. Never opens a sound
// device, and never decides when to record.

import { outputOf } from "../child.ts";

/** A sound card as /proc/asound/cards lists it. */
export interface SoundCard {
  readonly number: number;
  /** ALSA's short identifier, unique among the cards present, for instance `Device_1`. */
  readonly id: string;
  readonly driver: string;
  readonly name: string;
  /** The longer description; for USB it ends in where the card is plugged in. */
  readonly longName: string;
}

/** Sample rates in Hz: a list in ascending order, or everything from `min` to `max`. */
export type SampleRates = readonly number[] | { readonly min: number; readonly max: number };

/** One alternate setting of a USB microphone: a combination that the hardware does. */
export interface Altset {
  /** ALSA's names of the sample formats, for instance `S16_LE`. */
  readonly formats: readonly string[];
  readonly channels: number;
  readonly rates: SampleRates;
}

/** What a USB microphone offers, as its /proc/asound/cardN/streamM says. */
export interface CaptureOffers {
  /** Every channel count of any alternate setting, ascending. */
  readonly channels: readonly number[];
  /** Every rate of any alternate setting. */
  readonly rates: SampleRates;
  /** The combinations behind the two summaries above. */
  readonly altsets: readonly Altset[];
}

/** How a USB device is known; null is what the system does not tell. */
export interface UsbIdentity {
  /** The socket as sysfs names it, for instance `1-1.2`: the same after every replug there. */
  readonly path: string | null;
  /** For instance `0d8c:0014`. */
  readonly vendorProduct: string | null;
  readonly serial: string | null;
  /** Bus and address for instance `001/004`; the address counts up with every replug. */
  readonly bus: string | null;
}

/** An ALSA device that can capture. */
export interface CaptureDevice {
  readonly card: number;
  readonly device: number;
  readonly cardId: string;
  readonly name: string;
  /** The PCM to open, `hw:CARD=<id>,DEV=<device>`. */
  readonly alsaName: string;
  /** Null for a card that is not on USB. */
  readonly usb: UsbIdentity | null;
  /** Null where the driver does not say, which is everywhere but on USB. */
  readonly offers: CaptureOffers | null;
}

/** Everything found by one look at the system. */
export interface SoundSystem {
  readonly cards: readonly SoundCard[];
  /** Ascending by card, then device. */
  readonly devices: readonly CaptureDevice[];
}

/** A device with the sentence that says why it was chosen. */
export interface Choice {
  readonly device: CaptureDevice;
  readonly reason: string;
}

/** One way to ask ffmpeg's ALSA input for a microphone. */
export interface CaptureAttempt {
  readonly pcm: string;
  readonly channels: number;
  /** Hz. */
  readonly sampleRate: number;
}

export interface SoundOptions {
  /** Folder that stands for `/`, without a slash at its end; default "", the real one. */
  readonly root?: string;
}

/** Nothing here can capture. The message lists what there is and how to name a PCM by hand. */
export class NoMicrophoneError extends Error {
  override readonly name = "NoMicrophoneError";

  constructor(cards?: readonly SoundCard[]) {
    super(
      `Cannot find a microphone: ${withoutCapture(cards)}. ` +
        "Plug in a USB microphone, or name an ALSA PCM in audio_device (RA_AUDIO_DEVICE), " +
        "for instance plughw:1,0",
    );
  }
}

/** Looks at the sound system once. A card that comes or goes meanwhile may be left out. */
export async function readSoundSystem(options: SoundOptions = {}): Promise<SoundSystem> {
  const { root = "" } = options;
  const sockets = await readUsbSockets(root);
  const files = await readSoundFiles(root, [...sockets.keys()]);
  const cards = parseCards(files.get("/proc/asound/cards") ?? []);
  const devices: CaptureDevice[] = [];
  for (const { card: number, device } of parseCapturePcms(files.get("/proc/asound/pcm") ?? [])) {
    const card = cards.find((card) => card.number === number);
    if (card === undefined) continue;
    devices.push({
      card: number,
      device,
      cardId: card.id,
      name: card.name,
      alsaName: `hw:CARD=${card.id},DEV=${device}`,
      usb: usbIdentity(card, files, sockets),
      offers: parseStream(files.get(`/proc/asound/card${number}/stream${device}`) ?? []),
    });
  }
  devices.sort((a, b) => a.card - b.card || a.device - b.device);
  return { cards, devices };
}

/** The devices that can capture, ascending by card, then device; empty when there is none. */
export async function listCaptureDevices(options: SoundOptions = {}): Promise<CaptureDevice[]> {
  return [...(await readSoundSystem(options)).devices];
}

/** Looks at the system and chooses as `chooseDevice()` does; throws `NoMicrophoneError`. */
export async function detectMicrophone(options: SoundOptions = {}): Promise<Choice> {
  const { cards, devices } = await readSoundSystem(options);
  return chooseDevice(devices, cards);
}

/**
 * Chooses a USB device before any other, then the lowest card and device number. Throws
 * `NoMicrophoneError` when `devices` is empty, whose message lists `cards` if they are given.
 */
export function chooseDevice(
  devices: readonly CaptureDevice[],
  cards?: readonly SoundCard[],
): Choice {
  const usb = devices.filter((device) => device.usb !== null);
  const candidates = (usb.length > 0 ? usb : [...devices])
    .sort((a, b) => a.card - b.card || a.device - b.device);
  const [device] = candidates;
  if (device === undefined) throw new NoMicrophoneError(cards);

  const kind = usb.length > 0 ? "USB capture device" : "capture device";
  const rank = candidates.length > 1
    ? `the lowest number of ${candidates.length} ${kind}s`
    : devices.length > 1
    ? `the only ${kind} of ${devices.length}`
    : `the only ${kind}`;
  const place = device.device === 0
    ? `card ${device.card}`
    : `card ${device.card}, device ${device.device}`;
  const what = device.usb === null ? "microphone" : "USB microphone";
  const caveat = device.usb === null ? ", not on USB" : "";
  return { device, reason: `${what} "${device.name}" (${place}) — ${rank}${caveat}` };
}

/**
 * The parameters to ask ffmpeg's ALSA input for, in the order to try them, for a device found here
 * or a PCM named by hand; `sampleRate` is the wanted rate in Hz.
 *
 * ffmpeg 5.1 (libavdevice/alsa.c) asks for S16_LE and nothing else, then for the nearest rate, then
 * for exactly `-channels`: a format or count the hardware lacks is an error, a rate is not. Because
 * the rate comes first, it can rule a channel count out, so offers are tried as the combinations
 * they are: the wanted rate first, else 48000 Hz, else the highest; of these the fewest channels.
 * `plughw:`, which converts what the hardware lacks, is last, or alone where S16_LE is not offered.
 */
export function captureAttempts(
  device: CaptureDevice | string,
  sampleRate: number,
): CaptureAttempt[] {
  const pcm = typeof device === "string" ? device : device.alsaName;
  const altsets = typeof device === "string" ? [] : device.offers?.altsets ?? [];
  const native = altsets.filter((altset) => altset.formats.includes("S16_LE"));
  const ladder = altsets.length > 0
    ? rankAltsets(native.length > 0 ? native : altsets, sampleRate)
    : COMMON_CHANNEL_COUNTS.map((channels) => ({ channels, sampleRate }));
  const direct = altsets.length > 0 && native.length === 0 ? [] : ladder;
  const converted = pcm.startsWith("hw:") ? ladder.slice(0, 1) : [];
  return [
    ...direct.map((parameters) => ({ pcm, ...parameters })),
    ...converted.map((parameters) => ({ pcm: `plug${pcm}`, ...parameters })),
  ];
}

/** Asked of a PCM that does not say what it offers; more than two are microphone arrays. */
const COMMON_CHANNEL_COUNTS = [1, 2, 4, 6, 8];

function rankAltsets(altsets: readonly Altset[], wanted: number): Omit<CaptureAttempt, "pcm">[] {
  const rank = (rate: number) => rate === wanted ? 0 : rate === 48000 ? 1 : 2;
  return altsets
    .map(({ channels, rates }) => ({ channels, sampleRate: bestRate(rates, wanted) }))
    .sort((a, b) =>
      rank(a.sampleRate) - rank(b.sampleRate) ||
      b.sampleRate - a.sampleRate ||
      a.channels - b.channels
    )
    .filter((attempt, i, all) =>
      attempt.channels !== all[i - 1]?.channels || attempt.sampleRate !== all[i - 1]?.sampleRate
    );
}

function bestRate(rates: SampleRates, wanted: number): number {
  const offered = (rate: number) =>
    "min" in rates ? rates.min <= rate && rate <= rates.max : rates.includes(rate);
  if (offered(wanted)) return wanted;
  if (offered(48000)) return 48000;
  return "min" in rates ? rates.max : Math.max(...rates);
}

function withoutCapture(cards: readonly SoundCard[] | undefined): string {
  if (cards === undefined) return "nothing here can capture";
  const list = cards.map((card) => `card ${card.number} "${card.name}"`).join(", ");
  if (cards.length === 0) return "there are no sound cards";
  if (cards.length === 1) return `the only sound card can play, but not capture (${list})`;
  return `none of the ${cards.length} sound cards can capture (${list})`;
}

// Reading: what the system says, as text.

/** The lines of each file of interest, by its path without the root. */
type SoundFiles = Map<string, string[]>;

/** The USB socket (`1-1.2`) of each card number that sits on USB, from the links of sysfs. */
async function readUsbSockets(root: string): Promise<Map<number, string>> {
  const links = await run("find", [
    `${root}/sys/class/sound`,
    ...["-maxdepth", "1", "-name", "card*", "-printf", "%f %l\\n"],
  ]);
  const sockets = new Map<number, string>();
  for (const link of links.split("\n")) {
    // card1 ../../devices/platform/…/usb1/1-1/1-1.2/1-1.2:1.0/sound/card1
    const [, card, socket] = /^card(\d+) .*\/(\d+-[\d.]+):[^/]*\/sound\/card\d+$/.exec(link) ?? [];
    if (card !== undefined && socket !== undefined) sockets.set(Number(card), socket);
  }
  return sockets;
}

/** -r does not follow links it meets, so /proc/asound/<id> does not repeat /proc/asound/cardN. */
async function readSoundFiles(root: string, usbCards: number[]): Promise<SoundFiles> {
  const names = ["cards", "pcm", "usbid", "usbbus", "stream*", "serial"];
  const output = await run("grep", [
    "-rsaHZ", // recursive, silent about what is missing, all is text, each line as path NUL line
    ...names.map((name) => `--include=${name}`),
    ...["-e", "", `${root}/proc/asound`],
    ...usbCards.map((card) => `${root}${serialPath(card)}`),
  ]);
  const files: SoundFiles = new Map();
  for (const line of output.split("\n")) {
    const [path, text] = line.split("\0", 2);
    if (path === undefined || text === undefined) continue;
    const key = path.slice(root.length);
    const lines = files.get(key);
    if (lines === undefined) files.set(key, [text]);
    else lines.push(text);
  }
  return files;
}

/** `device` is a link to the USB interface, whose parent is the USB device. */
function serialPath(card: number): string {
  return `/sys/class/sound/card${card}/device/../serial`;
}

/** Standard output whatever the exit code is: that a folder does not exist is an answer too. */
async function run(command: string, args: string[]): Promise<string> {
  const { stdout } = await outputOf(command, args, { env: { LC_ALL: "C" } });
  return new TextDecoder().decode(stdout);
}

// Parsing: the formats of sound/core/init.c, sound/core/pcm.c and sound/usb/proc.c of Linux.

function parseCards(lines: readonly string[]): SoundCard[] {
  const cards: SoundCard[] = [];
  lines.forEach((line, i) => {
    // " 1 [Device         ]: USB-Audio - USB PnP Sound Device", then the long name on its own line
    const [, number, id, driver, name] = /^ *(\d+) \[(.*?) *\]: (.*?) - (.*)$/.exec(line) ?? [];
    if (number === undefined || id === undefined || driver === undefined) return;
    cards.push({
      number: Number(number),
      id,
      driver,
      name: printable(name ?? "") || id,
      longName: printable(lines[i + 1] ?? ""),
    });
  });
  return cards;
}

/** Names come from the device: no control characters, and no half character where Linux cut it. */
function printable(text: string): string {
  return text.replace(/\p{Cc}/gu, "").replace(/\uFFFD+$/, "").trim();
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
  sockets: ReadonlyMap<number, string>,
): UsbIdentity | null {
  const first = (path: string) => files.get(path)?.[0]?.trim() || null;
  const socket = sockets.get(card.number);
  const vendorProduct = first(`/proc/asound/card${card.number}/usbid`);
  if (card.driver !== "USB-Audio" && socket === undefined && vendorProduct === null) return null;
  const bus = first(`/proc/asound/card${card.number}/usbbus`);
  return {
    path: socket ?? socketFromName(card.longName, bus),
    vendorProduct,
    serial: first(serialPath(card.number)),
    bus,
  };
}

/** Without sysfs: "… at usb-0000:01:00.0-1.2, full speed" on bus 001 is the socket 1-1.2. */
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
