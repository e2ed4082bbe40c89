// The folder: names, keys, times that were unsure, what a process leaves that was killed, and disks that
// fail. On the real file system.

import { assertEquals, assertRejects, assertStringIncludes } from "@std/assert";
import { join } from "@std/path/join";
import { FolderLockedError, FolderStore } from "../../src/receive/folder_store.ts";
import { type ChunkFacts, StoreFailure } from "../../src/receive/store.ts";
import { ids, makeName } from "../fixtures/chunks.ts";
import { filesBelow } from "../fixtures/receive_rig.ts";

const DEVICE = `${ids.pointId}/${ids.registerId}/${ids.deviceId}`;

async function openStore() {
  const root = await Deno.makeTempDir({ prefix: "folder-store-" });
  const dir = join(root, "store");
  let store = await FolderStore.open(dir);
  return {
    dir,
    files: () => filesBelow(dir).filter((path) => path !== ".incoming/lock"),
    async put(chunk: ChunkFacts, text: string) {
      const file = await store.begin();
      try {
        const bytes = new TextEncoder().encode(text);
        await file.write(bytes);
        const sha256 = new Uint8Array(await crypto.subtle.digest("SHA-256", bytes));
        return await file.keep(chunk, sha256);
      } finally {
        await file.discard();
      }
    },
    async reopen() {
      store[Symbol.dispose]();
      store = await FolderStore.open(dir);
      return store;
    },
    get store() {
      return store;
    },
    async [Symbol.asyncDispose]() {
      store[Symbol.dispose]();
      await Deno.remove(root, { recursive: true });
    },
  };
}

function chunk(changed: Partial<ChunkFacts> = {}): ChunkFacts {
  return { ...ids, ...makeName(), isProvisional: false, ...changed };
}

Deno.test("a chunk is kept under its ids, its day in UTC, and a name that sorts by time", async () => {
  await using temp = await openStore();
  const key = "4f6c1c1e-0000-4000-8000-000000000000";
  const late = chunk({ key, startUnixUs: Date.UTC(2026, 10, 23, 23, 59, 59, 999) * 1000 + 999 });
  const place = `${DEVICE}/2026-11-23/20261123T235959.999999Z_59993500us_${key}.ogg`;
  assertEquals(await temp.put(late, "sound"), { outcome: "stored", place });
  assertEquals(temp.files(), [place]);
  assertEquals(await Deno.readTextFile(join(temp.dir, place)), "sound");
  assertEquals((Deno.statSync(join(temp.dir, place)).mode ?? 0) & 0o777, 0o640);
});

Deno.test("the same key with the same bytes is one chunk, also after a restart; other bytes change nothing", async () => {
  await using temp = await openStore();
  const facts = chunk();
  const { place } = await temp.put(facts, "sound");
  assertEquals(await temp.put(facts, "sound"), { outcome: "repeated", place });
  await temp.reopen();
  assertEquals(await temp.put(facts, "sound"), { outcome: "repeated", place });
  assertEquals(await temp.put(facts, "other"), { outcome: "conflict", place });
  assertEquals(await temp.put(facts, "longer than the first"), { outcome: "conflict", place });
  assertEquals(temp.files(), [place]);
  assertEquals(await Deno.readTextFile(join(temp.dir, place)), "sound");
});

Deno.test("of uploads of one key at the same time, one is stored", async () => {
  await using temp = await openStore();
  const facts = chunk();
  const texts = ["sound", "sound", "sound", "other", "sound"];
  const kept = await Promise.all(texts.map((text) => temp.put(facts, text)));
  assertEquals(kept.filter(({ outcome }) => outcome === "stored").length, 1);
  assertEquals(temp.files().length, 1);
  const others = await Promise.all(
    Array.from({ length: 20 }, (_, i) => temp.put(chunk(makeName(i)), "x")),
  );
  assertEquals(others.filter(({ outcome }) => outcome === "stored").length, 20);
});

Deno.test("a chunk whose time was unsure takes its true time when it comes again, on another day as well", async () => {
  await using temp = await openStore();
  const unsure = chunk({ isProvisional: true });
  const { place } = await temp.put(unsure, "sound");
  const marker = `${DEVICE}/.unsynchronized/${unsure.key}`;
  assertEquals(temp.files(), [marker, place].sort());
  assertEquals(await temp.put(unsure, "sound"), { outcome: "repeated", place });
  const sure = { ...unsure, startUnixUs: unsure.startUnixUs + 86_400e6, isProvisional: false };
  assertEquals((await temp.put(sure, "other")).outcome, "conflict");
  await temp.reopen();
  const moved = await temp.put(sure, "sound");
  assertEquals(moved.outcome, "repeated");
  assertStringIncludes(moved.place, "/2026-11-24/20261124T");
  assertEquals(temp.files(), [moved.place]);
});

Deno.test("a chunk that takes its true time never takes the place of one with other bytes", async () => {
  await using temp = await openStore();
  const sure = chunk();
  const unsure = { ...sure, startUnixUs: sure.startUnixUs + 3600e6, isProvisional: true };
  const { place } = await temp.put(sure, "other");
  await temp.put(unsure, "sound");
  const before = temp.files();
  assertEquals(await temp.put(sure, "sound"), { outcome: "conflict", place });
  assertEquals(temp.files(), before);
  assertEquals(await Deno.readTextFile(join(temp.dir, place)), "other");
});

Deno.test("a chunk whose time stays unsure and whose file was taken away is stored again", async () => {
  await using temp = await openStore();
  const unsure = chunk({ isProvisional: true });
  const { place } = await temp.put(unsure, "sound");
  await Deno.remove(join(temp.dir, place));
  assertEquals((await temp.put(unsure, "sound")).outcome, "stored");
  await Deno.remove(join(temp.dir, place));
  const sure = { ...unsure, startUnixUs: unsure.startUnixUs + 1, isProvisional: false };
  assertEquals((await temp.put(sure, "sound")).outcome, "stored");
  assertEquals(temp.files().length, 1, "nothing points to the old place");
});

Deno.test("a note that leads out of the folder of its device is not followed", async () => {
  await using temp = await openStore();
  const facts = chunk();
  const notes = join(temp.dir, DEVICE, ".unsynchronized");
  await Deno.mkdir(notes, { recursive: true });
  const outside = join(temp.dir, `x_${facts.key}.ogg`);
  await Deno.writeTextFile(outside, "sound");
  await Deno.writeTextFile(join(notes, facts.key), `../../../x_${facts.key}.ogg`);
  assertEquals((await temp.put(facts, "sound")).outcome, "stored");
  assertEquals(await Deno.readTextFile(outside), "sound");
});

Deno.test("what a killed process had half received is gone after the next start; chunks stay", async () => {
  await using temp = await openStore();
  const { place } = await temp.put(chunk(), "sound");
  const file = await temp.store.begin();
  await file.write(new TextEncoder().encode("torn"));
  assertEquals(temp.files().length, 2);
  await temp.reopen();
  assertEquals(temp.files(), [place]);
  await file.discard();
});

Deno.test("an upload that is given up leaves nothing", async () => {
  await using temp = await openStore();
  const file = await temp.store.begin();
  await file.write(new TextEncoder().encode("half"));
  await file.discard();
  await file.discard();
  assertEquals(temp.files(), []);
});

Deno.test("a folder has one receiver", async () => {
  await using temp = await openStore();
  const error = await assertRejects(() => FolderStore.open(temp.dir), FolderLockedError);
  assertStringIncludes(error.message, `Cannot use ${temp.dir} as another recorder-agent`);
});

Deno.test("a folder that cannot be created is named, with what is needed", async () => {
  await using temp = await openStore();
  await Deno.writeTextFile(`${temp.dir}/file`, "");
  const dir = `${temp.dir}/file/store`;
  const message = `Cannot use ${dir} as this user must be able to create it and write in it: `;
  assertStringIncludes((await assertRejects(() => FolderStore.open(dir))).message, message);
});

Deno.test("folders that are removed while the receiver runs are made again", async () => {
  await using temp = await openStore();
  await temp.put(chunk(), "sound");
  await Deno.remove(join(temp.dir, ids.pointId), { recursive: true });
  assertEquals((await temp.put(chunk(), "sound")).outcome, "stored");
});

Deno.test("a folder that went away is the store's failure, and a full one says so", async () => {
  await using temp = await openStore();
  const file = await temp.store.begin();
  await Deno.remove(temp.dir, { recursive: true });
  await assertRejects(() => temp.store.begin(), StoreFailure);
  await assertRejects(() => file.keep(chunk(), new Uint8Array(32)), StoreFailure);
  await file.discard();
  // Every write to this device finds it full.
  await Deno.mkdir(join(temp.dir, ".incoming"), { recursive: true });
  const full = await temp.store.begin();
  const write = Deno.FsFile.prototype.write;
  try {
    Deno.FsFile.prototype.write = () =>
      Promise.reject(new Error("No space left on device (os error 28)"));
    const error = await assertRejects(() => full.write(new Uint8Array(10)), StoreFailure);
    assertEquals(error.isFull, true);
  } finally {
    Deno.FsFile.prototype.write = write;
  }
  await full.discard();
  assertEquals(temp.files(), []);
});

Deno.test("on a full disk a chunk with an unsure time leaves nothing behind", async () => {
  await using temp = await openStore();
  const sync = Deno.FsFile.prototype.syncData;
  const file = await temp.store.begin();
  await file.write(new Uint8Array(10));
  let syncs = 0;
  try {
    Deno.FsFile.prototype.syncData = function () {
      const isNote = ++syncs > 1; // the first one is that of the chunk
      return isNote ? Promise.reject(new Error("No space left on device")) : sync.call(this);
    };
    const unsure = chunk({ isProvisional: true });
    await assertRejects(() => file.keep(unsure, new Uint8Array(32)), StoreFailure);
  } finally {
    Deno.FsFile.prototype.syncData = sync;
  }
  assertEquals(syncs, 2);
  await file.discard();
  assertEquals(temp.files(), []);
});
