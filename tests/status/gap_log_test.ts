import { assert, assertEquals, assertRejects } from "@std/assert";
import { delay } from "@std/async/delay";
import { join } from "@std/path/join";
import { GapLog, readLastGaps } from "../../src/status/gap_log.ts";

function gap(ms: number) {
  return {
    start: "2026-06-15T12:00:00.000Z",
    end: "2026-06-15T12:00:01.000Z",
    ms,
    cause: "overrun",
  };
}

Deno.test("gaps.jsonl has one line per gap, and only its owner can read it", async () => {
  const dir = await Deno.makeTempDir();
  await new GapLog(dir).append(gap(1000));
  await new GapLog(dir).append(gap(20));
  const path = join(dir, "gaps.jsonl");
  const lines = (await Deno.readTextFile(path)).trimEnd().split("\n").map((line) =>
    JSON.parse(line)
  );
  assertEquals(lines, [gap(1000), gap(20)]);
  assertEquals(((await Deno.stat(path)).mode ?? 0) & 0o777, 0o600);
  await Deno.remove(dir, { recursive: true });
});

Deno.test("gaps.jsonl stays small: the older half is deleted, the newest gaps stay, every line is whole", async () => {
  const dir = await Deno.makeTempDir();
  const path = join(dir, "gaps.jsonl");
  const line = JSON.stringify(gap(1)) + "\n";
  await Deno.writeTextFile(path, line.repeat(Math.ceil(262_144 / line.length)));
  await new GapLog(dir).append(gap(777));
  assert((await Deno.stat(path)).size < 140_000);
  const lines = (await Deno.readTextFile(path)).trimEnd().split("\n").map((line) =>
    JSON.parse(line)
  );
  assertEquals(lines.at(-1), gap(777));
  assertEquals(lines[0], gap(1));
  await Deno.remove(dir, { recursive: true });
});

Deno.test("a gap is synced before it counts as declared, and one that could not be is written with the next", async () => {
  const dir = await Deno.makeTempDir();
  const path = join(dir, "gaps.jsonl");
  const log = new GapLog(dir);
  const { prototype } = Deno.FsFile;
  const { syncData } = prototype;
  let synced = 0;
  let failures = 0;
  try {
    prototype.syncData = async function () {
      if (failures-- > 0) throw new Error("Input/output error (os error 5)");
      synced = this.statSync().size;
      await syncData.call(this);
    };
    await log.append(gap(1));
    assertEquals(synced, (await Deno.stat(path)).size);
    failures = 2;
    for (const ms of [2, 3]) await assertRejects(() => log.append(gap(ms)), Error, "Input/output");
    assertEquals((await readLastGaps(dir)).map(({ ms }) => ms), [1], "none is there twice later");
    await log.append();
    assertEquals(synced, (await Deno.stat(path)).size);
  } finally {
    prototype.syncData = syncData;
  }
  assertEquals((await readLastGaps(dir)).map(({ ms }) => ms), [1, 2, 3]);
  await log.append();
  assertEquals((await readLastGaps(dir)).length, 3);
  await Deno.remove(dir, { recursive: true });
});

Deno.test("the entry of a new file is synced, also if the first gap could not be written", async () => {
  const dir = await Deno.makeTempDir();
  const log = new GapLog(dir);
  const { prototype } = Deno.FsFile;
  const { sync, syncData } = prototype;
  let folders = 0;
  try {
    prototype.sync = async function () {
      if (this.statSync().isDirectory) folders++;
      await sync.call(this);
    };
    prototype.syncData = () => Promise.reject(new Error("Input/output error (os error 5)"));
    await assertRejects(() => log.append(gap(1)), Error, "Input/output");
    prototype.syncData = syncData;
    await log.append(gap(2));
    assertEquals(folders, 1);
    await log.append(gap(3));
    assertEquals(folders, 1, "once is enough");
    await Deno.remove(join(dir, "gaps.jsonl"));
    await log.append(gap(4));
    assertEquals(folders, 2);
  } finally {
    Object.assign(prototype, { sync, syncData });
  }
  await Deno.remove(dir, { recursive: true });
});

Deno.test("the last gaps are read, whatever the file looks like", async () => {
  const dir = await Deno.makeTempDir();
  assertEquals(await readLastGaps(dir), []);
  const log = new GapLog(dir);
  for (let i = 0; i < 400; i++) await log.append(gap(i));
  await Deno.writeTextFile(join(dir, "gaps.jsonl"), '{"start":"2026-06', { append: true });
  const gaps = await readLastGaps(dir);
  assert(gaps.length > 100);
  assertEquals(gaps, Array.from(gaps, (_, at) => gap(400 - gaps.length + at)));
  await Deno.remove(dir, { recursive: true });
});

Deno.test("a line that a power cut has torn costs itself, and not the gap after it", async () => {
  const dir = await Deno.makeTempDir();
  const path = join(dir, "gaps.jsonl");
  await Deno.writeTextFile(path, JSON.stringify(gap(1)) + '\n{"start":"2026-06');
  await new GapLog(dir).append(gap(2));
  await new GapLog(dir).append(gap(3));
  const lines = (await Deno.readTextFile(path)).trimEnd().split("\n");
  assertEquals(lines.toSpliced(1, 1).map((line) => JSON.parse(line)), [gap(1), gap(2), gap(3)]);
  await Deno.remove(dir, { recursive: true });
});

Deno.test("gaps that are declared at once are kept one after the other, also while the file is cut", async () => {
  const dir = await Deno.makeTempDir();
  const line = JSON.stringify(gap(1)) + "\n";
  await Deno.writeTextFile(join(dir, "gaps.jsonl"), line.repeat(Math.ceil(262_144 / line.length)));
  const log = new GapLog(dir);
  await Promise.all([10, 11, 12, 13].map((ms) => log.append(gap(ms))));
  assertEquals((await readLastGaps(dir)).slice(-4).map(({ ms }) => ms), [10, 11, 12, 13]);
  await Deno.remove(dir, { recursive: true });
});

Deno.test("the last gaps are made durable between two appends, never during one that fails and is taken back", async () => {
  const dir = await Deno.makeTempDir();
  const log = new GapLog(dir);
  await log.append(gap(1));
  const { prototype } = Deno.FsFile;
  const { syncData } = prototype;
  const [failing, release] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()];
  let syncs = 0;
  let last: Promise<unknown>;
  try {
    prototype.syncData = async function () {
      if (syncs++ > 0) return await syncData.call(this);
      failing.resolve();
      await release.promise;
      throw new Error("Input/output error (os error 5)");
    };
    const appended = assertRejects(() => log.append(gap(2)), Error, "Input/output");
    await failing.promise; // the line is in the file
    last = log.syncedLast();
    await delay(20); // time to go wrong in
    release.resolve();
    await appended;
    assertEquals(await last, [gap(1)]);
    await log.append();
  } finally {
    prototype.syncData = syncData;
  }
  assertEquals((await readLastGaps(dir)).map(({ ms }) => ms), [1, 2]);
  await Deno.remove(dir, { recursive: true });
});
