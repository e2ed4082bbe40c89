import { assertEquals } from "@std/assert";
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

Deno.test("a recording that the start had to finish was recorded last", () => {
  const latest = new LatestChunk();
  const [newer, cutOff] = [makeName(5), makeName(3)]; // the clock was set back in between
  latest.listed(newer);
  latest.admitted(cutOff);
  assertEquals(latest.find("b"), cutOff);
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
