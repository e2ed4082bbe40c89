// Finds out whether the system clock can be trusted. A Pi has no battery for its clock: it boots with a
// time in the past, and its UTC is wrong until a time server answers. This module waits for that. It
// never acts on it: others correct the times of waiting chunks and decide what has expired.

import { isMissing, outputOf } from "./child.ts";
import type { Clock } from "./clock.ts";
import type { Logger } from "./log.ts";
import { exists } from "./disk.ts";
import { PROGRAMS } from "./programs.ts";

/** systemd-timesyncd creates this file when it has set the clock in this boot. */
const TIMESYNCD_FLAG = "/run/systemd/timesync/synchronized";
/** Exists if the machine was booted with systemd: sd_booted(3). */
const SYSTEMD_RUNS = "/run/systemd/system";
/** A clock that shows an earlier time is wrong: the program did not exist then. */
const EARLIEST_UNIX_MS = Date.UTC(2026, 0, 1);
/** How often the cheap signs are checked: timesyncd's flag, and whether the clock was stepped. */
const CHECK_MS = 10_000;
/** A larger change between the clocks counts as a step. chrony and timesyncd step from 0.4 s. */
const STEP_MS = 100;
/** Without a sign, the system is asked after 10, 20, 40 s … 10 min, because that starts a program. */
const ASK_MIN_MS = 10_000;
const ASK_MAX_MS = 600_000;

/** One boot of the machine. Monotonic times are comparable only within one boot. */
export interface Boot {
  /** Eight hex digits of the kernel's boot id. */
  readonly id: string;
  /** Milliseconds since boot at the monotonic clock's zero. */
  readonly zeroMs: number;
}

/** Resolves to true or false, or to null if nothing on this machine knows. */
export type SyncProbe = () => Promise<boolean | null>;

export class ClockSync {
  readonly #clock: Clock;
  readonly #probe: SyncProbe;
  readonly #log: Logger;
  readonly #hasFlag: () => Promise<boolean>;
  #trusted = false;

  /** @param deps.hasFlag a cheap check for a sign that the clock has been set. */
  constructor(
    deps: { clock: Clock; log: Logger; probe?: SyncProbe; hasFlag?: () => Promise<boolean> },
  ) {
    this.#clock = deps.clock;
    this.#log = deps.log;
    this.#probe = deps.probe ?? probeSystem;
    this.#hasFlag = deps.hasFlag ?? (() => isThere(TIMESYNCD_FLAG));
  }

  get isTrusted(): boolean {
    return this.#trusted;
  }

  /** Checks now. If nothing on this machine knows, a clock with a plausible date is trusted. */
  async look(): Promise<boolean> {
    const possible = this.#clock.unixMs() >= EARLIEST_UNIX_MS;
    this.#trusted = possible && (await this.#probe() ?? true);
    return this.#trusted;
  }

  /** Waits until the clock is trusted or the signal aborts; calls `onWaiting` if it has to wait. */
  async run(signal: AbortSignal, onWaiting: () => void): Promise<void> {
    const sinceMs = this.#clock.monotonicMs();
    if (!await this.look() && !signal.aborted) {
      onWaiting();
      let askAfterMs = ASK_MIN_MS;
      do {
        // The answer may follow its sign by some seconds: then the system is asked again soon.
        const isSign = await this.#waitForSign(askAfterMs, signal);
        askAfterMs = isSign ? ASK_MIN_MS : Math.min(askAfterMs * 2, ASK_MAX_MS);
      } while (!signal.aborted && !await this.look());
    }
    if (signal.aborted) return;
    this.#log.info("The system clock is synchronized.", {
      waited_s: Math.round((this.#clock.monotonicMs() - sinceMs) / 1000),
    });
  }

  /** True at a sign that the clock may have been set; false after `ms`, or on abort. */
  async #waitForSign(ms: number, signal: AbortSignal): Promise<boolean> {
    const offsetMs = () => this.#clock.unixMs() - this.#clock.monotonicMs();
    const [beforeMs, endMs] = [offsetMs(), this.#clock.monotonicMs() + ms];
    while (!signal.aborted && this.#clock.monotonicMs() < endMs) {
      await this.#clock.sleep(Math.min(CHECK_MS, endMs - this.#clock.monotonicMs()), signal);
      if (Math.abs(offsetMs() - beforeMs) > STEP_MS || await this.#hasFlag()) return true;
    }
    return false;
  }
}

/**
 * Reads timesyncd's flag, else the kernel's state (adjtimex) from timedatectl, whichever NTP daemon set
 * it. Null only on a machine without systemd. If systemd does not answer, for example early in a boot, the
 * result is false.
 */
export async function probeSystem(): Promise<boolean | null> {
  if (await isThere(TIMESYNCD_FLAG)) return true;
  if (!await isThere(SYSTEMD_RUNS)) return null;
  try {
    const args = ["show", "--property=NTPSynchronized", "--value"];
    const { stdout } = await outputOf(PROGRAMS.timedatectl, args);
    return stdout.trim() === "yes";
  } catch (error) {
    return isMissing(error) ? null : false;
  }
}

/** False, too, if the file cannot be seen. */
async function isThere(path: string): Promise<boolean> {
  return await exists(path).catch(() => false);
}

/**
 * The current boot, from the kernel. If it cannot be read, the result has a random id: monotonic times are
 * then comparable only within this process.
 */
export async function readBoot(clock: Clock): Promise<Boot> {
  const [uptimePath, idPath] = ["/proc/uptime", "/proc/sys/kernel/random/boot_id"];
  // Deno itself is not permitted to read /proc.
  const text = await outputOf(PROGRAMS.grep, ["-sh", "", uptimePath, idPath])
    .then(({ stdout }) => stdout, () => "");
  const nowMs = clock.monotonicMs();
  const uptime = /^(\d+\.\d+) /m.exec(text)?.[1];
  const id = /^([0-9a-f]{8})-/m.exec(text)?.[1];
  if (uptime === undefined || id === undefined) {
    return { id: crypto.randomUUID().slice(0, 8), zeroMs: 0 };
  }
  return { id, zeroMs: Number(uptime) * 1000 - nowMs };
}
