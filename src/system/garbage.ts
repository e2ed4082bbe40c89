// Decides when garbage is collected. The compiled program runs without V8's memory reducer, which collects
// the whole heap whenever the program is nearly idle; a recorder always is. On its own, V8 then collects
// only when its heap has grown to several times its size. Until then it also keeps the memory behind
// streams, requests and child processes, which it does not count. Memory is rarely returned to the system,
// so the peaks between two collections add up over a month. The module therefore measures the process
// every two seconds, and collects garbage when the heap or the whole process has grown. Every five minutes it
// collects thoroughly: V8 also drops what it has compiled and did not use lately, and returns free pages,
// which would otherwise be more with each hour of a busy program (docs/explanation/findings.md).
//
// A measurement takes 0.01 ms of processor time, a collection 4 to 14 ms, a thorough one 35 ms (x86). The
// policy is pure; `collectGarbage` carries it out.

import type { Clock } from "./clock.ts";

/** How often the process is measured. */
const MEASURE_MS = 2_000;
/** How much the memory that V8 counts may grow before garbage is collected. */
const HEAP_GROWTH_BYTES = 2 * 1024 * 1024;
/** How much the whole process may grow. */
const RSS_GROWTH_BYTES = 1024 * 1024;
/** Growth that no collection undoes is not garbage: then the process may grow by more each time, up to this. */
const MAX_RSS_GROWTH_BYTES = 8 * 1024 * 1024;
/** After this much time garbage is collected thoroughly. */
const THOROUGH_MS = 300_000;
/** A collection that makes the heap smaller by less than this was for nothing. */
const FREED_BYTES = 128 * 1024;

/** For V8's gc() (src/extensions/gc-extension.cc): as it collects before it runs out of memory. */
const THOROUGHLY = { type: "major", execution: "sync", flavor: "last-resort" };

/** Sizes of the process, bytes. */
export type MemoryUse = Pick<Deno.MemoryUsage, "rss" | "heapUsed" | "external">;

/** How to collect: "quickly" garbage alone, "thoroughly" also what V8 can make again. */
export type Collection = "quickly" | "thoroughly";

/** Decides from the sizes of the process whether it is time to collect, and how. */
export class GarbagePolicy {
  /** The smallest sizes since the last collection, bytes. */
  #least = { rss: Infinity, heap: Infinity };
  /** The last thorough collection, or the first measurement. */
  #thoroughMs: number | null = null;
  #rssGrowthBytes = RSS_GROWTH_BYTES;
  /** The sizes when a collection became due. */
  #before = { rss: Infinity, heap: Infinity };

  /** How to collect garbage now, or null: not now. The caller then calls `collected`. */
  due(use: MemoryUse, nowMs: number): Collection | null {
    const heap = use.heapUsed + use.external;
    this.#least = {
      rss: Math.min(this.#least.rss, use.rss),
      heap: Math.min(this.#least.heap, heap),
    };
    this.#before = { rss: use.rss, heap };
    this.#thoroughMs ??= nowMs;
    if (nowMs - this.#thoroughMs >= THOROUGH_MS) {
      this.#thoroughMs = nowMs;
      return "thoroughly";
    }
    const hasGrown = heap - this.#least.heap >= HEAP_GROWTH_BYTES ||
      use.rss - this.#least.rss >= this.#rssGrowthBytes;
    return hasGrown ? "quickly" : null;
  }

  /** Takes the sizes after a collection; growth counts from them. */
  collected({ rss, heapUsed, external }: MemoryUse): void {
    const heap = heapUsed + external;
    const isFreed = rss < this.#before.rss || heap < this.#before.heap - FREED_BYTES;
    this.#rssGrowthBytes = isFreed
      ? RSS_GROWTH_BYTES
      : Math.min(2 * this.#rssGrowthBytes, MAX_RSS_GROWTH_BYTES);
    this.#least = { rss, heap };
  }
}

/**
 * Collects garbage by the policy until the signal aborts. Does nothing without V8's `--expose-gc`; the
 * compiled program has it.
 */
export async function collectGarbage(clock: Clock, signal: AbortSignal): Promise<void> {
  const collect: unknown = Reflect.get(globalThis, "gc");
  if (typeof collect !== "function") return;
  const policy = new GarbagePolicy();
  while (!signal.aborted) {
    const due = policy.due(Deno.memoryUsage(), clock.monotonicMs());
    if (due !== null) {
      if (due === "thoroughly") collect(THOROUGHLY);
      else collect();
      policy.collected(Deno.memoryUsage());
    }
    await clock.sleep(MEASURE_MS, signal);
  }
}
