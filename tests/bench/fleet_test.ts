// A fleet whose server returns, on simulated time: the measurement of bench/fleet.ts with fewer agents.

import { assert, assertEquals } from "@std/assert";
import { BACKOFFS, type FleetResult, MOST_PEAK_TO_MEAN, simulateFleet } from "../../bench/fleet.ts";

type Wait = keyof typeof BACKOFFS;
const OURS = "cap, then full jitter (ours)";

/** Bins 25 times as wide as with 10,000 agents: their peaks by chance are equally high. */
function fleet(wait: Wait, capacity = Infinity, seed = 1, agents = 400): Promise<FleetResult> {
  return simulateFleet({ agents, seed, backoff: BACKOFFS[wait], capacity, binS: 25 });
}

Deno.test("the peak load of a fleet whose server returns is at most 3 times the average", async () => {
  const { first, all, allBackS } = await fleet(OURS);
  assert(first.peakToMean <= MOST_PEAK_TO_MEAN, `first attempts: ${first.peakToMean}`);
  assert(all.peakToMean <= MOST_PEAK_TO_MEAN, `all requests: ${all.peakToMean}`);
  assert(allBackS !== null && allBackS <= 301, `all back after ${allBackS} s`);
});

Deno.test("the peak load is higher without jitter, or with a second of jitter that the cap removes", async () => {
  for (const wait of ["no jitter", "1 s of jitter, then cap"] as const) {
    const { first, all } = await fleet(wait);
    assert(first.peakToMean > 1.3 * MOST_PEAK_TO_MEAN, `${wait}: first ${first.peakToMean}`);
    assert(all.peakToMean > 1.3 * MOST_PEAK_TO_MEAN, `${wait}: all ${all.peakToMean}`);
  }
});

Deno.test("a fleet lets a server recover that can take 6 times its normal load", async () => {
  const ours = await fleet(OURS, 8);
  assert(ours.refused > 400, `the server was never overrun: ${ours.refused} requests refused`);
  assert(ours.all.peakToMean <= MOST_PEAK_TO_MEAN, `all requests: ${ours.all.peakToMean}`);
  // 60 chunks per agent at 40/s, plus those recorded meanwhile, take at least 720 s.
  assert(ours.drainedS !== null && ours.drainedS < 1.5 * 720, `drained after ${ours.drainedS} s`);
});

Deno.test("tills that begin together overrun a limited server, unless their phase spreads them", async () => {
  const limited = { agents: 400, seed: 1, backoff: BACKOFFS[OURS], capacity: 8, binS: 10 };
  const inStep = await simulateFleet({ ...limited, withinS: 3 });
  const spread = await simulateFleet({ ...limited, withinS: 3, hasPhase: true });
  assert(inStep.all.peakToMean > MOST_PEAK_TO_MEAN, `in step: ${inStep.all.peakToMean}`);
  assert(spread.all.peakToMean <= MOST_PEAK_TO_MEAN, `spread: ${spread.all.peakToMean}`);
});

Deno.test("a simulation gives the same result every time, and restores the real timers and random numbers", async () => {
  const { setTimeout } = globalThis;
  const { random } = Math;
  const small = () => fleet(OURS, Infinity, 1, 50);
  assertEquals(await small(), await small());
  assert(globalThis.setTimeout === setTimeout && Math.random === random);
});
