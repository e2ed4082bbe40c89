// Parses what `amixer contents` says about a sound card, and finds the controls of the capture level in it. Pure:
// it starts no program.
//
// Drivers name their controls "SOURCE [CHANNEL] DIRECTION FUNCTION" (control-names.rst of Linux). A USB microphone
// has "Mic Capture Volume", "Mic Capture Switch" and perhaps "Auto Gain Control".

import { printable } from "../system/printable.ts";

/** A control of a sound card that can be changed: a volume or a switch. */
export interface MixerControl {
  /** Its number, as long as the card is plugged in. */
  readonly numid: number;
  /** Any text of the driver or the device; its name and index identify a control across replugs. */
  readonly name: string;
  readonly index: number;
  readonly kind: "volume" | "switch";
  /** A switch is 0 or 1. */
  readonly min: number;
  readonly max: number;
  /** One for each channel. */
  readonly values: readonly number[];
  /** The ends of the range, dB; null if the driver does not say. */
  readonly decibels: { readonly min: number; readonly max: number } | null;
}

/** The controls that matter for a recording. There may be several of each with the same name. */
export interface CaptureControls {
  readonly volume: readonly MixerControl[];
  /** They mute the same source. */
  readonly switches: readonly MixerControl[];
  readonly agc: readonly MixerControl[];
}

/** Names have at most 43 bytes in ALSA; each may become several printable characters. */
const MAX_NAME = 200;

/** The volumes and switches in the output of `amixer contents`; what is not understood is left out. */
export function parseMixer(text: string): MixerControl[] {
  const blocks = text.split(/(?<=^|\n)(?=numid=)/);
  return blocks.flatMap((block) => {
    const [head = "", ...lines] = block.split("\n");
    const [, numid, name, index = "0"] =
      /^numid=(\d+),iface=MIXER,name='([^]*)'(?:,index=(\d+))?(?:,(?:sub)?device=\d+)*$/.exec(
        head,
      ) ??
        [];
    const [, type, range = ""] = find(lines, /^ {2}; type=(INTEGER|BOOLEAN),access=rw[^,]*(.*)$/);
    const [, list = ""] = find(lines, /^ {2}: values=([-\d,a-z]+)$/);
    const values = list.split(",").map((value) =>
      value === "on" ? 1 : value === "off" ? 0 : value === "" ? NaN : Number(value)
    );
    if (numid === undefined || name === undefined || type === undefined) return [];
    const [, min, max] = /,min=(-?\d+),max=(-?\d+)/.exec(range) ?? [, "0", "1"];
    const ends = { min: Number(min), max: Number(max) };
    if (!values.every(Number.isSafeInteger) || !(ends.min < ends.max)) return [];
    return [{
      numid: Number(numid),
      name: printable(name, MAX_NAME),
      index: Number(index),
      kind: type === "BOOLEAN" ? "switch" : "volume",
      ...ends,
      values,
      decibels: decibelsOf(lines, ends),
    }];
  });
}

/** The controls of the microphone among all of a card; empty lists if there is none. */
export function captureControls(controls: readonly MixerControl[]): CaptureControls {
  const volumes = controls.filter(({ kind, name }) =>
    kind === "volume" && /(^| )capture volume$/i.test(name)
  );
  const best = RANKS.flatMap((rank) => volumes.filter(({ name }) => rank.test(name)))[0];
  const volume = volumes.filter(({ name }) => name === best?.name);
  const source = best?.name.replace(/volume$/i, "").toLowerCase() ?? "capture ";
  return {
    volume,
    switches: controls.filter(({ kind, name }) =>
      kind === "switch" && name.toLowerCase() === `${source}switch`
    ),
    agc: controls.filter(({ kind, name }) =>
      kind === "switch" && /\b(auto(matic)? gain( control)?|agc|alc)\b/i.test(name)
    ),
  };
}

/** The best source comes first; the last one fits every name. */
const RANKS = [
  /^(internal |front |external )?mic/i,
  /^headset/i,
  /^capture volume$/i,
  /^(?!line)/i,
  /^/,
];

/** All channels at this percentage of the range. */
export function valuesAt({ min, max, values }: MixerControl, percent: number): number[] {
  return values.map(() => Math.round(min + (max - min) * percent / 100));
}

/** For people: "Mic Capture Volume 63 % (8 dB of 0 to 35 dB)", "Auto Gain Control on". */
export function describeControl({ kind, name, min, max, values, decibels }: MixerControl): string {
  if (kind === "switch") return `${name} ${values.every((value) => value === max) ? "on" : "off"}`;
  const mean = values.reduce((sum, value) => sum + value, 0) / values.length;
  const share = (mean - min) / (max - min);
  const text = `${name} ${Math.round(share * 100)} %`;
  return decibels === null ? text : `${text} (${decibels.min} to ${decibels.max} dB)`;
}

function find(lines: readonly string[], pattern: RegExp): RegExpExecArray | [] {
  for (const line of lines) {
    const found = pattern.exec(line);
    if (found !== null) return found;
  }
  return [];
}

/** Of the lines of `amixer` about TLV data (sound/tlv.h of Linux). */
function decibelsOf(
  lines: readonly string[],
  { min, max }: { min: number; max: number },
): MixerControl["decibels"] {
  const [, from, to] = find(
    lines,
    /^ {2}\| dB(?:minmax|minmaxmute|linear)-min=(-?[\d.]+)dB,max=(-?[\d.]+)dB/,
  );
  if (from !== undefined) return { min: Number(from), max: Number(to) };
  const [, lowest, step] = find(lines, /^ {2}\| dBscale-min=(-?[\d.]+)dB,step=([\d.]+)dB/);
  return lowest === undefined
    ? null
    : { min: Number(lowest), max: rounded(Number(lowest) + Number(step) * (max - min)) };
}

function rounded(decibels: number): number {
  return Math.round(decibels * 100) / 100;
}
