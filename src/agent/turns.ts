// Runs a part with the settings in force, and anew when they change, while the other parts continue. It does
// not know what the part does.

import type { Config } from "../config/config.ts";
import { aborted, openUntil } from "../system/window.ts";
import type { Settings } from "./settings.ts";

/**
 * Runs `turn` until the signal aborts: with the settings, and, each time one of these groups has changed,
 * once more. Its signal asks it to end, and it should resolve soon after. @throws the errors of `turn`.
 */
export async function inTurns(
  settings: Settings,
  groups: Parameters<Settings["differs"]>[1],
  turn: (config: Config, signal: AbortSignal) => Promise<void>,
  signal: AbortSignal,
): Promise<void> {
  while (!signal.aborted) {
    const { config } = settings;
    await using current = openUntil(signal, (signal) => settings.differs(config, groups, signal));
    await turn(config, current.signal);
    if (!current.signal.aborted) await aborted(current.signal); // it has nothing to do
  }
}
