import { assertEquals } from "@std/assert";
import { type ChunkName, formatChunkName } from "../../src/chunk/chunk_name.ts";
import { DeliveredDeletions } from "../../src/spool/deletions.ts";
import { chunkAt, chunksIn, TempSpool } from "../fixtures/temp_spool.ts";

const NOON = Date.UTC(2026, 5, 15, 12);
const DAY_MS = 86_400_000;

Deno.test("deletions of delivered chunks are reported once for each day, and at the end", () => {
  const deletions = new DeliveredDeletions();
  const [first, second, third] = [0, 1, 2].map((at) => chunkAt(NOON + at * 60_000));
  if (!first || !second || !third) throw new Error("no names");
  assertEquals(deletions.takeDay(NOON), null);
  deletions.add(first, 100);
  deletions.add(second, 50);
  assertEquals(deletions.takeDay(NOON + 1000), null, "the day is not over");
  assertEquals(deletions.takeDay(NOON + DAY_MS), {
    day: "2026-06-15",
    chunks: 2,
    bytes: 150,
    seconds: (first.durationUs + second.durationUs) / 1e6,
    first: formatChunkName(first),
    last: formatChunkName(second),
  });
  assertEquals(deletions.takeDay(NOON + DAY_MS), null);
  deletions.add(third, 7);
  const end = deletions.takeDay(NOON + DAY_MS + 5, true);
  assertEquals([end?.day, end?.chunks, end?.bytes], ["2026-06-16", 1, 7]);
  assertEquals(deletions.takeDay(NOON + DAY_MS + 5, true), null);
  assertEquals(deletions.takeDay(NOON + 2 * DAY_MS), null);
  assertEquals(deletions.chunks, 3);
});

Deno.test("with keep_delivered_days 0 a chunk is gone at the moment of delivery, and is counted", async () => {
  await using temp = await TempSpool.open();
  const { spool } = temp;
  const [kept, gone] = [chunkAt(NOON), chunkAt(NOON + 60_000)];
  for (const name of [kept, gone]) {
    const part = await spool.create(name);
    await part.append(new Uint8Array(10));
    await part.seal(name);
    spool.sending.add(name.key); // as while it is being filed
  }
  assertEquals(await spool.markUploaded(formatChunkName(kept)), true);
  spool.keepsDelivered = false;
  assertEquals(await spool.markUploaded(formatChunkName(gone)), true);
  assertEquals(await spool.markUploaded(formatChunkName(gone)), false, "it is gone already");
  await spool.uploadedSynced();
  assertEquals(chunksIn(spool, "uploaded"), [formatChunkName(kept)]);
  assertEquals(chunksIn(spool, "outbox"), []);
  assertEquals(spool.tally.outbox, { files: 0, bytes: 0, durationUs: 0 });
  assertEquals(spool.deliveredDeletions.chunks, 1);
});

Deno.test("with keep_delivered_days 0 the next start knows the last chunk, though it is deleted", async () => {
  await using temp = await TempSpool.open();
  temp.spool.keepsDelivered = false;
  const [first, last] = [chunkAt(NOON), chunkAt(NOON + 60_000)];
  for (const name of [first, last]) await temp.store("outbox", name);
  assertEquals(await temp.spool.markUploaded(formatChunkName(first)), true);
  assertEquals((await temp.reopen()).latest("boot")?.key, last.key);
  temp.spool.keepsDelivered = false;
  assertEquals(await temp.spool.markUploaded(formatChunkName(last)), true);
  assertEquals(chunksIn(temp.spool, "outbox"), []);
  assertEquals((await temp.reopen()).latest("boot")?.key, last.key);
  // A chunk that is there and newer counts, whatever the file says.
  const next = chunkAt(NOON + 120_000);
  await temp.store("outbox", next);
  assertEquals((await temp.reopen()).latest("boot")?.key, next.key);
  await Deno.writeTextFile(`${temp.dir}/last_deleted`, "nonsense");
  assertEquals((await temp.reopen()).latest("boot")?.key, next.key);
});

Deno.test("the next start knows the last deleted chunk though an earlier one was named by a clock that was ahead", async () => {
  await using temp = await TempSpool.open();
  const { spool } = temp;
  spool.keepsDelivered = false;
  const record = async (name: ChunkName) => {
    const part = await spool.create(name);
    await part.append(new Uint8Array(10));
    return await part.seal(name);
  };
  const first = chunkAt(NOON);
  const provisional = { bootId: "0a1b2c3d", startBootUs: 1e6, seenUnixS: null };
  const ahead = { ...first, startUnixUs: first.startUnixUs + DAY_MS * 1000, provisional };
  await record(ahead);
  await spool.rename("outbox", formatChunkName(ahead), first); // the clock has become right
  const [last, back] = [chunkAt(NOON + 60_000), chunkAt(NOON - DAY_MS)]; // and was set back
  for (const name of [first, last, back]) {
    if (name !== first) await record(name);
    await spool.markUploaded(formatChunkName(name));
    assertEquals(
      (await Deno.readTextFile(`${temp.dir}/last_deleted`)).trim(),
      formatChunkName(name),
    );
  }
  assertEquals((await temp.reopen()).latest("0a1b2c3d")?.key, back.key);
});

Deno.test("the next start knows the last deleted chunk though an earlier one was sealed after it", async () => {
  await using temp = await TempSpool.open();
  const { spool } = temp;
  spool.keepsDelivered = false;
  const [stuck, last] = [chunkAt(NOON), chunkAt(NOON + 60_000)];
  const parts = [await spool.create(stuck), await spool.create(last)];
  for (const part of parts) await part.append(new Uint8Array(10));
  await parts[1]?.seal(last);
  await parts[0]?.seal(stuck);
  for (const name of [last, stuck]) await spool.markUploaded(formatChunkName(name));
  assertEquals((await temp.reopen()).latest("boot")?.key, last.key);
});

Deno.test("only the deletion of a delivered chunk is counted as one", async () => {
  await using temp = await TempSpool.open();
  const { spool } = temp;
  for (const [dir, counted] of [["outbox", 0], ["rejected", 0], ["uploaded", 1]] as const) {
    await spool.remove(dir, await temp.store(dir, chunkAt(NOON)));
    assertEquals(spool.deliveredDeletions.chunks, counted, dir);
  }
});
