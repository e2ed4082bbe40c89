import { assert, assertEquals, assertThrows } from "@std/assert";
import { concatBytes } from "../../src/system/concat_bytes.ts";
import { HeldBytes } from "../../src/receive/held_bytes.ts";

const MILLION = 1_000_000;

Deno.test("what comes byte by byte takes little more memory than its bytes, and stays in order", () => {
  const held = new HeldBytes(() => {});
  const piece = new Uint8Array(1);
  const usedMb = () => (Deno.memoryUsage().heapUsed + Deno.memoryUsage().external) / 1e6;
  const beforeMb = usedMb();
  for (let at = 0; at < MILLION; at++) {
    piece[0] = at % 251;
    held.push(piece);
  }
  const tookMb = usedMb() - beforeMb;
  assert(tookMb < 50, `${tookMb} MB`);
  const whole = held.whole();
  assertEquals(whole.length, MILLION);
  assert(whole.every((byte, at) => byte === at % 251));
});

Deno.test("pieces of every length are joined, and what is held is counted", () => {
  let count = 0;
  const held = new HeldBytes((bytes) => count += bytes);
  const lengths = [0, 1, 65_535, 65_536, 65_537, 200_000];
  const all = lengths.map((length, at) => new Uint8Array(length).fill(at));
  for (const piece of all) held.push(piece);
  const total = lengths.reduce((sum, length) => sum + length, 0);
  assertEquals([held.whole(), count], [concatBytes(all), total]);
  held.push(new Uint8Array(3));
  count -= 3;
  held.clear();
  held.clear();
  assertEquals(held.whole().length, 0);
  held.push(new Uint8Array([7]));
  assertEquals([held.whole(), count], [new Uint8Array([7]), total + 1]);
});

Deno.test("a piece that may not be held is not held", () => {
  const held = new HeldBytes((bytes) => {
    if (bytes > 2) throw new Error("too much");
  });
  held.push(new Uint8Array([1, 2]));
  assertThrows(() => held.push(new Uint8Array(3)), Error, "too much");
  assertEquals(held.whole(), new Uint8Array([1, 2]));
});
