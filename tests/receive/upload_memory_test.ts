// Whose upload finds room when the memory for uploads is short.

import { assertEquals, assertThrows } from "@std/assert";
import { StoreFailure } from "../../src/receive/store.ts";
import { UploadMemory } from "../../src/receive/upload_memory.ts";

/** Of 160: a client keeps 10, and may hold 80. */
function rig() {
  const memory = new UploadMemory(160);
  const givenUp: string[] = [];
  return {
    givenUp,
    begin: (name: string) => memory.begin(name.charAt(0), () => givenUp.push(name)),
  };
}

function failsWith(work: () => void, words: string): void {
  assertThrows(work, StoreFailure, words);
}

Deno.test("the uploads of one client never fill the memory, however many there are", () => {
  const { begin } = rig();
  const [first, second] = [begin("a1"), begin("a2")];
  first.hold(40);
  second.hold(40);
  failsWith(() => second.hold(1), "the uploads of one client fill the");
  failsWith(() => begin("a3").hold(1), "the uploads of one client fill the");
  begin("b1").hold(80);
  first.release();
  second.hold(40);
});

Deno.test("what a client holds beyond its share goes to others that need room, its newest upload first", () => {
  const { begin, givenUp } = rig();
  const uploads = ["a1", "b1", "a2"].map(begin);
  uploads[0]?.hold(30);
  uploads[1]?.hold(80);
  uploads[2]?.hold(50);
  begin("c1").hold(9);
  assertEquals(givenUp, ["a2"], "of two that hold the same, the one that began last");
  begin("c2").hold(50);
  assertEquals(givenUp, ["a2", "b1"], "the client that holds most");
  const words = "needed the memory of this one";
  failsWith(() => uploads[1]?.hold(1), words);
  failsWith(() => uploads[1]?.settle(), words);
  uploads[1]?.release();
  uploads[0]?.hold(50);
});

Deno.test("what is within the share of its client, or waits for the store, is not given up", () => {
  const { begin, givenUp } = rig();
  const large = begin("a1");
  large.hold(80);
  large.settle();
  for (const name of ["b1", "c1", "d1", "e1", "f1", "g1", "h1", "i1"]) begin(name).hold(10);
  const words = "the uploads in progress fill the";
  failsWith(() => begin("j1").hold(1), words);
  large.release();
  begin("j1").hold(60);
  failsWith(() => begin("k1").hold(61), words);
  assertEquals(givenUp, [], "no client gives up what is less than the other would hold");
  begin("k2").hold(30);
  assertEquals(givenUp, ["j1"]);
});
