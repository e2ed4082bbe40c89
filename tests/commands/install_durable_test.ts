// `install` and power cuts: what it has written survives one before the file that the settings came from is wiped, and
// before it says that it is done.

import { assert, assertEquals } from "@std/assert";
import { dirname } from "node:path";
import { join } from "@std/path/join";
import { keepStep } from "../../src/commands/install_update.ts";
import { makeRoot, SET } from "../fixtures/installed_system.ts";

/** Notes which names were put into a folder that was not synced since then. */
function watchNames() {
  const pending = new Set<string>();
  const paths = new WeakMap<Deno.FsFile, string>();
  const put = (path: string | URL) => pending.add(`${path}`);
  const original = { ...Deno };
  const { sync } = Deno.FsFile.prototype;
  Deno.open = async (path, options) => {
    const file = await original.open(path, options);
    paths.set(file, `${path}`);
    return file;
  };
  Deno.FsFile.prototype.sync = async function () {
    await sync.call(this);
    const folder = paths.get(this);
    for (const path of pending) if (dirname(path) === folder) pending.delete(path);
  };
  Deno.rename = async (from, to) => {
    await original.rename(from, to);
    pending.delete(`${from}`);
    put(to);
  };
  Deno.link = async (from, to) => {
    await original.link(from, to);
    put(to);
  };
  Deno.writeFile = async (path, ...args) => {
    await original.writeFile(path, ...args);
    put(path);
  };
  Deno.mkdir = async (path, options) => {
    await original.mkdir(path, options);
    put(path);
  };
  return {
    pending,
    [Symbol.dispose]: () => {
      const { open, rename, link, mkdir, writeFile } = original;
      Object.assign(Deno, { open, rename, link, mkdir, writeFile });
      Deno.FsFile.prototype.sync = sync;
    },
  };
}

Deno.test("every name that install puts in place is durable before the file with the settings is wiped", async () => {
  await using system = await makeRoot();
  const take = join(system.root, "recorder-agent.yaml");
  const lines = [...SET, "spool_dir=/srv/a/spool"].map((setting) => setting.replace("=", ": "));
  await Deno.writeTextFile(take, [...lines, "ingest_token: a-token", ""].join("\n"));
  using names = watchNames();
  let wiped = 0;
  const { open } = Deno;
  Deno.open = (path, options) => {
    if (path === take && options?.write === true) {
      wiped++;
      assertEquals([...names.pending], []);
    }
    return open(path, options);
  };
  assertEquals(await system.install({ set: [], env: {}, take }), 0, system.said());
  assertEquals(wiped, 1);
  await Deno.writeTextFile(system.executable, "#!/bin/sh\necho version two\n");
  assertEquals(await system.install({ set: ["chunk_seconds=30"], env: {} }), 0, system.said());
  assertEquals([...names.pending], []);
  const kept = join(system.root, "usr/local/bin/recorder-agent.old");
  assert((await Deno.stat(kept)).isFile, "an upgrade");
});

Deno.test("the way back of an update is durable before its trial is requested", async () => {
  await using system = await makeRoot();
  using names = watchNames();
  for (const path of ["/etc/passwd", "/etc/missing/spool.conf"]) {
    await keepStep(system.root, path, new Uint8Array(), true).apply();
    assert((await Deno.stat(join(system.root, `${path}.old`))).isFile);
    assertEquals([...names.pending], []);
  }
});
