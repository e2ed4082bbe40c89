// Feeds damaged input to the targets. Each case has a seed of its own, with which it can be repeated.

import { cpuUsage } from "node:process";
import { mutateBytes } from "../fixtures/mutations.ts";
import { seededRandom } from "../fixtures/random.ts";
import type { Target } from "./targets.ts";

/** A case may take so much processor time. */
const MOST_MS = 5_000;
/** One that writes files. */
const MOST_SLOW_MS = 60_000;

/** A case in which the target threw, or took too long. */
export interface Finding {
  readonly target: string;
  readonly seed: number;
  readonly error: unknown;
  readonly input: Uint8Array;
}

/** Processor time of this process, milliseconds: a busy machine does not count. */
function usedMs(): number {
  const { user, system } = cpuUsage();
  return (user + system) / 1000;
}

/** Runs cases from a seed on while `next` says so; resolves with the first finding, or null. */
export async function fuzz(
  target: Target,
  seed: number,
  next: (runs: number) => boolean,
): Promise<Finding | null> {
  for (let runs = 0; next(runs); runs++) {
    const random = seededRandom(seed + runs);
    const from = target.seeds[Math.floor(random() * target.seeds.length)] ?? new Uint8Array();
    // Damage adds up: most cases have a few places, some many.
    let input = mutateBytes(from, random);
    while (random() < 0.3) input = mutateBytes(input, random);
    const startedMs = usedMs();
    const finding = (error: unknown) => ({ target: target.name, seed: seed + runs, error, input });
    try {
      const checked = target.check(input);
      if (checked !== undefined) await checked;
    } catch (error) {
      return finding(error);
    }
    const tookMs = usedMs() - startedMs;
    if (tookMs > (target.isSlow === true ? MOST_SLOW_MS : MOST_MS)) {
      return finding(new Error(`it took ${Math.round(tookMs)} ms`));
    }
  }
  return null;
}
