import { assertEquals } from "@std/assert";
import { CoalescedSync } from "../../src/spool/coalesced_sync.ts";

/** Rounds that end when the test ends them. */
function heldSync() {
  const rounds: PromiseWithResolvers<void>[] = [];
  const sync = new CoalescedSync(() => {
    const round = Promise.withResolvers<void>();
    rounds.push(round);
    return round.promise;
  });
  return { sync, rounds };
}

/** A few turns of the microtask queue. */
async function turns(): Promise<void> {
  for (let turn = 0; turn < 10; turn++) await null;
}

Deno.test("a round begins at once, and requests during it share the next round", async () => {
  const { sync, rounds } = heldSync();
  sync.request();
  assertEquals(rounds.length, 1);
  for (let asked = 0; asked < 5; asked++) sync.request();
  await turns();
  assertEquals(rounds.length, 1, "two rounds at a time");
  rounds[0]?.resolve();
  await turns();
  assertEquals(rounds.length, 2, "changes after the first round had begun are not in it");
  rounds[1]?.resolve();
  await turns();
  assertEquals(rounds.length, 2);
  sync.request();
  assertEquals(rounds.length, 3);
  rounds[2]?.resolve();
  await sync.settled();
});

Deno.test("settled() waits for every requested round, and resolves at once if there is none", async () => {
  const { sync, rounds } = heldSync();
  await sync.settled();
  sync.request();
  sync.request();
  let isSettled = false;
  const settled = sync.settled().then(() => isSettled = true);
  rounds[0]?.resolve();
  await turns();
  assertEquals(isSettled, false);
  rounds[1]?.resolve();
  await settled;
});

Deno.test("a failed round throws no error, and the next round runs", async () => {
  const { sync, rounds } = heldSync();
  sync.request();
  sync.request();
  rounds[0]?.reject(new Error("the disk"));
  await turns();
  assertEquals(rounds.length, 2);
  rounds[1]?.reject(new Error("the disk"));
  await sync.settled();
});
