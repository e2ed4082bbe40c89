import { assert, assertEquals } from "@std/assert";
import { PushQueue } from "../../src/web/push_queue.ts";

Deno.test("a queue within its bound keeps every entry in order", () => {
  const queue = new PushQueue<number>(4);
  for (const entry of [1, 2, 3, 4]) queue.add(entry);
  assertEquals(queue.oldest(10), [1, 2, 3, 4]);
  assertEquals(queue.oldest(2), [1, 2]);
});

Deno.test("an outage of any length stays covered from its first to its last entry, within the bound", () => {
  const queue = new PushQueue<number>(60);
  for (let entry = 0; entry <= 10_000; entry++) {
    queue.add(entry);
    assert(queue.length <= 60, `${queue.length}`);
    const held = queue.oldest(60);
    assertEquals([held[0], held.at(-1)], [0, entry]);
  }
  const held = queue.oldest(60);
  assert(held.length > 20, `${held.length}`);
  const apart = held.slice(1).map((entry, index) => entry - (held[index] ?? NaN));
  assert(Math.max(...apart) <= 512 && Math.min(...apart.slice(0, -1)) >= 128, `${apart}`);
});

Deno.test("dropping a batch keeps what was added meanwhile, even if the queue was thinned meanwhile", () => {
  const queue = new PushQueue<number>(4);
  for (const entry of [1, 2, 3, 4]) queue.add(entry);
  const batch = queue.oldest(3);
  queue.add(5);
  queue.drop(batch);
  assertEquals(queue.oldest(10).filter((entry) => batch.includes(entry)), []);
  assertEquals(queue.oldest(10).at(-1), 5);
});
