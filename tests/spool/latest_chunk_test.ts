import { assert, assertEquals } from "@std/assert";
import { LatestChunk } from "../../src/spool/latest_chunk.ts";
import { makeName } from "../fixtures/chunks.ts";

function provisional(bootId: string, startBootUs: number) {
  return { ...makeName(-100_000), provisional: { bootId, startBootUs, seenUnixS: null } };
}

Deno.test("the chunk with the latest start was recorded last", () => {
  const latest = new LatestChunk();
  assertEquals(latest.find("b"), null);
  const names = [makeName(3), makeName(5), makeName(4)];
  for (const name of names) latest.listed(name);
  assertEquals(latest.find("b"), names[1]);
});

Deno.test("a recording that the start had to finish was recorded last, unless a later one was sealed before it", () => {
  const latest = new LatestChunk();
  const [older, cutOff, newer] = [makeName(3), makeName(4), makeName(5)];
  latest.listed(older);
  latest.recovered(cutOff);
  assertEquals([latest.find("b"), latest.isLatest(cutOff)], [cutOff, true]);
  latest.listed(newer);
  assertEquals([latest.find("b"), latest.isLatest(newer)], [newer, true]);
});

Deno.test("a recording that the start had to finish was recorded last if its time is not known yet", () => {
  const latest = new LatestChunk();
  const [there, cutOff] = [makeName(5), provisional("b", 7e6)];
  latest.listed(there);
  latest.recovered(cutOff);
  for (const bootId of ["b", "c"]) assertEquals(latest.find(bootId), cutOff);
  const { provisional: _, ...rest } = cutOff;
  latest.renamed({ ...rest, startUnixUs: there.startUnixUs - 1 });
  assertEquals(latest.find("b"), there);
});

Deno.test("a chunk that is sealed after later ones of its run was not recorded last", () => {
  const latest = new LatestChunk();
  const [stuck, next] = [makeName(3), makeName(4)];
  latest.admitted(next, 2);
  latest.admitted(stuck, 1);
  assertEquals([latest.find("b"), latest.isLatest(next)], [next, true]);
});

Deno.test("a chunk of this boot without its true time is later than one of an earlier boot", () => {
  const latest = new LatestChunk();
  const [first, second, other] = [
    provisional("b", 7e6),
    provisional("b", 67e6),
    provisional("c", 9e9),
  ];
  for (const name of [makeName(5), second, first, other]) latest.listed(name);
  assertEquals(latest.find("b"), second);
});

Deno.test("the recording that began last in this run was recorded last, whatever the clock said", () => {
  const latest = new LatestChunk();
  const names = [makeName(3), makeName(5), makeName(4)]; // the clock was set back
  for (const [number, name] of names.entries()) {
    latest.admitted(name, number);
    assertEquals(latest.find("b"), name);
    assert(latest.isLatest(name));
  }
});

Deno.test("a chunk that got its true time is compared by it, and is the latest one still if it was that", () => {
  const latest = new LatestChunk();
  const [ahead, there] = [provisional("b", 7e6), makeName(5)];
  latest.listed(there);
  latest.admitted(ahead, 1);
  const { provisional: _, ...rest } = ahead;
  const renamed = { ...rest, startUnixUs: there.startUnixUs - 1 };
  latest.renamed(renamed);
  assertEquals([latest.find("b"), latest.isLatest(ahead)], [renamed, true]);
  const started = new LatestChunk();
  for (const name of [there, ahead]) started.listed(name);
  assertEquals(started.find("b"), ahead);
  started.renamed(renamed);
  assertEquals([started.find("b"), started.isLatest(there)], [there, true]);
});

Deno.test("a recording of this boot was recorded last, whatever the clocks of others said", () => {
  const latest = new LatestChunk();
  const [early, late] = [provisional("b", 7e6), provisional("b", 67e6)];
  for (const [number, name] of [makeName(5), early, late, makeName(6)].entries()) {
    latest.admitted(name, number);
  }
  assertEquals(latest.find("b"), late);
  assertEquals(latest.find("c")?.key, latest.find("another boot")?.key);
});

Deno.test("the latest chunk is known by its key: at first of those that were there, then of those that came", () => {
  const latest = new LatestChunk();
  const [there, older, came] = [makeName(5), makeName(4), makeName(3)];
  assertEquals(latest.isLatest(there), false);
  latest.listed(there);
  latest.listed(older);
  assertEquals([there, older].map((name) => latest.isLatest(name)), [true, false]);
  latest.admitted(came, 1);
  assertEquals([there, came].map((name) => latest.isLatest(name)), [false, true]);
});
