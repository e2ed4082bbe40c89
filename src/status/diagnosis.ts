// Why no sound comes, in words: each cause has a code, a message and what mends it, here and nowhere
// else. Pure: who finds a cause asks for its words.

/** The codes, as `/health`, the log and gaps.jsonl show them. */
export const DIAGNOSIS_CODES = [
  "microphone_missing",
  "microphone_unclear",
  "microphone_busy",
  "microphone_forbidden",
  "microphone_format",
  "microphone_lost",
  "microphone_stalled",
  "microphone_silent",
  "microphone_stand_in",
  "ffmpeg_missing",
  "ffmpeg_incomplete",
  "ffmpeg_stuck",
  "sound_system_hangs",
  "recorder_failed",
] as const;

export type DiagnosisCode = typeof DIAGNOSIS_CODES[number];

export interface Diagnosis {
  readonly code: DiagnosisCode;
  /** What is wrong; without a full stop. */
  readonly message: string;
  /** What mends it; without a full stop. */
  readonly mend: string;
}

/** Whether no sound comes while there is this problem. */
export function silences(code: string): boolean {
  const isRecorded = code === "microphone_silent" || code === "microphone_stand_in";
  return DIAGNOSIS_CODES.some((known) => known === code) && !isRecorded;
}

/** Both in one line, for a person. */
export function inOneLine({ message, mend }: Diagnosis): string {
  return `${message}. ${mend}`;
}

const INSTALL = "apt-get install --yes ffmpeg";

/** The words for each cause. `name` is the microphone's, or the PCM's that was to be opened. */
export const diagnoses = {
  /** `what` goes on after "Cannot find a microphone: ". */
  noMicrophone: (what: string): Diagnosis => ({
    code: "microphone_missing",
    message: `Cannot find a microphone: ${what}`,
    mend: "Plug in a USB microphone, or name an ALSA PCM in audio_device (RA_AUDIO_DEVICE), " +
      "for instance plughw:1,0",
  }),

  /** Nothing fits audio_device; `present` says what there is. */
  noneFits: (audioDevice: string, present: string): Diagnosis => ({
    code: "microphone_missing",
    message: `No microphone fits audio_device "${audioDevice}": ${present}`,
    mend: 'Plug it in, or name another one ("recorder-agent devices" has the words to paste)',
  }),

  missing: (name: string): Diagnosis => ({
    code: "microphone_missing",
    message: `The microphone ${name} is not there`,
    mend: 'Plug it in; "recorder-agent devices" lists what there is',
  }),

  /** More than one fits audio_device; `fitting` lists them. */
  unclear: (audioDevice: string, count: number, fitting: string): Diagnosis => ({
    code: "microphone_unclear",
    message: `audio_device "${audioDevice}" fits ${count} microphones: ${fitting}`,
    mend: "Name one by the socket it is plugged into, usb:PATH",
  }),

  /** `holders` may be empty: other users' open files are not for everyone to see. */
  busy: (
    name: string,
    holders: readonly { pid: number; program: string | null }[] = [],
  ): Diagnosis => ({
    code: "microphone_busy",
    message: `The microphone ${name} is in use by ` +
      (holders.length === 0
        ? "another program, which this user may not see"
        : holders.map(({ program, pid }) => `${program ?? "a program"} (process ${pid})`)
          .join(" and ")),
    mend: holders.length === 0
      ? "Find it with sudo fuser -v /dev/snd/* and stop it"
      : `Stop it: sudo kill ${holders.map(({ pid }) => pid).join(" ")}`,
  }),

  forbidden: (
    name: string,
    access: { path: string; group: string; mode: string } | null = null,
  ): Diagnosis => {
    const group = access?.group ?? "audio";
    return {
      code: "microphone_forbidden",
      message: `The microphone ${name} may not be opened by this user` +
        (access === null
          ? ""
          : `: ${access.path} is for the group ${access.group} (mode ${access.mode})`),
      mend: group === "root"
        ? "Let udev give it to the group audio: is systemd-udevd running?"
        : `Put the user into the group ${group} (sudo usermod -aG ${group} recorder-agent) and ` +
          "restart the service",
    };
  },

  /** `offers` says what it offers, for people. */
  format: (name: string, offers: string | null = null): Diagnosis => ({
    code: "microphone_format",
    message: `The microphone ${name} does not offer the format that was asked for` +
      (offers === null ? "" : `: it offers ${offers}`),
    mend: "Try audio_device: plughw:…, which converts",
  }),

  lost: (exitCode: number, lastError: string): Diagnosis => ({
    code: "microphone_lost",
    message: `ffmpeg ended (exit code ${exitCode})${lastError === "" ? "" : `: ${lastError}`}`,
    mend: "It is started again; if that goes on, look at the microphone and its cable",
  }),

  stalled: (seconds: number): Diagnosis => ({
    code: "microphone_stalled",
    message: `The microphone gave nothing for ${seconds} s though it is there`,
    mend: "It is opened again; if that goes on, plug it into another port",
  }),

  /** It is recorded all the same. */
  silent: (peakDbfs: number): Diagnosis => ({
    code: "microphone_silent",
    message: `The microphone hears nothing (peak ${peakDbfs} dBFS)`,
    mend: "Is it muted, switched off, or turned down (alsamixer)?",
  }),

  /** `reason` says which is recorded, and which was before; that one is recorded all the same. */
  standIn: (reason: string): Diagnosis => ({
    code: "microphone_stand_in",
    message: `Another microphone is recorded in place of the last one: ${reason}`,
    mend:
      "Plug the last one in again where it was, or name the socket of this one in audio_device, " +
      "usb:PATH",
  }),

  ffmpegMissing: (): Diagnosis => ({
    code: "ffmpeg_missing",
    message: "ffmpeg is not installed",
    mend: `Install it: ${INSTALL}`,
  }),

  /** `part` is what this ffmpeg was built without. */
  ffmpegIncomplete: (part: string): Diagnosis => ({
    code: "ffmpeg_incomplete",
    message: `This ffmpeg has no ${part}`,
    mend: `Install Debian's: ${INSTALL}`,
  }),

  ffmpegStuck: (pid: number): Diagnosis => ({
    code: "ffmpeg_stuck",
    message: `ffmpeg (process ${pid}) does not end though it was killed: a driver holds it`,
    mend: "Unplug the microphone; if that does not help, restart the machine",
  }),

  /** `what` says which program did not answer. */
  soundSystemHangs: (what: string): Diagnosis => ({
    code: "sound_system_hangs",
    message: `Cannot see which microphones there are: ${what}`,
    mend: "It is tried again; if that goes on, unplug what is on USB, or restart the machine",
  }),

  recorderFailed: (error: unknown): Diagnosis => ({
    code: "recorder_failed",
    message: `Recording failed: ${error instanceof Error ? error.stack : error}`,
    mend: "It is tried again; please report it",
  }),
};
