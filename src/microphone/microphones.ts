// The microphones of this machine, for the recorder: which one to record now and how to open it, whether
// one was plugged in, and what the system knows about a failure. It does not decide when to look; its
// callers do.

import { parseAudioDevice } from "../config/audio_device.ts";
import { captureAttempts, type CaptureSource, describeOffers } from "./capture_attempts.ts";
import type { ChannelChoice, ChannelSetting } from "./channel_choice.ts";
import { readChannels, writeChannels } from "./known_channels.ts";
import { HangingError } from "../system/child.ts";
import type { Clock } from "../system/clock.ts";
import { type Diagnosis, problems } from "../status/problems.ts";
import { readMicrophones, type RecordedMicrophones, writeMicrophones } from "./last_microphone.ts";
import {
  chooseMicrophone,
  choosePcm,
  identify,
  isSame,
  NoMicrophoneError,
} from "./microphone_choice.ts";
import type { Sighting, SoundEvents } from "./sound_events.ts";
import type { CaptureDevice, SoundSystem } from "./sound_listing.ts";
import {
  readHolders,
  readNodeAccess,
  readSoundNodes,
  readSoundSystem,
  type SoundOptions,
} from "./sound_system.ts";

/** A microphone to record from, with the ways to open it, the best first. */
export interface Microphone {
  /** For people: log, health and tags. */
  readonly name: string;
  /** Why this one was chosen. */
  readonly reason: string;
  readonly attempts: readonly CaptureSource[];
  /** Undefined if only ALSA's configuration knows which device the PCM uses. */
  readonly device?: CaptureDevice;
  /** The microphone recorded last is away; this one is recorded if that one does not come back soon. */
  readonly isStandIn?: boolean;
  /** Not on USB, and recorded only because none is on USB; one on USB replaces it. */
  readonly isStopgap?: boolean;
}

/** The source of the recorder's microphones. */
export interface Microphones {
  /**
   * Looks for the microphone to record, leaving out `without`.
   * @throws {NoMicrophoneError} also if the system cannot be read.
   */
  find(without?: Microphone): Promise<Microphone>;
  /** Whether something was plugged in, or became accessible, since the last look. Never rejects. */
  plugged(): Promise<boolean>;
  /** Resolves when `plugged()` may have news: after `ms` at the latest, or on abort. */
  waitForNews(ms: number, clock: Clock, signal: AbortSignal): Promise<void>;
  /** Saves this one as the last one. @throws the errors of the disk. */
  remember(microphone: Microphone): Promise<void>;
  /**
   * Adds `ms` to the time for which this one was recorded in place of the last one. Resolves with the
   * total, ms, even if the write to the disk fails.
   */
  countStandIn(microphone: Microphone, ms: number): Promise<number>;
  /** What was decided when this one, with this many channels, was heard before. Never rejects. */
  knownChannels(microphone: Microphone, count: number): Promise<ChannelChoice | null>;
  /** Saves what was decided. @throws the errors of the disk. */
  rememberChannels(microphone: Microphone, count: number, choice: ChannelChoice): Promise<void>;
  /** The diagnosis with the details that the system knows. Never rejects. */
  explain(diagnosis: Diagnosis, microphone: Microphone): Promise<Diagnosis>;
}

export interface SystemMicrophonesOptions extends SoundOptions {
  /** As configured; null: any microphone. */
  readonly audioDevice: string | null;
  /** Hz. */
  readonly sampleRate: number;
  /** A number says how many channels are needed. @default "auto" */
  readonly audioChannel?: ChannelSetting;
  /** Where the microphone recorded last is saved. */
  readonly spoolDir: string;
  /** Reports changes of the sound devices; without it they are polled. */
  readonly events?: Pick<SoundEvents, "sighting" | "isCurrent" | "wait">;
}

/** How often they are polled. */
const LOOK_MS = 1_000;
/**
 * While a microphone is wanted, the device nodes are looked at after this, whatever was reported: a helper that lives
 * and reports nothing must not hide a plug.
 */
const MOST_TRUSTED_MS = 60_000;

/** The microphones that ALSA knows. */
export class SystemMicrophones implements Microphones {
  readonly #options: SystemMicrophonesOptions;
  /** Null: not read yet. */
  #recorded: RecordedMicrophones | null = null;
  /** False if `#recorded` is not on the disk yet. */
  #isWritten = true;
  #nodes: { readonly lines: ReadonlySet<string>; readonly seen: Sighting | null } = {
    lines: new Set(),
    seen: null,
  };
  /** What the last look showed, and when it was. */
  #system: { readonly system: SoundSystem; readonly seen: Sighting | null } | null = null;

  constructor(options: SystemMicrophonesOptions) {
    this.#options = options;
  }

  async find(without?: Microphone): Promise<Microphone> {
    const { audioDevice } = this.#options;
    const system = await this.#look();
    const passedOver = without?.device && identify(without.device);
    const devices = system.devices.filter((device) =>
      passedOver === undefined || !isSame(identify(device), passedOver)
    );
    const wanted = parseAudioDevice(audioDevice) ?? { kind: "pcm", pcm: audioDevice ?? "" };
    if (wanted.kind === "pcm") {
      const { pcm } = wanted;
      const choice = choosePcm(pcm, system.devices, await this.#recordedOnes());
      if (choice === null) {
        return { name: pcm, reason: "audio_device names it", attempts: this.#sourcesOf(pcm) };
      }
      const { device, reason, isExpected } = choice;
      return {
        name: device.name,
        reason,
        attempts: this.#sourcesOf({ ...device, alsaName: pcm }),
        device,
        isStandIn: !isExpected,
      };
    }
    const { device, reason, isExpected } = chooseMicrophone(
      wanted,
      { ...system, devices },
      await this.#recordedOnes(),
    );
    return {
      name: device.name,
      reason,
      attempts: this.#sourcesOf(device).map((source) => ({ ...source, isFound: true })),
      device,
      isStandIn: !isExpected,
      isStopgap: wanted.kind === "any" && device.usb === null,
    };
  }

  #sourcesOf(device: CaptureDevice | string) {
    const { sampleRate, audioChannel } = this.#options;
    const least = typeof audioChannel === "number" ? audioChannel : 1;
    return captureAttempts(device, sampleRate, least)
      .map((attempt) => ({ kind: "alsa", ...attempt }) satisfies CaptureSource);
  }

  async plugged(): Promise<boolean> {
    if (this.#isCurrent(this.#nodes.seen, MOST_TRUSTED_MS)) return false;
    try {
      const before = this.#nodes.lines;
      await this.#lookAtNodes();
      const isPlugged = [...this.#nodes.lines].some((line) => !before.has(line));
      if (isPlugged) this.#system = null; // nobody may have reported it
      return isPlugged;
    } catch {
      return false; // find hung on a faulty bus: the usual delays apply
    }
  }

  async waitForNews(ms: number, clock: Clock, signal: AbortSignal): Promise<void> {
    const { events } = this.#options;
    if (events !== undefined) await events.wait(ms, signal);
    else await clock.sleep(Math.min(ms, LOOK_MS), signal);
  }

  async remember({ device }: Microphone): Promise<void> {
    if (device === undefined) return;
    const { last, pcm = null, standIn } = await this.#recordedOnes();
    const found = identify(device);
    const wanted = parseAudioDevice(this.#options.audioDevice);
    const named = wanted?.kind === "pcm" ? wanted.pcm : null;
    // A value that cannot be read at the moment does not make it another microphone.
    const identity = last !== null && isSame(found, last)
      ? {
        ...found,
        vendorProduct: found.vendorProduct ?? last.vendorProduct,
        serial: found.serial ?? last.serial,
      }
      : found;
    const isKnown = JSON.stringify(identity) === JSON.stringify(last) && pcm === named &&
      standIn === null;
    if (isKnown && this.#isWritten) return;
    await this.#write({ last: identity, pcm: named, standIn: null });
  }

  async countStandIn({ device }: Microphone, ms: number): Promise<number> {
    const { last, pcm = null, standIn } = await this.#recordedOnes();
    if (device === undefined || last === null) return 0;
    const identity = identify(device);
    const beforeMs = standIn !== null && isSame(identity, standIn) ? standIn.recordedMs : 0;
    const recordedMs = beforeMs + ms;
    await this.#write({ last, pcm, standIn: { ...identity, recordedMs } }).catch(() => {});
    return recordedMs;
  }

  async #write(recorded: RecordedMicrophones): Promise<void> {
    [this.#recorded, this.#isWritten] = [recorded, false];
    await writeMicrophones(this.#options.spoolDir, recorded);
    this.#isWritten = true;
  }

  async knownChannels(microphone: Microphone, count: number): Promise<ChannelChoice | null> {
    return await readChannels(this.#options.spoolDir, keyOf(microphone), count);
  }

  async rememberChannels(
    microphone: Microphone,
    count: number,
    choice: ChannelChoice,
  ): Promise<void> {
    await writeChannels(this.#options.spoolDir, keyOf(microphone), count, choice);
  }

  async explain(diagnosis: Diagnosis, microphone: Microphone): Promise<Diagnosis> {
    const { name, device } = microphone;
    try {
      if (diagnosis.code === problems.busy.code) {
        return problems.busy(name, await readHolders(device ?? null, this.#options));
      }
      if (device === undefined) return diagnosis;
      if (diagnosis.code === problems.format.code) {
        return problems.format(name, device.offers && describeOffers(device.offers));
      }
      if (diagnosis.code === problems.forbidden.code) {
        return problems.forbidden(name, await readNodeAccess(device, this.#options));
      }
    } catch { /* find or grep hung: ffmpeg's message must be enough */ }
    return diagnosis;
  }

  async #look(): Promise<SoundSystem> {
    if (this.#system !== null && this.#isCurrent(this.#system.seen)) return this.#system.system;
    try {
      // The nodes are read before the system: the next plugged() notices a change in between.
      await this.#lookAtNodes();
      const seen = this.#sighting();
      const system = await readSoundSystem(this.#options);
      this.#system = system.isIncomplete ? null : { system, seen };
      return system;
    } catch (error) {
      if (!(error instanceof HangingError)) throw error;
      throw new NoMicrophoneError(problems.soundSystemHangs(error.message));
    }
  }

  async #lookAtNodes(): Promise<void> {
    const seen = this.#sighting();
    this.#nodes = { lines: await readSoundNodes(this.#options), seen };
  }

  #sighting(): Sighting | null {
    return this.#options.events?.sighting() ?? null;
  }

  /** Whether another look would show the same. */
  #isCurrent(seen: Sighting | null, mostMs?: number): boolean {
    return seen !== null && this.#options.events?.isCurrent(seen, mostMs) === true;
  }

  async #recordedOnes(): Promise<RecordedMicrophones> {
    return this.#recorded ??= await readMicrophones(this.#options.spoolDir);
  }
}

/** Identifies a microphone by its identity; by its name if only ALSA's configuration knows the device. */
export function keyOf({ device, name }: Microphone): string {
  return device === undefined ? name : JSON.stringify(identify(device));
}

/** One microphone that is always connected (for the demo). */
export function singleMicrophone(microphone: Microphone): Microphones {
  return {
    find: () => Promise.resolve(microphone),
    plugged: () => Promise.resolve(false),
    waitForNews: (ms, clock, signal) => clock.sleep(ms, signal),
    remember: () => Promise.resolve(),
    countStandIn: () => Promise.resolve(0),
    knownChannels: () => Promise.resolve(null),
    rememberChannels: () => Promise.resolve(),
    explain: (diagnosis) => Promise.resolve(diagnosis),
  };
}
