import { assertEquals } from "@std/assert";
import { PROBE_AFTER, QueueOrder } from "../../src/upload/queue_order.ts";

const INTERVAL_MS = 300_000;

function fail(order: QueueOrder, key: string, times = PROBE_AFTER): void {
  for (let time = 0; time < times; time++) order.failed(key, 0);
}

/** Passes over a chunk, as happens when the server accepts another one instead. */
function passOver(order: QueueOrder, key: string, nowMs = 0): void {
  fail(order, key);
  order.accepted(`behind ${key}`, nowMs);
  order.failed(key, nowMs);
}

Deno.test("the oldest chunk is suspect after eight failures in a row, until the server accepts it", () => {
  const order = new QueueOrder(INTERVAL_MS);
  fail(order, "a", PROBE_AFTER - 1);
  assertEquals(order.isSuspect("a"), false);
  fail(order, "a", 1);
  assertEquals([order.isSuspect("a"), order.isSuspect("b")], [true, false]);
  order.accepted("a", 0);
  assertEquals([order.isSuspect("a"), order.dueAgain(0)], [false, null]);
});

Deno.test("the count of failures starts over when another chunk becomes the oldest", () => {
  const order = new QueueOrder(INTERVAL_MS);
  fail(order, "b", PROBE_AFTER - 1);
  fail(order, "a", 1); // an older one has appeared
  fail(order, "b", PROBE_AFTER - 1);
  assertEquals(order.isSuspect("b"), false);
  order.accepted("c", 0);
  assertEquals(order.dueAgain(0), null);
});

/** Sends until the server has accepted every chunk that it accepts; returns the keys in the order of attempts. */
function send(order: QueueOrder, waiting: string[], takes: RegExp, attempts: number): string {
  let sent = "";
  for (let attempt = 0; attempt < attempts; attempt++) {
    const again = order.dueAgain(0);
    const oldest = waiting.find((key) => !order.passedOver.has(key)) ?? "";
    const probe = waiting.find((key) => order.isUnknown(key)) ?? oldest;
    const key = again ?? (order.isSuspect(oldest) ? probe : oldest);
    sent += key;
    if (!takes.test(key)) order.failed(key, 0);
    else {
      order.accepted(key, 0);
      waiting.splice(waiting.indexOf(key), 1);
    }
  }
  return sent;
}

Deno.test("while all attempts fail, one in nine is for another chunk than the oldest", () => {
  const order = new QueueOrder(INTERVAL_MS);
  const sent = send(order, [..."abc"], /nothing/, 36);
  assertEquals(sent, ["b", "c", "a", "a"].map((probe) => "aaaaaaaa" + probe).join(""));
  assertEquals(order.passedOver.size, 0);
});

Deno.test("several failing chunks in a row are each passed over when the next one is accepted", () => {
  const order = new QueueOrder(INTERVAL_MS);
  const sent = send(order, [..."abcxyz"], /[xyz]/, 47);
  const eight = (key: string) => key.repeat(PROBE_AFTER);
  assertEquals(
    sent,
    eight("a") + "b" + eight("a") + "c" + eight("a") + "xa" + eight("b") + "c" + eight("b") + "yb",
  );
  assertEquals([...order.passedOver], ["a", "b"]);
});

Deno.test("after an accepted probe the oldest chunk has one more try; if that fails, it is passed over", () => {
  const order = new QueueOrder(INTERVAL_MS);
  fail(order, "a");
  order.accepted("b", 1000);
  assertEquals([order.dueAgain(1000), order.passedOver.size], ["a", 0]);
  assertEquals(order.failed("a", 1000), true);
  assertEquals([...order.passedOver], ["a"]);
  assertEquals(order.dueAgain(1000 + INTERVAL_MS - 1), null);
  assertEquals(order.dueAgain(1000 + INTERVAL_MS), "a");
});

Deno.test("if the server recovers while the second oldest is tried, only the order of the two changes", () => {
  const order = new QueueOrder(INTERVAL_MS);
  fail(order, "a");
  order.accepted("b", 1000);
  order.accepted("a", 1000);
  assertEquals([order.passedOver.size, order.dueAgain(Infinity)], [0, null]);
});

Deno.test("chunks passed over are tried in turn, one per interval, or later if the server asks for it", () => {
  const order = new QueueOrder(100);
  for (const key of ["a", "b"]) passOver(order, key);
  const tried: string[] = [];
  for (let nowMs = 0; nowMs < 700; nowMs += 10) {
    const key = order.dueAgain(nowMs);
    if (key === null) continue;
    tried.push(`${key} ${nowMs}`);
    order.failed(key, nowMs, key === "b" ? 250 : 0);
  }
  assertEquals(tried, ["a 100", "b 200", "a 450", "b 550"]);
  assertEquals([...order.passedOver], ["a", "b"]);
});

Deno.test("when one of them is accepted after all, the next is tried at once", () => {
  const order = new QueueOrder(INTERVAL_MS);
  for (const key of ["a", "b", "c"]) passOver(order, key);
  order.accepted("a", INTERVAL_MS);
  assertEquals(order.dueAgain(INTERVAL_MS), "b");
  order.failed("b", INTERVAL_MS);
  assertEquals(order.dueAgain(INTERVAL_MS), null);
  order.forget("c");
  assertEquals([...order.passedOver], ["b"]);
});

Deno.test("at most a hundred chunks are passed over: beyond that, the server is at fault", () => {
  const order = new QueueOrder(INTERVAL_MS);
  for (let index = 0; index < 100; index++) passOver(order, `${index}`);
  fail(order, "one more");
  order.accepted("b", 0);
  assertEquals(order.failed("one more", 0), false);
  assertEquals([order.passedOver.size, order.passedOver.has("one more")], [100, false]);
});

Deno.test("a chunk that is gone, or failures caused by the configuration, leave no suspicion", () => {
  const order = new QueueOrder(INTERVAL_MS);
  fail(order, "a");
  order.forget("a");
  order.accepted("b", 0);
  assertEquals(order.dueAgain(0), null);
  fail(order, "a");
  order.absolve();
  order.accepted("b", 0);
  assertEquals(order.dueAgain(0), null);
  for (const end of [() => order.forget("a"), () => order.absolve()]) {
    fail(order, "a");
    order.accepted("b", 0); // it is on trial
    end();
    assertEquals(order.dueAgain(0), null);
  }
});
