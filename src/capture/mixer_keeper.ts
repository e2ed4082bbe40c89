// Sets the capture level and the automatic gain control of a microphone when it is opened, reads once more whether
// they have stayed so, and restores what was there when its recording ends. What it changes is remembered in the
// spool, so that a later run restores what a killed one has left. It never delays or ends a recording: what cannot be
// set becomes a problem, and one card is worked on at a time, while the recorder continues.

import { AmixerMissingError, type Mixer } from "../microphone/mixer.ts";
import {
  captureControls,
  describeControl,
  type MixerControl,
  valuesAt,
} from "../microphone/mixer_listing.ts";
import {
  type ChangedControl,
  hasMixerMemory,
  readMixerMemory,
  writeMixerMemory,
} from "../microphone/mixer_memory.ts";
import { keyOf, type Microphone } from "../microphone/microphones.ts";
import { ProblemReport, type ProblemReportDeps } from "../status/problem_report.ts";
import { problems } from "../status/problems.ts";
import type { Clock } from "../system/clock.ts";
import { messageOf } from "../system/error_text.ts";

/** What the configuration says; null: leave it as it is. */
export interface MixerSetting {
  /** Percent of the range of the control. */
  readonly volume: number | null;
  readonly agc: "on" | "off" | null;
}

export interface MixerKeeperDeps extends ProblemReportDeps {
  readonly clock: Clock;
  readonly spoolDir: string;
  readonly mixerOf: (card: number) => Mixer;
}

/** At the end of the program, an `amixer` or a disk that hangs is waited for no longer than this. */
const FINISH_MS = 4_000;

/** After a plug udev runs `alsactl restore`, perhaps after the level was set: the level is read again after this. */
const LOOK_AGAIN_MS = 10_000;

/** A control and what it should be. */
interface Change {
  readonly control: MixerControl;
  readonly values: readonly number[];
}

export class MixerKeeper {
  readonly #setting: () => MixerSetting;
  readonly #deps: MixerKeeperDeps;
  readonly #problem: ProblemReport;
  /** What is to be done next, by the key of the microphone: only the last request for each of them counts. */
  readonly #wanted = new Map<string, () => Promise<void>>();
  /** Ends the wait for the second look at the microphone that was opened last. */
  #again = new AbortController();
  /** Resolves when nothing is left to do. Never rejects. */
  #working: Promise<void> | null = null;

  constructor(setting: () => MixerSetting, deps: MixerKeeperDeps) {
    this.#setting = setting;
    this.#deps = deps;
    this.#problem = new ProblemReport(deps);
  }

  /** Call this when a microphone is being opened. Resolves when its level is set. Never rejects. */
  open(microphone: Microphone): Promise<void> {
    this.#again.abort();
    const { signal } = this.#again = new AbortController();
    return this.#request(microphone, async () => {
      await this.#set(microphone);
      this.#setAgain(microphone, signal);
    });
  }

  /**
   * Call this when the recording of a microphone that is still plugged in has ended. Resolves when its level is
   * restored. Never rejects.
   */
  close(microphone: Microphone): Promise<void> {
    this.#again.abort();
    return this.#request(microphone, () => this.#giveBack(microphone));
  }

  /** Call this when a microphone is gone: its card may soon be another one. */
  lost(microphone: Microphone): void {
    this.#again.abort();
    this.#wanted.delete(keyOf(microphone));
  }

  /** Resolves when everything is set and restored, or when that takes too long. */
  async finish(): Promise<void> {
    this.#again.abort();
    if (this.#working === null) return;
    const done = new AbortController();
    this.#working.then(() => done.abort());
    await this.#deps.clock.sleep(FINISH_MS, done.signal);
  }

  #request(microphone: Microphone, work: () => Promise<void>): Promise<void> {
    this.#wanted.set(keyOf(microphone), work);
    return this.#working ??= this.#work();
  }

  async #work(): Promise<void> {
    for (let [next] = this.#wanted; next !== undefined; [next] = this.#wanted) {
      const [key, work] = next;
      this.#wanted.delete(key);
      await work();
    }
    this.#working = null;
  }

  /** Sets it once more after a while, and not again: a level that differs later was set by a person. */
  async #setAgain(microphone: Microphone, signal: AbortSignal): Promise<void> {
    const { volume, agc } = this.#setting();
    if (volume === null && agc === null) return;
    await this.#deps.clock.sleep(LOOK_AGAIN_MS, signal);
    if (!signal.aborted) await this.#request(microphone, () => this.#set(microphone));
  }

  async #set(microphone: Microphone): Promise<void> {
    const setting = this.#setting();
    const { volume, agc } = setting;
    const isWanted = volume !== null || agc !== null;
    if (!isWanted) {
      this.#problem.clear("the level is no longer configured");
      if (!hasMixerMemory(this.#deps.spoolDir)) return;
    }
    const { name, device } = microphone;
    const { noLevelControl } = problems;
    if (device === undefined) {
      if (isWanted) this.#problem.set(noLevelControl(name, "only ALSA knows which card it is"));
      return;
    }
    try {
      const mixer = this.#deps.mixerOf(device.card);
      const controls = await mixer.read();
      const { changes, missing } = changesFor(setting, controls);
      const before = await readMixerMemory(this.#deps.spoolDir, keyOf(microphone));
      const changed = changes.map(({ control, values }): ChangedControl => ({
        name: control.name,
        index: control.index,
        before: before.find((one) => isSame(one, control))?.before ?? control.values,
        set: values,
      }));
      // A control that is no longer configured becomes what it was.
      const dropped = before.filter((one) => !changed.some((other) => isSame(one, other)));
      await writeMixerMemory(this.#deps.spoolDir, keyOf(microphone), [...changed, ...dropped]);
      await this.#apply(mixer, changes, name);
      if (dropped.length > 0) {
        await this.#restore(mixer, controls, dropped, name);
        await writeMixerMemory(this.#deps.spoolDir, keyOf(microphone), changed);
      }
      if (missing === null) this.#problem.clear();
      else this.#problem.set(noLevelControl(name, missing));
    } catch (error) {
      if (!isWanted) return;
      this.#problem.set(
        error instanceof AmixerMissingError
          ? problems.amixerMissing()
          : noLevelControl(name, messageOf(error)),
      );
    }
  }

  async #giveBack(microphone: Microphone): Promise<void> {
    const { spoolDir, mixerOf } = this.#deps;
    const { name, device } = microphone;
    if (device === undefined || !hasMixerMemory(spoolDir)) return;
    try {
      const before = await readMixerMemory(spoolDir, keyOf(microphone));
      if (before.length === 0) return;
      const mixer = mixerOf(device.card);
      await this.#restore(mixer, await mixer.read(), before, name);
      await writeMixerMemory(spoolDir, keyOf(microphone), []);
    } catch (error) {
      this.#deps.log.debug("The capture level is not restored.", { error: messageOf(error) });
    }
  }

  /** Changes all of them that can be changed. @throws the first error. */
  async #apply(mixer: Mixer, changes: readonly Change[], microphone: string): Promise<void> {
    const errors: unknown[] = [];
    for (const { control, values } of changes) {
      if (values.join() === control.values.join()) continue;
      try {
        await mixer.set(control, values);
      } catch (error) {
        errors.push(error);
        continue;
      }
      this.#deps.log.info("Capture level set.", {
        microphone,
        before: describeControl(control),
        now: describeControl({ ...control, values }),
      });
    }
    if (errors.length > 0) throw errors[0];
  }

  /** Only what is still as it was set: otherwise somebody has changed it since, and means it. */
  async #restore(
    mixer: Mixer,
    controls: readonly MixerControl[],
    changed: readonly ChangedControl[],
    microphone: string,
  ): Promise<void> {
    const changes = changed.flatMap(({ name, index, before, set }) => {
      const control = controls.find((control) => isSame(control, { name, index }));
      return control?.values.join() === set.join() ? [{ control, values: before }] : [];
    });
    await this.#apply(mixer, changes, microphone);
  }
}

/** What has to be changed, and what cannot be, in words. */
function changesFor(
  { volume, agc }: MixerSetting,
  controls: readonly MixerControl[],
): { changes: Change[]; missing: string | null } {
  const found = captureControls(controls);
  const changes = [
    ...(volume === null
      ? []
      : found.volume.map((control) => ({ control, values: valuesAt(control, volume) }))),
    // Who asks for a level does not want the microphone to be muted.
    ...(volume === null ? [] : found.switches)
      .map((control) => ({ control, values: control.values.map(() => 1) })),
    ...(agc === null ? [] : found.agc)
      .map((control) => ({ control, values: control.values.map(() => agc === "on" ? 1 : 0) })),
  ];
  const missing = [
    ...(volume !== null && found.volume.length === 0 ? ["its level"] : []),
    ...(agc !== null && found.agc.length === 0 ? ["automatic gain"] : []),
  ];
  return {
    changes,
    missing: missing.length === 0 ? null : `it has no control for ${missing.join(" and for ")}`,
  };
}

function isSame(
  one: { readonly name: string; readonly index: number },
  other: { readonly name: string; readonly index: number },
): boolean {
  return one.name === other.name && one.index === other.index;
}
