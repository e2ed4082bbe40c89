// Reports when a sound card is added, removed or changed, without polling: a helper program of the system,
// `udevadm monitor`, prints the events of the kernel and of udev for sound devices. The helper is started
// when a caller waits for a microphone for the first time, and then runs as long as the service. If it
// cannot run, callers have to poll. This module does not say what changed; that takes a look.

import { byteReader, readAll } from "../system/byte_stream.ts";
import { killIfRunning, spawnBound } from "../system/child.ts";
import type { Clock } from "../system/clock.ts";
import type { Logger } from "../system/log.ts";
import { onAbort } from "../system/on_abort.ts";
import { Wakeup } from "../system/wakeup.ts";
import { PROGRAMS } from "../system/programs.ts";

/**
 * The kernel's events come at once, those of udev when a device node has its group. udevadm prints the line
 * with KERNEL once it listens to both (udevadm-monitor.c of systemd).
 */
const LISTENING = /^KERNEL - /m;
/** The heading has 160 characters. */
const MAX_HEADING = 1000;
/** A card makes a dozen reports within this; one look is enough for all of them. */
const BURST_MS = 100;
/** How often a waiting caller has to look while the helper is not running. */
const UNWATCHED_LOOK_MS = 5_000;
/** A sighting expires after this, whatever was reported. */
const MAX_AGE_MS = 600_000;
/** A helper that ended is started again after 2, 8, 32 s … 1 h. */
const RESTART_MIN_MS = 2_000;
const RESTART_MAX_MS = 3_600_000;
const HOUR_MS = 3_600_000;

/** The moment of a look at the sound system. */
export interface Sighting {
  readonly count: number;
  readonly atMs: number;
}

export interface SoundEventsDeps {
  readonly clock: Clock;
  readonly log: Logger;
  /** Program and arguments of the helper, for tests. */
  readonly helper?: readonly [string, ...string[]];
}

export class SoundEvents {
  readonly #deps: SoundEventsDeps;
  readonly #wanted = new Wakeup();
  readonly #changed = new Wakeup();
  #isWanted = false;
  #isWatching = false;
  /** Number of reports so far; the start and the end of the helper count as one each. */
  #count = 0;

  constructor(deps: SoundEventsDeps) {
    this.#deps = deps;
  }

  /** The present moment. Take it before a look and pass it to `isCurrent`. */
  sighting(): Sighting {
    return { count: this.#count, atMs: this.#deps.clock.monotonicMs() };
  }

  /** Whether a look now would show what the look at that moment, at most `mostMs` ago, showed. */
  isCurrent({ count, atMs }: Sighting, mostMs = MAX_AGE_MS): boolean {
    const ageMs = this.#deps.clock.monotonicMs() - atMs;
    return this.#isWatching && count === this.#count && ageMs < mostMs;
  }

  /** Resolves when it is time to look: after a report, after `ms` at the latest, or on abort. */
  async wait(ms: number, signal: AbortSignal): Promise<void> {
    if (!this.#isWanted) {
      this.#isWanted = true;
      this.#wanted.ring();
    }
    const waitMs = this.#isWatching ? ms : Math.min(ms, UNWATCHED_LOOK_MS);
    await this.#changed.wait(this.#deps.clock, waitMs, signal);
    if (this.#isWatching) await this.#deps.clock.sleep(Math.min(waitMs, BURST_MS), signal);
  }

  /** Runs the helper, once a caller waits, until the signal aborts. Never rejects. */
  async run(signal: AbortSignal): Promise<void> {
    const { clock, log } = this.#deps;
    while (!this.#isWanted && !signal.aborted) await this.#wanted.rung(signal);
    let delayMs = RESTART_MIN_MS;
    while (!signal.aborted) {
      const startedMs = clock.monotonicMs();
      const end = await this.#watch(signal).catch(String);
      if (signal.aborted) return;
      if (clock.monotonicMs() - startedMs >= HOUR_MS) delayMs = RESTART_MIN_MS;
      log.debug("Changes of the sound devices are not reported: polling.", {
        end,
        again_s: delayMs / 1000,
      });
      await clock.sleep(delayMs, signal);
      delayMs = Math.min(delayMs * 4, RESTART_MAX_MS);
    }
  }

  /** Runs one helper, from its start to its end. Resolves with how it ended. */
  async #watch(signal: AbortSignal): Promise<string> {
    const [program, ...args] = this.#deps.helper ??
      [PROGRAMS.udevadm, "monitor", "--kernel", "--udev", "--subsystem-match=sound"];
    const child = spawnBound(program, args, { stdout: "piped", stderr: "null" });
    const reader = byteReader(child.stdout);
    using _ = onAbort(signal, () => {
      killIfRunning(child);
      reader.cancel().catch(() => {}); // should somebody else hold the pipe open
    });
    try {
      let heading = "";
      const decoder = new TextDecoder();
      for await (const bytes of readAll(reader)) {
        // The first events may come together with it.
        if (!this.#isWatching) heading = (heading + decoder.decode(bytes)).slice(0, MAX_HEADING);
        this.#isWatching ||= LISTENING.test(heading);
        if (this.#isWatching) this.#report();
      }
      const { code } = await child.status;
      return `${program} ended with exit code ${code}`;
    } finally {
      this.#isWatching = false;
      this.#report();
    }
  }

  #report(): void {
    this.#count++;
    this.#changed.ring();
  }
}
