import { assert, assertEquals, assertMatch } from "@std/assert";
import { join } from "@std/path/join";
import { type ChunkDir, type ChunkName, parseChunkName } from "../../src/chunk/chunk_name.ts";
import { Janitor } from "../../src/spool/janitor.ts";
import type { RetentionLimits } from "../../src/spool/retention.ts";
import { Spool } from "../../src/spool/spool.ts";
import { readLastGaps } from "../../src/status/gap_log.ts";
import { Status } from "../../src/status/status.ts";
import type { UploadFile } from "../../src/upload/upload_file.ts";
import { Uploader } from "../../src/upload/uploader.ts";
import { SimulatedClock } from "../fixtures/simulated_clock.ts";
import {
  byHand,
  capturedLog,
  chunkAt,
  chunksIn,
  LIMITS,
  TempSpool,
  until,
} from "../fixtures/temp_spool.ts";

const NOON = Date.UTC(2026, 5, 15, 12);
const DAY_MS = 86_400_000;
const IDENTITY = { pointId: "p", registerId: "r", deviceId: "d", version: "0" };

/** A janitor at noon, on a disk with as much free space as the test says. */
async function janitorAtNoon(limits: Partial<RetentionLimits> = {}, isClockTrusted = () => true) {
  const temp = await TempSpool.open();
  const clock = new SimulatedClock(NOON);
  const status = new Status(IDENTITY, clock);
  const captured = capturedLog();
  const disk = { freeBytes: 1e12 };
  temp.spool.freeBytes = () => Promise.resolve(disk.freeBytes);
  const deps = { clock, status, log: captured.log, isClockTrusted };
  return {
    temp,
    spool: temp.spool,
    clock,
    status,
    disk,
    lines: captured.lines,
    log: captured.log,
    janitor: new Janitor(temp.spool, { ...LIMITS, ...limits }, deps),
    report: () => status.report(temp.spool),
    problems: () => status.report(temp.spool).problems.map(({ code }) => code),
    messages: (level: string) => captured.lines.filter((line) => line["level"] === level),
    /** Stores one chunk for each number: it ended that many days ago. */
    async aged(dir: ChunkDir, days: number[], sizeBytes = 100): Promise<string[]> {
      const names: string[] = [];
      for (const age of days) {
        names.push(await temp.store(dir, chunkAt(NOON - age * DAY_MS - 60_000), sizeBytes));
      }
      return names;
    },
    async [Symbol.asyncDispose]() {
      captured[Symbol.dispose]();
      await temp[Symbol.asyncDispose]();
    },
  };
}

Deno.test("chunks older than max_spool_days are deleted, delivered or not; undelivered ones are counted", async () => {
  await using setup = await janitorAtNoon();
  const { spool, janitor } = setup;
  await setup.aged("uploaded", [9, 8]);
  const [kept] = await setup.aged("uploaded", [6.9]);
  await setup.aged("rejected", [8]);
  const lost = await setup.aged("outbox", [9, 8], 70);
  const [waiting] = await setup.aged("outbox", [6.9]);
  await janitor.removeExpired();
  assertEquals(chunksIn(spool, "uploaded"), [kept]);
  assertEquals(setup.temp.files("rejected"), []); // the reason went with its chunk
  assertEquals(chunksIn(spool, "outbox"), [waiting]);
  assertEquals(setup.report().chunks_lost_total, 3);
  assertEquals([setup.report().bytes_lost_total, setup.report().seconds_lost_total], [240, 180]);
  const [{ time: _time, part: _part, level: _level, ...said } = {}, ...others] = setup.messages(
    "ERROR",
  );
  assertEquals<unknown>(said, {
    message: "Undelivered chunks were removed: expired.",
    reason: "expired",
    dir: "outbox",
    chunks: 2,
    bytes: 140,
    seconds: 120,
    first: lost[0],
    last: lost[1],
  });
  assertEquals(others.map(({ dir, chunks }) => [dir, chunks]), [["rejected", 1]]);
});

Deno.test("what is deleted undelivered is declared in gaps.jsonl: one gap for each folder, with its cause", async () => {
  await using setup = await janitorAtNoon({ maxSpoolBytes: 450 });
  const { janitor, temp } = setup;
  const declared = async () => {
    const text = await Deno.readTextFile(join(temp.dir, "gaps.jsonl")).catch(() => "");
    return text.split("\n").filter((line) => line !== "").map((line) => JSON.parse(line));
  };
  const gap = (fromDays: number, toDays: number, ms: number, cause: string) => ({
    start: new Date(NOON - fromDays * DAY_MS - 60_000).toISOString(),
    end: new Date(NOON - toDays * DAY_MS).toISOString(),
    ms,
    cause,
  });
  await setup.aged("uploaded", [9]);
  await janitor.removeExpired();
  assertEquals(await declared(), [], "a delivered chunk is not lost");
  await setup.aged("outbox", [9, 8]);
  await setup.aged("rejected", [7.5]);
  await janitor.removeExpired();
  const expired = [gap(9, 8, 120_000, "expired"), gap(7.5, 7.5, 60_000, "expired")];
  assertEquals(await declared(), expired);
  await setup.aged("outbox", [5, 3, 2]);
  await setup.aged("rejected", [4, 1]);
  await janitor.makeRoom();
  const evicted = [gap(5, 5, 60_000, "evicted"), gap(4, 4, 60_000, "evicted")];
  assertEquals((await declared()).slice(2), evicted);
  const { lost_s, refused_s } = setup.report().ledger;
  assertEquals(
    [lost_s, refused_s],
    [300, -120],
    "what was refused is not refused any more, but lost",
  );
});

Deno.test("of deleted chunks that overlap, the gap contains the one that ends last", async () => {
  await using setup = await janitorAtNoon();
  const { janitor, temp } = setup;
  const startMs = NOON - 20 * DAY_MS;
  await temp.store("outbox", chunkAt(startMs, 60));
  await temp.store("outbox", chunkAt(startMs + 1000, 10)); // the clock was set back in between
  await janitor.removeExpired();
  const { start, end } = JSON.parse(await Deno.readTextFile(join(temp.dir, "gaps.jsonl")));
  assertEquals([Date.parse(start), Date.parse(end)], [startMs, startMs + 60_000]);
});

Deno.test("a gaps.jsonl that cannot be written is a warning, and what is deleted is still counted", async () => {
  await using setup = await janitorAtNoon();
  await Deno.mkdir(join(setup.temp.dir, "gaps.jsonl"));
  await setup.aged("outbox", [9, 8]);
  await setup.janitor.removeExpired();
  assertEquals(setup.report().chunks_lost_total, 2);
  assertEquals(setup.messages("ERROR").length, 1);
  const [{ file, error } = {}, ...others] = setup.messages("WARNING");
  assertEquals([file, others.length], ["gaps.jsonl", 2]); // one more than chunks; the log holds repeats back
  assertMatch(String(error), /is not a regular file/);
});

for (const cause of ["evicted", "expired"]) {
  Deno.test(`what is ${cause} is declared before it is deleted, and no more than 16 chunks ahead`, async () => {
    await using setup = await janitorAtNoon(cause === "evicted" ? { maxSpoolBytes: 450 } : {});
    const { janitor, temp, spool } = setup;
    const days = Array.from({ length: 40 }, (_, index) => 9 - index / 1440);
    const names = await setup.aged("outbox", days);
    const { remove } = spool;
    const ahead: number[] = [];
    spool.remove = async (dir, fileName) => {
      const last = (await readLastGaps(temp.dir)).at(-1);
      const { startUnixUs = 0, durationUs = 0 } = parseChunkName(fileName) ?? {};
      const leftMs = Date.parse(last?.end ?? "") - (startUnixUs + durationUs) / 1000;
      ahead.push(Math.round(leftMs / 60_000));
      return await remove.call(spool, dir, fileName);
    };
    await (cause === "evicted" ? janitor.makeRoom() : janitor.removeExpired());
    const left = temp.files("outbox").length;
    assertEquals(ahead.length, names.length - left);
    assert(left < 5 && ahead.every((chunks) => chunks >= 0 && chunks < 16), ahead.join());
    const gaps = await readLastGaps(temp.dir);
    assertEquals(gaps.reduce((sum, { ms }) => sum + ms, 0), ahead.length * 60_000);
  });
}

Deno.test("what was declared just before a power cut, and is still there, is not declared again", async () => {
  await using setup = await janitorAtNoon();
  const { temp, spool, clock, status, log } = setup;
  await setup.aged("outbox", [9, 9 - 1 / 1440, 9 - 2 / 1440]);
  const { remove } = spool;
  spool.remove = () => new Promise(() => {}); // the power is cut here
  setup.janitor.removeExpired();
  const declared = () => readLastGaps(temp.dir);
  while ((await declared()).length === 0) await new Promise((resolve) => setTimeout(resolve, 1));
  spool.remove = remove;
  const janitor = new Janitor(spool, LIMITS, { clock, status, log });
  await janitor.removeExpired();
  assertEquals([temp.files("outbox"), (await declared()).length], [[], 1]);
  await setup.aged("outbox", [8.9]);
  await janitor.removeExpired();
  assertEquals((await declared()).map(({ ms }) => ms), [180_000, 60_000]);
});

Deno.test("a chunk that is declared and cannot be deleted is declared once", async () => {
  await using setup = await janitorAtNoon();
  const { temp, spool, janitor } = setup;
  await setup.aged("outbox", [9]);
  const { remove } = spool;
  spool.remove = () => Promise.reject(new Error("Structure needs cleaning (os error 117)"));
  await janitor.removeExpired();
  spool.remove = remove;
  await janitor.removeExpired();
  assertEquals([temp.files("outbox"), (await readLastGaps(temp.dir)).length], [[], 1]);
});

Deno.test("while gaps.jsonl cannot be written, what is deleted is declared as soon as it can", async () => {
  await using setup = await janitorAtNoon({ maxSpoolBytes: 450 });
  const { temp, spool, janitor } = setup;
  const days = Array.from({ length: 20 }, (_, index) => 5 - index / 1440);
  await setup.aged("outbox", days);
  await Deno.mkdir(join(temp.dir, "gaps.jsonl"));
  const { remove } = spool;
  const { append } = spool.gaps;
  let [removed, attempts] = [0, 0];
  const attemptsAt: number[] = [];
  spool.gaps.append = (...gaps) => (attempts++, append.call(spool.gaps, ...gaps));
  spool.remove = async (dir, fileName) => {
    attemptsAt.push(attempts);
    if (++removed === 3) await Deno.remove(join(temp.dir, "gaps.jsonl")); // that made room
    return await remove.call(spool, dir, fileName);
  };
  await janitor.makeRoom();
  const gaps = await readLastGaps(temp.dir);
  assertEquals(gaps.reduce((sum, { ms }) => sum + ms, 0), removed * 60_000);
  assertEquals(attemptsAt.slice(0, 4), [1, 2, 3, 4], "one at a time while that cannot be written");
  assertEquals(setup.messages("WARNING").length, 3);
});

Deno.test("what is deleted while gaps.jsonl cannot be written is declared, down to the last chunk, when it can", async () => {
  for (const failures of [1, 5, 16, 17]) {
    await using setup = await janitorAtNoon();
    const { temp, spool, janitor } = setup;
    await setup.aged("outbox", Array.from({ length: 40 }, (_, index) => 9 - index / 1440));
    await Deno.mkdir(join(temp.dir, "gaps.jsonl"));
    const { append } = spool.gaps;
    let attempts = 0;
    spool.gaps.append = async (...gaps) => {
      if (++attempts === failures + 1) await Deno.remove(join(temp.dir, "gaps.jsonl"));
      await append.call(spool.gaps, ...gaps);
    };
    const attemptsAt: number[] = [];
    const { remove } = spool;
    spool.remove = (dir, fileName) => {
      attemptsAt.push(attempts);
      return remove.call(spool, dir, fileName);
    };
    await janitor.removeExpired();
    const gaps = await readLastGaps(temp.dir);
    assertEquals([temp.files("outbox").length, attemptsAt.length], [0, 40]);
    assertEquals(gaps.reduce((sum, { ms }) => sum + ms, 0), 40 * 60_000, `${failures} failures`);
    const alone = new Set(attemptsAt.slice(0, failures));
    assertEquals(alone.size, failures, "one at a time while that cannot be written");
  }
});

for (const cause of ["evicted", "expired"]) {
  Deno.test(`a chunk whose upload fails while others are declared as ${cause} stays, and is not declared`, async () => {
    await using setup = await janitorAtNoon(cause === "evicted" ? { maxSpoolBytes: 250 } : {});
    const { temp, spool, janitor } = setup;
    const [sent = ""] = await setup.aged("outbox", [9, 8.9, 8.8]);
    spool.sending.add(parseChunkName(sent)?.key ?? "");
    const { append } = spool.gaps;
    spool.gaps.append = async (...gaps) => {
      await append.call(spool.gaps, ...gaps);
      spool.sending.clear();
    };
    await (cause === "evicted" ? janitor.makeRoom() : janitor.removeExpired());
    const isDeclared = (await readLastGaps(temp.dir))
      .some(({ start }) => Date.parse(start) === (parseChunkName(sent)?.startUnixUs ?? 0) / 1000);
    assertEquals([chunksIn(spool, "outbox").includes(sent), isDeclared], [true, false]);
    assertEquals(setup.report().chunks_lost_total, 2);
  });

  Deno.test(`no chunk is sent while it is declared as ${cause}, and the one after it is`, async () => {
    await using setup = await janitorAtNoon(cause === "evicted" ? { maxSpoolBytes: 150 } : {});
    const { temp, spool, clock, janitor, status, log } = setup;
    const days = cause === "evicted" ? [3, 2.9] : [9, 8.9];
    const doomed = await setup.aged("outbox", days, 150);
    const [kept = ""] = await setup.aged("outbox", [1], 20);
    const sent: string[] = [];
    const client = {
      upload: ({ key }: ChunkName, file: UploadFile) => {
        file.close();
        sent.push(key);
        return Promise.resolve({ kind: "delivered" as const, chunkId: "1" });
      },
    };
    const uploader = new Uploader(spool, client, { retryMinMs: 1, retryMaxMs: 1 }, {
      clock,
      status,
      log,
    });
    const stop = new AbortController();
    let running: Promise<void> | null = null;
    const { append } = spool.gaps;
    spool.gaps.append = async (...gaps) => {
      running ??= uploader.run(stop.signal);
      await until(() => sent.length > 0 && spool.sending.size === 0);
      await append.call(spool.gaps, ...gaps);
    };
    await (cause === "evicted" ? janitor.makeRoom() : janitor.removeExpired());
    assertEquals(sent, [parseChunkName(kept)?.key]);
    assertEquals(chunksIn(spool, "outbox"), []);
    assertEquals(setup.report().chunks_lost_total, doomed.length);
    const gaps = await readLastGaps(temp.dir);
    assertEquals(gaps.reduce((sum, { ms }) => sum + ms, 0), 120_000);
    stop.abort();
    await running;
  });
}

Deno.test("a chunk that was delivered after it was chosen is neither declared nor counted as lost", async () => {
  await using setup = await janitorAtNoon({ maxSpoolBytes: 250 });
  const { temp, spool, janitor } = setup;
  const [oldest = ""] = await setup.aged("outbox", [3, 2, 1]);
  const { oldest: find } = spool;
  spool.oldest = async (...args) => {
    const name = await find.apply(spool, args);
    if (args[0] === "outbox" && chunksIn(spool, "outbox").includes(oldest)) {
      await spool.markUploaded(oldest);
    }
    return name;
  };
  await janitor.makeRoom();
  assertEquals(chunksIn(spool, "uploaded"), [oldest]);
  const declaredMs = (await readLastGaps(temp.dir)).reduce((sum, { ms }) => sum + ms, 0);
  assertEquals(declaredMs, setup.report().chunks_lost_total * 60_000);
});

Deno.test("a chunk that cannot be deleted may be sent again, and one that is being deleted keeps its name", async () => {
  await using setup = await janitorAtNoon();
  const { spool, janitor } = setup;
  const [old = ""] = await setup.aged("outbox", [9]);
  const name = parseChunkName(old);
  assert(name !== null);
  let isRenamed: boolean | null = null;
  spool.remove = async () => {
    isRenamed = await spool.rename("outbox", old, { ...name, startUnixUs: name.startUnixUs + 1e6 });
    throw new Error("Structure needs cleaning (os error 117)");
  };
  await janitor.removeExpired();
  assertEquals([isRenamed, chunksIn(spool, "outbox")], [false, [old]]);
  assertEquals([...spool.deleting], []);
});

Deno.test("a chunk that the server has accepted is deleted without a loss if it could not be moved", async () => {
  for (const [dir, cause] of [["outbox", "evicted"], ["rejected", "expired"]] as const) {
    await using setup = await janitorAtNoon(cause === "evicted" ? { maxSpoolBytes: 150 } : {});
    const { spool, temp, janitor, status } = setup;
    const accepted = await setup.aged(dir, [9]);
    const [lost] = await setup.aged(dir, [8]);
    status.carriedOver(
      dir === "outbox" ? 120e6 : 0,
      dir === "rejected" ? 120e6 : 0,
    );
    for (const name of accepted.map(parseChunkName)) {
      if (name !== null) spool.accepted.set(name.key, { dir, name });
    }
    await (cause === "evicted" ? janitor.makeRoom() : janitor.removeExpired());
    assertEquals([chunksIn(spool, dir), [...spool.accepted]], [[], []]);
    const { chunks_lost_total, ledger } = setup.report();
    assertEquals(
      [chunks_lost_total, ledger.delivered_s, ledger.lost_s, ledger.unaccounted_s],
      [1, 60, 60, 0],
    );
    const starts = (await readLastGaps(temp.dir)).map(({ start }) => Date.parse(start) * 1000);
    assertEquals(starts, [parseChunkName(lost ?? "")?.startUnixUs]);
    assertEquals(spool.deliveredDeletions.chunks, 1);
  }
});

Deno.test("what was declared before a power cut is not declared again when the clock is right later, or the disk", async () => {
  for (const kind of ["clock", "disk"]) {
    let isRight = kind !== "clock";
    await using setup = await janitorAtNoon({}, () => isRight);
    const { temp, spool, clock, janitor } = setup;
    const [old = ""] = await setup.aged("outbox", [9]);
    const { startUnixUs = 0, durationUs = 0 } = parseChunkName(old) ?? {};
    await spool.gaps.append({
      start: new Date(startUnixUs / 1000).toISOString(),
      end: new Date((startUnixUs + durationUs) / 1000).toISOString(),
      ms: durationUs / 1000,
      cause: "expired",
    });
    const { remove } = spool;
    if (kind === "disk") spool.remove = () => Promise.reject(new Error("Input/output error"));
    const stop = new AbortController();
    const running = janitor.run(stop.signal);
    await until(() => clock.sleepers === 1);
    isRight = true;
    spool.remove = remove;
    await clock.advance(300_000);
    await until(() => chunksIn(spool, "outbox").length === 0 && clock.sleepers === 1);
    stop.abort();
    await running;
    assertEquals((await readLastGaps(temp.dir)).length, 1, kind);
  }
});

Deno.test("max_waiting_days keeps waiting chunks for a longer or a shorter time", async () => {
  for (const [maxWaitingDays, outbox, uploaded] of [[30, 1, 0], [2, 0, 0]] as const) {
    await using setup = await janitorAtNoon({ maxWaitingDays });
    await setup.aged("outbox", [8]);
    await setup.aged("uploaded", [8]);
    await setup.janitor.removeExpired();
    assertEquals(setup.spool.tally.outbox.files, outbox);
    assertEquals(setup.spool.tally.uploaded.files, uploaded);
  }
  await using setup = await janitorAtNoon({ maxWaitingDays: 2 });
  await setup.aged("uploaded", [3]);
  await setup.janitor.removeExpired();
  assertEquals(setup.spool.tally.uploaded.files, 1);
});

Deno.test("files that were set aside in rejected/ expire, too", async () => {
  await using setup = await janitorAtNoon();
  const [chunk = ""] = await setup.aged("rejected", [1]);
  for (const [name, days] of [["a.part", 8], ["a.part.reason.json", 8], ["b.part", 6]] as const) {
    const path = setup.spool.path("rejected", name);
    await Deno.writeTextFile(path, "x");
    await Deno.utime(path, new Date(0), new Date(NOON - days * DAY_MS));
  }
  await setup.janitor.removeExpired();
  assertEquals(setup.temp.files("rejected"), [chunk, `${chunk}.reason.json`, "b.part"].sort());
  assertEquals(setup.messages("WARNING").length, 1);
});

Deno.test("space is freed by deleting the oldest delivered chunks, then the oldest undelivered ones, refused or waiting", async () => {
  const limits = { maxSpoolBytes: 1000 };
  await using setup = await janitorAtNoon(limits);
  const { spool, janitor } = setup;
  await setup.aged("outbox", [6, 5, 2]); // two are older than all delivered chunks
  await setup.aged("uploaded", [3, 2, 1]);
  await setup.aged("rejected", [4, 3, 1]);
  const left =
    () => [chunksIn(spool, "uploaded"), chunksIn(spool, "rejected"), chunksIn(spool, "outbox")];
  await janitor.makeRoom(); // 900 and a chunk of 100 fit
  assertEquals(left().map(({ length }) => length), [3, 3, 3]);
  const history: number[][] = [];
  const [uploaded = [], rejected = [], outbox = []] = left();
  for (let size = 1; size <= 9; size++) {
    // The recorder seals another chunk, and the next one must fit again.
    await setup.temp.store("outbox", chunkAt(NOON + size), 100);
    await janitor.makeRoom();
    const [u = [], r = [], o = []] = left();
    history.push([u.length, r.length, o.length]);
    assertEquals(u, uploaded.slice(3 - u.length)); // the newest ones stay
    assertEquals(r, rejected.slice(3 - r.length));
  }
  assertEquals(history, [
    [2, 3, 4],
    [1, 3, 5],
    [0, 3, 6],
    [0, 3, 6],
    [0, 3, 6],
    [0, 2, 7],
    [0, 1, 8],
    [0, 1, 8],
    [0, 0, 9],
  ]);
  assertEquals(chunksIn(spool, "outbox").filter((name) => outbox.includes(name)), []);
  // Delivered chunks are no loss; three refused and three waiting ones are.
  assertEquals(setup.report().chunks_lost_total, 6);
  assertEquals([setup.report().bytes_lost_total, setup.report().seconds_lost_total], [600, 360]);
  assertEquals(setup.messages("ERROR").length, 6);
});

Deno.test("min_free_gb deletes delivered chunks, keeps refused and waiting ones, and reports it", async () => {
  await using setup = await janitorAtNoon({ minFreeBytes: 1000 });
  const { spool, janitor, disk } = setup;
  await setup.aged("uploaded", [3, 2]);
  await setup.aged("rejected", [3]);
  await setup.aged("outbox", [3, 2]);
  disk.freeBytes = 850;
  await janitor.makeRoom();
  assertEquals(spool.tally.uploaded.files, 0); // 150 were missing: both of 100
  assertEquals(setup.problems(), []);
  disk.freeBytes = 450;
  await janitor.makeRoom();
  assertEquals(setup.problems(), ["disk_low"]);
  assertEquals([spool.tally.rejected.files, spool.tally.outbox.files], [1, 2]);
  assertMatch(setup.report().problems[0]?.message ?? "", /^0 MB are free .* lower min_free_gb$/);
  assertEquals(setup.messages("WARNING").map((line) => line["code"]), ["disk_low"]);
  disk.freeBytes = 1000;
  await janitor.makeRoom();
  assertEquals(setup.problems(), []);
});

Deno.test("the oldest waiting chunk is deleted if the disk could not hold the next one", async () => {
  await using setup = await janitorAtNoon();
  const [, second] = await setup.aged("outbox", [3, 2]);
  setup.disk.freeBytes = 50;
  await setup.janitor.makeRoom();
  assertEquals(chunksIn(setup.spool, "outbox"), [second]);
  assertEquals(setup.report().chunks_lost_total, 1);
});

Deno.test("files that a person deleted do not cause waiting chunks to be deleted", async () => {
  await using setup = await janitorAtNoon({ maxSpoolBytes: 1000 });
  const uploaded = await setup.aged("uploaded", [3, 2, 1], 300);
  await setup.aged("outbox", [3, 2, 1], 50);
  await byHand(async () => {
    for (const name of uploaded) await Deno.remove(setup.spool.path("uploaded", name));
  });
  await setup.janitor.makeRoom();
  assertEquals(setup.spool.tally.outbox.files, 3);
  assertEquals(setup.spool.totalBytes, 150);
});

Deno.test("a file that cannot be deleted is skipped and reported, and the others are deleted", async () => {
  await using setup = await janitorAtNoon();
  const { spool, clock } = setup;
  const [bad = ""] = await setup.aged("uploaded", [10, 9, 8]);
  const remove = spool.remove.bind(spool);
  let isBroken = true;
  spool.remove = (dir, name) =>
    name === bad && isBroken ? Promise.reject(new Error("not permitted")) : remove(dir, name);
  const stop = new AbortController();
  const running = setup.janitor.run(stop.signal);
  await until(() => setup.problems().includes("janitor_failed"));
  assertEquals(chunksIn(spool, "uploaded"), [bad]);
  assert(setup.report().problems[0]?.message.includes(`${bad}: Error: not permitted`));
  isBroken = false;
  await until(() => clock.sleepers === 1);
  await clock.advance(300_000);
  await until(() => setup.problems().length === 0);
  assertEquals(chunksIn(spool, "uploaded"), []);
  stop.abort();
  await running;
  const said = setup.messages("INFO")
    .filter(({ message }) => message === "Delivered recordings were deleted.");
  assertEquals(said.map(({ chunks }) => chunks), [3]);
});

Deno.test("a failed pass ends neither the janitor nor the search for space", async () => {
  await using setup = await janitorAtNoon({ maxSpoolBytes: 150 });
  const { spool, clock } = setup;
  await setup.aged("uploaded", [3, 2, 1]);
  spool.removeStrays = () => Promise.reject(new Error("the disk is broken"));
  const stop = new AbortController();
  const running = setup.janitor.run(stop.signal);
  await until(() => setup.problems().includes("janitor_failed"));
  assertEquals(spool.tally.uploaded.files, 0);
  await clock.advance(300_000);
  await clock.advance(300_000);
  assertEquals(setup.messages("WARNING").length, 1); // reported once
  stop.abort();
  await running;
});

Deno.test("the log tells how many expired files were not chunks, and names the first", async () => {
  await using setup = await janitorAtNoon();
  for (const name of ["b.part", "a.part"]) {
    const path = setup.spool.path("rejected", name);
    await Deno.writeTextFile(path, "x");
    await Deno.utime(path, new Date(0), new Date(0));
  }
  await setup.janitor.removeExpired();
  const said = setup.messages("WARNING").map(({ files, first }) => [files, first]);
  assertEquals<unknown>(said, [[2, "a.part"]]);
});

Deno.test("run() makes a pass at the start, every 5 min, and at once when space is needed, until abort", async () => {
  await using setup = await janitorAtNoon({ maxSpoolBytes: 250 });
  const { spool, clock } = setup;
  let looks = 0; // at the disk: one per pass, and one before the first
  spool.freeBytes = () => Promise.resolve(++looks * 1e9);
  const stop = new AbortController();
  const running = setup.janitor.run(stop.signal);
  const asleepAfter = (count: number) => until(() => looks === count && clock.sleepers === 1);
  await asleepAfter(2);
  await clock.advance(299_999);
  assertEquals(looks, 2);
  await clock.advance(1);
  await asleepAfter(3);
  await setup.aged("uploaded", [2, 1]);
  spool.roomWanted.ring();
  await asleepAfter(4);
  assertEquals(spool.tally.uploaded.files, 1);
  await setup.aged("uploaded", [8]);
  await clock.advance(300_000);
  await asleepAfter(5);
  assertEquals(spool.tally.uploaded.files, 1);
  stop.abort();
  await running;
  assertEquals(clock.sleepers, 0);
});

Deno.test("the log tells for each day how many delivered chunks were deleted, and the counter at once", async () => {
  await using setup = await janitorAtNoon();
  const { janitor, clock, status } = setup;
  const [first, last] = await setup.aged("uploaded", [9, 8]);
  const stop = new AbortController();
  const running = janitor.run(stop.signal);
  const told = () =>
    setup.messages("INFO").map((
      { message, day, chunks, bytes, seconds, ...names },
    ) => [message, day, chunks, bytes, seconds, names["first"], names["last"]]);
  const text = "Delivered recordings were deleted.";
  await until(() => status.counters.deliveredDeleted === 2 && clock.sleepers === 1);
  assertEquals(told(), []);
  await clock.advance(DAY_MS);
  await until(() => told().length > 0 && clock.sleepers === 1);
  assertEquals(told(), [[text, "2026-06-15", 2, 200, 120, first, last]]);
  await setup.aged("uploaded", [8]);
  await clock.advance(300_000);
  await until(() => status.counters.deliveredDeleted === 3 && clock.sleepers === 1);
  assertEquals(told().length, 1, "the day is not over");
  stop.abort();
  await running;
  assertEquals(told().slice(1).map(([, day, chunks]) => [day, chunks]), [["2026-06-16", 1]]);
});

Deno.test("space is made before anything else after the start, and expiry waits its five minutes", async () => {
  await using setup = await janitorAtNoon();
  const { janitor, spool, clock } = setup;
  const did: string[] = [];
  janitor.makeRoom = () => Promise.resolve(void did.push("room"));
  janitor.removeExpired = () => Promise.resolve(did.push("expiry") > 0);
  const stop = new AbortController();
  const running = janitor.run(stop.signal);
  const didAfter = async (count: number) => {
    await until(() => did.length === count && clock.sleepers === 1);
    return did.splice(0);
  };
  assertEquals(await didAfter(3), ["room", "expiry", "room"]);
  spool.roomWanted.ring();
  assertEquals(await didAfter(1), ["room"]);
  await clock.advance(300_000);
  assertEquals(await didAfter(2), ["expiry", "room"]);
  stop.abort();
  await running;
});

Deno.test("a file that is being recorded is kept, however old its name and however full the disk", async () => {
  await using setup = await janitorAtNoon({ maxSpoolBytes: 0 });
  setup.disk.freeBytes = 0;
  const part = await setup.spool.create(chunkAt(NOON - 100 * DAY_MS));
  await setup.janitor.removeExpired();
  await setup.janitor.makeRoom();
  assertEquals([...Deno.readDirSync(join(setup.temp.dir, "recording"))].length, 1);
  part.abandon();
});

Deno.test("no chunk is deleted as expired after the clock was stepped two weeks ahead", async () => {
  await using setup = await janitorAtNoon();
  const { spool, clock, janitor } = setup;
  await setup.aged("outbox", [3, 2, 1]);
  await janitor.removeExpired();
  clock.step(14 * 86_400_000);
  await janitor.removeExpired();
  await clock.advance(3_600_000);
  await janitor.removeExpired();
  assertEquals(chunksIn(spool, "outbox").length, 3);
  clock.step(-14 * 86_400_000);
  await janitor.removeExpired();
  assertEquals(chunksIn(spool, "outbox").length, 3);
});

Deno.test("a stop ends the counting of sizes after the start", async () => {
  await using setup = await janitorAtNoon();
  await setup.aged("outbox", Array.from({ length: 40 }, (_, index) => index / 100));
  setup.spool.close();
  const spool = setup.temp.spool = await Spool.open(setup.temp.dir); // the sizes are not known yet
  const { countSizes } = spool;
  const stop = new AbortController();
  spool.countSizes = async (...args) => {
    stop.abort();
    await countSizes.apply(spool, args);
  };
  const deps = { clock: setup.clock, status: setup.status, log: setup.log };
  await new Janitor(spool, LIMITS, deps).run(stop.signal);
  assertEquals(spool.tally.outbox.bytes, 0);
  await countSizes.call(spool);
  assertEquals(spool.tally.outbox.bytes, 40 * 100);
});
