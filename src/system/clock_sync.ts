// Whether the system clock can be trusted. A Pi has no battery for its clock: it boots in the past,
// and only the answer of a time server makes its UTC true. This module watches for that answer; what
// follows from it (new times for chunks that wait, what may be deleted as old) is others' work.

import { outputOf } from "./child.ts";
import type { Clock } from "./clock.ts";
import type { Logger } from "./log.ts";

/** systemd-timesyncd makes this file when it has set the clock in this boot. */
const TIMESYNCD_FLAG = "/run/systemd/timesync/synchronized";
/** There if the machine was booted with systemd: sd_booted(3). */
const SYSTEMD_RUNS = "/run/systemd/system";
/** No clock that shows less can be right: the program is younger. */
const EARLIEST_UNIX_MS = Date.UTC(2026, 0, 1);
/** What costs nothing is looked at this often: timesyncd's flag, and whether the clock was stepped. */
const LOOK_MS = 10_000;
/** A time server steps a clock that is this wrong (chrony and timesyncd from 0.4 s on). */
const STEP_MS = 100;
/** Without a sign the system is asked, which starts a program, after 10, 20, 40 s … 10 min. */
const ASK_MIN_MS = 10_000;
const ASK_MAX_MS = 600_000;

/** This boot of the machine: monotonic time means something only within one. */
export interface Boot {
  /** Eight hex digits of the kernel's boot id. */
  readonly id: string;
  /** Milliseconds since boot at the monotonic clock's zero. */
  readonly zeroMs: number;
}

/** True, false, or null when nobody on this machine knows. */
export type SyncProbe = () => Promise<boolean | null>;

export class ClockSync {
  readonly #clock: Clock;
  readonly #probe: SyncProbe;
  readonly #log: Logger;
  readonly #hasFlag: () => Promise<boolean>;
  #trusted = false;

  /** @param deps.hasFlag whether there is a sign, to be had for nothing, that the clock is right. */
  constructor(
    deps: { clock: Clock; log: Logger; probe?: SyncProbe; hasFlag?: () => Promise<boolean> },
  ) {
    this.#clock = deps.clock;
    this.#log = deps.log;
    this.#probe = deps.probe ?? probeSystem;
    this.#hasFlag = deps.hasFlag ?? (() => exists(TIMESYNCD_FLAG));
  }

  get isTrusted(): boolean {
    return this.#trusted;
  }

  /** Looks now. Where nobody knows, a clock that shows a possible date is taken for true. */
  async look(): Promise<boolean> {
    const possible = this.#clock.unixMs() >= EARLIEST_UNIX_MS;
    this.#trusted = possible && (await this.#probe() ?? true);
    return this.#trusted;
  }

  /** Looks until the clock is trusted or the signal aborts; `onWaiting` is called if it takes time. */
  async run(signal: AbortSignal, onWaiting: () => void): Promise<void> {
    const sinceMs = this.#clock.monotonicMs();
    if (!await this.look() && !signal.aborted) {
      onWaiting();
      let askAfterMs = ASK_MIN_MS;
      do {
        await this.#waitForSign(askAfterMs, signal);
        askAfterMs = Math.min(askAfterMs * 2, ASK_MAX_MS);
      } while (!signal.aborted && !await this.look());
    }
    if (signal.aborted) return;
    this.#log.info("The system clock is synchronized.", {
      waited_s: Math.round((this.#clock.monotonicMs() - sinceMs) / 1000),
    });
  }

  /** Resolves at a sign that the clock may have been set, after `ms` at the latest, or on abort. */
  async #waitForSign(ms: number, signal: AbortSignal): Promise<void> {
    const offsetMs = () => this.#clock.unixMs() - this.#clock.monotonicMs();
    const [beforeMs, endMs] = [offsetMs(), this.#clock.monotonicMs() + ms];
    while (!signal.aborted && this.#clock.monotonicMs() < endMs) {
      await this.#clock.sleep(Math.min(LOOK_MS, endMs - this.#clock.monotonicMs()), signal);
      if (Math.abs(offsetMs() - beforeMs) > STEP_MS || await this.#hasFlag()) return;
    }
  }
}

/**
 * timesyncd's flag, else the kernel's own state (adjtimex) as timedatectl tells it, whichever NTP
 * daemon set it. Null only where there is no systemd to ask: one that gives no answer, early in a
 * boot perhaps, has not said yes.
 */
export async function probeSystem(): Promise<boolean | null> {
  if (await exists(TIMESYNCD_FLAG)) return true;
  if (!await exists(SYSTEMD_RUNS)) return null;
  try {
    const args = ["show", "--property=NTPSynchronized", "--value"];
    const { stdout } = await outputOf("timedatectl", args);
    return new TextDecoder().decode(stdout).trim() === "yes";
  } catch (error) {
    const missing = error instanceof Deno.errors.NotFound ||
      error instanceof Deno.errors.NotCapable;
    return missing ? null : false;
  }
}

async function exists(path: string): Promise<boolean> {
  try {
    await Deno.stat(path);
    return true;
  } catch {
    return false;
  }
}

/**
 * This boot, from the kernel. Where it cannot be read a made-up one serves: monotonic times then mean
 * something in this process only.
 */
export async function readBoot(clock: Clock): Promise<Boot> {
  const [uptimePath, idPath] = ["/proc/uptime", "/proc/sys/kernel/random/boot_id"];
  // Deno itself may not read /proc.
  const stdout = await outputOf("grep", ["-sh", "", uptimePath, idPath])
    .then(({ stdout }) => stdout, () => new Uint8Array());
  const nowMs = clock.monotonicMs();
  const text = new TextDecoder().decode(stdout);
  const uptime = /^(\d+\.\d+) /m.exec(text)?.[1];
  const id = /^([0-9a-f]{8})-/m.exec(text)?.[1];
  if (uptime === undefined || id === undefined) {
    return { id: crypto.randomUUID().slice(0, 8), zeroMs: 0 };
  }
  return { id, zeroMs: Number(uptime) * 1000 - nowMs };
}
