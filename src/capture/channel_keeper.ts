// Carries out what channel_choice.ts decides: it remembers and reports which channels of a microphone are
// recorded, and says when others are to be. It decides nothing, and opens nothing.

import {
  type ChannelLevels,
  type ChannelSetting,
  type ChannelState,
  fixedChannels,
  hear,
  listenTo,
  say,
} from "../microphone/channel_choice.ts";
import type { CaptureSource } from "../microphone/capture_attempts.ts";
import type { Microphone, Microphones } from "../microphone/microphones.ts";
import { ProblemReport, type ProblemReportDeps } from "../status/problem_report.ts";
import { problems } from "../status/problems.ts";
import { aborted } from "../system/window.ts";

export interface ChannelKeeperDeps extends ProblemReportDeps {
  /** Queues a write; writes run one after the other. A failure stops nothing else. */
  readonly note: (write: () => Promise<void>) => void;
}

/** A source whose channels are chosen. */
export interface OpenChannels {
  /** With the channels to record now. */
  readonly source: CaptureSource;
  /** Call this when the source gives sound: until then it may not even have these channels. */
  onSound(): void;
  /** Call this with what is heard; null if there is nothing to find out. */
  readonly onLevels: ((levels: ChannelLevels) => void) | null;
  /** Resolves when `source` has other channels than when this was called, or on abort. */
  change(signal: AbortSignal): Promise<void>;
}

export class ChannelKeeper {
  readonly #setting: ChannelSetting;
  readonly #microphones: Microphones;
  readonly #deps: ChannelKeeperDeps;
  readonly #problem: ProblemReport;
  #announced = "";

  constructor(setting: ChannelSetting, microphones: Microphones, deps: ChannelKeeperDeps) {
    this.#setting = setting;
    this.#microphones = microphones;
    this.#deps = deps;
    this.#problem = new ProblemReport(deps);
  }

  /** Ends what it reports, for another keeper to find out. */
  withdraw(why: string): void {
    this.#problem.clear(why);
  }

  /** Call this before a source is recorded. */
  async open(source: CaptureSource, microphone: Microphone): Promise<OpenChannels> {
    if (source.kind === "lavfi") {
      return { source, onSound: () => {}, onLevels: null, change: aborted };
    }
    const { channels: count } = source;
    const fixed = fixedChannels(this.#setting, count);
    if (fixed !== null) {
      return {
        source: { ...source, take: fixed.channels },
        onSound: () => {
          this.#checkSetting(count, microphone);
          if (count > 1) this.#announce(microphone, count, fixed);
        },
        onLevels: null,
        change: aborted,
      };
    }
    const known = await this.#microphones.knownChannels(microphone, count);
    let state = listenTo(count, known);
    let wake = () => {};
    return {
      get source() {
        return { ...source, take: state.choice.channels };
      },
      onSound: () => this.#announce(microphone, count, state.choice),
      onLevels: (levels) => {
        const before = state;
        state = hear(state, levels);
        if (state.choice === before.choice) return;
        const { choice } = state;
        this.#announce(microphone, count, choice);
        this.#deps.note(() => this.#microphones.rememberChannels(microphone, count, choice));
        if (!isSame(before, state)) wake();
      },
      change: async (signal) => {
        const changed = Promise.withResolvers<void>();
        wake = changed.resolve;
        await Promise.race([changed.promise, aborted(signal)]);
      },
    };
  }

  #checkSetting(count: number, { name }: Microphone): void {
    const setting = this.#setting;
    if (typeof setting !== "number" || setting <= count) this.#problem.clear();
    else this.#problem.set(problems.channel(name, setting, count));
  }

  #announce(
    { name }: Microphone,
    count: number,
    { channels, reason }: ChannelState["choice"],
  ): void {
    const text = `${name}\n${say(channels)}\n${reason}`;
    if (text === this.#announced) return;
    this.#announced = text;
    this.#deps.log.info("Channel chosen.", {
      microphone: name,
      recorded: say(channels),
      of: count,
      reason,
    });
  }
}

/** The tag of a chunk: the recorded channels from 1 and the number of all, "1,2/2"; none with one channel. */
export function channelTag(source: CaptureSource): { CHANNEL?: string } {
  if (source.kind === "lavfi" || source.channels === 1 || source.take === undefined) return {};
  return { CHANNEL: `${source.take.map((channel) => channel + 1).join()}/${source.channels}` };
}

function isSame(one: ChannelState, other: ChannelState): boolean {
  return one.choice.channels.join() === other.choice.channels.join();
}
