// deno-lint-ignore-file no-console -- a benchmark talks to a person
// Simulates what a fleet does to a server that comes back: 10,000 agents lose the server for an hour, all at
// the same moment, and then deliver their backlog. It compares ways to wait between attempts. It sends
// nothing, and does not show how long a real server takes.
//
// The agent's way is the uploader's own `Backoff`, in simulated time: while a simulation runs, the global
// setTimeout and Math.random are a simulated clock and a seeded generator. An agent is a model of the
// uploader's loop: the oldest chunk, one attempt at a time, and a new backoff after every success. An agent
// seals a chunk each minute, at its own moment
// of the minute. With `--within 3`, all agents begin within 3 s of each other, like tills whose schedules
// start in the same minute; with `--phase` in addition, the first chunk of each is shortened by the phase of
// its id, as the agent does, and the ids are consecutive.
//
// `bench/fleet.ts [--agents N] [--seed S] [--within SECONDS] [--phase]`. The tables go to stdout. The exit code is 1
// if the peak of the agent's way is more than 3 times the mean, for first attempts or for all requests.

import { parseArgs } from "node:util";
import { delay } from "@std/async/delay";
import { firstInterval, phaseOf } from "../src/config/phase.ts";
import { Backoff } from "../src/upload/interval.ts";
import { seededRandom } from "../tests/fixtures/random.ts";

const MIN_MS = 2_000;
const MAX_MS = 300_000;
const CHUNK_MS = 60_000;
const OUTAGE_MS = 3_600_000;
/** How long the server takes to accept a chunk of 60 s; how long a refused connection or a 503 takes. */
const SERVICE_MS = 200;
const REFUSAL_MS = 20;
/** How long after the server's return a simulation ends at the latest. */
const LIMIT_MS = 3 * 3_600_000;
export const MOST_PEAK_TO_MEAN = 3;

/** Calls `attempt` until it succeeds. */
type Way = (attempt: () => Promise<void>) => Promise<void>;

/** Waits between attempts as the function says that is made for each outage. */
function waiting(begin: () => () => number): Way {
  return async (attempt) => {
    for (const nextMs = begin();;) {
      try {
        return await attempt();
      } catch {
        await delay(nextMs());
      }
    }
  };
}

/** @param delayMs the delay that follows from the exponential one, before cap and jitter. */
function doubling(delayMs: (exponentialMs: number) => number): Way {
  return waiting(() => {
    let exponentialMs = MIN_MS / 2;
    return () => delayMs(exponentialMs *= 2);
  });
}

function ofAgent(random: () => number): Way {
  return waiting(() => {
    const backoff = new Backoff(MIN_MS, MAX_MS);
    return () => backoff.next(random());
  });
}

/** Ways to wait, by name. The first one is the agent's. */
export const BACKOFFS = {
  "cap, then full jitter (ours)": ofAgent(() => Math.random()),
  // As many manuals recommend: min(2^n s + a random number of ms up to 1,000, the longest wait).
  "1 s of jitter, then cap": doubling((ms) => Math.min(MAX_MS, ms + Math.random() * 1000)),
  "full jitter, then cap": doubling((ms) => Math.min(MAX_MS, ms * Math.random())),
  "no jitter": ofAgent(() => 0),
} satisfies Record<string, Way>;

/** The load of the fleet on the server. Seconds count from the server's return. */
export interface FleetResult {
  /** The first request of each agent after the return, until the last agent has made it. */
  readonly first: Load;
  /** All requests until no agent has a sealed chunk waiting. */
  readonly all: Load;
  /** Requests answered 503 until then. */
  readonly refused: number;
  /** Time until each agent has delivered a chunk, and until no backlog is left; null: over 3 hours. */
  readonly allBackS: number | null;
  readonly drainedS: number | null;
}

/** Requests per second; the peak is the value of the busiest bin. */
export interface Load {
  readonly peak: number;
  readonly mean: number;
  readonly peakToMean: number;
}

export interface FleetOptions {
  readonly agents: number;
  readonly seed: number;
  readonly backoff: Way;
  /** How many requests the server handles at a time. It answers 503 to further ones. */
  readonly capacity: number;
  /** The period of the minute within which all agents seal their chunks; default 60 s. */
  readonly withinS?: number;
  /** Whether the phase of the id shortens the first chunk; default: no. */
  readonly hasPhase?: boolean;
  /**
   * Width of the bins for the peak, seconds; default 1. Fewer agents need wider bins, because a bin with
   * few requests has peaks by chance.
   */
  readonly binS?: number;
}

/** Simulates an hour without the server, then its return. The same options give the same result. */
export async function simulateFleet(options: FleetOptions): Promise<FleetResult> {
  const { setTimeout } = globalThis;
  const { random } = Math;
  const time = new SimulatedTime(options.agents);
  Object.assign(globalThis, { setTimeout: (wake: () => void, ms = 0) => time.at(ms, wake) });
  Math.random = seededRandom(options.seed);
  try {
    const fleet = new Fleet(time, options);
    await time.run(OUTAGE_MS + LIMIT_MS, () => fleet.isDrained);
    return fleet.result();
  } finally {
    globalThis.setTimeout = setTimeout;
    Math.random = random;
  }
}

/** Simulated time, in whole milliseconds like setTimeout. It advances when all agents sleep. */
class SimulatedTime {
  nowMs = 0;
  readonly #sleepersInAll: number;
  #sleepers = 0;
  readonly #due = new Map<number, (() => void)[]>();

  constructor(sleepersInAll: number) {
    this.#sleepersInAll = sleepersInAll;
  }

  at(inMs: number, wake: () => void): number {
    const dueMs = this.nowMs + Math.trunc(Math.max(0, inMs));
    const others = this.#due.get(dueMs);
    if (others === undefined) this.#due.set(dueMs, [wake]);
    else others.push(wake);
    return ++this.#sleepers;
  }

  async run(endMs: number, isDone: () => boolean): Promise<void> {
    for (; this.nowMs < endMs && !isDone(); this.nowMs++) {
      for (let due; (due = this.#due.get(this.nowMs)) !== undefined;) {
        this.#due.delete(this.nowMs);
        this.#sleepers -= due.length;
        for (const wake of due) wake();
        while (this.#sleepers < this.#sleepersInAll) await null;
      }
    }
  }
}

/** The agents and the server that they share. */
class Fleet {
  readonly #time: SimulatedTime;
  readonly #options: FleetOptions;
  readonly #firsts: number[] = [];
  readonly #requests: number[] = [];
  #refused = 0;
  #busy = 0;
  #away: number;
  #behind: number;
  #allBackMs: number | null = null;
  #drainedMs: number | null = null;

  constructor(time: SimulatedTime, options: FleetOptions) {
    this.#time = time;
    this.#options = options;
    this.#away = this.#behind = options.agents;
    for (let agent = 0; agent < options.agents; agent++) this.#runAgent(agent);
  }

  get isDrained(): boolean {
    return this.#drainedMs !== null;
  }

  result(): FleetResult {
    return {
      first: this.#load(this.#firsts, this.#firsts.length * 1000),
      all: this.#load(this.#requests, this.#drainedMs ?? LIMIT_MS),
      refused: this.#refused,
      allBackS: this.#allBackMs && this.#allBackMs / 1000,
      drainedS: this.#drainedMs && this.#drainedMs / 1000,
    };
  }

  async #runAgent(agent: number): Promise<never> {
    const time = this.#time;
    const { withinS = 60, hasPhase = false } = this.#options;
    const id = `00000000-0000-4000-8000-${agent.toString(16).padStart(12, "0")}`;
    const firstMs = firstInterval(CHUNK_MS, hasPhase ? phaseOf(id) : 0);
    // The first chunk sealed after the loss. Earlier chunks have been delivered.
    let oldestSealedMs = Math.floor(Math.random() * withinS * 1000 + firstMs) % CHUNK_MS;
    let hasTried = false;
    let isAway = true;
    let isBehind = true;
    const deliverOldest = async () => {
      if (oldestSealedMs > time.nowMs) return await delay(oldestSealedMs - time.nowMs);
      const isFirst = time.nowMs >= OUTAGE_MS && !hasTried;
      hasTried ||= isFirst;
      await this.#request(isFirst);
      oldestSealedMs += CHUNK_MS;
      if (isAway && --this.#away === 0) this.#allBackMs = time.nowMs - OUTAGE_MS;
      isAway = false;
      if (!isBehind || oldestSealedMs <= time.nowMs || time.nowMs < OUTAGE_MS) return;
      isBehind = false;
      if (--this.#behind === 0) this.#drainedMs = time.nowMs - OUTAGE_MS;
    };
    while (true) await this.#options.backoff(deliverOldest);
  }

  /** @throws when the server is away, or answers 503. */
  async #request(isFirst: boolean): Promise<void> {
    const sinceMs = this.#time.nowMs - OUTAGE_MS;
    if (sinceMs >= 0) count(this.#requests, sinceMs);
    if (isFirst) count(this.#firsts, sinceMs);
    if (sinceMs < 0 || this.#busy >= this.#options.capacity) {
      if (sinceMs >= 0) this.#refused++;
      await delay(REFUSAL_MS);
      throw new Error("refused");
    }
    this.#busy++;
    await delay(SERVICE_MS);
    this.#busy--;
  }

  #load(seconds: readonly number[], endMs: number): Load {
    const { binS = 1 } = this.#options;
    const bins: number[] = [];
    seconds.forEach((requests, second) => {
      const bin = Math.floor(second / binS);
      bins[bin] = (bins[bin] ?? 0) + requests;
    });
    const peak = bins.reduce((most, requests) => Math.max(most, requests), 0) / binS;
    const mean = seconds.reduce((sum, requests) => sum + requests, 0) / (endMs / 1000);
    return { peak, mean, peakToMean: peak / mean };
  }
}

function count(seconds: number[], ms: number): void {
  const second = Math.floor(ms / 1000);
  seconds[second] = (seconds[second] ?? 0) + 1;
}

const COLUMNS = [
  "between attempts            ",
  ...["first attempts/s: peak", "mean", "peak/mean", "requests/s: peak", "mean", "peak/mean"],
  ...["503s", "all back, s", "no backlog, s"],
];

function printRow(cells: readonly string[]): void {
  const padded = cells.map((cell, at) =>
    at === 0 ? cell.padEnd(COLUMNS[0]?.length ?? 0) : cell.padStart(COLUMNS[at]?.length ?? 0)
  );
  console.log(`| ${padded.join(" | ")} |`);
}

function cellsOf({ first, all, refused, allBackS, drainedS }: FleetResult): string[] {
  const loads = [first, all].flatMap(({ peak, mean, peakToMean }) => [
    String(peak),
    mean.toFixed(1),
    peakToMean.toFixed(2),
  ]);
  const times = [allBackS, drainedS].map((s) => s === null ? "> 10800" : s.toFixed(0));
  return [...loads, String(refused), ...times];
}

async function main(): Promise<void> {
  const { values } = parseArgs({
    args: Deno.args,
    options: {
      agents: { type: "string", default: "10000" },
      seed: { type: "string", default: "1" },
      within: { type: "string", default: "60" },
      phase: { type: "boolean", default: false },
    },
  });
  const [agents, seed, withinS] = [values.agents, values.seed, values.within].map(Number);
  if (!agents || seed === undefined || !withinS) {
    throw new Error("Cannot read the options as they must be numbers");
  }
  const hasPhase = values.phase;
  const normal = agents / (CHUNK_MS / 1000);
  for (const capacity of [Infinity, Math.round(agents / 50)]) {
    const perSecond = capacity * 1000 / SERVICE_MS;
    console.log(
      `${agents} agents, an hour without the server, then ` +
        (capacity === Infinity
          ? "one that accepts everything"
          : `one that accepts ${perSecond}/s`) +
        ` (normal load ${normal.toFixed(0)}/s; ${
          hasPhase ? "spread by their phase, begun" : "chunks sealed"
        } within ${withinS} s)\n`,
    );
    printRow(COLUMNS);
    printRow(
      COLUMNS.map(({ length }, at) => at === 0 ? "-".repeat(length) : ":".padStart(length, "-")),
    );
    for (const [name, backoff] of Object.entries(BACKOFFS)) {
      const result = await simulateFleet({ agents, seed, backoff, capacity, withinS, hasPhase });
      printRow([name, ...cellsOf(result)]);
      const isOurs = name === Object.keys(BACKOFFS)[0];
      const worst = Math.max(result.first.peakToMean, result.all.peakToMean);
      if (isOurs && !(worst <= MOST_PEAK_TO_MEAN)) Deno.exitCode = 1;
    }
    console.log();
  }
}

if (import.meta.main) await main();
