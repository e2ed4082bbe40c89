// What the spool and the janitor do when a call fails, or is the last one before a crash: each case was
// found by a schedule of tests/faults. Also tests that FaultDisk loses what real disks lose.

import { assert, assertEquals } from "@std/assert";
import { join } from "@std/path/join";
import { ChunkWriter } from "../../src/spool/chunk_writer.ts";
import { Janitor } from "../../src/spool/janitor.ts";
import { Spool } from "../../src/spool/spool.ts";
import { Status } from "../../src/status/status.ts";
import { ids } from "../fixtures/chunks.ts";
import { DiskProcess, FaultDisk } from "../fixtures/fault_disk.ts";
import { seededRandom } from "../fixtures/random.ts";
import { SimulatedClock } from "../fixtures/simulated_clock.ts";
import { capturedLog, chunkAt, LIMITS } from "../fixtures/temp_spool.ts";

const NOON = Date.UTC(2026, 5, 15, 12);
const DAY_MS = 86_400_000;

/** A folder on a disk that fails as the test says, and a program that may be killed. */
class Rig implements Disposable {
  readonly #root = Deno.makeTempDirSync({ prefix: "recorder-agent-test-" });
  readonly disk: FaultDisk;
  process = new DiskProcess();

  constructor(seed = 1) {
    this.disk = new FaultDisk(join(this.#root, "spool"), seededRandom(seed), () => NOON);
  }

  /** Runs a part of the program. An operation of a killed program never ends; this call does. */
  async run<T>(part: () => Promise<T>): Promise<T | undefined> {
    return await Promise.race([
      this.disk.run(this.process, part),
      this.process.died.then(() => undefined),
    ]);
  }

  /** A spool with one sealed chunk for each time. */
  async spool(...startsUnixMs: number[]): Promise<{ spool: Spool; names: string[] }> {
    const opened = await this.run(async () => {
      const spool = await Spool.open(this.disk.dir);
      const names: string[] = [];
      for (const startUnixMs of startsUnixMs) {
        const name = chunkAt(startUnixMs);
        const part = await spool.create(name);
        await part.append(new Uint8Array(100));
        names.push(await part.seal(name) ?? "");
      }
      return { spool, names };
    });
    if (opened === undefined) throw new Error("it died");
    return opened;
  }

  files(dir: string): string[] {
    return [...Deno.readDirSync(join(this.disk.dir, dir))].map(({ name }) => name).sort();
  }

  [Symbol.dispose](): void {
    this.process.kill();
    this.disk[Symbol.dispose]();
    Deno.removeSync(this.#root, { recursive: true });
  }
}

Deno.test("FaultDisk loses unsynced bytes in a power cut, and nothing in a kill", async () => {
  const left = new Set<number>();
  for (let seed = 1; seed <= 30; seed++) {
    using rig = new Rig(seed);
    const name = chunkAt(NOON);
    const { spool } = await rig.spool();
    await rig.run(async () => {
      const part = await spool.create(name);
      await part.append(new Uint8Array(2000).fill(1));
      await part.sync();
      await part.append(new Uint8Array(2000).fill(2));
    });
    rig.process.kill();
    const [file = ""] = rig.files("recording");
    const path = join(rig.disk.dir, "recording", file);
    assertEquals(Deno.readFileSync(path).length, 4000);
    rig.disk.cutPower(seed % 2 === 0 ? "journal" : "scattered");
    const bytes = Deno.readFileSync(path);
    assert(bytes.subarray(0, 2000).every((byte) => byte === 1), "synced");
    left.add(bytes.filter((byte) => byte === 2).length);
  }
  assert(left.has(0) && left.has(2000) && left.size > 3, `${[...left]} bytes were left`);
});

Deno.test("FaultDisk keeps a synced rename, and may undo one that is not synced", async () => {
  const seen = new Set<string>();
  for (let seed = 1; seed <= 20; seed++) {
    for (const synced of [true, false]) {
      using rig = new Rig(seed);
      const { spool } = await rig.spool();
      await rig.run(async () => {
        const part = await spool.create(chunkAt(NOON));
        await part.append(new Uint8Array(10));
        await part.sync();
        await Deno.rename(
          join(rig.disk.dir, "recording", rig.files("recording")[0] ?? ""),
          join(rig.disk.dir, "outbox", "x"),
        );
        if (synced) await spool.syncAdmitted();
      });
      rig.process.kill();
      rig.disk.cutPower("journal");
      seen.add(`${synced}: ${rig.files("outbox").length} ${rig.files("recording").length}`);
    }
  }
  assertEquals([...seen].sort(), ["false: 0 1", "false: 1 0", "true: 1 0"]);
});

Deno.test("a refused chunk has its reason beside it after a crash at any call, whatever the crash", async () => {
  const crashes = [null, "journal", ...Array<"scattered">(6).fill("scattered")] as const;
  for (const [seed, survival] of crashes.entries()) {
    for (let afterCalls = 1, isDone = false; !isDone; afterCalls++) {
      using rig = new Rig(seed * 100 + afterCalls);
      const { spool, names: [name = ""] } = await rig.spool(NOON);
      rig.process.death = { afterCalls, of: null, how: "before" };
      await rig.run(() => spool.reject(name, { reason: "test" }));
      isDone = !rig.process.isDead;
      rig.process.kill();
      if (survival !== null) rig.disk.cutPower(survival);
      if (!rig.files("rejected").includes(name)) continue;
      const path = join(rig.disk.dir, "rejected", `${name}.reason.json`);
      assertEquals(JSON.parse(Deno.readTextFileSync(path)), { reason: "test" });
    }
  }
});

Deno.test("a delivered chunk is in outbox/ or uploaded/ after a crash at any call, and in uploaded/ once that is synced", async () => {
  for (const survival of ["journal", "scattered"] as const) {
    for (let afterCalls = 1, isDone = false; !isDone; afterCalls++) {
      using rig = new Rig(afterCalls);
      const { spool, names } = await rig.spool(NOON, NOON + 1, NOON + 2, NOON + 3);
      rig.process.death = { afterCalls, of: null, how: "before" };
      await rig.run(async () => {
        for (const name of names) await spool.markUploaded(name);
        await spool.uploadedSynced();
      });
      isDone = !rig.process.isDead;
      rig.process.kill();
      rig.disk.cutPower(survival);
      const [waiting, uploaded] = [rig.files("outbox"), rig.files("uploaded")];
      assertEquals([...waiting, ...uploaded].sort(), names);
      if (isDone) assertEquals(uploaded, names);
    }
  }
});

Deno.test("filing many delivered chunks waits for no sync, and costs few: uploaded/ first, then outbox/", async () => {
  using rig = new Rig();
  const { spool, names } = await rig.spool(...Array.from({ length: 50 }, (_, at) => NOON + at));
  const release = Promise.withResolvers<void>();
  const { callLater } = rig.disk;
  rig.disk.callLater = async (process, call, ...rest) => {
    if (call === "sync") await release.promise;
    return await callLater.call(rig.disk, process, call, ...rest) as never;
  };
  rig.disk.trace.length = 0;
  await rig.run(async () => {
    for (const name of names) await spool.markUploaded(name);
  });
  assertEquals(rig.files("uploaded"), names);
  release.resolve();
  await rig.run(() => spool.uploadedSynced());
  const syncs = rig.disk.trace.filter((line) => line.startsWith("sync "));
  const round = ["sync spool/uploaded", "sync spool/outbox"];
  assertEquals(syncs, [...round, ...round]);
});

Deno.test("delivered chunks share their syncs however fast the disk is, the last of them too", async () => {
  using rig = new Rig();
  const { spool, names } = await rig.spool(...Array.from({ length: 50 }, (_, at) => NOON + at));
  rig.disk.trace.length = 0;
  for (const name of names) {
    await rig.run(() => spool.markUploaded(name));
    await new Promise((wake) => setTimeout(wake, 1)); // a sync could have finished by now
  }
  await rig.run(() => spool.uploadedSynced());
  const syncs = rig.disk.trace.filter((line) => line.startsWith("sync "));
  assertEquals(syncs.length, 2 * 4); // after 16, 32, 48 and 50 chunks, two folders each
});

Deno.test("a refused chunk that gets its true time keeps its reason after a crash at any call, whatever the crash", async () => {
  const crashes = [null, "journal", ...Array<"scattered">(6).fill("scattered")] as const;
  for (const [seed, survival] of crashes.entries()) {
    for (let afterCalls = 1, isDone = false; !isDone; afterCalls++) {
      using rig = new Rig(seed * 100 + afterCalls);
      const { spool, names: [name = ""] } = await rig.spool(NOON - DAY_MS);
      await rig.run(() => spool.reject(name, { reason: "test" }));
      rig.process.death = { afterCalls, of: null, how: "before" };
      const better = chunkAt(NOON);
      await rig.run(() => spool.rename("rejected", name, better));
      isDone = !rig.process.isDead;
      if (isDone) assertEquals(rig.files("rejected").length, 2);
      rig.process.kill();
      if (survival !== null) rig.disk.cutPower(survival);
      const files = rig.files("rejected");
      const chunk = files.find((file) => file.endsWith(".ogg")) ?? "";
      assert(files.includes(`${chunk}.reason.json`), files.join("\n"));
    }
  }
});

Deno.test("nothing is synced unless a chunk was filed as delivered since the last sync", async () => {
  using rig = new Rig();
  const { spool, names: [name = ""] } = await rig.spool(NOON);
  await rig.run(() => spool.markUploaded(name));
  await rig.run(() => spool.uploadedSynced());
  const calls: string[] = [];
  rig.disk.onCall = (call) => void calls.push(call);
  await rig.run(() => spool.uploadedSynced());
  assertEquals(calls, []);
});

Deno.test("the reason of a chunk that is still there is not a stray, however old it is", async () => {
  using rig = new Rig();
  const { spool, names: [kept = "", gone = ""] } = await rig.spool(NOON - DAY_MS, NOON - DAY_MS);
  const removed = await rig.run(async () => {
    for (const name of [kept, gone]) await spool.reject(name, { reason: "test" });
    await Deno.remove(spool.path("rejected", gone));
    return await spool.removeStrays(NOON + DAY_MS);
  });
  assertEquals(removed, [`${gone}.reason.json`]);
  assertEquals(rig.files("rejected"), [kept, `${kept}.reason.json`]);
});

Deno.test("a refused chunk is counted as lost although its reason could not be removed", async () => {
  using rig = new Rig();
  const { spool, names: [name = ""] } = await rig.spool(NOON);
  await rig.run(() => spool.reject(name, { reason: "test" }));
  rig.disk.onCall = (call, path) => {
    rig.disk.faults.eio = call === "remove" && path.endsWith(".json") ? { remove: 1 } : {};
  };
  assertEquals(await rig.run(() => spool.remove("rejected", name)), 100);
});

Deno.test("chunks that were evicted before the disk failed are counted", async () => {
  using captured = capturedLog();
  using rig = new Rig();
  const { spool } = await rig.spool(NOON - DAY_MS, NOON);
  const clock = new SimulatedClock(NOON);
  const status = new Status({ ...ids, version: "1" }, clock);
  const limits = { ...LIMITS, maxSpoolBytes: 1 };
  const janitor = new Janitor(spool, limits, { clock, status, log: captured.log });
  Object.assign(spool, { freeBytes: () => Promise.resolve(1e9) });
  let removals = 0;
  const { remove } = spool;
  spool.remove = (...args) => {
    if (args[0] === "outbox" && ++removals === 2) throw new Error("Input/output error");
    return remove.apply(spool, args);
  };
  await rig.run(() => janitor.makeRoom().catch(() => {}));
  assertEquals(rig.files("outbox").length, 1);
  assertEquals(status.report(spool).chunks_lost_total, 1);
});

Deno.test("chunks that were found before the folder could not be listed are evicted and counted", async () => {
  using captured = capturedLog();
  using rig = new Rig();
  const { spool } = await rig.spool(NOON - DAY_MS, NOON);
  const clock = new SimulatedClock(NOON);
  const status = new Status({ ...ids, version: "1" }, clock);
  const limits = { ...LIMITS, maxSpoolBytes: 1 };
  const janitor = new Janitor(spool, limits, { clock, status, log: captured.log });
  Object.assign(spool, { freeBytes: () => Promise.resolve(1e9) });
  let listings = 0;
  const { oldest } = spool;
  spool.oldest = (...args) => {
    if (args[0] === "outbox" && ++listings >= 2) throw new Error("Input/output error");
    return oldest.apply(spool, args);
  };
  await rig.run(() => janitor.makeRoom().catch(() => {}));
  assertEquals(rig.files("outbox").length, 1);
  assertEquals(status.report(spool).chunks_lost_total, 1);
});

Deno.test("a size that could not be read is counted when it can be read", async () => {
  using rig = new Rig();
  await rig.spool(NOON);
  rig.process.kill();
  rig.process = new DiskProcess();
  const { spool } = await rig.spool();
  rig.disk.faults.eio = { look: 1 };
  await rig.run(() => spool.countSizes());
  assertEquals(spool.tally.outbox, { files: 1, bytes: 0, durationUs: 60e6 });
  rig.disk.faults.eio = {};
  await rig.run(() => spool.countSizes());
  assertEquals(spool.tally.outbox.bytes, 100);
});

Deno.test("sound that waited for a failing disk is synced as soon as it is written", async () => {
  using captured = capturedLog();
  using rig = new Rig();
  const { spool } = await rig.spool();
  const clock = new SimulatedClock(NOON);
  const status = new Status({ ...ids, version: "1" }, clock);
  const writer = new ChunkWriter(spool, 5000, { clock, status, log: captured.log });
  const synced = () =>
    rig.disk.trace.filter((line) => /^sync recording\/.*part$/.test(line)).length;
  rig.disk.faults.readOnly = true;
  const name = { startUnixUs: NOON * 1000, key: crypto.randomUUID() };
  const push = (step: Parameters<ChunkWriter["push"]>[0]) =>
    rig.disk.run(rig.process, () => writer.push(step));
  push({ kind: "open", name, bytes: new Uint8Array(100) });
  for (let second = 0; second < 8; second++) {
    push({ kind: "append", bytes: new Uint8Array(100) });
    await clock.advance(1000);
  }
  assertEquals(synced(), 0);
  rig.disk.faults.readOnly = false;
  await clock.advance(1000);
  assert(synced() > 0, rig.disk.trace.join("\n"));
  await writer.finish();
});
