// The checks of the sound source: ffmpeg and the microphone, which is recorded for two seconds. A
// microphone that the service is recording, or may be recording, is not opened: the service reports its
// level.

import type { CaptureSource } from "../microphone/capture_attempts.ts";
import { FLOOR_DBFS, isSilent, type Levels } from "../status/levels.ts";
import type { Config } from "../config/config.ts";
import { systemClock } from "../system/clock.ts";
import { type Diagnosis, problems } from "../status/problems.ts";
import { Ffmpeg, FfmpegMissingError } from "../capture/ffmpeg.ts";
import { NoMicrophoneError } from "../microphone/microphone_choice.ts";
import { type Microphone, SystemMicrophones } from "../microphone/microphones.ts";
import type { SoundOptions } from "../microphone/sound_system.ts";
import { isMissing, outputOf } from "../system/child.ts";
import { failed, type Finding, hasFailed, ok, skippedAll, warning } from "./finding.ts";
import { isForeignPort, readHealth } from "./service.ts";
import { ffmpegProgram } from "../system/programs.ts";

const LISTEN_MS = 2000;
/** ffmpeg needs some time to start on a slow board, and some microphones to be opened. */
const START_MS = 20_000;

/**
 * ffmpeg, the microphone that would be recorded, and its level.
 * @param uid of the service that runs; its /health is not asked if another user has its port.
 */
export async function checkMicrophone(
  config: Config | null,
  options: SoundOptions = {},
  uid?: string,
): Promise<Finding[]> {
  const ffmpeg = await checkFfmpeg();
  const name = "microphone";
  const microphones = new SystemMicrophones({
    ...options,
    audioDevice: config?.audioDevice ?? null,
    sampleRate: config?.sampleRate ?? 48_000,
    audioChannel: config?.audioChannel ?? "auto",
    spoolDir: config?.spoolDir ?? "/nonexistent",
  });
  let microphone: Microphone;
  try {
    microphone = await microphones.find();
  } catch (error) {
    if (!(error instanceof NoMicrophoneError)) throw error;
    return [ffmpeg, inWords(name, error.diagnosis), ...skippedAll(["level"], name)];
  }
  const found = ok(name, `${microphone.name}: ${microphone.reason}`);
  // Only the configuration says where to ask the service whether it is recording.
  if (config === null) return [ffmpeg, found, ...skippedAll(["level"], "configuration")];
  const isForeign = await isForeignPort(config.healthPort, uid);
  const health = isForeign ? null : await readHealth(config.healthPort);
  if (health?.recording === true && health.microphone !== microphone.name) {
    const what = `the service records another microphone: ${health.microphone}`;
    const fix = "Restart it so that it uses this configuration: systemctl restart recorder-agent";
    return [ffmpeg, found, warning("level", what, fix)];
  }
  if (health?.recording === true) {
    return [ffmpeg, found, ok("level", "the service is recording it: its /health has the level")];
  }
  if (hasFailed([ffmpeg])) return [ffmpeg, found, ...skippedAll(["level"], ffmpeg.name)];
  return [ffmpeg, found, await checkLevel(microphones, microphone, config)];
}

async function checkFfmpeg(): Promise<Finding> {
  const name = "ffmpeg";
  try {
    const { success, stdout } = await outputOf(ffmpegProgram(), ["-hide_banner", "-encoders"], {
      limitMs: START_MS,
    });
    if (!success || !/\blibopus\b/.test(stdout)) {
      return inWords(name, problems.ffmpegIncomplete("libopus encoder"));
    }
    return ok(name, "is installed and can encode Opus");
  } catch (error) {
    if (!isMissing(error)) throw error;
    return inWords(name, problems.ffmpegMissing());
  }
}

async function checkLevel(
  microphones: SystemMicrophones,
  microphone: Microphone,
  config: Config,
): Promise<Finding> {
  const name = "level";
  let diagnosis: Diagnosis = problems.missing(microphone.name);
  for (const source of microphone.attempts) {
    const heard = await listen(await withKnownChannels(source, microphone, microphones), config);
    if ("recorded" in heard) {
      const { recorded, raw } = heard;
      if (isSilent(raw)) {
        const { message, fix } = problems.silent(raw.peakDbfs);
        return warning(name, message, fix);
      }
      return ok(name, `peak ${recorded.peakDbfs} dBFS, mean ${recorded.rmsDbfs} dBFS in 2 s`);
    }
    diagnosis = heard;
    if (diagnosis.code !== problems.format.code) break;
  }
  return inWords(name, await microphones.explain(diagnosis, microphone));
}

/** The channels that the service has decided to record. */
async function withKnownChannels(
  source: CaptureSource,
  microphone: Microphone,
  microphones: SystemMicrophones,
): Promise<CaptureSource> {
  if (source.kind !== "alsa") return source;
  const known = await microphones.knownChannels(microphone, source.channels);
  return known === null ? source : { ...source, take: known.channels };
}

/** What was heard in two seconds. */
interface Heard {
  /** With gain and highpass. */
  readonly recorded: Levels;
  /** As the microphone gave it. */
  readonly raw: Pick<Levels, "peakDbfs">;
}

/** The levels of two seconds of sound from this source, or why it cannot be opened. */
async function listen(
  source: CaptureSource,
  { gainDb, highpassHz }: Config,
): Promise<Heard | Diagnosis> {
  const dir = await Deno.makeTempDir({ prefix: "recorder-agent-check-" });
  try {
    const sampleRate = source.kind === "alsa" ? source.sampleRate : 48_000;
    const raw = { peakDbfs: FLOOR_DBFS };
    const ffmpeg = Ffmpeg.start(source, {
      bitrateKbps: 24,
      sampleRate,
      gainDb,
      highpassHz,
      socketDir: dir,
      onRawLevels: ({ peakDbfs }) => raw.peakDbfs = Math.max(raw.peakDbfs, peakDbfs),
    }, () => {});
    let isStopping = false;
    let limit = setTimeout(() => stop(), START_MS);
    const stop = () => {
      isStopping = true;
      stopped = ffmpeg.stop(systemClock);
    };
    let stopped: Promise<boolean> | null = null;
    let heardMs = 0;
    for await (const _bytes of ffmpeg.sound()) {
      if (heardMs > 0) continue;
      heardMs = systemClock.monotonicMs();
      clearTimeout(limit);
      limit = setTimeout(() => stop(), LISTEN_MS);
    }
    clearTimeout(limit);
    if (!await (stopped ?? ffmpeg.stop(systemClock))) return problems.ffmpegStuck(ffmpeg.pid);
    const diagnosis = await ffmpeg.ended;
    const recorded = ffmpeg.levels?.take(Number.MAX_SAFE_INTEGER) ?? null;
    if (recorded !== null) return { recorded, raw };
    return isStopping ? problems.stalled(START_MS / 1000) : diagnosis;
  } catch (error) {
    if (error instanceof FfmpegMissingError) return error.diagnosis;
    throw error;
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
}

function inWords(name: string, { message, fix }: Diagnosis): Finding {
  return failed(name, message, fix);
}
