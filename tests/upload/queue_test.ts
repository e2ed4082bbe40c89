// Which chunk is sent next: the oldest waiting one, and now and then one from rejected/.

import { assertEquals } from "@std/assert";
import { Blame } from "../../src/upload/blame.ts";
import { type Chosen, Queue } from "../../src/upload/queue.ts";
import { Unfiled } from "../../src/upload/unfiled.ts";
import { makeName } from "../fixtures/chunks.ts";
import { TempSpool } from "../fixtures/temp_spool.ts";

const HOUR_MS = 3_600_000;

/** A queue of chunks in both directories, named by their minutes, and a clock. */
async function startQueue(waiting: number[], refused: number[]) {
  const temp = await TempSpool.open();
  const minuteOf = new Map<string, number>();
  for (const [dir, minutes] of [["outbox", waiting], ["rejected", refused]] as const) {
    for (const minute of minutes) minuteOf.set(await temp.store(dir, makeName(minute)), minute);
  }
  const time = { nowMs: 1000 };
  const clock = { monotonicMs: () => time.nowMs };
  const blame = new Blame(300_000);
  const unfiled = new Unfiled(300_000, temp.spool.accepted);
  const queue = new Queue({ spool: temp.spool, blame, unfiled, clock }, () => 0);
  const next = async (): Promise<Chosen | null> => {
    const chosen = await queue.next();
    return chosen !== null && "name" in chosen ? chosen : null;
  };
  const minute = (chosen: Chosen | null) => minuteOf.get(chosen?.fileName ?? "") ?? null;
  return {
    temp,
    time,
    blame,
    unfiled,
    queue,
    next,
    minute,
    [Symbol.asyncDispose]: () => temp[Symbol.asyncDispose](),
  };
}

Deno.test("refused chunks are tried again after 1, 2, 4 … 24 h, one at a time, each in its turn", async () => {
  await using setup = await startQueue([], [0, 1, 2]);
  const { time, queue, next, minute } = setup;
  const tried: [hour: number, minute: number | null][] = [];
  for (let quarter = 0; quarter < 100 * 4; quarter++, time.nowMs += HOUR_MS / 4) {
    const chosen = await next();
    if (chosen === null) continue;
    tried.push([quarter / 4, minute(chosen)]);
    queue.triedAgain(chosen.name, "refused");
  }
  assertEquals(tried, [[1, 0], [3, 1], [7, 2], [15, 0], [31, 1], [55, 2], [79, 0]]);
});

Deno.test("a failure that says nothing about the chunk does not lengthen the interval", async () => {
  await using setup = await startQueue([], [0]);
  const { time, queue, next } = setup;
  for (let hour = 1; hour <= 5; hour++) {
    time.nowMs += HOUR_MS;
    const chosen = await next();
    if (chosen !== null) queue.triedAgain(chosen.name, "failed");
    assertEquals(queue.rejectedWaitMs, HOUR_MS);
  }
});

Deno.test("when a refused chunk is accepted, the others follow at once, in turn with the waiting ones", async () => {
  await using setup = await startQueue([10, 11, 12], [0, 1, 2]);
  const { temp, time, queue, next, minute } = setup;
  time.nowMs += HOUR_MS;
  const order: (number | null)[] = [];
  for (let chosen = await next(); chosen !== null; chosen = await next()) {
    order.push(minute(chosen));
    if (chosen.dir === "outbox") await temp.spool.markUploaded(chosen.fileName);
    else {
      await temp.spool.markRejectedUploaded(chosen.fileName);
      queue.triedAgain(chosen.name, "accepted");
    }
  }
  assertEquals(order, [0, 10, 1, 11, 2, 12]);
  assertEquals(temp.files("rejected"), []);
});

Deno.test("no refused chunk is tried while the server accepts nothing, and none is sent beside another chunk", async () => {
  await using setup = await startQueue([10, 11], [0]);
  const { time, blame, queue, next, minute } = setup;
  const oldest = await next();
  if (oldest === null) throw new Error("nothing waits");
  assertEquals(minute(await queue.behind([])), 10);
  time.nowMs += HOUR_MS;
  assertEquals(await queue.behind([oldest]), null);
  blame.failed({ name: oldest.name, sizeBytes: 1 }, "failed", time.nowMs);
  assertEquals(minute(await next()), 10);
  blame.accepted({ name: oldest.name, sizeBytes: 1 }, time.nowMs);
  const refused = await next();
  assertEquals(minute(refused), 0);
  assertEquals(await queue.behind(refused === null ? [] : [refused]), null);
});

Deno.test("the first refusal starts the first interval, later ones do not", async () => {
  await using setup = await startQueue([], []);
  const { temp, time, queue, next, minute } = setup;
  time.nowMs += 10 * HOUR_MS;
  queue.rejectionsBegin();
  await temp.store("rejected", makeName(0));
  assertEquals(await next(), null);
  time.nowMs += HOUR_MS;
  assertEquals([(await next())?.dir, minute(null)], ["rejected", null]);
});

Deno.test("refused chunks that were accepted and cannot be filed leave the waiting ones to be sent together", async () => {
  await using setup = await startQueue([10, 11, 12], [0, 1]);
  const { time, unfiled, queue, next, minute } = setup;
  time.nowMs += HOUR_MS;
  for (const expected of [0, 1]) {
    const refused = await next();
    assertEquals(minute(refused), expected);
    if (refused === null) continue;
    unfiled.add(refused, new Error("Read-only file system"), time.nowMs);
    queue.triedAgain(refused.name, "accepted");
    assertEquals(minute(await next()), 10);
  }
  const oldest = await next();
  assertEquals(minute(oldest), 10);
  setup.temp.spool.sending.add(oldest?.name.key ?? "");
  assertEquals(minute(await queue.behind(oldest === null ? [] : [oldest])), 11);
});

Deno.test("a chunk that the janitor is about to delete is not chosen, whatever its turn", async () => {
  await using setup = await startQueue([10, 11], [0]);
  const { temp, time, blame, queue, next, minute } = setup;
  const { deleting } = temp.spool;
  const oldest = await next();
  if (oldest === null) throw new Error("nothing waits");
  const nextWithout = async (...names: { key: string }[]) => {
    for (const { key } of names) deleting.add(key);
    const chosen = await next();
    deleting.clear();
    return minute(chosen);
  };
  assertEquals(await nextWithout(oldest.name), 11, "the oldest");
  deleting.add(oldest.name.key);
  assertEquals(minute(await queue.behind([])), 11, "the one behind others");
  deleting.clear();
  time.nowMs += HOUR_MS;
  const [refused] = await temp.spool.recount("rejected");
  if (refused === undefined) throw new Error("no chunk is refused");
  assertEquals(await nextWithout(refused), 10, "a refused one");
  assertEquals(await queue.planProbe(), true);
  assertEquals(await nextWithout(oldest.name, refused), 11, "the one in place of a suspect");
  blame.passOver(oldest, time.nowMs, new Error("Structure needs cleaning"));
  time.nowMs += HOUR_MS;
  assertEquals(await nextWithout(oldest.name, refused), 11, "one that is passed over, and due");
  assertEquals(await nextWithout(refused), 10, "it was not forgotten");
});
