// The capture side: the options of the recorder, from the settings in force. It decides nothing.

import type { Before } from "../capture/before_start.ts";
import type { RecorderOptions } from "../capture/recorder.ts";
import type { Config } from "../config/config.ts";
import { phaseOf } from "../config/phase.ts";
import { scheduleOf } from "../config/schedule.ts";
import {
  type Microphone,
  type Microphones,
  singleMicrophone,
  SystemMicrophones,
} from "../microphone/microphones.ts";
import type { SoundEvents } from "../microphone/sound_events.ts";
import type { Status } from "../status/status.ts";
import type { Boot, ClockSync } from "../system/clock_sync.ts";
import { runtimeDirectory } from "../system/notify_socket.ts";
import { VERSION } from "../system/version.ts";

export interface CaptureDeps {
  readonly status: Status;
  readonly clockSync: ClockSync;
  readonly soundEvents: SoundEvents;
  readonly boot: Boot;
  readonly before: Before;
  readonly env: Readonly<Record<string, string>>;
  /** IANA name of the local time zone. */
  readonly timeZone: string;
  /** A source of sound in place of the configured one. */
  readonly microphone: Microphone | undefined;
}

/** Makes the recorder's options, whose `microphones` stay the same object while their settings do. */
export class CaptureOptionsMaker {
  readonly #deps: CaptureDeps;
  #microphones: { readonly key: string; readonly source: Microphones } | null = null;

  constructor(deps: CaptureDeps) {
    this.#deps = deps;
  }

  optionsOf(config: Config): RecorderOptions {
    const { status, clockSync, boot, before, env, timeZone } = this.#deps;
    return {
      schedule: scheduleOf(config),
      timeZone,
      stream: {
        chunkSeconds: config.chunkSeconds,
        phase: phaseOf(config.deviceId),
        sampleRate: config.sampleRate,
        bitrateKbps: config.opusBitrateKbps,
        gainDb: config.gainDb,
        highpassHz: config.highpassHz,
        socketDir: runtimeDirectory(env, config.spoolDir),
        vendor: `recorder-agent ${VERSION}`,
        onLevels: (levels) => status.history.heard(levels),
      },
      audioChannel: config.audioChannel,
      mixer: { volume: config.captureVolume, agc: config.captureAgc },
      syncIntervalMs: config.syncIntervalS * 1000,
      tags: {
        POINT_ID: config.pointId,
        REGISTER_ID: config.registerId,
        DEVICE_ID: config.deviceId,
      },
      provisional: (startMs) =>
        clockSync.isTrusted ? undefined : {
          bootId: boot.id,
          startBootUs: Math.max(0, Math.round((startMs + boot.zeroMs) * 1000)),
          seenUnixS: null,
        },
      before,
      microphones: this.#microphonesOf(config),
    };
  }

  #microphonesOf(config: Config): Microphones {
    const { microphone, soundEvents: events } = this.#deps;
    const key = JSON.stringify([config.audioDevice, config.sampleRate, config.audioChannel]);
    if (this.#microphones?.key !== key) {
      const source = microphone === undefined
        ? new SystemMicrophones({ ...config, events })
        : singleMicrophone(microphone);
      this.#microphones = { key, source };
    }
    return this.#microphones.source;
  }
}
