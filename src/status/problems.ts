// The catalogue of problems: the code, kind, message and fix of each, here and nowhere else. Pure: the
// worker that finds a problem passes the facts and gets the words. problem_report.ts reports when a problem
// begins and when it is resolved.

import { messageOf } from "../system/error_text.ts";
import { MAX_TEXT, printable } from "../system/printable.ts";

/** What a problem concerns, and whether sound is missing while it lasts. */
export const PROBLEM_KINDS = {
  recording: { isSoundMissing: true },
  /** Sound is recorded, but it may not be the sound that is wanted. */
  sound: { isSoundMissing: false },
  delivery: { isSoundMissing: false },
  storage: { isSoundMissing: false },
  clock: { isSoundMissing: false },
  health: { isSoundMissing: false },
} as const;

export type ProblemKind = keyof typeof PROBLEM_KINDS;

/** Every code, as `/health`, the log and gaps.jsonl show it, with its kind. */
const KIND_OF = {
  microphone_missing: "recording",
  microphone_unclear: "recording",
  microphone_busy: "recording",
  microphone_forbidden: "recording",
  microphone_format: "recording",
  microphone_lost: "recording",
  microphone_stalled: "recording",
  ffmpeg_missing: "recording",
  ffmpeg_incomplete: "recording",
  ffmpeg_stuck: "recording",
  sound_system_hangs: "recording",
  recorder_failed: "recording",
  microphone_silent: "sound",
  microphone_stand_in: "sound",
  upload_failing: "delivery",
  upload_misconfigured: "delivery",
  chunks_passed_over: "delivery",
  chunks_rejected: "delivery",
  spool_failed: "delivery",
  disk_low: "storage",
  disk_failing: "storage",
  janitor_failed: "storage",
  clock_not_synchronized: "clock",
  health_port_unavailable: "health",
} as const satisfies Record<string, ProblemKind>;

export type ProblemCode = keyof typeof KIND_OF;

/** These begin with an ERROR in the log, the others with a WARNING. */
const ERRORS: readonly ProblemCode[] = ["disk_failing", "health_port_unavailable"];

/** A problem in words. */
export interface Diagnosis {
  readonly code: ProblemCode;
  /** What is wrong; without a full stop. */
  readonly message: string;
  /** What a person can do, as an imperative sentence; without a full stop. */
  readonly fix: string;
}

/** All codes, in the order of the catalogue. */
export function problemCodes(): ProblemCode[] {
  return Object.keys(KIND_OF) as ProblemCode[];
}

export function kindOf(code: ProblemCode): ProblemKind {
  return KIND_OF[code];
}

/** Whether sound is missing while this problem lasts. */
export function isSoundMissing(code: ProblemCode): boolean {
  return PROBLEM_KINDS[kindOf(code)].isSoundMissing;
}

/** Whether the log shows the beginning as an ERROR. */
export function isError(code: ProblemCode): boolean {
  return ERRORS.includes(code);
}

/** Message and fix in one line, for a person. */
export function inOneLine({ message, fix }: Pick<Diagnosis, "message" | "fix">): string {
  return printable(`${message}. ${fix}`, MAX_TEXT);
}

const INSTALL_FFMPEG = "sudo apt-get install --yes ffmpeg";

/** The words of each problem. `name` is the name of the microphone, or of the PCM that should be opened. */
export const problems = {
  /** `what` follows "Cannot find a microphone: ". */
  noMicrophone: define("microphone_missing", (what: string) => ({
    message: `Cannot find a microphone: ${what}`,
    fix: "Plug in a USB microphone, or set audio_device (RA_AUDIO_DEVICE) to an ALSA PCM, " +
      "for example plughw:1,0",
  })),

  /** Nothing matches audio_device; `present` says what is connected. */
  noMatch: define("microphone_missing", (audioDevice: string, present: string) => ({
    message: `No microphone matches audio_device "${audioDevice}": ${present}`,
    fix: 'Plug it in, or name another one: "recorder-agent devices" prints the lines to paste',
  })),

  missing: define("microphone_missing", (name: string) => ({
    message: `The microphone ${name} is not connected`,
    fix: 'Plug it in; "recorder-agent devices" lists the microphones that are connected',
  })),

  /** More than one matches audio_device; `matching` lists them. */
  unclear: define("microphone_unclear", (audioDevice: string, count: number, matching: string) => ({
    message: `audio_device "${audioDevice}" matches ${count} microphones: ${matching}`,
    fix: "Name one by the socket that it is plugged into, usb:PATH",
  })),

  /**
   * `holders` may be empty: a user may not see the open files of other users. A process of the agent's own
   * unit, which is probably recording, is never one to kill.
   */
  busy: define(
    "microphone_busy",
    (
      name: string,
      holders: readonly { pid: number; program: string | null; isOwn?: true }[] = [],
    ) => ({
      message: `The microphone ${name} is in use by ` +
        (holders.length === 0
          ? "another program, which this user may not see"
          : holders.map(({ program, pid, isOwn }) =>
            `${program ?? "a program"} (${isOwn ? "of recorder-agent, " : ""}process ${pid})`
          ).join(" and ")),
      fix: stopHolders(holders),
    }),
  ),

  forbidden: define(
    "microphone_forbidden",
    (name: string, access: { path: string; group: string; mode: string } | null = null) => ({
      message: `This user has no permission to open the microphone ${name}` +
        (access === null
          ? ""
          : `: ${access.path} belongs to the group ${access.group} (mode ${access.mode})`),
      fix: access?.group === "root"
        ? "Check that systemd-udevd is running, which gives the device to the group audio"
        : `Add the user to the group ${access?.group ?? "audio"} (sudo usermod -aG ` +
          `${access?.group ?? "audio"} recorder-agent) and restart the service`,
    }),
  ),

  /** `offers` says what the microphone offers, for a person. */
  format: define("microphone_format", (name: string, offers: string | null = null) => ({
    message: `The microphone ${name} does not offer the requested format` +
      (offers === null ? "" : `: it offers ${offers}`),
    // Except for a PCM that is not hw:, the agent has tried plughw:, too, which converts.
    fix: 'Set audio_device to a line that "recorder-agent devices" prints, so that the format is ' +
      "converted; if it is one already, or is not set, use another microphone",
  })),

  lost: define("microphone_lost", (exitCode: number, lastError: string) => ({
    message: `ffmpeg ended (exit code ${exitCode})${lastError === "" ? "" : `: ${lastError}`}`,
    fix: "Wait for the next attempt; if this recurs, check the microphone and its cable",
  })),

  stalled: define("microphone_stalled", (seconds: number) => ({
    message: `The microphone is connected but delivered no sound for ${seconds} s`,
    fix: "Wait for the next attempt; if this recurs, plug the microphone into another port",
  })),

  /** Recording continues. */
  silent: define("microphone_silent", (peakDbfs: number) => ({
    message: `The microphone delivers only silence (peak ${peakDbfs} dBFS)`,
    fix: "Check that it is not muted, switched off or turned down (alsamixer)",
  })),

  /** `reason` says which microphone is recorded, and which one was before. */
  standIn: define("microphone_stand_in", (reason: string) => ({
    message: `Another microphone is recorded in place of the last one: ${reason}`,
    fix: "Plug the last one into its socket again, or name the socket of this one in " +
      "audio_device, usb:PATH",
  })),

  ffmpegMissing: define("ffmpeg_missing", () => ({
    message: "ffmpeg is not installed",
    fix: `Install it: ${INSTALL_FFMPEG}`,
  })),

  /** `part` is what this ffmpeg was built without. */
  ffmpegIncomplete: define("ffmpeg_incomplete", (part: string) => ({
    message: `The installed ffmpeg has no ${part}`,
    fix: `Install the ffmpeg of Debian: ${INSTALL_FFMPEG}`,
  })),

  ffmpegStuck: define("ffmpeg_stuck", (pid: number) => ({
    message: `ffmpeg (process ${pid}) was killed but does not end: a driver holds it`,
    fix: "Unplug the microphone; if that does not help, restart the machine",
  })),

  /** `what` says which program did not answer. */
  soundSystemHangs: define("sound_system_hangs", (what: string) => ({
    message: `Cannot list the microphones: ${what}`,
    fix: "Wait for the next attempt; if this lasts, unplug the USB devices or restart the machine",
  })),

  recorderFailed: define("recorder_failed", (error: unknown) => ({
    message: `Recording failed: ${error instanceof Error ? error.stack : error}`,
    fix: "Report this message; the agent tries again",
  })),

  /** `reason` is the answer of the server, or why there is none. */
  uploadFailing: define("upload_failing", (reason: string) => ({
    message: `Chunks wait because delivery fails: ${reason}`,
    fix: "Wait for the next attempt; if this lasts, run sudo recorder-agent check",
  })),

  uploadMisconfigured: define("upload_misconfigured", (reason: string) => ({
    message: `Nothing can be delivered with these settings: ${reason}`,
    fix: "Compare ingest_base_url and the token with those from the operator of the Ingest API",
  })),

  /** `key` is the key of the chunk that is tried next. */
  chunksPassedOver: define("chunks_passed_over", (count: number, key: string) => ({
    message: `The server fails repeatedly on ${chunks(count)} and accepts others`,
    fix: `Ask the operator of the Ingest API about the chunk with the key ${key}`,
  })),

  /** The chunks are in `dir`, each with its reason. */
  chunksRejected: define("chunks_rejected", (count: number, dir: string) => ({
    message: `Delivery of ${chunks(count)} was given up; the reasons are in ${dir}`,
    fix: "Fix the cause, then run sudo recorder-agent requeue --all",
  })),

  spoolFailed: define("spool_failed", (error: unknown) => ({
    message: `Chunks cannot be listed or moved: ${messageOf(error)}`,
    fix: "Check the disk of spool_dir for errors (sudo dmesg) and for read-only mode (mount)",
  })),

  diskLow: define("disk_low", (freeMb: number) => ({
    message: `${freeMb} MB are free on the disk of spool_dir, and no delivered chunk is left to ` +
      "delete",
    fix: "Free some space, or lower min_free_gb",
  })),

  diskFull: define("disk_failing", () => ({
    message: "The disk is full: recordings wait in memory",
    fix: "Free some space on the disk of spool_dir; do not restart the service before that",
  })),

  diskFailing: define("disk_failing", (error: unknown) => ({
    message: `Writes to the disk fail, recordings wait in memory: ${messageOf(error)}`,
    fix: "Check the disk of spool_dir (sudo dmesg); do not restart the service before that",
  })),

  /** `what` names the first file, or the error. */
  janitorFailed: define("janitor_failed", (what: string) => ({
    message: `Old chunks cannot be deleted: ${what}`,
    fix: "Check who owns the files in spool_dir, and whether its disk is read-only (mount)",
  })),

  clockNotSynchronized: define("clock_not_synchronized", () => ({
    message: "The system clock is not synchronized: chunks wait for their true time",
    fix: "Turn NTP on (sudo timedatectl set-ntp true), and let UDP port 123 through the firewall",
  })),

  healthPortUnavailable: define("health_port_unavailable", (port: number, error: unknown) => ({
    message: `The health server cannot listen on 127.0.0.1:${port}: ${messageOf(error)}`,
    fix: "Stop the program that uses the port, or change health_port and restart the service",
  })),
};

/** A function from the facts to the words, which also knows the code. */
function define<Code extends ProblemCode, Facts extends unknown[]>(
  code: Code,
  words: (...facts: Facts) => Omit<Diagnosis, "code">,
): ((...facts: Facts) => Diagnosis) & { readonly code: Code } {
  return Object.assign((...facts: Facts) => ({ code, ...words(...facts) }), { code });
}

function chunks(count: number): string {
  return count === 1 ? "1 chunk" : `${count} chunks`;
}

/** How to get a microphone back from the processes that have it open. */
function stopHolders(holders: readonly { pid: number; isOwn?: true }[]): string {
  if (holders.length === 0) return "Find it with sudo fuser -v /dev/snd/* and stop it";
  const foreign = holders.filter(({ isOwn }) => isOwn !== true);
  return foreign.length === 0
    ? "Check whether the service is recording (systemctl status recorder-agent); if it is not, " +
      "restart it: sudo systemctl restart recorder-agent"
    : `Stop it: sudo kill ${foreign.map(({ pid }) => pid).join(" ")}`;
}
