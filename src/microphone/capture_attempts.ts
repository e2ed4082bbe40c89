// Decides with which parameters ffmpeg's ALSA input opens a microphone, from what the microphone offers,
// and describes these offers in words. Pure: it opens no device.

import type { Altset, CaptureDevice, CaptureOffers, SampleRates } from "./sound_listing.ts";

/** Where sound comes from. */
export type CaptureSource =
  | {
    kind: "alsa";
    pcm: string;
    channels: number;
    sampleRate: number;
    /** Which channels are recorded, counted from 0; several are averaged, all if it is left out. */
    take?: readonly number[];
    /** The PCM is one of a device that was found: ALSA's configuration files are not needed, and not read. */
    isFound?: boolean;
  }
  /** A synthetic source of libavfilter, played in real time. */
  | { kind: "lavfi"; graph: string };

/** One way for ffmpeg's ALSA input to open a microphone. */
export interface CaptureAttempt {
  readonly pcm: string;
  readonly channels: number;
  /** Hz. */
  readonly sampleRate: number;
}

/**
 * The parameters for ffmpeg's ALSA input, in the order to try them, for a device that was found or a PCM
 * that the configuration names; `sampleRate` is the preferred rate in Hz, `least` the number of channels that are
 * needed.
 *
 * ffmpeg 5.1 (libavdevice/alsa.c) requests only S16_LE, then the nearest rate, then exactly `-channels`: a
 * format or channel count that the hardware lacks is an error, a rate is not. The rate comes first and can
 * exclude a channel count, so only combinations that the hardware offers are tried: first those with enough
 * channels, then those with the preferred rate, else 48000 Hz, else the highest rate; among these, the fewest
 * channels first. If none has enough channels, those with the most come first. `plughw:`,
 * which converts what the hardware lacks, comes last, or is the only one if S16_LE is not offered.
 */
export function captureAttempts(
  device: CaptureDevice | string,
  sampleRate: number,
  least = 1,
): CaptureAttempt[] {
  const pcm = typeof device === "string" ? device : device.alsaName;
  const converts = pcm.startsWith("hw:");
  const altsets = typeof device === "string" ? [] : device.offers?.altsets ?? [];
  const native = altsets.filter((altset) => altset.formats.includes("S16_LE"));
  const ladder = altsets.length > 0
    ? rankAltsets(native.length > 0 ? native : altsets, sampleRate, least)
    : (converts ? COMMON_COUNTS : ALL_COUNTS)
      .toSorted((a, b) => shortOf(least, a) - shortOf(least, b))
      .map((channels) => ({ channels, sampleRate }));
  const direct = converts && altsets.length > 0 && native.length === 0 ? [] : ladder;
  const converted = converts ? ladder.slice(0, 1) : [];
  return [
    ...direct.map((parameters) => ({ pcm, ...parameters })),
    ...converted.map((parameters) => ({ pcm: `plug${pcm}`, ...parameters })),
  ];
}

/**
 * Channel counts to try with a device that does not say what it offers; more than two are microphone arrays.
 * ffmpeg needs the exact count. With any other count, `plughw:` averages the channels.
 */
const COMMON_COUNTS = [1, 2, 4, 6, 8];
/** With another PCM, which the agent does not convert. */
const ALL_COUNTS = [
  ...new Set([...COMMON_COUNTS, ...Array.from({ length: 32 }, (_, index) => index + 1)]),
];

/** How many of the channels that are needed are not there. */
function shortOf(least: number, channels: number): number {
  return Math.max(0, least - channels);
}

function rankAltsets(
  altsets: readonly Altset[],
  wanted: number,
  least: number,
): Omit<CaptureAttempt, "pcm">[] {
  const rank = (rate: number) => rate === wanted ? 0 : rate === 48000 ? 1 : 2;
  return altsets
    .map(({ channels, rates }) => ({ channels, sampleRate: bestRate(rates, wanted) }))
    .sort((a, b) =>
      shortOf(least, a.channels) - shortOf(least, b.channels) ||
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

/** For people: "1, 2 channels at 44100, 48000 Hz as S16_LE". */
export function describeOffers({ altsets, channels, rates }: CaptureOffers): string {
  const formats = [...new Set(altsets.flatMap((altset) => altset.formats))].join(", ");
  const noun = channels.length === 1 && channels[0] === 1 ? "channel" : "channels";
  return `${channels.join(", ")} ${noun} at ${describeRates(rates)} Hz as ${formats}`;
}

/** For people: "44100, 48000" or "8000 to 48000". */
export function describeRates(rates: SampleRates): string {
  return "min" in rates ? `${rates.min} to ${rates.max}` : rates.join(", ");
}
