// What ffmpeg is told to do: from which source, through which filters, to which outputs. Pure: it starts nothing.

import type { CaptureSource } from "../microphone/capture_attempts.ts";
import { STRETCHES_PER_S } from "../microphone/channel_choice.ts";

/** What the recorded stream is like. */
export interface EncodingOptions {
  /** Sample rate of the Opus stream, Hz; sound at another rate is resampled to it. */
  readonly sampleRate: number;
  readonly bitrateKbps: number;
  /** How much louder the recorded sound is, dB. @default 0 */
  readonly gainDb?: number;
  /** Sound below this frequency is weakened by 12 dB an octave, Hz. @default 0, which is off */
  readonly highpassHz?: number;
}

/**
 * Length of the sound in one Ogg page of ffmpeg's output, ms. Each page wakes this process, and the
 * wake-ups are the main cost: with one packet per page, this process used 62 % of the processor time that
 * ffmpeg alone uses (bench:cost). The price: ffmpeg holds up to two pages, which are lost when it is
 * killed, and a loss that ALSA does not report can only be located to within one page.
 */
export const PAGE_MS = 400;
/**
 * ffmpeg's Ogg muxer writes a page only when the next page is complete, so sound arrives this much later
 * than it could. Measured with a time code (bench:time).
 */
export const MUXER_DELAY_MS = PAGE_MS;
/**
 * ffmpeg replaces its own timestamps after a step of the system clock; a step of more than this many seconds,
 * by default 30 hours, it reports again with every period. The timestamps are not used.
 */
const MOST_STEP_S = 2_000_000_000;
/**
 * Up to this many channels, a stretch in which the channels are measured has 100 ms; of more channels it is
 * shorter, so that it fits into the buffer of a socket.
 */
const MOST_MEASURED = 8;

/**
 * ffmpeg's arguments. Timestamps are calculated from the sample count: ffmpeg stamps ALSA input from the
 * system clock, and a step of that clock must not disturb the stream. One page holds PAGE_MS and is written
 * at once; so is the PCM for the levels.
 */
export function ffmpegArguments(
  source: CaptureSource,
  options: EncodingOptions,
  sockets: {
    readonly sound?: string | undefined;
    readonly levels?: string | undefined;
    readonly raw?: string | undefined;
    readonly channels?: string | undefined;
  } = {},
): string[] {
  const pan = panOf(source);
  const input = source.kind === "lavfi" ? ["-re", "-f", "lavfi", "-i", source.graph] : [
    ...["-f", "alsa"],
    // Without a layout, the channels of an array are not taken for those of a surround recording.
    ...(pan === "" ? [] : ["-guess_layout_max", "0"]),
    ...["-channels", String(source.channels), "-sample_rate", String(source.sampleRate)],
    ...["-i", source.pcm],
  ];
  const mono = [
    ...["-map", "0:a:0"],
    ...(pan === "" ? ["-ac", "1"] : []),
    ...["-ar", String(options.sampleRate)],
  ];
  const { gainDb = 0, highpassHz = 0 } = options;
  const highpass = highpassHz === 0 ? "" : `highpass=f=${highpassHz},`;
  const gain = gainDb === 0 ? "" : `volume=${gainDb}dB,`;
  const stamps = "asetpts=N/SR/TB";
  const recorded = `${pan}${highpass}${gain}${stamps}`;
  const stream = ["-c:a", "libopus", "-b:a", `${options.bitrateKbps}k`, "-frame_duration", "20"];
  const pages = ["-f", "ogg", "-page_duration", String(PAGE_MS * 1000)];
  const ogg = ["-map_metadata", "-1", ...pages, sockets.sound ? `unix:${sockets.sound}` : "pipe:1"];
  const pcm = (filters: string, socket: string | undefined) =>
    socket === undefined ? [] : [
      ...mono,
      ...["-af", `${filters},asetnsamples=n=${options.sampleRate * PAGE_MS / 1000}:p=0`],
      ...["-f", "s16le", `unix:${socket}`],
    ];
  const channels = sockets.channels === undefined || source.kind === "lavfi" ? [] : [
    ...["-map", "0:a:0", "-af"],
    `asetnsamples=n=${stretchFrames(source)}:p=0,aselect='not(mod(n,${stretchesPerHalf(source)}))'`,
    ...["-f", "s16le", `unix:${sockets.channels}`],
  ];
  return [
    ...["-hide_banner", "-nostdin", "-nostats", "-loglevel", "level+warning"],
    ...["-dts_error_threshold", String(MOST_STEP_S)],
    ...input,
    ...mono,
    ...["-af", recorded],
    ...stream,
    ...ogg,
    ...pcm(recorded, sockets.levels),
    ...pcm(`${pan}${stamps}`, sockets.raw),
    ...channels,
  ];
}

/** Whether the recorded sound is another one than the microphone gives. */
export function changesSound({ gainDb = 0, highpassHz = 0 }: EncodingOptions): boolean {
  return gainDb !== 0 || highpassHz !== 0;
}

/** The filter that takes channels by their index, with a comma behind it; empty for a mono source. */
function panOf(source: CaptureSource): string {
  if (source.kind === "lavfi" || source.channels === 1) return "";
  const { take = Array.from({ length: source.channels }, (_, channel) => channel) } = source;
  const share = take.length === 1 ? "" : `${1 / take.length}*`;
  return `pan=mono|c0=${take.map((channel) => `${share}c${channel}`).join("+")},`;
}

type Alsa = Extract<CaptureSource, { kind: "alsa" }>;

/** The first one of this many stretches is measured. */
function stretchesPerHalf({ channels }: Alsa): number {
  return 10 / STRETCHES_PER_S * Math.ceil(channels / MOST_MEASURED);
}

/** Frames in a stretch of sound in which the channels are measured. */
export function stretchFrames(source: Alsa): number {
  return Math.round(source.sampleRate / STRETCHES_PER_S / stretchesPerHalf(source));
}
