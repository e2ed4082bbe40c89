import { assert, assertEquals } from "@std/assert";
import { OldestNames } from "../../src/spool/oldest_names.ts";
import { seededRandom } from "../fixtures/random.ts";

const any = () => true;

Deno.test("of names in any order the oldest are held, and no more than twice as many as asked", () => {
  const random = seededRandom(1);
  const names = Array.from({ length: 5000 }, () => String(random()).padEnd(20, "0"));
  const oldest = new OldestNames(100);
  for (const name of names) oldest.offer(name);
  const held: string[] = [];
  for (let name = oldest.find(any); name !== null; name = oldest.find(any)) {
    held.push(name);
    oldest.forget(name);
  }
  assert(held.length >= 100 && held.length < 200, `${held.length} held`);
  assertEquals(held, names.toSorted().slice(0, held.length));
});

Deno.test("a name behind those that are held is not, even when these are gone: others lie between", () => {
  const oldest = new OldestNames(2);
  for (const name of ["d", "c", "b", "a"]) oldest.offer(name);
  oldest.forget("a");
  oldest.forget("b");
  oldest.offer("e");
  assertEquals(oldest.find(any), null);
  oldest.offer("b2");
  assertEquals(oldest.find(any), "b2");
});

Deno.test("as long as everything is held, what comes is, too, in its place", () => {
  const oldest = new OldestNames(3);
  for (const name of ["b", "d"]) oldest.offer(name);
  assertEquals(oldest.find(any), "b");
  oldest.offer("c");
  oldest.offer("a");
  oldest.forget("c");
  assertEquals(oldest.find(any), "a");
  assertEquals(oldest.find((name) => name > "b"), "d");
  assertEquals(oldest.find((name) => name > "d"), null);
});
