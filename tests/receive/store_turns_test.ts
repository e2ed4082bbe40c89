// How the receiver treats an object store that is overloaded, and shares it among tills: against a simulated
// store with a capacity of its own, in simulated time.

import { assert, assertEquals, assertRejects, assertThrows } from "@std/assert";
import { StoreFailure } from "../../src/receive/store.ts";
import { StoreTurns } from "../../src/receive/store_turns.ts";
import { StoreWindow } from "../../src/receive/store_window.ts";
import { SimulatedClock } from "../fixtures/simulated_clock.ts";

const makeClock = () => new SimulatedClock(Date.UTC(2026, 10, 29), { awaits: "promises" });

/** A store that does `together` requests at a time, each in `serviceMs`, and refuses or delays the others. */
class SimulatedStore {
  inFlight = 0;
  most = 0;
  done = 0;
  refused = 0;

  constructor(
    readonly clock: SimulatedClock,
    readonly turns: StoreTurns,
    readonly capacity: { together: number; serviceMs: number; refuses: boolean },
  ) {}

  /** One request in the turn of a client. @throws {StoreFailure} */
  async put(client: string): Promise<void> {
    await this.turns.take(client, async () => {
      const { together, serviceMs, refuses } = this.capacity;
      const begunMs = this.clock.monotonicMs();
      this.most = Math.max(this.most, ++this.inFlight);
      const isRefused = refuses && this.inFlight > together;
      const tookMs = isRefused ? 5 : serviceMs * Math.max(1, this.inFlight / together);
      await this.clock.sleep(tookMs);
      this.inFlight--;
      const endedMs = this.clock.monotonicMs();
      this.turns.ended({ kind: isRefused ? "failed" : "done", begunMs, endedMs });
      if (isRefused) this.refused++;
      else this.done++;
      if (isRefused) throw new StoreFailure("SlowDown");
    });
  }
}

function makeStore(capacity: { together: number; serviceMs: number; refuses?: boolean }) {
  const clock = makeClock();
  const turns = new StoreTurns(clock);
  return { clock, turns, store: new SimulatedStore(clock, turns, { refuses: false, ...capacity }) };
}

/** Tills that each have so many uploads at all times, and come back a second after a failure. */
function crowd(store: SimulatedStore, names: readonly string[], isOver: () => boolean) {
  const served = new Map(names.map((name) => [name, 0]));
  const all = names.map(async (name) => {
    while (!isOver()) {
      try {
        await store.put(name);
        served.set(name, (served.get(name) ?? 0) + 1);
      } catch (error) {
        if (!(error instanceof StoreFailure)) throw error;
        await store.clock.sleep((error.retryS ?? 1) * 1000);
      }
    }
  });
  return { served, ended: Promise.all(all) };
}

Deno.test("the window doubles while the store keeps up, to 64, and only while it is used up", () => {
  const window = new StoreWindow();
  const first = window.limit;
  const done = (inFlight: number) =>
    window.ended({ kind: "done", begunMs: 0, endedMs: 100 }, inFlight);
  for (let request = 0; request < 100; request++) done(first - 1);
  assertEquals(window.limit, first);
  for (let request = 0; request < first; request++) done(64);
  assertEquals(window.limit, 2 * first);
  for (let request = 0; request < 1000; request++) done(64);
  assertEquals(window.limit, 64);
});

Deno.test("a failure halves the window once a round, a slow answer takes a quarter, and one request stays", () => {
  const window = new StoreWindow();
  const fail = (begunMs: number, endedMs: number) =>
    window.ended({ kind: "failed", begunMs, endedMs }, 8);
  fail(0, 100);
  for (let request = 0; request < 7; request++) fail(0, 110);
  window.ended({ kind: "done", begunMs: 0, endedMs: 120 }, 8);
  assertEquals(window.limit, 4);
  window.ended({ kind: "other", begunMs: 130, endedMs: 131 }, 4);
  assertEquals(window.limit, 4, "a wrong key says nothing about the load");
  window.ended({ kind: "done", begunMs: 130, endedMs: 3200 }, 4);
  assertEquals(window.limit, 3);
  window.ended({ kind: "done", begunMs: 3300, endedMs: 15_000, sizeBytes: 9_000_000 }, 1);
  assertEquals(window.limit, 3, "a large chunk takes its time");
  for (let request = 0; request < 20; request++) fail(4000 + request, 4000 + request);
  assertEquals(window.limit, 1);
  // Now it grows by one a round.
  for (let round = 1; round < 5; round++) {
    for (let request = 0; request < round; request++) {
      window.ended({ kind: "done", begunMs: 5000, endedMs: 5001 }, 64);
    }
  }
  assert(window.limit >= 4 && window.limit <= 5, `${window.limit}`);
});

Deno.test("a store that refuses more than ten requests at a time is used, and seldom made to refuse", async () => {
  const { clock, store } = makeStore({ together: 10, serviceMs: 200, refuses: true });
  let isOver = false;
  const names = Array.from({ length: 200 }, (_, till) => `till ${till}`);
  const { ended } = crowd(store, names, () => isOver);
  await clock.advance(60_000);
  // Ten at a time in 200 ms are 3,000 in a minute.
  assert(store.done > 2000, `${store.done} done`);
  assert(store.refused < store.done / 10, `${store.refused} refused, ${store.done} done`);
  isOver = true;
  await clock.advance(120_000);
  await ended;
});

Deno.test("a store that only gets slower is not asked for more than it does in time", async () => {
  const { clock, store, turns } = makeStore({ together: 2, serviceMs: 600 });
  let isOver = false;
  const names = Array.from({ length: 200 }, (_, till) => `till ${till}`);
  const { ended } = crowd(store, names, () => isOver);
  await clock.advance(60_000);
  store.most = 0;
  await clock.advance(60_000);
  // An answer takes 3 s with ten requests in flight.
  assert(store.most <= 13, `${store.most} in flight, window ${turns.state.limit}`);
  assert(store.done > 300, `${store.done} of 400`);
  isOver = true;
  await clock.advance(120_000);
  await ended;
});

Deno.test("a till with many uploads takes no turn of a till with one", async () => {
  const { clock, store } = makeStore({ together: 4, serviceMs: 500, refuses: true });
  let isOver = false;
  const slow = Array.from({ length: 30 }, (_, till) => `till ${till}`);
  const names = [...Array(16).fill("fast"), ...slow];
  const { served, ended } = crowd(store, names, () => isOver);
  await clock.advance(300_000);
  const counts = slow.map((name) => served.get(name) ?? 0);
  const [least, most] = [Math.min(...counts), Math.max(...counts)];
  const fast = served.get("fast") ?? 0;
  assert(least > 40, `${counts}`);
  assert(most <= least * 1.25, `${counts}`);
  assert(fast <= most * 1.25, `the fast one had ${fast}, the others up to ${most}`);
  isOver = true;
  await clock.advance(120_000);
  await ended;
});

Deno.test("who waits for 10 s is refused with a time to come again, and is then the first", async () => {
  const { clock, turns } = makeStore({ together: 1, serviceMs: 1 });
  const gates: (() => void)[] = [];
  const hold = () => new Promise<void>((resolve) => gates.push(resolve));
  const order: string[] = [];
  const come = (client: string) =>
    turns.take(client, () => {
      order.push(client);
      return hold();
    });
  const { limit } = turns.state;
  const busy = Array.from({ length: limit }, () => come("fast"));
  const refused = assertRejects(() => come("unlucky"), StoreFailure, "too slow");
  await clock.advance(10_000);
  const failure = await refused;
  assert(failure.retryS !== null && failure.retryS >= 5 && failure.retryS <= 60);
  assertEquals(turns.state.waiting, 0);
  const later = [come("fast"), come("fast"), come("unlucky")];
  for (const open of gates.splice(0)) open();
  await clock.advance(100);
  assertEquals(order.slice(limit), ["unlucky", "fast", "fast"]);
  for (const open of gates) open();
  await Promise.all([...busy, ...later]);
  assertEquals(turns.state, { running: 0, limit, waiting: 0 });
});

Deno.test("an upload whose turn would not come in time is refused before it is read", async () => {
  const { clock, store, turns } = makeStore({ together: 8, serviceMs: 2000 });
  turns.admit("somebody"); // nothing is known yet
  await Promise.all([store.put("one"), clock.advance(2000)]);
  const names = Array.from({ length: 100 }, (_, till) => `till ${till}`);
  const waiting = names.map((name) => store.put(name).catch(() => {}));
  const failure = assertThrows(() => turns.admit("one"), StoreFailure);
  assert(failure.retryS !== null && failure.retryS > 10, `${failure.retryS} s`);
  const waited = Promise.all(waiting);
  await clock.advance(60_000);
  await waited;
  turns.admit("one");
});

Deno.test("with twice the load that a store can take, every chunk is kept once and all tills get the same", async () => {
  const { clock, store, turns } = makeStore({ together: 5, serviceMs: 1000, refuses: true });
  const tills = 300;
  // Five chunks a second can be kept: 300 tills have ten a second.
  const kept = new Map<string, number>();
  const backlog: number[] = Array(tills).fill(0);
  let isOver = false;
  const till = async (index: number) => {
    await clock.sleep(index * 100);
    for (let chunk = 0; chunk < 4; chunk++) {
      for (let isKept = false; !isKept;) {
        try {
          turns.admit(`till ${index}`);
          await store.put(`till ${index}`);
          isKept = true;
        } catch (error) {
          if (!(error instanceof StoreFailure)) throw error;
          await clock.sleep((error.retryS ?? 30) * 1000);
        }
      }
      kept.set(`${index} ${chunk}`, (kept.get(`${index} ${chunk}`) ?? 0) + 1);
      backlog[index] = chunk + 1;
    }
  };
  const all = Promise.all(Array.from({ length: tills }, (_, index) => till(index)));
  await clock.advance(150_000);
  const half = backlog.toSorted((a, b) => a - b);
  assert((half[0] ?? 0) >= 1, "nobody is left without anything");
  while (!isOver) {
    await Promise.race([all.then(() => isOver = true), clock.advance(30_000)]);
    assert(clock.monotonicMs() < 1_200_000, "it comes to an end");
  }
  assertEquals(kept.size, tills * 4);
  assert([...kept.values()].every((times) => times === 1));
});
