// Finds out from ffmpeg's lines on stderr why one attempt to record has failed. The first error of ALSA's input
// is the cause: what follows is only its consequence. What ALSA's library itself writes is a hint, and every
// other error is noise. Sound that arrives ends the attempt to open: what was said before no longer counts.
// Pure: it reads no stream.
//
// The lines are those of libavdevice/alsa.c and alsa_dec.c of FFmpeg 4.3 to 8, alsa-lib 1.2, and strerror(3).

import type { CaptureSource } from "../microphone/capture_attempts.ts";
import { type Diagnosis, problems } from "../status/problems.ts";
import { printable } from "../system/printable.ts";

/** The longest line of ffmpeg's stderr, characters; a longer one is cut. */
export const MAX_LINE = 1000;

export type FfmpegLogLevel = "error" | "warning" | "info";

/** A line of ffmpeg's stderr. */
export interface FfmpegLine {
  readonly level: FfmpegLogLevel;
  readonly text: string;
  /** It is about ALSA's input. */
  readonly isAlsa: boolean;
}

/** "[alsa @ 0x55…] [error] text", as `-loglevel level+…` writes it; there may be several contexts. */
export function parseLine(line: string): FfmpegLine {
  const [, contexts = "", name = "info", text = line] =
    /^((?:\[[^\]]* @ [^\]]*\] )*)\[(\w+)\] (.*)$/.exec(line) ?? [];
  const level = ["panic", "fatal", "error"].includes(name)
    ? "error"
    : name === "warning"
    ? "warning"
    : "info";
  return {
    // ffmpeg reports at every start that a mono microphone is mono.
    level: /^Guessed Channel Layout/.test(text) ? "info" : level,
    text: printable(text, MAX_LINE),
    isAlsa: /\[alsa @ /.test(contexts),
  };
}

/** The lines of one attempt, from the start of ffmpeg to its end. */
export class Causes {
  readonly #pcm: string;
  /** What is wrong with ffmpeg itself. */
  #own: Diagnosis | null = null;
  /** The first error of ALSA's input. */
  #error: string | null = null;
  #hints: string[] = [];
  #noise = "";
  #isHeard = false;

  constructor(source: CaptureSource) {
    this.#pcm = source.kind === "alsa" ? source.pcm : source.graph;
  }

  /** Takes the next line. */
  take({ level, text, isAlsa }: FfmpegLine): void {
    this.#own ??= ownProblem(text);
    if (/^ALSA lib /.test(text)) this.#hints = [...this.#hints, text].slice(0, MOST_HINTS);
    if (level !== "error" || /\bunix:/.test(text)) return; // that is about a socket, not the microphone
    if (isAlsa) this.#error ??= text;
    else this.#noise = text;
  }

  /**
   * Call this when sound arrives: the microphone was opened in spite of what was said before. An error of its
   * input is kept, because it ends ffmpeg, which then writes the sound that it still holds.
   */
  heard(): void {
    if (this.#isHeard) return;
    [this.#isHeard, this.#hints, this.#noise] = [true, [], ""];
  }

  /** The cause of the end. */
  diagnose(exitCode: number): Diagnosis {
    const hint = this.#hints.map((hint) => diagnoseHint(hint, this.#pcm)).find((cause) => cause);
    return this.#own ?? configProblem(this.#pcm, this.#hints, this.#error) ??
      (this.#error === null ? null : this.#diagnoseError(this.#error)) ?? hint ??
      problems.lost(exitCode, this.#error ?? this.#noise);
  }

  #diagnoseError(text: string): Diagnosis | null {
    const pcm = this.#pcm;
    const [, reason = ""] = /(?:\(|: )([A-Z][^():]*)\)?$/.exec(text) ?? [];
    if (BUSY.includes(reason)) return problems.busy(pcm);
    // systemd's DeviceAllow= causes "Operation not permitted".
    if (FORBIDDEN.includes(reason)) return problems.forbidden(pcm);
    if (MISSING.includes(reason)) return problems.missing(pcm);
    if (NO_SERVER.includes(reason)) {
      return problems.noSoundServer(pcm, reason, serverOf(this.#hints));
    }
    // ffmpeg sets the format before the rate and the channels.
    if (/cannot set sample format/.test(text)) {
      return { ...problems.format(pcm), rulesOutPcm: true };
    }
    if (/cannot set (channel count|sample rate)/.test(text)) return problems.format(pcm);
    if (reason === "Invalid argument" && /cannot set/.test(text)) return problems.format(pcm);
    const fix = FIXES[/^-?ESTRPIPE/.test(text) ? "Streams pipe error" : reason];
    return fix === undefined ? null : problems.failed(text, fix);
  }
}

const MOST_HINTS = 8;

// The words of strerror(3) in the C locale, by what they mean for a microphone.

/** EBUSY, EAGAIN */
const BUSY = ["Device or resource busy", "Resource temporarily unavailable"];
/** EACCES, EPERM */
const FORBIDDEN = ["Permission denied", "Operation not permitted"];
/** ENOENT, ENODEV, ENXIO */
const MISSING = ["No such file or directory", "No such device", "No such device or address"];
/** EHOSTDOWN, ECONNREFUSED, ECONNRESET */
const NO_SERVER = ["Host is down", "Connection refused", "Connection reset by peer"];

const CABLE = "Check the cable; then try another USB port, or a hub with its own power supply";
/** What to do about an error that no other problem stands for. */
const FIXES: Readonly<Record<string, string>> = {
  // ENOSPC
  "No space left on device":
    "Plug the microphone into another port or hub, unplug a camera, or lower " +
    "sample_rate: the USB bus has no bandwidth left",
  // ENOMEM
  "Cannot allocate memory":
    "Plug the microphone into another port, or restart the machine: the kernel " +
    "has no memory for it",
  // EIO
  "Input/output error": CABLE,
  // EPROTO, EILSEQ, ETIME, EOVERFLOW: the USB host controller's words for a bad link
  "Protocol error": CABLE,
  "Invalid or incomplete multibyte or wide character": CABLE,
  "Timer expired": CABLE,
  "Value too large for defined data type": CABLE,
  // ETIMEDOUT, EPIPE: the device does not answer, or refuses
  "Connection timed out": `Unplug the microphone and plug it in again. ${CABLE}`,
  "Broken pipe": `Unplug the microphone and plug it in again. ${CABLE}`,
  // ESHUTDOWN, EBADFD: it was unplugged
  "Cannot send after transport endpoint shutdown": CABLE,
  "File descriptor in bad state": CABLE,
  // ESTRPIPE
  "Streams pipe error": "Turn suspend off (sudo systemctl mask sleep.target): the machine slept",
};

function ownProblem(text: string): Diagnosis | null {
  if (/^setpriv: failed to execute/.test(text)) return problems.ffmpegMissing();
  if (/Unknown encoder 'libopus'/.test(text)) return problems.ffmpegIncomplete("libopus encoder");
  if (/Unknown input format: '?alsa/.test(text)) return problems.ffmpegIncomplete("ALSA input");
  return null;
}

/** What ALSA's configuration lacks, if that is why a PCM cannot be opened. */
function configProblem(
  pcm: string,
  hints: readonly string[],
  error: string | null,
): Diagnosis | null {
  if (error === null || !/^cannot open audio device /.test(error)) return null;
  for (const hint of hints) {
    const [, library] = /Cannot open shared library (\S+)/.exec(hint) ?? [];
    if (library !== undefined) return problems.alsaPluginMissing(pcm, library);
  }
  const [broken] = hints.flatMap((hint) =>
    /\((?:_?snd_config_load\w*|parse_\w+)\) (.*)$/.exec(hint)?.[1] ?? []
  );
  const [file] = hints.flatMap((hint) => /(\S+) may be old or corrupted/.exec(hint)?.[1] ?? []);
  if (broken === undefined && file === undefined) return null;
  return problems.alsaConfigBroken(pcm, [file, broken].filter((part) => part).join(": "));
}

/** Without an error of ALSA's input, its library may have said why. */
function diagnoseHint(hint: string, pcm: string): Diagnosis | null {
  return /Cannot get card index|Unknown PCM|No such (file|device)/.test(hint)
    ? problems.missing(pcm)
    : null;
}

/** The sound server that a PCM uses. */
function serverOf(hints: readonly string[]): string {
  const text = hints.join(" ");
  if (/pipewire/i.test(text)) return "PipeWire";
  return /pulse/i.test(text) ? "PulseAudio" : "the sound server (PulseAudio or PipeWire)";
}
