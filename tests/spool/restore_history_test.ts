// What the status page knows about today from before the start: from chunk names and gaps.jsonl.

import { assertEquals } from "@std/assert";
import { join } from "@std/path/join";
import { History, MINUTE_MS } from "../../src/status/history.ts";
import { restoreHistory } from "../../src/spool/restore_history.ts";
import { SimulatedClock } from "../fixtures/simulated_clock.ts";
import { chunkAt, TempSpool } from "../fixtures/temp_spool.ts";

const MIDNIGHT_MS = Date.UTC(2026, 10, 23);
const NOON_MS = MIDNIGHT_MS + 720 * MINUTE_MS;

Deno.test("today's chunks from before the start are restored from every directory", async () => {
  await using temp = await TempSpool.open();
  await temp.store("uploaded", chunkAt(MIDNIGHT_MS - 30_000));
  await temp.store("uploaded", chunkAt(MIDNIGHT_MS - 3_600_000));
  await temp.store("rejected", chunkAt(MIDNIGHT_MS + 10 * MINUTE_MS));
  await temp.store("outbox", chunkAt(MIDNIGHT_MS + 20 * MINUTE_MS + 15_000));
  await temp.store("outbox", chunkAt(NOON_MS));
  const history = new History(new SimulatedClock(NOON_MS), "UTC");
  await restoreHistory(history, temp.spool, NOON_MS);
  const recorded = [...history.today().recordedMs.entries()].filter(([, ms]) => ms > 0);
  assertEquals(recorded, [[0, 30_000], [10, 60_000], [20, 45_000], [21, 15_000]]);
});

Deno.test("a chunk that is delivered between two listings counts once", async () => {
  await using temp = await TempSpool.open();
  const name = await temp.store("outbox", chunkAt(MIDNIGHT_MS + 30_000, 20));
  const history = new History(new SimulatedClock(NOON_MS), "UTC");
  await restoreHistory(history, {
    dir: temp.dir,
    recount: async (dir, isWanted) => {
      const names = await temp.spool.recount(dir, isWanted);
      if (dir === "outbox") await temp.spool.markUploaded(name);
      return names;
    },
  }, NOON_MS);
  assertEquals(history.today().recordedMs[0], 20_000);
});

Deno.test("the last gaps are restored, and lines that are not gaps are skipped", async () => {
  await using temp = await TempSpool.open();
  const gap = (minute: number) => ({
    start: new Date(MIDNIGHT_MS + minute * MINUTE_MS).toISOString(),
    end: new Date(MIDNIGHT_MS + minute * MINUTE_MS + 1000).toISOString(),
    ms: 1000 + minute,
    cause: "microphone_lost",
  });
  const lines = Array.from({ length: 200 }, (_, minute) => JSON.stringify(gap(minute)));
  lines.push(
    "",
    "{",
    "null",
    "7",
    JSON.stringify({ ...gap(799), start: "x" }),
    JSON.stringify(gap(800)),
  );
  await Deno.writeTextFile(join(temp.dir, "gaps.jsonl"), lines.join("\n") + "\n");
  const history = new History(new SimulatedClock(NOON_MS), "UTC");
  history.gapDeclared({ ...gap(721), cause: "starting" });
  await restoreHistory(history, temp.spool, NOON_MS);
  assertEquals(history.gaps, [
    ...[193, 194, 195, 196, 197, 198, 199].map(gap),
    { ...gap(721), cause: "starting" },
  ]);
});

Deno.test("a spool that cannot be read throws no error", async () => {
  const history = new History(new SimulatedClock(NOON_MS), "UTC");
  const broken = { dir: "/nowhere", recount: () => Promise.reject(new Error("EIO")) };
  await restoreHistory(history, broken, NOON_MS);
  assertEquals(history.gaps, []);
});
