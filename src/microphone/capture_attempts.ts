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
 * channels first. If none has enough channels, those with the most come first. Other rates that are offered follow,
 * for a device that does not deliver at the best one. `plughw:`, which converts what the hardware lacks, comes last.
 * It comes first if S16_LE is offered only at lower rates, and is the only one if S16_LE is not offered.
 */
export function captureAttempts(
  device: CaptureDevice | string,
  sampleRate: number,
  least = 1,
): CaptureAttempt[] {
  const pcm = typeof device === "string" ? device : device.alsaName;
  const converts = pcm.startsWith("hw:");
  const altsets = typeof device === "string" ? [] : device.offers?.altsets ?? [];
  if (altsets.length === 0) return blindAttempts(pcm, converts, sampleRate, least);
  const native = altsets.filter((altset) => altset.formats.includes("S16_LE"));
  const hasRate = ({ rates }: Altset) => offers(rates, sampleRate) || offers(rates, 48000);
  const isLow = !native.some(hasRate) && altsets.some(hasRate);
  const usable = isLow || native.length === 0 ? altsets : native;
  const direct = ladder(converts ? native : usable, sampleRate, least)
    .map((parameters) => ({ pcm, ...parameters }));
  const converted = (converts ? ladder(usable, sampleRate, least).slice(0, 1) : [])
    .map((parameters) => ({ pcm: `plug${pcm}`, ...parameters }));
  return isLow ? [...converted, ...direct] : [...direct, ...converted];
}

/** For a PCM of which nobody knows what it offers. */
function blindAttempts(
  pcm: string,
  converts: boolean,
  sampleRate: number,
  least: number,
): CaptureAttempt[] {
  const enough = (least: number) =>
    (converts ? COMMON_COUNTS : ALL_COUNTS)
      .toSorted((a, b) => shortOf(least, a) - shortOf(least, b));
  // With one channel it would average all that there are; with two, a mono device gives the same on both.
  const converted = enough(Math.max(2, least));
  const counts = pcm.startsWith("plughw:") ? converted : enough(least);
  return [
    ...counts.map((channels) => ({ pcm, channels, sampleRate })),
    ...(converts ? converted.slice(0, 1) : [])
      .map((channels) => ({ pcm: `plug${pcm}`, channels, sampleRate })),
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

/** The best of each altset, the best first, then other rates. */
function ladder(
  altsets: readonly Altset[],
  wanted: number,
  least: number,
): Omit<CaptureAttempt, "pcm">[] {
  const rank = (rate: number) => rate === wanted ? 0 : rate === 48000 ? 1 : 2;
  const ranked = altsets
    .map((altset) => ({ altset, rate: bestRate(altset.rates, wanted) }))
    .sort((a, b) =>
      shortOf(least, a.altset.channels) - shortOf(least, b.altset.channels) ||
      rank(a.rate) - rank(b.rate) ||
      b.rate - a.rate ||
      a.altset.channels - b.altset.channels
    );
  const best = ranked.map(({ altset: { channels }, rate }) => ({ channels, sampleRate: rate }))
    .filter((attempt, i, all) =>
      attempt.channels !== all[i - 1]?.channels || attempt.sampleRate !== all[i - 1]?.sampleRate
    );
  const others = OTHER_RATES.flatMap((sampleRate) => {
    const found = ranked.find(({ altset }) => offers(altset.rates, sampleRate));
    const isThere = best.some((attempt) => attempt.sampleRate === sampleRate);
    return found === undefined || isThere ? [] : [{ channels: found.altset.channels, sampleRate }];
  });
  return [...best, ...others.slice(0, 2)];
}

/** The rates that devices most often support, the best first. */
const OTHER_RATES = [48000, 44100, 16000];

function offers(rates: SampleRates, rate: number): boolean {
  return "min" in rates ? rates.min <= rate && rate <= rates.max : rates.includes(rate);
}

function bestRate(rates: SampleRates, wanted: number): number {
  if (offers(rates, wanted)) return wanted;
  if (offers(rates, 48000)) return 48000;
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
