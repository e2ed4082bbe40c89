// The catalogue of problems: the code, kind, message and fix of each, here and nowhere else. Pure: the
// worker that finds a problem passes the facts and gets the words. problem_report.ts reports when a problem
// begins and when it is resolved. The module is long because it is one table: what a person reads about any
// problem is here, and can be compared.

import { messageOf } from "../system/error_text.ts";
import { MAX_TEXT, printable } from "../system/printable.ts";
import { type Holder, stopHolders } from "./holders.ts";

/** What a problem concerns. */
export type ProblemKind =
  /** Sound is missing. */
  | "recording"
  /** Sound is recorded, but it may not be the sound that is wanted. */
  | "sound"
  | "delivery"
  | "storage"
  | "clock"
  | "health"
  | "settings";

/** Every code, as `/health`, the log and gaps.jsonl show it, with its kind. */
const KIND_OF = {
  microphone_missing: "recording",
  microphone_unclear: "recording",
  microphone_busy: "recording",
  microphone_forbidden: "recording",
  microphone_format: "recording",
  microphone_lost: "recording",
  microphone_stalled: "recording",
  alsa_config_broken: "recording",
  ffmpeg_missing: "recording",
  ffmpeg_incomplete: "recording",
  ffmpeg_stuck: "recording",
  sound_system_hangs: "recording",
  recorder_failed: "recording",
  recording_paused: "recording",
  microphone_silent: "sound",
  microphone_stand_in: "sound",
  microphone_channel: "sound",
  microphone_stuck: "sound",
  microphone_clipping: "sound",
  microphone_too_quiet: "sound",
  microphone_rate: "sound",
  schedule_overlaps: "sound",
  capture_volume_unavailable: "sound",
  upload_failing: "delivery",
  upload_misconfigured: "delivery",
  upload_too_slow: "delivery",
  chunks_passed_over: "delivery",
  chunks_rejected: "delivery",
  spool_failed: "delivery",
  disk_low: "storage",
  disk_failing: "storage",
  janitor_failed: "storage",
  clock_not_synchronized: "clock",
  time_zone_rules: "clock",
  health_port_unavailable: "health",
  metrics_push_failing: "health",
  heartbeat_failing: "health",
  config_not_applied: "settings",
  restart_needed: "settings",
  settings_on_card: "settings",
  update_rolled_back: "health",
} as const satisfies Record<string, ProblemKind>;

export type ProblemCode = keyof typeof KIND_OF;

/** These begin with an ERROR in the log, the others with a WARNING. */
const ERRORS: readonly ProblemCode[] = ["disk_failing", "health_port_unavailable"];

/** These say what may be wrong. They are shown, and make neither the status degraded nor a heartbeat fail. */
const HINTS: readonly ProblemCode[] = ["microphone_too_quiet"];

/** A problem in words. */
export interface Diagnosis {
  readonly code: ProblemCode;
  /** What is wrong; without a full stop. */
  readonly message: string;
  /** What a person can do, as an imperative sentence; without a full stop. */
  readonly fix: string;
  /** The PCM cannot be opened with another rate or channel count either. */
  readonly rulesOutPcm?: boolean;
}

/** All codes, in the order of the catalogue. */
export function problemCodes(): ProblemCode[] {
  return Object.keys(KIND_OF) as ProblemCode[];
}

/** What the problem concerns. */
export function kindOf(code: ProblemCode): ProblemKind {
  return KIND_OF[code];
}

/** Whether sound is missing while this problem lasts. */
export function isSoundMissing(code: ProblemCode): boolean {
  return kindOf(code) === "recording";
}

/** Whether the till is well with this problem. */
export function isHint(code: ProblemCode): boolean {
  return HINTS.includes(code);
}

/** Whether the log shows the beginning as an ERROR. */
export function isError(code: ProblemCode): boolean {
  return ERRORS.includes(code);
}

/** Message and fix in one line, for a person. */
export function inOneLine({ message, fix }: Pick<Diagnosis, "message" | "fix">): string {
  return printable(`${message}. ${fix}`, MAX_TEXT);
}

/** What helps against 413. */
const RAISE_LIMIT = "Raise the size limit of the server and of the proxies before it " +
  "(nginx: client_max_body_size), or lower chunk_seconds for the next recordings";
/** What the service uses while its configuration is wrong. */
const IN_FORCE = {
  earlier: "the settings of before are in force",
  last_good: "the settings that worked last are in force",
  without_delivery: "the service works without what is wrong, and chunks may wait",
};
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

  /** `server` is the sound server that the PCM uses, `reason` the error of the attempt to reach it. */
  noSoundServer: define("microphone_missing", (name: string, reason: string, server: string) => ({
    message: `The PCM ${name} belongs to ${server}, which does not run for this user (${reason})`,
    fix:
      'Set audio_device to a line that "recorder-agent devices" prints, or start the sound server',
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
    (name: string, holders: readonly Holder[] = []) => ({
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

  /** `error` is what ffmpeg's ALSA input reported. */
  failed: define("microphone_lost", (error: string, fix: string) => ({
    message: `The microphone cannot be recorded: ${error}`,
    fix,
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

  /** Every sample is the same, far from 0. Recording continues. `offset` is its value; 1 is full scale. */
  stuck: define("microphone_stuck", (offset: number) => ({
    message: `The microphone delivers a constant, ${Math.round(offset * 100)} % of full scale`,
    fix: "Unplug the microphone and plug it in again; if this recurs, use another microphone",
  })),

  /** Recording continues. */
  clipping: define("microphone_clipping", () => ({
    message: "The microphone is overdriven: loud sound is cut off at full scale",
    fix: "Turn its capture level down (alsamixer, F4), switch its boost off, or move it away",
  })),

  /** The same, but the microphone itself is not overdriven. Recording continues. */
  gainTooHigh: define("microphone_clipping", () => ({
    message: "The recording is overdriven by gain_db: loud sound is cut off at full scale",
    fix: "Set gain_db to a lower value",
  })),

  /** Recording continues. `peakDbfs` is the loudest that was heard in `hours`. */
  tooQuiet: define("microphone_too_quiet", (peakDbfs: number, hours: number) => ({
    message:
      `The microphone hears speech hardly or not at all (peak ${peakDbfs} dBFS in ${hours} h)`,
    fix: "Turn its capture level up (alsamixer, F4), or move it closer to the people who speak",
  })),

  /** Samples a second. Recording continues. */
  rate: define("microphone_rate", (measuredHz: number, reportedHz: number) => ({
    message: `The microphone delivers ${hertz(measuredHz)} samples a second and reports ` +
      `${hertz(reportedHz)}: ` + (measuredHz > reportedHz
        ? "recordings play too slow and too low"
        : "sound is lost on the way, or recordings play too fast and too high"),
    fix: "Plug it into another port, without a hub, and check whether the machine is overloaded; " +
      "if this lasts, use another microphone",
  })),

  /** `reason` says which microphone is recorded, and which one was before. */
  standIn: define("microphone_stand_in", (reason: string) => ({
    message: `Another microphone is recorded in place of the last one: ${reason}`,
    fix: "Plug the last one into its socket again, or name the socket of this one in " +
      "audio_device, usb:PATH",
  })),

  /** Channels count from 1; `count` is how many there are. Recording continues. */
  channel: define("microphone_channel", (name: string, wanted: number, count: number) => ({
    message: `The microphone ${name} has ${count === 1 ? "1 channel" : `${count} channels`}, and ` +
      `audio_channel is ${wanted}: channel ${count} is recorded`,
    fix: count === 1
      ? "Remove audio_channel from the configuration, or set it to auto"
      : `Set audio_channel to auto, mix or a number from 1 to ${count}`,
  })),

  /** `what` says why. Recording continues with the level that there is. */
  noLevelControl: define("capture_volume_unavailable", (name: string, what: string) => ({
    message: `The capture level of the microphone ${name} cannot be set: ${what}`,
    fix: "Set gain_db in place of capture_volume, and remove what it has no control for: " +
      '"recorder-agent devices" lists the controls',
  })),

  amixerMissing: define("capture_volume_unavailable", () => ({
    message: "The capture level cannot be set: amixer is not installed",
    fix: "Install it: sudo apt-get install --yes alsa-utils",
  })),

  /** `overlaps` says which parts of the schedule, and when. Sound is recorded in all of them. */
  scheduleOverlaps: define("schedule_overlaps", (overlaps: readonly string[]) => ({
    message: `The schedule overlaps itself: ${overlaps.join("; ")}`,
    fix: "Set schedule so that every hour is in one part of it; until then, sound is recorded " +
      "whenever one part says so",
  })),

  /** `what` names the file and quotes the place. */
  alsaConfigBroken: define("alsa_config_broken", (name: string, what: string) => ({
    message: `ALSA's configuration, which defines the PCM ${name}, cannot be read: ${what}`,
    fix:
      'Fix the file (asound.conf), or set audio_device to a line that "recorder-agent devices" prints',
  })),

  alsaPluginMissing: define("alsa_config_broken", (name: string, library: string) => ({
    message: `The PCM ${name} needs ${library}, which cannot be opened`,
    fix: "Install it: sudo apt-get install --yes libasound2-plugins",
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

  /** `until` is a local time. */
  paused: define("recording_paused", (until: string) => ({
    message: `Recording is paused by a command until ${until}`,
    fix: "Wait until then, or run sudo recorder-agent resume",
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

  /** The server refused a chunk, and no other one was accepted since. `reason` is its answer. */
  uploadRefused: define("upload_failing", (reason: string) => ({
    message: `Chunks wait because nothing is accepted: ${reason}`,
    fix: "Ask the operators of the Ingest API and of any proxy what this answer means; " +
      "once it is fixed, the chunks are delivered by themselves",
  })),

  /** The same for 413. `sizeBytes` is the size of the refused chunk. */
  uploadTooLarge: define("upload_failing", (reason: string, sizeBytes: number) => ({
    message: `Chunks wait because one of ${kilobytes(sizeBytes)} is too large: ${reason}`,
    fix: RAISE_LIMIT,
  })),

  uploadMisconfigured: define("upload_misconfigured", (reason: string) => ({
    message: `Nothing can be delivered with these settings: ${reason}`,
    fix: "Compare ingest_base_url and the token with those from the operator of the Ingest API",
  })),

  /**
   * Kilobits a second: what the line delivers, and what the recording produces. `fullInMs` is the time
   * until the spool is full at these rates.
   */
  uploadTooSlow: define(
    "upload_too_slow",
    (lineKbps: number, soundKbps: number, fullInMs: number) => ({
      message: `The line delivers ${rate(lineKbps)} kbit/s and the recording produces ` +
        `${rate(soundKbps)} kbit/s; at these rates the spool is full in ${roughly(fullInMs)}`,
      fix: "Get a faster line, or lower opus_bitrate_kbps; when the spool is full, " +
        "the oldest chunks are deleted",
    }),
  ),

  /** `key` is the key of the chunk that is tried next. */
  chunksPassedOver: define("chunks_passed_over", (count: number, key: string) => ({
    message: `The server fails repeatedly on ${chunks(count)} and accepts others`,
    fix: `Ask the operator of the Ingest API about the chunk with the key ${key}`,
  })),

  /** The same if the cause is their size. `sizeBytes` is the size of the smallest of them. */
  chunksTooLarge: define("chunks_passed_over", (count: number, sizeBytes: number) => ({
    message: `${chunks(count)} of ${kilobytes(sizeBytes)} and more ${
      count === 1 ? "is" : "are"
    } too large (413), and smaller ones are accepted`,
    fix: RAISE_LIMIT,
  })),

  /** The chunks are in `dir`, each with its reason. */
  chunksRejected: define("chunks_rejected", (count: number, dir: string) => ({
    message: `The server refused ${chunks(count)} and accepted others; the reasons are in ${dir}`,
    fix: "Fix the cause, then run sudo recorder-agent requeue --all; " +
      "without that, one of them is tried again after 1, 2, 4 … 24 h",
  })),

  spoolFailed: define("spool_failed", (error: unknown) => ({
    message: `Chunks cannot be read, listed or moved: ${messageOf(error)}`,
    fix: "Check the disk of spool_dir for errors (sudo dmesg) and for read-only mode (mount)",
  })),

  /** The server has these chunks. */
  chunksUnfiled: define("spool_failed", (count: number, error: unknown) => ({
    message: `${chunks(count)} cannot be moved after delivery: ${messageOf(error)}`,
    fix: "Check the disk of spool_dir for errors (sudo dmesg) and for read-only mode (mount); " +
      "after a restart they are sent once more, and the server knows them",
  })),

  /** They are to blame, and stay in outbox/. */
  chunksUnmoved: define("spool_failed", (count: number, error: unknown) => ({
    message: `${chunks(count)} cannot be moved to rejected/: ${messageOf(error)}`,
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

  /** `said` is the local time that the clock showed at the start. */
  clockNotSynchronized: define("clock_not_synchronized", (said: string) => ({
    message: `The system clock is not synchronized (at the start it said ${said}): ` +
      "the schedule follows it, and chunks wait for their true time",
    fix: "Turn NTP on (sudo timedatectl set-ntp true), and let UDP port 123 through the firewall",
  })),

  /** Offsets from UTC, such as "+03:00". */
  timeZoneRules: define("time_zone_rules", (zone: string, own: string, machine: string) => ({
    message:
      `In ${zone} it is UTC${own} by the rules of this program, and ${machine} by those of ` +
      "the machine",
    fix: "Install the latest recorder-agent and the latest tzdata (sudo apt-get install tzdata); " +
      "until then, the hours of the schedule are those of this program",
  })),

  healthPortUnavailable: define("health_port_unavailable", (port: number, error: unknown) => ({
    message: `The health server cannot listen on 127.0.0.1:${port}: ${messageOf(error)}`,
    fix: "Stop the program that uses the port, or change health_port and restart the service",
  })),

  /** `reason` is the answer of the receiver, or why there is none. */
  metricsPushFailing: define("metrics_push_failing", (reason: string) => ({
    message: `Metrics wait because they cannot be pushed: ${reason}`,
    fix: "Compare otlp_endpoint and otlp_headers with those of the receiver",
  })),

  heartbeatFailing: define("heartbeat_failing", (reason: string) => ({
    message: `The monitor cannot be told that this till is well: ${reason}`,
    fix: "Compare heartbeat_url with the one from the monitor",
  })),

  /** `lines` say what is wrong with the configuration as it is written. */
  configNotApplied: define("config_not_applied", (
    lines: readonly string[],
    inForce: "earlier" | "last_good" | "without_delivery",
  ) => ({
    message: `The configuration is wrong, and ${IN_FORCE[inForce]}: ${some(lines)}`,
    fix: "Check it with sudo recorder-agent check and correct it, then run " +
      "sudo systemctl reload recorder-agent",
  })),

  /** These keys were changed while the service runs. */
  restartNeeded: define("restart_needed", (keys: readonly string[]) => ({
    message: `These settings were changed, and only a restart applies them: ${keys.join(", ")}`,
    fix: "Set them back, or restart the service: sudo systemctl restart recorder-agent",
  })),

  /** `path` is a file with settings that was not taken, or not removed. */
  settingsOnCard: define("settings_on_card", (path: string) => ({
    message:
      `Settings are still on the card (${path}): not accepted, or the card cannot be written`,
    fix:
      "Check why (sudo journalctl --unit recorder-agent-setup), then correct or delete it: it may hold the token",
  })),

  /** `version` is that of the program that did not stay, or empty. `reason` follows "as". */
  updateRolledBack: define("update_rolled_back", (version: string, reason: string) => ({
    message: `The update${version === "" ? "" : ` to ${version}`} was rolled back as ${reason}`,
    fix: "Find out why (sudo journalctl --unit recorder-agent), then update again",
  })),
};

/** A function from the facts to the words, which also knows the code. */
function define<Code extends ProblemCode, Facts extends unknown[]>(
  code: Code,
  words: (...facts: Facts) => Omit<Diagnosis, "code">,
): ((...facts: Facts) => Diagnosis) & { readonly code: Code } {
  return Object.assign((...facts: Facts) => ({ code, ...words(...facts) }), { code });
}

/** The first three of them. */
function some(lines: readonly string[]): string {
  const more = lines.length > 3 ? [`and ${lines.length - 3} more`] : [];
  return [...lines.slice(0, 3), ...more].join("; ");
}

function chunks(count: number): string {
  return count === 1 ? "1 chunk" : `${count} chunks`;
}

/** To the next ten: what is measured is not more exact. */
function hertz(hz: number): string {
  return (Math.round(hz / 10) * 10).toLocaleString("en");
}

function kilobytes(sizeBytes: number): string {
  return `${Math.ceil(sizeBytes / 1000)} kB`;
}

/** Two digits at least. */
function rate(kbps: number): string {
  return kbps < 9.95 ? kbps.toFixed(1) : String(Math.round(kbps));
}

/** "about 3 hours", "about 12 days". */
function roughly(ms: number): string {
  const hours = ms / 3_600_000;
  if (hours < 1.5) return "about an hour";
  return hours < 48 ? `about ${Math.round(hours)} hours` : `about ${Math.round(hours / 24)} days`;
}
