// Happy eyeballs in simulated time: which address is tried when, which one wins, and what is closed.

import { assertEquals, assertRejects } from "@std/assert";
import { connectFirst, inTurns, NoAddress } from "../../src/system/addresses.ts";
import { SimulatedClock } from "../fixtures/simulated_clock.ts";

const START_MS = Date.UTC(2026, 10, 29);
const LISTEN = 0;

/** What an address does: answers after so many ms, refuses after so many, or drops every packet. */
type Address = { answers: number } | { refuses: number } | "drops";

class Network {
  readonly clock = new SimulatedClock(START_MS, { awaits: "promises" });
  readonly startMs = this.clock.monotonicMs();
  /** Address and time of each attempt. */
  readonly tried: [string, number][] = [];
  readonly open = new Set<string>();
  readonly stop = new AbortController();

  constructor(readonly addresses: Readonly<Record<string, Address>>, readonly heeds = true) {}

  async connect(address: string, signal: AbortSignal) {
    this.tried.push([address, this.clock.monotonicMs() - this.startMs]);
    const how = this.addresses[address] ?? "drops";
    const ms = how === "drops" ? 1e9 : "answers" in how ? how.answers : how.refuses;
    await this.clock.sleep(ms, this.heeds ? signal : undefined);
    if (this.heeds) signal.throwIfAborted();
    if (how !== "drops" && "refuses" in how) throw new Error("refused");
    this.open.add(address);
    return { close: () => void this.open.delete(address) };
  }

  run() {
    return connectFirst(
      Object.keys(this.addresses),
      (address, signal) => this.connect(address, signal),
      { clock: this.clock, signal: this.stop.signal },
    );
  }

  /** The winner and how long it took, ms. */
  async winner(): Promise<[string, number]> {
    let won = "";
    const racing = this.run().then(({ address }) => won = address);
    const tookMs = await this.clock.advanceUntil("connects", () => won !== "");
    await racing;
    return [won, tookMs];
  }
}

Deno.test("the families take turns, the first one first, and no address is tried twice", () => {
  assertEquals(inTurns(["::1", "::2", "1.1.1.1"]), ["::1", "1.1.1.1", "::2"]);
  assertEquals(inTurns(["1.1.1.1", "2.2.2.2", "::1", "::2", "::3"]), [
    ...["1.1.1.1", "::1", "2.2.2.2", "::2", "::3"],
  ]);
  assertEquals(inTurns(["1.1.1.1", "1.1.1.1"]), ["1.1.1.1"]);
  assertEquals(inTurns([]), []);
});

Deno.test("an address that answers is the only one that is tried", async () => {
  const network = new Network({ "1.1.1.1": { answers: 200 }, "::1": { answers: 1 } });
  assertEquals(await network.winner(), ["1.1.1.1", 200]);
  assertEquals(network.tried, [["1.1.1.1", LISTEN]]);
  assertEquals([...network.open], ["1.1.1.1"]);
  assertEquals(network.clock.sleepers, 0);
});

Deno.test("a first address that drops every packet costs 250 ms", async () => {
  const network = new Network({ "1.1.1.1": "drops", "2.2.2.2": { answers: 30 } });
  assertEquals(await network.winner(), ["2.2.2.2", 280]);
  assertEquals([[...network.open], network.clock.sleepers], [["2.2.2.2"], 0]);
});

Deno.test("a family without a network costs nothing: the next address follows at once", async () => {
  const network = new Network({
    ...{ "::1": { refuses: 0 }, "::2": { refuses: 0 }, "1.1.1.1": { answers: 20 } },
  });
  assertEquals(await network.winner(), ["1.1.1.1", 20]);
});

Deno.test("a slow address may win after the next one was tried; the loser is closed", async () => {
  const network = new Network({ "1.1.1.1": { answers: 300 }, "2.2.2.2": { answers: 100 } });
  assertEquals(await network.winner(), ["1.1.1.1", 300]);
  await network.clock.advance(1000);
  assertEquals([...network.open], ["1.1.1.1"]);
});

Deno.test("a loser that connects all the same is closed", async () => {
  const network = new Network({ "1.1.1.1": { answers: 400 }, "2.2.2.2": { answers: 10 } }, false);
  assertEquals(await network.winner(), ["2.2.2.2", 260]);
  await network.clock.advance(1000);
  assertEquals([...network.open], ["2.2.2.2"]);
});

Deno.test("when all addresses fail, each has its reason and its own limit of 10 s", async () => {
  for (const heeds of [true, false]) {
    const network = new Network(
      { "1.1.1.1": "drops", "::1": { refuses: 5 }, "2.2.2.2": "drops" },
      heeds,
    );
    let failure: unknown;
    network.run().catch((error) => failure = error);
    const tookMs = await network.clock.advanceUntil("fails", () => failure !== undefined);
    assertEquals(tookMs, 10_255);
    assertEquals(network.tried, [["1.1.1.1", 0], ["::1", 250], ["2.2.2.2", 255]]);
    const reasons = (failure as NoAddress).failures.map(({ address, error }) =>
      `${address} ${error}`
    );
    assertEquals(reasons, [
      "::1 Error: refused",
      "1.1.1.1 TimeoutError: no answer for 10 s",
      "2.2.2.2 TimeoutError: no answer for 10 s",
    ]);
  }
});

Deno.test("a name without addresses fails at once", async () => {
  await assertRejects(() => new Network({}).run(), NoAddress);
});

Deno.test("an abort ends all attempts at once, and nothing stays open", async () => {
  for (const heeds of [true, false]) {
    const network = new Network({ "1.1.1.1": { answers: 500 }, "::1": { answers: 500 } }, heeds);
    const racing = network.run();
    racing.catch(() => {});
    await network.clock.advance(300);
    network.stop.abort(new Error("stop!"));
    await assertRejects(() => racing, Error, "stop!");
    await network.clock.advance(1000);
    assertEquals([network.tried.length, network.open.size], [2, 0]);
    await assertRejects(() => network.run(), Error, "stop!");
  }
});
