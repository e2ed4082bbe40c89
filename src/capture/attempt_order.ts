// In which order the ways to open a microphone are tried, as a pure state machine for each microphone: how earlier
// attempts ended goes in, the order comes out. It opens nothing, and never waits.
//
//   best first    --- another one gives sound ------> best first, and that one is the best
//                 --- two attempts without sound ---> another rate
//                 --- a plug, if it gave sound -----> best first, and the first one that is listed is the best
//   another rate  --- it gives sound ---------------> best first, and this one is the best
//                 --- two attempts without sound ---> best first; the rate after this one is next
//
// At first, the first one that is listed is the best. Other rates are for a device that offers a rate and does not
// deliver at it. The best one comes again and again, because a bad cable or port says nothing about rates. For the
// same reason a rate that gave sound by chance is not kept over a plug, nor over a night.

import type { CaptureSource } from "../microphone/capture_attempts.ts";
import { keyOf, type Microphone } from "../microphone/microphones.ts";
import { type ProblemCode, problems } from "../status/problems.ts";

/** The best one, or another rate, gets this many attempts in a row. */
const ATTEMPTS = 2;
/** What may end at another rate. */
const WITHOUT_SOUND: readonly ProblemCode[] = [problems.lost.code, problems.stalled.code];

interface State {
  /** Its index among all that are listed. */
  readonly best: number;
  /** Attempts without sound since then. */
  readonly failures: number;
}

export class AttemptOrder {
  readonly #states = new Map<string, State>();

  /** The ways to open it, in the order to try them now. */
  of(microphone: Microphone): CaptureSource[] {
    const { attempts } = microphone;
    const { best, failures } = this.#stateOf(microphone);
    const order = [...attempts.slice(best), ...attempts.slice(0, best)];
    const others = order.filter((source) => rateOf(source) !== rateOf(order[0]));
    const turn = Math.floor(failures / ATTEMPTS);
    const other = turn % 2 === 0 ? undefined : others[(turn - 1) / 2 % others.length];
    return other === undefined ? order : [other, ...order.filter((source) => source !== other)];
  }

  /** It gave sound when it was opened in this way. */
  gaveSound(microphone: Microphone, source: CaptureSource): void {
    const best = Math.max(0, microphone.attempts.indexOf(source));
    this.#states.set(keyOf(microphone), { best, failures: 0 });
  }

  /** It gave no sound, for this reason. */
  failed(microphone: Microphone, code: ProblemCode): void {
    if (!WITHOUT_SOUND.includes(code)) return;
    const { best, failures } = this.#stateOf(microphone);
    this.#states.set(keyOf(microphone), { best, failures: failures + 1 });
  }

  /** It, or something else, has just been plugged in. A device that is gone with each failure must not start over. */
  plugged(microphone: Microphone): void {
    if (this.#stateOf(microphone).failures === 0) this.#states.delete(keyOf(microphone));
  }

  #stateOf(microphone: Microphone): State {
    return this.#states.get(keyOf(microphone)) ?? { best: 0, failures: 0 };
  }
}

function rateOf(source: CaptureSource | undefined): number | undefined {
  return source?.kind === "alsa" ? source.sampleRate : undefined;
}
