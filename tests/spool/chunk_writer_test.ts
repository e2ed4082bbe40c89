import { assert, assertEquals, assertMatch } from "@std/assert";
import { join } from "@std/path/join";
import { ChunkWriter, MAX_PENDING_BYTES, type WriteStep } from "../../src/spool/chunk_writer.ts";
import { inOneLine, problems } from "../../src/status/problems.ts";
import type { PartFile } from "../../src/spool/part_file.ts";
import { Status } from "../../src/status/status.ts";
import { seededRandom } from "../fixtures/random.ts";
import { SimulatedClock } from "../fixtures/simulated_clock.ts";
import { capturedLog, chunksIn, TempSpool, until } from "../fixtures/temp_spool.ts";

const NOON = Date.UTC(2026, 5, 15, 12);
const IDENTITY = { pointId: "p", registerId: "r", deviceId: "d", version: "0" };
const LEVELS = { peakDbfs: -6, rmsDbfs: -20, floorDbfs: -50, offset: 0, clippedShare: 0.00001 };

/** A writer on a real spool, with simulated time. */
async function writerAtNoon(syncIntervalMs = 5000) {
  const temp = await TempSpool.open();
  const clock = new SimulatedClock(NOON);
  const status = new Status(IDENTITY, clock);
  const captured = capturedLog();
  const deps = { clock, status, log: captured.log };
  const report = () => status.report(temp.spool);
  return {
    temp,
    spool: temp.spool,
    clock,
    status,
    report,
    lines: captured.lines,
    writer: new ChunkWriter(temp.spool, syncIntervalMs, deps),
    problems: () => report().problems.map(({ code }) => code),
    /** Lets time pass, second by second or in longer steps, until something becomes true. */
    async until(isTrue: () => boolean, stepMs = 1000) {
      for (let step = 0; !isTrue(); step++) {
        assert(step < 600, `did not become true: ${isTrue}`);
        await clock.advance(stepMs);
      }
    },
    /** The bytes of the sealed chunks, in order. */
    sealed: () =>
      chunksIn(temp.spool, "outbox").map((name) => [
        ...Deno.readFileSync(temp.spool.path("outbox", name)),
      ]),
    async [Symbol.asyncDispose]() {
      captured[Symbol.dispose]();
      await temp[Symbol.asyncDispose]();
    },
  };
}

function bytes(...values: number[]): Uint8Array {
  return new Uint8Array(values);
}

/** The steps of chunk number `index`, which is one second long and holds `pages`. */
function chunkSteps(index: number, pages: Uint8Array[]): WriteStep[] {
  const startUnixUs = (NOON + index * 1000) * 1000;
  const [first = bytes(), ...rest] = pages;
  const last = rest.pop() ?? bytes();
  const name = { startUnixUs, key: crypto.randomUUID() };
  return [
    { kind: "open", name, bytes: first },
    ...rest.map((page): WriteStep => ({ kind: "append", bytes: page })),
    {
      kind: "close",
      bytes: last,
      times: secondFrom(startUnixUs),
      name,
      gapCause: "",
      levels: LEVELS,
    },
  ];
}

function secondFrom(startUnixUs: number) {
  const endUnixUs = startUnixUs + 1e6;
  return { startUnixUs, endUnixUs, startMs: startUnixUs / 1000, endMs: endUnixUs / 1000, gapMs: 0 };
}

function pushAll(writer: ChunkWriter, ...chunks: WriteStep[][]): void {
  for (const step of chunks.flat()) writer.push(step);
}

/** Calls `intercept` with every file that the spool creates. */
function interceptParts(temp: TempSpool, intercept: (part: PartFile) => void): void {
  const create = temp.spool.create.bind(temp.spool);
  temp.spool.create = async (name) => {
    const part = await create(name);
    intercept(part);
    return part;
  };
}

Deno.test("pushed steps are written in order, chunk by chunk", async () => {
  await using setup = await writerAtNoon();
  const { writer } = setup;
  pushAll(
    writer,
    chunkSteps(0, [bytes(1, 2), bytes(3), bytes(4, 5)]),
    chunkSteps(1, [bytes(6)]),
    chunkSteps(2, [bytes(7), bytes(8), bytes(9), bytes(10)]),
  );
  await writer.finish();
  assertEquals(setup.sealed(), [[1, 2, 3, 4, 5], [6], [7, 8, 9, 10]]);
  assertEquals(setup.temp.files("recording"), []);
  assertEquals(setup.report().chunks_recorded_total, 3);
  const [, , name] = chunksIn(setup.spool, "outbox");
  assertEquals(setup.report().last_chunk, {
    name: name ?? "",
    seconds: 1,
    bytes: 4,
    peak_dbfs: LEVELS.peakDbfs,
    rms_dbfs: LEVELS.rmsDbfs,
    noise_floor_dbfs: LEVELS.floorDbfs,
    clipped_share: LEVELS.clippedShare,
  });
  assertEquals(setup.lines.map(({ message }) => message), ["Recorded.", "Recorded.", "Recorded."]);
});

Deno.test("a chunk without sound is dropped", async () => {
  await using setup = await writerAtNoon();
  const [open, append] = chunkSteps(0, [bytes(1), bytes(2), bytes(3)]);
  assert(open && append);
  pushAll(setup.writer, [open, append, { kind: "discard" }], chunkSteps(1, [bytes(4)]));
  await setup.writer.finish();
  assertEquals(setup.sealed(), [[4]]);
  assertEquals(setup.temp.files("recording"), []);
  assertEquals(setup.report().chunks_recorded_total, 1);
});

Deno.test("a chunk that is still open at finish() stays in recording/, with everything that was pushed", async () => {
  await using setup = await writerAtNoon();
  const [open, append] = chunkSteps(0, [bytes(1), bytes(2), bytes(3)]);
  assert(open && append);
  pushAll(setup.writer, [open, append]);
  await setup.writer.finish();
  const [name = ""] = setup.temp.files("recording");
  assertEquals(await Deno.readFile(setup.spool.path("recording", name)), bytes(1, 2));
});

Deno.test("space is requested before every chunk", async () => {
  await using setup = await writerAtNoon();
  let rings = 0;
  setup.spool.roomWanted.ring = () => rings++;
  pushAll(setup.writer, chunkSteps(0, [bytes(1)]), chunkSteps(1, [bytes(2)]));
  await setup.writer.finish();
  assertEquals(rings, 2);
});

Deno.test("whole blocks are synced, and the bytes after them are written as soon as the sync has begun", async () => {
  await using setup = await writerAtNoon(5000);
  const { clock, writer } = setup;
  const syncedBytes: number[] = [];
  let written = 0;
  interceptParts(setup.temp, (part) => {
    const { append, sync } = part;
    part.append = (bytes) => append.call(part, bytes).finally(() => written = part.sizeBytes);
    part.sync = () => {
      syncedBytes.push(part.sizeBytes);
      return sync.call(part);
    };
  });
  const [open, close] = chunkSteps(0, [new Uint8Array(200).fill(1)]);
  assert(open && close && close.kind === "close");
  writer.push(open);
  let pushed = 200;
  for (let page = 0; page < 140; page++) {
    await clock.advance(400);
    const bytes = new Uint8Array(1000 + page * 37 % 700).fill(page); // 24 kbit/s
    writer.push({ kind: "append", bytes });
    pushed += bytes.length;
    await until(() => written === pushed);
  }
  writer.push(close);
  await writer.finish();
  assert(syncedBytes.length >= 11, `${syncedBytes}`); // 56 s
  assertEquals(syncedBytes.filter((size) => size % 4096 !== 0), []);
});

Deno.test("bytes after the synced blocks do not wait for a slow card", async () => {
  await using setup = await writerAtNoon(5000);
  const { clock, writer } = setup;
  const card = Promise.withResolvers<void>();
  let [written, syncs] = [0, 0];
  interceptParts(setup.temp, (part) => {
    const { append } = part;
    part.append = (bytes) => append.call(part, bytes).finally(() => written = part.sizeBytes);
    part.sync = () => (syncs++, card.promise);
  });
  const [open, close] = chunkSteps(0, [new Uint8Array(100)]);
  assert(open && close);
  writer.push(open);
  await clock.advance(3000);
  writer.push({ kind: "append", bytes: new Uint8Array(5000) });
  await until(() => syncs === 1);
  assertEquals(written, 4096);
  await until(() => clock.sleepers === 1);
  await clock.advance(25);
  await until(() => written === 5100);
  card.resolve();
  writer.push(close);
  await writer.finish();
});

Deno.test("no byte waits longer than the interval to be synced, and not every page is synced", async () => {
  for (const intervalMs of [2000, 5000]) {
    await using setup = await writerAtNoon(intervalMs);
    const { clock, writer } = setup;
    const syncsMs: number[] = [];
    let appends = 0;
    interceptParts(setup.temp, (part) => {
      const { append, sync } = part;
      part.append = (page) => append.call(part, page).finally(() => appends++);
      part.sync = () => {
        syncsMs.push(clock.monotonicMs());
        return sync.call(part);
      };
    });
    const [open, close] = chunkSteps(0, [bytes(0)]);
    assert(open && close);
    writer.push(open);
    const startMs = clock.monotonicMs();
    for (let page = 0; page < 40; page++) {
      await clock.advance(400);
      writer.push({ kind: "append", bytes: bytes(page) });
      await until(() => appends === page + 2);
    }
    await writer.finish();
    assert(syncsMs.length <= 16_000 / (intervalMs - 1300), `${syncsMs.length} syncs`);
    let lastMs = startMs;
    for (const syncMs of [...syncsMs, clock.monotonicMs()]) {
      // ffmpeg holds up to 0.8 s that are not in a page yet.
      assert(syncMs - lastMs + 800 <= intervalMs, `${syncMs - lastMs} ms without a sync`);
      lastMs = syncMs;
    }
  }
});

Deno.test("a sync is due 1.3 s before the interval ends, and not a millisecond earlier", async () => {
  await using setup = await writerAtNoon(5000);
  const { clock, writer } = setup;
  let [appends, syncs] = [0, 0];
  interceptParts(setup.temp, (part) => {
    const { append, sync } = part;
    part.append = (page) => append.call(part, page).finally(() => appends++);
    part.sync = () => (syncs++, sync.call(part));
  });
  const [open] = chunkSteps(0, [bytes(0)]);
  assert(open);
  writer.push(open);
  await until(() => appends === 1);
  for (const [ms, due] of [[3699, 0], [1, 1]] as const) {
    await clock.advance(ms);
    const before = appends;
    writer.push({ kind: "append", bytes: bytes(1) });
    await until(() => appends > before);
    await until(() => syncs >= due);
    assertEquals(syncs, due, `${ms} ms`);
  }
  await writer.finish();
});

Deno.test("pages and the next chunk are written while the disk is slow to sync and to seal", async () => {
  await using setup = await writerAtNoon(1000);
  const { clock, writer, temp } = setup;
  const card = Promise.withResolvers<void>();
  const { prototype } = Deno.FsFile;
  const { sync, syncData } = prototype;
  try {
    Object.assign(prototype, { sync: () => card.promise, syncData: () => card.promise });
    const sizeOfParts = () =>
      temp.files("recording").reduce(
        (sum, name) => sum + Deno.statSync(temp.spool.path("recording", name)).size,
        0,
      );
    const [open, close] = chunkSteps(0, [bytes(1)]);
    const [nextOpen] = chunkSteps(1, [bytes(9)]);
    assert(open && close && nextOpen);
    writer.push(open);
    for (let page = 2; page <= 5; page++) {
      await until(() => sizeOfParts() === page - 1);
      await clock.advance(1000); // every page requests a sync, and none ends
      writer.push({ kind: "append", bytes: bytes(page) });
    }
    await until(() => sizeOfParts() === 5);
    pushAll(writer, [close, nextOpen]);
    await until(() => temp.files("recording").length === 2 && sizeOfParts() === 6);
    assertEquals(setup.sealed(), []);
    assert(!writer.isIdle);
  } finally {
    Object.assign(prototype, { sync, syncData });
    card.resolve();
  }
  await writer.finish();
  assertEquals(setup.sealed(), [[1, 2, 3, 4, 5]]);
  assertEquals(temp.files("recording").length, 1);
});

Deno.test("a failing disk is reported once and tried every second, and nothing is lost", async () => {
  await using setup = await writerAtNoon();
  const { temp, clock, writer, lines } = setup;
  let [rings, tries] = [0, 0];
  setup.spool.roomWanted.ring = () => rings++;
  const create = setup.spool.create.bind(setup.spool);
  setup.spool.create = (name) => (tries++, create(name));
  const recording = join(temp.dir, "recording");
  await Deno.remove(recording);
  await Deno.writeTextFile(recording, "in the way");
  pushAll(writer, chunkSteps(0, [bytes(1), bytes(2)]), chunkSteps(1, [bytes(3), bytes(4)]));
  await until(() => setup.problems().includes("disk_failing"));
  for (let second = 0; second < 5; second++) {
    await until(() => clock.sleepers === 1);
    await clock.advance(1000);
  }
  assert(tries > 5);
  assertEquals(rings, 1, "for the chunk: more room would not help");
  assertEquals(setup.sealed(), []);
  assertEquals(lines.map(({ level, code }) => [level, code]), [["ERROR", "disk_failing"]]);
  assertMatch(
    setup.report().problems[0]?.message ?? "",
    /^Writes to the disk fail, recordings wait in memory: .*Not a directory/,
  );
  await Deno.remove(recording);
  await Deno.mkdir(recording);
  await setup.until(() => setup.sealed().length === 2);
  assertEquals(setup.sealed(), [[1, 2], [3, 4]]);
  assertEquals(setup.problems(), []);
  assertMatch(String(lines[1]?.["message"]), /^Resolved after [\d.]+ s: disk_failing\.$/);
  await writer.finish();
});

Deno.test("a chunk that cannot be sealed or synced is passed by the others, and is told before them when it can", async () => {
  await using setup = await writerAtNoon(2000);
  const { temp, clock, status, spool } = setup;
  const told: number[] = [];
  const captured = capturedLog();
  const writer = new ChunkWriter(spool, 2000, {
    ...{ clock, status, log: captured.log },
    onSealed: ({ times }) => told.push((times.startMs - NOON) / 1000),
  });
  let isBad = true;
  let [parts, syncs] = [0, 0];
  interceptParts(temp, (part) => {
    const number = parts++;
    const fail = () => Promise.reject(new Error("Structure needs cleaning (os error 117)"));
    const [seal, sync] = [part.seal.bind(part), part.sync.bind(part)];
    part.seal = (name) => number === 0 && isBad ? fail() : seal(name);
    part.sync = () => {
      if (number === 0 && isBad) return fail();
      syncs++;
      return sync();
    };
  });
  for (let chunk = 0; chunk < 3; chunk++) {
    const [open, close] = chunkSteps(chunk, [bytes(chunk), bytes(9)]);
    assert(open && close);
    writer.push(open);
    for (let page = 0; page < 4; page++) {
      await clock.advance(1000);
      writer.push({ kind: "append", bytes: bytes(page) });
      await until(() => temp.files("recording").length > 0 && (page < 3 || syncs >= 2 * chunk));
    }
    writer.push(close);
    await until(() => chunk === 0 || setup.sealed().length === chunk);
  }
  assertEquals([told, setup.problems(), writer.isIdle], [[], ["disk_failing"], false]);
  assertEquals(setup.sealed().map(([first]) => first), [1, 2]);
  isBad = false;
  await setup.until(() => told.length === 3);
  assertEquals(told, [0, 1, 2]);
  await setup.until(() => writer.isIdle);
  assertEquals([setup.sealed().length, setup.problems()], [3, []]);
  captured[Symbol.dispose]();
  await Promise.all([writer.finish(), setup.writer.finish()]);
});

/** A writer whose seals of these chunks fail, by number. The owner is told lost ones as negative numbers. */
function sealingWriter(setup: Awaited<ReturnType<typeof writerAtNoon>>) {
  const { clock, status, spool, temp } = setup;
  const told: number[] = [];
  const tries: number[] = [];
  const bad = { is: (_number: number) => false };
  const number = ({ times }: { times: { startMs: number } }) => (times.startMs - NOON) / 1000;
  const captured = capturedLog();
  let parts = 0;
  interceptParts(temp, (part) => {
    const seal = part.seal.bind(part);
    const at = parts++;
    part.seal = (name) => {
      tries.push(at);
      return bad.is(at) ? Promise.reject(new Error("Input/output error (os error 5)")) : seal(name);
    };
  });
  const writer = new ChunkWriter(spool, 5000, {
    ...{ clock, status, log: captured.log },
    onSealed: (chunk) => told.push(number(chunk)),
    onLost: (chunk) => told.push(-number(chunk)),
  });
  return {
    ...{ writer, told, tries, bad },
    async [Symbol.asyncDispose]() {
      let hasEnded = false;
      const ended = Promise.all([writer.finish(), setup.writer.finish()]).then(() =>
        hasEnded = true
      );
      await until(() => hasEnded || clock.sleepers > 0);
      if (!hasEnded) await clock.advance(3000);
      await ended;
      captured[Symbol.dispose]();
    },
  };
}

Deno.test("while no chunk can be sealed, none counts as lost, and later all are told in their order", async () => {
  await using setup = await writerAtNoon();
  await using rig = sealingWriter(setup);
  const { writer, told, tries, bad } = rig;
  bad.is = () => true;
  for (let chunk = 1; chunk <= 60; chunk++) {
    pushAll(writer, chunkSteps(chunk, [bytes(chunk)]));
    await until(() => tries.includes(chunk - 1));
    await setup.clock.advance(1000);
  }
  assertEquals(told, []);
  bad.is = () => false;
  for (let chunk = 61; chunk <= 80; chunk++) pushAll(writer, chunkSteps(chunk, [bytes(chunk)]));
  await until(() => told.length === 80); // no time has to pass
  assertEquals(told, Array.from({ length: 80 }, (_, at) => at + 1));
  await until(() => writer.isIdle);
});

Deno.test("a chunk that alone cannot be sealed counts as lost when ten were sealed after it", async () => {
  await using setup = await writerAtNoon();
  await using rig = sealingWriter(setup);
  const { writer, told, bad } = rig;
  bad.is = (number) => number === 0;
  for (let chunk = 1; chunk <= 10; chunk++) {
    pushAll(writer, chunkSteps(chunk, [bytes(chunk)]));
    await until(() => setup.sealed().length === chunk - 1);
  }
  assertEquals(told, []);
  pushAll(writer, chunkSteps(11, [bytes(11)]), chunkSteps(12, [bytes(12)]));
  await until(() => told.length === 12);
  assertEquals(told, [-1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12]);
  bad.is = () => false;
  await setup.until(() => writer.isIdle);
  assertEquals([setup.sealed().length, told.length], [12, 12]);
});

Deno.test("a chunk that cannot be sealed is settled a quarter of a minute later, and is tried less and less often", async () => {
  await using setup = await writerAtNoon();
  await using rig = sealingWriter(setup);
  const { writer, told, tries, bad } = rig;
  bad.is = (number) => number === 0;
  pushAll(writer, chunkSteps(1, [bytes(1)]), chunkSteps(2, [bytes(2)]));
  await until(() => setup.sealed().length === 1);
  const pass = async (seconds: number) => {
    for (let second = 0; second < seconds; second++) {
      await until(() => setup.clock.sleepers > 0);
      await setup.clock.advance(1000);
    }
  };
  await pass(10);
  assertEquals([writer.settle(), told], [false, []]);
  await pass(10);
  assertEquals([writer.settle(), told], [true, [-1, 2]]);
  const before = tries.length;
  assert(before >= 5, `${before} tries`);
  await pass(600);
  assert(tries.length >= before + 9 && tries.length <= before + 12, `${tries.length} tries`);
  bad.is = () => false;
  await setup.until(() => writer.isIdle);
  assertEquals([setup.sealed().length, setup.problems()], [2, []]);
});

Deno.test("at the end, the chunks behind one that cannot be sealed are told, and that one can be recovered", async () => {
  await using setup = await writerAtNoon();
  const { temp, clock, status, spool } = setup;
  const told: number[] = [];
  const captured = capturedLog();
  const writer = new ChunkWriter(spool, 5000, {
    ...{ clock, status, log: captured.log },
    onSealed: ({ times }) => told.push((times.startMs - NOON) / 1000),
  });
  let parts = 0;
  interceptParts(temp, (part) => {
    if (parts++ === 0) part.seal = () => Promise.reject(new Error("Input/output error"));
  });
  pushAll(writer, chunkSteps(0, [bytes(1)]), chunkSteps(1, [bytes(2)]), chunkSteps(2, [bytes(3)]));
  await until(() => setup.sealed().length === 2);
  assertEquals(told, []);
  const finished = writer.finish();
  await until(() => clock.sleepers > 0);
  await clock.advance(3000);
  await finished;
  assertEquals([told, temp.files("recording").length], [[1, 2], 1]);
  captured[Symbol.dispose]();
});

Deno.test("a full disk is reported as full", async () => {
  await using setup = await writerAtNoon();
  let isFull = true;
  let rings = 0;
  setup.spool.roomWanted.ring = () => rings++;
  interceptParts(setup.temp, (part) => {
    const { append } = part;
    part.append = async (page) => {
      if (!isFull) return await append.call(part, page);
      using full = await Deno.open("/dev/full", { write: true });
      await full.write(page); // the error that a real disk gives
    };
  });
  pushAll(setup.writer, chunkSteps(0, [bytes(1), bytes(2)]));
  await until(() => setup.problems().length > 0);
  const [problem] = setup.report().problems;
  assertEquals(
    problem?.message,
    inOneLine(problems.diskFull()),
  );
  assertEquals(rings, 2, "for the chunk, and for the write that failed");
  isFull = false;
  await setup.until(() => setup.problems().length === 0);
  await setup.writer.finish();
  assertEquals(setup.sealed(), [[1, 2]]);
});

Deno.test("every byte is written once, whichever step fails: before, half-way or after", async () => {
  const random = seededRandom(7);
  for (let round = 0; round < 2; round++) {
    await using setup = await writerAtNoon(1000);
    let failures = 0;
    const maybeFail = () => {
      if (random() > 0.15) return;
      failures++;
      throw new Error("the disk is bad");
    };
    const { rename } = Deno;
    const { prototype } = Deno.FsFile;
    const { write, sync, syncData } = prototype;
    const chunks: Uint8Array[][] = Array.from(
      { length: 10 },
      () =>
        Array.from(
          { length: 1 + Math.floor(random() * 6) },
          () => Uint8Array.from({ length: 1 + Math.floor(random() * 50) }, () => random() * 256),
        ),
    );
    try {
      Deno.rename = async (from, to) => {
        maybeFail();
        await rename(from, to);
      };
      prototype.write = async function (data) {
        maybeFail();
        const written = await write.call(this, data.subarray(0, 1 + Math.floor(random() * 60)));
        maybeFail();
        return written;
      };
      prototype.sync = async function () {
        maybeFail();
        await sync.call(this);
      };
      prototype.syncData = async function () {
        maybeFail();
        await syncData.call(this);
      };
      for (const [index, pages] of chunks.entries()) {
        pushAll(setup.writer, chunkSteps(index, pages));
      }
      await setup.until(() => setup.report().chunks_recorded_total === chunks.length, 60_000);
    } finally {
      Deno.rename = rename;
      Object.assign(prototype, { write, sync, syncData });
    }
    await setup.writer.finish();
    assert(failures > 10, `${failures} failures`);
    assertEquals(setup.sealed(), chunks.map((pages) => pages.flatMap((page) => [...page])));
    assertEquals(setup.temp.files("recording"), []);
    assertEquals<unknown>(setup.spool.tally.outbox.files, chunks.length);
  }
});

Deno.test("a file that is deleted while it grows is counted as lost, and recording continues", async () => {
  await using setup = await writerAtNoon();
  const [open, close] = chunkSteps(0, [bytes(1)]);
  assert(open && close);
  setup.writer.push(open);
  await until(() => setup.temp.files("recording").length === 1);
  const [name = ""] = setup.temp.files("recording");
  await Deno.remove(setup.spool.path("recording", name));
  pushAll(setup.writer, [close], chunkSteps(1, [bytes(2)]));
  await setup.writer.finish();
  assertEquals(setup.sealed(), [[2]]);
  assertEquals(setup.problems(), []);
  const { chunks_recorded_total, chunks_lost_total, ...report } = setup.report();
  assertEquals([chunks_recorded_total, chunks_lost_total], [1, 1]);
  assertEquals([report.bytes_lost_total, report.seconds_lost_total], [1, 1]);
  assertEquals(setup.lines[0]?.["level"], "ERROR");
});

/** Makes the spool refuse every new file. */
function breakDisk(temp: TempSpool): void {
  temp.spool.create = () => Promise.reject(new Error("the disk is dead"));
}

Deno.test("what waits for a failing disk is at least two hours of sound, and takes at most 40 MB", () => {
  const bytesPerHour = 24_000 / 8 * 3600;
  assert(MAX_PENDING_BYTES >= 2 * bytesPerHour, `${MAX_PENDING_BYTES}`);
  assert(MAX_PENDING_BYTES <= 40e6, `${MAX_PENDING_BYTES}`);
});

Deno.test("isFull is true when more waits than can be held, and false when the disk works again", async () => {
  await using setup = await writerAtNoon();
  const { writer, temp } = setup;
  const works = temp.spool.create.bind(temp.spool);
  breakDisk(temp);
  const page = new Uint8Array(MAX_PENDING_BYTES / 4);
  const [open, close] = chunkSteps(0, [bytes()]);
  assert(open && close);
  writer.push(open);
  for (let count = 0; count < 4; count++) writer.push({ kind: "append", bytes: page });
  assertEquals(writer.isFull, false);
  writer.push({ kind: "append", bytes: bytes(1) });
  assertEquals(writer.isFull, true);
  temp.spool.create = works;
  await setup.until(() => !writer.isFull);
  writer.push(close);
  await writer.finish();
  assertEquals(setup.spool.tally.outbox.files, 1);
  assertEquals(setup.spool.tally.outbox.bytes, MAX_PENDING_BYTES + 1);
});

Deno.test("finish() on a dead disk ends within 3 s and counts the loss", async () => {
  await using setup = await writerAtNoon();
  const { writer, clock } = setup;
  const [open, append] = chunkSteps(0, [bytes(1), bytes(2, 3), bytes(4)]);
  const [, , close] = chunkSteps(0, [bytes(1), bytes(2, 3), bytes(4)]);
  assert(open && append && close);
  interceptParts(setup.temp, (part) => {
    let appends = 0;
    const { append } = part;
    part.append = (page) =>
      appends++ === 0 ? append.call(part, page) : Promise.reject(new Error("the disk is dead"));
  });
  // The first is half written and can be recovered; the other two are lost.
  pushAll(writer, [open, append, close], chunkSteps(1, [bytes(5), bytes(6)]), chunkSteps(2, []));
  await until(() => setup.problems().length > 0);
  let ended = false;
  const startMs = clock.monotonicMs();
  const finished = writer.finish().then(() => ended = true);
  while (!ended) {
    assert(clock.monotonicMs() - startMs <= 3000);
    await clock.advance(100);
  }
  await finished;
  assertEquals(setup.temp.files("recording").length, 1);
  const { chunks_lost_total, bytes_lost_total, seconds_lost_total } = setup.report();
  assertEquals([chunks_lost_total, bytes_lost_total, seconds_lost_total], [2, 5, 2]);
  const { chunks, seconds, bytes: lostBytes } = setup.lines.at(-1) ?? {};
  assertEquals([chunks, seconds, lostBytes], [2, 2, 5]);
  assertEquals(clock.sleepers, 0);
});

Deno.test("finish() on a dead disk counts a single page that could not be written", async () => {
  await using setup = await writerAtNoon();
  const { writer, clock } = setup;
  const [open, append] = chunkSteps(0, [bytes(1), bytes(2, 3), bytes(4)]);
  assert(open && append);
  interceptParts(setup.temp, (part) => {
    const { append } = part;
    part.append = (page) =>
      page.length === 1 ? append.call(part, page) : Promise.reject(new Error("the disk is dead"));
  });
  pushAll(writer, [open, append]);
  await until(() => setup.problems().length > 0);
  let ended = false;
  const finished = writer.finish().then(() => ended = true);
  while (!ended) await clock.advance(100);
  await finished;
  assertEquals(setup.report().bytes_lost_total, 2);
  assertEquals(setup.lines.at(-1)?.message, "The end of the recording could not be written.");
});

Deno.test("bytes after a synced block go into their own chunk, although it is closed at once", async () => {
  await using setup = await writerAtNoon(5000);
  const { clock, writer } = setup;
  const page = (value: number) => new Uint8Array(5000).fill(value);
  for (const index of [0, 1]) {
    const [open, append, close] = chunkSteps(index, [bytes(index), page(index), bytes(index)]);
    assert(open && append && close);
    writer.push(open);
    await clock.advance(4000);
    writer.push(append); // a sync is due, and 905 bytes follow the block
    writer.push(close);
  }
  pushAll(writer, chunkSteps(2, [bytes(2), bytes(2), bytes(2)]));
  await writer.finish();
  assertEquals(setup.sealed().map(({ length }) => length), [5002, 5002, 3]);
  for (const [index, chunk] of setup.sealed().entries()) {
    assertEquals(new Set(chunk), new Set([index]));
  }
});

Deno.test("bytes after a synced block are dropped with their chunk", async () => {
  await using setup = await writerAtNoon(5000);
  const { clock, writer } = setup;
  const [open, append] = chunkSteps(0, [bytes(1), new Uint8Array(5000), bytes(1)]);
  assert(open && append);
  writer.push(open);
  await clock.advance(4000);
  writer.push(append);
  writer.push({ kind: "discard" });
  pushAll(writer, chunkSteps(1, [bytes(2), bytes(3), bytes(4)]));
  await writer.finish();
  assertEquals(setup.sealed(), [[2, 3, 4]]);
});

Deno.test("sound is also synced within the interval if syncs cover whole blocks", async () => {
  const random = seededRandom(8);
  await using setup = await writerAtNoon(5000);
  const { clock, writer } = setup;
  let written = 0;
  let oldestMs = 0;
  /** The end of each page that is not yet synced as a whole, and when it was pushed. */
  const unsynced: { end: number; pushedMs: number }[] = [];
  /** Sound up to this time is synced: when the last synced page was pushed. */
  let syncedMs = clock.monotonicMs();
  interceptParts(setup.temp, (part) => {
    const { append, sync } = part;
    part.append = (bytes) => append.call(part, bytes).finally(() => written = part.sizeBytes);
    part.sync = () => {
      oldestMs = Math.max(oldestMs, clock.monotonicMs() - syncedMs);
      while (unsynced[0] !== undefined && unsynced[0].end <= part.sizeBytes) {
        syncedMs = unsynced.shift()?.pushedMs ?? NaN;
      }
      return sync.call(part);
    };
  });
  const [open, close] = chunkSteps(0, [new Uint8Array(200)]);
  assert(open && close);
  writer.push(open);
  let pushed = 200;
  for (let page = 0; page < 150; page++) {
    await clock.advance(400);
    const bytes = new Uint8Array(Math.floor(100 + 1500 * random() * random()));
    pushed += bytes.length;
    unsynced.push({ end: pushed, pushedMs: clock.monotonicMs() });
    writer.push({ kind: "append", bytes });
    await until(() => written === pushed);
  }
  writer.push(close);
  await writer.finish();
  // ffmpeg holds up to 0.8 s that are not in a page yet.
  assert(oldestMs + 800 <= 5000, `${oldestMs + 800} ms`);
  assert(oldestMs > 3000, `${oldestMs} ms: more syncs than needed`);
});

Deno.test("a sync that fails is a problem, is tried again, and ends the problem when it succeeds", async () => {
  await using setup = await writerAtNoon(1300);
  const { writer } = setup;
  let syncs = 0;
  interceptParts(setup.temp, (part) => {
    const { sync } = part;
    part.sync = () =>
      ++syncs <= 2 ? Promise.reject(new Error("Input/output error (os error 5)")) : sync.call(part);
  });
  const [open, append, close] = chunkSteps(0, [bytes(1), bytes(2), bytes(3)]);
  assert(open && append && close);
  writer.push(open);
  writer.push(append);
  await until(() => setup.problems().includes("disk_failing"));
  assertMatch(setup.report().problems[0]?.message ?? "", /os error 5/);
  await setup.until(() => syncs === 3);
  await until(() => setup.problems().length === 0);
  writer.push(close);
  await writer.finish();
  assertEquals(setup.sealed(), [[1, 2, 3]]);
});

Deno.test("after 40 s in which no sync succeeds the next one is no more than 8 s away, with nothing else to write", async () => {
  await using setup = await writerAtNoon(1300);
  const { writer, clock } = setup;
  let isBroken = true;
  let syncs = 0;
  interceptParts(setup.temp, (part) => {
    const { sync } = part;
    part.sync = () => {
      if (isBroken) return Promise.reject(new Error("Input/output error (os error 5)"));
      syncs++;
      return sync.call(part);
    };
  });
  const [open, append, close] = chunkSteps(0, [bytes(1), bytes(2), bytes(3)]);
  assert(open && append && close);
  writer.push(open);
  writer.push(append);
  await until(() => setup.problems().includes("disk_failing"));
  for (let second = 0; second < 40; second++) {
    await until(() => clock.sleepers > 0);
    await clock.advance(1000);
  }
  isBroken = false;
  for (let second = 0; second < 8; second++) {
    await until(() => syncs > 0 || clock.sleepers > 0);
    if (syncs === 0) await clock.advance(1000);
  }
  await until(() => syncs > 0 || clock.sleepers > 0);
  assertEquals(syncs, 1);
  writer.push(close);
  await writer.finish();
  assertEquals(setup.sealed(), [[1, 2, 3]]);
});
